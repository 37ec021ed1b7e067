"""How do an installation's objects get into the cluster, and out of it? Component by component, by server-side apply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from lateen.install.manifests import Component, Object, components
from lateen.install.values import Installation

#: The field manager of everything that ``lateen install`` writes.
MANAGER = "lateen-install"

#: What holds other objects, and where it is.
_WIDE = {
    "Namespace": "/api/v1/namespaces/",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/",
}
_REMOVAL_S = 120.0


class Cluster(Protocol):
    """What installation needs of a Kubernetes client (``lateen.kube.client.KubeClient``)."""

    async def get(self, path: str) -> Object | None: ...
    async def apply(self, obj: Object, manager: str, *, force: bool = True) -> Object: ...
    async def delete(self, obj: Object) -> bool: ...


class InstallError(RuntimeError):
    """A component did not become ready; the message says which, why and what to look at."""


#: Told of every step: component name, what happens ("applying", "waiting", "done"), and a detail.
Report = Callable[[str, str, str], None]


async def install(cluster: Cluster, it: Installation, *, wait_s: float, report: Report) -> None:
    """Apply each component and wait until its Deployments are ready (``wait_s`` = 0: do not wait).

    Running it again changes nothing; running it after an interruption completes it.
    """
    for component in components(it):
        report(component.name, "applying", f"{len(component.objects)} objects")
        for obj in component.objects:
            if obj["kind"] in _WIDE:
                await _removed(cluster, obj, component.name, report)
            await cluster.apply(obj, MANAGER, force=True)
            if obj["kind"] == "CustomResourceDefinition":
                await _established(cluster, obj["metadata"]["name"])
        if wait_s:
            await _ready(cluster, it.namespace, component, wait_s, report)
        report(component.name, "done", "")


async def uninstall(cluster: Cluster, it: Installation, *, purge: bool, report: Report) -> None:
    """Remove webhooks first, so that pods can be created at any moment; CRDs and the namespace only with ``purge``."""
    for component in reversed(components(it)):
        keep = component.name == "Istio core" and not purge
        if keep:
            continue
        report(component.name, "removing", "")
        for obj in _removal_order(component.objects):
            await cluster.delete(obj)
        report(component.name, "done", "")


def _removal_order(objects: tuple[Object, ...]) -> Iterator[Object]:
    last = {"Namespace": 2, "CustomResourceDefinition": 1}
    first = {"MutatingWebhookConfiguration": -2, "ValidatingWebhookConfiguration": -2, "Deployment": -1}
    rank = {**last, **first}
    yield from sorted(objects, key=lambda obj: rank.get(obj["kind"], 0))


async def _removed(cluster: Cluster, obj: Object, component: str, report: Report) -> None:
    """Wait while an earlier one is being removed: it would take along what is put into it."""
    name = obj["metadata"]["name"]
    until = time.monotonic() + _REMOVAL_S
    while ((await cluster.get(_WIDE[obj["kind"]] + name)) or {}).get("metadata", {}).get("deletionTimestamp"):
        if time.monotonic() > until:
            raise InstallError(
                f"{obj['kind']} {name} is still being removed after {_REMOVAL_S:.0f} s: "
                f"kubectl describe {obj['kind'].lower()} {name}"
            )
        report(component, "waiting", f"for {obj['kind']} {name} to be removed")
        await asyncio.sleep(0.5)


async def _established(cluster: Cluster, name: str) -> None:
    path = _WIDE["CustomResourceDefinition"] + name
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = await cluster.get(path) or {}
        if any(it["type"] == "Established" and it["status"] == "True" for it in _conditions(found)):
            return
        await asyncio.sleep(0.1)
    raise InstallError(
        f"CustomResourceDefinition {name} was not established within 30 s: kubectl describe crd {name}"
    )


async def _ready(
    cluster: Cluster, namespace: str, component: Component, wait_s: float, report: Report
) -> None:
    until = time.monotonic() + wait_s
    for name in component.deployments:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        while not _is_ready(found := await cluster.get(path) or {}):
            if time.monotonic() > until:
                why = "; ".join(
                    it.get("message", "") for it in _conditions(found) if it.get("status") != "True"
                )
                raise InstallError(
                    f"Deployment {namespace}/{name} is not ready after {wait_s:.0f} s{': ' + why if why else ''}. "
                    f"See: kubectl -n {namespace} describe pods -l app={name}"
                )
            report(component.name, "waiting", f"Deployment {name}")
            await asyncio.sleep(0.5)


def _is_ready(deployment: Object) -> bool:
    """As ``kubectl rollout status`` sees it: the newest generation is observed, updated and available."""
    status, spec = deployment.get("status", {}), deployment.get("spec", {})
    wanted = spec.get("replicas", 1)
    return bool(
        deployment
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) <= wanted
    )


def _conditions(obj: Object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj.get("status", {}).get("conditions", [])
    return found
