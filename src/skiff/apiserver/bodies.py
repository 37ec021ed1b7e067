"""What does a request carry? Objects as JSON, YAML or Kubernetes' protobuf; unknown fields as the client wants them treated."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from skiff.apiserver import context
from skiff.apiserver.parse import Form
from skiff.apiserver.parsers import PARSERS
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.log import Log
from skiff.schema.decode import MismatchError, decoded
from skiff.schema.node import SchemaNode
from skiff.schema.walk import prune, unknown_fields

_log = Log()

_FORMS = {
    "application/json": Form.JSON, "application/yaml": Form.YAML, "application/vnd.kubernetes.protobuf": Form.PROTOBUF,
    "application/json-patch+json": Form.JSON, "application/merge-patch+json": Form.JSON,
    "application/strategic-merge-patch+json": Form.JSON, "application/apply-patch+yaml": Form.YAML,
    "application/octet-stream": Form.JSON,  # what HTTP libraries say when nothing was said
}  # fmt: skip
_OBJECT_META, _COMMON = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", ("metadata", "apiVersion", "kind")
#: Warnings for the client, filled while a request is served.
WARNINGS = web.RequestKey("warnings", list[str])
#: What is told of one request, of many things that are wrong with it.
_MOST_TOLD = 100
_LARGE = 64 * 1024
#: For a body to arrive.
_READ_S = 60.0


def encoded(answer: Any, status: int = 200) -> web.Response:
    """An answer as JSON, without spaces: as the real server writes it, and scripts search it."""
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json", status=status)


async def body(request: web.Request) -> Any:
    """The decoded body; 400 when it is none, 415 when nobody here knows its form."""
    form = _FORMS.get(request.content_type)
    if form is None:
        known = ", ".join(list(_FORMS)[:3])
        said = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise ApiError(415, "UnsupportedMediaType", said)
    raw = await _arrived(request)
    context.LARGE.set(len(raw) > _LARGE)
    mode = request.query.get("fieldValidation", "Ignore")
    user = context.USER.get()
    made = await request.app[PARSERS].parse(
        user.name if user else "", form, raw, twice=mode in ("Strict", "Warn")
    )
    told = [f'duplicate field "{it}"' for it in made.twice]
    if told and mode == "Strict":
        raise ApiError(400, "BadRequest", f"strict decoding error: {', '.join(told)}")
    if made.unknown:  # never dropped in silence
        _log.warning("a protobuf body has fields that are not known here", fields=made.unknown[:5])
    told += [
        f"field {it} of the protobuf body is not known to this server and was ignored" for it in made.unknown
    ]
    request.setdefault(WARNINGS, []).extend(told)
    return made.value


async def _arrived(request: web.Request) -> bytes:
    if request.content.is_eof():  # nearly all come with their head
        return await request.read()
    try:
        async with asyncio.timeout(_READ_S):
            return await request.read()
    except TimeoutError as late:
        said = f"the body of the request did not arrive within {_READ_S:g} s"
        raise ApiError(408, "Timeout", said) from late


async def sent(request: web.Request, registry: Registry, definition: str) -> dict[str, Any]:
    """The body of a request that stores nothing, by its definition; 400 when a type cannot hold what it has."""
    return fitting(registry, definition, await body(request))


def fitting(registry: Registry, definition: str, found: Any) -> dict[str, Any]:
    """An object of this definition; 400 when a type cannot hold what it has."""
    if not isinstance(found, dict):
        raise ApiError(400, "BadRequest", "the object provided is unrecognized: it is not an object")
    try:
        return _object(decoded(found, registry.schemas.named(definition)) if registry.schemas else found)
    except MismatchError as wrong:
        raise ApiError(400, "BadRequest", f"{_handled(found)}: {wrong}") from wrong


async def object_of(request: web.Request, registry: Registry, kind: Kind) -> dict[str, Any]:
    """The object in the body, of the kind of this path, without fields its kind does not have."""
    found = await body(request)
    if isinstance(found, dict) and found.get("kind", kind.kind) != kind.kind:
        said = f"{str(found.get('kind'))[:100]} in version {found.get('apiVersion')!r} cannot be handled as a {kind.kind}"
        raise ApiError(400, "BadRequest", said)
    return checked(request, registry, kind, found)


def checked(request: web.Request, registry: Registry, kind: Kind, obj: Any) -> dict[str, Any]:
    """Unknown fields are an error, a warning or nothing, as ``fieldValidation`` says; then they are gone. 400 for what
    a type cannot hold."""
    if not isinstance(obj, dict):
        raise ApiError(400, "BadRequest", f"the body is no {kind.kind}: it is not an object")
    schema, mode = registry.schema(kind), request.query.get("fieldValidation", "Ignore")
    unknown = unknown_fields(obj, schema)[:_MOST_TOLD] if mode in ("Strict", "Warn") else []
    if unknown and mode == "Strict":
        said = ", ".join(f'unknown field "{it}"' for it in unknown)
        raise ApiError(400, "BadRequest", f"{_handled(obj)}: strict decoding error: {said}")
    request.setdefault(WARNINGS, []).extend(f'unknown field "{it}"' for it in unknown)
    try:
        return _custom(registry, obj, schema) if kind.custom else _object(decoded(obj, schema))
    except MismatchError as wrong:
        raise ApiError(400, "BadRequest", f"{_handled(obj)}: {wrong}") from wrong


def _object(made: Any) -> dict[str, Any]:
    found: dict[str, Any] = made
    for name, wanted in (
        ("metadata", dict),
        ("apiVersion", str),
        ("kind", str),
    ):  # also where no schema is known
        if not isinstance(found.get(name, wanted()), wanted):
            raise MismatchError(f"json: cannot unmarshal the value of {name} into Go struct field .{name}")
    return found


def _custom(registry: Registry, obj: dict[str, Any], schema: SchemaNode) -> dict[str, Any]:
    """Of a custom kind, types are looked at here as far as every object has them; the rest is for its validation."""
    made = _object(
        {name: it for name, it in prune(obj, schema).items() if it is not None or name not in _COMMON}
    )
    if registry.schemas and "metadata" in made:
        made["metadata"] = decoded(made["metadata"], registry.schemas.named(_OBJECT_META), ".metadata")
    return made


def _handled(obj: dict[str, Any]) -> str:
    kind, version = (
        str(obj.get("kind", "object"))[:100],
        str(obj.get("apiVersion", ""))[:100].rpartition("/")[2],
    )
    return f'{kind} in version "{version}" cannot be handled as a {kind}'
