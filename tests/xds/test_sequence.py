"""Make before break: in which order one proxy hears of clusters, and of what names them."""

from __future__ import annotations

import pytest
from envoy.config.route.v3 import route_components_pb2, route_pb2

from lateen.compile import naming
from lateen.envoy.named import missing
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource, View
from lateen.envoy.sealing import seal
from lateen.testing.conversations import Play, play, written
from lateen.xds import sotw
from lateen.xds.sequence import PATIENCE_S
from lateen.xds.sotw import StateStream
from lateen.xds.stream import Request

CONNECTED = """
    mesh cds/old@1 eds/old@1 lds/l@1 rds/r@1
    proxy cds wants
    -> cds #1 old@1
    proxy eds wants old
    -> eds #2 old@1
    proxy eds acks 2
    proxy cds acks 1
    proxy lds wants
    -> lds #3 l@1
    proxy rds wants r
    -> rds #4 r@1
    proxy lds acks 3
    proxy rds acks 4
"""


@pytest.mark.finding("architecture 1")
def test_a_route_waits_for_its_cluster_and_the_old_cluster_for_the_route() -> None:
    play(f"""{CONNECTED}
        mesh cds/new@1 eds/new@1 lds/l@1 rds/r@2
        -> cds #5 new@1
        proxy eds wants new
        -> eds #6 new@1
        proxy eds acks 6
        proxy cds acks 5
        -> rds #7 r@2
        proxy rds acks 7
        -> cds #8 -old
        -> eds #9 -old
    """)


@pytest.mark.finding("architecture 1")
def test_a_listener_waits_too() -> None:
    play(f"""{CONNECTED}
        mesh cds/new@1 lds/l@2 rds/r@1
        -> cds #5 new@1
        proxy cds acks 5
        -> lds #6 l@2
        proxy lds acks 6
        -> cds #7 -old
        -> eds #8 -old
    """)


def test_a_change_of_endpoints_alone_holds_nothing_back() -> None:
    play(f"""{CONNECTED}
        mesh cds/old@1 eds/old@2 lds/l@1 rds/r@2
        -> eds #5 old@2
        -> rds #6 r@2
    """)


def test_endpoints_that_cannot_be_told_yet_come_before_the_route() -> None:
    play(f"""{CONNECTED}
        mesh cds/old@1 eds/old@2 lds/l@1 rds/r@1
        -> eds #5 old@2
        mesh cds/old@1 eds/old@3 lds/l@1 rds/r@2
        proxy eds acks 5
        -> eds #6 old@3
        -> rds #7 r@2
    """)


@pytest.mark.finding("architecture 1")
def test_a_cluster_that_never_warms_does_not_stop_routes() -> None:
    stream = play(f"""{CONNECTED}
        mesh cds/old@1 cds/new@1 eds/old@1 lds/l@1 rds/r@2
        -> cds #5 new@1
        later 9
        later 1
        -> rds #6 r@2
        proxy rds acks 6
        mesh cds/old@1 cds/new@1 eds/old@1 lds/l@1 rds/r@3
        -> rds #7 r@3
    """)
    assert stream.due is None, "what was waited for long enough is not waited for again"


def test_a_cluster_that_cannot_be_told_yet_is_waited_for_anew() -> None:
    play(f"""{CONNECTED}
        mesh cds/old@1 cds/slow@1 eds/old@1 lds/l@1 rds/r@2
        -> cds #5 slow@1
        later 10
        -> rds #6 r@2
        proxy rds acks 6
        mesh cds/old@1 cds/slow@1 cds/new@1 eds/old@1 lds/l@1 rds/r@3
        later 9
        proxy cds acks 5
        -> cds #7 new@1
        proxy cds acks 7
        -> rds #8 r@3
    """)


@pytest.mark.finding("architecture 1")
def test_what_a_refused_route_names_is_kept_until_it_is_replaced() -> None:
    play(f"""{CONNECTED}
        mesh cds/new@1 lds/l@1 rds/r@2
        -> cds #5 new@1
        proxy cds acks 5
        -> rds #6 r@2
        proxy rds nacks 6 no
        later 1000
        mesh cds/new@1 lds/l@1 rds/r@3
        -> rds #7 r@3
        proxy rds acks 7
        -> cds #8 -old
        -> eds #9 -old
    """)


@pytest.mark.finding("architecture 1")
def test_a_proxy_that_returns_loses_no_cluster_before_its_routes_are_told() -> None:
    play("""
        mesh cds/new@1 eds/new@1 lds/l@1 rds/r@2
        proxy cds returns old@1
        -> cds #1 new@1
        proxy eds wants new
        -> eds #2 new@1
        proxy lds returns l@1
        proxy eds acks 2
        proxy cds acks 1
        -> lds #3
        proxy rds wants r
        -> rds #4 r@2
        proxy lds acks 3
        proxy rds acks 4
        -> cds #5 -old
    """)


