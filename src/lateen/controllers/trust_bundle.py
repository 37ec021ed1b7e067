"""Does every namespace hold the root certificate? ConfigMap ``istio-ca-root-cert``, which every sidecar mounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from lateen.api import reading
from lateen.controllers.mending import Mender
from lateen.injection.decide import SPARED
from lateen.kube.client import KubeClient, KubeError, Object
from lateen.kube.watch import Ears, Followed, follow

_log = structlog.get_logger("lateen.controllers")

NAME, KEY = "istio-ca-root-cert", "root-cert.pem"


class TrustBundle:
    """Writes what differs, at once."""

    def __init__(self, client: KubeClient, roots_pem: Callable[[], bytes]) -> None:
        self._client, self._roots_pem = client, roots_pem
        self._namespaces: set[str] = set()
        self._held: dict[str, Object] | None = None  # nobody knows yet
        self._mender = Mender("trust bundle", self._mend)

    async def run(self) -> None:
        """Until cancelled."""
        namespaces = Ears(self._namespaces_listed, self._namespace_changed)
        maps = Ears(self._maps_listed, self._map_changed)
        ours = Followed("v1", "configmaps", query={"fieldSelector": f"metadata.name={NAME}"})
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(self._client, Followed("v1", "namespaces"), namespaces))
            tasks.create_task(follow(self._client, ours, maps))
            tasks.create_task(self._mender.run())

    def changed(self) -> None:
        """The roots are others now."""
        for it in self._namespaces:
            self._mender.look(it)

    @property
    def _data(self) -> dict[str, str]:
        return {KEY: self._roots_pem().decode()}

    def _namespaces_listed(self, objects: list[Object]) -> None:
        self._namespaces = {reading.name(it) for it in objects if _lives(it)}
        for it in self._namespaces:
            self._mender.look(it)

    def _namespace_changed(self, kind: str, obj: Object) -> None:
        name = reading.name(obj)
        if kind == "DELETED" or not _lives(obj):
            self._namespaces.discard(name)
        else:
            self._namespaces.add(name)
            self._mender.look(name)

    def _maps_listed(self, objects: list[Object]) -> None:
        self._held = {reading.namespace(it): it for it in objects}
        for it in self._namespaces:
            self._mender.look(it)

    def _map_changed(self, kind: str, obj: Object) -> None:
        namespace = reading.namespace(obj)
        assert self._held is not None, "changes come after the list"
        if kind == "DELETED":
            self._held.pop(namespace, None)
        else:
            self._held[namespace] = obj
        self._mender.look(namespace)

    async def _mend(self, namespace: str) -> None:
        if self._held is None or namespace not in self._namespaces or namespace in SPARED:
            return
        metadata, data = (
            {"name": NAME, "namespace": namespace, "labels": {"istio.io/config": "true"}},
            self._data,
        )
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        held = self._held.get(namespace)
        if held is None:
            try:
                await self._client.create(wanted)
            except KubeError as refused:
                if (
                    refused.code != 409
                ):  # another replica was quicker; if it wrote something else, we hear of it
                    raise
        elif (said := reading.part(held, "data")) != data:
            others = dict.fromkeys(said)
            await self._client.patch(wanted, {"data": {**others, **data}})


def _lives(namespace: Object) -> bool:
    return not reading.text(namespace, "metadata", "deletionTimestamp")
