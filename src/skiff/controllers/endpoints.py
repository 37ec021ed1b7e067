"""Endpoints, which EndpointSlices came after: made for Services with a selector, and mirrored where users write them.

https://kubernetes.io/docs/concepts/services-networking/service/#endpoints
"""

from __future__ import annotations

import ipaddress
from typing import Any

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.endpoint_slice import MANAGED_BY, MANAGER, SERVICE
from skiff.controllers.pods import owner_reference
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from skiff.names import SKIP
from skiff.objects import key_of

MIRROR = "endpointslicemirroring-controller.k8s.io"
_MADE = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
_OVER = "endpoints.kubernetes.io/over-capacity"
#: Addresses of one object, as in Kubernetes: more would make it too large.
_MOST = 1000


def controller(cluster: Cluster) -> Controller:
    """Services by name, woken by their slices and their Endpoints."""

    ended: set[Key] = set()  # Services that are gone, while their Endpoints are there

    async def reconcile(key: Key) -> float | None:
        await _reconcile(cluster, key, ended)
        return None

    def service_changed(old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            ended.add(key_of(old))
        elif new is not None:
            ended.discard(key_of(new))

    it = Controller("endpoints", reconcile)
    cluster.informers[SERVICES].listen(service_changed)
    it.follow(cluster, SERVICES)
    it.follow(cluster, ENDPOINTS)

    def slice_changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        labels = (obj["metadata"].get("labels") or {}) if obj else {}
        if obj and labels.get(MANAGED_BY) in (MANAGER, MIRROR) and labels.get(SERVICE):
            it.queue.add((obj["metadata"]["namespace"], labels[SERVICE]))

    cluster.informers[ENDPOINT_SLICES].listen(slice_changed)
    return it


async def _reconcile(cluster: Cluster, key: Key, ended: set[Key]) -> None:
    service, held = cluster.informers[SERVICES].get(*key), cluster.informers[ENDPOINTS].get(*key)
    if service is None or service["metadata"].get("deletionTimestamp"):
        # They go with their Service, whoever wrote them. Those that never had one are for something else: locks, say.
        if held is not None and (
            key in ended or _MADE.items() <= (held["metadata"].get("labels") or {}).items()
        ):
            await cluster.delete(ENDPOINTS, held)
        ended.discard(key)
        await _mirror(cluster, key, None)
        return
    spec = service.get("spec") or {}
    if spec.get("selector") and spec.get("type") != "ExternalName":
        await _make(cluster, service, held)
        await _mirror(cluster, key, None)
        return
    marks = (held["metadata"].get("labels") or {}) if held else {}
    leader = "control-plane.alpha.kubernetes.io/leader" in (
        (held or {"metadata": {}})["metadata"].get("annotations") or {}
    )
    apart = held is None or marks.get(SKIP) == "true" or leader or held["metadata"].get("deletionTimestamp")
    await _mirror(cluster, key, None if apart else held)


def _slices(cluster: Cluster, key: Key, manager: str) -> list[Object]:
    return [
        it for it in cluster.informers[ENDPOINT_SLICES].of_service(*key)
        if (it["metadata"].get("labels") or {}).get(MANAGED_BY) == manager
    ]  # fmt: skip


# --- slices -> Endpoints --------------------------------------------------------------------------


async def _make(cluster: Cluster, service: Object, held: Object | None) -> None:
    namespace, name = key_of(service)
    slices = [it for it in _slices(cluster, (namespace, name), MANAGER) if it.get("addressType") == "IPv4"]
    subsets, over = _subsets(slices)
    labels = {**(service["metadata"].get("labels") or {}), **_MADE}
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    notes = {_OVER: "truncated"} if over else {}
    if held is None:
        metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": notes}
        await cluster.create(ENDPOINTS, {"metadata": metadata, "subsets": subsets})
        return
    same = (held.get("subsets") or []) == subsets and held["metadata"].get("labels") == labels
    if not same or ((held["metadata"].get("annotations") or {}).get(_OVER) is not None) != over:
        metadata = {"labels": labels, "annotations": {_OVER: notes.get(_OVER)}}
        await cluster.patch(ENDPOINTS, held, {"metadata": metadata, "subsets": subsets})


def _subsets(slices: list[Object]) -> tuple[list[Object], bool]:
    """(one subset for each set of ports, whether some addresses had to be left out)."""
    groups: dict[str, tuple[list[Object], list[Object], list[Object]]] = {}
    left = _MOST
    for piece in sorted(slices, key=lambda it: str(it["metadata"]["name"])):
        ports = [{k: v for k, v in it.items() if v not in ("", None)} for it in piece.get("ports") or ()]
        _, good, bad = groups.setdefault(repr(ports), (ports, [], []))
        for endpoint in piece.get("endpoints") or ():
            if left <= 0:
                return _written(groups), True
            left -= 1
            ready = (endpoint.get("conditions") or {}).get("ready", True)
            (good if ready else bad).append(_address(endpoint))
    return _written(groups), False


def _written(groups: dict[str, tuple[list[Object], list[Object], list[Object]]]) -> list[Object]:
    made = []
    for ports, good, bad in groups.values():
        if good or bad:
            parts: dict[str, Any] = {"addresses": good, "notReadyAddresses": bad, "ports": ports}
            made.append({name: value for name, value in parts.items() if value})
    return made


def _address(endpoint: Object) -> Object:
    kept = {name: endpoint[name] for name in ("hostname", "nodeName", "targetRef") if endpoint.get(name)}
    return {"ip": endpoint["addresses"][0], **kept}


# --- Endpoints -> slices --------------------------------------------------------------------------


async def _mirror(cluster: Cluster, key: Key, source: Object | None) -> None:
    held = _slices(cluster, key, MIRROR)
    wanted = _wanted(source) if source is not None else []
    for it in wanted:
        found = next((had for had in held if had.get("addressType") == it["addressType"]), None)
        if found is None:
            assert source is not None
            await _create(cluster, key, source, it)
            continue
        held.remove(found)
        if any((found.get(part) or []) != it[part] for part in ("ports", "endpoints")):
            await cluster.patch(ENDPOINT_SLICES, found, {"ports": it["ports"], "endpoints": it["endpoints"]})
    for it in held:
        await cluster.delete(ENDPOINT_SLICES, it)


def _wanted(source: Object) -> list[Object]:
    """A slice for each family of each subset."""
    made = []
    for subset in source.get("subsets") or ():
        families: dict[str, list[Object]] = {}
        for part, ready in (("addresses", True), ("notReadyAddresses", False)):
            for it in (subset.get(part) or ())[:_MOST]:
                family = _family(it.get("ip", ""))
                if family:
                    kept = {name: it[name] for name in ("hostname", "nodeName", "targetRef") if it.get(name)}
                    entry = {"addresses": [it["ip"]], "conditions": {"ready": ready}, **kept}
                    families.setdefault(family, []).append(entry)
        ports = [{"name": "", **it} for it in subset.get("ports") or ()]
        made += [
            {"addressType": family, "ports": ports, "endpoints": endpoints[:_MOST]}
            for family, endpoints in families.items()
        ]
    return made


def _family(text: str) -> str:
    try:
        return f"IPv{ipaddress.ip_address(text).version}"
    except ValueError:
        return ""


async def _create(cluster: Cluster, key: Key, source: Object, wanted: Object) -> None:
    kept = {k: v for k, v in (source["metadata"].get("labels") or {}).items() if k not in (SKIP, *_MADE)}
    metadata = {
        "generateName": f"{key[1]}-", "namespace": key[0], "labels": {**kept, SERVICE: key[1], MANAGED_BY: MIRROR},
        "ownerReferences": [owner_reference(ENDPOINTS, source)],
    }  # fmt: skip
    try:
        await cluster.create(ENDPOINT_SLICES, {"metadata": metadata, **wanted})
    except ApiError as refused:
        said = f"Failed to mirror Endpoints to EndpointSlices: {refused}"
        await cluster.event(source, "Warning", "FailedToUpdateEndpointSlices", said, MIRROR.partition(".")[0])
        raise
