"""Which control planes run, and what do they say? Their debug pages, read through the API server."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lateen.api import reading
from lateen.cli.connect import CommandError

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient, Object

T = TypeVar("T")

DEBUG_PORT = 15014
#: A control plane may go while it is asked, and another come: all are listed so often, with a pause between.
_ROUNDS, _PAUSE_S = 4, 0.5


@dataclass(frozen=True)
class ControlPlane:
    """One istiod pod."""

    client: KubeClient
    namespace: str
    pod: str

    async def text(self, path: str) -> str:
        """A debug page as text."""
        return (await self.client.pod_get(self.namespace, self.pod, DEBUG_PORT, path)).decode(
            errors="replace"
        )

    async def json(self, path: str) -> Any:
        """A debug page as JSON."""
        said = await self.text(path)
        try:
            return json.loads(said)
        except ValueError as wrong:
            raise CommandError(
                f'pod "{self.pod}" in namespace "{self.namespace}" answers {path} with no JSON: {said[:100]!r}; '
                "is it a Lateen control plane of this version?"
            ) from wrong


async def asked(client: KubeClient, namespace: str, ask: Callable[[ControlPlane], Awaitable[T]]) -> list[T]:
    """What every control plane that is ready answers, or that at least runs when none is; CommandError when there is none.

    One that goes meanwhile is left out, and whoever came in its place is asked.
    """
    answers: dict[str, T] = {}
    for last in (False,) * (_ROUNDS - 1) + (True,):
        gone = False
        for it in await _running(client, namespace):
            plane = ControlPlane(client, namespace, reading.name(it))
            if plane.pod in answers:
                continue
            try:
                answers[plane.pod] = await ask(plane)
            except Exception:
                if last or await _stays(client, it):
                    raise
                gone = True
        if not gone:
            break
        await asyncio.sleep(_PAUSE_S * random.uniform(0.5, 1.5))
    return list(answers.values())


async def _running(client: KubeClient, namespace: str) -> list[Object]:
    pods = await client.list("v1", "pods", namespace, labels="app=istiod")
    running = [it for it in pods if reading.text(it, "status", "phase") == "Running"]
    if not running:
        raise CommandError(
            f'no control plane is running in namespace "{namespace}": install one with "lateen install", '
            "or name its namespace with -i"
        )
    staying = [it for it in running if not reading.text(it, "metadata", "deletionTimestamp")] or running
    return [it for it in staying if reading.holds(it, "Ready")] or staying


async def _stays(client: KubeClient, pod: Object) -> bool:
    """Whether it is still there, is the same, and is not on its way out."""
    found = await client.get(f"/api/v1/namespaces/{reading.namespace(pod)}/pods/{reading.name(pod)}")
    if found is None or reading.text(found, "metadata", "deletionTimestamp"):
        return False
    return reading.text(found, "metadata", "uid") == reading.text(pod, "metadata", "uid")
