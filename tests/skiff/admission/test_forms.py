"""Quotas and limit ranges that mean nothing are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from skiff.kinds import LIMIT_RANGES, RESOURCE_QUOTAS

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = pytest.mark.finding("issue 7 part 5")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"hard": {"pods": "-1"}}, 'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0'), ({"hard": {"pods": "1.5"}}, "must be an integer"),
        ({"hard": {"pods": "many"}}, "quantities must match"), ({"hard": {"boats": "1"}}, "must be a standard resource for quota"),
        ({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}, "unsupported scope applied to resource"), ({"hard": {"pods": "1"}, "scopes": ["Rainy"]}, "unsupported scope"),
        ({"hard": {"configmaps": "1"}, "scopes": ["Terminating"]}, "unsupported scope applied to resource"),
        ({"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}, "conflicting scopes"),
    ],
)  # fmt: skip
def test_quotas(served: Served, spec: dict[str, Any], said: str) -> None:
    refused = served.refused(lambda: served.made(RESOURCE_QUOTAS, {"metadata": {"name": "q"}, "spec": spec}))
    assert refused.code == 422
    assert said in refused.message


def test_the_scopes_of_a_quota_stay(served: Served) -> None:
    made = served.made(
        RESOURCE_QUOTAS,
        {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}},
    )
    assert (
        "field is immutable"
        in served.refused(
            lambda: served.put(RESOURCE_QUOTAS, {**made, "spec": {"hard": {"pods": "1"}}})
        ).message
    )


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}, "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"),
        ({"type": "Container", "default": {"cpu": "2"}, "max": {"cpu": "1"}}, "default value 2 is greater than max value 1"), ({"type": "Boat"}, "must be a standard limit type"),
        ({"type": "Container", "defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}}, "default request value 2 is greater than default value 1"),
        ({"type": "Pod", "default": {"cpu": "1"}}, "may not be specified when `type` is 'Pod'"), ({"type": "PersistentVolumeClaim"}, "either minimum or maximum storage value is required"),
        ({"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}}, "ratio 500m is less than 1"), ({"type": "Container", "max": {"cpu": "much"}}, "quantities must match"),
    ],
)  # fmt: skip
def test_limit_ranges(served: Served, limit: dict[str, Any], said: str) -> None:
    refused = served.refused(
        lambda: served.made(LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})
    )
    assert refused.code == 422
    assert said in refused.message
