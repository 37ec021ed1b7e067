"""What may an object contain? One node of a schema, for built-in kinds and CRDs alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class SchemaNode:
    """A place in an object. ``properties`` and ``items`` are resolved lazily: Kubernetes' schemas are recursive."""

    type: str = ""  # object, array, string, integer, number, boolean or "" (anything)
    format: str = ""
    ref: str = ""  # io.k8s.api.core.v1.Pod, for messages and OpenAPI
    required: tuple[str, ...] = ()
    additional: SchemaNode | None = None  # values of a map
    items: SchemaNode | None = None
    default: Any = None
    nullable: bool = False
    enum: tuple[Any, ...] = ()
    int_or_string: bool = False
    preserve_unknown: bool = False
    embedded: bool = False  # x-kubernetes-embedded-resource
    merge_key: str = ""  # x-kubernetes-patch-merge-key
    merge_strategy: str = ""  # "merge", "replace", "merge,retainKeys", "retainKeys"
    list_type: str = ""  # atomic, set, map
    list_keys: tuple[str, ...] = ()  # x-kubernetes-list-map-keys
    map_type: str = ""  # atomic, granular
    limits: Mapping[str, Any] = field(
        default_factory=dict
    )  # pattern, minimum, maxLength, ... by their OpenAPI names
    rules: tuple[Mapping[str, Any], ...] = ()  # x-kubernetes-validations
    combined: Mapping[str, tuple[SchemaNode, ...]] = field(default_factory=dict)  # allOf, anyOf, oneOf, not
    custom: bool = False  # of a CustomResourceDefinition: there a null is no item of a list
    unique: bool = False  # of a list: no two items alike, by the keys of a map, else by value
    load: Callable[[], Mapping[str, SchemaNode]] | None = None
    _properties: Mapping[str, SchemaNode] | None = None
    _defaulted: tuple[tuple[str, SchemaNode], ...] | None = None
    #: str or bool when every value of that type is right, and none of another: what most fields are.
    plain: Any = None

    def __post_init__(self) -> None:
        if not (
            self.format or self.enum or self.limits or self.combined or self.unique or self.int_or_string
        ):  # fmt: skip
            self.plain = {"string": str, "boolean": bool}.get(self.type)

    @property
    def properties(self) -> Mapping[str, SchemaNode]:
        if self._properties is None:
            self._properties = self.load() if self.load else {}
        return self._properties

    @property
    def defaulted(self) -> tuple[tuple[str, SchemaNode], ...]:
        """The fields that have a default."""
        if self._defaulted is None:
            self._defaulted = tuple(
                (name, it) for name, it in self.properties.items() if it.default is not None
            )
        return self._defaulted

    def child(self, name: str) -> SchemaNode | None:
        """The schema of one field of an object or one key of a map; None when nothing is known about it."""
        known = self._properties
        if known is None:
            known = self.properties
        return known.get(name) or self.additional


#: Knows nothing, allows everything.
ANYTHING = SchemaNode(preserve_unknown=True)
