"""Of what an installation consists."""

from __future__ import annotations

import yaml

from lateen.install import manifests
from lateen.install.values import installation


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
    assert sum(1 for kind, _, _ in names if kind == "CustomResourceDefinition") == 14


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
