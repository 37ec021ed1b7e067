"""Batches, views that fail, and who is told."""

from __future__ import annotations

import asyncio
from typing import Any

from lateen.discovery.loop import Loop
from lateen.envoy.resource import CLUSTER, View
from lateen.names.keys import ProxyKey
from lateen.registry.facts import Proxy
from lateen.testing.mesh import changed, mesh, pod, service

NOT_HASHABLE: Any = []


class Ear:
    """Hears views."""

    def __init__(self) -> None:
        self.heard: list[View] = []

    def offer(self, found: View) -> None:
        self.heard.append(found)


class Deaf:
    """A stream with a bug."""

    def offer(self, found: View) -> None:
        raise RuntimeError("bug")


def proxy(name: str, labels: Any = ()) -> Proxy:
    key = ProxyKey(f"sidecar~10.0.0.1~{name}.default~default.svc.cluster.local")
    return Proxy(key, "sidecar", "10.0.0.1", "default", name, labels)


async def until_told(loop: Loop, ear: Ear, times: int) -> None:
    running = asyncio.ensure_future(loop.run())
    try:
        async with asyncio.timeout(20):
            while len(ear.heard) < times:
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_burst_is_one_revision() -> None:
    loop, ear = Loop(mesh(pod("a", "10.0.0.1", "a"))), Ear()
    loop.join(proxy("a"), ear)
    before = loop.db.revision
    for number in range(50):
        loop.put(changed(service(f"s{number}", {"http": 80}, f"10.96.1.{number}")))
    await until_told(loop, ear, 2)
    assert loop.db.revision == before + 1
    assert sum(name.startswith("outbound") for name in ear.heard[-1][CLUSTER]) == 50


async def test_a_view_that_fails_delays_nobody_and_is_told_when_it_works() -> None:
    loop, broken, well = Loop(mesh(pod("a", "10.0.0.1", "a"))), Ear(), Ear()
    bad = loop.join(proxy("bad", NOT_HASHABLE), broken)
    loop.join(proxy("good"), well)
    assert (len(broken.heard), len(well.heard)) == (0, 1)
    loop.put(changed(service("s", {"http": 80})))
    await until_told(loop, well, 2)
    assert not broken.heard
    mended = proxy("bad")
    loop.put([_becomes(mended)])
    await until_told(loop, broken, 1)
    assert "outbound|80||s.default.svc.cluster.local" in broken.heard[-1][CLUSTER]
    loop.leave(bad.key, broken)


async def test_a_stream_that_fails_delays_nobody() -> None:
    loop, ear = Loop(mesh(pod("a", "10.0.0.1", "a"))), Ear()
    loop.join(proxy("a"), Deaf())
    loop.join(proxy("a"), ear)
    loop.put(changed(service("s", {"http": 80})))
    await until_told(loop, ear, 2)


async def test_the_last_connection_of_a_proxy_takes_its_fact_with_it() -> None:
    loop, one, two, other = Loop(mesh(pod("a", "10.0.0.1", "a"))), Ear(), Ear(), Ear()
    first, second = loop.join(proxy("a"), one), loop.join(proxy("a"), two)
    assert first == second
    loop.leave(first.key, one)
    loop.join(proxy("b"), other)
    assert loop.db.get(Proxy, first.key) == first
    loop.leave(first.key, two)
    loop.put(changed(service("s", {"http": 80})))
    await until_told(loop, other, 2)
    assert loop.db.get(Proxy, first.key) is None
    assert len(loop.db.watches) == 1


async def test_a_proxy_that_comes_back_at_once_keeps_its_name() -> None:
    loop = Loop(mesh())
    first = loop.join(proxy("a"), ear := Ear())
    loop.leave(first.key, ear)
    assert loop.join(proxy("a"), Ear()).key == first.key


def _becomes(it: Proxy) -> Any:
    from lateen.incremental import Change

    return Change(Proxy, it.key, it)
