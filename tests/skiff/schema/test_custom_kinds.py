"""Are objects of custom kinds checked, completed and pruned as their definitions say? By the real kubectl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

BOAT = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object", "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 2, "pattern": "^[a-z]+$"},
                "masts": {"type": "integer", "minimum": 1, "maximum": 5, "default": 1},
                "replicas": {"type": "integer", "default": 2},
                "kind": {"type": "string", "enum": ["skiff", "yawl"]},
                "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "crew": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["who"],
                    "items": {"type": "object", "required": ["who"], "properties": {
                        "who": {"type": "string"}, "rank": {"type": "string", "default": "hand"}, "berth": {"type": "integer"}}},
                },
                "sail": {"type": "object", "properties": {"big": {"type": "boolean"}, "small": {"type": "boolean"}},
                         "oneOf": [{"required": ["big"]}, {"required": ["small"]}]},
            },
        },
        "status": {"type": "object", "properties": {"afloat": {"type": "boolean"}, "replicas": {"type": "integer"}}},
    },
}  # fmt: skip
COLUMNS = [
    {"name": "Masts", "type": "integer", "jsonPath": ".spec.masts"},
    {"name": "Afloat", "type": "boolean", "jsonPath": ".status.afloat"},
]
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example"},
    "spec": {
        "group": "sea.example", "scope": "Namespaced", "names": {"kind": "Boat", "plural": "boats", "shortNames": ["bo"]},
        "versions": [
            {"name": version, "served": True, "storage": version == "v1", "schema": {"openAPIV3Schema": BOAT}, "additionalPrinterColumns": COLUMNS,
             "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}}
            for version in ("v1", "v1beta1")
        ],
    },
}  # fmt: skip


def boat(name: str, /, version: str = "v1", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"sea.example/{version}",
        "kind": "Boat",
        "metadata": {"name": name},
        "spec": {"name": "ann", **spec},
    }


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.apply(DEFINITION)
    cluster.kubectl("wait", "--for=condition=Established", "crd/boats.sea.example", "--timeout=20s")
    return cluster


def put(it: Cluster, obj: dict[str, Any], *options: str, check: bool = True) -> str:
    said = it.kubectl("apply", *options, "-f", "-", stdin=json.dumps(obj), check=check)
    return said.stdout + said.stderr


def test_defaults_columns_versions_status_and_scale(it: Cluster) -> None:
    put(it, boat("first", crew=[{"who": "bob"}], port="http", free={"any": [1]}))
    held = it.objects("boat", "first")[0]
    assert held["spec"] == {
        "name": "ann", "masts": 1, "replicas": 2, "crew": [{"who": "bob", "rank": "hand"}], "port": "http", "free": {"any": [1]},
    }  # fmt: skip
    assert held["metadata"]["generation"] == 1
    assert it.objects("boats.v1beta1.sea.example", "first")[0]["apiVersion"] == "sea.example/v1beta1"
    it.kubectl("patch", "bo", "first", "--type=merge", "-p", '{"status":{"afloat":true}}')
    assert "status" not in it.objects("boat", "first")[0]
    it.kubectl(
        "patch",
        "bo",
        "first",
        "--type=merge",
        "--subresource=status",
        "-p",
        '{"status":{"afloat":true,"replicas":2},"spec":{"masts":5}}',
    )
    held = it.objects("boat", "first")[0]
    assert (held["status"]["afloat"], held["spec"]["masts"], held["metadata"]["generation"]) == (True, 1, 1)
    table = [line.split() for line in it.kubectl("get", "bo", "first").stdout.splitlines()]
    assert table[0] == ["NAME", "MASTS", "AFLOAT"]
    assert table[1] == ["first", "1", "true"]
    it.kubectl("scale", "boat", "first", "--replicas=4")
    held = it.objects("boat", "first")[0]
    assert (held["spec"]["replicas"], held["metadata"]["generation"]) == (4, 2)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": None}, "spec.name: Required value"),
        ({"name": "Q"}, "spec.name"),
        ({"masts": 9}, "spec.masts: Invalid value"),
        ({"masts": "many"}, "spec.masts"),
        ({"kind": "ship"}, 'spec.kind: Unsupported value: "ship"'),
        ({"tags": ["a", "a"]}, "spec.tags[1]: Duplicate value"),
        ({"crew": [{"who": "bob"}, {"who": "bob"}]}, "spec.crew[1]: Duplicate value"),
        ({"sail": {"big": True, "small": True}}, "must validate one and only one schema (oneOf). Found 2 valid alternatives"),
        ({"sail": {}}, "Found 0 valid alternatives"),
        ({"port": True}, "spec.port"),
        ({"colour": "red"}, 'unknown field "spec.colour"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_place(it: Cluster, spec: dict[str, Any], said: str) -> None:
    answer = put(it, boat("wrong", **spec), check=False)
    assert said in answer
    assert not it.objects("boat", "wrong")


def test_unknown_fields_are_pruned_when_nobody_minds(it: Cluster) -> None:
    put(it, boat("pruned", colour="red", free={"kept": 1}), "--validate=false")
    held = it.objects("boat", "pruned")[0]["spec"]
    assert "colour" not in held
    assert held["free"] == {"kept": 1}


def test_ownership_of_fields(it: Cluster) -> None:
    """Server-side apply: others' fields are respected, list items merged by key, what is not wished for any more goes."""
    crew = [{"who": "bob", "berth": 1}]
    put(it, boat("owned", masts=2, crew=crew), "--server-side", "--field-manager=one")
    put(
        it,
        {**boat("owned"), "spec": {"name": "ann", "crew": [{"who": "eve", "berth": 2}]}},
        "--server-side",
        "--field-manager=two",
    )
    held = it.objects("boat", "owned")[0]
    assert [c["who"] for c in held["spec"]["crew"]] == ["bob", "eve"]
    refused = put(
        it,
        {**boat("owned"), "spec": {"name": "ann", "masts": 3}},
        "--server-side",
        "--field-manager=two",
        check=False,
    )
    assert 'conflict with "one"' in refused
    assert ".spec.masts" in refused
    put(
        it,
        {**boat("owned"), "spec": {"name": "ann", "masts": 3}},
        "--server-side",
        "--field-manager=two",
        "--force-conflicts",
    )
    held = it.objects("boat", "owned", "--show-managed-fields")[0]
    assert held["spec"]["masts"] == 3
    assert [c["who"] for c in held["spec"]["crew"]] == ["bob"]  # two does not wish for eve any more
    owners = {m["manager"]: m["fieldsV1"]["f:spec"] for m in held["metadata"]["managedFields"]}
    assert "f:masts" in owners["two"]
    assert "f:masts" not in owners["one"]
    version = held["metadata"]["resourceVersion"]
    put(it, {**boat("owned"), "spec": {"name": "ann", "masts": 3}}, "--server-side", "--field-manager=two")
    assert (
        it.objects("boat", "owned")[0]["metadata"]["resourceVersion"] == version
    )  # nothing new, nothing written


