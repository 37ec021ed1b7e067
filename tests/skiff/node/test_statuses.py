"""How long has a pod? No number is a number, too."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from skiff.node import statuses

pytestmark = pytest.mark.finding("issue 7 part 5")


def at(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("said", "seconds"), [(None, 30), (0, 0), (7, 7), (-3, 1)])
def test_grace(said: int | None, seconds: float) -> None:
    assert statuses.grace({"spec": {"terminationGracePeriodSeconds": said}}) == seconds


@pytest.mark.parametrize(
    ("metadata", "least", "most"),
    [
        ({}, 0, 0), ({"deletionGracePeriodSeconds": 30, "deletionTimestamp": 10}, 5, 10.1),
        ({"deletionGracePeriodSeconds": 30, "deletionTimestamp": -5}, 0, 0),
        ({"deletionGracePeriodSeconds": 30, "deletionTimestamp": 3000}, 30, 30), ({"deletionGracePeriodSeconds": 30}, 30, 30),
    ],
)  # fmt: skip
def test_grace_that_is_left(metadata: dict[str, Any], least: float, most: float) -> None:
    if "deletionTimestamp" in metadata:
        metadata = {**metadata, "deletionTimestamp": at(metadata["deletionTimestamp"])}
    assert least <= statuses.grace_of_deletion({"metadata": metadata}, resumed=True) <= most
    whole = metadata.get("deletionGracePeriodSeconds", 0)
    assert statuses.grace_of_deletion({"metadata": metadata}, resumed=False) == whole


def test_a_deadline() -> None:
    assert statuses.left({"spec": {}}, at(0)) is None
    assert 5 < (statuses.left({"spec": {"activeDeadlineSeconds": 10}}, at(-3)) or 0) < 7.5
    assert (statuses.left({"spec": {"activeDeadlineSeconds": 1}}, at(-3)) or 0) < 0
