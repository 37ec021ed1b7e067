"""How much is "100m" or "64Mi"? Kubernetes' quantities, exactly.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import lru_cache
from math import isfinite

_FORM = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([eE][+-]?[0-9]{1,3}|[numkMGTPE]|[KMGTPE]i|)", re.ASCII
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_NANO = Decimal("1e-9")
#: What the real one can hold; anything above is as good as without an end.
_MOST = Decimal(2**63 - 1)
_LONGEST = 128

WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"  # the real one's words


def parse(text: str | float) -> Decimal:
    """The amount; ValueError with Kubernetes' words when it is none. What is finer than a billionth is rounded up."""
    said = _plain(text)
    if len(said) > _LONGEST:
        raise ValueError(WRONG)
    return _parsed(said)


@lru_cache(maxsize=1024)
def _parsed(said: str) -> Decimal:
    found = _FORM.fullmatch(said)
    if found is None:
        raise ValueError(WRONG)
    number, unit = found.groups()
    with localcontext() as exact:
        exact.prec = 2 * _LONGEST
        value = Decimal(number)
        if unit in _BINARY:
            value *= 1024 ** _BINARY[unit]
        else:
            value = value.scaleb(int(unit[1:]) if unit[:1] in "eE" and len(unit) > 1 else _DECIMAL[unit])
        if abs(value) > _MOST:
            return _MOST.copy_sign(value)
        exact.rounding = ROUND_CEILING if value > 0 else "ROUND_FLOOR"
        return value.quantize(_NANO).normalize() if value else Decimal(0)


def show(value: Decimal, like: str | float = "") -> str:
    """The canonical form, in the style of ``like``: binary ("Mi"), an exponent ("e3") or decimal ("m", "k")."""
    unit = _unit(_plain(like))
    with localcontext() as exact:
        exact.prec = 2 * _LONGEST
        if not value:
            return "0"
        if unit.endswith("i") and value == value.to_integral_value() and abs(value) >= 1024:
            return _binary(int(value))
        power = _power(value)
        number = str(int(value.scaleb(-power)))
        if unit[:1] in ("e", "E") and len(unit) > 1:
            return number if power == 0 else f"{number}e{power}"
        return number + next(name for name, it in _DECIMAL.items() if it == power)


def _plain(text: str | float) -> str:
    if isinstance(text, float):  # clients may write 0.5 instead of "0.5"
        return str(Decimal(repr(text))) if isfinite(text) else "nan"
    return str(text)


def _unit(text: str) -> str:
    found = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    return found[2] if found else ""


def _binary(value: int) -> str:
    names = ["", *_BINARY]
    step = 0
    while step < len(names) - 1 and value % 1024 == 0:
        value, step = value // 1024, step + 1
    return f"{value}{names[step]}"


def _power(value: Decimal) -> int:
    """The greatest step of three by which the number stays whole."""
    power = 18
    while power > -9 and value.scaleb(-power) != value.scaleb(-power).to_integral_value():
        power -= 3
    return power
