"""Which control planes run, and what do they say? Their debug pages, read through the API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lateen.api import reading
from lateen.cli.connect import CommandError

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

DEBUG_PORT = 15014


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


async def every(client: KubeClient, namespace: str) -> AsyncIterator[ControlPlane]:
    """All control planes that are ready, or that at least run when none is; CommandError when there is none."""
    pods = await client.list("v1", "pods", namespace, labels="app=istiod")
    running = [it for it in pods if reading.text(it, "status", "phase") == "Running"]
    if not running:
        raise CommandError(
            f'no control plane is running in namespace "{namespace}": install one with "lateen install", '
            "or name its namespace with -i"
        )
    for it in [it for it in running if reading.holds(it, "Ready")] or running:
        yield ControlPlane(client, namespace, reading.name(it))
