"""What kubectl prints: states of pods, passed time, paths of custom columns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.apiserver import json_path
from skiff.apiserver.cells import duration
from skiff.apiserver.columns import SHAPES
from skiff.apiserver.tables import table
from skiff.apiserver.workload_cells import pod_reason
from skiff.kinds import BUILT_IN, REVIEWS, Column, Kind


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (3 * 3600 - 1, "179m"), (3 * 3600, "3h"),
     (3 * 3600 + 60, "3h1m"), (47 * 3600, "47h"), (49 * 3600, "2d1h"), (30 * 86400, "30d"), (800 * 86400, "2y70d"),
     (3000 * 86400, "8y"), (-5, "0s")],
)  # fmt: skip
def test_passed_time(seconds: int, shown: str) -> None:
    assert duration(seconds) == shown


WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING: dict[str, Any] = {"running": {}}


def pod(phase: str = "Running", *states: dict[str, Any], **more: Any) -> dict[str, Any]:
    held = [
        {"name": f"c{n}", "state": it, "ready": "running" in it, "restartCount": 0}
        for n, it in enumerate(states)
    ]
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": held},
        "status": {"phase": phase, "containerStatuses": held, **more},
    }


def done(code: int, reason: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **({"reason": reason} if reason else {})}}


@pytest.mark.parametrize(
    ("it", "shown"),
    [
        (pod("Pending"), "Pending"),
        (pod("Running", RUNNING), "Running"),
        (pod("Running", WAITING, RUNNING), "CrashLoopBackOff"),
        (pod("Failed", done(1, "Error")), "Error"),
        (pod("Failed", done(3)), "ExitCode:3"),
        (pod("Running", done(0, "Completed"), RUNNING), "NotReady"),
        (pod("Running", done(0, "Completed"), RUNNING, conditions=[{"type": "Ready", "status": "True"}]), "Running"),
        (pod("Failed", reason="Evicted"), "Evicted"),
    ],
)  # fmt: skip
def test_the_status_of_a_pod(it: dict[str, Any], shown: str) -> None:
    assert pod_reason(it) == shown


@pytest.mark.parametrize(
    ("state", "shown"),
    [(RUNNING, "Init:0/1"), (done(1, "Error"), "Init:Error"), (done(2), "Init:ExitCode:2"), (WAITING, "Init:CrashLoopBackOff"),
     ({"waiting": {"reason": "PodInitializing"}}, "Init:0/1"), (done(0), "Pending")],
)  # fmt: skip
def test_the_status_of_a_pod_that_begins(state: dict[str, Any], shown: str) -> None:
    it = pod("Pending")
    it["spec"]["initContainers"] = [{"name": "i"}]
    it["status"]["initContainerStatuses"] = [{"name": "i", "state": state}]
    assert pod_reason(it) == shown


def test_a_pod_that_ends_is_terminating_until_it_has_ended() -> None:
    it = pod("Running", RUNNING)
    it["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pod_reason(it) == "Terminating"
    it["status"]["phase"] = "Succeeded"
    assert pod_reason(it) == "Succeeded" or pod_reason(it) == "Running"


@pytest.mark.parametrize("kind", [it for it in BUILT_IN if it not in REVIEWS], ids=str)
def test_every_kind_can_be_shown_with_nothing_in_it(kind: Kind) -> None:
    bare = {"kind": kind.kind, "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    shown = table(kind, [bare])
    assert len(shown["rows"][0]["cells"]) == len(shown["columnDefinitions"])
    assert kind.kind in SHAPES, "a built-in kind has columns of its own"


VALUE = {
    "spec": {"size": "big", "hosts": ["a", "b"], "ports": [{"name": "x"}, {"name": "y"}], "on": True},
    "metadata": {"labels": {"a.b/c": "d"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", ["big"]), (".spec.hosts[0]", ["a"]), (".spec.hosts[-1]", ["b"]), (".spec.hosts[7]", []),
        (".spec.ports[*].name", ["x", "y"]), (".spec.none.deeper", []), (r".metadata.labels.a\.b/c", ["d"]),
        (".metadata.labels['a.b/c']", ["d"]), ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Nope')].status", []), ("{.spec.size}", ["big"]), ("][", []),
    ],
)  # fmt: skip
def test_paths_of_columns(path: str, found: list[str]) -> None:
    assert json_path.find(path, VALUE) == found


@given(st.text(max_size=40))
def test_no_path_is_a_trouble(path: str) -> None:
    json_path.find(path, VALUE)


def test_a_custom_kind_is_shown_as_its_definition_says() -> None:
    columns = (
        Column("Size", "string", ".spec.size"), Column("On", "string", ".spec.on"), Column("Hosts", "string", ".spec.hosts"),
        Column("Seen", "date", ".status.seen"), Column("Count", "integer", ".spec.count", priority=1),
    )  # fmt: skip
    kind = Kind("e.io", "v1", "Pod", "pods", custom=True, columns=columns)
    it = {**VALUE, "kind": "Pod", "metadata": {"name": "a"}}
    assert table(kind, [it])["rows"][0]["cells"] == ["a", "big", "true", '["a","b"]', None, None]
