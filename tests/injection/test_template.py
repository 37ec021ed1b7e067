"""What is put into pods, where Istio's own test data found it other than Istio's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lateen.injection.advice import advice
from lateen.injection.annotations import InjectionError

from .conftest import Object, config, done, environment, installed, named, option, pod, with_proxy

NATIVE, BESIDE = "true", "false"


# -- whose traffic is the proxy's


@pytest.mark.finding("conformance F5")
@pytest.mark.parametrize("native", [NATIVE, BESIDE])
@pytest.mark.parametrize(
    ("security", "user"),
    [
        ({"runAsUser": 1234, "runAsGroup": 4321}, "1234"),
        ({"runAsUser": 1234}, "1234"),
        ({"runAsGroup": 4321}, "1337"),
        ({"runAsUser": 0}, "1337"),  # its group exempts it; root may be the application's, too
        ({"runAsUser": 0, "runAsGroup": 0}, "0"),
    ],
)
def test_capture_leaves_the_proxys_own_user_alone(security: Object, user: str, native: str) -> None:
    it = with_proxy(securityContext=security)
    it["metadata"]["annotations"]["sidecar.istio.io/nativeSidecar"] = native
    made = done(it)
    assert option(made, "-u") == user
    # Its group is nobody's business: applications may share one, and would not be captured.
    assert option(made, "-g") == ""
    context = named(made, "istio-proxy")["securityContext"]
    assert {**context, **security} == context
    assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.finding("conformance F5")
def test_the_pods_own_user_is_the_applications() -> None:
    made = done(pod(securityContext={"runAsUser": 1000, "runAsGroup": 1000}))
    assert option(made, "-u") == "1337"
    assert named(made, "istio-proxy")["securityContext"]["runAsUser"] == 1337


@pytest.mark.finding("conformance F5")
def test_an_application_with_the_user_of_its_proxy_is_warned_of() -> None:
    it = with_proxy(securityContext={"runAsUser": 1000})
    it["spec"]["securityContext"] = {"runAsUser": 1000}
    (said,) = advice(it)
    assert "container app runs as user 1000, which is the proxy's" in said


@pytest.mark.finding("conformance F5")
def test_a_container_istio_init_of_ones_own_is_merged() -> None:
    own = {"name": "istio-init", "image": "mine:1", "args": ["-x"], "env": [{"name": "A", "value": "1"}],
           "securityContext": {"capabilities": {"drop": ["MKNOD"]}}}  # fmt: skip
    made = named(done(pod(initContainers=[own])), "istio-init")
    assert (made["image"], made["args"], made["env"]) == ("mine:1", ["-x"], own["env"])
    assert made["securityContext"]["capabilities"] == {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["MKNOD"]}
    assert made["securityContext"]["runAsUser"] == 0
    # Where nothing is captured it is nobody's but the author's.
    made = done(pod({"sidecar.istio.io/interceptionMode": "NONE"}, initContainers=[own]))
    assert named(made, "istio-init") == own


# -- merged as Kubernetes merges


@pytest.mark.finding("mesh M9")
def test_resources_of_ones_own_are_laid_over_the_meshs() -> None:
    made = done(with_proxy(resources={"requests": {"cpu": "77m"}}), "profile=demo")
    assert named(made, "istio-proxy")["resources"] == {
        "requests": {"cpu": "77m", "memory": "40Mi"},
        "limits": {"cpu": "2000m", "memory": "1024Mi"},
    }


@pytest.mark.finding("mesh M9")
@pytest.mark.parametrize(
    ("written", "path", "wanted"),
    [
        ({"readinessProbe": {"periodSeconds": 3}}, ("readinessProbe", "httpGet", "port"), 15021),
        ({"readinessProbe": {"exec": {"command": ["true"]}}}, ("readinessProbe", "httpGet"), None),
        ({"lifecycle": {"preStop": {"httpGet": {"port": 1}}}}, ("lifecycle", "preStop"), {"httpGet": {"port": 1}}),
        ({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}, ("lifecycle", "preStop", "exec", "command", 0), "pilot-agent"),
        ({"args": ["proxy"]}, ("args",), ["proxy"]),
        ({"resources": {}}, ("resources", "requests", "cpu"), "100m"),
        ({"resources": None, "lifecycle": None}, ("resources", "requests", "cpu"), "100m"),
        ({"securityContext": {"capabilities": {"add": ["X"]}}}, ("securityContext", "capabilities", "drop"), ["ALL"]),
    ],
)  # fmt: skip
def test_what_is_written_is_laid_over_field_by_field(
    written: Object, path: tuple[Any, ...], wanted: Any
) -> None:
    found: Any = named(done(with_proxy(**written)), "istio-proxy")
    for it in path:
        found = found.get(it) if isinstance(found, dict) else found[it]
    assert found == wanted


@pytest.mark.finding("mesh M9")
def test_items_are_merged_by_their_names() -> None:
    written = {
        "env": [{"name": "POD_NAME", "value": "other"}, {"name": "MINE", "value": "1"}],
        "ports": [{"containerPort": 15090, "hostPort": 1}, {"containerPort": 8443}, {"containerPort": 8443, "protocol": "UDP"}],
        "volumeMounts": [{"mountPath": "/etc/istio/pod", "name": "other"}],
    }  # fmt: skip
    made = named(done(with_proxy(**written)), "istio-proxy")
    assert [it for it in made["env"] if it["name"] in ("POD_NAME", "MINE")] == written["env"]
    assert made["ports"] == [
        {"containerPort": 15090, "hostPort": 1, "name": "http-envoy-prom", "protocol": "TCP"},
        *written["ports"][1:],
    ]
    assert [it for it in made["volumeMounts"] if it["mountPath"] == "/etc/istio/pod"] == written[
        "volumeMounts"
    ]


# -- probes and hooks


@pytest.mark.finding("conformance F16")
@pytest.mark.parametrize("native", [NATIVE, BESIDE])
def test_every_sidecar_is_ready_as_soon_as_it_can_be(native: str) -> None:
    made = named(done(pod({"sidecar.istio.io/nativeSidecar": native})), "istio-proxy")
    asked = {"path": "/healthz/ready", "port": 15021}
    assert made["startupProbe"] == {
        "httpGet": asked,
        "failureThreshold": 600,
        "periodSeconds": 1,
        "timeoutSeconds": 3,
    }
    assert made["readinessProbe"] == {
        "httpGet": asked,
        "failureThreshold": 4,
        "periodSeconds": 15,
        "timeoutSeconds": 3,
    }


@pytest.mark.finding("conformance F17")
@pytest.mark.parametrize(
    ("annotations", "port"),
    [
        ({}, "15020"),
        ({"status.sidecar.istio.io/port": "15999"}, "15999"),
        ({"status.sidecar.istio.io/port": "0"}, "15020"),
    ],
)
def test_a_native_sidecar_asks_its_peers_to_leave_when_the_pod_begins_to_end(
    annotations: Object, port: str
) -> None:
    made = named(done(pod(annotations)), "istio-proxy")
    order = ["pilot-agent", "request", f"--debug-port={port}", "POST", "drain"]
    assert made["lifecycle"] == {"preStop": {"exec": {"command": order}}}
    beside = named(done(pod({**annotations, "sidecar.istio.io/nativeSidecar": "false"})), "istio-proxy")
    assert "lifecycle" not in beside, "it gets its signal at that moment"


# -- gateways


def gateway(**spec: Any) -> Object:
    return {
        "metadata": {"annotations": {"inject.istio.io/templates": "gateway"}, "labels": {"app": "edge"}},
        "spec": {"containers": [{"name": "istio-proxy", "image": "auto"}], **spec},
    }


@pytest.mark.finding("conformance F11")
def test_a_gateway_may_listen_on_any_port_and_has_the_resources_it_asks_for() -> None:
    low = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    made = done(gateway())
    assert made["spec"]["securityContext"] == {"sysctls": [low]}
    assert named(made, "istio-proxy")["resources"] == {}
    other = {"name": "net.ipv4.tcp_syncookies", "value": "1"}
    made = done(gateway(securityContext={"fsGroup": 7, "sysctls": [other]}))
    assert made["spec"]["securityContext"] == {"fsGroup": 7, "sysctls": [low, other]}
    assert "securityContext" not in done(pod())["spec"]
    made = done(gateway(), "values.gateways.securityContext={fsGroup: 8}")
    assert made["spec"]["securityContext"] == {"fsGroup": 8}


# -- labels


@pytest.mark.finding("conformance F24")
def test_pods_get_no_label_that_istio_does_not_give() -> None:
    made = done(pod())
    assert set(made["metadata"]["labels"]) == {
        "app", "security.istio.io/tlsMode", "service.istio.io/canonical-name", "service.istio.io/canonical-revision",
    }  # fmt: skip
    it = pod()
    it["metadata"]["labels"]["service.istio.io/workload-name"] = "chosen"
    assert environment(done(it))["ISTIO_META_WORKLOAD_NAME"] == "chosen"


# -- virtual machines


@pytest.mark.finding("conformance F19")
def test_interfaces_of_virtual_machines_reach_capture() -> None:
    old, new = "traffic.sidecar.istio.io/kubevirtInterfaces", "istio.io/reroute-virtual-interfaces"
    assert option(done(pod()), "-k") == ""
    assert option(done(pod({old: "net1"})), "-k") == "net1"
    assert option(done(pod({old: "net1", new: "net2,net3"})), "-k") == "net2,net3"


# -- templates


@pytest.mark.finding("conformance F6")
def test_the_template_sidecar_may_be_named_twice_and_others_are_refused() -> None:
    assert done(pod({"inject.istio.io/templates": "sidecar, sidecar"}))["spec"]["initContainers"]
    for it in ("mine", "sidecar,mine", "grpc-agent", "spire", "sidecar,gateway", ""):
        with pytest.raises(InjectionError, match="there are the templates sidecar and gateway"):
            done(pod({"inject.istio.io/templates": it}))


# -- as in Istio's own test data


@pytest.mark.finding("conformance F24")
def test_a_sidecar_gets_the_list_of_revoked_certificates_if_there_is_one() -> None:
    made = done(pod())
    assert {"name": "istio-ca-crl", "configMap": {"name": "istio-ca-crl", "optional": True}} in made["spec"][
        "volumes"
    ]
    mount = {"name": "istio-ca-crl", "mountPath": "/var/run/secrets/istio/crl"}
    assert mount in named(made, "istio-proxy")["volumeMounts"]
    assert "istio-ca-crl" in made["metadata"]["annotations"]["sidecar.istio.io/status"]
    assert "istio-ca-crl" not in str(done(gateway())), "Istio's gateways have none"


@pytest.mark.finding("conformance F24")
def test_the_environment_says_what_istios_says() -> None:
    ports = [{"name": "http", "containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    made = done(pod(container={"ports": ports}))
    told = environment(made)
    assert config(made) == {}, "only what is other than usual"
    assert json.loads(told["ISTIO_META_POD_PORTS"]) == ports
    assert told["ISTIO_NATIVE_SIDECAR"] == "true"
    limit = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    assert {"name": "ISTIO_CPU_LIMIT", "valueFrom": limit} in named(made, "istio-proxy")["env"]


@pytest.mark.finding("conformance F24")
def test_a_pods_own_proxy_config_reaches_both_containers_and_leaves_the_ca_where_it_is() -> None:
    made = done(pod({"proxy.istio.io/config": "{discoveryAddress: 'foo:123', proxyMetadata: {FOO: bar}}"}))
    assert config(made) == {"discoveryAddress": "foo:123", "proxyMetadata": {"FOO": "bar"}}
    assert named(made, "istio-init")["env"] == [{"name": "FOO", "value": "bar"}]
    assert environment(made)["CA_ADDR"] == "istiod.istio-system.svc:15012"
    assert "env" not in named(done(pod()), "istio-init")


@pytest.mark.finding("conformance F24")
def test_who_is_not_to_be_scraped_is_not() -> None:
    made = done(pod({"prometheus.io/scrape": "false"}))
    found = {key: it for key, it in made["metadata"]["annotations"].items() if "prometheus" in key}
    assert found == {"prometheus.io/scrape": "false"}


@pytest.mark.finding("conformance F24")
def test_ports_that_are_left_alone_stand_in_istios_order() -> None:
    made = done(pod({"traffic.sidecar.istio.io/excludeInboundPorts": "4,5"}))
    assert option(made, "-d") == "15090,15021,4,5,15020"


@pytest.mark.finding("conformance F24")
def test_a_probe_by_way_of_the_agent_names_a_scheme_where_the_original_does() -> None:
    asked = {"path": "/app-health/app/livez", "port": 15020}
    for original, wanted in (
        ({"port": 80}, asked),
        ({"port": 443, "scheme": "HTTPS"}, {**asked, "scheme": "HTTP"}),
    ):
        made = done(pod(container={"livenessProbe": {"httpGet": original}}))
        assert made["spec"]["containers"][0]["livenessProbe"]["httpGet"] == wanted


# -- what nobody read


@pytest.mark.finding("conformance F6")
@pytest.mark.parametrize(
    ("setting", "path", "wanted"),
    [
        ("global.proxy.componentLogLevel=http:debug", ("args", 5), "--proxyComponentLogLevel=http:debug"),
        ("global.proxy.readinessPeriodSeconds=2", ("readinessProbe", "periodSeconds"), 2),
        ("global.proxy.readinessInitialDelaySeconds=3", ("readinessProbe", "initialDelaySeconds"), 3),
        ("global.proxy.readinessFailureThreshold=5", ("readinessProbe", "failureThreshold"), 5),
        ("global.proxy.startupProbe.failureThreshold=9", ("startupProbe", "failureThreshold"), 9),
        ("global.proxy.startupProbe.enabled=false", ("startupProbe",), None),
        ("global.proxy.statusPort=0", ("readinessProbe",), None),
        ("global.proxy.lifecycle={preStop: {exec: {command: [sleep]}}}", ("lifecycle", "preStop", "exec", "command"), ["sleep"]),
        ("global.proxy.privileged=true", ("securityContext", "privileged"), True),
        ("global.proxy.seccompProfile={type: RuntimeDefault}", ("securityContext", "seccompProfile", "type"), "RuntimeDefault"),
        ("global.proxy.image=mine", ("image",), "lateen/mine:1"),
        ("global.proxy.image=reg/mine:2", ("image",), "reg/mine:2"),
        ("global.imagePullPolicy=Never", ("imagePullPolicy",), "Never"),
        ("global.logging.level=default:debug", ("args", 6), "--log_output_level=default:debug"),
        ("global.logging.level=debug", ("args", 6), "--log_output_level=default:debug"),
    ],
)  # fmt: skip
def test_values_act(setting: str, path: tuple[Any, ...], wanted: Any) -> None:
    found: Any = named(done(pod(), "tag=1", f"values.{setting}"), "istio-proxy")
    for it in path:
        found = found.get(it) if isinstance(found, dict) else found[it]
    assert found == wanted


@pytest.mark.finding("conformance F6")
def test_values_act_in_more_than_one_place() -> None:
    made = done(pod(), "values.global.proxy.statusPort=123")
    assert (config(made)["statusPort"], option(made, "-d")) == (123, "15090,15021,123")
    assert done(pod(), "values.global.hub=reg.example/mesh", "values.global.tag=7")["spec"]["initContainers"][0][
        "image"
    ] == "reg.example/mesh/proxy:7"  # fmt: skip
    assert environment(done(pod(), "values.global.caAddress=ca:1"))["CA_ADDR"] == "ca:1"
    assert option(done(pod(), "values.global.proxy.includeOutboundPorts=443"), "-q") == "443"
    made = done(pod(), "values.global.mountMtlsCerts=true")
    assert {"name": "istio-certs", "secret": {"secretName": "istio.default", "optional": True}} in made[
        "spec"
    ]["volumes"]
    assert {"name": "istio-certs", "mountPath": "/etc/certs/", "readOnly": True} in named(
        made, "istio-proxy"
    )["volumeMounts"]
    made = done(pod(), "values.pilot.env.ENABLE_NATIVE_SIDECARS=false")
    assert [it["name"] for it in made["spec"]["containers"]] == ["app", "istio-proxy"]


@pytest.mark.finding("conformance F6")
def test_low_ports_by_a_capability() -> None:
    made = named(done(pod({"sidecar.istio.io/capNetBindService": "true"})), "istio-proxy")
    context = made["securityContext"]
    assert (context["runAsUser"], context["runAsNonRoot"]) == (0, False)
    assert context["capabilities"] == {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}


@pytest.mark.finding("conformance F6")
@pytest.mark.parametrize(
    ("mesh", "annotation", "captured"),
    [("NONE", "", False), ("NONE", "REDIRECT", True), ("REDIRECT", "NONE", False), ("TPROXY", "", True)],
)
def test_the_interception_mode_of_the_mesh_acts(mesh: str, annotation: str, captured: bool) -> None:
    asked = {"sidecar.istio.io/interceptionMode": annotation} if annotation else {}
    made = done(pod(asked), f"meshConfig.defaultConfig.interceptionMode={mesh}")
    assert ("istio-init" in [it["name"] for it in made["spec"]["initContainers"]]) == captured
    assert environment(made)["ISTIO_META_INTERCEPTION_MODE"] == ("REDIRECT" if captured else "NONE")
    assert config(made).get("interceptionMode") != "TPROXY", "the agent is told what is the case"


@pytest.mark.finding("conformance F6")
def test_nobody_gets_tproxy_who_asks_for_it() -> None:
    for it in (
        {"sidecar.istio.io/interceptionMode": "TPROXY"},
        {"proxy.istio.io/config": "interceptionMode: TPROXY"},
    ):
        with pytest.raises(InjectionError, match="is not supported: use REDIRECT"):
            done(pod(it))


@pytest.mark.finding("conformance F6")
def test_the_nearest_status_port_wins_for_probes_and_for_the_agent() -> None:
    asked = {"status.sidecar.istio.io/port": "15020", "proxy.istio.io/config": "statusPort: 15120"}
    assert config(done(pod(asked)))["statusPort"] == 15020
    made = done(pod(), "values.global.proxy.statusPort=15020", "meshConfig.defaultConfig.statusPort=15333")
    assert config(made)["statusPort"] == 15333, "Istio's charts always say 15020"


def test_the_settings_of_a_mesh_are_those_of_its_proxies() -> None:
    settings = installed("meshConfig.defaultConfig={drainDuration: 5s, proxyMetadata: {A: b}}")
    assert settings.proxy_config["drainDuration"] == "5s"
    assert settings.proxy_config["proxyMetadata"] == {"A": "b"}
