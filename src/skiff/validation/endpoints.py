"""Which addresses may somebody put behind a Service? Not those of the node itself: that would be a way in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.containers import PROTOCOLS
from skiff.validation.problems import (
    IMMUTABLE,
    between,
    duplicate,
    each,
    entries,
    invalid,
    listed,
    one_of,
    part,
    required,
    text,
    texts,
    too_many,
)  # fmt: skip

#: A slice may have a hundred thousand addresses, so they are compared as bytes.
_MAPPED, _LOOP = bytes(10) + b"\xff\xff", bytes(15) + b"\1"
_ENDPOINTS, _ADDRESSES, _PORTS, _ZONES, _TOPOLOGY = 1000, 100, 20_000, 8, 16


def not_special(path: str, value: str) -> Iterator[Problem]:
    """An address that means this machine, this link, or nothing."""
    found = names.packed_address(value)
    if found is None:
        return
    found = found.removeprefix(_MAPPED)  # ::ffff:127.0.0.1 is this machine, too
    if not any(found):
        yield invalid(path, value, "may not be unspecified (0.0.0.0 or ::)")
    if found == _LOOP or (len(found) == 4 and found[0] == 127):
        yield invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if found[:2] == b"\xa9\xfe" if len(found) == 4 else found[0] == 0xFE and found[1] & 0xC0 == 0x80:
        yield invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if found[:3] == b"\xe0\0\0" if len(found) == 4 else found[:2] == b"\xff\x02":
        yield invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def endpoints(obj: Object, _old: Object | None) -> Iterator[Problem]:
    """The old kind."""
    for where, it in entries(obj, "subsets", ""):
        if not listed(it, "addresses") and not listed(it, "notReadyAddresses"):
            yield required(where, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for place, one in entries(it, field, where):
                yield from each(f"{place}.ip", text(one, "ip"), names.address(text(one, "ip")))
                yield from not_special(f"{place}.ip", text(one, "ip"))
                yield from _host(one, place)
        ports = list(entries(it, "ports", where))
        for place, port in ports:
            name = text(port, "name")
            if len(ports) > 1 and not name:
                yield required(f"{place}.name")
            elif name:
                yield from each(f"{place}.name", name, names.label(name))
            yield from between(f"{place}.port", port.get("port") or 0, 1, 65535)
            yield from one_of(f"{place}.protocol", port.get("protocol"), PROTOCOLS)


def endpoint_slice(obj: Object, old: Object | None) -> Iterator[Problem]:
    """The new kind."""
    sort = text(obj, "addressType")
    yield from one_of("addressType", sort, ("FQDN", "IPv4", "IPv6"), needed=True)
    if old is not None and sort != text(old, "addressType"):
        yield invalid("addressType", sort, IMMUTABLE)
    yield from _slice_ports(obj)
    count = len(listed(obj, "endpoints"))
    if count > _ENDPOINTS:
        yield too_many("endpoints", count, _ENDPOINTS)
        return
    for index, it in enumerate(listed(obj, "endpoints")):
        yield from _endpoint(it if isinstance(it, dict) else {}, f"endpoints[{index}]", sort)


def _endpoint(it: dict[str, Any], path: str, sort: str) -> Iterator[Problem]:
    addresses = texts(it, "addresses")
    if not addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > _ADDRESSES:
        yield too_many(f"{path}.addresses", len(addresses), _ADDRESSES)
        return
    for index, one in enumerate(addresses):
        where, found = f"{path}.addresses[{index}]", names.packed_address(one)
        if sort == "FQDN":
            yield from each(where, one, names.subdomain(one))
        elif sort in ("IPv4", "IPv6"):
            if found is None or len(found) != (4 if sort == "IPv4" else 16):
                yield invalid(where, one, f"must be a valid {sort} address")
            yield from not_special(where, one)
    yield from _host(it, path)
    topology = part(it, "deprecatedTopology")
    if len(topology) > _TOPOLOGY:
        yield too_many(f"{path}.deprecatedTopology", len(topology), _TOPOLOGY)
    for field in ("forZones", "forNodes"):
        zones = listed(part(it, "hints"), field)
        if len(zones) > _ZONES:
            yield too_many(f"{path}.hints.{field}", len(zones), _ZONES)


def _host(it: dict[str, Any], path: str) -> Iterator[Problem]:
    if name := text(it, "hostname"):
        yield from each(f"{path}.hostname", name, names.label(name))
    if name := text(it, "nodeName"):
        yield from each(f"{path}.nodeName", name, names.subdomain(name))


def _slice_ports(obj: Object) -> Iterator[Problem]:
    ports = listed(obj, "ports")
    if len(ports) > _PORTS:
        yield too_many("ports", len(ports), _PORTS)
        return
    seen: set[str] = set()
    for index, it in enumerate(ports):
        path, name = f"ports[{index}]", text(it, "name")
        if name:
            yield from each(f"{path}.name", name, names.label(name))
        if name in seen:
            yield duplicate(f"{path}.name", name)
        seen.add(name)
        port = it if isinstance(it, dict) else {}
        yield from one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
        yield from between(f"{path}.port", port.get("port"), 1, 65535)
        if found := text(port, "appProtocol"):
            yield from each(f"{path}.appProtocol", found, names.qualified(found))
