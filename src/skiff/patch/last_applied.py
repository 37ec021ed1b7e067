"""What did ``kubectl apply`` say last? Its annotation, for who moves between client-side and server-side apply.

The server helps kubectl alone: https://kubernetes.io/docs/reference/using-api/server-side-apply/#migration-between-client-side-and-server-side-apply
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from skiff.api import Object
from skiff.patch.managed_fields import MISSING, Path, owned
from skiff.schema.node import SchemaNode

KUBECTL = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
#: All annotations of an object together.
_MOST = 256 * 1024


def _annotations(obj: Object) -> dict[str, Any]:
    found = (obj.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}


def still_so(live: Object, schema: SchemaNode) -> frozenset[Path]:
    """The fields that kubectl applied by itself and nobody changed since: it may change them now, too."""
    try:
        said = msgspec.json.decode(str(_annotations(live).get(ANNOTATION) or "null"))
    except (msgspec.DecodeError, RecursionError):
        return frozenset()
    if not isinstance(said, dict):
        return frozenset()
    present = owned(live, schema)
    return frozenset(
        path for path, value in owned(said, schema).items() if present.get(path, MISSING) == value
    )


def renewed(obj: Object, applied: Object) -> Object:
    """With an annotation that says what was applied now, when there is one: the way back stays open."""
    annotations = _annotations(obj)
    if not annotations.get(ANNOTATION):
        return obj
    said = json.dumps(_plain(applied), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    kept = {name: it for name, it in annotations.items() if name != ANNOTATION}
    size = sum(len(name.encode()) + len(str(it).encode()) for name, it in kept.items())
    if size + len(ANNOTATION) + len(said.encode()) <= _MOST:
        kept[ANNOTATION] = said
    return {**obj, "metadata": {**obj["metadata"], "annotations": kept}}


def _plain(applied: Object) -> Object:
    annotations = _annotations(applied)
    if ANNOTATION not in annotations:
        return applied
    kept = {name: it for name, it in annotations.items() if name != ANNOTATION}
    return {**applied, "metadata": {**applied["metadata"], "annotations": kept}}
