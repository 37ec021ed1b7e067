"""How are the kinds described to clients that know only OpenAPI v2? One document with everything, made when asked for.

It is a few megabytes, which nobody keeps: kubectl and all newer clients read v3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from skiff.apiserver.openapi import TITLE, VERSION, described, include
from skiff.kinds import COMPUTED, REVIEWS, Kind
from skiff.schema.pack import Definitions, Schemas

_V3, _V2 = b"#/components/schemas/", b"#/definitions/"
_PATCHES = [f"application/{it}" for it in (
    "json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml",
)]  # fmt: skip
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def _query(name: str, kind: str, said: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "type": kind, "uniqueItems": True, "description": said}


_READ = [
    _query("labelSelector", "string", "Only objects with such labels are in the list of returned objects."),
    _query("fieldSelector", "string", "Only objects with such fields are in the list of returned objects."),
    _query("limit", "integer", "At most so many objects; the answer says where to continue."),
    _query("continue", "string", "Where an earlier answer said to continue."),
    _query("watch", "boolean", "Watch for changes to the described resources from resourceVersion on."),
    _query("resourceVersion", "string", "From where on to watch."),
    _query("timeoutSeconds", "integer", "How long to watch."),
]
_WRITE = [
    _query("dryRun", "string", "All: check everything, store nothing."),
    _query("fieldManager", "string", "Who owns the fields that are written."),
    _query("fieldValidation", "string", "What happens to fields that are not known: Ignore, Warn or Strict."),
]


def document(schemas: Schemas, kinds: Iterable[Kind]) -> bytes:
    """``/openapi/v2``, encoded."""
    definitions: Definitions = {}
    for name in (f"{_META}Status", f"{_META}Patch"):
        include(schemas.definitions, name, definitions)
    paths: dict[str, Any] = {}
    for it in kinds:
        name = described(schemas, it, definitions)
        if name:
            paths |= _paths(it, name, definitions)
    made = {
        "swagger": "2.0", "info": {"title": TITLE, "version": VERSION}, "paths": paths, "definitions": definitions,
    }  # fmt: skip
    return msgspec.json.encode(made).replace(_V3, _V2)


def _paths(it: Kind, name: str, definitions: Definitions) -> dict[str, Any]:
    root = f"/apis/{it.group}/{it.version}" if it.group else f"/api/{it.version}"
    place = f"{root}/namespaces/{{namespace}}/{it.plural}" if it.namespaced else f"{root}/{it.plural}"
    within = (
        [{"name": "namespace", "in": "path", "type": "string", "required": True}] if it.namespaced else []
    )
    own = {"name": "name", "in": "path", "type": "string", "required": True}
    one, many = _said(name), _said(f"{name}List" if f"{name}List" in definitions else name)
    post = {"post": _operation(it, "post", one, [_body(name), *_WRITE])}
    if it in REVIEWS:
        return {place: {**post, "parameters": within}}
    listing = {"get": _operation(it, "list", many, _READ)}
    reading = {"get": _operation(it, "get", one, [])}
    ends = _said(f"{_META}Status")
    if it in COMPUTED:
        return {
            place: {**listing, "parameters": within},
            f"{place}/{{name}}": {**reading, "parameters": [own, *within]},
        }
    return {
        place: {
            **listing, **post, "delete": _operation(it, "deletecollection", ends, _READ), "parameters": within,
        },
        f"{place}/{{name}}": {
            **reading, "put": _operation(it, "put", one, [_body(name), *_WRITE]),
            "patch": {**_operation(it, "patch", one, [_body(f"{_META}Patch"), *_WRITE]), "consumes": _PATCHES},
            "delete": _operation(it, "delete", ends, []), "parameters": [own, *within],
        },
    }  # fmt: skip


def _said(name: str) -> dict[str, Any]:
    return {"200": {"description": "OK", "schema": {"$ref": f"#/definitions/{name}"}}}


def _body(name: str) -> dict[str, Any]:
    return {"name": "body", "in": "body", "required": True, "schema": {"$ref": f"#/definitions/{name}"}}


def _operation(
    it: Kind, action: str, responses: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    group = "".join(part.capitalize() for part in it.group.removesuffix(".k8s.io").split(".")) or "Core"
    place = f"{group}{it.version.capitalize()}{'Namespaced' if it.namespaced else ''}{it.kind}"
    return {
        "operationId": f"{action}{place}", "consumes": ["*/*"], "produces": ["application/json"], "schemes": ["https"],
        "responses": responses, "parameters": parameters, "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": it.group, "version": it.version, "kind": it.kind},
    }  # fmt: skip
