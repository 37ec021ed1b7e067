"""By which fields may objects be selected? A few of each kind, as the real server knows them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

from typing import Any

from skiff import kinds
from skiff.api import Object
from skiff.errors import ApiError
from skiff.kinds import Kind

_ALWAYS = ("metadata.name", "metadata.namespace")
_OF_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
#: With what stands for a field that is not there.
_MORE: dict[Kind, dict[str, str]] = {
    kinds.PODS: {
        **dict.fromkeys(
            ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase",
             "status.podIP", "status.podIPs", "status.nominatedNodeName"), "",
        ),
        "spec.hostNetwork": "false",
    },
    kinds.NODES: {"spec.unschedulable": "false"},
    kinds.NAMESPACES: {"status.phase": ""},
    kinds.SECRETS: {"type": ""},
    kinds.SERVICES: {"spec.clusterIP": "", "spec.type": ""},
    kinds.REPLICATION_CONTROLLERS: {"status.replicas": "0"},
    kinds.REPLICA_SETS: {"status.replicas": "0"},
    kinds.JOBS: {"status.successful": "0"},
    kinds.CERTIFICATE_SIGNING_REQUESTS: {"spec.signerName": ""},
    kinds.EVENTS: {
        **{f"involvedObject.{it}": "" for it in _OF_REFERENCE},
        **dict.fromkeys(("reason", "reportingComponent", "source", "type"), ""),
    },
    kinds.EVENTS_V1: {
        **{f"regarding.{it}": "" for it in _OF_REFERENCE},
        **dict.fromkeys(("reason", "reportingController", "type"), ""),
    },
}  # fmt: skip
#: Where the field is that another name stands for.
_ELSEWHERE = {
    (kinds.JOBS, "status.successful"): "status.succeeded",
    (kinds.EVENTS, "source"): "source.component",
}


def known(kind: Kind) -> list[str]:
    """The names of a kind's fields that may be used."""
    return [*_ALWAYS, *_MORE.get(kind, ()), *kind.fields]


def require(kind: Kind, label: str) -> None:
    """ApiError 400 for a field that objects of the kind are not selected by."""
    if label not in _ALWAYS and label not in _MORE.get(kind, ()) and label not in kind.fields:
        raise ApiError(400, "BadRequest", f"field label not supported: {label}")


def value(kind: Kind, obj: Object, label: str) -> str:
    """What a field holds, as text."""
    found: Any = obj
    for step in _ELSEWHERE.get((kind, label), label).split("."):
        found = found.get(step) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return str(found).lower()
    if found is None and (kind, label) == (kinds.EVENTS, "source"):
        found = obj.get("reportingComponent")
    if found is None or isinstance(found, dict | list):
        return _MORE.get(kind, {}).get(label, "")
    return str(found)
