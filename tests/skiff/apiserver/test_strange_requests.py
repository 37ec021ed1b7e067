"""Whatever a client sends, the answer is never a 500: random parts in real objects, patches, queries, paths and headers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yarl
from hostile import APPLY, CUSTOM, JSON_PATCH, MERGE, NS, STRATEGIC, definition, thing
from served import Served

from skiff.kinds import (
    BUILT_IN,
    CLUSTER_ROLES,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    TOKEN_REVIEWS,
    Kind,
)
from skiff.schema.node import SchemaNode

pytestmark = pytest.mark.finding("issue 7 part 3")

_CONTAINER = {
    "name": "c", "image": "i", "env": [{"name": "a", "value": "b"}], "ports": [{"containerPort": 80}],
    "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": 80}},
}  # fmt: skip
_TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [_CONTAINER], "volumes": [{"name": "v"}]},
}
_MANAGED = {
    "manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2020-01-01T00:00:00Z", "fieldsType": "FieldsV1",
    "fieldsV1": {"f:data": {"f:a": {}}},
}  # fmt: skip
_APPS, _RBAC = "/apis/apps/v1/namespaces/default", "/apis/rbac.authorization.k8s.io/v1"
SEEDS: list[tuple[str, dict[str, Any]]] = [
    (f"{NS}/configmaps", {"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}, "managedFields": [_MANAGED]}, "data": {"a": "b"}}),
    (f"{NS}/pods", {"kind": "Pod", "metadata": {"name": "x"}, "spec": _TEMPLATE["spec"]}),
    (f"{NS}/services", {"kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"port": 80, "targetPort": "x"}]}}),
    (f"{NS}/events", {"kind": "Event", "metadata": {"name": "x"}, "involvedObject": {"kind": "Pod"}, "firstTimestamp": "2020-01-01T00:00:00Z"}),
    (f"{_APPS}/deployments", {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}}),
    (f"{_RBAC}/clusterroles", {"kind": "ClusterRole", "metadata": {"name": "x"}, "rules": [{"apiGroups": [""], "verbs": ["get"], "resources": ["pods"]}]}),
    (CUSTOM, {**thing(any={"a": 1}, set=["a"], map=[{"k": "a"}]), "metadata": {"name": "x"}}),
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition("other")),
]  # fmt: skip
_WORDS = [
    "", "a", "metadata", "name", "spec", "labels", "managedFields", "$patch", "$retainKeys", "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers", "containers", "finalizers", "/data/a", "-", "/spec/containers/0", "k:{bad",
    'k:{"name":"a"}', "fieldsV1", "\x00", 'é\n"', "status", "deletionTimestamp", "0", "2020-13-01T00:00:00Z",
]  # fmt: skip
_QUERIES = [
    "dryRun", "fieldValidation", "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "gracePeriodSeconds",
    "force", "fieldManager", "watch", "sendInitialEvents", "tailLines", "container", "sinceTime", "propagationPolicy",
]  # fmt: skip
_VALUES = [
    "", "x", "%00", "%ff", "-1", "0", "1", "9" * 20, "9" * 5000, "%D9%A3", "%C2%B2", "a=b", "a%20in%20(b", "a..b=c", "W10=", "WzFd",
    "WyIxIiwyLDNd", "true", "a%0d%0ab", "1e5", "All", "Strict", "Warn",
]  # fmt: skip


class Chance:
    """What is sent, by chance: the same for the same number."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)

    def value(self, depth: int = 3) -> Any:
        """Any JSON."""
        sort = self.random.randrange(10)
        if sort < 3:
            return self.random.choice([None, 0, -1, 1.5, 2**31, 2**63, 2**70, 1e300, True])
        if sort < 5 or not depth:
            return self.random.choice(_WORDS)
        if sort < 7:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        return {self.random.choice(_WORDS): self.value(depth - 1) for _ in range(self.random.randrange(5))}

    def near(self, real: Any) -> Any:
        """A real object of which some parts are others."""
        made: Any = json.loads(json.dumps(real))
        for _ in range(self.random.randrange(1, 4)):
            at: Any = made
            for _ in range(self.random.randrange(7)):
                inside = [
                    it
                    for it in (at.values() if isinstance(at, dict) else at)
                    if isinstance(it, dict | list) and it
                ]
                at = self.random.choice(inside) if inside else at
            place = (
                self.random.choice([*at, *_WORDS]) if isinstance(at, dict) else self.random.randrange(len(at))
            )
            at[place] = self.value()
        return made

    def patch(self) -> list[Any]:
        """A JSON patch."""
        paths = [
            "",
            "/",
            "/data/a",
            "/metadata",
            "/metadata/labels/a",
            "/spec/containers/0",
            "/spec/containers/-",
            "/spec/x/²",
            1,
            None,
        ]
        operations = ["add", "remove", "replace", "move", "copy", "test", "x", None]
        choose = self.random.choice
        return [
            {"op": choose(operations), "path": choose(paths), "from": choose(paths), "value": self.value()}
            for _ in range(self.random.randrange(4))
        ]

    def request(self) -> tuple[str, str, str, Any]:
        """(method, path with query, content type, content)."""
        choose, (collection, real) = self.random.choice, self.random.choice(SEEDS)
        one = f"{collection}/{real['metadata']['name']}"
        query = "&".join(
            f"{it}={choose(_VALUES)}" for it in self.random.sample(_QUERIES, self.random.randrange(4))
        )
        sub = choose(
            ["status", "scale", "eviction", "binding", "log", "exec", "portforward", "token", "x", "%00", ""]
        )
        content = self.near(real) if self.random.random() < 0.7 else self.value()
        usual = "application/json"
        match self.random.randrange(8):
            case 0:
                return "POST", f"{collection}?{query}", usual, content
            case 1:
                return "PUT", f"{one}?{query}", usual, content
            case 2:
                options = choose(
                    [
                        None,
                        self.value(),
                        {choose(["gracePeriodSeconds", "preconditions", "dryRun"]): self.value()},
                    ]
                )
                return "DELETE", f"{one}?{query}", usual, options
            case 3:
                return "GET", f"{choose([collection, one])}?{query}&timeoutSeconds=1", usual, None
            case 4:
                return (
                    choose(["GET", "PUT", "POST", "PATCH"]),
                    f"{one}/{sub}?{query}",
                    choose([usual, MERGE]),
                    content,
                )
            case 5:
                return "PATCH", f"{one}?{query}", JSON_PATCH, self.patch()
            case _:
                return "PATCH", f"{one}?{query}&fieldManager=m", choose([MERGE, STRATEGIC, APPLY]), content


