"""How does a command reach the cluster and its pods, and how does it speak of what goes wrong there?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lateen.api import reading

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
    reason = " ".join((str(problem) or type(problem).__name__).split())
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
    pod, names = reading.name(found), containers(found)
    if SIDECAR not in names:
        raise CommandError(
            f'pod "{pod}" in namespace "{where}" has no sidecar (its containers: {", ".join(names)}); '
            f'label the namespace with "istio-injection=enabled" and restart the pod to give it one'
        )
    if (phase := reading.text(found, "status", "phase") or "Pending") != "Running":
        raise CommandError(f'pod "{pod}" in namespace "{where}" is not running: it is {phase}')
    return where, pod


def containers(pod: Mapping[str, Any]) -> list[str]:
    """The names of a pod's containers, native sidecars and init containers last."""
    lists = (reading.parts(pod, "spec", it) for it in ("containers", "initContainers"))
    return [reading.text(it, "name") for found in lists for it in found]


async def _nothing(client: KubeClient, namespace: str, name: str) -> str:
    pods = [reading.name(it) for it in await client.list("v1", "pods", namespace)]
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
    selector = label_selector(reading.part(deployment, "spec", "selector"))
    pods = await client.list("v1", "pods", namespace, labels=selector) if selector else []
    running = [it for it in pods if reading.text(it, "status", "phase") == "Running"]
    if not running:
        raise CommandError(f'deployment "{name}" in namespace "{namespace}" has no running pod')
    return min(running, key=reading.name)


_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def label_selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as the parameter ``labelSelector``; empty when it selects by nothing."""
    equal = [f"{key}={value}" for key, value in reading.texts(selector, "matchLabels").items()]
    return ",".join([*equal, *map(_expression, reading.parts(selector, "matchExpressions"))])


def _expression(it: Mapping[str, Any]) -> str:
    form = _OPERATORS.get(reading.text(it, "operator"), "{key}")
    return form.format(key=reading.text(it, "key"), values=",".join(map(str, it.get("values") or ())))


def complete_pod(incomplete: str) -> list[str]:
    """Names of pods with a sidecar, as NAME.NAMESPACE, for the shell; nothing when the cluster does not answer at once."""
    from lateen.kube.client import KubeClient

    async def found() -> list[str]:
        async with asyncio.timeout(_COMPLETION_S), KubeClient.from_environment(None, None) as client:
            pods = await client.list("v1", "pods")
        return [f"{reading.name(it)}.{reading.namespace(it)}" for it in pods if SIDECAR in containers(it)]

    try:
        names = asyncio.run(found())
    except Exception:  # noqa: BLE001  # whatever is wrong, the prompt is no place to say it
        return []
    return [it for it in sorted(names) if it.startswith(incomplete)]
