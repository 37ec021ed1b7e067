"""How is money added, multiplied and shown? Exactly, in billionths of a unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boutique.pb import demo_pb2

NANOS = 1_000_000_000
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CAD": "CA$", "TRY": "₺", "AUD": "A$", "INR": "₹"}
#: Currencies whose smallest coin is the unit.
_WHOLE = frozenset({"JPY", "KRW", "ISK", "HUF"})


def to_nanos(amount: Any) -> int:
    """An amount as one number."""
    return int(amount.units) * NANOS + int(amount.nanos)


def from_nanos(currency: str, nanos: int) -> Any:
    """An amount with units and nanos of one sign."""
    units, rest = divmod(abs(nanos), NANOS)
    sign = -1 if nanos < 0 else 1
    return demo_pb2.Money(currency_code=currency, units=sign * units, nanos=sign * rest)


def times(amount: Any, count: int) -> Any:
    """An amount ``count`` times."""
    return from_nanos(amount.currency_code, to_nanos(amount) * count)


def total(currency: str, amounts: Iterable[Any]) -> Any:
    """The sum of amounts of one currency; ValueError if one is of another."""
    nanos = 0
    for amount in amounts:
        if amount.currency_code != currency:
            raise ValueError(f"cannot add {amount.currency_code} to {currency}")
        nanos += to_nanos(amount)
    return from_nanos(currency, nanos)


def shown(amount: Any) -> str:
    """An amount for people, rounded half up to the currency's smallest coin."""
    decimals = 0 if amount.currency_code in _WHOLE else 2
    step = NANOS // 10**decimals
    coins, nanos = 10**decimals, to_nanos(amount)
    rounded = (abs(nanos) + step // 2) // step
    figure = f"{rounded // coins:,}" + (f".{rounded % coins:02d}" if decimals else "")
    sign = _SIGNS.get(amount.currency_code, f"{amount.currency_code} ")
    return f"{'-' if nanos < 0 and rounded else ''}{sign}{figure}"
