"""How are the kinds described to clients? OpenAPI v3, one document for each group and version, as kubectl reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from skiff.kinds import Kind
from skiff.schema.pack import Definitions, Schemas, definition_name

_REFERENCE = "#/components/schemas/"


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
        custom = schemas.custom.get((it.group, it.version, it.kind))
        name = definition_name(schemas.definitions, it)
        if custom is not None:
            name = f"{'.'.join(reversed(it.group.split('.')))}.{it.version}.{it.kind}"
            needed[name] = {**custom, "x-kubernetes-group-version-kind": [_gvk(it)]}
            _gather(schemas.definitions, custom, needed)
        elif name:
            _gather(schemas.definitions, {"$ref": _REFERENCE + name}, needed)
        paths.update(_paths(it, name))
    info = {"title": "Kubernetes", "version": "v1.37.0"}
    return msgspec.json.encode(
        {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": needed}}
    )


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
                found[name] = definitions[name]
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
