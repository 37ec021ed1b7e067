"""What do the built-in kinds look like? The definitions of ``kubernetes_validate``, compacted once into a cache."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from skiff.kinds import BUILT_IN, Kind
from skiff.schema.node import ANYTHING, SchemaNode

#: Definitions by their full name, as in ``#/components/schemas``.
Definitions = dict[str, dict[str, Any]]

_VERSION = "v1.37.0-local"
#: In the cache only: which kinds it was made for.
_MADE_OF = "skiff"
_REF = "#/$defs/"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_LIMITS = ("pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
           "multipleOf", "exclusiveMinimum", "exclusiveMaximum", "minProperties", "maxProperties")  # fmt: skip
#: What is sent to subresources, and is of no kind that is stored.
SCALE, EVICTION, BINDING = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.core.v1.Binding",
)
TOKEN_REQUEST = "io.k8s.api.authentication.v1.TokenRequest"  # noqa: S105  # a name
DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_SENT = (SCALE, EVICTION, BINDING, TOKEN_REQUEST, DELETE_OPTIONS)
_GVK = "x-kubernetes-group-version-kind"


def load(cache: Path) -> Definitions:
    """The definitions that the built-in kinds need; made from the package when the cache is missing or broken."""
    made_of = " ".join([*(f"{it.api_version}/{it.kind}" for it in BUILT_IN), *_SENT])
    try:
        found = msgspec.json.decode(gzip.decompress(cache.read_bytes()), type=Definitions)
        if found.pop(_MADE_OF, {}).get("kinds") == made_of:
            return found  # else an older skiff made it, which served other kinds
    except (OSError, EOFError, msgspec.DecodeError, ValueError):
        pass
    made = compact(_package_definitions(), BUILT_IN)
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = cache.with_suffix(".new")
    fresh.write_bytes(gzip.compress(msgspec.json.encode({**made, _MADE_OF: {"kinds": made_of}}), 6))
    fresh.replace(cache)  # a reader sees the old file or the new one, never half of it
    return made


def _package_definitions() -> Definitions:
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        message = "the schemas of the built-in kinds are missing: install lateen[schemas]"
        raise RuntimeError(message)
    path = Path(found.origin).parent / "kubernetes-json-schema" / _VERSION / "_definitions.json"
    raw: Definitions = msgspec.json.decode(path.read_bytes())["$defs"]
    return raw


def compact(raw: Definitions, kinds: Iterable[Kind]) -> Definitions:
    """What the kinds, and what they refer to, are made of; nullable types and rewritten scalars put right."""
    wanted = [name for kind in kinds if (name := definition_name(raw, kind))]
    wanted += [f"{name}List" for name in wanted]
    wanted += _SENT
    wanted += [name for name in raw if name.startswith("io.k8s.apimachinery.pkg.apis.meta.v1.")]
    made: Definitions = {}
    while wanted:
        name = wanted.pop()
        if name not in made and name in raw:
            made[name] = _restored(name, raw[name])
            wanted += _references(made[name])
    return made


def definition_name(definitions: Definitions, kind: Kind) -> str:
    """The definition of a kind, "" when there is none."""
    asked = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    named = (
        name
        for name, it in definitions.items()
        if name.endswith("." + kind.kind) and asked in it.get(_GVK, ())
    )
    return next(named, "")


def _restored(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    said = {"description": raw["description"]} if "description" in raw else {}
    if name == _QUANTITY:
        return {**said, "type": "string", "format": "quantity"}
    if name == _INT_OR_STRING:
        return {**said, "type": "string", "format": "int-or-string"}
    made: dict[str, Any] = _plain(raw)
    if name in ("io.k8s.api.core.v1.ContainerPort", "io.k8s.api.core.v1.ServicePort"):
        made["properties"]["protocol"]["default"] = "TCP"
    return made


def _plain(raw: Any) -> Any:
    """Types without "null", references as OpenAPI v3 writes them."""
    if isinstance(raw, list):
        return [_plain(it) for it in raw]
    if not isinstance(raw, dict):
        return raw
    made: dict[str, Any] = {}
    for key, value in raw.items():
        if key == "type" and isinstance(value, list):
            kept = [it for it in value if it != "null"]
            made[key] = kept[0] if len(kept) == 1 else kept
        elif key == "enum" and isinstance(value, list):
            made[key] = [it for it in value if it is not None]
        elif key == "$ref" and isinstance(value, str):
            made[key] = value.replace(_REF, "#/components/schemas/")
        elif key != "additionalProperties" or value is not False:
            made[key] = _plain(value)
    return made


def _references(it: Any) -> list[str]:
    if isinstance(it, list):
        return [name for part in it for name in _references(part)]
    if not isinstance(it, dict):
        return []
    own = it.get("$ref")
    found = [own.rpartition("/")[2]] if isinstance(own, str) else []
    return found + [name for value in it.values() for name in _references(value)]


class Schemas:
    """The schema of every served kind, as nodes for checking and as OpenAPI for clients."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._nodes: dict[str, SchemaNode] = {}
        self._kinds: dict[tuple[str, str, str], SchemaNode] = {}
        self.custom: dict[tuple[str, str, str], dict[str, Any]] = {}

    def for_kind(self, kind: Kind) -> SchemaNode:
        """What an object of this kind may contain; ANYTHING when nothing is known."""
        key = (kind.group, kind.version, kind.kind)
        if key not in self._kinds:
            name = definition_name(self.definitions, kind)
            self._kinds[key] = self.named(name) if name else ANYTHING
        return self._kinds[key]

    def add_custom(self, kind: Kind, node: SchemaNode, openapi: dict[str, Any]) -> None:
        """Learn, or learn anew, a kind of a CustomResourceDefinition."""
        key = (kind.group, kind.version, kind.kind)
        self._kinds[key], self.custom[key] = node, openapi

    def remove_custom(self, kind: Kind) -> None:
        """Forget it."""
        key = (kind.group, kind.version, kind.kind)
        self._kinds.pop(key, None)
        self.custom.pop(key, None)

    def named(self, name: str) -> SchemaNode:
        """The node of a definition, made once: definitions refer to themselves."""
        if name not in self._nodes:
            self._nodes[name] = self.node(self.definitions.get(name, {}), name)
        return self._nodes[name]

    def node(self, raw: Mapping[str, Any], name: str = "") -> SchemaNode:
        """A node of raw OpenAPI."""
        reference, said = _reference(raw)
        if reference and not name:
            return self._annotated(self.named(reference), raw) if said else self.named(reference)
        kind = raw.get("type", "")
        both = raw.get("format") == "int-or-string" or isinstance(kind, list)
        properties: Mapping[str, Any] = raw.get("properties") or {}
        additional, items = raw.get("additionalProperties"), raw.get("items")
        return SchemaNode(
            type="" if both else kind, format=raw.get("format", ""), ref=name, required=tuple(raw.get("required") or ()),
            additional=self.node(additional) if isinstance(additional, dict) else None,
            items=self.node(items) if isinstance(items, dict) else None,
            default=raw.get("default"), enum=tuple(raw.get("enum") or ()), int_or_string=both,
            preserve_unknown=not properties and not isinstance(additional, dict) and kind in ("", "object"),
            limits={key: raw[key] for key in _LIMITS if key in raw},
            load=(lambda: {key: self.node(it) for key, it in properties.items()}) if properties else None,
            **_merging(raw),
        )  # fmt: skip

    def _annotated(self, target: SchemaNode, raw: Mapping[str, Any]) -> SchemaNode:
        """A reference with merge rules of its own: the same contents, other rules."""
        return SchemaNode(
            type=target.type, format=target.format, ref=target.ref, required=target.required, additional=target.additional,
            items=target.items, default=raw.get("default", target.default), enum=target.enum,
            int_or_string=target.int_or_string, preserve_unknown=target.preserve_unknown, limits=target.limits,
            load=lambda: target.properties, **_merging(raw),
        )  # fmt: skip


def _reference(raw: Mapping[str, Any]) -> tuple[str, bool]:
    """The definition referred to, directly or by a lone ``allOf`` or ``oneOf``, and whether rules are added to it."""
    found = raw.get("$ref")
    for word in ("allOf", "oneOf", "anyOf"):
        if not found:
            listed = [it["$ref"] for it in raw.get(word) or () if isinstance(it, dict) and "$ref" in it]
            found = listed[0] if len(listed) == 1 else None
    return (str(found).rpartition("/")[2] if found else "", bool(_merging(raw)) or "default" in raw)


def _merging(raw: Mapping[str, Any]) -> dict[str, Any]:
    words = {
        "x-kubernetes-patch-merge-key": "merge_key", "x-kubernetes-patch-strategy": "merge_strategy",
        "x-kubernetes-list-type": "list_type", "x-kubernetes-map-type": "map_type",
    }  # fmt: skip
    made: dict[str, Any] = {field: raw[word] for word, field in words.items() if word in raw}
    if "x-kubernetes-list-map-keys" in raw:
        made["list_keys"] = tuple(raw["x-kubernetes-list-map-keys"])
    return made
