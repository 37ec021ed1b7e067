"""May one user do more than they may? By ways that lead around their rights: applies, statuses, versions, names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from served import RBAC, Served

from skiff.apiserver.allocation import Addresses
from skiff.auth import authorize
from skiff.auth.authenticate import User
from skiff.auth.pki import ClusterPki
from skiff.kinds import CLUSTER_ROLES, CONFIG_MAPS, REPLICA_SETS, ROLE_BINDINGS, SERVICES
from skiff.store.store import Store

pytestmark = pytest.mark.finding("issue 7 redteam")
APPLY = "application/apply-patch+yaml"


@pytest.fixture
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with Served(tmp_path_factory.getbasetemp()) as made:
        yield made


async def bound(it: Served, role: str) -> str:
    """The token of a new account that has a role in one namespace."""
    token = await it.account(role)
    binding = {
        "metadata": {"name": role}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": role}],
    }  # fmt: skip
    await it.registry.create(ROLE_BINDINGS, "default", binding)
    return token


async def test_an_apply_that_creates_needs_the_right_to_create(it: Served) -> None:
    for role, verb in (("patcher", "get"), ("creator", "create")):
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", verb]}]
        await it.registry.create(CLUSTER_ROLES, "", {"metadata": {"name": role}, "rules": rules})
    token, creator = await bound(it, "patcher"), await bound(it, "creator")
    await it.registry.create(CONFIG_MAPS, "default", {"metadata": {"name": "old"}})
    path = "/api/v1/namespaces/default/configmaps/{}?fieldManager=x"
    said: dict[str, Any]
    content = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
    code, said = await it.ask("PATCH", path.format("old"), content, token=token, form=APPLY)
    assert code == 200, said
    code, said = await it.ask("PATCH", path.format("new"), content, token=token, form=APPLY)
    assert (code, said["reason"]) == (403, "Forbidden")
    assert 'cannot create resource "configmaps"' in said["message"]
    code, said = await it.ask("PATCH", path.format("new"), content, token=creator, form=APPLY)
    assert code == 201, said


async def test_who_edits_a_namespace_does_not_speak_for_the_system(it: Served) -> None:
    for role in ("edit", "admin"):
        token = await bound(it, role)
        for path in ("/api/v1/{}/endpoints", "/apis/discovery.k8s.io/v1/{}/endpointslices", "/api/v1/{}/resourcequotas",
                     "/api/v1/{}/limitranges"):  # fmt: skip
            place = path.format("namespaces/default")
            assert (await it.ask("GET", place, token=token))[0] == 200, place
            assert (await it.ask("POST", place, {}, token=token))[0] == 403, place
        for path in ("/apis/apps/v1/{}/deployments/x/status", "/apis/policy/v1/{}/poddisruptionbudgets/x/status",
                     "/api/v1/{}/pods/x/status", "/api/v1/{}/services/x/status"):  # fmt: skip
            place = path.format("namespaces/default")
            assert (await it.ask("PUT", place, {}, token=token))[0] == 403, place
        for path in ("/apis/apps/v1/{}/deployments", "/api/v1/{}/services", "/apis/batch/v1/{}/jobs",
                     "/apis/networking.k8s.io/v1/{}/networkpolicies"):  # fmt: skip
            place = path.format("namespaces/default")
            assert (await it.ask("DELETE", f"{place}/x", token=token))[0] == 404, place


async def test_preconditions_of_a_deletion_hold(it: Served) -> None:
    made = await it.registry.create(CONFIG_MAPS, "default", {"metadata": {"name": "it"}})
    before = made["metadata"]["resourceVersion"]
    made = await it.registry.update(CONFIG_MAPS, "default", "it", {**made, "data": {"a": "b"}})
    path = "/api/v1/namespaces/default/configmaps/it"
    for condition in ({"resourceVersion": before}, {"uid": "another"}):
        code, said = await it.ask("DELETE", path, {"preconditions": condition})
        assert (code, said["reason"]) == (409, "Conflict"), said
        code, said = await it.ask("DELETE", path.removesuffix("/it"), {"preconditions": condition})
        assert code == 409, said
    now = {"resourceVersion": made["metadata"]["resourceVersion"], "uid": made["metadata"]["uid"]}
    assert (await it.ask("DELETE", path, {"preconditions": now}))[0] == 200


async def test_an_old_scale_is_refused(it: Served) -> None:
    pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": pods}
    await it.registry.create(REPLICA_SETS, "default", {"metadata": {"name": "it"}, "spec": spec})
    path = "/apis/apps/v1/namespaces/default/replicasets/it/scale"
    scale = (await it.ask("GET", path))[1]
    code, said = await it.ask("PUT", path, {**scale, "spec": {"replicas": 5}})
    assert (code, said["spec"]["replicas"]) == (200, 5)
    code, said = await it.ask("PUT", path, {**scale, "spec": {"replicas": 2}})
    assert (code, said["reason"]) == (409, "Conflict")
    scale["metadata"] = {"name": "it"}
    code, said = await it.ask("PUT", path, {**scale, "spec": {"replicas": 3}})
    assert (code, said["spec"]["replicas"]) == (200, 3)


class _Slow:
    """Somebody who is asked and takes the time in which others act, as a webhook does."""

    def __init__(self, meanwhile: Any) -> None:
        self.meanwhile = meanwhile

    async def mutate(self, _kind: Any, _operation: str, _sub: str, obj: Any, _old: Any) -> Any:
        return obj

    async def validate(self, _kind: Any, operation: str, _sub: str, _obj: Any, _old: Any) -> None:
        if act := self.meanwhile.pop(operation, None):
            await act()


async def test_what_happens_while_webhooks_are_asked_is_not_undone(it: Served) -> None:
    registry = it.registry
    made = await registry.create(CONFIG_MAPS, "default", {"metadata": {"name": "held"}})

    async def hold() -> None:
        held = {**made, "metadata": {**made["metadata"], "finalizers": ["example.com/wait"]}}
        await registry.update(CONFIG_MAPS, "default", "held", held)

    registry.admission = _Slow({"DELETE": hold})
    await registry.delete(CONFIG_MAPS, "default", "held")
    kept = registry.get(CONFIG_MAPS, "default", "held")
    assert kept["metadata"]["finalizers"] == ["example.com/wait"]
    assert kept["metadata"]["deletionTimestamp"]

    async def let_go() -> None:
        free = {**kept, "metadata": {**kept["metadata"], "finalizers": []}}
        await registry.update(CONFIG_MAPS, "default", "held", free)

    registry.admission = _Slow({"DELETE": let_go})
    code, _ = await it.ask("DELETE", "/api/v1/namespaces/default/configmaps/held?gracePeriodSeconds=0")
    assert code == 404  # it is gone, and does not come back
    assert registry.store.get(CONFIG_MAPS.storage, "default", "held") is None

    async def end() -> None:
        await it.ask("DELETE", "/api/v1/namespaces/other")

    registry.admission = _Slow({"CREATE": end})
    code, said = await it.ask("POST", "/api/v1/namespaces/other/configmaps", {"metadata": {"name": "late"}})
    assert code == 403, said
    assert "being terminated" in said["message"]


def test_many_subjects_are_sorted_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binding of two megabytes cost everybody who asks in its namespace, and so everybody, a moment for each request."""
    store, sorted_out = Store(), []
    original = authorize._sorted_out

    def counted(subjects: Any, namespace: str) -> Any:
        sorted_out.append(namespace)
        return original(subjects, namespace)

    monkeypatch.setattr(authorize, "_sorted_out", counted)
    for kind, obj in authorize.bootstrap_objects():
        store.put(kind.storage, obj)
    crowd = [{"kind": "User", "name": f"user-{number}"} for number in range(10_000)]
    wanted = [
        {"kind": "User", "name": "ann"}, {"kind": "Group", "name": "shops"},
        {"kind": "ServiceAccount", "name": "here"}, {"kind": "ServiceAccount", "name": "there", "namespace": "other"},
    ]  # fmt: skip

    def bind(subjects: list[dict[str, Any]]) -> None:
        metadata = {"name": "crowd", "namespace": "default"}
        reference = {"kind": "ClusterRole", "name": "view"}
        store.put(ROLE_BINDINGS.storage, {"metadata": metadata, "roleRef": reference, "subjects": subjects})

    asked = authorize.Authorizer(
        lambda kind: store.read_all(kind.storage), lambda kind, namespace, name: store.read(kind.storage, namespace, name),
        lambda kind, namespace: store.read_all(kind.storage, namespace),
    )  # fmt: skip

    def may(name: str, *groups: str, namespace: str = "default") -> bool:
        return asked.allowed(User(name, groups), "get", group="", resource="pods", namespace=namespace)[0]

    people = {
        ("ann",): True, ("user-77",): True, ("bob", "shops"): True, ("bob", "others"): False, ("shops",): False,
        ("system:serviceaccount:default:here",): True, ("system:serviceaccount:other:there",): True,
        ("system:serviceaccount:other:here",): False, ("there",): False,
    }  # fmt: skip
    bind([*crowd, *wanted])
    for _ in range(20):
        assert {who: may(*who) for who in people} == people
        assert not may("ann", namespace="other")
    assert sorted_out == ["default"]
    bind(crowd)  # what was known of it is not
    assert not may("ann")
    assert may("user-77")
    assert len(sorted_out) == 2


