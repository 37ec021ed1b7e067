"""What the injector writes, the agent understands; and what it does not, it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from lateen.agent import envoy_process, settings
from lateen.agent.settings import Scrape, SettingsError
from lateen.discovery.introduction import proxy
from lateen.envoy.codec import Introduction
from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings
from lateen.names.metrics import Workload

POD = """
metadata:
  name: cart-7d9f-x
  labels: {app: cart, version: v2, pod-template-hash: 7d9f}
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/port: "9102"
    proxy.istio.io/config: |
      concurrency: 3
      terminationDrainDuration: 1.5s
      drainDuration: 20s
      proxyStatsMatcher: {inclusionPrefixes: [http.], inclusionRegexps: [".*x"]}
      proxyMetadata: {SECRET_TTL: 1h, ISTIO_META_EXTRA: more}
  ownerReferences: [{controller: true, kind: ReplicaSet, apiVersion: apps/v1, name: cart-7d9f}]
spec:
  serviceAccountName: cart
  containers:
  - name: server
    image: x
    ports: [{containerPort: 7070, name: grpc}]
    readinessProbe: {grpc: {port: 7070}}
"""
FIELDS = {
    "metadata.name": "cart-7d9f-x", "metadata.namespace": "shop", "status.podIP": "10.0.0.1", "status.hostIP": "10.0.0.9",
    "spec.serviceAccountName": "cart", "spec.nodeName": "node-1",
}  # fmt: skip
LABELS = 'app="cart"\nversion="v2"\nservice.istio.io/canonical-name="cart"\nservice.istio.io/canonical-revision="v2"\n'


def container() -> dict[str, Any]:
    made = inject(yaml.safe_load(POD), InjectionSettings(), namespace="shop")
    every = [*made["spec"].get("initContainers", ()), *made["spec"]["containers"]]
    found: dict[str, Any] = next(it for it in every if it["name"] == "istio-proxy")
    return found


def field(source: dict[str, Any]) -> str:
    """What the kubelet finds at a field of the pod, or at a limit of the container."""
    if "resourceFieldRef" in source:
        assert source["resourceFieldRef"]["resource"] == "limits.cpu"
        return "2"
    return FIELDS[source["fieldRef"]["fieldPath"]]


def environment() -> dict[str, str]:
    """As the kubelet would fill it."""
    return {it["name"]: it["value"] if "value" in it else field(it["valueFrom"]) for it in container()["env"]}


def test_an_injected_pod_is_understood() -> None:
    it = settings.from_environment("sidecar", "shop.svc.cluster.local", environment(), LABELS, 'a="1"\n')
    assert it.node_id == "sidecar~10.0.0.1~cart-7d9f-x.shop~shop.svc.cluster.local"
    assert str(it.identity) == "spiffe://cluster.local/ns/shop/sa/cart"
    assert it.workload == Workload("cart", "shop", "cart", "v2", "Kubernetes")
    assert it.authority == ("istiod.istio-system.svc", 15012)
    assert (it.proxy.concurrency, it.proxy.termination_drain_s, it.proxy.drain_s, it.life_s) == (
        3,
        1.5,
        20,
        3600,
    )
    assert it.scrape == Scrape(9102, "/metrics")
    assert it.probers["/app-health/server/readyz"] == {"grpc": {"port": 7070}}
    assert it.native
    assert {
        "NAMESPACE": "shop", "SERVICE_ACCOUNT": "cart", "WORKLOAD_NAME": "cart", "CLUSTER_ID": "Kubernetes", "NODE_NAME": "node-1",
        "APP_CONTAINERS": "server", "INTERCEPTION_MODE": "REDIRECT", "EXTRA": "more", "INSTANCE_IPS": "10.0.0.1",
        "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart", "ANNOTATIONS": {"a": "1"},
    }.items() <= it.metadata.items()  # fmt: skip
    assert it.metadata["POD_PORTS"] == [{"containerPort": 7070, "name": "grpc"}]


def test_the_control_plane_knows_the_proxy_again() -> None:
    it = settings.from_environment("sidecar", "", environment(), LABELS)
    node = envoy_process.made(it)["node"]
    found = proxy(Introduction(node["id"], node["cluster"], node["metadata"], ("", "", ""), "1.40"))
    assert (found.namespace, found.pod, found.service_account, found.ip) == (
        "shop",
        "cart-7d9f-x",
        "cart",
        "10.0.0.1",
    )
    assert ("app", "cart") in tuple(found.labels)


def test_the_bootstrap_has_what_the_proxy_config_wants() -> None:
    said = environment()
    said["PROXY_CONFIG"] = json.dumps({
        **json.loads(said["PROXY_CONFIG"]), "proxyAdminPort": 15009, "statusPort": 15029, "discoveryAddress": "istiod-canary.mesh.svc:15012",
    })  # fmt: skip
    it = settings.from_environment("sidecar", "", said, LABELS)
    made = envoy_process.made(it)
    assert made["admin"]["address"]["socket_address"]["port_value"] == 15009
    clusters = {it["name"]: it["load_assignment"]["endpoints"] for it in made["static_resources"]["clusters"]}
    ports = {
        name: it[0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
        for name, it in clusters.items()
    }
    assert ports["prometheus_stats"]["port_value"] == 15009
    assert ports["agent"]["port_value"] == 15029
    assert ports["xds-grpc"] == {"address": "istiod-canary.mesh.svc", "port_value": 15012}
    patterns = made["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert {"prefix": "http."} in patterns
    assert {"safe_regex": {"regex": ".*x"}} in patterns
    command = " ".join(envoy_process.command(it, "/x/envoy.json", "warning", "misc:error"))  # type: ignore[arg-type]
    assert "--concurrency 3" in command
    assert "--drain-time-s 20" in command
    assert command.endswith("--log-level warning --component-log-level misc:error --concurrency 3")


@pytest.mark.finding("conformance F6")
def test_statistics_may_be_named_by_annotations() -> None:
    lists = "\n".join(
        f'sidecar.istio.io/statsInclusion{it}="a,  b"' for it in ("Prefixes", "Suffixes", "Regexps")
    )
    it = settings.from_environment("sidecar", "", environment(), LABELS, lists)
    assert it.proxy.stats[-6:] == (
        {"prefix": "a"}, {"prefix": "b"}, {"suffix": "a"}, {"suffix": "b"}, {"safe_regex": {"regex": "a"}},
        {"safe_regex": {"regex": "b"}},
    )  # fmt: skip


def test_a_gateway_uses_all_cores() -> None:
    said = {**environment(), "PROXY_CONFIG": "{}"}
    it = settings.from_environment("router", "", said)
    assert it.node_id.startswith("router~")
    assert "--concurrency" not in envoy_process.command(it, "/x", "info", "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"POD_NAME": ""}, "POD_NAME is missing"), ({"PROXY_CONFIG": "{"}, "PROXY_CONFIG is not JSON"),
        ({"PROXY_CONFIG": "[]"}, "not a JSON dict"), ({"PROXY_CONFIG": '{"concurrency": "many"}'}, "concurrency is 'many'"),
        ({"PROXY_CONFIG": '{"statusPort": 99999}'}, "statusPort is 99999: it is a number up to 65535"),
        ({"PROXY_CONFIG": '{"drainDuration": "soon"}'}, 'drainDuration: "soon" is not a duration'),
        ({"PROXY_CONFIG": '{"discoveryAddress": "istiod"}'}, "of the form host:port"), ({"CA_ADDR": "x"}, "CA_ADDR"),
        ({"SECRET_TTL": "x"}, "SECRET_TTL"), ({"ISTIO_KUBE_APP_PROBERS": "nonsense"}, "ISTIO_KUBE_APP_PROBERS is not JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings.from_environment("sidecar", "", {**environment(), **change})


def test_a_kind_that_is_none() -> None:
    with pytest.raises(SettingsError, match="proxy sidecar"):
        settings.from_environment("waypoint", "", environment())


def test_labels_of_the_downward_api() -> None:
    assert settings.pairs('a="b"\nc/d="e=\\"f\\"\\\\ \\n."\nempty=""\n') == {
        "a": "b",
        "c/d": 'e="f"\\ \n.',
        "empty": "",
    }
