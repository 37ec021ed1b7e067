"""By which fields are objects selected, and may somebody replace an object without saying which?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from served import Served

from skiff import kinds
from skiff.apiserver import fields, selectors
from skiff.errors import ApiError
from skiff.kinds import BUILT_IN, Kind

pytestmark = pytest.mark.finding("issue 7 part 6")
PODS = "/api/v1/namespaces/default/pods"
FARMS = "/apis/example.com/v1/namespaces/default/farms"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMA = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}}}},
}
FARM = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "farms.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"kind": "Farm", "plural": "farms", "singular": "farm"},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA},
            "subresources": {"status": {}}, "selectableFields": [{"jsonPath": ".spec.color"}],
        }],
    },
}  # fmt: skip


def pod(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i"}]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {"containers": containers, **spec},
    }


def farm(name: str, color: str, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Farm", "apiVersion": "example.com/v1", "metadata": {"name": name, **metadata}, "spec": {"color": color},
    }  # fmt: skip


async def names(it: Served, path: str, selector: str) -> list[str]:
    status, found = await it.ask("GET", f"{path}?fieldSelector={selector}")
    assert status == 200, found
    return [one["metadata"]["name"] for one in found["items"]]


async def test_each_kind_is_selected_by_its_own_fields(tmp_path: Path) -> None:
    async with Served(tmp_path) as it:
        await it.ask("POST", PODS, pod("a", hostNetwork=True, restartPolicy="Never"))
        await it.ask("POST", PODS, pod("b"))
        assert await names(it, PODS, "spec.hostNetwork=false") == ["b"]
        assert await names(it, PODS, "spec.restartPolicy!=Always,metadata.namespace=default") == ["a"]
        for method, path in (("GET", PODS), ("GET", "/api/v1/pods"), ("DELETE", PODS)):
            status, refused = await it.ask(method, f"{path}?fieldSelector=metadata.name=a,spec.priority=0")
            assert (status, refused["message"]) == (400, "field label not supported: spec.priority")
        status, refused = await it.ask("GET", f"{PODS}?watch=true&fieldSelector=metadata.labels=x")
        assert (status, refused["reason"]) == (400, "BadRequest")
        assert await names(it, PODS, "metadata.name=a") == ["a"], "nothing was deleted"
        assert (await it.ask("POST", DEFINITIONS, FARM))[0] == 201
        await it.ask("POST", FARMS, farm("red", "red"))
        await it.ask("POST", FARMS, farm("blue", "blue"))
        assert await names(it, FARMS, "spec.color=blue") == ["blue"]
        assert (await it.ask("GET", f"{FARMS}?fieldSelector=spec.size=1"))[0] == 400


def test_what_is_not_there_has_its_usual_value() -> None:
    def chosen(kind: Kind, text: str, **obj: Any) -> bool:
        return selectors.by_fields(text, kind)({"metadata": {"name": "a"}, **obj})

    assert chosen(kinds.NODES, "spec.unschedulable=false")
    assert chosen(kinds.NODES, "spec.unschedulable=true", spec={"unschedulable": True})
    assert chosen(kinds.JOBS, "status.successful=0")
    assert chosen(kinds.JOBS, "status.successful=3", status={"succeeded": 3})
    assert chosen(
        kinds.EVENTS,
        "source=x,involvedObject.name=y",
        source={"component": "x"},
        involvedObject={"name": "y"},
    )
    assert chosen(kinds.EVENTS, "source=x", reportingComponent="x", source=None)
    assert chosen(kinds.PODS, "status.podIPs=", status={"podIPs": [{"ip": "10.0.0.1"}]})
    assert chosen(kinds.PODS, "spec.nodeName=", spec=None)


def test_every_kind_is_selected_by_name_and_no_kind_by_all() -> None:
    for kind in BUILT_IN:
        for label in fields.known(kind):
            selectors.by_fields(f"{label}=x", kind)
        for odd in ("spec", "metadata.uid", "metadata", "status.conditions", ".metadata.name", "a" * 1000):
            with pytest.raises(ApiError) as refused:
                selectors.by_fields(f"{odd}=x", kind)
            assert refused.value.code == 400


async def test_who_replaces_says_which_version(tmp_path: Path) -> None:
    async with Served(tmp_path) as it:
        await it.ask("POST", DEFINITIONS, FARM)
        _, made = await it.ask("POST", FARMS, farm("a", "red"))
        for version in ("", "0", None):
            for path in (f"{FARMS}/a", f"{FARMS}/a/status"):
                status, refused = await it.ask("PUT", path, farm("a", "blue", resourceVersion=version))
                said = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
                assert (status, refused["message"]) == (422, f'farms.example.com "a" is invalid: {said}')
        assert (await it.ask("PUT", f"{FARMS}/none", farm("none", "blue")))[0] == 404
        version = made["metadata"]["resourceVersion"]
        assert (await it.ask("PUT", f"{FARMS}/a", farm("a", "blue", resourceVersion=version)))[0] == 200
        assert (await it.ask("PUT", f"{DEFINITIONS}/farms.example.com", FARM))[0] == 422
        merge = {"form": "application/merge-patch+json"}
        assert (await it.ask("PATCH", f"{FARMS}/a", {"spec": {"color": "red"}}, **merge))[0] == 200  # type: ignore[arg-type]
        await it.ask("POST", PODS, pod("p"))
        assert (await it.ask("PUT", f"{PODS}/p", pod("p")))[0] == 200, (
            "built-in kinds are replaced without it"
        )
