"""Who owns which field? Server-side apply beside other writers, as real clusters keep it; by HTTP and by kubectl."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.http import application
from skiff.apiserver.registry import Registry
from skiff.kinds import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from skiff.patch.last_applied import ANNOTATION
from skiff.schema import pack
from skiff.store.store import Store

Client = TestClient[Any, Any]
Kubectl = Callable[..., Awaitable[tuple[int, str]]]
KUBECTL = Path(__import__("sys").executable).with_name("kubectl")
MAPS = "/api/v1/namespaces/default/configmaps"
APPS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Clock:
    """Each look is a second later."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> pack.Definitions:
    return pack.load(tmp_path_factory.mktemp("pack") / "schemas.json.gz")


@pytest.fixture
async def registry(definitions: pack.Definitions) -> AsyncIterator[Registry]:
    it = Registry(Store(), schemas=pack.Schemas(definitions), clock=Clock())
    CustomKinds(it)
    await it.create(NAMESPACES, "", {"metadata": {"name": "default"}})
    yield it
    it.store.close()


@pytest.fixture
async def server(registry: Registry) -> AsyncIterator[TestServer]:
    async with TestServer(application(registry)) as it:
        yield it


@pytest.fixture
async def client(server: TestServer) -> AsyncIterator[Client]:
    async with TestClient(server) as it:
        yield it


@pytest.fixture
def kubectl(server: TestServer, tmp_path: Path) -> Kubectl:
    async def run(*argv: str, stdin: Any = None, code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            KUBECTL, "--server", str(server.make_url("/")), "--cache-dir", str(tmp_path), *argv, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(json.dumps(stdin).encode()), 60)
        assert process.returncode == code, f"{argv}: {said.decode()}"
        return said.decode()

    return run  # type: ignore[return-value]


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(replicas: int | None = 1, image: str = "i:1", **container: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image, **container}]}},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": spec if replicas is None else {**spec, "replicas": replicas},
    }


async def apply(
    client: Client, path: str, obj: Any, manager: str = "me", code: int = 200, **query: str
) -> Any:
    answer = await client.patch(path, json=obj, headers=APPLY, params={"fieldManager": manager, **query})
    found = await answer.json()
    assert answer.status in ({200, 201} if code == 200 else {code}), found
    return found


def owners(obj: Any) -> list[tuple[str, str, str]]:
    return [
        (it["manager"], it["operation"], it.get("subresource", ""))
        for it in obj["metadata"].get("managedFields", [])
    ]


def fields(obj: Any, manager: str) -> Any:
    return next(it["fieldsV1"] for it in obj["metadata"]["managedFields"] if it["manager"] == manager)


PART = pytest.mark.finding("issue 7 part 6")


@PART
async def test_conflicts_are_worded_as_the_real_server_words_them(client: Client) -> None:
    await client.post(APPS, json=deployment(2), params={"fieldManager": "maker"})
    await client.patch(
        f"{APPS}/a/scale", json={"spec": {"replicas": 3}}, headers=MERGE, params={"fieldManager": "scaler"}
    )
    one = await apply(client, f"{APPS}/a", deployment(1), code=409)
    assert (
        one["message"]
        == 'Apply failed with 1 conflict: conflict with "scaler" with subresource "scale" using apps/v1: .spec.replicas'
    )
    assert one["details"]["causes"] == [{
        "reason": "FieldManagerConflict", "message": 'conflict with "scaler" with subresource "scale" using apps/v1',
        "field": ".spec.replicas",
    }]  # fmt: skip
    two = await apply(client, f"{APPS}/a", deployment(1, "i:2"), code=409)
    assert two["message"] == (
        'Apply failed with 2 conflicts: conflicts with "maker" using apps/v1:\n- .spec.template.spec.containers[name="c"].image\n'
        'conflicts with "scaler" with subresource "scale" using apps/v1:\n- .spec.replicas'
    )
    await apply(client, f"{APPS}/a", deployment(1, "i:2"), force="true")
    three = await apply(client, f"{APPS}/a", deployment(1, "i:3"), manager="other", code=409)
    assert (
        three["message"]
        == 'Apply failed with 1 conflict: conflict with "me": .spec.template.spec.containers[name="c"].image'
    )


@PART
async def test_only_the_applier_who_wants_a_field_no_more_takes_it_away(client: Client) -> None:
    await apply(client, f"{MAPS}/a", config_map(key="v", mine="1", shared="s"))
    await apply(client, f"{MAPS}/a", config_map(shared="s"), manager="other")
    made = await apply(client, f"{MAPS}/a", config_map(key="v"))
    assert made["data"] == {"key": "v", "shared": "s"}
    ports = [{"containerPort": 80, "name": "web"}, {"containerPort": 81, "name": "more"}]
    await apply(client, f"{APPS}/a", deployment(ports=ports, args=["x"]))
    made = await apply(client, f"{APPS}/a", deployment(ports=ports[:1]))
    [container] = made["spec"]["template"]["spec"]["containers"]
    assert [it["name"] for it in container["ports"]] == ["web"]
    assert "args" not in container


