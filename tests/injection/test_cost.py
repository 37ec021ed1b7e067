"""What injection costs: it grows with the pod, never with its square, however deep its lists are nested."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from lateen.injection.advice import advice
from lateen.injection.inject import inject
from lateen.injection.patch import diff
from lateen.injection.settings import InjectionSettings

MANY = 1_000
NOISE_S = 0.2
LONGEST_S = 3.0


def pod(**more: Any) -> dict[str, Any]:
    spec = {
        "containers": [{"name": "app", "image": "a", **more.pop("container", {})}],
        **more.pop("spec", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", **more.pop("metadata", {})},
        "spec": spec,
    }


PODS: dict[str, Callable[[int], dict[str, Any]]] = {
    "containers": lambda n: pod(spec={"containers": [
        {"name": f"c{i}", "image": "a", "ports": [{"containerPort": i + 1}], "readinessProbe": {"httpGet": {"port": i + 1, "path": "/"}}}
        for i in range(n)]}),
    "init containers": lambda n: pod(spec={"initContainers": [{"name": f"c{i}", "image": "a"} for i in range(n)]}),
    "ports": lambda n: pod(container={"ports": [{"containerPort": i % 60_000 + 1, "name": f"p{i}"} for i in range(n)]}),
    "environment": lambda n: pod(container={"env": [{"name": f"E{i}", "value": "a"} for i in range(n)]}),
    "volumes": lambda n: pod(spec={"volumes": [{"name": f"v{i}", "emptyDir": {}} for i in range(n)]}),
    "annotations": lambda n: pod(metadata={"annotations": {f"a{i}": "b" for i in range(n)}}),
    "annotations that nobody knows": lambda n: pod(metadata={"annotations": {f"sidecar.istio.io/proxyCPU{i}": "b" for i in range(n)}}),
    "ranges": lambda n: pod(metadata={"annotations": {
        "traffic.sidecar.istio.io/excludeOutboundIPRanges": ",".join(f"fd00:{i:x}::/32" for i in range(n))}}),
    "settings": lambda n: pod(metadata={"annotations": {"proxy.istio.io/config": json.dumps({f"x{i}": i for i in range(min(n, 1_200))})}}),
    "a proxy of one's own": lambda n: pod(spec={"containers": [{"name": "app"}, {
        "name": "istio-proxy", "env": [{"name": f"E{i}", "value": "a"} for i in range(n)],
        "ports": [{"containerPort": i % 60_000 + 1} for i in range(n)]}]}),
    "labels": lambda n: pod(metadata={"labels": {f"a{i}": "b" for i in range(n)}}),
    "lists without names": lambda n: pod(container={"args": [str(i) for i in range(n)]}),
}  # fmt: skip


def spent(it: dict[str, Any]) -> float:
    before = time.process_time()
    list(advice(it))
    diff(it, inject(it, InjectionSettings(), namespace="n"))
    return time.process_time() - before


@pytest.mark.finding("security 2")
@pytest.mark.parametrize("what", sorted(PODS))
def test_twice_as_much_costs_twice_as_much(what: str) -> None:
    for _ in range(3):
        two, one = spent(PODS[what](2 * MANY)), spent(PODS[what](MANY))
        if two < NOISE_S or two < 3 * one:
            break
    else:
        raise AssertionError(f"{what}: {one:.3f} s, and {two:.3f} s for twice as much")
    assert spent(PODS[what](10_000)) < LONGEST_S


@pytest.mark.finding("security 2")
def test_lists_inside_lists_are_looked_at_once() -> None:
    """They cost twice as much for each level: thirty levels, some hundred bytes, an hour."""
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    before = time.process_time()
    assert diff({"a": deep, "b": 1}, {"a": copy.deepcopy(deep), "b": 2}) == [
        {"op": "replace", "path": "/b", "value": 2}
    ]
    assert diff([[1, True]], [[1, 1]]) == [{"op": "replace", "path": "/0/1", "value": 1}]
    assert time.process_time() - before < LONGEST_S
