"""What is told of values and annotations that do not act, and what holds where one cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lateen.admission.current import Current
from lateen.api.mesh_config import MeshConfig
from lateen.app import control_plane
from lateen.injection import idle_values, values
from lateen.injection.advice import advice
from lateen.injection.annotations import InjectionError
from lateen.injection.settings import SettingsError, read
from lateen.names.problems import Severity

from .conftest import Object, config, done, environment, pod


def told(document: Object) -> dict[str, str]:
    return {it.path: it.message for it in values.read(document).told}


@pytest.mark.finding("conformance F6")
@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ({"pilot": {"cni": {"enabled": True}}}, "pilot.cni.enabled", "no effect in this release: the container istio-init"),
        ({"global": {"platform": "openshift"}}, "global.platform", "no effect"),
        ({"global": {"logAsJson": True}}, "global.logAsJson", "no effect in this release: logs are texts"),
        ({"global": {"proxy": {"clusterDomain": "corp.example"}}}, "global.proxy.clusterDomain", "no effect"),
        ({"global": {"proxy": {"tracer": "datadog"}}}, "global.proxy.tracer", "no effect"),
        ({"global": {"multiCluster": {"enabled": True}}}, "global.multiCluster.enabled", "no effect"),
        ({"sidecarInjectorWebhook": {"templates": {"hello": "x"}}}, "sidecarInjectorWebhook.templates", "sidecar and gateway"),
        ({"sidecarInjectorWebhook": {"reinvocationPolicy": "IfNeeded"}}, "sidecarInjectorWebhook.reinvocationPolicy", "no effect"),
        ({"pilot": {"env": {"PILOT_ENABLE_ALPHA_GATEWAY_API": "true"}}}, "pilot.env.PILOT_ENABLE_ALPHA_GATEWAY_API", "does not read it"),
        ({"pilot": {"autoscaleMin": 3}}, "pilot.autoscaleMin", "no effect"),
        ({"cni": {"enabled": True}}, "cni", "no effect"),
        ({"global": {"configValidation": False}}, "global.configValidation", "no effect"),
        ({"global": {"proxy": {"readinesPeriodSeconds": 1}}}, "global.proxy.readinesPeriodSeconds",
         "unknown field: did you mean readinessPeriodSeconds?"),
        ({"pilot": {"nativeSidecars": False}}, "pilot.nativeSidecars", "unknown field"),
        ({"nonsense": {"a": 1}}, "nonsense", "unknown field"),
        ({"global": {"imagePullPolicy": "Sometimes"}}, "global.imagePullPolicy", 'Always'),
        ({"global": {"proxy": {"autoInject": "sometimes"}}}, "global.proxy.autoInject", "enabled"),
        ({"global": {"proxy": {"statusPort": 70000}}}, "global.proxy.statusPort", "<= 65535"),
        ({"global": {"proxy": {"readinessPeriodSeconds": 0}}}, "global.proxy.readinessPeriodSeconds", ">= 1"),
        ({"global": {"proxy": {"resources": "much"}}}, "global.proxy.resources", "must be a map"),
        ({"global": {"imagePullSecrets": "regcred"}}, "global.imagePullSecrets", "must be a list"),
        ({"sidecarInjectorWebhook": {"neverInjectSelector": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}},
         "sidecarInjectorWebhook.neverInjectSelector[0].matchExpressions[0].operator", "Is"),
        ({"sidecarInjectorWebhook": {"neverInjectSelector": ["x"]}}, "sidecarInjectorWebhook.neverInjectSelector[0]", "must be a map"),
    ],
)  # fmt: skip
def test_what_does_not_act_is_told(document: Object, path: str, said: str) -> None:
    (it,) = told(document).items()
    assert it[0] == path
    assert said in it[1]


@pytest.mark.finding("conformance F6")
def test_what_istios_charts_always_say_needs_no_word() -> None:
    assert told({
        "revision": "", "gateways": {"securityContext": {}, "seccompProfile": {}}, "global": {
            "hub": "docker.io/istio", "tag": "1.30.0", "variant": "", "imagePullPolicy": "", "imagePullSecrets": [],
            "certSigners": [], "defaultPodDisruptionBudget": {"enabled": True}, "logAsJson": False, "priorityClassName": "",
            "defaultResources": {"requests": {"cpu": "10m"}}, "logging": {"level": "default:info"}, "configValidation": True,
            "proxy": {"clusterDomain": "cluster.local", "statusPort": 15020, "tracer": "none", "outlierLogPath": "",
                      "startupProbe": {"enabled": True, "failureThreshold": 600}, "image": "proxyv2", "autoInject": "enabled",
                      "resources": {"limits": {"cpu": "2000m"}}, "privileged": False},
            "proxy_init": {"image": "proxyv2", "forceApplyIptables": False}, "multiCluster": {"clusterName": "", "enabled": False},
            "sds": {"token": {"aud": "istio-ca"}}, "sts": {"servicePort": 0}, "pilotCertProvider": "istiod", "caName": "",
            "mountMtlsCerts": False, "meshNetworks": {}, "network": "", "nativeNftables": False,
        },
        "pilot": {"cni": {"enabled": False, "provider": "default"}, "env": {"ENABLE_NATIVE_SIDECARS": "true"}},
        "sidecarInjectorWebhook": {"templates": {}, "defaultTemplates": [], "reinvocationPolicy": "Never",
                                   "neverInjectSelector": [], "rewriteAppHTTPProbe": True},
    }) == {}  # fmt: skip


def test_every_variable_of_the_control_plane_is_known() -> None:
    """So that nobody is told that one which acts does not."""
    text = "".join(
        it.read_text() for it in Path(control_plane.__file__).parent.glob("*.py") if it.stem != "node_agent"
    )
    read_there = set(re.findall(r'(?:said|environ\.get)\("([A-Z_]+)"', text))
    assert read_there
    assert read_there <= idle_values.READ_BY_CONTROL_PLANE


@pytest.mark.finding("conformance F6")
def test_many_wrong_values_cost_no_more_than_each_of_them() -> None:
    many = {"global": {f"x{number}": number for number in range(5_000)}}
    assert len(told(many)) <= 100


# -- the control plane


def settings_of(text: str) -> Object:
    return {"values": text}


@pytest.mark.finding("conformance F6")
def test_what_held_goes_on_holding() -> None:
    mesh: list[MeshConfig | None] = [None]
    it = Current(lambda: mesh[0])
    with pytest.raises(SettingsError, match="not read yet"):
        it.settings()
    assert it.read(settings_of("global: {proxy: {excludeInboundPorts: 22, logLevel: debug}}")) == ()
    with pytest.raises(SettingsError, match=r"data\.mesh"):
        it.settings()
    mesh[0] = MeshConfig()
    assert it.settings() is it.settings(), "made once"
    assert it.settings().exclude_inbound_ports == "22"
    # One field is wrong: it alone keeps its value.
    (problem,) = it.read(settings_of("global: {proxy: {excludeInboundPorts: [22], logLevel: info}}"))
    assert (problem.severity, problem.path) == (
        Severity.ERROR,
        "data.values: global.proxy.excludeInboundPorts",
    )
    assert (it.settings().exclude_inbound_ports, it.settings().log_level) == ("22", "info")
    for broken in ("global: [", "- a", "a: &a [1]\nb: *a", "x" * 300_000):
        (problem,) = it.read(settings_of(broken))
        assert "until fixed, the last settings hold" in problem.message
    assert "is gone" in it.read(None)[0].message
    assert (it.settings().exclude_inbound_ports, it.settings().log_level) == ("22", "info")
    # Absent from the start means the defaults, as in Istio.
    fresh = Current(lambda: MeshConfig())
    assert fresh.read(None) == ()
    assert fresh.settings().log_level == "warning"


@pytest.mark.finding("conformance F6")
def test_both_config_maps_are_told_of() -> None:
    found = read(
        {"values": '{"global": {"platform": "gcp"}}', "config": "templates: {mine: x}\npolicy: disabled\n"},
        {"mesh": "defaultConfig: {interceptionMode: TPROXY, tracing: {}, concurrency: x}\n"},
    )
    assert [it.path for it in found.told] == [
        "data.values: global.platform", "data.values: sidecarInjectorWebhook.templates", "data.mesh: defaultConfig.concurrency",
        "data.mesh: defaultConfig.interceptionMode", "data.mesh: defaultConfig.tracing",
    ]  # fmt: skip
    assert found.settings.inject_unasked is False


# -- pods


def advised(annotations: Object) -> list[str]:
    it = pod(annotations)
    done(it)
    return list(advice(it))


@pytest.mark.finding("mesh M3")
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("holdApplicationUntilProxyStarts: 'yes'", "holdApplicationUntilProxyStarts"),
        ("terminationDrainDuration: 7", "terminationDrainDuration"),
        ("concurrency: many", "concurrency"),
        ("proxyMetadata: {A: 1}", "proxyMetadata.A"),
        ("proxyMetadata: x", "proxyMetadata"),
        ("interceptionMode: SOMETIMES", "interceptionMode"),
        ("statusPort: -1", "statusPort"),
    ],
)
def test_a_wrong_type_in_a_pods_proxy_config_stops_it(written: str, said: str) -> None:
    with pytest.raises(InjectionError, match=rf"annotation proxy.istio.io/config.* has {said}"):
        done(pod({"proxy.istio.io/config": written}))


@pytest.mark.finding("mesh M3")
def test_what_is_unknown_or_not_followed_in_a_pods_proxy_config_is_told() -> None:
    text = "{tracing: {sampling: 10}, holdAplicationUntilProxyStarts: true, proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true', MINE: x}}"
    said = advised({"proxy.istio.io/config": text})
    assert len(said) == 3
    for words in (
        "tracing: has no effect",
        "unknown field: did you mean holdApplicationUntilProxyStarts?",
        "proxyMetadata.ISTIO_META_DNS_CAPTURE: has no effect",
    ):
        assert any(words in it and it.startswith("annotation proxy.istio.io/config: ") for it in said), (
            words,
            said,
        )


@pytest.mark.finding("mesh M3")
def test_a_pods_proxy_config_is_written_well() -> None:
    """Protobuf's other names, defaults that were meant, and nothing that the agent could not read."""
    own = "{proxy_metadata: {A: b}, concurrency: '2', drain_duration: 1m, interceptionMode: REDIRECT, nonsense: 1}"
    made = done(pod({"proxy.istio.io/config": own}), "meshConfig.defaultConfig.interceptionMode=NONE")
    found = config(made)
    wanted = {
        "proxyMetadata": {"A": "b"}, "concurrency": 2, "drainDuration": "60s", "interceptionMode": "REDIRECT",
    }  # fmt: skip
    assert {**found, **wanted} == found
    assert "nonsense" not in found
    assert environment(made)["A"] == "b"
    assert environment(made)["ISTIO_META_INTERCEPTION_MODE"] == "REDIRECT"


