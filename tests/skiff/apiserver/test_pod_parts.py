"""What of a pod is written by a subresource of its own: containers that come later, and the node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from served import RBAC, Served

from skiff.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS

pytestmark = pytest.mark.finding("skiff input 22")

PATH = "/api/v1/namespaces/default/pods/p"
LATE = f"{PATH}/ephemeralcontainers"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
POD = {
    "metadata": {"name": "p", "labels": {"a": "b"}},
    "spec": {
        "nodeName": "skiff", "containers": [{"name": "app", "image": "i"}], "initContainers": [{"name": "first", "image": "i"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}  # fmt: skip


@pytest.fixture
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with Served(tmp_path_factory.getbasetemp()) as made:
        await made.registry.create(PODS, "default", POD)
        yield made


def late(*several: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"spec": {"ephemeralContainers": [{"image": "busybox", **each} for each in several], **more}}


async def add(it: Served, *several: dict[str, Any], **headers: str) -> tuple[int, Any]:
    return await it.ask("PATCH", LATE, late(*several), form=STRATEGIC, **headers)


async def test_containers_are_added_and_nothing_else(it: Served) -> None:
    code, before = await it.ask("GET", LATE)
    assert (code, before["kind"]) == (200, "Pod")
    other = {"metadata": {"labels": {"x": "y"}}, **late({"name": "one"}, hostname="other", nodeName="else")}
    code, made = await it.ask("PATCH", LATE, other, form=STRATEGIC)
    assert code == 200, made
    found = made["spec"].pop("ephemeralContainers")
    assert [(each["name"], each["terminationMessagePolicy"]) for each in found] == [("one", "File")]
    assert made["spec"] == before["spec"]
    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["generation"] == before["metadata"]["generation"] + 1
    code, made = await add(it, {"name": "two", "targetContainerName": "app"})
    assert [each["name"] for each in made["spec"]["ephemeralContainers"]] == ["one", "two"]
    whole = await it.ask("GET", LATE)
    whole[1]["spec"]["ephemeralContainers"].append({"name": "three", "image": "i"})
    code, made = await it.ask("PUT", LATE, whole[1])
    assert (code, len(made["spec"]["ephemeralContainers"])) == (200, 3), made
    applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **late({"name": "four"})}
    code, made = await it.ask(
        "PATCH", f"{LATE}?fieldManager=me", applied, form="application/apply-patch+yaml"
    )
    assert (code, len(made["spec"]["ephemeralContainers"])) == (200, 4), made
    notes = {(each["manager"], each.get("subresource")) for each in made["metadata"]["managedFields"]}
    assert ("me", "ephemeralcontainers") in notes
    assert (await it.ask("DELETE", LATE))[0] == 405
    assert (await it.ask("DELETE", f"{PATH}/status"))[0] == 405
    assert (await it.ask("POST", LATE, made))[0] == 405


@pytest.mark.parametrize(
    ("container", "field", "said"),
    [
        ({"name": "app"}, "name", "Duplicate value"), ({"name": "first"}, "name", "Duplicate value"),
        ({"name": "there"}, "", "may not be changed"), ({"name": "x", "targetContainerName": "no"}, "targetContainerName", "Not found"),
        ({"name": "x", "targetContainerName": "there"}, "targetContainerName", "Not found"), ({}, "name", "Required"),
        *(({"name": "x", field: value}, field, "cannot be set for an Ephemeral Container") for field, value in {
            "ports": [{"containerPort": 80}], "livenessProbe": {"exec": {"command": ["a"]}}, "restartPolicy": "Always",
            "readinessProbe": {"exec": {"command": ["a"]}}, "startupProbe": {"exec": {"command": ["a"]}},
            "lifecycle": {"preStop": {"exec": {"command": ["a"]}}}, "resources": {"limits": {"cpu": "1"}},
        }.items()),
        ({"name": "x", "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}]}, "volumeMounts[0].subPath", "cannot be set"),
        ({"name": "x", "volumeMounts": [{"name": "w", "mountPath": "/v"}]}, "volumeMounts[0].name", "Not found"),
    ],
)  # fmt: skip
async def test_what_they_may_not_be(it: Served, container: dict[str, Any], field: str, said: str) -> None:
    assert (await add(it, {"name": "there", "command": ["old"]}))[0] == 200
    old = (await it.ask("GET", LATE))[1]["spec"]["ephemeralContainers"]
    if container.get("name") == "there":
        content = late({"name": "there", "command": ["new"]})
    else:
        content = {"spec": {"ephemeralContainers": [*old, {"image": "busybox", **container}]}}
    code, answer = await it.ask("PATCH", LATE, content, form=MERGE)
    assert code == 422, answer
    causes = {
        (each["field"].rpartition("ephemeralContainers")[2], each["message"])
        for each in answer["details"]["causes"]
    }
    assert any(where == (f"[1].{field}" if field else "") and said in why for where, why in causes), causes
    assert (await it.ask("GET", LATE))[1]["spec"]["ephemeralContainers"] == old


async def test_they_stay(it: Served) -> None:
    await add(it, {"name": "one"})
    for gone in ([], None):
        code, said = await it.ask("PATCH", LATE, {"spec": {"ephemeralContainers": gone}}, form=MERGE)
        assert (
            code,
            'existing ephemeral containers \\"one\\" may not be removed' in str(said).replace('"', '\\"'),
        ) == (422, True), said


@pytest.mark.parametrize(
    "change",
    [late({"name": "one"}), {"spec": {"nodeName": "other"}}, {"spec": {"nodeName": None}}, {"spec": None}],
)
async def test_a_plain_update_changes_neither(it: Served, change: dict[str, Any]) -> None:
    code, said = await it.ask("PATCH", PATH, change, form=MERGE)
    assert code == 422, said
    assert (
        "spec: Forbidden: pod updates may not change fields other than" in said["message"]
        or change["spec"] is None
    )
    assert "ephemeralContainers" not in (await it.ask("GET", PATH))[1]["spec"]


async def test_nobody_writes_them_with_rights_on_pods(it: Served) -> None:
    for name, resource, wanted in (("whole", "pods", 403), ("part", "pods/ephemeralcontainers", 200)):
        token = await it.account(name)
        rules = [{"apiGroups": [""], "resources": [resource], "verbs": ["get", "patch", "update"]}]
        await it.registry.create(CLUSTER_ROLES, "", {"metadata": {"name": name}, "rules": rules})
        bound = {
            "metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": name}],
        }  # fmt: skip
        await it.registry.create(CLUSTER_ROLE_BINDINGS, "", bound)
        assert (await add(it, {"name": name}, token=token))[0] == wanted
        assert (await it.ask("GET", LATE, token=token))[0] == wanted


async def test_garbage_is_refused(it: Served) -> None:
    for content in (
        {"spec": {"ephemeralContainers": [None]}},
        {"spec": []},
        [],
        {"spec": {"ephemeralContainers": {}}},
        b"null",
        1,
    ):
        code, said = await it.ask("PUT", LATE, content)
        assert 400 <= code < 500, (content, said)
    many = [{"name": f"c{n}"} for n in range(3000)]
    code, said = await add(it, *many)
    assert code == 200, str(said)[:300]
    assert (await it.ask("GET", LATE))[1]["spec"]["ephemeralContainers"][2999]["name"] == "c2999"


async def test_a_pod_is_bound_once(it: Served) -> None:
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "other"},
    }
    code, said = await it.ask("POST", f"{PATH}/binding", binding)
    assert (code, "is already assigned to node" in said["message"]) == (409, True)
    free = {"metadata": {"name": "free"}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
    gated = {"metadata": {"name": "gated"}, "spec": {**free["spec"], "schedulingGates": [{"name": "a.b/c"}]}}
    for each in (free, gated):
        await it.registry.create(PODS, "default", each)
    path = "/api/v1/namespaces/default/pods"
    assert (await it.ask("POST", f"{path}/gated/binding", binding | {"metadata": {"name": "gated"}}))[
        0
    ] == 409
    assert (
        await it.ask("POST", f"{path}/free/binding", binding | {"metadata": {"name": "free"}, "target": {}})
    )[0] == 422
    assert (await it.ask("POST", f"{path}/free/binding", binding | {"metadata": {"name": "free"}}))[0] == 201
    assert (await it.ask("GET", f"{path}/free"))[1]["spec"]["nodeName"] == "other"


@pytest.mark.finding("issue 7 part 5")
async def test_the_time_of_a_deletion_is_when_it_ends(it: Served) -> None:
    asked = datetime.now().astimezone()
    _, said = await it.ask("DELETE", f"{PATH}?gracePeriodSeconds=1000")
    until = datetime.fromisoformat(said["metadata"]["deletionTimestamp"])
    assert 998 < (until - asked).total_seconds() < 1060
    _, said = await it.ask("DELETE", f"{PATH}?gracePeriodSeconds=10")
    assert datetime.fromisoformat(said["metadata"]["deletionTimestamp"]) < until
    _, said = await it.ask("DELETE", f"{PATH}?gracePeriodSeconds=1000000000000")
    assert said["metadata"]["deletionGracePeriodSeconds"] == 10
