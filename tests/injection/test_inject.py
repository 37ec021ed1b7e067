"""What an injected pod looks like, from the settings that the installation writes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lateen.injection.advice import advice
from lateen.injection.annotations import InjectionError
from lateen.injection.decide import STATUS
from lateen.injection.inject import inject
from lateen.injection.settings import InjectionSettings, SettingsError, read

from .conftest import Object, environment, installed, pod

SETTINGS = installed()


def sidecar(made: Object) -> Object:
    containers = [*made["spec"].get("initContainers", ()), *made["spec"]["containers"]]
    (found,) = [it for it in containers if it["name"] == "istio-proxy"]
    return found


def names(made: Object) -> tuple[list[str], list[str]]:
    spec = made["spec"]
    return [it["name"] for it in spec.get("initContainers", ())], [it["name"] for it in spec["containers"]]


def done(it: Object, settings: InjectionSettings = SETTINGS) -> Object:
    return inject(it, settings, namespace="shop")


# -- from the installation to the pod


def test_values_reach_the_pod() -> None:
    settings = installed(
        "hub=registry.example/mesh", "tag=7", "meshConfig.trustDomain=example.org",
        "values.global.proxy.resources.requests.cpu=3m", "values.global.proxy.logLevel=trace",
        "values.global.network=north", "values.global.imagePullSecrets=[regcred]", "values.global.imagePullPolicy=Always",
        "values.global.proxy.excludeIPRanges=10.9.0.0/16", "values.global.proxy.holdApplicationUntilProxyStarts=true",
        "values.pilot.env.ENABLE_NATIVE_SIDECARS=false", "values.global.clusterName=east", "meshConfig.defaultConfig.concurrency=3",
        "values.sidecarInjectorWebhook.injectedAnnotations={team: shop}",
    )  # fmt: skip
    made = done(pod(), settings)
    proxy, told = sidecar(made), environment(made)
    assert proxy["image"] == made["spec"]["initContainers"][0]["image"] == "registry.example/mesh/proxy:7"
    assert proxy["imagePullPolicy"] == "Always"
    assert made["spec"]["imagePullSecrets"] == [{"name": "regcred"}]
    assert proxy["resources"]["requests"]["cpu"] == "3m"
    assert "--proxyLogLevel=trace" in proxy["args"]
    assert (told["TRUST_DOMAIN"], told["ISTIO_META_NETWORK"], told["ISTIO_META_CLUSTER_ID"]) == (
        "example.org",
        "north",
        "east",
    )
    assert json.loads(told["PROXY_CONFIG"])["concurrency"] == 3
    assert made["metadata"]["labels"]["topology.istio.io/network"] == "north"
    assert made["metadata"]["annotations"]["team"] == "shop"
    assert names(made) == (["istio-init"], ["istio-proxy", "app"])
    assert "10.9.0.0/16" in made["spec"]["initContainers"][0]["args"]


def test_a_revision_has_its_own_settings() -> None:
    settings = installed("revision=canary")
    made = done(pod(), settings)
    assert made["metadata"]["annotations"]["istio.io/rev"] == "canary"
    assert json.loads(made["metadata"]["annotations"][STATUS])["revision"] == "canary"
    assert environment(made)["CA_ADDR"] == "istiod-canary.istio-system.svc:15012"


@pytest.mark.parametrize(
    ("injector", "mesh", "said"),
    [
        ({"values": "{"}, {}, "data.values"),
        ({"values": "[]"}, {}, "no mapping"),
        ({}, {"mesh": "a: ["}, "istio: data.mesh"),
        ({"config": "- a"}, {}, "data.config"),
        ({}, {"mesh": "trustDomain: [x]"}, "trustDomain"),
    ],
)
def test_config_maps_that_cannot_be_read_are_named(injector: Any, mesh: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(injector, mesh)


# -- where containers stand


def test_native_sidecars_come_before_all_that_is_to_be_in_the_mesh() -> None:
    made = done(pod(initContainers=[{"name": "migrate"}]))
    assert names(made) == (["istio-init", "istio-proxy", "migrate"], ["app"])
    proxy = sidecar(made)
    assert proxy["restartPolicy"] == "Always"
    assert proxy["startupProbe"]["httpGet"]["port"] == 15021
    assert environment(made)["ISTIO_NATIVE_SIDECAR"] == "true"


@pytest.mark.parametrize(
    ("annotations", "containers"),
    [
        ({}, ["app", "istio-proxy"]),
        ({"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"}, ["istio-proxy", "app"]),
    ],
)
def test_other_sidecars_run_after_the_init_containers(annotations: Object, containers: list[str]) -> None:
    """Which therefore must have a network without the proxy: capture is last."""
    it = pod({"sidecar.istio.io/nativeSidecar": "false", **annotations}, initContainers=[{"name": "migrate"}])
    made = done(it)
    assert names(made) == (["migrate", "istio-init"], containers)
    assert ("lifecycle" in sidecar(made)) == bool(annotations)
    assert "ISTIO_NATIVE_SIDECAR" not in environment(made)


def test_injecting_twice_changes_nothing() -> None:
    once = done(pod({"prometheus.io/scrape": "true", "prometheus.io/port": "9"}))
    assert done(once) == once


def test_a_gateway_is_the_proxy_alone() -> None:
    it = {
        "metadata": {"annotations": {"inject.istio.io/templates": "gateway"}, "labels": {"app": "edge"}},
        "spec": {
            "containers": [{"name": "istio-proxy", "image": "auto", "ports": [{"containerPort": 8080}]}]
        },
    }
    made = done(it)
    proxy = sidecar(made)
    assert names(made) == ([], ["istio-proxy"])
    assert proxy["image"] == SETTINGS.image
    assert proxy["args"][:2] == ["proxy", "router"]
    assert {8080, 15090} == {port["containerPort"] for port in proxy["ports"]}
    assert "security.istio.io/tlsMode" not in made["metadata"]["labels"]
    assert environment(made)["ISTIO_META_INTERCEPTION_MODE"] == "REDIRECT", "Istio says so of every proxy"


def test_what_a_user_wrote_for_the_proxy_wins() -> None:
    own = {"name": "istio-proxy", "image": "mine:1", "env": [{"name": "TRUST_DOMAIN", "value": "x"}],
           "resources": {"limits": {"cpu": "9"}}, "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}}}  # fmt: skip
    it = pod()
    it["spec"]["containers"].append(own)
    made = done(it)
    proxy = sidecar(made)
    assert names(made)[1] == ["app"]
    assert proxy["image"] == "mine:1"
    assert proxy["lifecycle"] == own["lifecycle"]
    assert environment(made)["TRUST_DOMAIN"] == "x"
    assert proxy["restartPolicy"] == "Always"


# -- probes and hooks


def test_probes_are_asked_by_way_of_the_agent() -> None:
    container = {
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/r", "port": "web", "httpHeaders": [{"name": "X", "value": "y"}]},
                           "periodSeconds": 7, "timeoutSeconds": 3},
        "livenessProbe": {"grpc": {"port": 9000, "service": "s"}},
        "startupProbe": {"tcpSocket": {"port": "web"}},
        "lifecycle": {"postStart": {"httpGet": {"path": "/h", "port": "8080", "scheme": "HTTPS"}},
                      "preStop": {"exec": {"command": ["true"]}}},
    }  # fmt: skip
    made = done(pod(container=container))
    app = made["spec"]["containers"][0]
    asked = {"port": 15020}
    assert app["readinessProbe"] == {
        "httpGet": {"path": "/app-health/app/readyz", **asked}, "periodSeconds": 7, "timeoutSeconds": 3,
    }  # fmt: skip
    assert app["livenessProbe"] == {"httpGet": {"path": "/app-health/app/livez", **asked}}
    assert app["startupProbe"] == {"httpGet": {"path": "/app-health/app/startupz", **asked}}
    assert app["lifecycle"]["preStop"] == container["lifecycle"]["preStop"]
    assert json.loads(environment(made)["ISTIO_KUBE_APP_PROBERS"]) == {
        "/app-health/app/readyz": {
            "httpGet": {"path": "/r", "port": 8080, "httpHeaders": [{"name": "X", "value": "y"}]}, "timeoutSeconds": 3,
        },
        "/app-health/app/livez": {"grpc": {"port": 9000, "service": "s"}},
        "/app-health/app/startupz": {"tcpSocket": {"port": 8080}},
        "/app-lifecycle/app/poststartz": {"httpGet": {"path": "/h", "port": 8080, "scheme": "HTTPS"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("probe", "annotations"),
    [
        ({"exec": {"command": ["true"]}}, {}),
        ({"httpGet": {"port": "nobody"}}, {}),
        ({"httpGet": {"port": 80}}, {"sidecar.istio.io/rewriteAppHTTPProbers": "false"}),
        ({"httpGet": {"port": 80}}, {"status.sidecar.istio.io/port": "0"}),
    ],
)
def test_other_probes_stay_as_they_are(probe: Object, annotations: Object) -> None:
    made = done(pod(annotations, {"readinessProbe": probe}))
    assert made["spec"]["containers"][0]["readinessProbe"] == probe
    assert "ISTIO_KUBE_APP_PROBERS" not in environment(made)


def test_the_pods_own_native_sidecars_are_probed_by_way_of_the_agent() -> None:
    helper = {"name": "queue", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}
    made = done(pod(initContainers=[helper]))
    assert (
        made["spec"]["initContainers"][2]["startupProbe"]["httpGet"]["path"] == "/app-health/queue/startupz"
    )


def test_the_agents_port_can_be_another_one() -> None:
    made = done(pod({"status.sidecar.istio.io/port": "15999"}, {"livenessProbe": {"httpGet": {"port": 80}}}))
    assert made["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"] == 15999
    assert json.loads(environment(made)["PROXY_CONFIG"])["statusPort"] == 15999
    assert "15090,15021,15999" in made["spec"]["initContainers"][0]["args"]
    assert made["metadata"]["annotations"]["prometheus.io/port"] == "15999"


# -- annotations


def test_resources_of_annotations_replace_the_meshs() -> None:
    made = done(pod({"sidecar.istio.io/proxyCPU": "7m", "sidecar.istio.io/proxyMemoryLimit": "1Gi"}))
    assert sidecar(made)["resources"] == {"requests": {"cpu": "7m"}, "limits": {"memory": "1Gi"}}


def test_traffic_annotations_become_options_of_capture() -> None:
    prefix = "traffic.sidecar.istio.io"
    args = done(pod({
        f"{prefix}/includeOutboundIPRanges": "10.0.0.0/8", f"{prefix}/excludeOutboundIPRanges": "10.1.0.0/16",
        f"{prefix}/includeInboundPorts": "80,81", f"{prefix}/excludeInboundPorts": "9", f"{prefix}/excludeOutboundPorts": "5432",
        f"{prefix}/includeOutboundPorts": "443", f"{prefix}/excludeInterfaces": "docker0",
    }))["spec"]["initContainers"][0]["args"]  # fmt: skip
    options = dict(zip(args[1:-1:2], args[2:-1:2], strict=True))
    assert options == {
        "-p": "15001", "-z": "15006", "-u": "1337", "-m": "REDIRECT", "-i": "10.0.0.0/8", "-x": "10.1.0.0/16", "-b": "80,81",
        "-d": "15090,15021,9,15020", "-o": "5432", "-q": "443", "-c": "docker0",
    }  # fmt: skip


def test_the_pods_own_proxy_config_wins_and_adds() -> None:
    settings = installed(
        "meshConfig.defaultConfig.proxyMetadata={A: mesh, B: mesh}", "meshConfig.defaultConfig.concurrency=4"
    )
    made = done(pod({"proxy.istio.io/config": "{concurrency: 1, proxyMetadata: {B: pod}}"}), settings)
    told = environment(made)
    assert (told["A"], told["B"]) == ("mesh", "pod")
    assert json.loads(told["PROXY_CONFIG"])["concurrency"] == 1


@pytest.mark.parametrize(
    ("annotations", "port"),
    [
        ({"proxy.istio.io/config": "statusPort: 15120"}, 15120),
        ({"status.sidecar.istio.io/port": "15220", "proxy.istio.io/config": "statusPort: 15120"}, 15220),
    ],
)
def test_the_agents_port_is_where_probes_and_metrics_ask(annotations: Object, port: int) -> None:
    made = done(pod(annotations, {"livenessProbe": {"httpGet": {"path": "/", "port": 80}}}))
    assert made["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"] == port
    assert json.loads(environment(made)["PROXY_CONFIG"])["statusPort"] == port
    assert made["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert f"15090,15021,{port}" in made["spec"]["initContainers"][0]["args"]


def test_the_agent_knows_how_long_the_pod_may_take_to_end() -> None:
    beside = {"sidecar.istio.io/nativeSidecar": "false"}
    assert environment(done(pod(beside, terminationGracePeriodSeconds=5)))["LATEEN_GRACE_PERIOD"] == "5s"
    assert environment(done(pod(beside)))["LATEEN_GRACE_PERIOD"] == "30s"
    # What is told to end after the application has nothing left to wait for.
    assert "LATEEN_GRACE_PERIOD" not in environment(done(pod()))


def test_capture_can_be_left_out() -> None:
    made = done(pod({"sidecar.istio.io/interceptionMode": "NONE"}))
    assert names(made) == (["istio-proxy"], ["app"])
    assert environment(made)["ISTIO_META_INTERCEPTION_MODE"] == "NONE"


@pytest.mark.parametrize(
    ("annotations", "scraped", "page"),
    [
        ({}, None, "15020"),
        ({"prometheus.io/scrape": "true", "prometheus.io/port": "9102", "prometheus.io/path": "/m"},
         {"scrape": "true", "port": "9102", "path": "/m"}, "15020"),
        ({"prometheus.io/scrape": "true", "prometheus.io/port": "9102", "prometheus.istio.io/merge-metrics": "false"}, None, "9102"),
    ],
)  # fmt: skip
def test_metrics_are_merged_with_the_applications(
    annotations: Object, scraped: Object | None, page: str
) -> None:
    made = done(pod(annotations))
    said = environment(made).get("ISTIO_PROMETHEUS_ANNOTATIONS")
    assert (json.loads(said) if said else None) == scraped
    assert made["metadata"]["annotations"]["prometheus.io/port"] == page


@pytest.mark.parametrize(
    "volume", ['{"ca": {"secret": {"secretName": "x"}}}', '[{"name": "ca", "secret": {"secretName": "x"}}]']
)
@pytest.mark.parametrize("mount", ['{"ca": {"mountPath": "/ca"}}', '[{"name": "ca", "mountPath": "/ca"}]'])
def test_volumes_of_annotations(volume: str, mount: str) -> None:
    made = done(pod({"sidecar.istio.io/userVolume": volume, "sidecar.istio.io/userVolumeMount": mount}))
    assert {"name": "ca", "secret": {"secretName": "x"}} in made["spec"]["volumes"]
    assert {"name": "ca", "mountPath": "/ca"} in sidecar(made)["volumeMounts"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy.istio.io/config", "concurrency: ["), ("proxy.istio.io/config", "just text"),
        ("proxy.istio.io/config", "a: &a [1]\nb: [*a, *a]"), ("proxy.istio.io/config", "[" * 9_000),
        ("proxy.istio.io/config", "a: " + "x" * 20_000), ("proxy.istio.io/config", "since: 2026-01-02"),
        ("proxy.istio.io/config", "statusPort: 70000"), ("sidecar.istio.io/userVolume", "[" * 9_000),
        ("sidecar.istio.io/interceptionMode", "TPROXY"), ("status.sidecar.istio.io/port", "70000"),
        ("readiness.status.sidecar.istio.io/periodSeconds", "-1"), ("sidecar.istio.io/proxyCPU", "lots"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/99"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "http"), ("traffic.sidecar.istio.io/excludeOutboundPorts", "*"),
        ("prometheus.istio.io/merge-metrics", "maybe"), ("sidecar.istio.io/userVolume", "{"),
        ("sidecar.istio.io/userVolumeMount", '["x"]'), ("inject.istio.io/templates", "waypoint"),
    ],
)  # fmt: skip
def test_a_value_nobody_understands_stops_the_pod(name: str, value: str) -> None:
    with pytest.raises(InjectionError, match=name):
        done(pod({name: value}))


# -- strange pods


def test_pods_may_be_bare() -> None:
    for metadata in (None, {}, {"labels": None, "annotations": None}):
        made = done(
            {"metadata": metadata, "spec": {"containers": [{"name": "a", "ports": None}], "volumes": None}}
        )
        assert names(made)[0] == ["istio-init", "istio-proxy"]


@pytest.mark.parametrize(
    "spec", [None, {}, {"containers": []}, {"containers": [{}]}, {"containers": "x"}, [], "x"]
)
def test_what_is_no_pod_is_said(spec: Any) -> None:
    with pytest.raises(InjectionError, match=r"^(spec|the pod)"):
        done({"metadata": {}, "spec": spec})


def test_a_pod_that_forbids_root_does_not_break_capture() -> None:
    hardened = {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    own = {
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "allowPrivilegeEscalation": False,
    }
    made = done(pod(container={"securityContext": own}, securityContext=hardened))
    init, proxy = made["spec"]["initContainers"]
    assert init["securityContext"]["runAsUser"] == 0
    assert init["securityContext"]["runAsNonRoot"] is False
    assert init["securityContext"]["capabilities"]["add"] == ["NET_ADMIN", "NET_RAW"]
    assert proxy["securityContext"]["runAsUser"] == 1337
    assert made["spec"]["securityContext"] == hardened
    assert made["spec"]["containers"][0]["securityContext"] == own
    assert list(advice(made)) == []


def test_an_application_with_the_proxys_user_is_warned_of() -> None:
    for it in (
        pod(container={"securityContext": {"runAsUser": 1337}}),
        pod(securityContext={"runAsUser": 1337}),
    ):
        (said,) = advice(done(it))
        assert "container app runs as user 1337" in said


@pytest.mark.parametrize(
    ("metadata", "name", "owner"),
    [
        ({"name": "web-0"}, "web-0", "apis/v1/namespaces/shop/pods/web-0"),
        ({"name": "x", "labels": {"pod-template-hash": "5d"}, "ownerReferences": [
            {"controller": True, "kind": "ReplicaSet", "name": "web-5d", "apiVersion": "apps/v1"}]},
         "web", "apis/apps/v1/namespaces/shop/deployments/web"),
        ({"name": "x", "ownerReferences": [
            {"controller": True, "kind": "Job", "name": "nightly-28471920", "apiVersion": "batch/v1"}]},
         "nightly", "apis/batch/v1/namespaces/shop/cronjobs/nightly"),
        ({"name": "x", "ownerReferences": [
            {"controller": True, "kind": "Job", "name": "once", "apiVersion": "batch/v1"}]},
         "once", "apis/batch/v1/namespaces/shop/jobs/once"),
    ],
)  # fmt: skip
def test_the_workload_is_what_users_wrote(metadata: Object, name: str, owner: str) -> None:
    made = done({"metadata": metadata, "spec": {"containers": [{"name": "a"}]}})
    told = environment(made)
    assert (told["ISTIO_META_WORKLOAD_NAME"], told["ISTIO_META_OWNER"]) == (name, f"kubernetes://{owner}")


def test_names_longer_than_a_label_are_cut() -> None:
    made = done({"metadata": {"name": "x" * 62 + "-" + "y" * 40}, "spec": {"containers": [{"name": "a"}]}})
    assert made["metadata"]["labels"]["service.istio.io/canonical-name"] == "x" * 62


def test_remote_variables_reach_the_proxy() -> None:
    settings = dataclasses.replace(SETTINGS, added_environment={"ISTIO_META_X": "1"})
    assert environment(done(pod(), settings))["ISTIO_META_X"] == "1"
