"""How does kubectl get what it prints? The server's tables: columns, and a row for each object."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from skiff.api import Object
from skiff.apiserver import cluster_cells, columns, json_path
from skiff.apiserver.cells import age
from skiff.kinds import Column, Kind


def table(
    kind: Kind,
    objects: Iterable[Object],
    *,
    now: datetime | None = None,
    include: str = "Metadata",
    header: bool = True,
) -> dict[str, Any]:
    """A ``meta.k8s.io/v1`` Table. ``include`` is None, Metadata or Object: what of each object comes along."""
    moment = now or datetime.now(UTC)
    found = list(objects)
    shown = found[0].get("kind", kind.kind) if found else kind.kind  # a Scale is not of the kind of its path
    if kind.custom and shown != "Scale":
        wanted = kind.columns or (Column("Age", "date", ".metadata.creationTimestamp"),)
        definitions = [
            _NAME,
            *(_definition(it.name, it.priority, it.type, it.description, it.format) for it in wanted),
        ]
        rows = [[it["metadata"]["name"], *(_cell(column, it, moment) for column in wanted)] for it in found]
    else:
        shape, cells = columns.SHAPES.get(shown, ("Age", cluster_cells.only_age))
        named = shown != "Event"  # events have generated names, which say nothing
        definitions = [*([_NAME] if named else []), *_definitions(shape)]
        rows = [[*([it["metadata"]["name"]] if named else []), *cells(it, moment)] for it in found]
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions if header else [],
        "rows": [{"cells": row, **_included(it, include)} for row, it in zip(rows, found, strict=True)],
    }  # fmt: skip


def _definitions(shape: str) -> list[dict[str, Any]]:
    """``A,B|C|D``: A, B and D always, C with ``-o wide``."""
    return [
        _definition(name, level % 2)
        for level, part in enumerate(shape.split("|"))
        for name in part.split(",")
    ]


def _definition(
    name: str, priority: int = 0, kind: str = "string", description: str = "", form: str = ""
) -> dict[str, Any]:
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


_NAME = _definition("Name", form="name")


def _cell(column: Column, it: Object, now: datetime) -> Any:
    found = json_path.find(column.path, it)
    if not found:
        return None
    value = found[0]
    match column.type:
        case "date":
            try:
                return age(value, now)
            except (TypeError, ValueError):
                return "<invalid>"
        case "string":
            return (
                str(value).lower()
                if isinstance(value, bool)
                else value
                if isinstance(value, str)
                else _text(value)
            )
    return value


def _text(value: Any) -> str:
    import msgspec  # a column of objects is rare

    return msgspec.json.encode(value).decode()


def _included(it: Object, include: str) -> dict[str, Any]:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": it}
    held = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": it["metadata"]}
    return {"object": held}
