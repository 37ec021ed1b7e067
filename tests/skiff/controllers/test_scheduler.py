"""May a pod run beside those that are there? Affinity, ports, room and spread, asked of the real scheduler."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from plane import NODE, Plane, chosen, template

from skiff.api import Object
from skiff.errors import ApiError
from skiff.kinds import DEPLOYMENTS, NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PODS

pytestmark = pytest.mark.finding("issue 7 part 5")
HOSTNAME = "kubernetes.io/hostname"


async def pod(it: Plane, name: str, app: str = "", namespace: str = "default", **spec: Any) -> Object:
    shape = template(app, **spec)["spec"]
    return await it.make(PODS, name, namespace, labels={"app": app or name}, spec=shape)


def repelling(*terms: Object, sort: str = "podAntiAffinity") -> Object:
    return {sort: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def beside(app: str, **more: Any) -> Object:
    return {"labelSelector": chosen(app), "topologyKey": HOSTNAME, **more}


async def bound(it: Plane, name: str, namespace: str = "default") -> None:
    await it.until(
        lambda: (found := it.get(PODS, name, namespace)) and found["spec"].get("nodeName"), f"{name} runs"
    )


async def waiting(it: Plane, name: str, namespace: str = "default") -> str:
    def why() -> str:
        found = it.get(PODS, name, namespace) or {}
        listed = (found.get("status") or {}).get("conditions") or ()
        assert not found["spec"].get("nodeName"), f"{name} runs"
        return next((c.get("message", "") for c in listed if c["type"] == "PodScheduled"), "")

    said: str = await it.until(why, f"{name} is told why it waits")
    return said


@pytest.mark.finding("skiff 3")
async def test_who_wants_to_be_alone_waits_until_it_is(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        shape = template("alone", affinity=repelling(beside("alone")))
        await it.make(
            DEPLOYMENTS, "alone", spec={"replicas": 3, "selector": chosen("alone"), "template": shape}
        )
        await it.until(lambda: len(it.events("FailedScheduling")) == 2, "two wait and say so")
        said = "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. preemption: 0/1 nodes are "
        said += "available: 1 No preemption victims found for incoming pod."
        assert set(it.events("FailedScheduling")) == {said}
        (first,) = (p for p in it.all(PODS) if p["spec"].get("nodeName"))
        await it.finish(first)
        await it.until(
            lambda: sum(bool(p["spec"].get("nodeName")) for p in it.all(PODS)) == 2, "the next one"
        )


async def test_those_who_are_there_may_object_and_in_which_namespaces(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        for name in ("near", "far"):
            await it.make(NAMESPACES, name, labels={"side": name})
        await pod(
            it,
            "first",
            affinity=repelling(beside("noisy", namespaceSelector={"matchLabels": {"side": "near"}})),
        )
        await bound(it, "first")
        await pod(it, "a", "noisy", "near")
        assert "didn't satisfy existing pods anti-affinity rules" in await waiting(it, "a", "near")
        for name, namespace in (("b", "far"), ("c", "default")):
            await pod(it, name, "noisy", namespace)
            await bound(it, name, namespace)
        await it.api.patch(NAMESPACES, "", "near", {"metadata": {"labels": {"side": "elsewhere"}}})
        await bound(it, "a", "near")
        await pod(it, "d", affinity=repelling(beside("noisy", namespaces=["far"])))
        await waiting(it, "d")
        await pod(it, "e", affinity=repelling({**beside("noisy"), "topologyKey": "nobody/has"}))
        await bound(it, "e")
        own = beside("own", matchLabelKeys=["app"], mismatchLabelKeys=["nothing"])
        await pod(it, "f", "own", affinity=repelling(own))
        await bound(it, "f")


async def test_who_wants_company_waits_for_it_but_the_first_of_a_group_does_not(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        await pod(it, "friend", affinity=repelling(beside("cache"), sort="podAffinity"))
        assert "didn't match pod affinity rules" in await waiting(it, "friend")
        await pod(it, "own", "group", affinity=repelling(beside("group"), sort="podAffinity"))
        await bound(it, "own")
        await pod(
            it,
            "lost",
            "lost",
            affinity=repelling({**beside("lost"), "topologyKey": "no"}, sort="podAffinity"),
        )
        await waiting(it, "lost")
        await pod(it, "cache")
        await bound(it, "friend")


@pytest.mark.finding("skiff 3")
async def test_a_port_of_the_node_is_held_by_one_pod(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()

        def port(number: int = 80, **more: Any) -> Object:
            return {"ports": [{"containerPort": number, "hostPort": 8080, **more}]}

        await pod(it, "a", container=port(hostIP="127.0.0.1"))
        await bound(it, "a")
        await pod(it, "b", container=port())
        assert "didn't have free ports for the requested pod ports" in await waiting(it, "b")
        for name, more in (("c", {"protocol": "UDP"}), ("d", {"hostIP": "127.0.0.2"})):
            await pod(it, name, container=port(**more))
            await bound(it, name)
        shared = {"ports": [{"containerPort": 8080}]}
        await pod(it, "e", container=shared, hostNetwork=True)
        await waiting(it, "e")
        for name in ("a", "d"):
            await it.finish(it.get(PODS, name) or {})
        await it.until(
            lambda: sum(bool((it.get(PODS, n) or {})["spec"].get("nodeName")) for n in "be") == 1,
            "one of two",
        )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, "1 node(s) didn't match Pod's node affinity/selector."),
        ({"container": {"resources": {"requests": {"cpu": "5"}}}}, "1 Insufficient cpu."),
        ({"overhead": {"cpu": "5"}}, "1 Insufficient cpu."),
        ({"container": {"resources": {"limits": {"example.com/gpu": "1"}}}}, "1 Insufficient example.com/gpu."),
        ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                                         "labelSelector": {}}]},
         "1 node(s) didn't match pod topology spread constraints (missing required label)."),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "none"}}]},
         'persistentvolumeclaim "none" not found.'),
    ],
)  # fmt: skip
async def test_why_a_pod_waits(tmp_path: Path, spec: Any, said: str) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node()
        await pod(it, "a", **spec)
        assert (await waiting(it, "a")).startswith(
            f"0/1 nodes are available: {said} preemption: 0/1 nodes are available"
        )


async def test_what_is_asked_for_adds_up_and_comes_back(tmp_path: Path) -> None:
    async with Plane(tmp_path, bounded=True) as it:
        await it.node()
        for name in "abc":
            await pod(it, name, container={"resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}})
        await it.until(lambda: len(it.events("FailedScheduling")) == 1, "the third waits")
        await it.gone(next(p for p in it.all(PODS) if p["spec"].get("nodeName")))
        await it.until(lambda: all(p["spec"].get("nodeName") for p in it.all(PODS)), "it runs")


async def test_more_places_than_there_are_bound_how_many_run(tmp_path: Path) -> None:
    spread = {
        "maxSkew": 2, "minDomains": 2, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": chosen("s"),
    }  # fmt: skip
    async with Plane(tmp_path) as it:
        await it.node()
        for name in "abc":
            await pod(it, name, "s", topologySpreadConstraints=[spread])
        await it.until(lambda: len(it.events("FailedScheduling")) == 1, "the third waits")
        assert sum(bool(p["spec"].get("nodeName")) for p in it.all(PODS)) == 2


async def test_gates_taints_and_other_schedulers_hold_a_pod_back(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await pod(it, "early")
        assert await waiting(it, "early") == "no nodes available to schedule pods"
        await it.node()
        await bound(it, "early")
        await pod(it, "gated", schedulingGates=[{"name": "example.com/wait"}])
        assert await waiting(it, "gated") == "Scheduling is blocked due to non-empty scheduling gates"
        await it.api.patch(PODS, "default", "gated", {"spec": {"schedulingGates": None}})
        await bound(it, "gated")
        await pod(it, "theirs", schedulerName="another")
        await it.api.patch(
            NODES, "", NODE, {"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}}
        )
        await it.until(lambda: (it.get(PODS, "early") or {"metadata": {"deletionTimestamp": 1}})["metadata"].get("deletionTimestamp"),
                       "NoExecute ends it")  # fmt: skip
        assert it.events("TaintManagerEviction")[0].startswith("Marking for deletion Pod default/")
        tolerations = [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]
        await pod(it, "brief", tolerations=tolerations)
        await bound(it, "brief")
        await it.until(lambda: (it.get(PODS, "brief") or {"metadata": {"deletionTimestamp": 1}})["metadata"].get("deletionTimestamp"),
                       "and so does the end of its patience")  # fmt: skip
        assert not (it.get(PODS, "theirs") or {})["spec"].get("nodeName")


async def test_a_pod_waits_for_its_volume_where_nobody_makes_one(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        asked = {"requests": {"storage": "1Gi"}}
        spec = {"storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": asked}
        await it.make(PERSISTENT_VOLUME_CLAIMS, "c", spec=spec)
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
        await pod(it, "a", volumes=volumes)
        said = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        assert (await waiting(it, "a")).startswith(said)


async def test_hundreds_that_wait_are_no_square(tmp_path: Path) -> None:
    """Each is looked at once for each thing that happens, and by index: not with all that are there."""
    async with Plane(tmp_path) as it:
        await it.node()
        shape = template("many", affinity=repelling(beside("many")))["spec"]
        begun = time.process_time()
        for number in range(400):
            await it.make(PODS, f"p{number}", labels={"app": "many"}, spec=shape)
        await it.until(lambda: len(it.events("FailedScheduling")) == 399, "all but one wait", seconds=120)
        assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    "spec",
    [
        {"tolerations": [None]}, {"volumes": [None]}, {"topologySpreadConstraints": [None]}, {"affinity": repelling(None)},  # type: ignore[arg-type]
        {"container": {"ports": [None]}}, {"initContainers": [None]}, {"affinity": repelling(beside("x", labelSelector={"matchExpressions": [None]}))},
    ],
)  # fmt: skip
async def test_nothing_where_something_belongs_is_refused(tmp_path: Path, spec: Any) -> None:
    """One such pod would stop the rules of all Services, or hold its place for ever."""
    async with Plane(tmp_path) as it:
        with pytest.raises(ApiError) as refused:
            await pod(it, "odd", **spec)
        assert refused.value.code == 422
        nulls = {
            "affinity": None,
            "tolerations": None,
            "volumes": None,
            "nodeSelector": None,
            "overhead": None,
            "container": {"ports": None},
        }
        await it.node()
        await pod(it, "even", **nulls)
        await bound(it, "even")
