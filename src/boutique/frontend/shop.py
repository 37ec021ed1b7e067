"""What does a page need to know, and which services know it? Asked at the same time where nothing waits for another."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar

import grpc

from boutique import logs, money, rpc
from boutique.pb import demo_pb2

_Answer = TypeVar("_Answer")
_AT_MOST_RECOMMENDED = 4
#: Nobody waits longer for what a page can do without.
_NICE_TO_HAVE_S = 2.0
_CURRENCY = "USD"


class Visitor(NamedTuple):
    """Who looks at a page: a session, and the currency chosen in it."""

    session: str
    currency: str


class Offer(NamedTuple):
    """A product with its price in the visitor's currency."""

    id: str
    name: str
    description: str
    price: Any
    categories: tuple[str, ...]


class Line(NamedTuple):
    """Some pieces of one product and what they cost together."""

    offer: Offer
    quantity: int
    cost: Any


class Advertisement(NamedTuple):
    """Words, and where they lead."""

    text: str
    url: str


class Frame(NamedTuple):
    """What surrounds every page."""

    currency: str = _CURRENCY
    currencies: tuple[str, ...] = (_CURRENCY,)
    cart: tuple[tuple[str, int], ...] = ()

    @property
    def pieces(self) -> int:
        """How many things are in the cart."""
        return sum(quantity for _, quantity in self.cart)


class Home(NamedTuple):
    """All products, or those found by the words in ``query``."""

    frame: Frame
    offers: tuple[Offer, ...]
    advertisement: Advertisement | None
    query: str


class Product(NamedTuple):
    """One product."""

    frame: Frame
    offer: Offer
    recommended: tuple[Offer, ...]
    advertisement: Advertisement | None


class Cart(NamedTuple):
    """What is in the cart and what it would cost."""

    frame: Frame
    lines: tuple[Line, ...]
    shipping: Any
    total: Any
    recommended: tuple[Offer, ...]


class Order(NamedTuple):
    """What was bought."""

    frame: Frame
    id: str
    tracking_id: str
    email: str
    lines: tuple[Line, ...]
    shipping: Any
    total: Any
    recommended: tuple[Offer, ...]


