"""How do pages look? Values become HTML; everything that came from elsewhere is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from http import HTTPStatus
from typing import Any

from boutique import money, settings
from boutique.frontend import forms, pictures
from boutique.frontend.shop import Advertisement, Cart, Frame, Home, Line, Offer, Order, Product

#: What a visitor who only wants to click finds in the checkout form; the card is a well-known test number.
_EXAMPLE = {
    "email": "someone@example.com", "street_address": "1 Harbour Road", "zip_code": "94043", "city": "Port Example",
    "state": "CA", "country": "United States", "credit_card_number": "4432801561520454",
    "credit_card_expiration_month": "1", "credit_card_expiration_year": "2039", "credit_card_cvv": "672",
}  # fmt: skip
_NEVER_SHOWN_AGAIN = (forms.CARD_NUMBER, "credit_card_cvv")


def home(page: Home, style: str) -> str:
    """The front page: all products, or those that were looked for."""
    offers = "".join(_card(it) for it in page.offers)
    heading = f'Found for "{escape(page.query)}"' if page.query else "Things for people who sail"
    found = f'<ul class="grid">{offers}</ul>' if offers else "<p>Nothing. Try fewer or other words.</p>"
    search = (
        '<form class="search" role="search" action="/" method="get"><label for="q">Search</label>'
        f'<input id="q" name="q" type="search" maxlength="100" value="{escape(page.query)}">'
        "<button>Find</button></form>"
    )
    return _page(
        "Boutique",
        f"<h1>{heading}</h1>{search}{found}{_advertisement(page.advertisement)}",
        page.frame,
        style,
    )


def product(page: Product, style: str) -> str:
    """One product, what else might please, and an advertisement."""
    offer = page.offer
    quantities = "".join(f"<option>{it}</option>" for it in range(1, forms.MOST_PIECES + 1))
    body = (
        f'<article class="product">{pictures.inline(offer.id, offer.name)}<div><h1>{escape(offer.name)}</h1>'
        f'<p class="price">{_money(offer.price)}</p><p>{escape(offer.description)}</p>'
        f'<form method="post" action="/cart"><input type="hidden" name="product_id" value="{escape(offer.id)}">'
        f'<label for="quantity">Quantity</label><select id="quantity" name="quantity">{quantities}</select>'
        '<button class="main">Add to cart</button></form></div></article>'
    )
    body += _recommended(page.recommended) + _advertisement(page.advertisement)
    return _page(offer.name, body, page.frame, style)


def cart(
    page: Cart, style: str, *, typed: Mapping[str, str] | None = None, reasons: Iterable[str] = ()
) -> str:
    """The cart and the form to order; ``reasons`` say why what was ``typed`` was not accepted."""
    problems = "".join(f"<li>{escape(it)}</li>" for it in reasons)
    alert = f'<div class="alert" role="alert"><h2>The order was not placed</h2><ul>{problems}</ul></div>'
    body = f"<h1>Cart</h1>{alert if problems else ''}"
    if page.lines:
        emptying = '<form method="post" action="/cart/empty"><button>Empty the cart</button></form>'
        bill = _bill(page.lines, page.shipping, page.total)
        body += f'<div class="halves"><section>{bill}{emptying}</section>{_checkout(typed)}</div>'
    else:
        body += '<p>Your cart is empty.</p><p><a class="main" href="/">Look at what there is</a></p>'
    return _page("Cart", body + _recommended(page.recommended), page.frame, style)


def order(page: Order, style: str) -> str:
    """The confirmation."""
    body = (
        "<h1>Your order is complete</h1><p>Thank you. A letter goes to "
        f"<strong>{escape(page.email)}</strong>: read it in the log of emailservice.</p>"
        f'<dl class="facts"><dt>Order</dt><dd id="order-id">{escape(page.id)}</dd>'
        f'<dt>Parcel</dt><dd id="tracking-id">{escape(page.tracking_id)}</dd></dl>'
        f'{_bill(page.lines, page.shipping, page.total)}<p><a class="main" href="/">Keep looking around</a></p>'
    )
    return _page("Order complete", body + _recommended(page.recommended), page.frame, style)


def error(status: int, reasons: Iterable[str], request_id: str, style: str) -> str:
    """Why there is no such page, and what to do."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    listed = "".join(f"<li>{escape(it)}</li>" for it in reasons)
    trace = f"<p>Request: <code>{escape(request_id)}</code></p>" if request_id else ""
    advice = (
        "A part of the shop does not answer as it should. Please try again in a moment."
        if status >= 500
        else "The shop could not do this. Going back and changing the request may help."
    )
    body = (
        f'<h1>{status} {escape(title)}</h1><p>{advice}</p><div class="alert" role="alert"><ul>{listed}</ul></div>{trace}'
        '<p><a class="main" href="/">To the front page</a></p>'
    )
    return _page(title, body, None, style)


