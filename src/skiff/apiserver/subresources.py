"""What else can be asked of an object? Scale, tokens, eviction, binding, reviews; and streams, which the node answers."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from skiff import scales
from skiff.api import Node, Object
from skiff.apiserver import pod_parts
from skiff.apiserver.access import Access, User
from skiff.apiserver.bodies import body, encoded, fitting, object_of, sent
from skiff.apiserver.eviction import evict
from skiff.apiserver.objects import answer, changed, writer
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import PODS, SERVICE_ACCOUNTS, Kind
from skiff.schema import pack

STREAMS = frozenset({"log", "exec", "attach", "portforward"})
SPECIAL = frozenset({"scale", "token", "eviction", "binding"})
_TRIES = 5


async def review(
    request: web.Request, registry: Registry, access: Access, kind: Kind, user: User
) -> web.Response:
    """A question that is answered and not stored."""
    if request.method != "POST":
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    return encoded(access.review(kind, await object_of(request, registry, kind), user), 201)


async def stream(
    request: web.Request, registry: Registry, node: Node | None, namespace: str, pod: str, sub: str
) -> web.StreamResponse:
    """Logs, exec, attach and port-forward of a pod that runs here."""
    from skiff.streams.serve import route  # SPDY and websockets: only for those who need them

    found = registry.read(PODS, namespace, pod)
    if node is None or not found.get("spec", {}).get("nodeName"):
        raise ApiError(400, "BadRequest", f"pod {pod} does not have a host assigned")
    if sub != "portforward":  # which is the whole pod's
        container = container_of(found, request.query.get("container", ""))
    else:
        container = ""
    return await route(request, node, namespace, pod, sub, container)


def container_of(pod: Object, asked: str) -> str:
    """The container meant: the one named, the default one, or the only one."""
    spec = pod["spec"]
    names = [
        it["name"]
        for part in ("containers", "initContainers", "ephemeralContainers")
        for it in spec.get(part) or ()
    ]
    if asked:
        if asked not in names:
            raise ApiError(
                400, "BadRequest", f"container {asked} is not valid for pod {pod['metadata']['name']}"
            )
        return asked
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if default in names or len(spec["containers"]) == 1:
        return str(default if default in names else spec["containers"][0]["name"])
    listed = " ".join(it["name"] for it in spec["containers"])
    raise ApiError(
        400, "BadRequest", f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: [{listed}]"
    )  # fmt: skip


async def special(
    request: web.Request, registry: Registry, access: Access | None, kind: Kind, namespace: str, name: str, sub: str
) -> web.Response:  # fmt: skip
    """Subresources that are another kind."""
    if sub == "scale":
        return await _scale(request, registry, kind, namespace, name)
    if request.method != "POST":
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    if sub == "token":
        if access is None:
            raise ApiError(404, "NotFound", "this server issues no tokens")
        account = registry.get(SERVICE_ACCOUNTS, namespace, name)
        return encoded(access.token(account, await sent(request, registry, pack.TOKEN_REQUEST)), 201)
    asked = await sent(request, registry, pack.EVICTION if sub == "eviction" else pack.BINDING)
    dry = request.query.get("dryRun") == "All"
    if sub == "eviction":
        await evict(registry, namespace, name, asked, dry_run=dry)
    else:
        pod = registry.get(PODS, namespace, name)
        bound = pod_parts.bound(pod, asked)
        await registry.update(PODS, namespace, name, bound, subresource="binding", dry_run=dry)
    return encoded({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)


async def _scale(
    request: web.Request, registry: Registry, kind: Kind, namespace: str, name: str
) -> web.Response:
    if request.method == "GET":
        return answer(request, kind, scale_of(kind, registry.read(kind, namespace, name)), 200)
    if request.method not in ("PUT", "PATCH"):
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    given = await body(request)
    for left in range(_TRIES, -1, -1):
        target = registry.get(kind, namespace, name)  # as it is now: a body may take its time
        asked = given
        if request.method == "PATCH":
            asked = changed(request.content_type, kind, scale_of(kind, target), given, registry)
        try:
            made = await registry.update(
                kind, namespace, name, _scaled(kind, target, fitting(registry, pack.SCALE, asked)),
                dry_run=request.query.get("dryRun") == "All", manager=writer(request), by_way_of="scale",
            )  # fmt: skip
            return answer(request, kind, scale_of(kind, made), 200)
        except ApiError as refused:  # who names no version means the newest one
            if not left or refused.code != 409 or _version(given):
                raise
    raise AssertionError  # the last try returned or raised


def _version(given: Any) -> Any:
    metadata = given.get("metadata") if isinstance(given, dict) else None
    return isinstance(metadata, dict) and metadata.get("resourceVersion")


def _scaled(kind: Kind, target: Object, given: Object) -> Object:
    name = target["metadata"]["name"]
    replicas = (given.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise ApiError(
            422, "Invalid", f'Scale.autoscaling "{name}" is invalid: spec.replicas: Invalid value: {replicas}'
        )
    asked = given.get("metadata") or {}
    bound = {key: asked[key] for key in ("uid", "resourceVersion") if asked.get(key)}
    wanted = scales.scaled(kind, target, replicas)
    return {**wanted, "metadata": {**target["metadata"], **bound}}


def scale_of(kind: Kind, target: Object) -> Object:
    """The Scale of a workload (autoscaling/v1)."""
    metadata, found = target["metadata"], scales.read(kind, target)
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": found.wanted}, "status": {"replicas": found.there, "selector": found.selector},
    }  # fmt: skip
