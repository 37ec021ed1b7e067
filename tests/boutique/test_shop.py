"""Can one buy? The whole shop as processes, through its pages as a browser sees them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import grpc
import pytest

from boutique import catalog, money
from boutique.pb import demo_pb2

if TYPE_CHECKING:
    from shop_programs import RunningShop

ORDER = {
    "email": "buyer@example.com", "street_address": "1 Harbour Road", "zip_code": "94043", "city": "Port Example",
    "state": "CA", "country": "Land", "credit_card_number": "4432801561520454", "credit_card_expiration_month": "1",
    "credit_card_expiration_year": "2039", "credit_card_cvv": "672",
}  # fmt: skip
MUG = "6E92ZMYYFZ"


@pytest.fixture
async def browser(shop: RunningShop) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody new, with cookies of their own."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(
        shop.url, cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=30), raise_for_status=False
    ) as session:
        yield session


async def page(browser: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with browser.get(path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.text()


async def send(browser: aiohttp.ClientSession, path: str, form: dict[str, str], status: int = 200) -> str:
    async with browser.post(path, data=form) as answer:
        assert answer.status == status, await answer.text()
        return await answer.text()


def marked(text: str, mark: str) -> str:
    found = re.search(rf'id="{mark}">([^<]+)<', text)
    assert found, f"the page has no {mark}"
    return found[1]


def pieces(text: str) -> int:
    found = re.search(r'href="/cart">Cart <span>(\d+)</span>', text)
    assert found, "the page does not say how much is in the cart"
    return int(found[1])


async def test_a_purchase_from_the_front_page_to_the_letter(
    browser: aiohttp.ClientSession, shop: RunningShop
) -> None:
    home = await page(browser, "/")
    assert set(re.findall(r"/product/(\w+)", home)) == set(catalog.BY_ID)
    assert pieces(home) == 0
    assert "Advertisement" in home
    product = await page(browser, f"/product/{MUG}")
    assert "$8.99" in product
    assert "You may also like" in product
    assert pieces(await send(browser, "/cart", {"product_id": MUG, "quantity": "2"})) == 2
    cart = await send(browser, "/cart", {"product_id": MUG, "quantity": "1"})
    assert marked(cart, "total") == money.shown(money.from_nanos("USD", (3 * 899 + 499 + 3 * 75) * 10**7))
    assert "You may also like" in cart
    done = await send(browser, "/cart/checkout", ORDER)
    order = marked(done, "order-id")
    assert marked(done, "total") == marked(cart, "total")
    assert "Your cart is empty" in await page(browser, "/cart")
    letter = shop.programs["emailservice"].wait_for(lambda it: order in it.get("letter", ""))
    assert letter["to"] == "buyer@example.com"
    assert marked(done, "tracking-id") in letter["letter"]


async def test_prices_follow_the_currency_and_the_order_is_in_it(
    browser: aiohttp.ClientSession, shop: RunningShop
) -> None:
    came = {"Referer": f"{shop.url}/product/{MUG}"}
    async with browser.post("/setCurrency", data={"currency_code": "JPY"}, headers=came) as changed:
        assert changed.url.path == f"/product/{MUG}"
        text = await changed.text()
    assert "¥1,308" in text  # 8.99 / 1.1 * 160 = 1307.6
    assert "<option selected>JPY" in text
    await send(browser, "/cart", {"product_id": MUG, "quantity": "1"})
    assert marked(await send(browser, "/cart/checkout", ORDER), "total").startswith("¥")


@pytest.mark.parametrize(
    "referer", ["http://elsewhere.example/cart", "http://{host}//elsewhere.example/", "nonsense", ""]
)
async def test_nobody_is_sent_to_another_site(
    browser: aiohttp.ClientSession, shop: RunningShop, referer: str
) -> None:
    headers = {"Referer": referer.format(host=shop.url.removeprefix("http://"))}
    async with browser.post(
        "/setCurrency", data={"currency_code": "EUR"}, headers=headers, allow_redirects=False
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("field", "typed", "reason"),
    [
        ("credit_card_number", "4432801561520455", "The card number is not valid"),
        ("credit_card_number", "378282246310005", "Only VISA and MasterCard are accepted"),
        ("credit_card_expiration_year", "2020", "The card expired in 1/2020"),
        ("zip_code", "", "Postal code: a number from 0"),
        ("email", "nobody", "E-mail address: it needs an @"),
        ("city", " ", "City: please fill it in"),
    ],
)
async def test_a_refused_order_shows_why_and_keeps_the_cart(
    browser: aiohttp.ClientSession, field: str, typed: str, reason: str
) -> None:
    await send(browser, "/cart", {"product_id": MUG, "quantity": "1"})
    text = await send(browser, "/cart/checkout", {**ORDER, "street_address": "7 Quay", field: typed}, 422)
    assert reason in text
    assert 'value="7 Quay"' in text
    assert pieces(text) == 1


async def test_an_empty_cart_is_not_sold(browser: aiohttp.ClientSession) -> None:
    assert "The cart is empty" in await send(browser, "/cart/checkout", ORDER, 422)


async def test_a_cart_can_be_emptied_and_a_session_forgotten(browser: aiohttp.ClientSession) -> None:
    await send(browser, "/cart", {"product_id": MUG, "quantity": "3"})
    assert pieces(await send(browser, "/cart/empty", {})) == 0
    assert pieces(await send(browser, "/cart", {"product_id": MUG, "quantity": "1"})) == 1
    before = {it.key: it.value for it in browser.cookie_jar}
    assert pieces(await page(browser, "/logout")) == 0
    after = {it.key: it.value for it in browser.cookie_jar}
    assert before["shop_session-id"] != after["shop_session-id"]


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/product/nothing", 404, "there is no product"),
        ("/nowhere", 404, "Not Found"),
        ("/cart/checkout", 405, "Method Not Allowed"),
    ],
)
async def test_a_page_that_is_not_there_says_so(
    browser: aiohttp.ClientSession, path: str, status: int, reason: str
) -> None:
    async with browser.get(path, headers={"x-request-id": "abc<1>"}) as answer:
        assert answer.status == status
        text = await answer.text()
    assert reason in text
    assert "abc&lt;1&gt;" in text


@pytest.mark.parametrize("form", [{"product_id": "nothing", "quantity": "1"}, {"product_id": MUG}, {}])
async def test_what_cannot_be_bought_is_not_put_into_the_cart(
    browser: aiohttp.ClientSession, form: dict[str, str]
) -> None:
    await send(browser, "/cart", form, 404 if form.get("quantity") else 422)
    assert pieces(await page(browser, "/")) == 0


@pytest.mark.parametrize(
    ("cookie", "kept"), [("shop_session-id=known; shop_currency=XXX", True), ("shop_session-id=<b>", False)]
)
async def test_odd_cookies_break_nothing(shop: RunningShop, cookie: str, kept: bool) -> None:
    async with (
        aiohttp.ClientSession(shop.url, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get("/", headers={"Cookie": cookie}) as answer,
    ):
        assert answer.status == 200
        assert "<option selected>USD" in await answer.text()
        assert ("shop_session-id" in answer.cookies) is not kept


async def test_a_search_finds_by_words(browser: aiohttp.ClientSession) -> None:
    text = await page(browser, "/?q=enamel+mug")
    assert set(re.findall(r"/product/(\w+)", text)) >= {MUG}
    assert text.count('class="card"') == 1
    assert "Nothing. Try fewer" in await page(browser, "/?q=anchor")


async def test_the_probe_is_answered_without_a_session(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/_healthz", headers={"Cookie": "shop_session-id=x-readiness-probe"}) as answer:
        assert (answer.status, await answer.text()) == (200, "ok")
        assert not answer.cookies


async def test_pages_bring_their_style_and_forbid_all_else(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        style = re.search(r'rel="stylesheet" href="([^"]+)"', await answer.text())
    assert "default-src 'none'" in policy
    assert style
    async with browser.get(style[1]) as answer:
        assert answer.content_type == "text/css"
    async with browser.get(f"/static/pictures/{MUG}.svg") as answer:
        assert answer.content_type == "image/svg+xml"
    async with browser.head("/") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_the_interfaces_of_the_services_are_open_to_others(shop: RunningShop) -> None:
    """As another shop's client would call them, by names and messages only."""
    async with grpc.aio.insecure_channel(shop.programs["productcatalogservice"].address) as channel:
        search = channel.unary_unary(
            "/hipstershop.ProductCatalogService/SearchProducts",
            request_serializer=demo_pb2.SearchProductsRequest.SerializeToString,
            response_deserializer=demo_pb2.SearchProductsResponse.FromString,
        )
        found = await search(demo_pb2.SearchProductsRequest(query="brass candle"), timeout=10)
    assert [it.id for it in found.results] == ["0PUK6V6EV0"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/product/%ff", 404),
        ("/product/%00", 404),
        ("/?q=%ff%00", 200),
        ("/%ff", 404),
        ("/?q=%ED%A0%80", 200),
    ],
)
async def test_no_address_breaks_the_shop(shop: RunningShop, path: str, status: int) -> None:
    assert await raw(shop, f"GET {path} HTTP/1.1\r\n") == status