def _page(title: str, body: str, frame: Frame | None, style: str) -> str:
    message = settings.text("FRONTEND_MESSAGE")
    banner = f'<p class="banner">{escape(message)}</p>' if message else ""
    heading = title if title == "Boutique" else f"{title} - Boutique"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f'initial-scale=1"><title>{escape(heading)}</title><link rel="stylesheet" href="{style}">'
        '<link rel="icon" href="/static/pictures/6E92ZMYYFZ.svg" type="image/svg+xml"></head><body>'
        f'<a class="skip" href="#content">Skip to the content</a>{banner}<header><a class="name" href="/">Boutique</a>'
        f'{_header(frame) if frame else ""}</header><main id="content">{body}</main>'
        "<footer><p>A sample shop of twelve services. Nothing is for sale, no card is charged, no parcel is sent.</p>"
        '<p><a href="/logout">Forget me</a></p></footer></body></html>'
    )


def _header(frame: Frame) -> str:
    options = "".join(
        f"<option{' selected' if it == frame.currency else ''}>{escape(it)}</option>"
        for it in frame.currencies
    )
    return (
        '<form method="post" action="/setCurrency"><label for="currency">Currency</label>'
        f'<select id="currency" name="currency_code">{options}</select><button>Change</button></form>'
        f'<a class="cart" href="/cart">Cart <span>{frame.pieces}</span></a>'
    )


def _card(offer: Offer) -> str:
    return (
        f'<li><a class="card" href="/product/{escape(offer.id)}">{pictures.inline(offer.id, "")}'
        f'<span class="title">{escape(offer.name)}</span><span class="price">{_money(offer.price)}</span></a></li>'
    )


def _recommended(offers: Iterable[Offer]) -> str:
    cards = "".join(_card(it) for it in offers)
    return (
        f'<section><h2>You may also like</h2><ul class="grid small">{cards}</ul></section>' if cards else ""
    )


def _advertisement(it: Advertisement | None) -> str:
    # A link elsewhere would be somebody else's choice: only paths of this shop are followed.
    if it is None or not it.url.startswith("/") or it.url.startswith("//"):
        return ""
    return f'<aside class="advertisement"><span>Advertisement</span> <a href="{escape(it.url)}">{escape(it.text)}</a></aside>'


def _bill(lines: Iterable[Line], shipping: Any, total: Any) -> str:
    rows = "".join(
        f'<tr><td>{it.quantity} x <a href="/product/{escape(it.offer.id)}">{escape(it.offer.name)}</a></td>'
        f"<td>{_money(it.cost)}</td></tr>"
        for it in lines
    )
    return (
        '<table><caption class="unseen">What it costs</caption><thead><tr><th scope="col">Product</th>'
        f'<th scope="col">Cost</th></tr></thead><tbody>{rows}<tr><td>Shipping</td><td>{_money(shipping)}</td></tr></tbody>'
        f'<tfoot><tr><th scope="row">Total</th><td id="total">{_money(total)}</td></tr></tfoot></table>'
    )


def _checkout(typed: Mapping[str, str] | None) -> str:
    def field(name: str, label: str, more: str) -> str:
        shown = _EXAMPLE[name] if typed is None or name in _NEVER_SHOWN_AGAIN else typed.get(name, "")
        return (
            f'<p><label for="{name}">{label}</label><input id="{name}" name="{name}" required {more} '
            f'value="{escape(shown)}"></p>'
        )

    texts = "".join(
        field(name, label, f'maxlength="{most}" type="{"email" if name == "email" else "text"}"')
        for name, label, most in forms.TEXTS
    )
    digits = 'inputmode="numeric" pattern="[0-9 -]*"'
    return (
        '<form class="checkout" method="post" action="/cart/checkout"><h2>Checkout</h2><fieldset><legend>Where to'
        f"</legend>{texts}{field('zip_code', 'Postal code', digits)}</fieldset><fieldset><legend>Card (any test number)"
        f"</legend>{field(forms.CARD_NUMBER, 'Card number', digits + ' autocomplete=off')}"
        f'<div class="three">{field("credit_card_expiration_month", "Month", digits)}'
        f"{field('credit_card_expiration_year', 'Year', digits)}{field('credit_card_cvv', 'Security code', digits)}</div>"
        '</fieldset><button class="main">Place order</button></form>'
    )


def _money(amount: Any) -> str:
    return escape(money.shown(amount))
