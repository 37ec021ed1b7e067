"""What did users write? Every followed kind of Kubernetes becomes changes of facts; what is broken is left out and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog
import yaml

from lateen.api import mesh_config
from lateen.api.decode import decode
from lateen.api.meta import Fact
from lateen.incremental import Change
from lateen.kube.client import KubeClient, Object
from lateen.kube.watch import follow
from lateen.names.keys import ObjectKey
from lateen.names.problems import Problem
from lateen.observe import metrics
from lateen.registry.facts import ONLY

_log = structlog.get_logger("lateen.discovery")

#: (apiVersion, plural) of what views are made of.
FOLLOWED = (
    ("v1", "namespaces"), ("v1", "services"), ("v1", "pods"), ("discovery.k8s.io/v1", "endpointslices"),
    ("networking.istio.io/v1", "virtualservices"), ("networking.istio.io/v1", "destinationrules"),
    ("networking.istio.io/v1", "gateways"), ("security.istio.io/v1", "peerauthentications"),
)  # fmt: skip

Put = Callable[[Iterable[Change]], None]
OnList = Callable[[list[Object]], None]
OnEvent = Callable[[str, Object], None]


class Table:
    """One kind: what we hold of it, and what is wrong with the rest."""

    def __init__(self, plural: str, put: Put, problems: dict[tuple[str, ObjectKey], Problem]) -> None:
        self._plural, self._put, self._problems = plural, put, problems
        self._held: dict[ObjectKey, type] = {}
        self.listed = asyncio.Event()

    def on_list(self, objects: list[Object]) -> None:
        """Everything there is; what we hold beyond it is gone."""
        present = {_key(it) for it in objects}
        gone = [Change(self._held.pop(key), key, None) for key in list(self._held) if key not in present]
        self._put([*gone, *(change for it in objects if (change := self._change(it)))])
        self.listed.set()

    def on_event(self, kind: str, obj: Object) -> None:
        """One change."""
        metrics.KUBERNETES_EVENTS.labels(self._plural, kind.lower()).inc()
        key = _key(obj)
        if kind == "DELETED":
            self._problems.pop((self._plural, key), None)
            if table := self._held.pop(key, None):
                self._put([Change(table, key, None)])
        elif change := self._change(obj):
            self._put([change])

    def _change(self, obj: Object) -> Change | None:
        key = _key(obj)
        found = decode(obj)
        if isinstance(found, Problem):
            # What was good before stays in force: a typo takes nothing down.
            self._problems[self._plural, key] = found
            _log.warning("an object is left out until it is mended", problem=str(found))
        else:
            self._problems.pop((self._plural, key), None)
            self._held[key] = type(found)
        metrics.PROBLEMS.labels(self._plural).set(sum(plural == self._plural for plural, _ in self._problems))
        return Change(type(found), key, found) if isinstance(found, Fact) else None


class Source:
    """All followed kinds, and the mesh's settings."""

    def __init__(self, client: KubeClient, put: Put, *, namespace: str, config_map: str) -> None:
        self._client, self._put = client, put
        self._namespace, self._config_map = namespace, config_map
        self.problems: dict[tuple[str, ObjectKey], Problem] = {}
        self._tables = {kind: Table(kind[1], put, self.problems) for kind in FOLLOWED}
        self._configured = asyncio.Event()
        #: The data of all ConfigMaps of the mesh's namespace, for those who read settings of their own.
        self.config_maps: dict[str, Mapping[str, str]] = {}
        self.namespace_labels: dict[str, dict[str, str]] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for (api_version, plural), table in self._tables.items():
                ears = self._ears(plural, table)
                tasks.create_task(
                    follow(self._client, api_version, plural, on_list=ears[0], on_event=ears[1])
                )
            tasks.create_task(
                follow(
                    self._client,
                    "v1",
                    "configmaps",
                    namespace=self._namespace,
                    on_list=self._maps_listed,
                    on_event=self._map_changed,
                )
            )

    def _ears(self, plural: str, table: Table) -> tuple[OnList, OnEvent]:
        if plural == "namespaces":
            return self._namespaces_listed(table), self._namespace_changed(table)
        return table.on_list, table.on_event

    async def synced(self) -> None:
        """Everything was listed once."""
        await asyncio.gather(*(it.listed.wait() for it in self._tables.values()), self._configured.wait())

    def _namespaces_listed(self, table: Table) -> OnList:
        def listed(objects: list[Object]) -> None:
            self.namespace_labels = {
                it["metadata"]["name"]: it["metadata"].get("labels") or {} for it in objects
            }
            table.on_list(objects)

        return listed

    def _namespace_changed(self, table: Table) -> OnEvent:
        def changed(kind: str, obj: Object) -> None:
            name = obj["metadata"]["name"]
            if kind == "DELETED":
                self.namespace_labels.pop(name, None)
            else:
                self.namespace_labels[name] = obj["metadata"].get("labels") or {}
            table.on_event(kind, obj)

        return changed

    def _maps_listed(self, objects: list[Object]) -> None:
        self.config_maps = {it["metadata"]["name"]: it.get("data") or {} for it in objects}
        self._configure()
        self._configured.set()

    def _map_changed(self, kind: str, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if kind == "DELETED":
            self.config_maps.pop(name, None)
        else:
            self.config_maps[name] = obj.get("data") or {}
        if name == self._config_map:
            self._configure()

    def _configure(self) -> None:
        text = self.config_maps.get(self._config_map, {}).get("mesh", "")
        key = ("configmaps", ObjectKey(self._namespace, self._config_map))
        try:
            found = mesh_config.decode(_mapping(text))
        except (msgspec.ValidationError, yaml.YAMLError, TypeError) as wrong:
            self.problems[key] = Problem("ConfigMap", *key[1], "data.mesh", str(wrong))
            _log.warning("the mesh keeps its last settings", problem=str(self.problems[key]))
            return
        self.problems.pop(key, None)
        self._put([Change(mesh_config.MeshConfig, ONLY, found)])


def _mapping(text: str) -> dict[str, Any]:
    found = yaml.safe_load(text) if text else {}
    if not isinstance(found, dict):
        raise TypeError("MeshConfig is a YAML mapping, such as `accessLogFile: /dev/stdout`")
    return found


def _key(obj: Object) -> ObjectKey:
    return ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
