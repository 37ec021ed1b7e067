"""Is a text what its ``format`` says? The formats that Kubernetes checks in CustomResourceDefinitions; others say nothing.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from urllib.parse import urlsplit

#: Longer texts are looked at by none of the checks: they cannot be right.
_LONGEST = 8192
_HOST = re.compile(
    r"(?=.{1,253}\.?$)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII
)
_EMAIL = re.compile(r"[^\s@<>(),;:\\\"\[\]]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WORDS = re.compile(
    r"(\d+)\s*(nanos?|micros?|millis?|seconds?|secs?|minutes?|mins?|hours?|hrs?|hr|days?|weeks?|wks?|[smhdw]|ns|us|µs|ms)",
    re.ASCII,
)
_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
}  # fmt: skip
_ISBN = re.compile(r"[0-9]{9}[0-9X]|97[89][0-9]{10}", re.ASCII)
_COLOUR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", re.ASCII)
_RGB = re.compile(r"rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)", re.ASCII)
_PLAIN = {
    "mac": re.compile(
        r"(?:[0-9a-fA-F]{2}[:-]){5}(?:[0-9a-fA-F]{2}|[0-9a-fA-F]{2}[:-][0-9a-fA-F]{2}[:-][0-9a-fA-F]{2})"
        r"|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}", re.ASCII),
    "bsonobjectid": re.compile(r"[0-9a-fA-F]{24}", re.ASCII), "ssn": re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}", re.ASCII),
    "hostname": _HOST, "email": _EMAIL, "hexcolor": _COLOUR,
}  # fmt: skip


def duration(text: str) -> timedelta:
    """Go's ``1h30m``, or a number with a word; ValueError when it is neither."""
    plain = text.strip()
    sign = -1 if plain.startswith("-") else 1
    rest = plain.removeprefix("-").removeprefix("+")
    if rest == "0":
        return timedelta()
    parts = list(_PART.finditer(rest))
    if parts and "".join(it[0] for it in parts) == rest:
        return _span(sign * sum(float(it[1]) * _SECONDS[it[2]] for it in parts), text)
    found = _WORDS.fullmatch(rest.lower())
    if not found:
        raise ValueError(f"unable to parse {text[:100]} as duration")
    unit = found[2]
    if unit not in _SECONDS:
        unit = {"na": "ns", "mic": "us", "mil": "ms"}.get(unit[:3], {"na": "ns"}.get(unit[:2], unit[0]))
    return _span(sign * int(found[1]) * _SECONDS[unit], text)


def _span(seconds: float, text: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError as wrong:
        raise ValueError(f"unable to parse {text[:100]} as duration") from wrong


def _date_time(text: str) -> bool:
    return bool(_TIME.fullmatch(text)) and _made(datetime.fromisoformat, text.upper())


def _date(text: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)) and _made(date.fromisoformat, text)


def _made(make: Callable[[str], object], text: str) -> bool:
    try:
        make(text)
    except (ValueError, binascii.Error):
        return False
    return True


def _uri(text: str) -> bool:
    if any(ord(it) < 33 or ord(it) == 127 for it in text):
        return False
    found = urlsplit(text)
    return bool(found.scheme) or text.startswith("/")


def _uuid(version: int) -> Callable[[str], bool]:
    form = re.compile(
        r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.ASCII | re.IGNORECASE
    )
    return lambda text: bool(form.fullmatch(text)) and (not version or uuid.UUID(text).version == version)


def _isbn(text: str, sizes: tuple[int, ...]) -> bool:
    plain = text.replace("-", "").replace(" ", "")
    if len(plain) not in sizes or not _ISBN.fullmatch(plain):
        return False
    if len(plain) == 10:
        return sum((10 - at) * (10 if it == "X" else int(it)) for at, it in enumerate(plain)) % 11 == 0
    return sum(int(it) * (3 if at % 2 else 1) for at, it in enumerate(plain)) % 10 == 0


def _credit_card(text: str) -> bool:
    digits = re.sub(r"[- ]", "", text)
    if not digits.isdecimal() or not digits.isascii() or not 12 <= len(digits) <= 19:
        return False
    doubled = (int(it) * (1 + at % 2) for at, it in enumerate(reversed(digits)))
    return sum(it - 9 if it > 9 else it for it in doubled) % 10 == 0


def _rgb(text: str) -> bool:
    found = _RGB.fullmatch(text)
    return found is not None and all(int(it) < 256 for it in found.groups())


_CHECKS: dict[str, Callable[[str], bool]] = {
    "date-time": _date_time, "date": _date, "duration": lambda text: _made(duration, text),
    "byte": lambda text: _made(lambda it: base64.b64decode(it, validate=True), text),
    "ipv4": lambda text: _made(ipaddress.IPv4Address, text),
    "ipv6": lambda text: ":" in text and _made(ipaddress.IPv6Address, text),
    "cidr": lambda text: "/" in text and _made(lambda it: ipaddress.ip_network(it, strict=False), text),
    "uri": _uri, "uuid": _uuid(0), "uuid3": _uuid(3), "uuid4": _uuid(4), "uuid5": _uuid(5),
    "isbn": lambda text: _isbn(text, (10, 13)), "isbn10": lambda text: _isbn(text, (10,)),
    "isbn13": lambda text: _isbn(text, (13,)),
    "creditcard": _credit_card,
    "rgbcolor": _rgb,
    **{name: (lambda text, form=form: bool(form.fullmatch(text))) for name, form in _PLAIN.items()},  # type: ignore[misc]
}  # fmt: skip


def fits(text: str, form: str) -> bool:
    """Whether a text is of a format; a format that nobody checks fits all."""
    check = _CHECKS.get(form.replace("-", "") if form not in _CHECKS else form)
    return check is None or ((len(text) <= _LONGEST or form == "byte") and check(text))
