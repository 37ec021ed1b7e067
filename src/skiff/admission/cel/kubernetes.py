"""What can expressions do with addresses, URLs, quantities and versions? Kubernetes' own functions.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-cel-libraries . The library knows no types of ours, so a
value of such a type is a map with one key that says what it is; equal values have equal texts.
"""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from skiff import quantities
from skiff.admission.cel.strings import no_overload

Value = dict[str, str]
_QUANTITY, _IP, _CIDR, _URL, _SEMVER = (
    f"kubernetes.{it}" for it in ("Quantity", "IP", "CIDR", "URL", "Semver")
)
_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)  # fmt: skip
_LONGEST = 4096

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _held(value: Any, kind: str) -> str:
    if not isinstance(value, dict) or not isinstance(value.get(kind), str):
        raise no_overload(f"the value is no {kind}")
    text: str = value[kind]
    return text


# --- quantities ----------------------------------------------------------------------------------


def quantity(text: str) -> Value:
    """``quantity("1Gi")``; an error when it is none."""
    return {_QUANTITY: str(quantities.parse(text))}


def is_quantity(text: str) -> bool:
    """Whether it is one."""
    return _is(quantity, text)


def _is(make: Any, text: str) -> bool:
    try:
        make(text)
    except ValueError:
        return False
    return True


def _amount(value: Any) -> Decimal:
    return Decimal(_held(value, _QUANTITY))


def sign(value: Any) -> int:
    """-1, 0 or 1."""
    amount = _amount(value)
    return (amount > 0) - (amount < 0)


def is_integer(value: Any) -> bool:
    """Whether ``asInteger`` has an answer."""
    amount = _amount(value)
    return amount == amount.to_integral_value()


def as_integer(value: Any) -> int:
    """The number; an error when it is not whole."""
    if not is_integer(value):
        raise ValueError("cannot convert value to integer")
    return int(_amount(value))


def as_float(value: Any) -> float:
    """The number, nearly."""
    return float(_amount(value))


def add(value: Any, other: Any) -> Value:
    """A quantity and a quantity or an integer."""
    return {_QUANTITY: str((_amount(value) + _addend(other)).normalize())}


def sub(value: Any, other: Any) -> Value:
    """A quantity less a quantity or an integer."""
    return {_QUANTITY: str((_amount(value) - _addend(other)).normalize())}


def _addend(other: Any) -> Decimal:
    return Decimal(other) if isinstance(other, int) and not isinstance(other, bool) else _amount(other)


def compare(value: Any, other: Any) -> int:
    """-1, 0 or 1, of two quantities or two versions."""
    one, two = _order(value), _order(other)
    if type(one) is not type(two):
        raise no_overload("compareTo")
    return int(one > two) - int(one < two)


def _order(value: Any) -> Any:
    return (
        _precedence(_held(value, _SEMVER)) if isinstance(value, dict) and _SEMVER in value else _amount(value)
    )


def is_less_than(value: Any, other: Any) -> bool:
    """Of two quantities or two versions."""
    return compare(value, other) < 0


def is_greater_than(value: Any, other: Any) -> bool:
    """Of two quantities or two versions."""
    return compare(value, other) > 0


# --- addresses -----------------------------------------------------------------------------------


def _address(text: str) -> Address:
    found = ipaddress.ip_address(text)
    if "%" in text or (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped):
        raise ValueError(f"IP Address {text!r} parse error: zones and IPv4-mapped addresses are not allowed")
    return found


def ip(value: Any) -> Value:
    """``ip("192.168.0.1")``, or the address of a CIDR."""
    if isinstance(value, dict):
        return {_IP: _held(value, _CIDR).rpartition("/")[0]}
    return {_IP: str(_address(_text(value)))}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise no_overload("the value is no string")
    return value


def is_ip(text: str) -> bool:
    """Whether it is one."""
    return _is(ip, text)


def is_canonical(text: str) -> bool:
    """Whether the address is written in the one usual way."""
    return str(_address(text)) == text


def family(value: Any) -> int:
    """4 or 6."""
    return 6 if ":" in _held(value, _IP) else 4


def is_unspecified(value: Any) -> bool:
    """0.0.0.0 or ::"""
    return _address(_held(value, _IP)).is_unspecified


def is_loopback(value: Any) -> bool:
    """127.0.0.0/8 or ::1"""
    return _address(_held(value, _IP)).is_loopback


def is_link_local_multicast(value: Any) -> bool:
    """224.0.0.0/24 or ff02::/16"""
    found = _address(_held(value, _IP))
    wide = "224.0.0.0/24" if found.version == 4 else "ff02::/16"
    return found in ipaddress.ip_network(wide)


def is_link_local_unicast(value: Any) -> bool:
    """169.254.0.0/16 or fe80::/10"""
    return _address(_held(value, _IP)).is_link_local


def is_global_unicast(value: Any) -> bool:
    """Neither unspecified, loopback, multicast, link-local nor broadcast; private ones count."""
    it = _address(_held(value, _IP))
    return not (
        it.is_unspecified
        or it.is_loopback
        or it.is_multicast
        or it.is_link_local
        or str(it) == "255.255.255.255"
    )


def cidr(text: str) -> Value:
    """``cidr("10.0.0.0/8")``; the address may have bits behind the prefix."""
    address, slash, length = text.partition("/")
    if not slash or not length.isdecimal() or not length.isascii() or (length[0] == "0" and length != "0"):
        raise ValueError(f"network address parse error during conversion from string: {text!r}")
    ipaddress.ip_network((str(_address(address)), int(length)), strict=False)
    return {_CIDR: f"{_address(address)}/{int(length)}"}


