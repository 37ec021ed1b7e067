"""Conversations with one proxy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.envoy.resource import CLUSTER, ENDPOINT, ORDER, Resource, TypeUrl
from lateen.testing.conversations import play
from lateen.xds.limits import MOST_NAMES, MOST_TYPES, GreedyError
from lateen.xds.sequence import PATIENCE_S
from lateen.xds.stream import DeltaStream, Request, Response


def test_clusters_come_before_their_endpoints() -> None:
    play("""
        mesh
        proxy cds wants
        -> cds #1
        proxy cds acks 1
        mesh cds/a@1 eds/a@1
        -> cds #2 a@1
        proxy eds wants a
        -> eds #3 a@1
        proxy cds acks 2
        proxy eds acks 3
        mesh cds/a@2 eds/a@2
        -> cds #4 a@2
        -> eds #5 a@2
    """)


def test_changes_wait_for_the_acknowledgement_and_are_merged() -> None:
    play("""
        mesh cds/a@1
        proxy cds wants
        -> cds #1 a@1
        mesh cds/a@2
        mesh cds/a@3 cds/b@1
        proxy cds acks 1
        -> cds #2 a@3 b@1
    """)


def test_a_refused_version_is_not_sent_again_until_it_changes() -> None:
    stream = play("""
        mesh cds/a@1
        proxy cds wants
        -> cds #1 a@1
        proxy cds nacks 1
        mesh cds/a@1
        mesh cds/a@2
        -> cds #2 a@2
    """)
    assert stream.standings()[CLUSTER].error == "no"


def test_what_is_gone_is_removed() -> None:
    play("""
        mesh cds/a@1
        proxy cds wants
        -> cds #1 a@1
        proxy cds acks 1
        mesh
        -> cds #2 -a
    """)


def test_a_proxy_that_returns_is_sent_only_what_it_lacks() -> None:
    play("""
        mesh cds/a@1 cds/b@2
        proxy cds returns a@1 b@1 c@1
        -> cds #1 b@2
        proxy cds acks 1
        later 0
        later 10
        -> cds #2 -c
    """)


def test_a_name_that_does_not_exist_is_answered_at_once() -> None:
    play("""
        mesh eds/a@1
        proxy eds wants a ghost
        -> eds #1 a@1 -ghost
        proxy eds acks 1
        mesh eds/a@1 eds/ghost@1
        -> eds #2 ghost@1
    """)


def test_asking_again_while_an_answer_is_awaited_is_answered_later() -> None:
    play("""
        mesh eds/a@1
        proxy eds wants a
        -> eds #1 a@1
        proxy eds wants a
        proxy eds acks 1
        -> eds #2 a@1
    """)


def test_before_the_first_view_nothing_is_said() -> None:
    # An answer from half a picture would take away what a returning proxy already has.
    play("""
        proxy cds returns a@1
        proxy eds wants a
        mesh cds/a@1 eds/a@1
        -> cds #1
        -> eds #2 a@1
    """)


@pytest.mark.parametrize("warming", [False, True])
def test_a_proxy_that_returns_with_names_is_sent_nothing_again_unless_it_waits(warming: bool) -> None:
    stream = DeltaStream()
    list(stream.offer({ENDPOINT: {"a": Resource("a", "1", b""), "b": Resource("b", "1", b"")}}, 0.0))
    if not warming:  # while a cluster waits for its endpoints, Envoy says nothing of clusters
        list(stream.receive(Request(CLUSTER), 0.0))
    [answer] = stream.receive(
        Request(ENDPOINT, frozenset({"a", "b"}), initial_versions={"a": "1", "b": "1"}), 0.0
    )
    assert (len(answer.resources), answer.removed) == (2 if warming else 0, ())


def test_a_changed_cluster_is_sent_with_its_endpoints() -> None:
    play("""
        mesh cds/a@1 cds/b@1 eds/a@1 eds/b@1
        proxy cds wants
        -> cds #1 a@1 b@1
        proxy eds wants a b
        -> eds #2 a@1 b@1
        proxy cds acks 1
        proxy eds acks 2
        mesh cds/a@2 cds/b@1 eds/a@1 eds/b@1
        -> cds #3 a@2
        -> eds #4 a@1
        proxy eds acks 4
        mesh cds/a@3 cds/b@1 eds/a@2 eds/b@1
        -> eds #5 a@2
        proxy eds acks 5
        proxy cds acks 3
        -> cds #6 a@3
        -> eds #7 a@2
    """)


def test_a_changed_cluster_without_endpoints_need_not_wait_for_them() -> None:
    play("""
        mesh cds/a@1
        proxy cds wants
        -> cds #1 a@1
        proxy eds wants a
        -> eds #2 -a
        proxy cds acks 1
        proxy eds acks 2
        mesh cds/a@2
        -> cds #3 a@2
        -> eds #4 -a
    """)


def test_no_names_mean_all_clusters_but_no_endpoints() -> None:
    play("""
        mesh cds/a@1 eds/a@1
        proxy eds wants
        -> eds #1
        proxy cds wants
        -> cds #2 a@1
    """)


def test_unsubscribing_under_a_wildcard_is_answered_with_what_remains() -> None:
    play("""
        mesh cds/a@1
        proxy cds wants * a ghost
        -> cds #1 a@1 -ghost
        proxy cds acks 1
        proxy cds drops a
        -> cds #2 a@1
        proxy cds acks 2
        proxy cds drops ghost
        -> cds #3 -ghost
    """)


def test_dropping_the_wildcard_leaves_the_names() -> None:
    play("""
        mesh cds/a@1 cds/b@1
        proxy cds wants * a
        -> cds #1 a@1 b@1
        proxy cds acks 1
        proxy cds drops *
        -> cds #2 -b
        proxy cds acks 2
        mesh cds/a@2 cds/b@2
        -> cds #3 a@2
    """)


def test_a_name_dropped_before_its_answer_is_forgotten() -> None:
    play("""
        mesh eds/a@1
        proxy eds wants a
        -> eds #1 a@1
        proxy eds wants ghost
        proxy eds drops ghost
        proxy eds acks 1
        -> eds #2
    """)


def test_greed_ends_the_stream() -> None:
    stream = DeltaStream()
    for number in range(MOST_TYPES):
        list(stream.receive(Request(TypeUrl(f"t{number}")), 0.0))
    with pytest.raises(GreedyError, match="types"):
        list(stream.receive(Request(TypeUrl("one more")), 0.0))
    with pytest.raises(GreedyError, match="names"):
        list(stream.receive(Request(TypeUrl("t1"), frozenset(map(str, range(MOST_NAMES + 1)))), 0.0))


views = st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"))
turns = st.lists(st.one_of(views, st.sampled_from(["ack", "nack", "reconnect"])), max_size=20)


@given(turns)
@settings(max_examples=300, deadline=None)
def test_when_all_is_answered_the_proxy_was_sent_the_last_view(history: list[Any]) -> None:
    stream, proxy, awaiting, last = DeltaStream(), dict[str, str](), list[str](), dict[str, str]()

    def deliver(responses: Iterable[Response]) -> None:
        for it in responses:
            proxy.update({r.name: r.version for r in it.resources})
            for name in it.removed:
                del proxy[name]
            awaiting.append(it.nonce)
            assert len(awaiting) == 1, "never two responses of one type in flight"

    deliver(stream.offer({}, 0.0))
    deliver(stream.receive(Request(CLUSTER), 0.0))
    for step in [*history, *["ack"] * 3, "wait", "ack"]:
        if step == "wait":  # without listeners it may have routes that it has not told of
            deliver(stream.wake(PATIENCE_S * 2))
        elif isinstance(step, dict):
            last = step
            deliver(stream.offer({CLUSTER: {n: Resource(n, v, b"") for n, v in step.items()}}, 0.0))
        elif step == "reconnect":
            stream, awaiting = DeltaStream(), []
            list(stream.offer({CLUSTER: {n: Resource(n, v, b"") for n, v in last.items()}}, 0.0))
            deliver(stream.receive(Request(CLUSTER, initial_versions=dict(proxy)), 0.0))
        elif awaiting:
            deliver(
                stream.receive(
                    Request(CLUSTER, nonce=awaiting.pop(), error="no" if step == "nack" else ""), 0.0
                )
            )
    assert proxy == last


def test_every_type_has_a_place_in_the_order() -> None:
    assert ORDER.index(CLUSTER) < ORDER.index(ENDPOINT)