def test_a_proxy_that_returns_while_a_cluster_warms_speaks_of_clusters_later() -> None:
    play("""
        mesh cds/new@1 eds/new@1 lds/l@2 rds/r@2
        proxy lds returns l@1
        proxy rds wants r
        proxy cds returns old@1
        -> cds #1 new@1
        proxy cds acks 1
        -> lds #2 l@2
        -> rds #3 r@2
        proxy lds acks 2
        proxy rds acks 3
        -> cds #4 -old
    """)


def test_a_cluster_that_changed_while_a_proxy_was_away_gets_its_endpoints_again() -> None:
    """Envoy asks for all types before it reads an answer; the new cluster would wait for what the old one has."""
    stream = Play()
    list(stream.turn("mesh cds/a@2 cds/b@1 eds/a@1 eds/b@1"))
    list(stream.turn("proxy cds returns a@1 b@1"))
    returns = Request(ENDPOINT, frozenset({"a", "b"}), initial_versions={"a": "1", "b": "1"})
    assert [written(it) for it in stream.stream.receive(returns, 0.0)] == ["-> eds #2 a@1"]


def test_what_comes_back_before_it_was_taken_away_is_not_sent_again() -> None:
    play(f"""{CONNECTED}
        mesh cds/new@1 eds/new@1 lds/l@1 rds/r@2
        -> cds #5 new@1
        mesh cds/old@1 cds/new@1 eds/old@1 eds/new@1 lds/l@1 rds/r@1
        proxy cds acks 5
    """)


def test_a_type_whose_answer_is_held_back_does_not_stand_as_synced() -> None:
    stream = play(f"""{CONNECTED}
        mesh cds/old@1 cds/new@1 lds/l@1 rds/r@2
        -> cds #5 new@1
        later 0
    """)
    assert [stream.standings()[it].synced for it in (CLUSTER, LISTENER, ROUTE)] == [False, True, False]
    assert stream.due == PATIENCE_S


@pytest.mark.finding("issue 6 soak")
def test_a_subset_that_is_renamed_by_two_objects_one_after_the_other_is_there_until_the_second_came() -> None:
    """``kubectl apply`` sends the DestinationRule, and half a second later the VirtualService."""
    stream = play(
        f"""{CONNECTED}
        mesh cds/new@1 eds/new@1 lds/l@1 rds/r@1
        -> cds #5 new@1
        proxy eds wants new
        -> eds #6 new@1
        proxy eds acks 6
        proxy cds acks 5
        later 0.5
        mesh cds/new@1 eds/new@1 lds/l@1 rds/r@2
        -> rds #7 r@2
        proxy rds acks 7
        later 2
        later 0.5
        -> cds #8 -old
        -> eds #9 -old
        """,
        linger_s=3.0,
    )
    assert stream.due is None


@pytest.mark.finding("issue 6 soak")
def test_what_goes_later_lingers_from_its_own_moment_on() -> None:
    """A second rule was renamed just before the first one's old cluster went: its own must not go with that."""
    stream = play(
        f"""{CONNECTED}
        mesh cds/new@1 eds/new@1 lds/l@1 rds/r@1
        -> cds #5 new@1
        proxy cds acks 5
        proxy eds wants new
        -> eds #6 new@1
        proxy eds acks 6
        later 2.5
        mesh cds/newer@1 eds/newer@1 lds/l@1 rds/r@1
        -> cds #7 newer@1
        proxy cds acks 7
        proxy eds wants newer
        -> eds #8 newer@1
        proxy eds acks 8
        later 0.5
        -> cds #9 -old
        -> eds #10 -old
        proxy cds acks 9
        proxy eds acks 10
        later 2
        later 0.5
        -> cds #11 -new
        -> eds #12 -new
        """,
        linger_s=3.0,
    )
    assert stream.due is None


def test_what_lingers_and_comes_back_was_never_away() -> None:
    stream = play(
        f"""{CONNECTED}
        mesh lds/l@1 rds/r@1
        later 2.9
        mesh cds/old@1 eds/old@1 lds/l@1 rds/r@1
        later 9
        """,
        linger_s=3.0,
    )
    assert stream.due is None


def test_what_lingers_while_routes_wait_is_looked_at_again_in_time() -> None:
    stream = play(
        f"""{CONNECTED}
        mesh cds/new@1 lds/l@1 rds/r@2
        -> cds #5 new@1
        later 3
        """,
        linger_s=3.0,
    )
    assert stream.due == PATIENCE_S