def is_cidr(text: str) -> bool:
    """Whether it is one."""
    return _is(cidr, text)


def _network(value: Any) -> Network:
    return ipaddress.ip_network(_held(value, _CIDR), strict=False)


def contains_ip(value: Any, other: Any) -> bool:
    """Whether the network holds an address, given as text or as one."""
    text = other if isinstance(other, str) else _held(other, _IP)
    return _address(text) in _network(value)


def contains_cidr(value: Any, other: Any) -> bool:
    """Whether the network holds all of another."""
    wide, narrow = _network(value), _network(cidr(other) if isinstance(other, str) else other)
    return wide.version == narrow.version and narrow.subnet_of(wide)  # type: ignore[arg-type]  # one version by now


def prefix_length(value: Any) -> int:
    """The number behind the slash."""
    return _network(value).prefixlen


def masked(value: Any) -> Value:
    """With zeros behind the prefix."""
    return {_CIDR: str(_network(value))}


# --- URLs ----------------------------------------------------------------------------------------


def url(text: str) -> Value:
    """``url("https://example.com:80/")``: absolute, or a path from the root."""
    if len(text) > _LONGEST or any(ord(it) < 33 or ord(it) == 127 for it in text):
        raise ValueError(f"URL parse error during conversion from string: {text[:100]!r}")
    found = urlsplit(text)
    absolute = bool(found.scheme) and text[:1].isalpha()
    if not absolute and not text.startswith("/"):
        raise ValueError(
            f"URL parse error during conversion from string: parse {text!r}: invalid URI for request"
        )
    port = (
        found.netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":")[2] if ":" in found.netloc else ""
    )
    if re.search(r"%(?![0-9A-Fa-f]{2})", found.path) or (
        ":" in found.netloc and port and not port.isdecimal() and "]" not in port
    ):
        raise ValueError(f"URL parse error during conversion from string: {text!r}")
    return {_URL: text}


def is_url(text: str) -> bool:
    """Whether it is one."""
    return _is(url, text)


def get_scheme(value: Any) -> str:
    """https"""
    return urlsplit(_held(value, _URL)).scheme


def get_host(value: Any) -> str:
    """example.com:80"""
    return urlsplit(_held(value, _URL)).netloc.rpartition("@")[2]


def get_hostname(value: Any) -> str:
    """example.com"""
    host = get_host(value)
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def get_port(value: Any) -> str:
    """80"""
    return get_host(value).rpartition("]")[2].partition(":")[2]


def get_escaped_path(value: Any) -> str:
    """/path%20x"""
    return urlsplit(_held(value, _URL)).path


def get_query(value: Any) -> dict[str, list[str]]:
    """{"k": ["v"]}"""
    return parse_qs(urlsplit(_held(value, _URL)).query, keep_blank_values=True, max_num_fields=1000)


# --- versions ------------------------------------------------------------------------------------


def semver(text: str, normalize: bool = False) -> Value:
    """``semver("1.2.3-alpha")``; with ``normalize`` also ``v1.2``."""
    if normalize:
        parts = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(.*)", text, re.ASCII | re.DOTALL)
        text = (
            ".".join(str(int(it or 0)) for it in parts.groups()[:3]) + parts[4]
            if parts and len(text) < 256
            else text
        )
    found = _VERSION.fullmatch(text) if len(text) < 256 else None
    if not found or any(
        it.isdecimal() and len(it) > 1 and it[0] == "0" for it in (found[4] or "").split(".")
    ):
        raise ValueError(f"invalid semantic version {text[:100]!r}")
    return {_SEMVER: text}


def is_semver(text: str, normalize: bool = False) -> bool:
    """Whether it is one."""
    return _is(lambda it: semver(it, normalize), text)


def _precedence(text: str) -> tuple[Any, ...]:
    found = _VERSION.fullmatch(text)
    assert found
    before = [(0, int(it), "") if it.isdecimal() else (1, 0, it) for it in (found[4] or "").split(".") if it]
    return (int(found[1]), int(found[2]), int(found[3]), not before, before)


def major(value: Any) -> int:
    """1 of 1.2.3"""
    return int(_held(value, _SEMVER).split(".")[0])


def minor(value: Any) -> int:
    """2 of 1.2.3"""
    return int(_held(value, _SEMVER).split(".")[1])


def patch(value: Any) -> int:
    """3 of 1.2.3"""
    return int(re.split(r"[.+-]", _held(value, _SEMVER))[2])


# --- lists ---------------------------------------------------------------------------------------


def is_sorted(items: list[Any]) -> bool:
    """Whether none is less than the one before it."""
    try:
        return all(one <= other for one, other in pairwise(items))
    except TypeError as wrong:
        raise no_overload("isSorted") from wrong


def sum_(items: list[Any]) -> Any:
    """Of numbers; 0 of none."""
    return _numbers(items, sum)


def min_(items: list[Any]) -> Any:
    """The least; an error when there is none."""
    return _numbers(items, min)


def max_(items: list[Any]) -> Any:
    """The greatest; an error when there is none."""
    return _numbers(items, max)


def _numbers(items: list[Any], answer: Any) -> Any:
    try:
        return answer(items)
    except (TypeError, ValueError) as wrong:
        name = answer.__name__
        raise ValueError(
            f"{name} called on empty list" if not items else f"no such overload: {name}"
        ) from wrong
