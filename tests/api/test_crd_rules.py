"""What a server without our webhook refuses: the definitions alone, evaluated as Kubernetes does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cel
import jsonschema_rs
import pytest
import yaml

from lateen.api import crds

Schema = dict[str, Any]
SCHEMAS: dict[tuple[str, str], Schema] = {
    (f"{it['spec']['group']}/{version['name']}", it["spec"]["names"]["kind"]): version["schema"][
        "openAPIV3Schema"
    ]
    for it in crds.manifests()
    for version in it["spec"]["versions"]
}


def without_nulls(schema: Schema, value: Any) -> Any:
    """A null that the schema does not know is dropped before anything is checked, as the API server does."""
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        rest = schema.get("additionalProperties") or {}
        rest = rest if isinstance(rest, dict) else {}
        return {k: without_nulls(inner.get(k, rest), v) for k, v in value.items()
                if v is not None or inner.get(k, rest).get("nullable")}  # fmt: skip
    if isinstance(value, list):
        return [without_nulls(schema.get("items", {}), it) for it in value]
    return value


def openapi(schema: Schema) -> Schema:
    """OpenAPI's ``nullable`` in the words of JSON schema."""
    made: Schema = {}
    for word, said in schema.items():
        match word:
            case "properties":
                made[word] = {name: openapi(it) for name, it in said.items()}
            case "items" | "additionalProperties" if isinstance(said, dict):
                made[word] = openapi(said)
            case "type" if schema.get("nullable"):
                made[word] = [said, "null"]
            case _:
                made[word] = said
    return made


def broken(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Rules and lists with keys that a value breaks, with their place."""
    for rule in schema.get("x-kubernetes-validations", ()):
        try:
            holds = cel.evaluate(rule["rule"], {"self": value})
        except (RuntimeError, ValueError) as wrong:  # no value at all is a refusal, too
            holds = f"{wrong}"
        if holds is not True:
            yield f"{path}: {rule['message']}"
    if isinstance(value, list) and schema.get("x-kubernetes-list-type") == "map":
        keys = [tuple(it.get(key) for key in schema["x-kubernetes-list-map-keys"]) for it in value]
        if len(set(keys)) != len(keys):
            yield f"{path}: duplicate"
    if isinstance(value, dict):
        for name, it in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(inner, dict):
                yield from broken(inner, it, f"{path}.{name}")
    if isinstance(value, list):
        for at, it in enumerate(value):
            yield from broken(schema.get("items", {}), it, f"{path}[{at}]")


def refusals(document: dict[str, Any]) -> list[str]:
    """What a server says of an object by its definition alone."""
    schema = SCHEMAS[document["apiVersion"], document["kind"]]
    value = without_nulls(schema, {name: document[name] for name in ("spec",) if name in document})
    found = [str(it.message) for it in jsonschema_rs.validator_for(openapi(schema)).iter_errors(value)]
    return found or list(broken(schema, value))


def documents(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """PyYAML reads the address ``001:db8::`` before a bracket as a mapping; kubectl does not."""
    return [
        it for file in sorted(folder.rglob(pattern)) for it in yaml.safe_load_all(file.read_text().replace("001:db8::]", '"001:db8::"]'))
        if isinstance(it, dict) and (it.get("apiVersion"), it.get("kind")) in SCHEMAS
    ]  # fmt: skip


@pytest.mark.finding("conformance CRDs")
def test_the_definitions_alone_refuse_what_istios_refuse(shared: Path) -> None:
    invalid = documents(shared / "conformance" / "validation", "*-invalid.yaml")
    passed = [
        f"{it['kind']} {it['metadata']['name']}: {it.get('_err')}" for it in invalid if not refusals(it)
    ]
    assert len(invalid) >= 77
    assert passed == []


@pytest.mark.finding("conformance CRDs")
def test_the_definitions_alone_take_what_istios_take(shared: Path) -> None:
    valid = documents(shared / "conformance" / "validation", "*-valid.yaml")
    valid += documents(shared / "samples", "*.yaml")
    refused = {f"{it['kind']} {it['metadata']['name']}": said for it in valid if (said := refusals(it))}
    assert len(valid) >= 60
    assert refused == {}


@pytest.mark.finding("conformance CRDs")
def test_wrappers_are_nullable_as_istios_are() -> None:
    rule = {"host": "a", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": None}}}
    made = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "a"},
        "spec": rule,
    }
    detection = SCHEMAS["networking.istio.io/v1", "DestinationRule"]["properties"]["spec"]["properties"]
    detection = detection["trafficPolicy"]["properties"]["outlierDetection"]["properties"]
    assert detection["consecutive5xxErrors"]["nullable"] is True
    assert "nullable" not in detection["interval"]
    assert refusals(made) == []


#: Kubernetes': of one rule, and of all rules of a definition together.
RULE_AT_MOST, ALL_AT_MOST = 10_000_000, 100_000_000
#: What a request can hold of the smallest things, where nothing limits a list.
UNBOUNDED = 3 * 1024 * 1024 // 3
LONG = 3 * 1024 * 1024


def cost(rule: str, schema: Schema) -> float:
    """An estimate of what one evaluation may cost at most: operators and words, by the sizes of what they look at."""
    words = len(re.findall(r"[A-Za-z_']+|&&|\|\||[<>=!?+]+", rule))
    size = (
        schema.get("maxItems")
        or schema.get("maxProperties")
        or (UNBOUNDED if schema["type"] != "object" else 1)
    )
    if schema["type"] == "object" and "additionalProperties" in schema:
        size = schema.get("maxProperties", UNBOUNDED)
    loops = len(re.findall(r"\b(?:all|exists_one|exists)\(", rule))
    inner = schema.get("items", schema.get("additionalProperties") or {})
    text = schema if schema["type"] == "string" else inner if isinstance(inner, dict) else {}
    searches = len(re.findall(r"contains|matches|startsWith|endsWith|duration", rule))
    length = text.get("maxLength", 256 if "key" in rule or schema["type"] == "object" else LONG)
    return float(words + searches * length * 0.1 * 8) * (size**loops if loops else 1)


def estimates(schema: Schema, times: float = 1, path: str = "spec") -> Iterator[tuple[str, float]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"{path}: {rule['rule']}", times * cost(rule["rule"], schema)
    for name, it in schema.get("properties", {}).items():
        yield from estimates(it, times, f"{path}.{name}")
    if isinstance(it := schema.get("additionalProperties"), dict):
        yield from estimates(it, times * schema.get("maxProperties", UNBOUNDED), f"{path}{{}}")
    if "items" in schema:
        yield from estimates(schema["items"], times * schema.get("maxItems", UNBOUNDED), f"{path}[]")


@pytest.mark.finding("conformance CRDs")
@pytest.mark.parametrize("kind", sorted({kind for _, kind in SCHEMAS}))
def test_no_rule_may_cost_more_than_kubernetes_allows(kind: str) -> None:
    schema = next(it for (_, name), it in SCHEMAS.items() if name == kind)
    found = dict(estimates(schema))
    assert {it: cost for it, cost in found.items() if cost > RULE_AT_MOST} == {}
    assert sum(found.values()) <= ALL_AT_MOST


def test_every_rule_compiles() -> None:
    written = json.dumps(list(SCHEMAS.values()))
    for rule in set(re.findall(r'"rule": "((?:[^"\\]|\\.)*)"', written)):
        cel.compile(json.loads(f'"{rule}"'))
