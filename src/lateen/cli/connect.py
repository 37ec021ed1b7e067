"""How does a command reach the cluster, and how does it speak of what goes wrong there?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

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
            return await use(client)

    return asyncio.run(run())


def user_facing(problem: Exception) -> str | None:
    """The one line for a mistake or an outage; None for a bug."""
    if isinstance(problem, CommandError):
        return str(problem)
    known = (
        "ValuesError",
        "InstallError",
        "KubeError",
        "KubeConfigError",
        "ConfigError",
        "ApiError",
        "NoClusterError",
    )
    if type(problem).__name__ in known:
        return str(problem)
    if isinstance(problem, ConnectionError | TimeoutError) or type(problem).__module__.startswith("aiohttp"):
        return (
            f"the cluster does not answer: {problem or type(problem).__name__}. Is it running (skiff status)?"
        )
    if isinstance(problem, FileNotFoundError):
        return f"{problem.filename}: no such file"
    return None


def pod_reference(text: str, namespace: str) -> tuple[str, str]:
    """``[pod/]NAME[.NAMESPACE]`` as istioctl reads it: (namespace, name)."""
    name = text.removeprefix("pod/").removeprefix("pods/")
    bare, dot, after = name.partition(".")
    return (after, bare) if dot else (namespace or "default", bare)
