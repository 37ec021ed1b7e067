"""Addresses that users write, as far as a proxy may call them."""

from __future__ import annotations

from ipaddress import IPv4Address


def is_callable(address: str) -> bool:
    """Whether it is an address of IPv4 at which another pod can be.

    Kubernetes refuses the others in slices (ValidateNonSpecialIP), but not every API server looks. One text that is no
    address makes Envoy refuse all endpoints that come with it; one that means the proxy itself opens its own ports.
    """
    found = _parsed(address)
    return found is not None and not (
        found.is_loopback or found.is_link_local or found.is_multicast or found in _NOBODY
    )


def is_own(host: str) -> bool:
    """Whether it says plainly that the caller itself is meant, or nobody."""
    name = host.rstrip(".").lower()
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    found = _parsed(name)
    return found is not None and (found.is_loopback or found in _NOBODY)


_NOBODY = frozenset({IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")})


def _parsed(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None
