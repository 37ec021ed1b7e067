"""How do an installation's objects get into the cluster, and out of it? Component by component, by server-side apply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from lateen.api import reading
from lateen.install.manifests import Component, Object, components
from lateen.install.values import Installation

#: The field manager of everything that ``lateen install`` writes.
MANAGER = "lateen-install"

#: What holds other objects, and where it is.
_WIDE = {
    "Namespace": "/api/v1/namespaces/",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/",
}
_VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/"
_REMOVAL_S, _ESTABLISHED_S, _BINDING_S = 120.0, 60.0, 20.0

_UNREACHED = (
    "the API server does not reach the control plane's webhooks yet, so wrong objects are not refused "
    "(ValidatingWebhookConfiguration {name}: failurePolicy Ignore). If this lasts, let it reach port 15017 of the nodes: "
    "a firewall may be between"
)


class Cluster(Protocol):
    """What installation needs of a Kubernetes client (``lateen.kube.client.KubeClient``)."""

    async def get(self, path: str) -> Object | None: ...
    async def apply(self, obj: Object, manager: str, *, force: bool = True) -> Object: ...
    async def delete(self, obj: Object) -> bool: ...


class InstallError(RuntimeError):
    """A component did not become ready; the message says which, why and what to look at."""


#: Told of every step: component name, what happens ("applying", "waiting", "warning", "done"), and a detail.
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
            await cluster.apply(await _kept(cluster, obj), MANAGER, force=True)
            if obj["kind"] == "CustomResourceDefinition":
                await _established(cluster, reading.name(obj))
        if wait_s:
            await _ready(cluster, it.namespace, component, wait_s, report)
            await _binding(cluster, component, min(wait_s, _BINDING_S), report)
        report(component.name, "done", "")


async def _kept(cluster: Cluster, obj: Object) -> Object:
    """Without the ``failurePolicy`` that the control plane has made binding: it owns the field from then on."""
    if obj["kind"] != "ValidatingWebhookConfiguration":
        return obj
    held = await cluster.get(_VALIDATING + reading.name(obj))
    binding = {
        reading.text(it, "name")
        for it in reading.parts(held, "webhooks")
        if it.get("failurePolicy") == "Fail"
    }
    hooks = [
        {key: value for key, value in it.items() if key != "failurePolicy" or it["name"] not in binding}
        for it in obj["webhooks"]
    ]
    return {**obj, "webhooks": hooks}


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
    kind, name = obj["kind"], reading.name(obj)
    until = time.monotonic() + _REMOVAL_S
    while reading.text(found := await cluster.get(_WIDE[kind] + name), "metadata", "deletionTimestamp"):
        if time.monotonic() > until:
            raise InstallError(
                f"{kind} {name} is still being removed after {_REMOVAL_S:.0f} s{_why(_holding(found))}. "
                f"See: kubectl describe {kind.lower()} {name}"
            )
        report(component, "waiting", f"for {kind} {name} to be removed")
        await asyncio.sleep(0.5)


async def _established(cluster: Cluster, name: str) -> None:
    """A real server says nothing of conditions until its controllers have looked."""
    until = time.monotonic() + _ESTABLISHED_S
    while not reading.holds(
        found := await cluster.get(_WIDE["CustomResourceDefinition"] + name), "Established"
    ):
        if time.monotonic() > until:
            raise InstallError(
                f"CustomResourceDefinition {name} was not established within {_ESTABLISHED_S:.0f} s"
                f"{_why(_trouble(found, 'False'))}. See: kubectl describe crd {name}"
            )
        await asyncio.sleep(0.1)


async def _ready(
    cluster: Cluster, namespace: str, component: Component, wait_s: float, report: Report
) -> None:
    until = time.monotonic() + wait_s
    for name in component.deployments:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        while not _is_ready(found := await cluster.get(path)):
            if time.monotonic() > until:
                why = _why(_trouble(found, "False", failure="ReplicaFailure"))
                raise InstallError(
                    f"Deployment {namespace}/{name} is not ready after {wait_s:.0f} s{why}. "
                    f"See: kubectl -n {namespace} describe pods -l app={name}"
                )
            report(component.name, "waiting", f"Deployment {name}")
            await asyncio.sleep(0.5)


async def _binding(cluster: Cluster, component: Component, wait_s: float, report: Report) -> None:
    """Until the control plane insists on validation, which it does once the API server has reached it; else a warning."""
    until = time.monotonic() + wait_s
    for obj in component.objects:
        if obj["kind"] != "ValidatingWebhookConfiguration":
            continue
        name = reading.name(obj)
        while any(
            it.get("failurePolicy") == "Ignore"
            for it in reading.parts(await cluster.get(_VALIDATING + name), "webhooks")
        ):
            if time.monotonic() > until:
                report(component.name, "warning", _UNREACHED.format(name=name))
                break
            report(component.name, "waiting", "for validation to be binding")
            await asyncio.sleep(0.5)


def _is_ready(deployment: Object | None) -> bool:
    """As ``kubectl rollout status`` sees it: the newest generation is observed, updated and available."""
    if deployment is None:
        return False
    status = reading.part(deployment, "status")
    wanted = reading.number(deployment, "spec", "replicas", default=1)
    return (
        reading.number(status, "observedGeneration") >= reading.number(deployment, "metadata", "generation")
        and reading.number(status, "updatedReplicas") >= wanted
        and reading.number(status, "availableReplicas") >= wanted
        and reading.number(status, "replicas") <= wanted
    )


def _holding(obj: Object | None) -> list[str]:
    """What keeps an object from going: a namespace and a definition say it in conditions; and whose finalizers are left."""
    said = [
        reading.text(it, "message")
        for kind, it in reading.conditions(obj).items()
        if it.get("status") == "True" and kind.startswith(("Namespace", "Terminating"))
    ]
    left = reading.part(obj, "metadata").get("finalizers")
    return (
        [*said, f"finalizers are left: {', '.join(map(str, left))}"]
        if isinstance(left, list) and left
        else said
    )


def _trouble(obj: Object | None, status: str, *, failure: str = "") -> list[str]:
    """What conditions with this status say; those of the type ``failure`` are the other way round."""
    other = {"True": "False", "False": "True"}[status]
    said = reading.conditions(obj).values()
    bad = [it for it in said if it.get("status") == (other if it.get("type") == failure else status)]
    return [reading.text(it, "message") or reading.text(it, "reason") for it in bad]


def _why(said: list[str]) -> str:
    found = "; ".join(it for it in said if it)
    return f": {found}" if found else ""
