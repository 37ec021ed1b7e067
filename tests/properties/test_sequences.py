"""What one proxy hears, answer by answer: no step leaves a route without its cluster in what the proxy holds."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lateen.compile.view import view
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, View
from lateen.incremental import Change
from lateen.names.keys import ProxyKey
from lateen.registry.facts import new_database
from lateen.testing.envoy_model import EnvoyModel
from lateen.testing.worlds import KEYS, PROXIES, histories, orders, torn

DEEP = os.environ.get("PROPERTIES") == "deep"
searched = settings(
    max_examples=1500 if DEEP else 60, deadline=None, derandomize=not DEEP,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
Abstract = dict[str, dict[str, str]]


def settled(envoy: EnvoyModel) -> None:
    for _ in range(10_000):
        if not envoy.step():
            return
        assert not envoy.broken(), envoy.broken()
    raise AssertionError("the conversation does not end")


def some_steps(envoy: EnvoyModel, chance: random.Random) -> None:
    while chance.random() < 0.8 and envoy.step():
        assert not envoy.broken(), envoy.broken()


@pytest.mark.finding("architecture 1")
@searched
@given(histories, st.one_of(st.none(), orders), st.sampled_from(KEYS), st.randoms(use_true_random=False))
def test_no_step_leaves_a_route_without_its_cluster(
    history: list[list[Change]], order: list[type] | None, key: ProxyKey, chance: random.Random
) -> None:
    db = new_database()
    db.apply(PROXIES)
    watch = db.watch(view, key)
    envoy = EnvoyModel(watch.value, chance)
    for batch in torn(history, order) if order else history:
        if watch in db.apply(batch):
            envoy.offered(watch.value)
        some_steps(envoy, chance)
        if chance.random() < 0.1:
            envoy.connect()  # the stream was cut
    settled(envoy)
    for kind in (CLUSTER, LISTENER, ENDPOINT):
        assert envoy.has[kind] == {name: it.body for name, it in watch.value[kind].items()}
    assert all(it.synced for it in envoy.stream.standings().values())


names = st.sampled_from("abcd")
#: clusters -> version, and for each route which clusters it names; a few, so that they meet.
abstract = st.tuples(
    st.dictionaries(names, st.sampled_from("12"), max_size=4),
    st.dictionaries(st.sampled_from("xy"), st.sets(names, max_size=2), min_size=2, max_size=2),
)


def of(clusters: dict[str, str], routes: dict[str, set[str]], endpoints: str) -> View:
    def named(found: dict[str, set[str]]) -> dict[str, Resource]:
        bodies = {it: b"".join(b"\1" + one.encode() for one in sorted(to)) for it, to in found.items()}
        return {it: Resource(f"{it}", f"{body!r}", body) for it, body in bodies.items()}

    return {
        CLUSTER: {it: Resource(it, version, version.encode()) for it, version in clusters.items()},
        ENDPOINT: {it: Resource(it, endpoints, endpoints.encode()) for it in clusters},
        LISTENER: named({f"l{it}": {it, *to} for it, to in routes.items()}),
        ROUTE: named(routes),
    }


@pytest.mark.finding("architecture 1")
@settings(max_examples=5000 if DEEP else 400, deadline=None, derandomize=not DEEP)
@given(
    st.lists(st.tuples(abstract, st.sampled_from("12")), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_no_step_of_any_conversation_breaks_before_it_makes(
    history: list[tuple[tuple[dict[str, str], dict[str, set[str]]], str]], chance: random.Random
) -> None:
    envoy = EnvoyModel(of({}, {}, "1"), chance)
    for (clusters, routes), endpoints in history:
        envoy.offered(of(clusters, routes, endpoints))
        some_steps(envoy, chance)
        if chance.random() < 0.1:
            envoy.connect()
    settled(envoy)
    (clusters, routes), endpoints = history[-1]
    last = of(clusters, routes, endpoints)
    for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
        assert envoy.has[kind] == {name: it.body for name, it in last[kind].items()}
    assert envoy.stream.due is None
