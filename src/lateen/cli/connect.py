"""How does a command reach the cluster and its pods, and how does it speak of what goes wrong there?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

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

SIDECAR = "istio-proxy"
#: How often and how long completion may ask: a shell waits for it at every press of the key.
_COMPLETION_S = 2.0
_SHOWN = 5


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
    # By name: what no command has imported cannot have been raised, and importing all of it to look is slow.
    known = ("ValuesError", "InstallError", "KubeError", "KubeConfigError")
    if type(problem).__name__ in known:
        return str(problem)
    if isinstance(problem, ConnectionError | TimeoutError) or type(problem).__module__.startswith("aiohttp"):
        return (
            f"the cluster does not answer: {problem or type(problem).__name__}. Is it running (skiff status)?"
        )
    if isinstance(problem, FileNotFoundError):
        return f"{problem.filename}: no such file"
    if isinstance(problem, IsADirectoryError | PermissionError):
        return f"{problem.filename}: {problem.strerror}"
    return None


def pod_reference(text: str, namespace: str) -> tuple[str, str, str]:
    """``[KIND/]NAME[.NAMESPACE]`` as istioctl reads it: (kind, namespace or "", name). The last dot counts."""
    kind, slash, name = text.partition("/")
    if not slash:
        kind, name = "pod", text
    bare, dot, after = name.rpartition(".")
    if dot and namespace and namespace != after:
        return (kind, namespace, name)  # a name with a dot, in the namespace that -n says
    return (kind, after, bare) if dot else (kind, namespace, name)


async def sidecar_pod(client: KubeClient, text: str, namespace: str) -> tuple[str, str]:
    """(namespace, pod) with an Envoy; CommandError when there is none, saying what there is instead."""
    kind, where, name = pod_reference(text, namespace)
    where = where or client.connection.namespace
    if kind in ("pod", "pods", "po"):
        found = await client.get(f"/api/v1/namespaces/{where}/pods/{name}")
        if found is None:
            raise CommandError(await _nothing(client, where, name))
    elif kind in ("deployment", "deployments", "deploy"):
        found = await _of_deployment(client, where, name)
    else:
        raise CommandError(f'"{kind}/{name}": name a pod, or a deployment as in deployment/{name}')
    containers = [*found["spec"].get("containers", ()), *found["spec"].get("initContainers", ())]
    names = [str(it["name"]) for it in containers]
    if SIDECAR not in names:
        raise CommandError(
            f'pod "{found["metadata"]["name"]}" in namespace "{where}" has no sidecar (its containers: {", ".join(names)}); '
            f'label the namespace with "istio-injection=enabled" and restart the pod to give it one'
        )
    phase = found.get("status", {}).get("phase", "Pending")
    if phase != "Running":
        raise CommandError(
            f'pod "{found["metadata"]["name"]}" in namespace "{where}" is not running: it is {phase}'
        )
    return where, str(found["metadata"]["name"])


async def _nothing(client: KubeClient, namespace: str, name: str) -> str:
    pods = [str(it["metadata"]["name"]) for it in await client.list("v1", "pods", namespace)]
    near = [it for it in pods if it.startswith(name)] or pods
    if not near:
        return f'there is no pod "{name}" in namespace "{namespace}", which has no pods: name another with -n'
    return f'there is no pod "{name}" in namespace "{namespace}"; did you mean {_or(near)}?'


def _or(names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f", or one of {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


async def _of_deployment(client: KubeClient, namespace: str, name: str) -> dict[str, Any]:
    deployment = await client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    if deployment is None:
        raise CommandError(f'there is no deployment "{name}" in namespace "{namespace}"')
    labels = deployment["spec"].get("selector", {}).get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = await client.list("v1", "pods", namespace, labels=selector)
    running = [it for it in pods if it.get("status", {}).get("phase") == "Running"]
    if not running:
        raise CommandError(f'deployment "{name}" in namespace "{namespace}" has no running pod')
    return min(running, key=lambda it: str(it["metadata"]["name"]))


def complete_pod(incomplete: str) -> list[str]:
    """Names of pods with a sidecar, as NAME.NAMESPACE, for the shell; nothing when the cluster does not answer at once."""
    from lateen.kube.client import KubeClient

    async def found() -> list[str]:
        async with asyncio.timeout(_COMPLETION_S), KubeClient.from_environment(None, None) as client:
            pods = await client.list("v1", "pods")
        return [f"{it['metadata']['name']}.{it['metadata']['namespace']}" for it in pods if _has_sidecar(it)]

    try:
        names = asyncio.run(found())
    except Exception:  # noqa: BLE001  # whatever is wrong, the prompt is no place to say it
        return []
    return [it for it in sorted(names) if it.startswith(incomplete)]


def _has_sidecar(pod: dict[str, Any]) -> bool:
    spec = pod["spec"]
    return any(it["name"] == SIDECAR for it in (*spec.get("containers", ()), *spec.get("initContainers", ())))