@pytest.mark.parametrize("written", range(3))
def test_keys_that_were_written_by_halves_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """A daemon that is killed at its first start: the next one had a certificate of no bytes for ever."""
    synced, count = os.fsync, [0]

    def killed(descriptor: int) -> None:
        if count[0] == written:
            os.ftruncate(descriptor, 10)
            raise KeyboardInterrupt
        count[0] += 1
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        ClusterPki.load_or_create(tmp_path)
    monkeypatch.setattr(os, "fsync", synced)
    made = ClusterPki.load_or_create(tmp_path)
    assert made.ca_pem == ClusterPki.load_or_create(tmp_path).ca_pem
    assert {oct(it.stat().st_mode & 0o777) for it in tmp_path.iterdir() if it.suffix != ".new"} == {"0o600"}


async def test_no_two_services_get_the_same_addresses(it: Served) -> None:
    """Two that ask for the same while webhooks take their time: one of them has it."""
    registry = it.registry
    registry._addresses = Addresses("10.96.0.0/16")

    def service(name: str, address: str, port: int) -> dict[str, Any]:
        ports = [{"port": 80, "nodePort": port}]
        return {
            "metadata": {"name": name},
            "spec": {"type": "NodePort", "clusterIP": address, "ports": ports},
        }

    async def quicker() -> None:
        await registry.create(SERVICES, "default", service("quick", "10.96.0.77", 30077))

    path = "/api/v1/namespaces/default/services"
    for address, port in (("10.96.0.77", 30077), ("10.96.0.78", 30077), ("10.96.0.77", 30078)):
        registry.admission = _Slow({"CREATE": quicker})
        code, said = await it.ask("POST", path, service("slow", address, port))
        assert code == 422, said
        assert "already allocated" in said["message"]
        registry.admission = None
        await registry.delete(SERVICES, "default", "quick")
    await quicker()
    held = await registry.create(SERVICES, "default", service("slow", "10.96.0.78", 30078))

    def moved(service: Any) -> Any:
        ports = [{**service["spec"]["ports"][0], "nodePort": 30079}]
        return {**service, "spec": {**service["spec"], "ports": ports}}

    async def other() -> None:
        await registry.update(SERVICES, "default", "quick", moved(registry.get(SERVICES, "default", "quick")))

    registry.admission = _Slow({"UPDATE": other})
    code, said = await it.ask("PUT", f"{path}/slow", moved(held))
    assert code == 422, said