@pytest.mark.finding("conformance F6")
@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"sidecar.istio.io/bootstrapOverride": "x"}, "has no effect in this release: the bootstrap"),
        ({"sidecar.istio.io/enableCoreDump": "true"}, "has no effect"),
        ({"sidecar.istio.io/proxyCpu": "1"}, "is unknown: did you mean sidecar.istio.io/proxyCPU?"),
        ({"traffic.sidecar.istio.io/excludeOutboundPort": "1"}, "did you mean traffic.sidecar.istio.io/excludeOutboundPorts?"),
        ({"traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8,fd00::/8"}, "fd00::/8 has no effect: IPv6"),
        ({"sidecar.istio.io/" + "x" * 9_000: "1"}, "is unknown"),
    ],
)  # fmt: skip
def test_annotations_that_do_not_act_are_told(annotations: Object, said: str) -> None:
    (it,) = advised(annotations)
    assert said in it


def test_annotations_that_act_need_no_word() -> None:
    assert advised({
        "sidecar.istio.io/proxyCPU": "1", "prometheus.io/scrape": "true", "example.com/sidecar": "x",
        "sidecar.istio.io/statsInclusionPrefixes": "cluster", "istio.io/rev": "default", "sidecar.istio.io/inject": "true",
        "traffic.sidecar.istio.io/includeOutboundIPRanges": "*", "sidecar.istio.io/componentLogLevel": "http:debug,rbac:off",
    }) == []  # fmt: skip


@pytest.mark.finding("conformance F6")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sidecar.istio.io/logLevel", "loud"), ("sidecar.istio.io/componentLogLevel", "debug"),
        ("sidecar.istio.io/agentLogLevel", "default:loud"), ("sidecar.istio.io/capNetBindService", "perhaps"),
        ("traffic.sidecar.istio.io/excludeInterfaces", "a-name-that-is-too-long"), ("istio.io/reroute-virtual-interfaces", "a;b"),
        ("traffic.sidecar.istio.io/kubevirtInterfaces", "net 1"), ("readiness.status.sidecar.istio.io/periodSeconds", "0"),
        ("readiness.status.sidecar.istio.io/failureThreshold", "99999999999"),
    ],
)  # fmt: skip
def test_values_that_would_keep_a_pod_from_starting_stop_it(name: str, value: str) -> None:
    with pytest.raises(InjectionError, match=name):
        done(pod({name: value}))


def test_what_is_told_of_values_is_json() -> None:
    found: Any = values.read({"global": {"proxy": {"resources": {"limits": {"cpu": []}}}}})
    assert json.dumps([it._asdict() for it in found.told])
