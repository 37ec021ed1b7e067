"""Whatever one namespace writes into Services and slices: no proxy calls itself for it, and nobody's view fails."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lateen.api.decode import decode
from lateen.compile.view import view
from lateen.envoy.resource import CLUSTER, ENDPOINT
from lateen.names.addresses import is_callable, is_own
from lateen.names.keys import ProxyKey, ServiceKey
from lateen.policy import unsupported
from lateen.registry import endpoints, services
from lateen.registry.services import MOST_PORTS
from lateen.testing.mesh import mesh, pod, service, sidecar

WEB = ServiceKey("gamma", "web.gamma.svc.cluster.local")
ODD = ("", "x", "1.2.3", "1.2.3.4.5", "010.1.1.1", " 10.0.0.1", "10.0.0.1/24", "::1", "１.2.3.4", "1.2.3.4\n")
OWN = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255")


def by_hand(*addresses: str, port: Any = 8080) -> dict[str, Any]:
    backends = [{"addresses": [it], "conditions": {"ready": True}} for it in addresses]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": backends,
        "metadata": {"name": f"hand-{port}", "namespace": "gamma", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": port}],
    }  # fmt: skip


def external(name: str, *ports: int) -> dict[str, Any]:
    written = [{"name": f"http-{it}", "port": it} for it in ports]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "gamma"},
        "spec": {"type": "ExternalName", "externalName": name, "ports": written},
    }  # fmt: skip


def warned(document: dict[str, Any]) -> list[str]:
    return [it.path for it in unsupported.in_object(decode(document))]  # type: ignore[arg-type]


@pytest.mark.finding("redteam 2: an address in a slice makes Envoys refuse, or opens a proxy's own ports")
def test_addresses_that_are_none_or_mean_the_caller_are_left_out_and_told() -> None:
    assert not any(map(is_callable, (*ODD, *OWN)))
    assert is_callable("10.1.2.3")
    written = by_hand(*ODD, *OWN, "10.1.2.3")
    db = mesh(service("web", {"http": 80}, namespace="gamma"), yaml.safe_dump(written))
    assert [it.address for it in endpoints.endpoints(db, WEB, "http")] == ["10.1.2.3"]
    assert warned(written) == ["endpoints[0].addresses[0]"]


@pytest.mark.finding("redteam 3: port -1 in one slice stops the views of the whole mesh")
@pytest.mark.parametrize("port", [-1, 0, 65536, 2**40])
def test_a_port_that_is_none_stops_no_view(port: int) -> None:
    written = by_hand("10.1.2.3", port=port)
    db = mesh(
        pod("a-1", "10.1.0.1", "a"), service("web", {"http": 80, "odd": port}, namespace="gamma"), yaml.safe_dump(written),
        yaml.safe_dump(by_hand("10.1.2.4")),
    )  # fmt: skip
    proxy = sidecar("a-1", "10.1.0.1", app="a")
    assert isinstance(proxy.key, ProxyKey)
    db.apply([proxy])
    shown = view(db, proxy.key)
    assert "outbound|80||web.gamma.svc.cluster.local" in shown[ENDPOINT]
    assert [it.port for it in endpoints.endpoints(db, WEB, "http")] == [8080]
    assert warned(written) == (["ports[0].port"])


@pytest.mark.finding("redteam 4: an ExternalName opens a gateway's admin interface to its callers")
@pytest.mark.parametrize(
    ("name", "ports", "called"),
    [
        ("localhost", (80, 15000, 15020), set[int]()),
        ("127.0.0.1", (80, 15000), set()),
        ("a.Localhost.", (80,), set()),
        ("", (80,), set()),
        ("mine.example", (80, 15000, 15020), {80}),  # whose DNS server may say 127.0.0.1
    ],
)
def test_names_that_may_mean_the_proxy_are_not_called_where_it_obeys(
    name: str, ports: tuple[int, ...], called: set[int]
) -> None:
    written = external(name, *ports)
    db = mesh(yaml.safe_dump(written), pod("a-1", "10.1.0.2", "a"))
    proxy = sidecar("a-1", "10.1.0.2")
    assert isinstance(proxy.key, ProxyKey)
    db.apply([proxy])
    clusters = {it for it in view(db, proxy.key)[CLUSTER] if "web.gamma" in it}
    assert clusters == {f"outbound|{it}||{WEB.hostname}" for it in called}
    assert len(warned(written)) == len(ports) - len(called)


@pytest.mark.finding("redteam 4: an ExternalName opens a gateway's admin interface to its callers")
def test_an_address_elsewhere_is_another_name_as_any() -> None:
    assert not is_own("10.0.0.1")
    assert not is_own("localhost.example.com")


@pytest.mark.finding("redteam 5: a Service of ten thousand ports stops the control plane")
def test_a_service_has_so_many_ports_and_the_rest_is_told() -> None:
    ports = [{"name": f"http-{it}", "port": 20_000 + it} for it in range(MOST_PORTS + 50)]
    written = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "gamma"},
               "spec": {"clusterIP": "10.96.0.9", "ports": ports}}  # fmt: skip
    found = services.service(mesh(yaml.safe_dump(written)), WEB)
    assert found is not None
    assert len(found.ports) == MOST_PORTS
    assert warned(written) == [f"spec.ports[{MOST_PORTS}]"]
