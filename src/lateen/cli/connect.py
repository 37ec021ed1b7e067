"""How does a command reach the cluster, and how does it speak of what goes wrong there?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient
    from lateen.kube.config import Connection

T = TypeVar("T")

Kubeconfig = Annotated[
    str, typer.Option("--kubeconfig", "-c", help="Kubernetes configuration file.", envvar="KUBECONFIG")
]
Context = Annotated[str, typer.Option("--context", help="Kubernetes configuration context.")]
IstioNamespace = Annotated[
    str, typer.Option("--istioNamespace", "-i", help="Namespace of the control plane.")
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the pod.")]


class CommandError(Exception):
    """Something the user can mend; the message says what and how."""


def with_cluster(kubeconfig: str, context: str, use: Callable[[KubeClient], Awaitable[T]]) -> T:
    """Connect, do it, disconnect."""
    from lateen.kube.client import KubeClient  # aiohttp costs 0.2 s; only commands that connect pay it

    async def run() -> T:
        async with KubeClient.from_environment(kubeconfig or None, context or None) as client:
            try:
                return await use(client)
            except Exception as problem:
                if _silent(problem):
                    raise CommandError(_unanswered(client.connection, problem)) from problem
                raise

    return asyncio.run(run())


def _silent(problem: Exception) -> bool:
    """Whether nobody answered; files that are not there are another matter."""
    if isinstance(problem, ConnectionError | TimeoutError):
        return True
    return any(it.__module__.startswith("aiohttp") for it in type(problem).__mro__)


def _unanswered(connection: Connection, problem: Exception) -> str:
    # aiohttp repeats the address, which is told already, with its own objects; what the system said stands below.
    below = problem.__cause__ if isinstance(problem.__cause__, OSError) else problem
    reason = " ".join((getattr(below, "strerror", None) or str(below) or type(below).__name__).split())
    host = connection.server.partition("://")[2].rpartition(":")[0]
    local = host == "localhost" or host.startswith(("127.", "[::1"))
    advice = (
        'Does the cluster run on this machine ("skiff status" tells of skiff\'s)?' if local
        else 'Can this machine reach it ("kubectl cluster-info")?'
    )  # fmt: skip
    return f"the cluster does not answer: {connection}: {reason}. {advice}"


def user_facing(problem: Exception) -> str | None:
    """The one line for a mistake or an outage; None for a bug."""
    if isinstance(problem, CommandError):
        return str(problem)
    # By name: what no command has imported cannot have been raised, and importing all of it to look is slow.
    known = {"ValuesError", "InstallError", "KubeError", "KubeConfigError"}
    if known & {it.__name__ for it in type(problem).__mro__}:
        return str(problem)
    if _silent(problem):
        return f"the cluster does not answer: {problem or type(problem).__name__}"
    if isinstance(problem, FileNotFoundError):
        return f"{problem.filename}: no such file"
    if isinstance(problem, IsADirectoryError | PermissionError):
        return f"{problem.filename}: {problem.strerror}"
    return None
