"""Kubernetes is told of all of Istio's kinds, in the form it accepts."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from lateen.api import crds

BY_KIND = {it["spec"]["names"]["kind"]: it for it in crds.manifests()}


def spec_schema(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = BY_KIND[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][
        "spec"
    ]
    return found


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_each_definition_has_one_stored_version_and_a_name_kubernetes_accepts(kind: str) -> None:
    it = BY_KIND[kind]
    names = it["spec"]["names"]
    assert it["metadata"]["name"] == f"{names['plural']}.{it['spec']['group']}"
    assert sum(version["storage"] for version in it["spec"]["versions"]) == 1
    assert all(version["subresources"] == {"status": {}} for version in it["spec"]["versions"])
    assert names["categories"] == ["istio-io", it["spec"]["group"].replace(".", "-")]


def test_all_kinds_of_istio_are_there() -> None:
    assert len(BY_KIND) == 15
    assert BY_KIND["VirtualService"]["spec"]["names"]["shortNames"] == ["vs"]
    assert [it["name"] for it in BY_KIND["VirtualService"]["spec"]["versions"]] == [
        "v1",
        "v1beta1",
        "v1alpha3",
    ]


def structural(schema: dict[str, Any]) -> None:
    """Kubernetes' rule: a type everywhere (or int-or-string), and no properties beside additionalProperties."""
    assert schema.get("type") or schema.get("x-kubernetes-int-or-string")
    assert not ("properties" in schema and "additionalProperties" in schema)
    keys = schema.get("x-kubernetes-list-map-keys", [])
    assert set(keys) <= set(schema.get("items", {}).get("required", [])), (
        "Kubernetes: keys of a list must be required"
    )
    for it in [
        *schema.get("properties", {}).values(),
        *(schema[k] for k in ("items", "additionalProperties") if k in schema),
    ]:
        structural(it)


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_schemas_are_structural(kind: str) -> None:
    for version in BY_KIND[kind]["spec"]["versions"]:
        structural(version["schema"]["openAPIV3Schema"])


def test_types_limits_and_choices_are_checked() -> None:
    check = jsonschema_rs.validator_for(spec_schema("DestinationRule"))
    balancer = {"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}
    assert check.is_valid(balancer)
    assert not check.is_valid({"host": 1})
    assert not check.is_valid({"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "BEST"}}})
    assert not check.is_valid(
        {"host": "a", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 2**40}}}}
    )
    assert not jsonschema_rs.validator_for(spec_schema("ServiceEntry")).is_valid({})


def test_of_some_fields_one_may_be_set() -> None:
    check = jsonschema_rs.validator_for(spec_schema("VirtualService"))

    def valid(uri: dict[str, str]) -> bool:
        return check.is_valid({"hosts": ["a"], "http": [{"match": [{"uri": uri}]}]})

    assert valid({"exact": "/"})
    assert valid({})
    assert not valid({"exact": "/", "prefix": "/"})


def closed(schema: dict[str, Any], path: str = "spec") -> None:
    """Only Envoy's own JSON, which nobody can list, is free."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        assert path.endswith(("pluginConfig", "patch.value")), path
    for name, it in schema.get("properties", {}).items():
        closed(it, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            closed(schema[word], path)


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_schemas_know_all_fields(kind: str) -> None:
    closed(spec_schema(kind))


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_logic_in_a_schema_names_fields_only(kind: str) -> None:
    """What Kubernetes demands of structural schemas: no types or properties beneath oneOf, anyOf, allOf and not."""

    def logical(schema: dict[str, Any]) -> None:
        assert set(schema) <= {"required", "oneOf", "anyOf", "allOf", "not"}, schema
        for word in ("oneOf", "anyOf", "allOf"):
            for it in schema.get(word, []):
                logical(it)
        if "not" in schema:
            logical(schema["not"])

    def walk(schema: dict[str, Any]) -> None:
        logical({word: it for word, it in schema.items() if word in ("oneOf", "anyOf", "allOf", "not")})
        for it in [
            *schema.get("properties", {}).values(),
            *(schema[w] for w in ("items", "additionalProperties") if w in schema),
        ]:
            walk(it)

    walk(spec_schema(kind))
