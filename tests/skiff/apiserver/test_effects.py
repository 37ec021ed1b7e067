"""Does every field act, or is the user told? A walk over the schemas of all kinds that make something happen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plane import Plane, template

import skiff
from skiff import kinds
from skiff.apiserver import effects
from skiff.apiserver.context import WARNINGS
from skiff.apiserver.no_effect import BY_PLACE, TABLE
from skiff.schema.node import SchemaNode
from skiff.schema.pack import Schemas, load

pytestmark = [pytest.mark.finding("issue 7 part 5"), pytest.mark.finding("skiff 3")]

_ROOT = Path(skiff.__file__).parent
_DOCS = Path(__file__).parents[3] / "docs" / "skiff.md"
#: Kinds that make something happen beside being stored.
_KINDS = (
    kinds.PODS, kinds.DEPLOYMENTS, kinds.REPLICA_SETS, kinds.STATEFUL_SETS, kinds.DAEMON_SETS, kinds.JOBS, kinds.CRON_JOBS,
    kinds.REPLICATION_CONTROLLERS, kinds.SERVICES, kinds.POD_DISRUPTION_BUDGETS, kinds.PERSISTENT_VOLUME_CLAIMS,
    kinds.PERSISTENT_VOLUMES, kinds.STORAGE_CLASSES, kinds.SERVICE_ACCOUNTS, kinds.INGRESSES, kinds.INGRESS_CLASSES,
    kinds.NETWORK_POLICIES, kinds.HORIZONTAL_POD_AUTOSCALERS, kinds.PRIORITY_CLASSES,
)  # fmt: skip
_ENVELOPE = {"apiVersion", "kind", "metadata", "status"}


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    return Schemas(load(tmp_path_factory.mktemp("schemas") / "schemas.json.gz"))


def acting() -> dict[str, set[str]]:
    lines = (Path(__file__).parent / "acting_fields.txt").read_text().splitlines()
    words = (line.split() for line in lines if not line.startswith("#"))
    return {name: set(fields) for name, *fields in words}


def fields(schemas: Schemas) -> dict[str, set[str]]:
    """Definition -> fields, of all that is reached without passing a field that the table names."""
    met: dict[str, set[str]] = {}

    def walk(node: SchemaNode, *, top: bool = False) -> None:
        name = effects.definition(node)
        if node.ref and ("apimachinery" in node.ref or (name in met and node.ref.endswith(f".{name}"))):
            return
        apart = _ENVELOPE if top or {"metadata", "spec", "kind"} <= set(node.properties) else {"metadata"}
        if node.ref:
            met.setdefault(name, set()).update(set(node.properties) - apart)
        for field, child in node.properties.items():
            if field not in apart and f"{name}.{field}" not in BY_PLACE:
                walk(child)
        for child in filter(None, (node.items, node.additional)):
            walk(child)

    for kind in _KINDS:
        if kind.kind not in BY_PLACE:
            walk(schemas.for_kind(kind), top=True)
    return met


def test_every_field_acts_or_is_told(schemas: Schemas) -> None:
    acts, met = acting(), fields(schemas)
    unknown, twice = [], []
    for name, found in met.items():
        known = {it.removeprefix("~") for it in acts.get(name, ())}
        for field in sorted(found):
            told = f"{name}.{field}" in BY_PLACE
            if not told and field not in known:
                unknown.append(f"{name}.{field}")
            if told and field in known:
                twice.append(f"{name}.{field}")
    assert not unknown, "neither acts nor is told"
    assert not twice, "acts and is told not to"
    stale = [
        f"{name}.{it}"
        for name, listed in acts.items()
        for it in listed
        if it.removeprefix("~") not in met.get(name, ())
    ]
    assert not stale, "there is no such field"
    every = {it.kind for it in _KINDS} | {
        f"{name}.{field}" for name, listed in met.items() for field in listed
    }
    assert {it.where.partition("[")[0] for it in TABLE} <= every, "the table names what is not there"


def test_what_acts_is_read_somewhere() -> None:
    """A field that no line names cannot act. Defaults, checks and what kubectl shows are no acts."""
    apart = ("no_effect.py", "builtin.py", "columns.py", "rules.py")
    sources = (
        it.read_text()
        for it in _ROOT.rglob("*.py")
        if it.name not in apart and not it.name.endswith("cells.py")
    )
    text = "\n".join(sources)
    named = set(re.findall(r"""["'](\w+)["']""", text)) | set(re.findall(r"""\.(\w+)["']""", text))
    silent = [
        f"{name}.{it}"
        for name, listed in acting().items()
        for it in listed
        if not it.startswith("~") and it not in named
    ]
    assert not silent


def test_the_page_lists_the_table() -> None:
    text = _DOCS.read_text()
    section = text.partition("\n## What has no effect\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(it.where, it.said) for it in TABLE], "run tools/effects.py"


def told(schemas: Schemas, kind: kinds.Kind, new: Any, old: Any = None) -> list[str]:
    mark = WARNINGS.set(found := [])
    try:
        effects.tell(kind, new, old, schemas.for_kind(kind))
    finally:
        WARNINGS.reset(mark)
    return found


def test_warnings_say_where_and_what_and_are_few(schemas: Schemas) -> None:
    spec: dict[str, Any] = template("a")["spec"]
    assert told(schemas, kinds.PODS, {"spec": spec}) == []
    profile = {"seccompProfile": {"type": "RuntimeDefault"}, "procMount": "Unmasked"}
    spec["containers"] = [{"name": str(it), "securityContext": profile} for it in range(3)]
    one = told(schemas, kinds.DEPLOYMENTS, {"spec": {"template": {"spec": spec}}})
    place = "spec.template.spec.containers[0].securityContext.procMount"
    assert one == [f"skiff: {place} (and 2 more) has no effect: /proc is the usual one"]
    spec |= {
        "resourceClaims": [{"name": "x"}],
        "hostIPC": True,
        "hostUsers": False,
        "runtimeClassName": "x",
        "setHostnameAsFQDN": True,
        "os": {"name": "linux"},
    }
    many = told(schemas, kinds.PODS, {"spec": spec})
    assert len(many) == 5
    assert many[-1] == "skiff: 2 more fields have no effect; docs/skiff.md lists what has none"
    assert told(schemas, kinds.PODS, {"spec": spec}, {"spec": spec}) == []
    more = told(schemas, kinds.PODS, {"spec": {**spec, "hostnameOverride": "x"}}, {"spec": spec})
    assert more == ["skiff: spec.hostnameOverride has no effect: the hostname is that of the pod"]


def test_some_act_by_what_is_beside_them_or_by_one_key(schemas: Schemas) -> None:
    def pod(volume: Any, resources: Any) -> Any:
        container = {"name": "c", "image": "i", "resources": resources}
        return {"spec": {"containers": [container], "volumes": [{"name": "v", "emptyDir": volume}]}}

    size = {"sizeLimit": "1Gi"}
    assert told(schemas, kinds.PODS, pod({**size, "medium": "Memory"}, {"limits": {"cpu": "1"}})) == []
    disk = "has no effect: nobody measures how much of the disk a pod takes"
    assert told(schemas, kinds.PODS, pod(size, {"limits": {"cpu": "1", "ephemeral-storage": "1Gi"}})) == [
        f"skiff: spec.containers[0].resources.limits[ephemeral-storage] {disk}",
        f"skiff: spec.volumes[0].emptyDir.sizeLimit {disk}; with medium Memory it acts",
    ]


def values(node: SchemaNode, depth: int = 0) -> Iterator[Any]:
    yield from (None, {}, [], "", 0, False, "x", 10**30, [None], [[]], {"x": None}, [{"x": [None]}])
    if depth < 2:
        for name, child in node.properties.items():
            for it in values(child, depth + 1):
                yield {name: it}


def test_nothing_odd_stops_it(schemas: Schemas) -> None:
    for kind in (kinds.PODS, kinds.SERVICES, kinds.STORAGE_CLASSES):
        for it in values(schemas.for_kind(kind)):
            if isinstance(it, dict):
                told(schemas, kind, it, it)


async def test_who_writes_hears_it_and_the_daemon_does_not(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        nothing = {
            "metadata": {"name": "front"},
            "spec": {"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}},
        }
        said = await it.warnings(kinds.INGRESSES, nothing)
        assert said == [f"skiff: Ingress {BY_PLACE['Ingress'].said}"]
        outside = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["10.96.0.1"]}}
        assert "takes what all pods of the cluster send" in (await it.warnings(kinds.SERVICES, outside))[0]
        await it.make(kinds.INGRESSES, "front", spec=nothing["spec"])  # inside, there is nobody to tell
