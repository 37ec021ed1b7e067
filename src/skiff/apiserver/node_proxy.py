"""What does a kubelet tell through ``nodes/NAME/proxy``? Its health, its pods, and what they use.

What would run commands is left out: ``pods/exec`` and ``pods/log`` do that with permissions of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from skiff.api import Node, Object
from skiff.apiserver import metrics
from skiff.apiserver.bodies import encoded
from skiff.apiserver.metrics import DAEMON, Rate, Rates
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError
from skiff.kinds import NODES, PODS

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def answer(
    request: web.Request, registry: Registry, node: Node | None, name: str, path: str
) -> web.Response:
    """Answer as the kubelet of that node."""
    plain = name.split(":")[-2] if name.count(":") else name
    plain = plain or name.partition(":")[0]
    registry.get(NODES, "", plain)
    if node is None or plain != node.name:
        said = f'error trying to reach service: no kubelet runs on node "{plain}"'
        raise ApiError(503, "ServiceUnavailable", said)
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405, text="Method Not Allowed\n")
    match path.rstrip("/"):
        case "/healthz" | "/healthz/ping":
            return web.Response(text="ok")
        case "/pods":
            found = [
                it for it in registry.store.all(PODS.storage) if (it["spec"] or {}).get("nodeName") == plain
            ]
            return encoded({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found})
        case "/stats/summary":
            return encoded(_summary(node.name, await metrics.rates(node)))
        case "/metrics/resource":
            return web.Response(body=_exposed(await metrics.rates(node)), headers={"Content-Type": _TEXT})
    return web.Response(status=404, text="404 page not found\n")


def _summary(name: str, found: Rates) -> Object:
    """As https://kubernetes.io/docs/reference/instrumentation/node-metrics/ describes it, as far as it is measured here."""
    at = found.moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    pods: dict[tuple[str, str, str], list[tuple[str, Rate]]] = {}
    for (namespace, pod, container), it in found.of.items():
        if (namespace, pod, container) != DAEMON:
            pods.setdefault((namespace, pod, it.uid), []).append((container, it))
    return {
        "node": {"nodeName": name, **_used(found.of.values(), at)},
        "pods": [
            {
                "podRef": {"name": pod, "namespace": namespace, "uid": uid},
                "startTime": min(it.begun for _, it in containers), **_used([it for _, it in containers], at),
                "containers": [
                    {"name": container, "startTime": it.begun, **_used([it], at)} for container, it in containers
                ],
            }
            for (namespace, pod, uid), containers in sorted(pods.items())
        ],
    }  # fmt: skip


def _used(rates: Iterable[Rate], at: str) -> dict[str, Any]:
    every = list(rates)
    memory = sum(it.memory_bytes for it in every)
    return {
        "cpu": {
            "time": at, "usageNanoCores": sum(it.nanocores for it in every),
            "usageCoreNanoSeconds": sum(it.cpu_ns for it in every),
        },
        "memory": {"time": at, "usageBytes": memory, "workingSetBytes": memory},
    }  # fmt: skip


def _exposed(found: Rates) -> bytes:
    """The kubelet's page for Prometheus."""
    from prometheus_client import CollectorRegistry, core, generate_latest

    labels = ["container", "namespace", "pod"]
    cpu = core.CounterMetricFamily(
        "container_cpu_usage_seconds", "CPU time since the container began.", labels=labels
    )
    memory = core.GaugeMetricFamily(
        "container_memory_working_set_bytes", "Memory of the container.", labels=labels
    )
    for (namespace, pod, container), it in found.of.items():
        if (namespace, pod, container) != DAEMON:
            cpu.add_metric([container, namespace, pod], it.cpu_ns / 1e9)
            memory.add_metric([container, namespace, pod], it.memory_bytes)
    total = sum(it.cpu_ns for it in found.of.values()) / 1e9
    node_cpu = core.CounterMetricFamily(
        "node_cpu_usage_seconds", "CPU time of all that runs here.", value=total
    )
    held = sum(it.memory_bytes for it in found.of.values())
    node_memory = core.GaugeMetricFamily(
        "node_memory_working_set_bytes", "Memory of all that runs here.", value=held
    )

    class Page:
        def collect(self) -> Iterable[Any]:
            return (cpu, memory, node_cpu, node_memory)

    registry = CollectorRegistry()
    registry.register(Page())
    return generate_latest(registry)
