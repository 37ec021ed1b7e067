"""What the API tells about itself: discovery, health, OpenAPI v2, metrics; kinds that are worked out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.http import application
from skiff.apiserver.registry import Registry
from skiff.kinds import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from skiff.schema import pack
from skiff.store.store import Store

Client = TestClient[Any, Any]
ROOT = "/api/v1/namespaces/default"


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> pack.Definitions:
    return pack.load(tmp_path_factory.mktemp("pack") / "schemas.json.gz")


@pytest.fixture
async def registry(definitions: pack.Definitions) -> AsyncIterator[Registry]:
    it = Registry(Store(), schemas=pack.Schemas(definitions))
    CustomKinds(it)
    await it.create(NAMESPACES, "", {"metadata": {"name": "default"}})
    yield it
    it.store.close()


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(registry))) as it:
        yield it


def definition(*versions: dict[str, Any], scope: str = "Namespaced") -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": "toys.example.com"},
        "spec": {
            "group": "example.com", "scope": scope, "names": {"plural": "toys", "kind": "Toy", "categories": ["all", "fun"]},
            "versions": [{"served": True, "storage": not n, "schema": schema, **it} for n, it in enumerate(versions)],
        },
    }  # fmt: skip


# --- discovery -----------------------------------------------------------------------------------------


@pytest.mark.finding("skiff 10")
async def test_discovery_is_written_as_scripts_search_it(client: Client) -> None:
    text = await (await client.get("/api/v1")).text()
    pods = text[text.index('"name":"pods"') :].partition("}")[0]
    assert '"categories":["all"]' in pods
    maps = '{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create",'
    assert (
        f'{maps}"delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cm"],"storageVersionHash":'
        in text
    )
    listed = {it["name"]: it for it in json.loads(text)["resources"]}
    assert listed["pods/proxy"]["kind"] == "PodProxyOptions"
    assert listed["componentstatuses"]["verbs"] == ["get", "list"]
    assert listed["podtemplates"]["storageVersionHash"] == "LIXB2x4IFpk="  # as real clusters tell it


@pytest.mark.finding("skiff 10")
async def test_categories_of_definitions(client: Client, registry: Registry) -> None:
    await registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", definition({"name": "v1"}))
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    groups = (await (await client.get("/apis", headers=accept)).json())["items"]
    resources = {r["resource"]: r for g in groups for v in g["versions"] for r in v["resources"]}
    assert resources["toys"]["categories"] == ["all", "fun"]
    assert resources["customresourcedefinitions"]["categories"] == ["api-extensions"]


@pytest.mark.finding("skiff 10")
async def test_deprecated_versions_warn(client: Client, registry: Registry) -> None:
    old = {"name": "v1beta1", "deprecated": True}
    older = {"name": "v1alpha1", "deprecated": True, "deprecationWarning": 'toys are "old"'}
    await registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", definition({"name": "v1"}, old, older))

    async def warnings(path: str) -> list[str]:
        return (await client.get(path)).headers.getall("Warning", [])

    assert await warnings("/apis/example.com/v1/toys") == []
    assert await warnings("/apis/example.com/v1beta1/toys") == [
        '299 - "example.com/v1beta1 Toy is deprecated"'
    ]
    assert await warnings("/apis/example.com/v1alpha1/toys") == ['299 - "toys are \\"old\\""']
    assert await warnings(f"{ROOT}/endpoints") == [
        '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    ]
    async with client.get("/apis/example.com/v1beta1/toys?watch=true&timeoutSeconds=1") as watched:
        assert watched.headers.getall("Warning", []) == ['299 - "example.com/v1beta1 Toy is deprecated"']


# --- health, OpenAPI, metrics --------------------------------------------------------------------------


@pytest.mark.finding("skiff 8")
async def test_health_lists_its_checks(client: Client, registry: Registry) -> None:
    async def said(path: str) -> tuple[int, str]:
        answer = await client.get(path)
        return answer.status, await answer.text()

    assert await said("/readyz") == (200, "ok")
    assert await said("/readyz?verbose") == (200, "[+]ping ok\n[+]etcd ok\nreadyz check passed\n")
    assert await said("/livez/ping?verbose=1") == (200, "[+]ping ok\nlivez check passed\n")
    assert (await said("/readyz/nothing"))[0] == 404
    registry.store.trouble = "disk full"
    wrong = "[+]ping ok\n[-]etcd failed: the database cannot be written: disk full\nreadyz check failed\n"
    assert await said("/readyz") == (500, wrong)
    assert await said("/readyz/etcd") == (500, wrong.partition("\n")[2])
    assert await said("/readyz?exclude=etcd") == (200, "ok")
    assert await said("/livez") == (200, "ok")  # what is in memory is served
    component = await (await client.get("/api/v1/componentstatuses/etcd-0")).json()
    assert component["conditions"] == [{"type": "Healthy", "status": "False", "message": "disk full"}]


@pytest.mark.finding("skiff 8")
async def test_openapi_v2_describes_everything(client: Client, registry: Registry) -> None:
    await registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", definition({"name": "v1"}))
    text = await (await client.get("/openapi/v2")).text()
    found = json.loads(text)
    for words in ("list of returned", "List of services", "Watch for changes to the described resources"):
        assert words in text
    assert found["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]["x-kubernetes-group-version-kind"] == {
        "group": "", "version": "v1", "kind": "Pod",
    }  # fmt: skip
    assert "/apis/example.com/v1/namespaces/{namespace}/toys" in found["paths"]
    meant = set(_references(found))
    assert {"io.k8s.api.core.v1.Pod", "com.example.v1.Toy"} <= meant <= found["definitions"].keys()
    assert "#/components" not in text


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for it in value for name in _references(it)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"].removeprefix("#/definitions/")] if isinstance(value.get("$ref"), str) else []
    return own + [name for it in value.values() for name in _references(it)]


@pytest.mark.finding("skiff 8")
async def test_metrics_count_what_happens(client: Client, registry: Registry) -> None:
    for n in range(3):
        body = {"metadata": {"name": f"m{n}"}}
        assert (await client.post(f"{ROOT}/configmaps", json=body)).status == 201
    await client.get(f"{ROOT}/configmaps/nobody")
    await client.get("/apis/nobody.example.com/v1/things")
    async with client.get("/api/v1/configmaps?watch=true"):
        page = await client.get("/metrics")
    assert page.headers["Content-Type"].startswith("text/plain")
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(await page.text()):
        for it in family.samples:
            found[
                it.name,
                it.labels.get("verb", ""),
                it.labels.get("resource", ""),
                it.labels.get("code", it.labels.get("le", "")),
            ] = it.value
    assert found["apiserver_request_total", "POST", "configmaps", "201"] == 3
    assert found["apiserver_request_total", "GET", "configmaps", "404"] == 1
    assert found["apiserver_request_duration_seconds_bucket", "POST", "configmaps", "+Inf"] == 3
    assert found["apiserver_request_duration_seconds_count", "POST", "configmaps", ""] == 3
    assert found["apiserver_longrunning_requests", "WATCH", "configmaps", ""] == 1
    assert found["apiserver_registered_watchers", "", "", ""] == 1
    assert found["apiserver_storage_objects", "", "configmaps", ""] == 3
    assert found["process_resident_memory_bytes", "", "", ""] > 0
    assert not any("nobody.example.com" in str(key) for key in found), "strangers must not add series"


async def test_metrics_stay_small_whatever_is_asked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skiff.apiserver.counts.MOST", 3)
    for plural in ("configmaps", "secrets", "pods", "services", "endpoints", "events"):
        await client.get(f"{ROOT}/{plural}")
    text = await (await client.get("/metrics")).text()
    assert 'resource="other"' in text
    assert 'resource="events"' not in text.partition("apiserver_storage_objects")[0]


# --- small rules of writing ----------------------------------------------------------------------------


@pytest.mark.finding("skiff 9")
async def test_a_revision_of_zero_means_any(client: Client) -> None:
    await client.post(f"{ROOT}/configmaps", json={"metadata": {"name": "a"}})
    wanted = {"metadata": {"name": "a", "resourceVersion": "0"}, "data": {"k": "v"}}
    answer = await client.put(f"{ROOT}/configmaps/a", json=wanted)
    assert answer.status == 200
    assert (await answer.json())["data"] == {"k": "v"}
    stale = {"metadata": {"name": "a", "resourceVersion": "1"}}
    assert (await client.put(f"{ROOT}/configmaps/a", json=stale)).status == 409


async def test_an_old_cache_of_schemas_is_made_again(tmp_path: Path) -> None:
    cache = tmp_path / "schemas.json.gz"
    pack.load(cache)
    import gzip

    found = json.loads(gzip.decompress(cache.read_bytes()))
    found["skiff"]["kinds"] = "v1/Pod"  # of a skiff that served nothing else
    del found["io.k8s.api.core.v1.PodTemplate"]
    cache.write_bytes(gzip.compress(json.dumps(found).encode(), 1))
    assert "io.k8s.api.core.v1.PodTemplate" in pack.load(cache)


@pytest.mark.finding("skiff 9")
@pytest.mark.parametrize(
    ("patch", "said"),
    [({"metadata": {"labels": "invalid"}}, "cannot restore map from string"),
     ({"metadata": 5}, "cannot restore struct from: int64"),
     ({"spec": {"containers": {"a": 1}}}, "cannot restore slice from map"),
     ({"spec": {"replicas": "2"}}, ""), ({"spec": {"hostNetwork": "yes"}}, "cannot convert string to bool")],
)  # fmt: skip
async def test_a_strategic_patch_of_wrong_types_is_refused_as_in_kubernetes(
    client: Client, patch: Any, said: str
) -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert (await client.post(f"{ROOT}/pods", json=pod)).status == 201
    form = {"Content-Type": "application/strategic-merge-patch+json"}
    answer = await client.patch(f"{ROOT}/pods/a", json=patch, headers=form)
    found = await answer.json()
    if said:
        assert answer.status == 422
        assert found["message"].endswith(said)
    else:
        assert answer.status == 200  # no such field: nothing to restore


@pytest.mark.finding("skiff 10")
async def test_a_definition_may_come_back_in_another_scope(client: Client, registry: Registry) -> None:
    toy = {"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {"name": "a"}}
    for scope, path in (
        ("Cluster", "/apis/example.com/v1/toys"),
        ("Namespaced", "/apis/example.com/v1/namespaces/default/toys"),
    ):
        await registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", definition({"name": "v1"}, scope=scope))
        assert (await client.post(path, json=toy)).status == 201
        await registry.delete(CUSTOM_RESOURCE_DEFINITIONS, "", "toys.example.com")
        assert (await client.post(path, json=toy)).status == 404


#: Subresources, which have no path of their own; policies of admission have a page of their own.
_NO_KINDS = {"Binding", "TokenRequest", "Scale", "Eviction", "DeleteOptions", "WatchEvent", "Event", "Status"}


@pytest.mark.finding("skiff 8")
def test_the_page_names_every_kind_that_is_not_served() -> None:
    page = (Path(__file__).parents[3] / "docs" / "skiff.md").read_text()
    said = page.partition('"no matches for kind":\n')[2].partition(", and all kinds")[0]
    served = {(it.group, it.kind) for it in BUILT_IN}
    absent = set()
    for name, it in pack._package_definitions().items():
        for each in it.get("x-kubernetes-group-version-kind", ()):
            group, kind = each["group"], each["kind"]
            stable = (
                name.startswith("io.k8s.")
                and "alpha" not in each["version"]
                and "beta" not in each["version"]
            )
            if stable and not kind.endswith("List") and group != "admissionregistration.k8s.io" and kind not in _NO_KINDS and (
                (group, kind) not in served and "metadata" in it.get("properties", {})
            ):  # fmt: skip
                absent.add(kind)
    assert set(said.split(", ")) == absent
