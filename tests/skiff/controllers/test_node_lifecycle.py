"""What is said of nodes that are silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skiff.controllers.node_lifecycle import judged
from skiff.objects import stamp

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def node(age_s: float, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "creationTimestamp": stamp(NOW - timedelta(seconds=age_s))},
        "status": status,
    }


@pytest.mark.finding("skiff 9")
def test_a_node_that_never_spoke_is_unknown_after_a_minute() -> None:
    assert judged(node(10), NOW) == (None, 50.0)
    conditions, again = judged(node(61), NOW)
    assert again is None
    assert conditions is not None
    assert {(it["type"], it["status"], it["reason"]) for it in conditions} == {
        (kind, "Unknown", "NodeStatusNeverUpdated")
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    }
    assert judged(node(61, conditions=conditions), NOW) == (None, None), "it is said once"


def test_a_node_that_fell_silent_is_unknown_and_keeps_what_else_is_known() -> None:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": stamp(NOW - timedelta(seconds=20))}
    own = {"type": "Own", "status": "True"}
    assert judged(node(900, conditions=[ready, own]), NOW) == (None, 30.0)
    conditions, _ = judged(node(900, conditions=[ready, own]), NOW + timedelta(seconds=40))
    assert conditions is not None
    assert conditions[0] == own
    said = {it["type"]: it for it in conditions}
    assert (said["Ready"]["status"], said["Ready"]["reason"]) == ("Unknown", "NodeStatusUnknown")
    assert said["Ready"]["lastHeartbeatTime"] == ready["lastHeartbeatTime"]
    assert judged(node(900, conditions=conditions), NOW + timedelta(seconds=41)) == (None, None)
