"""Schemas from the real definitions: what they accept, refuse, and tell strategic merge patch."""

from pathlib import Path

import pytest

from skiff.kinds import (
    BUILT_IN,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NODE_METRICS,
    POD_METRICS,
    PODS,
    REVIEWS,
    SERVICES,
)  # fmt: skip
from skiff.schema.node import SchemaNode
from skiff.schema.pack import Schemas, load
from skiff.schema.walk import apply_defaults, prune, unknown_fields, validate


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    return Schemas(load(tmp_path_factory.mktemp("pack") / "schemas.json.gz"))


def pod(**spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def test_every_built_in_kind_has_a_schema(schemas):
    missing = {it for it in BUILT_IN if not schemas.for_kind(it).properties}
    assert missing == {NODE_METRICS, POD_METRICS}  # which are of another project
    assert REVIEWS


def test_a_good_pod_passes_and_keeps_everything(schemas):
    node = schemas.for_kind(PODS)
    good = pod(nodeSelector={"a": "b"})
    good["spec"]["containers"][0] |= {
        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
        "livenessProbe": {"httpGet": {"port": "http"}},
    }
    good["metadata"]["labels"] = {"x.y/z": "1"}
    good["metadata"]["managedFields"] = [{"fieldsV1": {"f:spec": {"f:a": {}}}}]
    assert validate(good, node) == []
    assert unknown_fields(good, node) == []
    assert prune(good, node) == good


def test_wrong_types_missing_and_unknown_fields_are_named(schemas):
    node = schemas.for_kind(PODS)
    bad = pod(hostNetwork="yes", nonsense=1)
    bad["spec"]["containers"][0] |= {"imag": "x"}
    del bad["spec"]["containers"][0]["name"]
    assert {path for _, _, path in validate(bad, node)} == {"spec.hostNetwork", "spec.containers[0].name"}
    assert set(unknown_fields(bad, node)) == {"spec.nonsense", "spec.containers[0].imag"}
    assert "nonsense" not in prune(bad, node)["spec"]
    assert "nonsense" in bad["spec"]


def test_merge_keys_and_defaults_survive(schemas):
    containers = (
        schemas.for_kind(DEPLOYMENTS).properties["spec"].properties["template"].properties["spec"].properties
    )
    assert containers["containers"].merge_key == "name"
    service = {"spec": {"ports": [{"port": 80}]}}
    made = apply_defaults(service, schemas.for_kind(SERVICES))
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert service["spec"]["ports"] == [{"port": 80}]


def test_a_broken_cache_is_made_again(tmp_path: Path):
    cache = tmp_path / "schemas.json.gz"
    cache.write_bytes(b"not gzip")
    first = load(cache)
    assert load(cache) == first
    assert Schemas(first).for_kind(CONFIG_MAPS).properties["data"].additional.type == "string"


@pytest.mark.finding("newcomer D.2.1")
@pytest.mark.parametrize(
    ("value", "said"),
    [(5, "integer"), (0.5, "number"), (True, "boolean"), ([], "array"), ({}, "object")],
)
def test_a_wrong_type_is_called_as_in_json(value: object, said: str) -> None:
    [(_, message, _)] = validate(
        {"a": value}, SchemaNode(type="object", additional=SchemaNode(type="string"))
    )
    assert message == f"Invalid value: {said}: must be of type string"
