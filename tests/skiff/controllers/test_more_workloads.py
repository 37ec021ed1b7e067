"""Indexed Jobs and their policies, ReplicationControllers, claims of StatefulSets, Endpoints: asked of the controllers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plane import Plane, chosen, template

from skiff.api import Object
from skiff.controllers import job_indexes, job_rules, stateful_set
from skiff.kinds import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
)  # fmt: skip

pytestmark = pytest.mark.finding("issue 7 part 5")


async def job(it: Plane, name: str = "work", **spec: Any) -> None:
    await it.make(JOBS, name, spec={"template": template(name, restartPolicy="Never"), **spec})


def status(it: Plane, name: str = "work") -> Object:
    return (it.get(JOBS, name) or {}).get("status") or {}


def over(it: Plane, name: str = "work") -> Object:
    listed = status(it, name).get("conditions") or ()
    return next((c for c in listed if c["type"] in ("Complete", "Failed")), {})


def numbered(it: Plane) -> dict[str, Object]:
    return {p["metadata"]["annotations"][job_rules.INDEX]: p for p in it.all(PODS)}


@pytest.mark.parametrize(
    ("text", "done"), [("", set()), ("1-3,5", {1, 2, 3, 5}), ("0,x,-,7-,3-1", {0}), ("8-99999999999", set())]
)
def test_numbers_are_read_and_written(text: str, done: set[int]) -> None:
    assert job_rules.numbers(text, 9) == done
    assert job_rules.numbers(job_rules.written(done), 9) == done
    assert job_rules.written({0, 1, 2, 5, 6, 9}) == "0-2,5,6,9"


async def test_each_pod_of_an_indexed_job_has_a_number(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await job(it, completionMode="Indexed", completions=3, parallelism=2)
        pods = await it.until(lambda: len(found := numbered(it)) == 2 and found, "two at once")
        assert set(pods) == {"0", "1"}
        assert pods["1"]["metadata"]["name"].startswith("work-1-")
        assert pods["1"]["metadata"]["labels"][job_rules.INDEX] == "1"
        assert pods["1"]["spec"]["hostname"] == "work-1"
        assert pods["1"]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
        await it.finish(pods["1"])
        pods = await it.until(lambda: "2" in (found := numbered(it)) and found, "the next number")
        await it.until(lambda: status(it).get("completedIndexes") == "1", "told")
        await it.gone(pods["1"])  # what is done stays done
        await it.finish(pods["2"])
        await it.finish(pods["0"])
        await it.until(lambda: over(it).get("type") == "Complete", "all are done")
        assert (status(it)["succeeded"], status(it)["completedIndexes"]) == (3, "0-2")
        assert len({p["metadata"]["annotations"][job_rules.INDEX] for p in it.all(PODS)}) == 2


async def test_success_and_failure_by_policy(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        rules: Any = {"rules": [{"succeededIndexes": "0,2-4", "succeededCount": 1}]}
        await job(it, completionMode="Indexed", completions=5, parallelism=5, successPolicy=rules)
        pods = await it.until(lambda: len(found := numbered(it)) == 5 and found, "all")
        await it.finish(pods["1"])
        await it.until(lambda: status(it).get("succeeded") == 1, "that is not one of them")
        assert not over(it)
        await it.finish(pods["3"])
        await it.until(lambda: over(it).get("reason") == "SuccessPolicy", "one of them is enough")
        rules = {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
        ]}  # fmt: skip
        await job(it, "strict", backoffLimit=0, podFailurePolicy=rules)

        def mine() -> list[Object]:
            found = (p for p in it.all(PODS) if p["metadata"]["labels"]["app"] == "strict")
            return [p for p in found if (p.get("status") or {}).get("phase") != "Failed"]

        pod = (await it.until(mine, "its pod"))[0]
        await it.finish(pod, 1, conditions=[{"type": "DisruptionTarget", "status": "True"}])
        await it.gone(pod)
        pod = (await it.until(mine, "another, since that one does not count"))[0]
        await it.finish(pod, 42)
        await it.until(lambda: over(it, "strict").get("reason") == "PodFailurePolicy", "no more is tried")
        assert over(it, "strict")["message"].endswith(
            "failed with exit code 42 matching FailJob rule at index 1"
        )


async def test_a_pod_that_is_ending_may_hold_its_place(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        for name, policy in (("patient", "Failed"), ("usual", "TerminatingOrFailed")):
            await job(it, name, podReplacementPolicy=policy)
        pods = await it.until(lambda: len(it.all(PODS)) == 2 and it.all(PODS), "one each")
        for pod in pods:
            await it.run(pod)
            await it.api.delete(PODS, "default", pod["metadata"]["name"])
        await it.until(lambda: len(it.all(PODS)) == 3, "the usual one is replaced at once")
        await it.until(lambda: status(it, "patient").get("terminating") == 1, "the other one waits")
        for pod in pods:
            await it.gone(pod)
        await it.until(lambda: len(it.all(PODS)) == 2, "and is replaced when it has ended")


async def test_replication_controllers_hold_their_number(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.make(
            REPLICATION_CONTROLLERS,
            "old",
            spec={"replicas": 2, "template": template("old"), "selector": {"app": "old"}},
        )
        pods = await it.until(lambda: len(it.all(PODS)) == 2 and it.all(PODS), "two")
        assert pods[0]["metadata"]["ownerReferences"][0]["kind"] == "ReplicationController"
        await it.run(pods[0])
        await it.until(
            lambda: (it.get(REPLICATION_CONTROLLERS, "old") or {})["status"].get("readyReplicas") == 1, "told"
        )
        await it.api.delete(PODS, "default", pods[1]["metadata"]["name"])
        await it.until(lambda: len(it.all(PODS)) == 2, "two again")
        await it.api.patch(REPLICATION_CONTROLLERS, "default", "old", {"spec": {"replicas": 0}})
        await it.until(lambda: all(p["metadata"].get("deletionTimestamp") for p in it.all(PODS)), "none")


@pytest.mark.parametrize(
    ("policy", "after"),
    [({}, "kept"), ({"whenScaled": "Delete"}, "scaled"), ({"whenDeleted": "Delete"}, "deleted")],
)
async def test_claims_of_a_stateful_set_go_as_the_policy_says(
    tmp_path: Path, policy: Object, after: str
) -> None:
    claims = [
        {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}},
        }
    ]
    async with Plane(tmp_path) as it:
        spec = {
            "replicas": 2, "selector": chosen("db"), "template": template("db"), "podManagementPolicy": "Parallel", "serviceName": "",
            "volumeClaimTemplates": claims, "persistentVolumeClaimRetentionPolicy": policy,
        }  # fmt: skip
        await it.make(STATEFUL_SETS, "db", spec=spec)
        await it.until(
            lambda: len(it.all(PODS)) == 2 and len(it.all(PERSISTENT_VOLUME_CLAIMS)) == 2, "both at once"
        )
        await it.api.patch(STATEFUL_SETS, "default", "db", {"spec": {"replicas": 1}})
        await it.until(lambda: len(it.all(PODS)) == 1, "one is left")
        if after == "scaled":
            await it.until(lambda: not it.get(PERSISTENT_VOLUME_CLAIMS, "data-db-1"), "and its claim goes")
        await it.api.delete(STATEFUL_SETS, "default", "db")
        await it.until(lambda: not it.all(PODS), "all pods go")
        if after == "deleted":
            await it.until(lambda: not it.all(PERSISTENT_VOLUME_CLAIMS), "with their claims")
        else:
            left = [c["metadata"]["name"] for c in it.all(PERSISTENT_VOLUME_CLAIMS)]
            assert left == (["data-db-0"] if after == "scaled" else ["data-db-0", "data-db-1"])


async def test_endpoints_are_made_of_slices_and_slices_of_endpoints(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.make(
            SERVICES, "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "name": "http"}]}
        )
        pod = await it.run(await it.make(PODS, "web", labels={"app": "web"}, spec=template("web")["spec"]))
        ip = pod["status"]["podIP"]
        made = await it.until(
            lambda: (found := it.get(ENDPOINTS, "web")) and found.get("subsets"), "Endpoints"
        )
        assert [a["ip"] for a in made[0]["addresses"]] == [ip]
        assert made[0]["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
        await it.run(pod, ready=False)
        await it.until(
            lambda: "notReadyAddresses" in (it.get(ENDPOINTS, "web") or {})["subsets"][0], "not ready"
        )

        await it.make(SERVICES, "outside", spec={"ports": [{"port": 5432}]})
        subset = {
            "addresses": [{"ip": "192.0.2.7"}, {"ip": "2001:db8::1"}],
            "ports": [{"port": 5432}],
        }
        await it.make(ENDPOINTS, "outside", subsets=[subset])

        def mirrored() -> dict[str, list[str]]:
            found = [
                s
                for s in it.all(ENDPOINT_SLICES)
                if s["metadata"]["labels"]["kubernetes.io/service-name"] == "outside"
            ]
            return {s["addressType"]: [e["addresses"][0] for e in s["endpoints"]] for s in found}

        await it.until(lambda: mirrored() == {"IPv4": ["192.0.2.7"], "IPv6": ["2001:db8::1"]}, "mirrored")
        await it.api.patch(
            ENDPOINTS, "default", "outside", {"subsets": [{**subset, "addresses": [{"ip": "192.0.2.8"}]}]}
        )
        await it.until(lambda: mirrored() == {"IPv4": ["192.0.2.8"]}, "followed")
        await it.api.patch(ENDPOINTS, "default", "outside",
                           {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}})  # fmt: skip
        await it.until(lambda: not mirrored(), "not wanted")
        await it.make(ENDPOINTS, "lock", subsets=[])  # no Service has this name, and none had
        for name in ("web", "outside"):
            await it.api.delete(SERVICES, "default", name)
            await it.until(lambda name=name: not it.get(ENDPOINTS, name), "with its Service")
        assert it.get(ENDPOINTS, "lock")


async def test_each_number_fails_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_indexes, "_FIRST_S", 0.3)
    async with Plane(tmp_path) as it:
        await job(it, completionMode="Indexed", completions=3, parallelism=3, backoffLimitPerIndex=1)
        assert (it.get(JOBS, "work") or {})["spec"]["backoffLimit"] == 2**31 - 1
        pods = await it.until(lambda: len(found := numbered(it)) == 3 and found, "all")
        assert {p["metadata"]["annotations"][job_indexes.FAILURES] for p in pods.values()} == {"0"}
        await it.finish(pods["1"], code=1)
        again = await it.until(
            lambda: next(
                (p for p in it.all(PODS) if p["metadata"]["annotations"][job_indexes.FAILURES] == "1"), None
            ),
            "it is tried again",
        )
        assert again["metadata"]["annotations"][job_rules.INDEX] == "1"
        await it.gone(pods["1"])  # the new one remembers
        await it.finish(again, code=1)
        await it.until(lambda: status(it).get("failedIndexes") == "1", "no more")
        await it.gone(again)
        await it.finish(pods["0"])
        assert not over(it), "the last one runs"
        await it.finish(pods["2"])
        await it.until(lambda: over(it).get("reason") == "FailedIndexes", "all have ended")
        assert (status(it)["completedIndexes"], status(it)["failedIndexes"]) == ("0,2", "1")
        assert len(it.all(PODS)) == 2


async def test_too_many_failed_numbers_end_a_job(tmp_path: Path) -> None:
    rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}
    async with Plane(tmp_path) as it:
        await job(
            it, completionMode="Indexed", completions=5, parallelism=3, backoffLimitPerIndex=9, maxFailedIndexes=1,
            podFailurePolicy={"rules": [rule]},
        )  # fmt: skip
        pods = await it.until(lambda: len(found := numbered(it)) == 3 and found, "three at once")
        await it.finish(pods["0"], code=42)
        await it.until(lambda: "3" in numbered(it), "the next number instead")
        await it.until(lambda: status(it).get("failedIndexes") == "0", "told")
        await it.finish(pods["2"], code=42)
        await it.until(lambda: over(it).get("reason") == "MaxFailedIndexesExceeded", "enough")
        await it.until(lambda: all(p["metadata"]["name"] in (pods["0"]["metadata"]["name"], pods["2"]["metadata"]["name"])
                                   or p["metadata"].get("deletionTimestamp") for p in it.all(PODS)), "the others end")  # fmt: skip


@pytest.mark.parametrize(
    ("most", "gone"), [(None, {4}), (2, {3, 4}), ("60%", {2, 3, 4}), ("10%", {4}), ("x", {4})]
)
def test_so_many_may_be_missing(most: Any, gone: set[int]) -> None:
    assert stateful_set._may_miss(most, 5) == len(gone)


async def test_a_stateful_set_renews_several_at_once(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        spec = {
            "replicas": 5, "serviceName": "db", "selector": chosen("db"), "template": template("db"),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "partition": 1}},
        }  # fmt: skip
        await it.make(STATEFUL_SETS, "db", spec=spec)
        await it.until(lambda: len(it.all(PODS)) == 5, "all")
        for one in it.all(PODS):
            await it.run(one)
        fresh = template("db", container={"image": "new"})
        await it.api.patch(STATEFUL_SETS, "default", "db", {"spec": {"template": fresh}})

        def leaving() -> set[str]:
            return {p["metadata"]["name"] for p in it.all(PODS) if p["metadata"].get("deletionTimestamp")}

        await it.until(lambda: leaving() == {"db-3", "db-4"}, "two")
        for name in ("db-3", "db-4"):
            old = it.get(PODS, name) or {}
            await it.gone(old)
            made = await it.until(
                lambda name=name, old=old: (
                    (p := it.get(PODS, name)) and p["metadata"]["uid"] != old["metadata"]["uid"] and p
                ),
                "made anew",
            )
            if name == "db-3":
                await it.run(made)
                await it.until(lambda: leaving() == {"db-2", "db-4"}, "never more than two")
