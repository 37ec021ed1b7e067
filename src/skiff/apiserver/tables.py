"""How does kubectl show it? The server's tables: columns and cells for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from skiff.api import Object
from skiff.kinds import Kind

Cells = Callable[[Object, datetime], list[Any]]


def age(since: str | None, now: datetime) -> str:
    """``5s``, ``3m10s``, ``2h``, ``4d``: as kubectl shortens durations."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def _pod(it: Object, now: datetime) -> list[Any]:
    status, spec = it.get("status", {}), it.get("spec", {})
    sidecars = {c["name"] for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"}
    running = [
        *status.get("containerStatuses", ()),
        *(c for c in status.get("initContainerStatuses", ()) if c["name"] in sidecars),
    ]
    total = len(spec.get("containers", ())) + len(sidecars)
    ready = sum(1 for c in running if c.get("ready"))
    restarts = sum(c.get("restartCount", 0) for c in running)
    return [f"{ready}/{total}", pod_reason(it), str(restarts), age(it["metadata"].get("creationTimestamp"), now),
            status.get("podIP") or "<none>", spec.get("nodeName") or "<none>", "<none>", "<none>"]  # fmt: skip


def pod_reason(it: Object) -> str:
    """The STATUS column: why a pod is not simply Running."""
    status, spec = it.get("status", {}), it.get("spec", {})
    if it["metadata"].get("deletionTimestamp"):
        return "Terminating"
    sidecars = {c["name"] for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"}
    inits = status.get("initContainerStatuses", ())
    for n, c in enumerate(inits):
        state = c.get("state", {})
        if state.get("terminated", {}).get("exitCode", 1) == 0 or (
            c["name"] in sidecars and c.get("started")
        ):
            continue
        waiting = state.get("waiting", {}).get("reason", "")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        if state.get("terminated"):
            return f"Init:{state['terminated'].get('reason') or 'Error'}"
        return f"Init:{n}/{len(inits)}"
    for c in status.get("containerStatuses", ()):
        state = c.get("state", {})
        if reason := state.get("waiting", {}).get("reason") or state.get("terminated", {}).get("reason"):
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Pending")


def _workload(it: Object, now: datetime) -> list[Any]:
    status, wanted = it.get("status", {}), it.get("spec", {}).get("replicas", 1)
    return [f"{status.get('readyReplicas', 0)}/{wanted}", status.get("updatedReplicas", 0), status.get("availableReplicas", 0),
            age(it["metadata"].get("creationTimestamp"), now), *_containers(it)]  # fmt: skip


def _containers(it: Object) -> list[str]:
    found = it.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
    selector = it.get("spec", {}).get("selector", {}).get("matchLabels", {})
    return [",".join(c["name"] for c in found), ",".join(c.get("image", "") for c in found), _pairs(selector)]


def _pairs(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def _replica_set(it: Object, now: datetime) -> list[Any]:
    status = it.get("status", {})
    return [it.get("spec", {}).get("replicas", 1), status.get("replicas", 0), status.get("readyReplicas", 0),
            age(it["metadata"].get("creationTimestamp"), now), *_containers(it)]  # fmt: skip


def _service(it: Object, now: datetime) -> list[Any]:
    spec = it.get("spec", {})
    given = it.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    kind = spec.get("type", "ClusterIP")
    outside = ",".join(i.get("ip") or i.get("hostname", "") for i in given)
    external = outside or spec.get("externalName") or ("<pending>" if kind == "LoadBalancer" else "<none>")
    ports = ",".join(
        f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports", ())
    )
    since = age(it["metadata"].get("creationTimestamp"), now)
    address, chosen = spec.get("clusterIP") or "<none>", _pairs(spec.get("selector"))
    return [kind, address, external, ports or "<none>", since, chosen]


def _node(it: Object, now: datetime) -> list[Any]:
    status = it.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    roles = sorted(
        k.rpartition("/")[2]
        for k in it["metadata"].get("labels") or {}
        if k.startswith("node-role.kubernetes.io/")
    )
    return ["Ready" if ready else "NotReady", ",".join(roles) or "<none>", age(it["metadata"].get("creationTimestamp"), now),
            status.get("nodeInfo", {}).get("kubeletVersion", "")]  # fmt: skip


def _event(it: Object, now: datetime) -> list[Any]:
    about = it.get("involvedObject", {})
    return [age(it.get("lastTimestamp"), now), it.get("type", ""), it.get("reason", ""),
            f"{about.get('kind', '').lower()}/{about.get('name', '')}", it.get("message", "")]  # fmt: skip


#: kind -> columns after NAME (those after "|" are shown by ``-o wide``), and their cells.
SHAPES: dict[str, tuple[str, Cells]] = {
    "Pod": ("Ready Status Restarts Age|IP Node Nominated-Node Readiness-Gates", _pod),
    "Deployment": ("Ready Up-to-date Available Age|Containers Images Selector", _workload),
    "ReplicaSet": ("Desired Current Ready Age|Containers Images Selector", _replica_set),
    "Service": ("Type Cluster-IP External-IP Port(s) Age|Selector", _service),
    "Node": ("Status Roles Age Version", _node),
    "Namespace": (
        "Status Age",
        lambda it, now: [
            it.get("status", {}).get("phase", ""),
            age(it["metadata"].get("creationTimestamp"), now),
        ],
    ),
    "ConfigMap": (
        "Data Age",
        lambda it, now: [len(it.get("data") or {}), age(it["metadata"].get("creationTimestamp"), now)],
    ),
    "Secret": (
        "Type Data Age",
        lambda it, now: [
            it.get("type", ""),
            len(it.get("data") or {}),
            age(it["metadata"].get("creationTimestamp"), now),
        ],
    ),
}
EVENT_COLUMNS = ("Last Seen", "Type", "Reason", "Object", "Message")


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
    if kind.kind == "Event":
        columns, cells, named = [(it, 0) for it in EVENT_COLUMNS], _event, False
    else:
        shape, cells = SHAPES.get(
            kind.kind, ("Age", lambda it, now: [age(it["metadata"].get("creationTimestamp"), now)])
        )
        usual, _, wide = shape.partition("|")
        columns, named = [*((it, 0) for it in usual.split()), *((it, 1) for it in wide.split())], True
    definitions = [_column(it, level) for it, level in columns]
    if named:
        definitions.insert(0, _column("Name", 0, form="name"))
    rows = [
        {"cells": [*([it["metadata"]["name"]] if named else []), *cells(it, moment)], **_included(it, include)} for it in objects
    ]  # fmt: skip
    shown = definitions if header else []
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": shown,
        "rows": rows,
    }


def _column(name: str, level: int, form: str = "") -> dict[str, Any]:
    shown = name.replace("-", " ") if name.startswith(("Nominated", "Readiness")) else name
    return {"name": shown, "type": "string", "format": form, "description": "", "priority": level}


def _included(it: Object, include: str) -> dict[str, Any]:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": it}
    return {
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": it["metadata"],
        }
    }
