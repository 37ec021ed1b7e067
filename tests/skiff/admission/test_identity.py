"""Accounts, priorities and classes that pods and claims get."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, PRIORITY_CLASSES, SERVICE_ACCOUNTS, STORAGE_CLASSES

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = pytest.mark.finding("issue 7 part 5")


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def priority(served: Served, name: str, value: int, **more: Any) -> Any:
    return served.made(PRIORITY_CLASSES, {"metadata": {"name": name}, "value": value, **more})


def test_a_pod_has_an_account_that_exists(served: Served) -> None:
    served.made(SERVICE_ACCOUNTS, {"metadata": {"name": "web"}, "imagePullSecrets": [{"name": "s"}]})
    made = served.made(PODS, pod(serviceAccountName="web"))["spec"]
    assert (made["serviceAccountName"], made["serviceAccount"], made["imagePullSecrets"]) == (
        "web",
        "web",
        [{"name": "s"}],
    )
    said = served.refused(
        lambda: served.made(PODS, {**pod(serviceAccountName="nobody"), "metadata": {"name": "q"}})
    )
    assert said.code == 403
    assert (
        said.message
        == 'pods "q" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )


def test_the_account_of_a_new_namespace_may_come_a_moment_later(served: Served) -> None:
    async def both() -> Any:
        async def later() -> None:
            await asyncio.sleep(0.15)
            await served.create(SERVICE_ACCOUNTS, "default", {"metadata": {"name": "late"}})

        made, _ = await asyncio.gather(
            served.create(PODS, "default", pod(serviceAccountName="late")), later()
        )
        return made

    assert asyncio.run(both())["spec"]["serviceAccountName"] == "late"


def test_a_pod_has_the_priority_of_its_class(served: Served) -> None:
    assert served.made(PODS, pod())["spec"]["priority"] == 0
    priority(served, "high", 1000, preemptionPolicy="Never")
    priority(served, "usual", 10, globalDefault=True)

    def made(name: str, **spec: Any) -> Any:
        return served.made(PODS, {**pod(**spec), "metadata": {"name": name}})["spec"]

    high, usual = made("a", priorityClassName="high"), made("b")
    assert (high["priority"], high["preemptionPolicy"]) == (1000, "Never")
    assert (usual["priority"], usual["priorityClassName"]) == (10, "usual")
    assert made("c", priorityClassName="system-node-critical")["priority"] == 2_000_001_000
    assert made("d", priorityClassName="high", priority=1000)["priority"] == 1000
    said = served.refused(lambda: made("e", priorityClassName="nope")).message
    assert said == 'pods "e" is forbidden: no PriorityClass with name nope was found'
    assert "must not be provided in pod spec" in served.refused(lambda: made("f", priority=5)).message


@pytest.mark.parametrize(
    ("name", "obj", "said"),
    [
        ("big", {"value": 2_000_000_000}, "maximum allowed value of a user defined priority is 1000000000"),
        ("system-mine", {"value": 1}, "reserved for system use only"), ("other", {"value": 1, "globalDefault": True}, "already marked as default"),
    ],
)  # fmt: skip
def test_classes_that_may_not_be(served: Served, name: str, obj: dict[str, Any], said: str) -> None:
    priority(served, "usual", 10, globalDefault=True)
    assert said in served.refused(lambda: priority(served, name, **obj)).message


def test_a_class_keeps_its_value_and_system_classes_stay(served: Served) -> None:
    made = priority(served, "usual", 10)
    assert (
        "may not be changed in an update"
        in served.refused(lambda: served.put(PRIORITY_CLASSES, {**made, "value": 11})).message
    )
    priority(served, "system-cluster-critical", 2_000_000_000)
    said = served.refused(
        lambda: served.run(served.delete(PRIORITY_CLASSES, "", "system-cluster-critical"))
    ).message
    assert "cannot be deleted" in said


def test_a_claim_is_of_the_default_class(served: Served) -> None:
    def claim(name: str, **spec: Any) -> Any:
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
        return served.made(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": name}, "spec": asked})["spec"]

    assert claim("none").get("storageClassName") is None
    note = {"storageclass.kubernetes.io/is-default-class": "true"}
    served.made(STORAGE_CLASSES, {"metadata": {"name": "usual", "annotations": note}, "provisioner": "p"})
    assert claim("a")["storageClassName"] == "usual"
    assert claim("b", storageClassName="")["storageClassName"] == ""