@PART
async def test_the_time_of_an_entry_is_when_its_fields_changed(client: Client) -> None:
    def time(obj: Any) -> str:
        return str(obj["metadata"]["managedFields"][0]["time"])

    first = await apply(client, f"{MAPS}/a", config_map(key="1"))
    same = await apply(client, f"{MAPS}/a", config_map(key="1"))
    assert same["metadata"] == first["metadata"]
    more = await apply(client, f"{MAPS}/a", config_map(key="1", two="2"))
    assert time(more) > time(first)


@PART
async def test_what_nobody_was_noted_for_belongs_to_before_first_apply(
    client: Client, registry: Registry
) -> None:
    from skiff.kinds import CONFIG_MAPS

    await registry.create(
        CONFIG_MAPS, "default", config_map(key="v", other="o")
    )  # as the daemon's own parts write
    said = await apply(client, f"{MAPS}/a", config_map(key="w"), code=409)
    assert (
        said["message"]
        == 'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.key'
    )
    made = await apply(client, f"{MAPS}/a", config_map(key="w"), force="true")
    assert owners(made) == [("me", "Apply", ""), ("before-first-apply", "Update", "")]
    assert fields(made, "before-first-apply") == {"f:data": {"f:other": {}}}


@PART
async def test_notes_are_reset_by_one_empty_entry_and_lost_by_nothing_else(client: Client) -> None:
    await apply(client, f"{MAPS}/a", config_map(key="v"))

    async def put(*, code: int = 200, **metadata: Any) -> Any:
        answer = await client.put(
            f"{MAPS}/a", json={**config_map(key="v"), "metadata": {"name": "a", **metadata}}
        )
        assert answer.status == code
        return await answer.json()

    for kept in ({}, {"managedFields": None}, {"managedFields": []}):
        assert owners(await put(**kept)) == [("me", "Apply", "")]
    assert owners(await put(managedFields=[{}])) == []
    for nonsense in ([{"fieldsV1": {"f:data": "x"}, "manager": "m"}], [{"fieldsV1": "x"}], [1], "x"):
        answer = await client.put(
            f"{MAPS}/a", json={**config_map(key="v"), "metadata": {"name": "a", "managedFields": nonsense}}
        )
        assert answer.status < 500


@PART
async def test_a_writer_takes_what_it_changes_and_an_entry_is_found_by_its_version(
    client: Client, registry: Registry
) -> None:
    await apply(client, f"{MAPS}/a", config_map(key="v", other="o"))
    answer = await client.patch(
        f"{MAPS}/a", json={"data": {"key": "w"}}, headers={**MERGE, "User-Agent": "kubectl/v1.37 (linux)"}
    )
    made = await answer.json()
    assert owners(made) == [("me", "Apply", ""), ("kubectl", "Update", "")]
    assert fields(made, "me") == {"f:data": {"f:other": {}}}
    assert fields(made, "kubectl") == {"f:data": {"f:key": {}}}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": name, "served": True, "storage": name == "v1", "schema": schema} for name in ("v1", "v2")
    ]
    await registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", {
        "metadata": {"name": "toys.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "toys", "kind": "Toy"}, "versions": versions},
    })  # fmt: skip
    for version in ("v1", "v2"):
        toy = {
            "apiVersion": f"example.com/{version}",
            "kind": "Toy",
            "metadata": {"name": "a"},
            version: True,
        }
        method = client.post("/apis/example.com/v1/toys", json=toy) if version == "v1" else client.patch(
            "/apis/example.com/v2/toys/a", json={version: True}, headers=MERGE)  # fmt: skip
        assert (await method).status < 300
    toy = await (await client.get("/apis/example.com/v1/toys/a")).json()
    assert [it["apiVersion"] for it in toy["metadata"]["managedFields"]] == [
        "example.com/v1",
        "example.com/v2",
    ]


@PART
async def test_a_status_is_owned_by_who_applies_the_status(client: Client) -> None:
    made = await apply(client, f"{APPS}/a", {**deployment(), "status": {"replicas": 9}})
    assert "f:status" not in fields(made, "me")
    assert "status" not in made or "replicas" not in made["status"]
    made = await apply(client, f"{APPS}/a/status", {**deployment(7), "status": {"replicas": 5}}, manager="it")
    assert made["status"]["replicas"] == 5
    assert made["spec"]["replicas"] == 1
    assert owners(made) == [("me", "Apply", ""), ("it", "Apply", "status")]
    assert fields(made, "it") == {"f:status": {"f:replicas": {}}}
    await apply(client, f"{APPS}/nobody/status", {**deployment(), "metadata": {"name": "nobody"}}, code=404)


