"""Reviews from anybody: whatever they hold, and however many they are, the loop and other callers go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from lateen.admission.gate import LARGEST, MOST_REVIEWS, FullError, Gate
from lateen.admission.server import webhook_application
from lateen.admission.workers import Workers
from lateen.injection.settings import InjectionSettings

Ask = Callable[..., Awaitable[tuple[int, str]]]


def review(obj: Any, **more: Any) -> bytes:
    request = {"uid": "u", "namespace": "shop", "object": obj, **more}
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()


def endless() -> bytes:
    """Valid for a while: the worker's own memory and time are what ends it."""
    nested: Any = {"spec": {"containers": [{"name": "c", "env": [{"name": "x", "value": "y"}]}] * 150_000}}
    return review({"apiVersion": "v1", "kind": "Pod", "metadata": {}, **nested})


POD = review({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "w"}]}})


@asynccontextmanager
async def hooks(*, limit_s: float = 4.0, patience_s: float = 20.0) -> AsyncIterator[Ask]:
    workers = Workers(limit_s=limit_s)
    runner = web.AppRunner(webhook_application(InjectionSettings, workers=workers, patience_s=patience_s))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def ask(body: Any, *, page: str = "inject", source: str = "127.0.0.1") -> tuple[int, str]:
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(f"{url}/{page}", data=body) as answer,
        ):
            return answer.status, await answer.text()

    try:
        yield ask
    finally:
        await runner.cleanup()


@pytest.mark.finding("security 2")
async def test_a_review_without_end_is_an_error_and_others_are_answered_meanwhile() -> None:
    async with hooks(limit_s=0.5) as ask:
        assert (await ask(POD))[0] == 200
        bad = [asyncio.ensure_future(ask(endless(), source="127.0.0.66")) for _ in range(3)]
        status, text = await ask(POD, source="127.0.0.2")
        assert (status, '"allowed": true' in text) == (200, True)
        assert not all(it.done() for it in bad), "it did not wait for what others sent"
        found = await asyncio.gather(*bad)
        assert {status for status, _ in found} == {504}
        assert "took longer than 0.5 s" in found[0][1]
        assert (await ask(POD, source="127.0.0.66"))[0] == 200, "its next review is looked at again"


@pytest.mark.finding("security 2")
async def test_depth_and_memory_are_refusals() -> None:
    async with hooks(limit_s=20.0) as ask:
        for body in (
            b"[" * LARGEST,
            b"[{}," * (LARGEST // 8),
            b'{"a":' * (LARGEST // 8),
            b"[1" + b"0" * 100_000 + b"]",
        ):
            status, text = await ask(body, page="validate")
            assert status in (400, 413), text
        full = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","object":{"a":['
        status, text = await ask(full + b"[0]," * ((LARGEST - 200) // 4) + b"0]}}}", page="validate")
        assert status in (200, 413), text
        assert (await ask(POD))[0] == 200


@pytest.mark.finding("security 2")
async def test_a_body_that_does_not_come_ends_the_review() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async with hooks(patience_s=0.3) as ask:
        assert await ask(slow()) == (504, "no answer within 0.3 s\n")


@pytest.mark.finding("security 2")
async def test_one_address_has_a_bounded_number_of_reviews_and_others_their_own() -> None:
    async with hooks(patience_s=600.0) as ask:  # a busy machine is no fault of the gate's
        await ask(POD)
        asked = [asyncio.ensure_future(ask(POD, source="127.0.0.66")) for _ in range(2 * MOST_REVIEWS)]
        found = [await ask(POD, source="127.0.0.2") for _ in range(5)]
        assert {status for status, _ in found} == {200}
        statuses = [status for status, _ in await asyncio.gather(*asked)]
        assert statuses.count(200) >= MOST_REVIEWS
        assert set(statuses) <= {200, 429}


@pytest.mark.finding("security 2")
def test_bytes_have_an_owner() -> None:
    gate = Gate()
    for it in ("a", "b"):
        gate.enter(it)
    for _ in range(3):
        gate.take("a", LARGEST)
    with pytest.raises(FullError, match="the reviews of a are too large together"):
        gate.take("a", LARGEST)
    gate.take("b", LARGEST)
    for number in range(100):
        gate.enter(f"many-{number}")
    for number in range(100):
        with pytest.raises(FullError):
            gate.take(f"many-{number}", LARGEST)
        gate.take(f"many-{number}", 1024)
    gate.leave("a", 3 * LARGEST)
    gate.leave("b", LARGEST)
    for number in range(100):
        gate.leave(f"many-{number}", 1024)
    assert (gate._total, dict(gate._bytes), dict(gate._reviews)) == (0, {}, {})


@pytest.mark.finding("security 2")
async def test_labels_of_counters_are_not_anybodys_words() -> None:
    def series() -> int:
        return sum(len(it.samples) for it in REGISTRY.collect() if it.name.startswith("galley"))

    async with hooks() as ask:
        await ask(review({}, resource={"group": "x"}), page="validate")
        before = series()
        for number in range(20):
            words = {"group": f"g{number}", "version": "v1", "resource": f"r{number}"}
            await ask(review({}, resource=words), page="validate")
        assert series() == before