def test_patches_that_cannot_be_applied_say_why(it: Cluster) -> None:
    put(it, boat("patched"))
    for patch, said in (
        ('[{"op":"test","path":"/spec/name","value":"other"}]', "operation 0"),
        ('[{"op":"remove","path":"/spec/nothing"}]', "remove"),
        ('[{"op":"replace","path":"/spec/masts","value":77}]', "spec.masts"),
    ):
        refused = it.kubectl("patch", "boat", "patched", "--type=json", "-p", patch, check=False)
        assert refused.returncode == 1
        assert said in refused.stderr, refused.stderr


def test_a_definition_takes_its_objects_along(it: Cluster) -> None:
    other = json.loads(
        json.dumps(DEFINITION).replace("boats", "rafts").replace("Boat", "Raft").replace('"bo"', '"ra"')
    )
    it.apply(other)
    it.kubectl("wait", "--for=condition=Established", "crd/rafts.sea.example", "--timeout=20s")
    raft = json.loads(json.dumps(boat("one")).replace("Boat", "Raft"))
    it.apply(raft)
    it.kubectl("delete", "crd", "rafts.sea.example", "--wait", "--timeout=20s")
    assert it.kubectl("get", "rafts", check=False).returncode == 1
    it.apply(other)
    it.kubectl("wait", "--for=condition=Established", "crd/rafts.sea.example", "--timeout=20s")
    assert it.objects("rafts") == []
