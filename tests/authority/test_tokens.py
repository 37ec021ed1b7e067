"""What is remembered of tokens, for how long, and what happens when Kubernetes does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from lateen.authority import tokens
from lateen.authority.tokens import AUDIENCE, Caller, Reviewer
from lateen.kube.client import KubeClient
from lateen.kube.config import Connection

POD = Caller("gamma", "default", "victim")


@asynccontextmanager
async def kubernetes(asked: list[Any], *, silent: bool = False) -> AsyncIterator[KubeClient]:
    async def review(request: web.Request) -> web.Response:
        asked.append(await request.json())
        if silent:
            await asyncio.sleep(60)
        extra = {"authentication.kubernetes.io/pod-name": [POD.pod]}
        user = {"username": "system:serviceaccount:gamma:default", "extra": extra}
        return web.json_response({"status": {"authenticated": True, "audiences": [AUDIENCE], "user": user}})

    app = web.Application()
    app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", review)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with KubeClient(Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", None)) as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.mark.finding("security 11")
async def test_an_answer_is_remembered_for_a_moment_while_the_pod_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tokens._REMEMBERED_S <= 10
    asked: list[Any] = []
    known = {POD}
    async with kubernetes(asked) as client:
        it = Reviewer(client, known.__contains__)
        assert [await it.review("t"), await it.review("t")] == [POD, POD]
        assert len(asked) == 1
        known.clear()  # the pod is gone
        await it.review("t")
        assert len(asked) == 2
        known.add(POD)
        monkeypatch.setattr(tokens, "_REMEMBERED_S", -1.0)
        await it.review("other")
        await it.review("other")
        assert len(asked) == 4


@pytest.mark.finding("security 11")
async def test_a_kubernetes_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_PATIENCE_S", 0.3)
    asked: list[Any] = []
    async with kubernetes(asked, silent=True) as client:
        it = Reviewer(client)
        found = await asyncio.gather(
            *(it.review(f"t{number}") for number in range(40)), return_exceptions=True
        )
        assert all(isinstance(one, TimeoutError) for one in found)
        assert len(asked) <= 16