class Shop:
    """The services behind the pages. Advertisements and recommendations may be missing; all else must answer."""

    def __init__(self) -> None:
        self._products = rpc.remote("ProductCatalogService", "PRODUCT_CATALOG_SERVICE_ADDR")
        self._currencies = rpc.remote("CurrencyService", "CURRENCY_SERVICE_ADDR")
        self._carts = rpc.remote("CartService", "CART_SERVICE_ADDR")
        self._recommendations = rpc.remote("RecommendationService", "RECOMMENDATION_SERVICE_ADDR")
        self._shipping = rpc.remote("ShippingService", "SHIPPING_SERVICE_ADDR")
        self._checkout = rpc.remote("CheckoutService", "CHECKOUT_SERVICE_ADDR")
        self._ads = rpc.remote("AdService", "AD_SERVICE_ADDR")

    async def close(self) -> None:
        """End all connections."""
        for it in (self._products, self._currencies, self._carts, self._recommendations, self._shipping,
                   self._checkout, self._ads):  # fmt: skip
            await it.close()

    async def home(self, visitor: Visitor, query: str) -> Home:
        """The front page."""
        frame, found, advertisement = await rpc.together([
            self._frame(visitor), self._found(query), self._advertisement(()),
        ])  # fmt: skip
        return Home(frame, await self._offers(found, frame.currency), advertisement, query)

    async def product(self, visitor: Visitor, product: str) -> Product:
        """The page of one product."""
        frame, found = await rpc.together([self._frame(visitor), self._product(product)])
        (offer,), recommended, advertisement = await rpc.together([
            self._offers([found], frame.currency),
            self._recommended(visitor.session, [product], frame.currency),
            self._advertisement(found.categories),
        ])  # fmt: skip
        return Product(frame, offer, recommended, advertisement)

    async def cart(self, visitor: Visitor) -> Cart:
        """The cart with its prices."""
        frame = await self._frame(visitor)
        lines, shipping, recommended = await rpc.together([
            self._lines(frame.cart, frame.currency),
            self._shipping_cost(frame.cart, frame.currency),
            self._recommended(visitor.session, [product for product, _ in frame.cart], frame.currency),
        ])  # fmt: skip
        total = money.total(frame.currency, [shipping, *(it.cost for it in lines)])
        return Cart(frame, lines, shipping, total, recommended)

    async def add(self, visitor: Visitor, product: str, quantity: int) -> None:
        """Put pieces of an existing product into the cart."""
        await self._product(product)
        item = demo_pb2.CartItem(product_id=product, quantity=quantity)
        await self._carts.call("AddItem", demo_pb2.AddItemRequest(user_id=visitor.session, item=item))

    async def empty(self, visitor: Visitor) -> None:
        """Take everything out of the cart."""
        await self._carts.call("EmptyCart", demo_pb2.EmptyCartRequest(user_id=visitor.session))

    async def order(self, visitor: Visitor, wanted: Any) -> Order:
        """Buy what is in the cart. ``wanted``: a PlaceOrderRequest without session and currency."""
        frame = await self._frame(visitor)
        wanted.user_id, wanted.user_currency = visitor.session, frame.currency
        placed = (await self._checkout.call("PlaceOrder", wanted, timeout_s=10)).order
        found, recommended = await rpc.together([
            rpc.together(self._product(it.item.product_id) for it in placed.items),
            self._recommended(visitor.session, [it.item.product_id for it in placed.items], frame.currency),
        ])  # fmt: skip
        lines = tuple(
            Line(_offer(product, it.cost), it.item.quantity, money.times(it.cost, it.item.quantity))
            for product, it in zip(found, placed.items, strict=True)
        )
        total = money.total(frame.currency, [placed.shipping_cost, *(it.cost for it in lines)])
        return Order(
            frame._replace(cart=()), placed.order_id, placed.shipping_tracking_id, wanted.email, lines,
            placed.shipping_cost, total, recommended,
        )  # fmt: skip

    async def _frame(self, visitor: Visitor) -> Frame:
        """A currency nobody knows, from an old or forged cookie, becomes the usual one."""
        supported, cart = await rpc.together([
            self._currencies.call("GetSupportedCurrencies", demo_pb2.Empty()),
            self._carts.call("GetCart", demo_pb2.GetCartRequest(user_id=visitor.session)),
        ])  # fmt: skip
        codes = tuple(sorted(supported.currency_codes))
        currency = visitor.currency if visitor.currency in codes else _CURRENCY
        return Frame(currency, codes, tuple((it.product_id, it.quantity) for it in cart.items))

    async def _found(self, query: str) -> list[Any]:
        if not query:
            return list((await self._products.call("ListProducts", demo_pb2.Empty())).products)
        request = demo_pb2.SearchProductsRequest(query=query)
        return list((await self._products.call("SearchProducts", request)).results)

    async def _product(self, product: str) -> Any:
        return await self._products.call("GetProduct", demo_pb2.GetProductRequest(id=product))

    async def _offers(self, products: Iterable[Any], currency: str) -> tuple[Offer, ...]:
        found = list(products)
        prices = await rpc.together(self._converted(it.price_usd, currency) for it in found)
        return tuple(_offer(product, price) for product, price in zip(found, prices, strict=True))

    async def _lines(self, cart: Iterable[tuple[str, int]], currency: str) -> tuple[Line, ...]:
        items = list(cart)
        offers = await self._offers(
            await rpc.together(self._product(product) for product, _ in items), currency
        )
        return tuple(
            Line(offer, quantity, money.times(offer.price, quantity))
            for offer, (_, quantity) in zip(offers, items, strict=True)
        )

    async def _shipping_cost(self, cart: Iterable[tuple[str, int]], currency: str) -> Any:
        items = [demo_pb2.CartItem(product_id=product, quantity=quantity) for product, quantity in cart]
        quote = await self._shipping.call("GetQuote", demo_pb2.GetQuoteRequest(items=items))
        return await self._converted(quote.cost_usd, currency)

    async def _converted(self, amount: Any, currency: str) -> Any:
        if amount.currency_code == currency:
            return amount
        request = demo_pb2.CurrencyConversionRequest(**{"from": amount, "to_code": currency})
        return await self._currencies.call("Convert", request)

    async def _recommended(self, session: str, products: list[str], currency: str) -> tuple[Offer, ...]:
        async def ask() -> tuple[Offer, ...]:
            request = demo_pb2.ListRecommendationsRequest(user_id=session, product_ids=products)
            said = await self._recommendations.call(
                "ListRecommendations", request, timeout_s=_NICE_TO_HAVE_S, patient=False
            )
            chosen = said.product_ids[:_AT_MOST_RECOMMENDED]
            return await self._offers(await rpc.together(self._product(it) for it in chosen), currency)

        return await _if_possible(ask(), ())

    async def _advertisement(self, categories: Iterable[str]) -> Advertisement | None:
        async def ask() -> Advertisement | None:
            request = demo_pb2.AdRequest(context_keys=categories)
            said = await self._ads.call("GetAds", request, timeout_s=_NICE_TO_HAVE_S, patient=False)
            return Advertisement(said.ads[0].text, said.ads[0].redirect_url) if said.ads else None

        return await _if_possible(ask(), None)


def is_refusal(failed: rpc.UpstreamError) -> bool:
    """Whether the visitor's request was wrong, and not the shop."""
    return failed.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


def _offer(product: Any, price: Any) -> Offer:
    return Offer(product.id, product.name, product.description, price, tuple(product.categories))


async def _if_possible(asked: Coroutine[Any, Any, _Answer], otherwise: _Answer) -> _Answer:
    try:
        return await asked
    except rpc.UpstreamError as failed:
        logs.say("warning", f"the page goes without: {failed}")
        return otherwise
