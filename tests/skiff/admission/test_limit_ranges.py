"""LimitRanges: what a container gets that says nothing, and what is too little or too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from skiff.kinds import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = [pytest.mark.finding("skiff 3"), pytest.mark.finding("issue 7 part 5")]


def limits(served: Served, **limit: Any) -> None:
    served.made(
        LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", **limit}]}}
    )


def pod(*resources: dict[str, Any], init: dict[str, Any] | None = None) -> dict[str, Any]:
    containers = [{"name": f"c{n}", "image": "i", "resources": it} for n, it in enumerate(resources)]
    spec: dict[str, Any] = {"containers": containers}
    return {
        "metadata": {"name": "p"},
        "spec": spec | ({"initContainers": [{"name": "i", "image": "i", "resources": init}]} if init else {}),
    }


def asks(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> dict[str, Any]:
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def test_defaults_are_put_into_pods_and_told(served: Served) -> None:
    limits(served, default={"memory": "64Mi"}, defaultRequest={"cpu": "100m"})
    made = served.made(PODS, pod({}, asks({"cpu": "1"}, {"memory": "1Gi"})))
    first, second = (it["resources"] for it in made["spec"]["containers"])
    assert first == {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}
    assert second["limits"] == {"memory": "1Gi"}
    assert made["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu, memory request for container c0; memory limit for container c0"
    }


def test_a_maximum_is_the_default_and_a_minimum_the_default_request(served: Served) -> None:
    limits(served, max={"cpu": "2"}, min={"cpu": "1", "memory": "1Mi"})
    held = served.run(_get(served))["spec"]["limits"][0]
    assert (held["default"], held["defaultRequest"]) == ({"cpu": "2"}, {"cpu": "2", "memory": "1Mi"})


async def _get(served: Served) -> Any:
    return served.get(LIMIT_RANGES, "default", "l")


@pytest.mark.parametrize(
    ("limit", "resources", "said"),
    [
        ({"max": {"cpu": "1"}}, asks({"cpu": "2"}, {"cpu": "2"}), "maximum cpu usage per Container is 1, but limit is 2"),
        ({"min": {"memory": "1Gi"}}, asks({"memory": "1Mi"}, {"memory": "2Gi"}), "minimum memory usage per Container is 1Gi, but request is 1Mi"),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, asks({"cpu": "100m"}, {"cpu": "1"}), "cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000"),
        ({"maxLimitRequestRatio": {"cpu": "2"}}, {}, "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"),
        ({"type": "Pod", "max": {"memory": "100Mi"}}, asks({"memory": "60Mi"}, {"memory": "60Mi"}), "maximum memory usage per Pod is 100Mi, but limit is 120Mi"),
        ({"type": "Pod", "max": {"memory": "100Mi"}}, asks({"memory": "1Mi"}), "maximum memory usage per Pod is 100Mi.  No limit is specified"),
        ({"type": "Pod", "min": {"cpu": "1"}}, {}, "minimum cpu usage per Pod is 1.  No request is specified"),
    ],
)  # fmt: skip
def test_bounds(served: Served, limit: dict[str, Any], resources: dict[str, Any], said: str) -> None:
    limits(served, **limit)
    refused = served.refused(lambda: served.made(PODS, pod(resources, resources)))
    assert refused.code == 403
    assert refused.message.startswith('pods "p" is forbidden: ')
    assert said in refused.message


def test_a_pod_within_its_bounds_and_one_elsewhere(served: Served) -> None:
    limits(served, max={"cpu": "1"}, min={"cpu": "100m"}, maxLimitRequestRatio={"cpu": "4"})
    assert served.made(PODS, pod(asks({"cpu": "500m"}, {"cpu": "1"}), init=asks({"cpu": "1"}, {"cpu": "1"})))
    served.namespace("other")
    assert "resources" not in str(served.made(PODS, pod({}), "other")["metadata"].get("annotations"))


def test_claims(served: Served) -> None:
    limits(served, type="PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"})

    def claim(size: str) -> dict[str, Any]:
        return {
            "metadata": {"name": "c"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        }

    assert (
        "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
        in served.refused(lambda: served.made(PERSISTENT_VOLUME_CLAIMS, claim("3Gi"))).message
    )
    assert (
        "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"
        in served.refused(lambda: served.made(PERSISTENT_VOLUME_CLAIMS, claim("1Mi"))).message
    )
    served.made(PERSISTENT_VOLUME_CLAIMS, claim("1536Mi"))
