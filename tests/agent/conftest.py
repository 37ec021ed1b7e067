"""Servers that the agent meets: gRPC, and scripts that say exactly what a test wants said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import grpc.aio
import pytest

HEALTH = {"": 1, "shop.Cart": 1, "shop.Sick": 2}

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Scripted = Callable[[Script], AbstractAsyncContextManager[int]]


async def _check(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
    name = raw[2:].decode()
    if name == "shop.Slow":
        await asyncio.sleep(30)
    if name not in HEALTH:
        await context.abort(grpc.StatusCode.NOT_FOUND, f'unknown service "{name}" — 100 %')
    return b"\x08" + bytes([HEALTH[name]])


@pytest.fixture
async def health_server() -> AsyncIterator[int]:
    """The port of a real gRPC server that says how services of the shop are."""
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(_check)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
def scripted() -> Scripted:
    """A server that does with a connection what a function says; the port."""

    @asynccontextmanager
    async def run(script: Script) -> AsyncIterator[int]:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    return run
