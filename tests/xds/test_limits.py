"""What one stream, and one connection, may make us remember; and which resources a proxy refused."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.discovery.connections import MOST_STREAMS, Budget, Connection, Machine, delta, state
from lateen.envoy.codec import Asked
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ORDER, TypeUrl
from lateen.names.keys import ProxyKey
from lateen.registry.facts import Proxy
from lateen.testing.conversations import play
from lateen.xds import sotw
from lateen.xds.limits import LONGEST_NAME, MOST_BYTES, MOST_BYTES_OF_CONNECTION, GreedyError
from lateen.xds.sotw import StateStream
from lateen.xds.stream import DeltaStream, Request

STRANGE = TypeUrl("type.googleapis.com/strange")


def names(count: int, letters: int = 900, salt: str = "") -> frozenset[str]:
    return frozenset(f"{salt}{number}".ljust(letters, "x") for number in range(count))


def connection(budget: Budget, machine: Machine[Any]) -> Connection:
    return Connection(machine, Proxy(ProxyKey("sidecar~1~a.b~c"), "sidecar", "1", "b", "a"), budget)


@pytest.mark.finding("security 17")
def test_all_types_of_a_stream_have_one_bound() -> None:
    stream, each = DeltaStream(), names(MOST_BYTES // 1000 // len(ORDER) + 1)
    with pytest.raises(GreedyError, match=r"narrow what this proxy is to know"):  # noqa: PT012
        for kind in ORDER:
            list(stream.receive(Request(kind, each), 0.0))
    assert stream.weight < 2 * MOST_BYTES


@pytest.mark.finding("security 17")
def test_names_in_every_field_have_the_bound() -> None:
    many = names(MOST_BYTES // 1000 + 1)
    with pytest.raises(GreedyError):
        list(DeltaStream().receive(Request(LISTENER, initial_versions=dict.fromkeys(many, "1")), 0.0))
    with pytest.raises(GreedyError):
        list(StateStream().receive(sotw.Request(ENDPOINT, many), 0.0))
    stream = DeltaStream()
    list(stream.receive(Request(CLUSTER), 0.0))
    with pytest.raises(GreedyError):  # noqa: PT012
        for salt in range(100):  # none of them was ever subscribed to, and nothing is ever acknowledged
            list(stream.receive(Request(CLUSTER, unsubscribe=names(1000, salt=f"{salt}-")), 0.0))


@pytest.mark.finding("security 17")
@pytest.mark.parametrize("url", [ENDPOINT, TypeUrl("x" * (LONGEST_NAME + 1))])
def test_names_and_types_are_not_endless(url: TypeUrl) -> None:
    with pytest.raises(GreedyError, match="letters"):
        list(DeltaStream().receive(Request(url, frozenset({"x" * (LONGEST_NAME + 1)})), 0.0))
    with pytest.raises(GreedyError, match="letters"):
        list(StateStream().receive(sotw.Request(url, frozenset({"x" * (LONGEST_NAME + 1)})), 0.0))


@pytest.mark.finding("security 17")
def test_names_of_types_that_are_not_served_are_answered_and_forgotten() -> None:
    stream = DeltaStream()
    list(stream.offer({}, 0.0))
    for _ in range(50):
        [answer] = stream.receive(Request(STRANGE, names(1000), initial_versions={"a": "1"}), 0.0)
        assert len(answer.removed) == 1000
        list(stream.receive(Request(STRANGE, nonce=answer.nonce), 0.0))
    assert stream.weight < 1000
    other = StateStream()
    list(other.receive(sotw.Request(STRANGE, names(1000)), 0.0))
    assert other.weight == 0


@pytest.mark.finding("security 17")
def test_all_streams_of_a_connection_have_one_bound() -> None:
    budget, each = Budget(), names(MOST_BYTES // 3000)
    with pytest.raises(GreedyError, match="open one stream for each proxy"):  # noqa: PT012
        for number in range(MOST_STREAMS):
            made = connection(budget, state(0.0) if number % 2 else delta(0.0))
            made.heard(Asked(ENDPOINT, names=each, subscribe=each))
    assert sum(budget.streams.values()) < 2 * MOST_BYTES_OF_CONNECTION


@pytest.mark.finding("security 17")
def test_a_connection_has_few_streams() -> None:
    budget = Budget()
    with pytest.raises(GreedyError, match=f"at most {MOST_STREAMS} streams"):  # noqa: PT012
        for _ in range(MOST_STREAMS + 1):
            budget.charge(connection(budget, delta(0.0)), 0)


@pytest.mark.finding("architecture 20")
def test_what_was_refused_is_known_by_name_until_it_is_replaced() -> None:
    stream = play("""
        mesh cds/good@1 cds/bad@1
        proxy cds wants
        -> cds #1 bad@1 good@1
        proxy cds nacks 1 Error adding/updating cluster(s) bad: no such thing
        mesh cds/good@2 cds/bad@1
        -> cds #2 good@2
        proxy cds acks 2
    """)
    words = "Error adding/updating cluster(s) bad: no such thing"
    stands = stream.standings()[CLUSTER]
    assert (stands.refused, stands.error, stands.synced) == ({"bad": ("1", words)}, words, False)
    list(stream.offer({}, 0.0))
    assert stream.standings()[CLUSTER].refused == {}, "it is gone"


@pytest.mark.finding("architecture 20")
def test_a_refusal_that_names_nothing_is_of_all_that_was_sent() -> None:
    stream = play("""
        mesh cds/a@1 cds/b@1
        proxy cds wants
        -> cds #1 a@1 b@1
        proxy cds nacks 1 no
        mesh cds/a@2 cds/b@1
        -> cds #2 a@2
        proxy cds acks 2
    """)
    assert stream.standings()[CLUSTER].refused == {"b": ("1", "no")}


def test_words_of_a_refusal_are_kept_in_part() -> None:
    stream = DeltaStream()
    list(stream.offer({}, 0.0))
    [answer] = stream.receive(Request(CLUSTER), 0.0)
    list(stream.receive(Request(CLUSTER, nonce=answer.nonce, error="x" * 1_000_000), 0.0))
    assert 0 < len(stream.standings()[CLUSTER].error) < 10_000
