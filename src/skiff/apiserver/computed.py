"""What is worked out when somebody asks? Component statuses and the Metrics API: read only, and nothing of them is stored."""

from __future__ import annotations

from aiohttp import web

from skiff.api import Node, Object
from skiff.apiserver import metrics
from skiff.apiserver.objects import NOT_ALLOWED, answer, collection, selected
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError, not_found
from skiff.kinds import COMPONENT_STATUSES, NODE_METRICS, NODES, PODS, Kind
from skiff.queries import truth


async def answer_for(
    request: web.Request, registry: Registry, node: Node | None, kind: Kind, namespace: str, name: str
) -> web.Response:
    """A collection, or one of them."""
    if request.method not in ("GET", "HEAD") or truth(request, "watch"):
        raise ApiError(405, "MethodNotAllowed", NOT_ALLOWED)
    found = await _made(registry, node, kind, namespace)
    if not name:
        return collection(request, kind, selected(request, kind, found), registry.store.revision)
    one = next((it for it in found if it["metadata"]["name"] == name), None)
    if one is None:
        raise not_found(kind.plural, kind.group, name)
    return answer(request, kind, one, 200)


async def _made(registry: Registry, node: Node | None, kind: Kind, namespace: str) -> list[Object]:
    if kind is COMPONENT_STATUSES:
        return _components(registry)
    if node is None:
        return []
    rates = await metrics.rates(node)
    if kind is NODE_METRICS:
        return metrics.of_nodes(registry.store.all(NODES.storage), node, rates)
    return metrics.of_pods(registry.store.all(PODS.storage, namespace), rates)


def _components(registry: Registry) -> list[Object]:
    """The parts of the control plane are one process: who gets an answer has met them all. Only storing may fail."""
    trouble = str(registry.store.trouble or "")
    said = {"scheduler": "", "controller-manager": "", "etcd-0": trouble}
    return [
        {
            "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
            "conditions": [{"type": "Healthy", "status": "False" if wrong else "True", "message": wrong or "ok"}],
        }
        for name, wrong in sorted(said.items())
    ]  # fmt: skip
