"""How much do pods and the node use? The Metrics API, which ``kubectl top`` reads.

Nothing is measured unless somebody asks: two looks at every container make a rate, and the second look is the first one of
whoever asks next. https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from weakref import WeakKeyDictionary

from skiff.api import Measured, Node, Object

#: Between the two looks of who asks first; who asks sooner than that gets the same answer again.
SHORTEST_S = 0.5
#: A look that is older says little about now.
_LONGEST_S = 60.0

#: (namespace, pod, container), and for the daemon itself three times "".
Key = tuple[str, str, str]
DAEMON: Key = ("", "", "")


class Rate(NamedTuple):
    """What one container uses."""

    uid: str  # of its pod
    begun: str
    cpu_ns: int  # since it began
    nanocores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What all use: between two looks, the later of them at ``moment``."""

    moment: datetime
    window_s: float
    of: Mapping[Key, Rate]


@dataclass(slots=True)
class _Memory:
    """What the last look saw."""

    at: float = float("-inf")
    seen: dict[Key, Measured] = field(default_factory=dict)
    rates: Rates | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


#: For each node that was asked: tests have several in one process.
_MEMORIES: WeakKeyDictionary[Node, _Memory] = WeakKeyDictionary()


async def rates(node: Node) -> Rates:
    """What is used now."""
    memory = _MEMORIES.setdefault(node, _Memory())
    async with memory.turn:  # who comes meanwhile gets what the first one finds
        if time.monotonic() - memory.at < SHORTEST_S and memory.rates:
            return memory.rates
        if time.monotonic() - memory.at > _LONGEST_S:
            await _look(memory, node)
            await asyncio.sleep(SHORTEST_S)
        return await _look(memory, node)


async def _look(memory: _Memory, node: Node) -> Rates:
    """One more, and what was used since the last."""
    seen = {(it.namespace, it.pod, it.container): it for it in await node.measured()}
    at = time.monotonic()
    window = at - memory.at
    found = {}
    for key, it in seen.items():
        # A container that is new, or began anew, used all it did within the window.
        before = memory.seen.get(key)
        used = it.cpu_ns - before.cpu_ns if before and before.begun == it.begun else it.cpu_ns
        found[key] = Rate(it.uid, it.begun, it.cpu_ns, max(0, int(used / window)), it.memory_bytes)
    memory.at, memory.seen = at, seen
    memory.rates = Rates(datetime.now(UTC), round(window, 3) if window < _LONGEST_S else 0.0, found)
    return memory.rates


def of_pods(pods: Iterable[Object], found: Rates) -> list[Object]:
    """PodMetrics of the pods that run; with their labels, so that selectors work."""
    running: dict[tuple[str, str, str], list[Object]] = {}
    for (namespace, pod, container), rate in found.of.items():
        usage = {"name": container, "usage": _quantities(rate.nanocores, rate.memory_bytes)}
        running.setdefault((namespace, pod, rate.uid), []).append(usage)
    made = []
    for it in pods:
        metadata = it["metadata"]
        containers = running.get((metadata["namespace"], metadata["name"], metadata["uid"]))
        if containers:
            head = {"name": metadata["name"], "namespace": metadata["namespace"]}
            made.append({"kind": "PodMetrics", **_frame(head, it, found), "containers": containers})
    return made


def of_nodes(nodes: Iterable[Object], node: Node, found: Rates) -> list[Object]:
    """NodeMetrics of the node that is here: its pods and the daemon, which is its control plane and kubelet."""
    cpu, memory = (
        sum(it.nanocores for it in found.of.values()),
        sum(it.memory_bytes for it in found.of.values()),
    )
    return [
        {"kind": "NodeMetrics", **_frame({"name": it["metadata"]["name"]}, it, found), "usage": _quantities(cpu, memory)}
        for it in nodes if it["metadata"]["name"] == node.name
    ]  # fmt: skip


def _frame(head: Object, of: Object, found: Rates) -> Object:
    labels = of["metadata"].get("labels")
    stamp = found.moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {**head, "creationTimestamp": stamp, **({"labels": labels} if labels else {})},
        "timestamp": stamp, "window": f"{found.window_s:g}s",
    }  # fmt: skip


def _quantities(nanocores: int, memory_bytes: int) -> dict[str, str]:
    return {"cpu": f"{nanocores}n", "memory": f"{-(-memory_bytes // 1024)}Ki"}