@PART
async def test_options_are_checked(client: Client) -> None:
    await client.post(MAPS, json=config_map())
    for query, form, said in (
        ({}, APPLY, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'),
        ({"fieldManager": "x" * 129}, MERGE, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes'),
        ({"fieldManager": "a\nb"}, MERGE, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\\nb": should only contain printable characters'),
        ({"force": "true"}, MERGE, 'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'),
    ):  # fmt: skip
        answer = await client.patch(
            f"{MAPS}/a", json={**config_map(), "data": {"a": "b"}}, params=query, headers=form
        )
        assert (answer.status, (await answer.json())["message"]) == (422, said)
    long = await client.patch(
        f"{MAPS}/a", json={"data": {"a": "b"}}, headers={**MERGE, "User-Agent": "y" * 500 + "/1"}
    )
    assert owners(await long.json())[-1][0] == "y" * 128


@PART
async def test_many_writers_share_an_entry(client: Client) -> None:
    await apply(client, f"{MAPS}/a", config_map(key="v"))
    for n in range(30):
        await client.patch(
            f"{MAPS}/a", json={"data": {f"k{n}": "v"}}, headers=MERGE, params={"fieldManager": f"m{n}"}
        )
    made = await (await client.get(f"{MAPS}/a")).json()
    names = [name for name, *_ in owners(made)]
    assert names == ["me", "ancient-changes", *(f"m{n}" for n in range(21, 30))]
    assert set(fields(made, "ancient-changes")["f:data"]) == {f"f:k{n}" for n in range(21)}


async def test_ten_thousand_conflicts_make_no_long_answer(client: Client) -> None:
    await apply(client, f"{MAPS}/a", config_map(**{f"k{n}": "v" for n in range(10_000)}))
    wanted = config_map(**{f"k{n}": "w" for n in range(10_000)})
    said = await apply(client, f"{MAPS}/a", wanted, manager="other", code=409)
    assert said["message"].startswith('Apply failed with 10000 conflicts: conflicts with "me":\n- .data.k0\n')
    assert said["message"].endswith("\n- and 9000 more")
    assert len(said["details"]["causes"]) == 1000


# --- kubectl, which goes from one sort of apply to the other ------------------------------------------------


@pytest.mark.finding("issue 7 part 6")
@pytest.mark.finding("skiff 9")
async def test_kubectl_goes_to_server_side_apply_and_back(kubectl: Any, client: Client) -> None:
    async def held() -> Any:
        return (await (await client.get(f"{MAPS}/a")).json())["data"]

    await kubectl("apply", "-f", "-", stdin=config_map(key="value", legacy="unused"))
    assert "serverside-applied" in await kubectl(
        "apply", "--server-side", "-f", "-", stdin=config_map(key="value", legacy="unused")
    )
    await kubectl("apply", "--server-side", "-f", "-", stdin=config_map(key="value", ssa="new"))
    assert await held() == {"key": "value", "ssa": "new"}
    obj = await (await client.get(f"{MAPS}/a")).json()
    assert json.loads(obj["metadata"]["annotations"][ANNOTATION])["data"] == {"key": "value", "ssa": "new"}
    await kubectl("apply", "-f", "-", stdin=config_map(key="value", csa="newest"))
    assert await held() == {"key": "value", "csa": "newest"}


@pytest.mark.finding("issue 7 part 6")
async def test_kubectl_takes_over_what_it_applied_itself_and_nothing_else(
    kubectl: Any, client: Client
) -> None:
    await kubectl("apply", "-f", "-", stdin=deployment(1, "i:1"))
    # diff asks with a dry run that must not conflict with kubectl's own earlier apply.
    said = await kubectl("diff", "--server-side", "-f", "-", stdin=deployment(1, "i:2"), code=1)
    assert "image: i:2" in said
    said = await kubectl(
        "apply", "--server-side", "--field-manager=not-kubectl", "-f", "-", stdin=deployment(1, "i:2"), code=1
    )
    assert (
        'conflict with "kubectl-client-side-apply" using apps/v1: .spec.template.spec.containers[name="c"].image'
        in said
    )
    await kubectl("apply", "--server-side", "-f", "-", stdin=deployment(1, "i:2"))
    await kubectl("set", "image", "deployment/a", "c=i:3")
    said = await kubectl("apply", "--server-side", "-f", "-", stdin=deployment(1, "i:2"), code=1)
    assert 'conflict with "kubectl-set" using apps/v1' in said
