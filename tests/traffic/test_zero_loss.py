"""Changes under load: not one request may fail."""

from __future__ import annotations

import itertools
import threading

import pytest

from lateen.api.core import EndpointSlice, Service
from lateen.api.core import Pod as PodObject
from lateen.api.meta import Fact
from lateen.incremental import Change
from lateen.names.keys import ObjectKey
from lateen.testing import clients
from lateen.testing.applications import HTTP
from lateen.testing.clients import Load
from lateen.testing.mesh import changed, endpoint_slice, removed, service
from lateen.testing.rules import SUBSETS, authentication, destination_rule, virtual_service
from lateen.testing.traffic import Pod, TrafficMesh


class Caller:
    """Each thread keeps its connection, as applications do, and opens a new one now and then."""

    def __init__(self, pod: Pod, path: str = "/") -> None:
        self._pod, self._path = pod, path
        self._own = threading.local()

    def __call__(self) -> str:
        own = self._own
        if getattr(own, "left", 0) == 0:
            own.connection = clients.http_connection(self._pod.connect("web", 80))
            own.left = 20
        own.left -= 1
        headers = [("host", "web"), *([("connection", "close")] if own.left == 0 else [])]
        answer = clients.request(own.connection, "GET", self._path, headers)
        if own.left == 0 or answer.headers.get("connection") == "close":
            own.connection.close()
            own.left = 0
        assert answer.status == 200, (answer.status, answer.body)
        return answer.who


def split(first: int) -> str:
    return virtual_service(f"""
        http:
        - route:
          - {{destination: {{host: web, subset: v1}}, weight: {first}}}
          - {{destination: {{host: web, subset: v2}}, weight: {100 - first}}}
    """)


def test_weights(mesh: TrafficMesh, client: Pod) -> None:
    with Load(Caller(client)) as load, mesh.having(SUBSETS):
        for first in (100, 80, 50, 0):
            with mesh.having(split(first)):
                load.wait_for(100)
        load.wait_for(100)
    assert load.failures == []


def named(subset: str, port: str = "http") -> tuple[str, str]:
    """A rule and what it names, as one ``kubectl apply`` brings both."""
    rule = destination_rule(f"subsets: [{{name: {subset}, labels: {{app: web}}}}]", name="renamed")
    route = f"{port}: [{{route: [{{destination: {{host: web, subset: {subset}}}}}]}}]"
    return rule, virtual_service(route, name="renamed")


@pytest.mark.finding("architecture 1")
def test_subsets_are_renamed(mesh: TrafficMesh, client: Pod) -> None:
    with Load(Caller(client)) as load, mesh.having(*named("s0")):
        for number in range(1, 21):
            mesh.apply(*named(f"s{number}"))
            load.wait_for(30)
    assert load.failures == []


@pytest.mark.finding("architecture 1")
def test_subsets_of_plain_connections_are_renamed(mesh: TrafficMesh, client: Pod) -> None:
    def call() -> str:
        said = client.line("web", 9000, "hello")
        assert "hello" in said, said
        return said

    with Load(call) as load, mesh.having(*named("s0", "tcp")):
        for number in range(1, 11):
            mesh.apply(*named(f"s{number}", "tcp"))
            load.wait_for(30)
    assert load.failures == []


ORDERS = list(itertools.permutations((PodObject, EndpointSlice, Service)))


@pytest.mark.parametrize("order", ORDERS, ids=lambda it: "-".join(one.__name__ for one in it))
def test_kinds_arrive_one_after_the_other(
    mesh: TrafficMesh, client: Pod, order: tuple[type[Fact], ...]
) -> None:
    """Watches are independent: what one command changed may arrive torn apart."""
    one, other = ("web-1", "10.244.1.1"), ("web-2", "10.244.1.2")
    before = mesh.loop.db.get(PodObject, ObjectKey("default", "web-2"))
    assert before
    # What is put and not taken back would be the next test's: this has the slice as it was.
    as_it_was = mesh.having(endpoint_slice("web", {"http": HTTP}, one, other))
    with as_it_was, Load(Caller(client)) as load, mesh.torn(*order):
        for _ in range(2):
            mesh.put([
                *changed(endpoint_slice("web", {"http": HTTP}, one)), removed(PodObject, "web-2"),
                *changed(service("new", {"http": 80}, "10.96.0.77")),
            ])  # fmt: skip
            load.wait_for(50)
            mesh.put([
                *changed(endpoint_slice("web", {"http": HTTP}, one, other)),
                Change(PodObject, before.key, before), removed(Service, "new"),
            ])  # fmt: skip
            load.wait_for(50)
    assert load.failures == []


def test_strict_and_back(mesh: TrafficMesh, client: Pod) -> None:
    with Load(Caller(client)) as load:
        for _ in range(2):
            with mesh.having(authentication("mtls: {mode: STRICT}")):
                load.wait_for(300)  # longer than Envoy drains what changed
            load.wait_for(100)
    assert load.failures == []


def test_endpoints_come_and_go(mesh: TrafficMesh, client: Pod) -> None:
    one, other = ("web-1", "10.244.1.1"), ("web-2", "10.244.1.2")
    with Load(Caller(client)) as load:
        for pods in ((one,), (one, other), (other,), (other, one)):
            with mesh.having(endpoint_slice("web", {"http": HTTP}, *pods)):
                load.wait_for(100)
    assert load.failures == []


def test_policies_of_the_destination(mesh: TrafficMesh, client: Pod) -> None:
    with Load(Caller(client)) as load:
        for policy in (
            "loadBalancer: {simple: RANDOM}",
            "connectionPool: {tcp: {maxConnections: 500}}",
            "tls: {mode: ISTIO_MUTUAL}",
        ):
            with mesh.having(destination_rule(f"trafficPolicy: {{{policy}}}")):
                load.wait_for(100)
    assert load.failures == []


def test_certificates_are_renewed(mesh: TrafficMesh, client: Pod) -> None:
    with Load(Caller(client)) as load:
        for _ in range(2):
            for name in ("client", "web-1", "web-2"):
                mesh.recertify(name)
            load.wait_for(150)
    assert load.failures == []
