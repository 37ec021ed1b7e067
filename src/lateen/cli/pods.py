"""Which pod is meant: by its name, or as the living one of a Deployment, StatefulSet, DaemonSet or ReplicaSet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lateen.api import reading
from lateen.cli.connect import CommandError

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

SIDECAR = "istio-proxy"
#: How often and how long completion may ask: a shell waits for it at every press of the key.
_COMPLETION_S = 2.0
_SHOWN = 5
#: What owns pods: its name, and its plural in group apps.
_OWNERS = {it: f"{it}s" for it in ("deployment", "statefulset", "daemonset", "replicaset")}
_SHORT = {"deploy": "deployment", "sts": "statefulset", "ds": "daemonset", "rs": "replicaset"}


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
    elif (owner := _OWNERS.get(_SHORT.get(kind, kind.removesuffix("s")))) is not None:
        found = await _of_owner(client, owner, where, name)
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


async def _of_owner(client: KubeClient, plural: str, namespace: str, name: str) -> dict[str, Any]:
    kind = plural.removesuffix("s")
    owner = await client.get(f"/apis/apps/v1/namespaces/{namespace}/{plural}/{name}")
    if owner is None:
        raise CommandError(f'there is no {kind} "{name}" in namespace "{namespace}"')
    selector = label_selector(reading.part(owner, "spec", "selector"))
    pods = await client.list("v1", "pods", namespace, labels=selector) if selector else []
    running = [it for it in pods if reading.text(it, "status", "phase") == "Running"]
    if not running:
        raise CommandError(f'{kind} "{name}" in namespace "{namespace}" has no running pod')
    return max(running, key=_liveliness)


def _liveliness(pod: Mapping[str, Any]) -> tuple[bool, bool, str, str]:
    """What stays goes before what is being ended, what has an Envoy before what has none, and new before old."""
    stays = not reading.text(pod, "metadata", "deletionTimestamp")
    return (
        stays,
        SIDECAR in containers(pod),
        reading.text(pod, "metadata", "creationTimestamp"),
        reading.name(pod),
    )


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
