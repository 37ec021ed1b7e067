"""What may controllers and the node ask of the cluster? The API server seen from inside the daemon.

The interface is the same path a request over HTTPS takes (admission, validation, storage, watch), without the
socket. The implementation is ``skiff.apiserver.local.LocalApi``.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from skiff.kinds import Kind

#: A Kubernetes object as decoded JSON. What the API hands out is shared: copy before changing.
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a watch. ``type`` is ADDED, MODIFIED, DELETED, or SYNCED once all existing objects were told."""

    type: str
    object: Object


class Api(Protocol):
    """Raises ``skiff.errors.ApiError`` as the HTTP API answers. Namespaces are "" for cluster-wide kinds."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object: ...
    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Object]: ...
    async def create(self, kind: Kind, obj: Object) -> Object: ...
    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace. 409 when ``metadata.resourceVersion`` is set and stale; ``subresource="status"`` changes status only."""
        ...

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """JSON merge patch."""
        ...

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """As DELETE over HTTP: pods on a node get a deletionTimestamp first; ``grace_seconds=0`` removes at once."""
        ...

    def watch(self, kind: Kind) -> AsyncIterator[Event]:
        """Existing objects as ADDED, one SYNCED (object = {}), then changes, until the iterator is closed; it ends by itself
        when its reader falls too far behind, who has to begin anew."""
        ...

    async def event(self, about: Object, kind: str, reason: str, message: str, *, source: str) -> None:
        """Record an Event about an object; repeated ones are counted, never raised. ``kind`` is Normal or Warning."""
        ...


class Measured(NamedTuple):
    """What a container has used; the names are "" for the daemon itself."""

    namespace: str
    pod: str
    container: str
    uid: str  # of its pod
    begun: str  # when this run of it began
    cpu_ns: int  # since then
    memory_bytes: int  # now


class Node(Protocol):
    """What the API server's streaming subresources ask of the node that runs the pods."""

    @property
    def name(self) -> str: ...
    def address(self, namespace: str, pod: str) -> str:
        """The address that the node gave to a pod, whatever its status says."""
        ...

    def outlet(self) -> socket.socket:
        """A socket inside the node's network, from where the pods are."""
        ...

    async def measured(self) -> list[Measured]: ...
    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool,
        previous: bool,
        tail: int | None,
        since: datetime | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]: ...
    async def exec(
        self, namespace: str, pod: str, container: str, command: list[str], *, tty: bool
    ) -> ExecSession: ...
    async def attach(self, namespace: str, pod: str, container: str) -> ExecSession:
        """The container's own program: its input, and its output from now on. To kill the session is to leave it."""
        ...

    async def dial(self, namespace: str, pod: str, port: int) -> Any:
        """(StreamReader, StreamWriter) to 127.0.0.1:port inside the pod's network namespace."""
        ...


class ExecSession(Protocol):
    """A command running in a container: write to ``stdin`` (None closes it), read until both outputs end."""

    async def write(self, data: bytes | None) -> None: ...
    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(1, stdout bytes) and (2, stderr bytes) as they come."""
        ...

    async def resize(self, columns: int, rows: int) -> None: ...
    async def wait(self) -> int:
        """The exit code."""
        ...

    async def kill(self) -> None: ...
