"""A cluster in which nothing happens writes nothing, and what is applied a second time is unchanged."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from good_objects import GOOD

from skiff import kinds
from skiff.kinds import Kind

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = [pytest.mark.root, pytest.mark.finding("issue 7 part 5")]

Object = dict[str, Any]
APART = {"matchLabels": {"nobody": "has-this"}}
SLEEP = {"name": "main", "image": "busybox:1", "command": ["sleep", "100000"]}


def template(app: str, container: Object = SLEEP, **spec: Any) -> Object:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def chosen(app: str, **spec: Any) -> Object:
    return {"selector": {"matchLabels": {"app": app}}, "template": template(app, **spec)}


def made(kind: Kind, name: str, **parts: Any) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, **parts}


def good() -> list[Object]:
    """One of each kind, without what keeps others out."""
    found = copy.deepcopy(GOOD)
    for kind in (kinds.MUTATING_WEBHOOKS, kinds.VALIDATING_WEBHOOKS):
        found[kind]["webhooks"][0]["objectSelector"] = APART
    found[kinds.RESOURCE_QUOTAS]["spec"]["hard"] = {"configmaps": "10"}
    found[kinds.CRON_JOBS]["spec"]["schedule"] = "0 0 1 1 *"  # not while somebody looks
    del found[kinds.EVENTS]  # nobody applies them
    found[kinds.ENDPOINTS]["metadata"]["name"] = "outside"  # those of the Service are its controller's
    return [{"apiVersion": kind.api_version, "kind": kind.kind, **it} for kind, it in found.items()]


def busy() -> list[Object]:
    """What controllers look after: workloads that run, wait, fail, ended, and have no room."""
    job = template("job", {**SLEEP, "command": ["true"]}, restartPolicy="Never")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    sets = {**chosen("set"), "serviceName": "web", "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}  # fmt: skip
    ports = [{"name": "http", "port": 80}]
    return [
        made(kinds.DEPLOYMENTS, "run", spec={**chosen("run"), "replicas": 2}), made(kinds.STATEFUL_SETS, "run", spec=sets),
        made(kinds.DAEMON_SETS, "run", spec=chosen("daemon")), made(kinds.JOBS, "run", spec={"template": job}),
        made(kinds.CRON_JOBS, "run", spec={"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": job}}}),
        made(kinds.REPLICATION_CONTROLLERS, "run", spec={"selector": {"app": "rc"}, "template": template("rc")}),
        made(kinds.POD_DISRUPTION_BUDGETS, "run", spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "run"}}}),
        made(kinds.SERVICES, "web", spec={"selector": {"app": "run"}, "ports": ports}),
        made(kinds.SERVICES, "outside", spec={"ports": ports}),
        made(kinds.ENDPOINTS, "outside", subsets=[{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": "http", "port": 80}]}]),
        made(kinds.RESOURCE_QUOTAS, "run", spec={"hard": {"pods": "20", "services.nodeports": "0"}}),
        made(kinds.DEPLOYMENTS, "nowhere", spec=chosen("nowhere", nodeSelector={"no": "where"})),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def it(new_cluster: type[Cluster]) -> Iterator[Cluster]:
    with new_cluster() as made:
        for name in ("each", "busy", "full"):
            made.kubectl("create", "namespace", name)
        yield made


def revision(it: Cluster) -> int:
    """Of the newest write."""
    said = it.kubectl("get", "--raw", "/api/v1/namespaces?limit=1").stdout
    return int(json.loads(said)["metadata"]["resourceVersion"])


def everything(it: Cluster) -> dict[str, str]:
    """Revisions of all objects."""
    kinds_ = it.kubectl("api-resources", "--verbs=list,watch", "-o", "name").stdout.split()
    found = json.loads(it.kubectl("get", ",".join(kinds_), "-A", "-o", "json").stdout)["items"]
    return {
        "/".join((each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])): each["metadata"]["resourceVersion"]
        for each in found
    }  # fmt: skip


@pytest.mark.parametrize("how", [(), ("--server-side", "--force-conflicts")], ids=["client", "server"])
def test_every_kind_is_applied_twice(it: Cluster, how: tuple[str, ...]) -> None:
    """kubectl says "configured" where the object has defaults in a list without keys; what counts is that nothing changes."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": good()})

    def apply() -> dict[str, str]:
        said = it.kubectl("apply", *how, "-n", "each", "-o", "json", "-f", "-", stdin=text).stdout
        return {
            each["kind"]: json.dumps({**each, "status": None, "metadata": {**each["metadata"], "resourceVersion": ""}})
            for each in json.loads(said)["items"]
        }  # fmt: skip

    assert len(apply()) == len(good())
    # Controllers answer to what is new; after that nothing is.
    it.until(lambda: apply() == apply(), "the second time is no change", 30)


def test_nothing_is_written_where_nothing_happens(it: Cluster) -> None:
    it.apply(*busy(), namespace="busy")
    wait = ("wait", "-n", "busy", "--timeout=90s")
    it.kubectl(*wait, "--for=condition=Ready", "pod", "-l", "app in (run,set,daemon,rc)")
    it.kubectl(*wait, "--for=condition=Complete", "job/run")

    def still() -> bool:
        began, seen = time.monotonic(), revision(it)
        time.sleep(2)
        return revision(it) - seen <= 1 + (time.monotonic() - began) // 5

    it.until(still, "nothing is written any more", 30)
    before, seen = everything(it), revision(it)
    time.sleep(5)
    count, after = revision(it) - seen, everything(it)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert {key for key in changed if not key.startswith(("Lease/", "Node/"))} == set()
    assert count <= 4, changed  # the node's lease and what it says of itself
    # No write of the cluster's own parts was refused on the way, and none of them failed.
    assert [line for line in it.log().splitlines() if line and "level=info" not in line] == []


def test_what_is_refused_is_not_tried_without_end(it: Cluster) -> None:
    """Each kind of workload whose pods a quota refuses: later and later, and its status is written once."""
    it.apply(made(kinds.RESOURCE_QUOTAS, "full", spec={"hard": {"pods": "0"}}), namespace="full")
    refused = [
        each for each in busy() if each["kind"] not in ("Service", "Endpoints", "ResourceQuota", "CronJob")
    ]
    it.apply(*refused, namespace="full")
    it.until(lambda: len({each["involvedObject"]["kind"] for each in it.objects("events", "-n", "full")
                          if each["reason"] == "FailedCreate"}) >= 5, "all are refused")  # fmt: skip
    time.sleep(3)  # tried after 0.05, 0.1, ... seconds until now
    before, seen = everything(it), revision(it)
    time.sleep(4)
    count, after = revision(it) - seen, everything(it)
    changed = {
        key
        for key in before
        if before[key] != after.get(key) and not key.startswith(("Event/", "Lease/", "Node/"))
    }
    assert changed == set()
    assert count <= 40  # events about a few tries each
