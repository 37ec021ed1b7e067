"""What did the visitor type? Fields become values or reasons which the visitor can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boutique.pb import demo_pb2

MOST_PIECES = 10
_INT32 = (1 << 31) - 1
#: (field, what the visitor sees, most characters); the names are those which load generators of the shop send.
TEXTS = (
    ("email", "E-mail address", 254),
    ("street_address", "Street and number", 512),
    ("city", "City", 128),
    ("state", "State or region", 128),
    ("country", "Country", 128),
)
CARD_NUMBER = "credit_card_number"
_NUMBERS = (
    ("zip_code", "Postal code", 0, _INT32),
    ("credit_card_expiration_month", "Month of expiry", 1, 12),
    ("credit_card_expiration_year", "Year of expiry", 2000, 9999),
    ("credit_card_cvv", "Security code", 0, 9999),
)


class RefusedFormError(Exception):
    """A form cannot be used; ``reasons`` say why, one for each field."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def order(form: Mapping[str, Any]) -> Any:
    """A PlaceOrderRequest of the checkout form's fields; RefusedFormError with all that is wrong."""
    reasons: list[str] = []
    said = {name: _text(form, name, label, most, reasons) for name, label, most in TEXTS}
    said[CARD_NUMBER] = _text(form, CARD_NUMBER, "Card number", 32, reasons)
    numbers = {
        name: _number(form, name, label, least, most, reasons) for name, label, least, most in _NUMBERS
    }
    if said["email"] and "@" not in said["email"].strip("@"):
        reasons.append("E-mail address: it needs an @ between name and domain")
    if reasons:
        raise RefusedFormError(*reasons)
    return demo_pb2.PlaceOrderRequest(
        email=said["email"],
        address=demo_pb2.Address(
            street_address=said["street_address"], city=said["city"], state=said["state"],
            country=said["country"], zip_code=numbers["zip_code"],
        ),
        credit_card=demo_pb2.CreditCardInfo(
            credit_card_number=said[CARD_NUMBER], credit_card_cvv=numbers["credit_card_cvv"],
            credit_card_expiration_year=numbers["credit_card_expiration_year"],
            credit_card_expiration_month=numbers["credit_card_expiration_month"],
        ),
    )  # fmt: skip


def addition(form: Mapping[str, Any]) -> tuple[str, int]:
    """Product and quantity of the form on a product's page."""
    reasons: list[str] = []
    product = _text(form, "product_id", "Product", 64, reasons)
    quantity = _number(form, "quantity", "Quantity", 1, MOST_PIECES, reasons)
    if reasons:
        raise RefusedFormError(*reasons)
    return product, quantity


def currency(form: Mapping[str, Any]) -> str:
    """The code of the chosen currency."""
    code = str(form.get("currency_code", "")).strip()
    if not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        raise RefusedFormError("Currency: three capital letters are needed, such as EUR")
    return code


def _text(form: Mapping[str, Any], name: str, label: str, most: int, reasons: list[str]) -> str:
    value = form.get(name, "")
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        reasons.append(f"{label}: please fill it in")
    elif len(text) > most:
        reasons.append(f"{label}: at most {most} characters")
    return text


def _number(form: Mapping[str, Any], name: str, label: str, least: int, most: int, reasons: list[str]) -> int:
    value = form.get(name, "")
    digits = value.strip() if isinstance(value, str) else ""
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else -1
    if not least <= number <= most:
        reasons.append(f"{label}: a number from {least} to {most} is needed")
    return number
