"""How does a test ask the controllers alone? The real store, API and controllers in this process; the test is the node.

Nothing runs pods here: a test says what a node would say (``run``, ``finish``), so it decides the order of events.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from skiff.api import Object
from skiff.apiserver.allocation import Addresses
from skiff.apiserver.context import WARNINGS
from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.local import LocalApi
from skiff.apiserver.registry import Registry
from skiff.bootstrap import bootstrap, lasting
from skiff.controllers.run import ControllerSettings, run_all
from skiff.errors import ApiError
from skiff.kinds import EVENTS, NODES, PODS, Kind
from skiff.schema import pack
from skiff.settings import Settings
from skiff.store.store import Store

NODE = "skiff"
ROOM = {"cpu": "4", "memory": "4096Mi", "pods": "250"}


@functools.cache
def _definitions() -> pack.Definitions:
    """Made once: that takes longer than most of these tests."""
    with tempfile.TemporaryDirectory() as folder:
        return pack.load(Path(folder) / "schemas.json.gz")


class Plane:
    """A control plane. ``async with Plane(folder)``."""

    def __init__(self, folder: Path, *, bounded: bool = False) -> None:
        self.settings = Settings(home=folder)
        schemas = pack.Schemas(_definitions())
        self.registry = Registry(
            Store(folder / "cluster.db"), schemas=schemas, addresses=Addresses(self.settings.service_cidr)
        )
        CustomKinds(self.registry)
        self.api = LocalApi(self.registry)
        self.usage: dict[str, Object] = {}  # PodMetrics by the pod's name: what the node would measure
        self._controllers = ControllerSettings(
            NODE, "a CA", bounded, lasting(self.settings), "/claims", usage=self._measured
        )
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        await bootstrap(self.registry, self.settings)
        self._tasks.append(asyncio.get_running_loop().create_task(run_all(self.api, self._controllers)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for it in self._tasks:
            it.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.registry.store.close()

    async def node(self, labels: dict[str, str] | None = None, **room: str) -> Object:
        """A node that is ready."""
        named = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", **(labels or {})}
        await self.api.create(NODES, {"metadata": {"name": NODE, "labels": named}, "spec": {}})
        status = {"allocatable": ROOM | room, "conditions": [{"type": "Ready", "status": "True"}]}
        return await self.api.patch(NODES, "", NODE, {"status": status}, subresource="status")

    async def _measured(self, namespace: str) -> list[Object]:
        return [it for it in self.usage.values() if it["metadata"]["namespace"] == namespace]

    # --- objects ---------------------------------------------------------------------------------

    async def make(self, kind: Kind, name: str, namespace: str = "default", **parts: Any) -> Object:
        """Create an object; ``parts`` are its fields, labels and annotations those of its metadata."""
        metadata = {it: parts.pop(it) for it in ("labels", "annotations", "ownerReferences") if it in parts}
        place = {"namespace": namespace} if kind.namespaced else {}
        return await self.api.create(kind, {"metadata": {"name": name, **place, **metadata}, **parts})

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object | None:
        """An object, if it is there: as clients see it, which is as it is committed."""
        return self.registry.store.read(kind.storage, namespace if kind.namespaced else "", name)

    def all(self, kind: Kind, namespace: str = "default") -> list[Object]:
        """All of a namespace."""
        return self.registry.store.read_all(kind.storage, namespace)

    def events(self, reason: str, namespace: str = "default") -> list[str]:
        """What was told, by reason."""
        return [it["message"] for it in self.all(EVENTS, namespace) if it["reason"] == reason]

    async def warnings(self, kind: Kind, obj: Object, namespace: str = "default") -> list[str]:
        """What a client is told that creates an object, in a dry run."""
        mark = WARNINGS.set(told := [])
        try:
            await self.registry.create(kind, namespace if kind.namespaced else "", obj, dry_run=True)
        finally:
            WARNINGS.reset(mark)
        return told

    # --- what a node says ------------------------------------------------------------------------

    async def run(self, pod: Object, *, ready: bool = True) -> Object:
        """The pod is bound and runs."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if not pod["spec"].get("nodeName"):
            await self.api.patch(PODS, namespace, name, {"spec": {"nodeName": NODE}}, subresource="binding")
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": self.registry.now()}]
        address = f"10.244.7.{len(self.all(PODS, namespace)) + 1}"
        status = {"phase": "Running", "conditions": conditions, "podIP": address}
        return await self.api.patch(PODS, namespace, name, {"status": status}, subresource="status")

    async def finish(self, pod: Object, code: int = 0, **status: Any) -> None:
        """Its only container ended."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        ended = {"exitCode": code, "finishedAt": self.registry.now()}
        told = {"image": "", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        containers = [{"name": it["name"], **told} for it in pod["spec"]["containers"]]
        whole = {"phase": "Failed" if code else "Succeeded", "containerStatuses": containers, **status}
        await self.api.patch(PODS, namespace, name, {"status": whole}, subresource="status")

    async def gone(self, pod: Object) -> None:
        """It has ended and is removed."""
        with contextlib.suppress(ApiError):
            await self.api.delete(
                PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], grace_seconds=0
            )

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Wait until something is true, and return it."""
        end = asyncio.get_running_loop().time() + seconds
        while not (found := condition()):
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"after {seconds:.0f} s still not: {what}")
            await asyncio.sleep(0.01)
        return found


def template(app: str, **spec: Any) -> Object:
    """A pod template with one container."""
    container = {"name": "main", "image": "busybox", **spec.pop("container", {})}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def chosen(app: str) -> Object:
    """The selector of those pods."""
    return {"matchLabels": {"app": app}}
