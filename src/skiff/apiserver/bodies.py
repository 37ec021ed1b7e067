"""What does a request carry? Objects as JSON, YAML or Kubernetes' protobuf; unknown fields as the client wants them treated."""

from __future__ import annotations

import json
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
    mode = request.query.get("fieldValidation", "Ignore")
    try:
        if request.content_type == PROTOBUF:
            return _from_protobuf(request, raw)
        if request.content_type in ("application/yaml", "application/apply-patch+yaml"):
            return _loaded(raw)
        if mode in ("Strict", "Warn"):
            _tell_twice(request, raw, strict=mode == "Strict")
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
        return yaml.load(raw, _PlainLoader)  # noqa: S506  # a safe loader


class _PlainLoader(yaml.SafeLoader):
    """Without aliases, which are written in a line and may mean more than there is memory; no client of the API sends them."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted here")
        return super().compose_node(parent, index)


def _tell_twice(request: web.Request, raw: bytes, *, strict: bool) -> None:
    """Fields that are there twice, of which one would be lost: an error, or a warning."""
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            names = [name for name, _ in found]
            twice.extend(name for name in made if names.count(name) > 1)
        return made

    json.loads(raw or b"{}", object_pairs_hook=pairs)
    told = [f'duplicate field "{name}"' for name in twice]
    if told and strict:
        raise ApiError(400, "BadRequest", f"strict decoding error: {', '.join(told)}")
    request.setdefault(WARNINGS, []).extend(told)


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