@pytest.mark.finding("architecture 1")
def test_a_client_of_grpc_keeps_the_cluster_of_its_route_until_it_has_the_next() -> None:
    """It is told the whole state each time, and asks for a cluster when a route has named it."""
    old, new = Resource("old", "1", b""), Resource("new", "1", b"")
    first: View = {CLUSTER: {"old": old}, ROUTE: {"r": Resource("r", "1", b"")}}
    second: View = {CLUSTER: {"new": new}, ROUTE: {"r": Resource("r", "2", b"")}}
    it, routes, clusters = StateStream(), frozenset({"r"}), frozenset({"old"})
    list(it.offer(first, 0.0))
    list(it.receive(sotw.Request(ROUTE, routes), 0.0))
    list(it.receive(sotw.Request(ROUTE, routes, nonce="1"), 0.0))
    list(it.receive(sotw.Request(CLUSTER, clusters), 0.0))
    list(it.receive(sotw.Request(CLUSTER, clusters, nonce="2"), 0.0))
    assert [(one.type_url, len(one.resources)) for one in it.offer(second, 1.0)] == [(ROUTE, 1)]
    both = clusters | {"new"}
    [told] = it.receive(sotw.Request(CLUSTER, both, nonce="2"), 1.0)
    assert told.resources == (new, old)
    assert not list(it.receive(sotw.Request(CLUSTER, both, nonce=told.nonce), 1.0))
    [without] = it.receive(sotw.Request(ROUTE, routes, nonce="3"), 1.0)
    assert (without.type_url, without.resources) == (CLUSTER, (new,))


@pytest.mark.finding("issue 7 part 7")
@pytest.mark.parametrize("subset", ["v1", "v" * 200])
def test_what_is_still_named_is_kept_for_longer(subset: str) -> None:
    """Of a subset that was renamed the rule comes late: the API server was busy between the two."""
    name = naming.outbound("web.shop.svc.cluster.local", 80, subset)
    other = naming.outbound("web.shop.svc.cluster.local", 80, f"{subset}b")
    stream = StateStream(linger_s=3.0)
    connect(stream, {CLUSTER: {name: Resource(name, "1", b"")}, ROUTE: {"r": names(name)}})
    renamed = {other: Resource(other, "1", b"")}
    told = list(stream.offer({CLUSTER: renamed, ROUTE: {"r": names(name)}}, 1.0))
    assert [len(it.resources) for it in told] == [2]
    list(stream.receive(sotw.Request(CLUSTER, nonce=told[0].nonce), 1.0))
    assert not list(stream.wake(4.0))
    assert stream.due == 1.0 + PATIENCE_S
    [routes] = stream.offer({CLUSTER: renamed, ROUTE: {"r": names(other)}}, 7.0)  # here it is
    [clusters] = stream.receive(sotw.Request(ROUTE, frozenset({"r"}), nonce=routes.nonce), 7.0)
    assert clusters.resources == (renamed[other],)
    assert stream.due is None


def test_what_is_still_named_goes_in_the_end() -> None:
    name = naming.outbound("web.shop.svc.cluster.local", 80, "v1")
    stream = StateStream(linger_s=3.0)
    connect(stream, {CLUSTER: {name: Resource(name, "1", b"")}, ROUTE: {"r": names(name)}})
    assert not list(stream.offer({ROUTE: {"r": names(name)}}, 1.0))
    assert not list(stream.wake(4.0))
    [told] = stream.wake(1.0 + PATIENCE_S)
    assert told.resources == ()


def names(cluster: str) -> Resource:
    """A real route to a cluster."""
    action = route_components_pb2.RouteAction(cluster=cluster, prefix_rewrite="/")
    match = route_components_pb2.RouteMatch(prefix="/")
    routes = [route_components_pb2.Route(match=match, route=action)]
    host = route_components_pb2.VirtualHost(name="h", domains=["*"], routes=routes)
    return seal("r", route_pb2.RouteConfiguration(name="r", virtual_hosts=[host]))


def connect(stream: StateStream, view: View) -> None:
    """A proxy that has all of a view."""
    list(stream.offer(view, 0.0))
    list(stream.receive(sotw.Request(CLUSTER), 0.0))
    list(stream.receive(sotw.Request(CLUSTER, nonce="1"), 0.0))
    list(stream.receive(sotw.Request(ROUTE, frozenset({"r"})), 0.0))
    list(stream.receive(sotw.Request(ROUTE, frozenset({"r"}), nonce="2"), 0.0))


def test_words_that_look_like_names_cost_little() -> None:
    words = Resource("r", "words", b"\xff\x7foutbound|" * 100_000)
    assert missing({"outbound|80||a"}, [words, words]) == frozenset()
