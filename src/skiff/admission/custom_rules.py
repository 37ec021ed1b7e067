"""Do objects of custom kinds keep the rules of their definition, and are these rules expressions at all?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skiff.admission.request import Request
from skiff.errors import invalid
from skiff.kinds import CUSTOM_RESOURCE_DEFINITIONS, Kind
from skiff.schema.node import SchemaNode

if TYPE_CHECKING:
    from skiff.admission.cel import rules

#: The schema of a kind, and that of a raw one.
SchemaOf = Callable[[Kind], SchemaNode]
NodeOf = Callable[[dict[str, Any]], SchemaNode]


class CustomRules:
    """``x-kubernetes-validations`` of what is written; also of definitions themselves."""

    def __init__(self, schema_of: SchemaOf, node_of: NodeOf) -> None:
        self._schema_of, self._node_of = schema_of, node_of
        self._ruled: dict[tuple[str, str, str], tuple[SchemaNode, rules.Ruled | None]] = {}

    async def _definition(self, request: Request) -> None:
        new, old = request.obj, request.old
        if new is None or request.subresource or (old is not None and new["spec"] == old["spec"]):
            return
        from skiff.admission.cel import (
            definitions,  # the evaluator, 8 MB: only for those who have definitions
        )

        versions = new["spec"]["versions"]
        schemas = [(it.get("schema") or {}).get("openAPIV3Schema") or {} for it in versions]
        alike = all(
            it == schemas[0] for it in schemas
        )  # then the words are about "validation", as in the real one
        found = []
        for index, it in enumerate(schemas[:1] if alike else schemas):
            path = "spec.validation" if alike else f"spec.versions[{index}].schema"
            found += await definitions.problems(self._node_of(it), f"{path}.openAPIV3Schema")
        if found:
            raise invalid(request.kind.kind, request.kind.group, request.name, found)

    def validate(self, request: Request) -> Any:
        """An awaitable when there is something to look at."""
        if request.kind is CUSTOM_RESOURCE_DEFINITIONS:
            return self._definition(request)
        if not request.kind.custom or request.obj is None:
            return None
        ruled = self.ruled(request.kind)
        return self._object(request, ruled) if ruled else None

    async def _object(self, request: Request, ruled: rules.Ruled) -> None:
        from skiff.admission.cel import rules

        if found := await rules.broken(request.obj, request.old, ruled):
            raise invalid(request.kind.kind, request.kind.group, request.name, found)

    def ruled(self, kind: Kind) -> rules.Ruled | None:
        """The rules of a kind, worked out anew when its definition changed."""
        from skiff.admission.cel import rules

        key, node = (kind.group, kind.version, kind.kind), self._schema_of(kind)
        held = self._ruled.get(key)
        if held is None or held[0] is not node:
            if len(self._ruled) > 1000:  # definitions that are gone
                self._ruled.clear()
            held = self._ruled[key] = (node, rules.ruled(node))
        return held[1]
