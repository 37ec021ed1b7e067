"""Who may do what, asked of the API server alone: streams, acting as others, and roles made to be expensive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict
from served import RBAC, Served

from skiff.auth.escalation import _Holds
from skiff.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS

POD = {
    "metadata": {"name": "p"},
    "spec": {"nodeName": "skiff", "containers": [{"name": "c", "image": "i"}]},
}


@pytest.fixture
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with Served(folder_of(tmp_path_factory)) as made:
        await made.registry.create(PODS, "default", POD)
        yield made


def folder_of(factory: pytest.TempPathFactory) -> Path:
    """One for all tests of a worker: keys and schemas are made once."""
    return factory.getbasetemp()


async def granted(it: Served, name: str, *rules: dict[str, Any]) -> str:
    """The token of a new account with these rules."""
    token = await it.account(name)
    await it.registry.create(CLUSTER_ROLES, "", {"metadata": {"name": name}, "rules": list(rules)})
    binding = {
        "metadata": {"name": name}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": name}],
    }  # fmt: skip
    await it.registry.create(CLUSTER_ROLE_BINDINGS, "", binding)
    return token


def rule(
    verbs: list[str], resources: list[str], groups: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    return {"apiGroups": ["*"] if groups is None else groups, "resources": resources, "verbs": verbs, **more}


@pytest.mark.finding("security 5")
@pytest.mark.finding("issue 7 part 3")
@pytest.mark.parametrize("sub", ["exec", "attach", "portforward"])
async def test_reading_is_not_enough_to_act_inside_a_pod(it: Served, sub: str) -> None:
    reader = await granted(it, "reader", rule(["get", "list", "watch"], ["*"]))
    maker = await granted(it, "maker", rule(["get", "create"], [f"pods/{sub}"]))
    creator = await granted(it, "creator", rule(["create"], [f"pods/{sub}"]))
    path = f"/api/v1/namespaces/default/pods/p/{sub}?command=id&ports=80"
    code, said = await it.ask("GET", path, token=reader)
    assert (code, said["reason"]) == (403, "Forbidden")
    assert f'cannot create resource "pods/{sub}" in API group ""' in said["message"]
    assert (await it.ask("POST", path, token=reader))[0] == 403
    assert (await it.ask("GET", "/api/v1/namespaces/default/pods/p", token=reader))[0] == 200
    # Who may is told that no node runs here.
    assert (await it.ask("GET", path, token=maker))[0] == 400
    assert (await it.ask("POST", path, token=creator))[0] == 400


@pytest.mark.finding("issue 7 part 3")
async def test_acting_as_somebody_needs_the_right_to_each_part(it: Served) -> None:
    who = ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    plain = await it.account("plain")
    code, said = await it.ask(*who, token=plain, Impersonate_User="ann")
    assert code == 403
    assert 'cannot impersonate resource "users"' in said["message"]
    helper = await granted(
        it, "helper", rule(["impersonate"], ["users"], [""], resourceNames=["ann"]),
        rule(["impersonate"], ["groups"], [""], resourceNames=["shops"]),
        rule(["impersonate"], ["serviceaccounts"], [""], resourceNames=["plain"]),
        rule(["impersonate"], ["userextras/scopes"], ["authentication.k8s.io"], resourceNames=["view"]),
    )  # fmt: skip
    code, said = await it.ask(*who, token=helper, Impersonate_User="ann")
    assert (code, said["status"]["userInfo"]) == (
        201,
        {"username": "ann", "groups": ["system:authenticated"]},
    )
    code, said = await it.ask(
        *who, token=helper, Impersonate_User="ann", Impersonate_Group="shops", Impersonate_Extra_scopes="view"
    )
    groups = ["shops", "system:authenticated"]
    assert said["status"]["userInfo"] == {"username": "ann", "groups": groups, "extra": {"scopes": ["view"]}}
    code, said = await it.ask(*who, token=helper, Impersonate_User="system:serviceaccount:default:plain")
    assert said["status"]["userInfo"]["groups"] == [
        "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"
    ]  # fmt: skip
    refused = [
        {"Impersonate_User": "bob"}, {"Impersonate_User": "ann", "Impersonate_Group": "system:masters"},
        {"Impersonate_User": "ann", "Impersonate_Uid": "1"}, {"Impersonate_User": "ann", "Impersonate_Extra_scopes": "write"},
        {"Impersonate_User": "system:serviceaccount:default:root"},
    ]  # fmt: skip
    for headers in refused:
        assert (await it.ask(*who, token=helper, **headers))[0] == 403, headers
    for headers in ({"Impersonate_Group": "shops"}, {"Impersonate_User": "ann", "Impersonate_Role": "x"}):
        code, said = await it.ask(*who, token=it.root, **headers)  # never ignored in silence
        assert code == 400, said


@pytest.mark.finding("issue 7 part 3")
async def test_groups_are_each_looked_at(it: Served) -> None:
    """A header that is there twice: each value counts."""
    token = await granted(
        it, "twice", rule(["impersonate"], ["users"], [""]), rule(["impersonate"], ["groups"], [""], resourceNames=["a"])
    )  # fmt: skip
    headers = CIMultiDict(
        {"Authorization": f"Bearer {token}", "Impersonate-User": "x", "Impersonate-Group": "a"}
    )
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with it.client.post(path, json={}, headers=headers) as response:
        assert response.status == 201
    headers.add("impersonate-group", "system:masters")
    async with it.client.post(path, json={}, headers=headers) as response:
        assert response.status == 403


def test_what_is_held_is_compared_by_what_it_allows() -> None:
    held = [
        rule(["get", "list"], ["pods", "*/scale"], [""]), rule(["get"], ["deployments"], ["apps"]),
        rule(["get"], ["secrets"], [""], resourceNames=["a", "b"]), {"nonResourceURLs": ["/metrics", "/x/*"], "verbs": ["get"]},
    ]  # fmt: skip
    holds = _Holds(held)
    assert holds.all_of(rule(["get", "list"], ["pods"], [""]))
    assert holds.all_of(rule(["get"], ["pods", "deployments/scale"], [""]))
    assert not holds.all_of(rule(["get"], ["pods", "deployments"], ["", "apps"]))  # pods of apps are not held
    assert holds.all_of(rule(["get"], ["secrets"], [""], resourceNames=["a"]))
    assert not holds.all_of(rule(["get"], ["secrets"], [""], resourceNames=["a", "c"]))
    assert not holds.all_of(rule(["get"], ["secrets"], [""]))
    assert not holds.all_of(rule(["*"], ["pods"], [""]))
    assert holds.all_of({"nonResourceURLs": ["/metrics", "/x/y", "/x/*"], "verbs": ["get"]})
    assert not holds.all_of({"nonResourceURLs": ["/metrics", "/y"], "verbs": ["get"]})
    assert _Holds([rule(["*"], ["*"])]).all_of(rule(["*"], ["*"], ["*"]))


@pytest.mark.finding("issue 7 part 3")
async def test_a_large_role_is_compared_quickly(it: Served) -> None:
    """Verbs times resources times groups would be 8,000,000,000 questions."""
    granter = await granted(it, "granter", rule(["create"], ["clusterroles"]), rule(["v0", "v1"], ["*"]))
    words = [f"w{n}" for n in range(2_000)]
    role = {"metadata": {"name": "big"}, "rules": [rule([f"v{n % 2}" for n in range(2_000)], words, words)]}
    path = f"/apis/{RBAC}/v1/clusterroles"
    assert (await it.ask("POST", path, role, token=granter))[0] == 201
    role = {"metadata": {"name": "bigger"}, "rules": [rule(words, words, words)]}
    assert (await it.ask("POST", path, role, token=granter))[0] == 403
    selectors = [{"matchLabels": {"a": str(n)}} for n in range(20_000)]
    role = {"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": selectors}}
    code, said = await it.ask("POST", path, role, token=granter)
    assert (code, said["details"]["causes"][0]["reason"]) == (422, "FieldValueTooMany")


@pytest.mark.finding("issue 7 part 3")
async def test_a_token_is_bound_to_what_it_says_or_refused(it: Served) -> None:
    path, wish = (
        "/api/v1/namespaces/default/serviceaccounts/root/token",
        {"name": "p", "kind": "Pod", "apiVersion": "v1"},
    )
    code, said = await it.ask("POST", path, {"spec": {"boundObjectRef": wish}})
    assert code == 201
    bound = said["status"]["token"]
    assert (await it.ask("GET", "/api/v1/namespaces/default/pods/p", token=bound))[0] == 200
    await it.ask("DELETE", "/api/v1/namespaces/default/pods/p", {"gracePeriodSeconds": 0})
    assert (await it.ask("GET", "/api/v1/namespaces/default/pods/p", token=bound))[0] == 401
    code, said = await it.ask("POST", path, {"spec": {"boundObjectRef": {**wish, "kind": "Secret"}}})
    assert (code, said["details"]["causes"][0]["field"]) == (422, "spec.boundObjectRef.kind")
    code, _ = await it.ask("POST", path, {"spec": {"expirationSeconds": 10}})
    assert code == 422