#: A file where a number is wanted.
UPLOAD = b'--b\r\nContent-Disposition: form-data; name="quantity"; filename="f"\r\n\r\n1\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Content-Type: application/x-www-form-urlencoded", b"product_id=\xff\xfe&quantity=1", 422),
        ("Content-Type: application/x-www-form-urlencoded", b"product_id=%ff&quantity=1", 404),
        ("Content-Type: application/x-www-form-urlencoded; charset=nonsense", b"product_id=x&quantity=1", 422),
        ("Content-Type: multipart/form-data", b"nothing", 422),
        ("Content-Type: multipart/form-data; boundary=b", UPLOAD, 422),
        ("Content-Type: application/x-www-form-urlencoded", b"x=" + b"y" * 70_000, 413),
    ],
)  # fmt: skip
async def test_no_form_breaks_the_shop(shop: RunningShop, headers: str, body: bytes, status: int) -> None:
    assert (
        await raw(shop, f"POST /cart HTTP/1.1\r\n{headers}\r\nContent-Length: {len(body)}\r\n", body)
        == status
    )


@pytest.mark.parametrize(
    "header",
    ["traceparent: \u00e9", "tracestate: \u00e9", "x-request-id: " + "x" * 5000, "Cookie: \u00e9=\u00e9"],
)
async def test_no_header_breaks_the_shop(shop: RunningShop, header: str) -> None:
    assert await raw(shop, f"GET / HTTP/1.1\r\n{header}\r\n") == 200


async def raw(shop: RunningShop, head: str, body: bytes = b"") -> int:
    """The status of a request which no well-behaved client would write."""
    host, _, port = shop.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"{head}Host: x\r\nConnection: close\r\n\r\n".encode("latin-1") + body)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
    return int(answer.split(None, 2)[1])
