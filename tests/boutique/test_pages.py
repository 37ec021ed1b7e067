"""Are pages safe and accessible, whatever the services say?"""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boutique import catalog, money
from boutique.frontend import pages, pictures
from boutique.frontend.shop import Advertisement, Cart, Frame, Home, Line, Offer, Order, Product

_VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """A page's elements; fails when tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def every_page(text: str, url: str = "/product/x") -> dict[str, str]:
    """All kinds of pages with one text wherever a service or a visitor may say something."""
    price = money.from_nanos("EUR", 12_340_000_000)
    offer = Offer(text, text, text, price, (text,))
    line = Line(offer, 2, price)
    frame = Frame("EUR", ("EUR", "USD", text), ((text, 2),))
    ad = Advertisement(text, url)
    bill = Cart(frame, (line,), price, price, (offer,))
    return {
        "home": pages.home(Home(frame, (offer,), ad, text), "/static/style.css"),
        "nothing": pages.home(Home(frame, (), None, text), "/static/style.css"),
        "product": pages.product(Product(frame, offer, (offer,), ad), "/static/style.css"),
        "cart": pages.cart(bill, "/static/style.css"),
        "refused": pages.cart(bill, "/static/style.css", typed={"city": text}, reasons=(text,)),
        "empty": pages.cart(bill._replace(lines=()), "/static/style.css"),
        "order": pages.order(Order(frame, text, text, text, (line,), price, price, ()), "/static/style.css"),
        "error": pages.error(503, (text,), text, "/static/style.css"),
    }


@given(
    st.one_of(
        st.text(min_size=1),
        st.sampled_from(['"><script>alert(1)</script>', "' onload='x", "</title><b>", "&lt;", "{x}"]),
    )
)
def test_no_text_becomes_markup(text: str) -> None:
    harmless = {name: Page(page).elements for name, page in every_page("x").items()}
    for name, page in every_page(text).items():
        found = Page(page).elements
        assert [tag for tag, _ in found] == [tag for tag, _ in harmless[name]]
        assert [sorted(it) for _, it in found] == [sorted(it) for _, it in harmless[name]]


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)", ""]
)
def test_an_advertisement_leads_nowhere_else(url: str) -> None:
    assert "elsewhere" not in every_page("x", url)["home"]
    assert "javascript" not in every_page("x", url)["product"]


def test_pages_are_accessible() -> None:
    for name, text in every_page("x").items():
        page = Page(text)
        assert page.all("html")[0]["lang"] == "en", name
        assert len(page.all("h1")) == 1, name
        assert len(page.all("title")) == 1, name
        labelled = {it["for"] for it in page.all("label")}
        fields = {
            it.get("id") for it in [*page.all("input"), *page.all("select")] if it.get("type") != "hidden"
        }
        assert fields == labelled, name
        ids = [it["id"] for _, it in page.elements if "id" in it]
        assert len(ids) == len(set(ids)), name
        assert all(it.get("method") in ("get", "post") for it in page.all("form")), name
        assert page.all("script") == [], name


def test_a_refused_order_keeps_what_was_typed_but_no_card() -> None:
    page = Page(every_page("Port Example Two")["refused"])
    fields = {it["name"]: it.get("value") for it in page.all("input") if "name" in it}
    assert fields["city"] == "Port Example Two"
    assert fields["email"] == ""
    typed = {"credit_card_number": "4111111111111111", "credit_card_cvv": "999"}
    price = money.from_nanos("EUR", 1)
    cart = Cart(Frame(), (Line(Offer("x", "x", "x", price, ()), 1, price),), price, price, ())
    shown = pages.cart(cart, "/static/style.css", typed=typed, reasons=("no",))
    assert "4111111111111111" not in shown
    assert "999" not in shown


def test_every_ware_has_a_drawing_of_its_own_and_a_stranger_a_parcel() -> None:
    drawings = {pictures.file(it) for it in catalog.BY_ID}
    assert len(drawings) == len(catalog.BY_ID)
    assert pictures.file("stranger") not in drawings
    for it in [*catalog.BY_ID, "stranger"]:
        Page(pictures.file(it))