async def _sent(it: Served, method: str, path: str, form: str, content: Any) -> tuple[int, str]:
    url = yarl.URL(str(it.client.make_url("/")).rstrip("/") + path, encoded=True)
    said = {"Authorization": f"Bearer {it.root}", "Content-Type": form}
    data = None if content is None else json.dumps(content).encode()
    async with it.client.session.request(method, url, data=data, headers=said) as answer:
        if "watch=" in path and answer.status == 200:
            return 200, ""  # it would go on for a second
        return answer.status, (await answer.read()).decode(errors="replace")


async def _tried(folder: Any, number: int, times: int) -> dict[int, int]:
    chance, codes = Chance(number), dict[int, int]()
    async with Served(folder) as it:
        await it.registry.create(CUSTOM_RESOURCE_DEFINITIONS, "", definition("thing"))
        for n in range(times):
            if n % 100 == 0:  # what was deleted is there again
                for collection, real in SEEDS:
                    await _sent(it, "POST", collection, "application/json", real)
            request = chance.request()
            code, said = await _sent(it, *request)
            assert code < 500, (*request, said)
            codes[code] = codes.get(code, 0) + 1
    return codes


async def test_strange_requests_get_a_4xx(tmp_path_factory: pytest.TempPathFactory) -> None:
    codes = await _tried(tmp_path_factory.getbasetemp(), 1, 600)
    assert {200, 400, 404, 422} <= codes.keys()  # it is not the same refusal each time


@pytest.mark.soak
@pytest.mark.parametrize("number", range(2, 12))
async def test_many_strange_requests_get_a_4xx(tmp_path_factory: pytest.TempPathFactory, number: int) -> None:
    await _tried(tmp_path_factory.getbasetemp(), number, 10_000)


def _full(node: SchemaNode, depth: int, above: tuple[str, ...] = ()) -> Any:
    """A value with every field that a schema has."""
    scalars: dict[str, Any] = {"string": "a", "integer": 1, "number": 1.5, "boolean": True}
    if node.int_or_string or node.format == "quantity":
        return "1"
    if node.format == "date-time":
        return "2020-01-01T00:00:00Z"
    if node.type == "array":
        return [_full(node.items, depth, above)] if node.items and depth else []
    if node.properties and depth and above.count(node.ref) < 1:
        return {name: _full(it, depth - 1, (*above, node.ref)) for name, it in node.properties.items()}
    return scalars.get(node.type, {})


def _broken(value: Any) -> list[Any]:
    """The value again and again, each time with null at one more place, or without what was there."""
    made: list[Any] = []
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        made += [_with(value, key, None), *(_with(value, key, it) for it in _broken(value[key]))]
        if isinstance(value, dict):
            made.append({name: it for name, it in value.items() if name != key})
    return made


def _with(value: Any, key: Any, inside: Any) -> Any:
    if isinstance(value, dict):
        return {**value, key: inside}
    return [inside if n == key else it for n, it in enumerate(value)]


async def _nulls(folder: Any, depth: int, kinds: list[Kind]) -> None:
    async with Served(folder) as it:
        for kind in kinds:
            base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
            path = f"{base}/namespaces/default/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
            full = _full(it.registry.schema(kind), depth) | {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
            }
            full["metadata"] = {
                "name": "x",
                "labels": {"a": "b"},
                "finalizers": ["a/b"],
                "ownerReferences": [{"uid": "u"}],
            }
            for obj in _broken(full):
                code, said = await it.ask("POST", f"{path}?dryRun=All", obj)
                assert code < 500, (kind.kind, obj, said)


async def test_null_may_be_anywhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In kinds that have defaults and rules of their own; ``soak`` tries all, and deeper."""
    kinds = [PODS, DEPLOYMENTS, SERVICES, CUSTOM_RESOURCE_DEFINITIONS, TOKEN_REVIEWS, CLUSTER_ROLES]
    await _nulls(tmp_path_factory.getbasetemp(), 2, kinds)


@pytest.mark.soak
@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda it: it.kind)
async def test_null_may_be_deep_inside(tmp_path_factory: pytest.TempPathFactory, kind: Kind) -> None:
    await _nulls(tmp_path_factory.getbasetemp(), 5, [kind])
