"""Conversations with a proxyless gRPC client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.envoy.resource import CLUSTER, ENDPOINT, Resource
from lateen.xds.sotw import Request, Response, StateStream

A1, A2, B1 = Resource("a", "1", b""), Resource("a", "2", b""), Resource("b", "1", b"")


def names(responses: object) -> list[tuple[str, list[Resource]]]:
    return [(it.nonce, list(it.resources)) for it in responses]  # type: ignore[attr-defined]


def test_only_what_was_asked_for_is_sent_and_only_when_it_changes() -> None:
    stream = StateStream()
    assert names(stream.offer({CLUSTER: {"a": A1, "b": B1}}, 0.0)) == []
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"})), 0.0)) == [("1", [A1])]
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"}), nonce="1"), 0.0)) == []
    assert names(stream.offer({CLUSTER: {"a": A1}}, 0.0)) == [], "b was never asked for"
    assert names(stream.offer({CLUSTER: {"a": A2}}, 0.0)) == [("2", [A2])]
    assert stream.standings()[CLUSTER].synced is False
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"}), nonce="1"), 0.0)) == [], (
        "an outdated nonce is ignored"
    )
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"}), nonce="2", error="bad"), 0.0)) == []
    assert stream.standings()[CLUSTER].error == "bad"


def test_a_new_name_is_answered_with_all_of_the_names() -> None:
    stream = StateStream()
    list(stream.offer({ENDPOINT: {"a": A1, "b": B1}}, 0.0))
    assert names(stream.receive(Request(ENDPOINT, frozenset({"a"})), 0.0)) == [("1", [A1])]
    assert names(stream.receive(Request(ENDPOINT, frozenset({"a", "b"}), nonce="1"), 0.0)) == [
        ("2", [A1, B1])
    ]


def test_nothing_named_means_all_only_for_who_never_named_anything() -> None:
    stream = StateStream()
    list(stream.offer({CLUSTER: {"a": A1, "b": B1}}, 0.0))
    assert names(stream.receive(Request(CLUSTER), 0.0)) == [("1", [A1, B1])]
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"}), nonce="1"), 0.0)) == [("2", [A1])]
    assert names(stream.receive(Request(CLUSTER, nonce="2"), 0.0)) == [], "unsubscribed from everything"
    assert names(stream.offer({CLUSTER: {"a": A2}}, 0.0)) == []


def test_fewer_names_are_no_reason_to_answer() -> None:
    stream = StateStream()
    list(stream.offer({ENDPOINT: {"a": A1, "b": B1}}, 0.0))
    assert names(stream.receive(Request(ENDPOINT, frozenset({"a", "b"})), 0.0)) == [("1", [A1, B1])]
    assert names(stream.receive(Request(ENDPOINT, frozenset({"a"}), nonce="1"), 0.0)) == []
    assert names(stream.offer({ENDPOINT: {"a": A2, "b": B1}}, 0.0)) == [("2", [A2])]


def test_an_absent_cluster_is_told_and_absent_endpoints_are_awaited() -> None:
    stream = StateStream()
    list(stream.offer({}, 0.0))
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"})), 0.0)) == [("1", [])]
    assert names(stream.receive(Request(ENDPOINT, frozenset({"a"})), 0.0)) == []
    assert names(stream.offer({ENDPOINT: {"a": A1}}, 0.0)) == [("2", [A1])]


def test_before_the_first_view_nothing_is_said() -> None:
    stream = StateStream()
    assert names(stream.receive(Request(CLUSTER, frozenset({"a"})), 0.0)) == []
    assert names(stream.offer({CLUSTER: {"a": A1}}, 0.0)) == [("1", [A1])]


views = st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"))
interests = st.sets(st.sampled_from("abcd"), min_size=1).map(frozenset)
turns = st.lists(st.one_of(views, interests, st.sampled_from(["ack", "nack"])), max_size=20)


@given(turns)
@settings(max_examples=300, deadline=None)
def test_when_all_is_answered_the_client_was_sent_the_last_of_what_it_wants(history: list[Any]) -> None:
    stream, have, nonces, last = StateStream(), dict[str, str](), [""], dict[str, str]()
    wanted, awaiting = frozenset("a"), list[str]()

    def deliver(responses: Iterable[Response]) -> None:
        for it in responses:
            assert not awaiting, "never two responses of one type in flight"
            have.clear()
            have.update({r.name: r.version for r in it.resources})
            awaiting.append(it.nonce)
            nonces.append(it.nonce)

    deliver(stream.offer({}, 0.0))
    deliver(stream.receive(Request(CLUSTER, wanted), 0.0))
    for step in [*history, *["ack"] * 3]:
        if isinstance(step, dict):
            last = step
            deliver(stream.offer({CLUSTER: {n: Resource(n, v, b"") for n, v in step.items()}}, 0.0))
        elif isinstance(step, frozenset):
            wanted = step
            awaiting.clear()  # a request with the last nonce acknowledges, whatever else it says
            deliver(stream.receive(Request(CLUSTER, wanted, nonce=nonces[-1]), 0.0))
            for name in set(have) - wanted:
                del have[name]  # the client forgets by itself
        elif awaiting:
            error = "no" if step == "nack" else ""
            deliver(stream.receive(Request(CLUSTER, wanted, nonce=awaiting.pop(), error=error), 0.0))
    assert have == {name: it for name, it in last.items() if name in wanted}
