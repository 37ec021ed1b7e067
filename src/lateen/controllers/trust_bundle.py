"""Does every namespace hold the root certificate? ConfigMap ``istio-ca-root-cert``, which every sidecar mounts."""

from __future__ import annotations

import asyncio

import structlog

from lateen.kube.client import KubeClient, KubeError, Object
from lateen.kube.watch import follow

_log = structlog.get_logger("lateen.controllers")

NAME, KEY = "istio-ca-root-cert", "root-cert.pem"
_SPARED = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_AGAIN_S = 2.0


class TrustBundle:
    """Writes what differs, at once."""

    def __init__(self, client: KubeClient, root_pem: bytes) -> None:
        self._client, self._data = client, {KEY: root_pem.decode()}
        self._namespaces: set[str] = set()
        self._held: dict[str, Object] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(
                self._client, "v1", "namespaces", on_list=self._namespaces_listed, on_event=self._namespace_changed,
            ))  # fmt: skip
            tasks.create_task(
                follow(
                    self._client, "v1", "configmaps", on_list=self._maps_listed, on_event=self._map_changed
                )
            )
            tasks.create_task(self._work())

    def _look(self, namespace: str) -> None:
        if namespace not in self._waiting:
            self._waiting.add(namespace)
            self._queue.put_nowait(namespace)

    def _namespaces_listed(self, objects: list[Object]) -> None:
        self._namespaces = {
            it["metadata"]["name"] for it in objects if not it["metadata"].get("deletionTimestamp")
        }
        for it in self._namespaces:
            self._look(it)

    def _namespace_changed(self, kind: str, obj: Object) -> None:
        name = obj["metadata"]["name"]
        if kind == "DELETED" or obj["metadata"].get("deletionTimestamp"):
            self._namespaces.discard(name)
        else:
            self._namespaces.add(name)
            self._look(name)

    def _maps_listed(self, objects: list[Object]) -> None:
        self._held = {it["metadata"]["namespace"]: it for it in objects if it["metadata"]["name"] == NAME}
        for it in self._namespaces:
            self._look(it)

    def _map_changed(self, kind: str, obj: Object) -> None:
        if obj["metadata"]["name"] != NAME:
            return
        namespace = obj["metadata"]["namespace"]
        if kind == "DELETED":
            self._held.pop(namespace, None)
        else:
            self._held[namespace] = obj
        self._look(namespace)

    async def _work(self) -> None:
        while True:
            namespace = await self._queue.get()
            self._waiting.discard(namespace)
            try:
                await self._mend(namespace)
            except (KubeError, OSError, TimeoutError) as wrong:
                if not (
                    isinstance(wrong, KubeError) and wrong.code in (403, 404)
                ):  # 403: the namespace is ending
                    _log.warning(
                        "the trust bundle will be written again", namespace=namespace, reason=str(wrong)
                    )
                    asyncio.get_running_loop().call_later(_AGAIN_S, self._look, namespace)

    async def _mend(self, namespace: str) -> None:
        if namespace not in self._namespaces or namespace in _SPARED:
            return
        metadata = {"name": NAME, "namespace": namespace, "labels": {"istio.io/config": "true"}}
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self._data}
        held = self._held.get(namespace)
        if held is None:
            try:
                await self._client.create(wanted)
            except KubeError as refused:
                if refused.code != 409:
                    raise
        elif held.get("data") != self._data:
            await self._client.patch(
                wanted, {"data": {**dict.fromkeys(held.get("data") or {}), **self._data}}
            )
