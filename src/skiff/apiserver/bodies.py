"""What does a request carry? Objects as JSON, YAML or Kubernetes' protobuf; unknown fields as the client wants them treated."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
import yaml
from aiohttp import web

from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.schema.node import SchemaNode
from skiff.schema.walk import prune, unknown_fields

_log = structlog.get_logger("skiff.apiserver")

PROTOBUF = "application/vnd.kubernetes.protobuf"
#: Warnings for the client, filled while a request is served.
WARNINGS = web.RequestKey("warnings", list[str])


async def body(request: web.Request) -> Any:
    """The decoded body; 400 when it is none."""
    raw = await request.read()
    try:
        if request.content_type == PROTOBUF:
            return _from_protobuf(request, raw)
        if request.content_type in ("application/yaml", "application/apply-patch+yaml"):
            return _loaded(raw)
        return msgspec.json.decode(raw) if raw else {}
    except (msgspec.DecodeError, yaml.YAMLError, ValueError) as wrong:
        raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {wrong}") from wrong


def _from_protobuf(request: web.Request, raw: bytes) -> Any:
    """What the table of fields does not know is told to the client and to the log, never dropped in silence."""
    from skiff.apiserver import protobuf  # tables of field numbers: only for those who need them

    if not raw:
        return {}
    try:
        found, unknown = protobuf.decode(raw)
    except protobuf.UnknownKindError as missing:
        raise ApiError(415, "UnsupportedMediaType", str(missing)) from missing
    for place in unknown:
        _log.warning("a protobuf body has a field that is not known here", field=place)
    said = [
        f"field {place} of the protobuf body is not known to this server and was ignored" for place in unknown
    ]
    request.setdefault(WARNINGS, []).extend(said)
    return found


def _loaded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)  # kubectl sends JSON under the name of YAML
    except msgspec.DecodeError:
        return yaml.safe_load(raw)


async def object_of(request: web.Request, kind: Kind, schema: SchemaNode) -> dict[str, Any]:
    """The object in the body, of the kind of this path, without fields its kind does not have."""
    found = await body(request)
    if not isinstance(found, dict):
        raise ApiError(400, "BadRequest", f"the body is no {kind.kind}: it is not an object")
    if found.get("kind", kind.kind) != kind.kind:
        said = (
            f"{found.get('kind')} in version {found.get('apiVersion')!r} cannot be handled as a {kind.kind}"
        )
        raise ApiError(400, "BadRequest", said)
    return checked(request, found, schema)


def checked(request: web.Request, obj: dict[str, Any], schema: SchemaNode) -> dict[str, Any]:
    """Unknown fields are an error, a warning or nothing, as ``fieldValidation`` says; then they are gone."""
    mode = request.query.get("fieldValidation", "Ignore")
    unknown = unknown_fields(obj, schema) if mode in ("Strict", "Warn") else []
    if unknown and mode == "Strict":
        said = ", ".join(f'unknown field "{it}"' for it in unknown)
        kind = obj.get("kind", "object")
        raise ApiError(
            400, "BadRequest", f'{kind} in version "{str(obj.get("apiVersion", "")).rpartition("/")[2]}" cannot be handled as a '
            f"{kind}: strict decoding error: {said}",
        )  # fmt: skip
    request.setdefault(WARNINGS, []).extend(f'unknown field "{it}"' for it in unknown)
    pruned: dict[str, Any] = prune(obj, schema)
    return pruned
