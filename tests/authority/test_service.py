"""The CA under more requests than it can answer."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority.holder import AuthorityHolder
from lateen.authority.service import MOST_OF_ONE, MOST_WAITING, CertificateService
from lateen.authority.store import Authority
from lateen.authority.tokens import Reviewer
from lateen.discovery.server import server
from lateen.kube.client import KubeClient
from lateen.kube.config import Connection
from lateen.pki import messages
from lateen.pki.certificates import pem, self_signed


async def test_more_than_may_wait_are_told_to_come_again() -> None:
    root = self_signed(
        ec.generate_private_key(ec.SECP256R1()), "td", serial=1, now=datetime.now(UTC), ttl=timedelta(days=1)
    )
    numbers = itertools.count()
    asked: list[asyncio.StreamWriter] = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)  # an API server that is overloaded: it takes requests and says nothing

    async with AsyncExitStack() as stack:
        kubernetes = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = kubernetes.sockets[0].getsockname()[1]
        client = await stack.enter_async_context(KubeClient(Connection(f"http://127.0.0.1:{port}", None)))
        it = CertificateService(
            AuthorityHolder(Authority(root, pem(root.certificate), "test")),
            Reviewer(client),
            lambda: "td",
            lambda _: None,
            lambda _: True,
            lambda _: f"10.0.0.{next(numbers) // MOST_OF_ONE}",
        )
        made = server([it.handler()])
        address = f"127.0.0.1:{made.add_insecure_port('127.0.0.1:0')}"
        await made.start()
        stack.push_async_callback(made.stop, 0)
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(MOST_WAITING // 100 + 1)
        ]

        def call(number: int) -> Any:
            # A hundred streams are allowed on one connection.
            method = channels[number // 100].unary_unary(messages.METHOD)
            return method(b"", metadata=[("authorization", f"Bearer token-{number}")], timeout=30)

        waiting = [call(number) for number in range(MOST_WAITING)]
        async with asyncio.timeout(20):
            while it._waiting.total() < MOST_WAITING:
                await asyncio.sleep(0.01)
        assert await call(MOST_WAITING).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(asked) <= 16, "Kubernetes is not asked more at once than it can bear"
        for one in waiting:
            one.cancel()
        async with asyncio.timeout(20):
            while it._waiting:
                await asyncio.sleep(0.01)
        kubernetes.close()
        for writer in asked:
            writer.close()


@pytest.mark.finding("security 21")
async def test_what_one_address_asks_takes_nothing_from_others_and_refusals_name_it() -> None:
    root = self_signed(
        ec.generate_private_key(ec.SECP256R1()), "td", serial=1, now=datetime.now(UTC), ttl=timedelta(days=1)
    )

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        kubernetes = await asyncio.start_server(silent, "127.0.0.1", 0)
        stack.callback(kubernetes.close)
        port = kubernetes.sockets[0].getsockname()[1]
        client = await stack.enter_async_context(KubeClient(Connection(f"http://127.0.0.1:{port}", None)))
        sources: dict[str, str] = {}
        it = CertificateService(
            AuthorityHolder(Authority(root, pem(root.certificate), "test")), Reviewer(client), lambda: "td",
            lambda _: None, lambda _: True, lambda name: sources.setdefault(name, f"10.0.0.{len(sources) + 1}"),
        )  # fmt: skip
        made = server([it.handler()])
        address = f"127.0.0.1:{made.add_insecure_port('127.0.0.1:0')}"
        await made.start()
        stack.push_async_callback(made.stop, 0)
        greedy, honest = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(2)
        ]

        def call(channel: Any, token: str) -> Any:
            metadata = [("authorization", f"Bearer {token}")] if token else []
            return channel.unary_unary(messages.METHOD)(b"", metadata=metadata, timeout=30)

        waiting = [call(greedy, f"t{number}") for number in range(MOST_OF_ONE)]
        async with asyncio.timeout(20):
            while it._waiting.total() < MOST_OF_ONE:
                await asyncio.sleep(0.01)
        with structlog.testing.capture_logs() as told:
            assert await call(greedy, "more").code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await call(honest, "").code() is grpc.StatusCode.UNAUTHENTICATED
        assert [one["peer"] for one in told] == ["10.0.0.1", "10.0.0.2"]
        for one in waiting:
            one.cancel()
