"""Installing into, and removing from, a real API server: one that is plain, and one with a real server's habits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lateen.api import reading
from lateen.install import apply
from lateen.install.apply import InstallError, install, uninstall
from lateen.install.values import installation

ISTIO = installation("default")
VALIDATING = (
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/istio-validator-istio-system"
)


@asynccontextmanager
async def rollouts(api_server: Any) -> AsyncIterator[None]:
    """Whatever is deployed becomes ready after a moment, as if there were controllers and nodes."""
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import DEPLOYMENTS

    api = LocalApi(api_server.registry)

    async def look() -> None:
        while True:
            await asyncio.sleep(0.2)
            for it in api_server.store.all(DEPLOYMENTS.storage):
                counts = dict.fromkeys(
                    ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), 1
                )
                status = {"observedGeneration": it["metadata"]["generation"], **counts}
                if it.get("status") != status:
                    await api.update(DEPLOYMENTS, {**it, "status": status}, subresource="status")

    task = asyncio.ensure_future(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _no_control_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none that would make validation binding."""
    monkeypatch.setattr(apply, "_BINDING_S", 0.6)


def silent(component: str, what: str, detail: str) -> None:
    del component, what, detail


@pytest.mark.finding("real kubernetes 1")
async def test_an_installation_waits_for_what_comes_late_and_a_second_one_changes_nothing(
    api_server: Any,
) -> None:
    steps: list[tuple[str, str]] = []
    warnings: list[str] = []

    def note(name: str, what: str, detail: str) -> None:
        steps.append((name, what))
        warnings.extend([detail] if what == "warning" else [])

    async with api_server.client() as client, rollouts(api_server):
        await install(client, ISTIO, wait_s=30, report=note)
        assert [it.partition(",")[0] for it in warnings] == [
            "the API server does not reach the control plane's webhooks yet"
        ]
        before = api_server.store.revision
        await install(client, ISTIO, wait_s=30, report=silent)
        assert api_server.store.revision == before
        await uninstall(client, ISTIO, purge=False, report=silent)
        assert await client.get(VALIDATING) is None
        await install(client, ISTIO, wait_s=0, report=silent)
        await uninstall(client, ISTIO, purge=True, report=silent)
    assert [name for name, what in steps if what == "done"] == ["Istio core", "Istiod", "Ingress gateways"]


async def test_what_does_not_become_ready_is_told_with_the_reason(api_server: Any) -> None:
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import DEPLOYMENTS

    async with api_server.client() as client:
        with pytest.raises(InstallError, match=r"istiod is not ready after 1 s. See: kubectl"):
            await install(client, ISTIO, wait_s=1, report=silent)
        api = LocalApi(api_server.registry)
        conditions = [
            {"type": "Available", "status": "False", "message": "too few"}, {"type": "Progressing", "status": "True", "message": "on it"},
            {"type": "ReplicaFailure", "status": "True", "message": "quota is exceeded"},
        ]  # fmt: skip
        it = await api.get(DEPLOYMENTS, "istio-system", "istiod")
        await api.update(DEPLOYMENTS, {**it, "status": {"conditions": conditions}}, subresource="status")
        with pytest.raises(InstallError, match=r"after 1 s: too few; quota is exceeded\. See"):
            await install(client, ISTIO, wait_s=1, report=silent)


@pytest.mark.finding("real kubernetes 2")
async def test_validation_is_passed_over_until_the_control_plane_makes_it_binding(api_server: Any) -> None:
    """It owns the field then: a second installation does not take it back."""
    async with api_server.client() as client:
        await install(client, ISTIO, wait_s=0, report=silent)
        held = await client.get(VALIDATING)
        assert [it["failurePolicy"] for it in held["webhooks"]] == ["Ignore"]
        bound = [{**it, "failurePolicy": "Fail"} for it in held["webhooks"]]
        await client.patch(named(held), {"webhooks": bound})
        await install(client, ISTIO, wait_s=0, report=silent)
        assert [it["failurePolicy"] for it in (await client.get(VALIDATING))["webhooks"]] == ["Fail"]
        await uninstall(client, ISTIO, purge=False, report=silent)
        await install(client, ISTIO, wait_s=0, report=silent)
        assert [it["failurePolicy"] for it in (await client.get(VALIDATING))["webhooks"]] == ["Ignore"]


def named(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": reading.name(obj)},
    }  # fmt: skip


@pytest.mark.finding("real kubernetes 2")
async def test_webhooks_go_before_what_they_call(api_server: Any) -> None:
    """However an uninstallation is interrupted, no webhook insists on a control plane that is gone."""
    async with api_server.client() as client:
        await install(client, ISTIO, wait_s=0, report=silent)
        gone: list[str] = []

        class Noting(type(client)):  # type: ignore[misc]
            async def delete(self, obj: Any) -> bool:
                gone.append(obj["kind"])
                return bool(await super().delete(obj))

        async with Noting(client.connection) as noting:
            await uninstall(noting, ISTIO, purge=True, report=silent)
    hooks = [at for at, kind in enumerate(gone) if kind.endswith("WebhookConfiguration")]
    istiod = max(at for at, kind in enumerate(gone) if kind == "Deployment")
    assert len(hooks) == 2
    assert max(hooks) < istiod
    assert max(at for at, kind in enumerate(gone) if kind == "CustomResourceDefinition") < gone.index(
        "Namespace"
    )


async def test_a_namespace_that_is_being_removed_is_waited_for(
    api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_REMOVAL_S", 1.0)
    said: list[str] = []
    async with api_server.client() as client:
        await install(client, ISTIO, wait_s=0, report=silent)
        await client.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}})
        assert (await client.get("/api/v1/namespaces/istio-system"))["metadata"]["deletionTimestamp"]
        with pytest.raises(InstallError, match="Namespace istio-system is still being removed after 1 s"):
            await install(client, ISTIO, wait_s=0, report=lambda *it: said.append(it[2]))
        assert "for Namespace istio-system to be removed" in said


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (
            {"metadata": {"finalizers": ["customresourcecleanup.apiextensions.k8s.io"]}, "status": {"conditions": [
                {"type": "Established", "status": "True", "message": "the initial names have been accepted"},
                {"type": "Terminating", "status": "True", "message": "CustomResource deletion is in progress"},
            ]}},
            ": CustomResource deletion is in progress; finalizers are left: customresourcecleanup.apiextensions.k8s.io",
        ),
        (
            {"metadata": {"finalizers": None}, "status": {"conditions": [
                {"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining"},
                {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content deleted"},
            ]}},
            ": Some resources are remaining",
        ),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_holds_an_object_that_is_being_removed_is_told(obj: dict[str, Any], said: str) -> None:
    assert apply._why(apply._holding(obj)) == said
