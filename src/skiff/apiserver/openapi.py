"""How are the kinds described to clients? OpenAPI v3, one document for each group and version, as kubectl reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from skiff.kinds import Kind
from skiff.schema.pack import Definitions, Schemas, definition_name

_REFERENCE = "#/components/schemas/"
_PLAIN = "io.k8s.api.core.v1.ConfigMap"
TITLE, VERSION = "Kubernetes", "v1.37.0"

V2_PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


#: Of v2 in protobuf only the frame is served: who can read that reads v3, too.
#: ``openapi.v2.Document``: swagger = 1, info = 2 with title = 1 and version = 2.
V2_PROTOBUF = _field(1, b"2.0") + _field(2, _field(1, TITLE.encode()) + _field(2, VERSION.encode()))


def index(kinds: Iterable[Kind]) -> dict[str, Any]:
    """What ``/openapi/v3`` answers."""
    paths: dict[str, str] = {}
    for it in kinds:
        place = f"apis/{it.group}/{it.version}" if it.group else f"api/{it.version}"
        paths[place] = paths.get(place, "") + f"{it.kind} {it.plural};"
    return {
        "paths": {
            place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={hashlib.sha256(said.encode()).hexdigest()[:32].upper()}"}
            for place, said in sorted(paths.items())
        }
    }  # fmt: skip


def document(schemas: Schemas, kinds: list[Kind]) -> bytes:
    """The description of the kinds of one group and version, encoded."""
    needed: Definitions = {}
    paths: dict[str, Any] = {}
    for it in kinds:
        paths.update(_paths(it, described(schemas, it, needed)))
    info = {"title": TITLE, "version": VERSION}
    return msgspec.json.encode(
        {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": needed}}
    )


def described(schemas: Schemas, it: Kind, found: Definitions) -> str:
    """The name of a kind's definition, "" when there is none. It and all it refers to, and the list of it, are put into
    ``found``."""
    name = definition_name(schemas.definitions, it)
    custom = schemas.custom.get((it.group, it.version, it.kind))
    if custom is not None:
        name = f"{'.'.join(reversed(it.group.split('.')))}.{it.version}.{it.kind}"
        found[name] = _unfixed(_whole(it, custom, schemas.definitions))
        _gather(schemas.definitions, found[name], found)
    elif name:
        for wanted in (name, f"{name}List"):
            include(schemas.definitions, wanted, found)
    return name


def include(definitions: Definitions, name: str, found: Definitions) -> None:
    """Put a definition and all it refers to into ``found``."""
    _gather(definitions, {"$ref": _REFERENCE + name}, found)


def _whole(it: Kind, custom: dict[str, Any], definitions: Definitions) -> dict[str, Any]:
    """A custom kind's schema with what every object has, in the words that stand at a built-in one."""
    plain = definitions.get(_PLAIN, {}).get("properties") or {}
    fixed = {name: plain[name] for name in ("apiVersion", "kind", "metadata") if name in plain}
    properties = {**(custom.get("properties") or {}), **fixed}
    return {
        **custom,
        "type": "object",
        "properties": properties,
        "x-kubernetes-group-version-kind": [_gvk(it)],
    }


def _unfixed(definition: dict[str, Any]) -> dict[str, Any]:
    """Without the lists of possible values which the package puts on ``kind`` and ``apiVersion``, and Kubernetes does not."""
    properties = definition.get("properties") or {}
    given = [name for name in ("apiVersion", "kind") if "enum" in properties.get(name, {})]
    if "x-kubernetes-group-version-kind" not in definition or not given:
        return definition
    freed = {name: {key: value for key, value in properties[name].items() if key != "enum"} for name in given}
    return {**definition, "properties": {**properties, **freed}}


def _gvk(it: Kind) -> dict[str, str]:
    return {"group": it.group, "version": it.version, "kind": it.kind}


def _gather(definitions: Definitions, value: Any, found: Definitions) -> None:
    if isinstance(value, list):
        for it in value:
            _gather(definitions, it, found)
    elif isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix(_REFERENCE)
            if name in definitions and name not in found:
                found[name] = _unfixed(definitions[name])
                _gather(definitions, definitions[name], found)
        for it in value.values():
            _gather(definitions, it, found)


def _paths(it: Kind, name: str) -> dict[str, Any]:
    """Where the kind is served, and that its writes know ``dryRun`` and ``fieldValidation``: kubectl looks for them."""
    root = f"/apis/{it.group}/{it.version}" if it.group else f"/api/{it.version}"
    place = f"{root}/namespaces/{{namespace}}/{it.plural}" if it.namespaced else f"{root}/{it.plural}"
    content = {"application/json": {"schema": {"$ref": _REFERENCE + name}}} if name else {}
    answer = {"200": {"description": "OK", "content": content}}
    parameters = [
        {"name": word, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for word in ("dryRun", "fieldManager", "fieldValidation")
    ]

    def operation(action: str) -> dict[str, Any]:
        written = parameters if action in ("post", "put", "patch") else []
        return {
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": _gvk(it), "parameters": written,
            "responses": answer,
        }  # fmt: skip

    return {
        place: {"get": operation("list"), "post": operation("post")},
        f"{place}/{{name}}": {
            "get": operation("get"), "put": operation("put"), "patch": operation("patch"), "delete": operation("delete"),
        },
    }  # fmt: skip
