"""What each port of the control plane bears, and the pace at which one address may connect."""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """Of one port. An address is a pod's, or that of a node whose pods are hidden behind it."""

    strangers: int  # connections of all who show no certificate
    each: int  # of one address among them
    first_s: float  # for the TLS handshake, and again until the first request
    silent_s: float | None  # between the end of an answer and the next request; None: as long as it likes
    members: int = 0  # connections of all who show a certificate of the mesh
    members_each: int = 0  # of one address among them
    pace: float = 50.0  # new connections of an address in a second, on average ...
    burst: int = 400  # ... and at once: every pod of a node may connect when a control plane starts


#: 15012. A stranger asks the CA, once; a proxy shows its certificate and stays.
SECURE = Bounds(1024, 64, 10.0, 30.0, members=4096, members_each=512)
#: 15010. Programs without a proxy hold a stream for ever.
PLAIN = Bounds(1024, 128, 10.0, None)
#: 15017. An API server has a connection for each review under way, and keeps some.
WEBHOOKS = Bounds(1024, 256, 10.0, 90.0)
#: 15014 and 8080: Prometheus, probes, tools.
PAGES = Bounds(256, 32, 10.0, 90.0)


class Budget:
    """A token bucket for each address."""

    def __init__(self, bounds: Bounds) -> None:
        self._pace, self._burst = bounds.pace, float(bounds.burst)
        self._left: dict[str, tuple[float, float]] = {}  # how many, and when that was so

    def spend(self, address: str, now: float) -> bool:
        """Whether this address may connect once more."""
        left, then = self._left.get(address, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._pace)
        self._left[address] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def forget(self, now: float) -> None:
        """Addresses whose bucket is full again."""
        full = [
            it for it, (left, then) in self._left.items() if left + (now - then) * self._pace >= self._burst
        ]
        for it in full:
            del self._left[it]
