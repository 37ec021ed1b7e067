"""Which addresses stand behind a Service right now?"""

from __future__ import annotations

import ipaddress
import json
from collections import defaultdict
from typing import Any

from skiff import objects
from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.kinds import ENDPOINT_SLICES, PODS, SERVICES
from skiff.objects import key_of

SERVICE = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
_LARGEST = 100


def controller(cluster: Cluster) -> Controller:
    """Services, woken by the pods they select and by their slices."""

    async def reconcile(key: Key) -> float | None:
        await _reconcile(cluster, key)
        return None

    it = Controller("endpointslice", reconcile)
    it.follow(cluster, SERVICES)

    def pod_changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        for service in cluster.informers[SERVICES].namespace(obj["metadata"]["namespace"]) if obj else ():
            if any(pod is not None and _selects(service, pod) for pod in (old, new)):
                it.queue.add(key_of(service))

    def slice_changed(old: Object | None, new: Object | None) -> None:
        obj = new or old
        labels = (obj["metadata"].get("labels") or {}) if obj else {}
        if obj and labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE):
            it.queue.add((obj["metadata"]["namespace"], labels[SERVICE]))

    cluster.informers[PODS].listen(pod_changed)
    cluster.informers[ENDPOINT_SLICES].listen(slice_changed)
    return it


def _selects(service: Object, pod: Object) -> bool:
    selector: dict[str, str] = (service.get("spec") or {}).get("selector") or {}
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


async def _reconcile(cluster: Cluster, key: Key) -> None:
    namespace, name = key
    service = cluster.informers[SERVICES].get(namespace, name)
    held = [
        it for it in cluster.informers[ENDPOINT_SLICES].of_service(namespace, name)
        if (it["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER
        and not it["metadata"].get("deletionTimestamp")
    ]  # fmt: skip
    spec = (service or {}).get("spec") or {}
    if service is None or service["metadata"].get("deletionTimestamp"):
        for it in held:
            await cluster.delete(ENDPOINT_SLICES, it)
        return
    if not spec.get("selector") or spec.get("type") == "ExternalName":
        return
    pods = [it for it in cluster.informers[PODS].namespace(namespace) if _selects(service, it)]
    await _bring(cluster, service, _wanted(service, pods), held)


def _wanted(service: Object, pods: list[Object]) -> list[tuple[str, list[Object], list[Object]]]:
    """(address type, ports, endpoints) of every slice there should be."""
    groups: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for pod in pods:
        address = (pod.get("status") or {}).get("podIP")
        if not address or objects.finished(pod):
            continue
        family = f"IPv{ipaddress.ip_address(address).version}"
        groups[family, json.dumps(_ports(service, pod), sort_keys=True)].append(
            _endpoint(service, pod, address)
        )
    if not groups:
        families = service["spec"].get("ipFamilies") or ["IPv4"]
        groups[families[0], "[]"] = []
    return [
        (family, json.loads(ports), endpoints[start : start + _LARGEST])
        for (family, ports), endpoints in sorted(groups.items())
        for start in range(0, max(1, len(endpoints)), _LARGEST)
    ]


def _endpoint(service: Object, pod: Object, address: str) -> Object:
    leaving = bool(pod["metadata"].get("deletionTimestamp"))
    serving = objects.ready(pod)
    anyway = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": anyway or (serving and not leaving), "serving": anyway or serving, "terminating": leaving},
        "targetRef": {
            "kind": "Pod", "namespace": pod["metadata"]["namespace"],
            "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
        },
    }  # fmt: skip
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


def _ports(service: Object, pod: Object) -> list[Object]:
    found = []
    for it in service["spec"].get("ports") or ():
        protocol = it.get("protocol", "TCP")
        number = _number(it.get("targetPort", it["port"]), protocol, pod)
        if number:
            port: dict[str, Any] = {"name": it.get("name", ""), "port": number, "protocol": protocol}
            found.append({**port, **({"appProtocol": it["appProtocol"]} if it.get("appProtocol") else {})})
    return found


def _number(target: int | str, protocol: str, pod: Object) -> int:
    """The port in this pod; 0 when no container has a port of that name."""
    if isinstance(target, int):
        return target
    sidecars = [it for it in pod["spec"].get("initContainers") or () if it.get("restartPolicy") == "Always"]
    for container in [*(pod["spec"].get("containers") or ()), *sidecars]:
        for port in container.get("ports") or ():
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return 0


async def _bring(
    cluster: Cluster,
    service: Object,
    wanted: list[tuple[str, list[Object], list[Object]]],
    held: list[Object],
) -> None:
    """Change as few slices as possible: keep those of the same family and ports, then take any of the family."""
    free = list(held)
    labels = {
        **(service["metadata"].get("labels") or {}),
        SERVICE: service["metadata"]["name"], MANAGED_BY: MANAGER,
        **({"service.kubernetes.io/headless": ""} if service["spec"].get("clusterIP") == "None" else {}),
    }  # fmt: skip
    for family, ports, endpoints in wanted:
        fitting = [it for it in free if it.get("addressType") == family]
        fitting.sort(key=lambda it, ports=ports: (it.get("ports") or []) != ports)  # type: ignore[misc]
        if fitting:
            it = fitting[0]
            free.remove(it)
            same = (it.get("ports") or []) == ports and (it.get("endpoints") or []) == endpoints
            if not same or it["metadata"].get("labels") != labels:
                patch = {"metadata": {"labels": labels}, "ports": ports, "endpoints": endpoints}
                await cluster.patch(ENDPOINT_SLICES, it, patch)
            continue
        reference = {
            "apiVersion": "v1", "kind": "Service", "name": service["metadata"]["name"], "uid": service["metadata"]["uid"],
            "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        meta = {
            "generateName": f"{service['metadata']['name']}-", "namespace": service["metadata"]["namespace"],
            "labels": labels, "ownerReferences": [reference],
        }  # fmt: skip
        await cluster.create(
            ENDPOINT_SLICES,
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta,
                "addressType": family, "ports": ports, "endpoints": endpoints,
            },
        )  # fmt: skip
    for it in free:
        await cluster.delete(ENDPOINT_SLICES, it)
