"""Which kinds do CustomResourceDefinitions add? They are served from the moment their definition is stored."""

from __future__ import annotations

from typing import Any

from skiff.api import Object
from skiff.apiserver.registry import Registry
from skiff.errors import invalid
from skiff.kinds import CUSTOM_RESOURCE_DEFINITIONS, Column, Kind
from skiff.schema.node import SchemaNode
from skiff.store.history import Change

_MAP_OR_LIST = {
    "x-kubernetes-list-type": "list_type", "x-kubernetes-map-type": "map_type",
}  # fmt: skip
_LIMITS = ("pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "multipleOf",
           "exclusiveMinimum", "exclusiveMaximum", "minProperties", "maxProperties", "format")  # fmt: skip


def kinds_of(definition: Object) -> list[Kind]:
    """The served versions, each a kind."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Kind(
            spec["group"], version["name"], names["kind"], names["plural"], spec.get("scope") == "Namespaced",
            tuple(names.get("shortNames") or ()), tuple(names.get("categories") or ()),
            frozenset(version.get("subresources") or {}), names.get("singular") or names["kind"].lower(), custom=True,
            columns=_columns(version), warning=_warning(spec["group"], version, names["kind"]), scale=_scale(version),
            fields=tuple(it["jsonPath"].removeprefix(".") for it in version.get("selectableFields") or () if it),
        )
        for version in spec["versions"]
        if version.get("served")
    ]  # fmt: skip


def _warning(group: str, version: dict[str, Any], kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"


def _scale(version: dict[str, Any]) -> tuple[str, str, str]:
    said = (version.get("subresources") or {}).get("scale") or {}
    names = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
    wanted, there, selector = (str(said.get(it) or "") for it in names)
    return wanted, there, selector


def _columns(version: dict[str, Any]) -> tuple[Column, ...]:
    return tuple(
        Column(
            it["name"], it["type"], it["jsonPath"], it.get("format", ""), it.get("description", ""), it.get("priority", 0)
        )
        for it in version.get("additionalPrinterColumns") or ()
    )  # fmt: skip


def schema_of(version: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI schema of a version; one that allows everything when there is none."""
    schema: dict[str, Any] = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def node(raw: dict[str, Any], *, root: bool = False) -> SchemaNode:
    """A structural schema as what our walks read
    (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
    """
    properties: dict[str, Any] = dict(raw.get("properties") or {})
    if root:  # what every object has, whatever its definition says
        for name, kind in (("apiVersion", "string"), ("kind", "string")):
            properties.setdefault(name, {"type": kind})
        properties["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    additional, items = raw.get("additionalProperties"), raw.get("items")
    words = {field: raw[word] for word, field in _MAP_OR_LIST.items() if word in raw}
    return SchemaNode(
        type="" if raw.get("x-kubernetes-int-or-string") else raw.get("type", ""), format=raw.get("format", ""),
        required=tuple(raw.get("required") or ()), additional=node(additional) if isinstance(additional, dict) else None,
        items=node(items) if isinstance(items, dict) else None, default=raw.get("default"), nullable=bool(raw.get("nullable")),
        enum=tuple(raw.get("enum") or ()), int_or_string=bool(raw.get("x-kubernetes-int-or-string")),
        preserve_unknown=bool(raw.get("x-kubernetes-preserve-unknown-fields")) or additional is True,
        embedded=bool(raw.get("x-kubernetes-embedded-resource")),
        list_keys=tuple(raw.get("x-kubernetes-list-map-keys") or ()), limits={key: raw[key] for key in _LIMITS if key in raw},
        combined=_combined(raw), unique=raw.get("x-kubernetes-list-type") in ("set", "map") or bool(raw.get("uniqueItems")),
        rules=tuple(raw.get("x-kubernetes-validations") or ()), custom=True,
        load=lambda: {key: node(it) for key, it in properties.items()}, **words,
    )  # fmt: skip


def _combined(raw: dict[str, Any]) -> dict[str, tuple[SchemaNode, ...]]:
    """What a value must, may or must not be besides: these parts only check, they do not say what exists."""
    found = {word: tuple(map(node, raw[word])) for word in ("allOf", "anyOf", "oneOf") if raw.get(word)}
    return {**found, "not": (node(raw["not"]),)} if raw.get("not") else found


class CustomKinds:
    """Keeps the served kinds in step with the stored definitions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        registry.stored[CUSTOM_RESOURCE_DEFINITIONS] = self.changed
        registry.store.undone.append(self._undone)
        for it in registry.store.all(CUSTOM_RESOURCE_DEFINITIONS.storage):
            self._serve(it)

    def changed(self, new: Object | None, old: Object | None) -> Object | None:
        """A definition is about to be stored (``old`` is None when it is new), or removed (``new`` is None)."""
        if new is None:
            if old is not None:
                self._forget(old)
            return None
        check(new)
        if old is not None:
            self._withdraw(old)
        self._serve(new)
        return established(new, self._registry.now())

    def _undone(self, change: Change) -> None:
        """What was to be stored was not."""
        if change.storage != CUSTOM_RESOURCE_DEFINITIONS.storage:
            return
        if change.type != "DELETED":
            self._withdraw(change.object)
        if change.previous is not None:
            self._serve(change.previous)

    def _serve(self, definition: Object) -> None:
        versions = {it["name"]: it for it in reversed(definition["spec"]["versions"])}
        for kind in kinds_of(definition):
            self._registry.kinds[kind.group, kind.version, kind.plural] = kind
            if self._registry.schemas:
                raw = schema_of(versions[kind.version])
                self._registry.schemas.add_custom(kind, node(raw, root=True), raw)

    def _withdraw(self, definition: Object) -> None:
        for kind in kinds_of(definition):
            self._registry.kinds.pop((kind.group, kind.version, kind.plural), None)
            if self._registry.schemas:
                self._registry.schemas.remove_custom(kind)

    def _forget(self, definition: Object) -> None:
        """A definition takes its objects with it."""
        self._withdraw(definition)
        storage = (definition["spec"]["group"], definition["spec"]["names"]["plural"])
        for it in self._registry.store.all(storage):
            self._registry.store.remove(storage, it["metadata"].get("namespace", ""), it["metadata"]["name"])


def check(definition: Object) -> None:
    """What must be right about a definition; 422 otherwise."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    causes = []
    wanted = f"{spec['names']['plural']}.{spec['group']}"
    if name != wanted:
        said = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(("FieldValueInvalid", said, "metadata.name"))
    if sum(bool(it.get("storage")) for it in spec["versions"]) != 1:
        said = "Invalid value: must have exactly one version marked as storage version"
        causes.append(("FieldValueInvalid", said, "spec.versions"))
    if causes:
        raise invalid("CustomResourceDefinition", "apiextensions.k8s.io", name, causes)


def established(definition: Object, now: str) -> Object:
    """The definition with the status of one that is served."""
    status = definition.get("status") or {}
    held = {it["type"]: it for it in status.get("conditions") or ()}
    conditions = [
        held.get(kind)
        or {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    storage = next(it["name"] for it in definition["spec"]["versions"] if it.get("storage"))
    stored = list(dict.fromkeys([*(status.get("storedVersions") or []), storage]))
    accepted = {
        "acceptedNames": definition["spec"]["names"],
        "conditions": conditions,
        "storedVersions": stored,
    }
    return {**definition, "status": {**status, **accepted}}
