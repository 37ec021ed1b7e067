"""Batches, views that fail, and who is told."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from lateen.discovery.loop import MOST_OF_A_NAME, Loop
from lateen.envoy.resource import CLUSTER, View
from lateen.incremental import Change
from lateen.names.keys import ObjectKey, ProxyKey
from lateen.registry.facts import Proxy
from lateen.testing.mesh import changed, mesh, pod, service
from lateen.xds.limits import GreedyError

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


@pytest.mark.finding("architecture 10")
async def test_a_fact_that_cannot_be_applied_is_left_out_alone() -> None:
    loop, ear = Loop(mesh(pod("a", "10.0.0.1", "a"))), Ear()
    loop.join(proxy("a"), ear)
    [good] = changed(service("s", {"http": 80}))
    loop.put([Change(type(good.value), ObjectKey("default", "bad"), object()), good])
    await until_told(loop, ear, 2)
    assert "outbound|80||s.default.svc.cluster.local" in ear.heard[-1][CLUSTER]


class Slow(Ear):
    """Its view is told while the mesh goes on changing."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop
        self.revisions: list[int] = []

    def offer(self, found: View) -> None:
        super().offer(found)
        self.revisions.append(self._loop.db.revision)
        time.sleep(0.005)


@pytest.mark.finding("architecture 17")
async def test_what_comes_while_views_are_offered_is_applied_between_two_of_them() -> None:
    """Of many proxies those that are told late are told of it at once, and not only after all were told without it."""
    loop, told = Loop(mesh()), 100
    ears = [Slow(loop) for _ in range(told)]
    for number, ear in enumerate(ears):
        loop.join(proxy(f"p{number}"), ear)
    loop.put(changed(service("first", {"http": 80}, "10.96.1.1")))
    running = asyncio.ensure_future(loop.run())
    try:
        async with asyncio.timeout(60):
            while len(ears[0].heard) < 2:
                await asyncio.sleep(0)
            revision = loop.db.revision
            loop.put(changed(service("second", {"http": 80}, "10.96.1.2")))
            while not loop.idle:
                await asyncio.sleep(0.001)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    without = sum(revision in it.revisions for it in ears)
    assert without < told / 2, f"{without} of {told} were told before it was applied"
    assert all("outbound|80||second.default.svc.cluster.local" in it.heard[-1][CLUSTER] for it in ears)


async def test_endpoints_are_told_before_what_costs_no_requests() -> None:
    pods = pod("p0", "10.0.0.1", "x", ports={"http": 8080})
    loop = Loop(mesh(pods, service("s", {"http": 80}, target=8080)))
    order: list[str] = []
    for name in ("p0", "p1", "p2"):
        loop.join(proxy(name), Named(name, order))
    far = dataclasses.replace(proxy("far"), namespace="other")
    loop.join(far, Named("far", order))
    order.clear()
    # All hear of a service; only one namespace of endpoints.
    loop.put(changed(service("new", {"http": 80}, "10.96.1.1")))
    loop._apply_inbox()
    assert list(loop._due) == [it.key for it in (proxy("p0"), proxy("p1"), proxy("p2"))] + [far.key]
    loop._hurry([far.key], loop._due[far.key])
    loop._hurry([proxy("p2").key, far.key], loop._due[far.key])
    await loop._offer_due()
    assert order == ["far", "p2", "p0", "p1"]


class Named:
    """Writes down when it is told."""

    def __init__(self, name: str, order: list[str]) -> None:
        self._name, self._order = name, order

    def offer(self, found: View) -> None:
        self._order.append(self._name)


@pytest.mark.finding("architecture 19")
async def test_a_name_is_not_given_to_any_number() -> None:
    loop = Loop(mesh())
    ears = [Ear() for _ in range(MOST_OF_A_NAME)]
    made = [(ear, loop.join(proxy("a", (("n", str(number)),)), ear)) for number, ear in enumerate(ears)]
    with pytest.raises(GreedyError, match="connected 16 times already"):
        loop.join(proxy("a"), Ear())
    assert loop.join(proxy("b"), Ear())
    for ear, it in made:
        loop.leave(it.key, ear)
    assert loop.join(proxy("a"), Ear()).key == proxy("a").key


@pytest.mark.finding("architecture 6")
async def test_proxies_that_come_and_go_leave_nothing() -> None:
    loop = Loop(mesh(service("s", {"http": 80})))
    loop.join(proxy("stays"), Ear())
    most = []
    for number in range(600):
        ear = Ear()
        it = loop.join(proxy(f"p{number}"), ear)
        loop.leave(it.key, ear)
        most.append(sum(map(len, loop.db._memos.values())) + len(loop.db._cells))
    assert max(most[300:]) <= max(most[:300])


async def test_a_proxy_that_comes_back_at_once_keeps_its_name() -> None:
    loop = Loop(mesh())
    first = loop.join(proxy("a"), ear := Ear())
    loop.leave(first.key, ear)
    assert loop.join(proxy("a"), Ear()).key == first.key


def _becomes(it: Proxy) -> Any:
    return Change(Proxy, it.key, it)
