"""Of what an installation consists."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lateen.app.settings import ports as ports_of
from lateen.install import manifests
from lateen.install.values import ValuesError, installation


def test_components_follow_the_profile() -> None:
    assert [it.name for it in manifests.components(installation("demo"))] == [
        "Istio core",
        "Istiod",
        "Ingress gateways",
    ]
    assert [it.name for it in manifests.components(installation("minimal"))] == ["Istio core", "Istiod"]


def test_every_object_is_named_once_and_is_plain_yaml() -> None:
    objects = [obj for part in manifests.components(installation("demo")) for obj in part.objects]
    names = [(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in objects]
    assert len(set(names)) == len(names)
    assert list(yaml.safe_load_all(yaml.safe_dump_all(objects))) == objects
    assert sum(1 for kind, _, _ in names if kind == "CustomResourceDefinition") == 15


def test_a_revision_has_names_and_selectors_of_its_own() -> None:
    [_, pilot, *_] = manifests.components(installation("default", ["revision=canary"]))
    kinds = {obj["kind"]: obj for obj in pilot.objects}
    assert kinds["Deployment"]["metadata"]["name"] == "istiod-canary"
    assert pilot.deployments == ("istiod-canary",)
    hooks = kinds["MutatingWebhookConfiguration"]["webhooks"]
    assert [it["name"] for it in hooks] == [
        "rev.namespace.sidecar-injector.istio.io",
        "rev.object.sidecar-injector.istio.io",
    ]


def test_istios_tools_find_the_control_plane() -> None:
    [_, pilot, _] = manifests.components(installation("demo"))
    service = next(obj for obj in pilot.objects if obj["kind"] == "Service")
    assert {port["port"]: port["targetPort"] for port in service["spec"]["ports"]} == {
        15010: 15010,
        15012: 15012,
        443: 15017,
        15014: 15014,
    }
    config = next(obj for obj in pilot.objects if obj["metadata"]["name"] == "istio")
    assert yaml.safe_load(config["data"]["mesh"])["accessLogFile"] == "/dev/stdout"


def _deployment(profile: str, *settings: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the container of istiod, its Service's ports by number)."""
    pilot = manifests.components(installation(profile, settings))[1]
    found = {obj["kind"]: obj for obj in pilot.objects}
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return container, {it["port"]: it["targetPort"] for it in found["Service"]["spec"]["ports"]}


@pytest.mark.finding("security 19")
@pytest.mark.parametrize("profile", ["default", "minimal", "demo"])
def test_a_control_plane_that_hangs_is_started_again_and_one_that_grows_is_ended(profile: str) -> None:
    container, _ = _deployment(profile)
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": 8080}
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300, "a slow first list is waited for"
    assert container["resources"]["limits"]["memory"] == "2Gi"


@pytest.mark.finding("security 16")
def test_the_port_in_the_clear_is_closed_unless_somebody_opens_it() -> None:
    container, ports = _deployment("default")
    assert 15010 not in ports
    assert 15010 not in {it["containerPort"] for it in container["ports"]}
    assert ports_of(container["args"]).plain is None
    for profile, chosen in (("demo", ()), ("default", ("values.pilot.grpcAddr=:15010",))):
        container, ports = _deployment(profile, *chosen)
        assert ports[15010] == 15010
        assert ports_of(container["args"]).plain == 15010
    assert 15010 not in _deployment("demo", "values.pilot.grpcAddr=")[1]
    with pytest.raises(ValuesError, match=r'values\.pilot\.grpcAddr: "x" is no address'):
        _deployment("demo", "values.pilot.grpcAddr=x")
