"""Is a service well? gRPC's health protocol v1, which Kubernetes' gRPC probes ask.

Its two messages have one field each; writing them by hand saves a package and a descriptor that would clash
with the one of ``grpcio-health-checking`` in the same process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

NAME = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def encode_status(status: int) -> bytes:
    """A HealthCheckResponse: field 1, an enum."""
    return bytes((0x08, status))


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest: field 1, a string of at most 127 bytes."""
    name = service.encode()
    if len(name) > 127:
        raise ValueError("the name of a service is at most 127 bytes long")
    return bytes((0x0A, len(name))) + name if name else b""


def decode_status(raw: bytes) -> int:
    """The status of a HealthCheckResponse; 0 (unknown) if there is none."""
    return raw[1] if len(raw) >= 2 and raw[0] == 0x08 else 0


def decode_request(raw: bytes) -> str | None:
    """The asked service's name; None if the bytes are no HealthCheckRequest we could know."""
    if not raw:
        return ""
    if len(raw) < 2 or raw[0] != 0x0A or raw[1] > 127 or len(raw) != 2 + raw[1]:
        return None
    return raw[2:].decode("utf-8", "replace")


class Health:
    """The answer for the whole server ("") and for the one service it offers, until it drains."""

    def __init__(self, service: str) -> None:
        self._known = ("", service)
        self._drains = asyncio.Event()

    def drain(self) -> None:
        """From now on the server is not serving."""
        self._drains.set()

    def handler(self) -> Any:
        """The generic handler to add to a server."""
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    def _status(self) -> int:
        return NOT_SERVING if self._drains.is_set() else SERVING

    async def _check(self, raw: bytes, context: Any) -> bytes:
        if decode_request(raw) not in self._known:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return encode_status(self._status())

    async def _watch(self, raw: bytes, _context: Any) -> AsyncIterator[bytes]:
        if decode_request(raw) not in self._known:
            yield encode_status(SERVICE_UNKNOWN)
            return
        yield encode_status(self._status())
        if not self._drains.is_set():
            await self._drains.wait()
            yield encode_status(NOT_SERVING)
