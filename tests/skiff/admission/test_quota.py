"""ResourceQuotas: counted exactly, refused in Kubernetes' words, and not by counting everything each time."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.admission.usage import Ledger, charge, storage_of
from skiff.errors import ApiError
from skiff.kinds import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    PRIORITY_CLASSES,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
)  # fmt: skip

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = [
    pytest.mark.finding("skiff 3"),
    pytest.mark.finding("skiff input 7"),
    pytest.mark.finding("issue 7 part 5"),
]


def quota(served: Served, name: str = "q", scopes: list[str] | None = None, **hard: str) -> Any:
    said = {key.replace("_", "."): value for key, value in hard.items()}
    return limited(served, said, name, **({"scopes": scopes} if scopes else {}))


def limited(served: Served, hard: dict[str, str], name: str = "q", **more: Any) -> Any:
    return served.made(RESOURCE_QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **more}})


def config(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {}}


def pod(name: str, cpu: str = "", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}} if cpu else {}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}], **spec},
    }


def test_one_more_than_allowed(served: Served) -> None:
    quota(served, configmaps="1")
    served.made(CONFIG_MAPS, config("a"))
    refused = served.refused(lambda: served.made(CONFIG_MAPS, config("b")))
    assert refused.code == 403
    assert (
        refused.message
        == 'configmaps "b" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1'
    )
    served.namespace("other")
    served.made(CONFIG_MAPS, config("b"), "other")
    served.run(served.delete(CONFIG_MAPS, "default", "a"))
    served.made(CONFIG_MAPS, config("b"))


def test_what_was_there_before_the_quota_counts(served: Served) -> None:
    for name in "ab":
        served.made(CONFIG_MAPS, config(name))
    made = quota(served, configmaps="2")
    assert "used: configmaps=2" in served.refused(lambda: served.made(CONFIG_MAPS, config("c"))).message
    served.put(RESOURCE_QUOTAS, {**made, "spec": {"hard": {"configmaps": "3"}}})
    served.made(CONFIG_MAPS, config("c"))
    served.refused(lambda: served.made(CONFIG_MAPS, config("d")))
    served.run(served.delete(RESOURCE_QUOTAS, "default", "q"))
    served.made(CONFIG_MAPS, config("d"))


def test_pods_by_what_they_ask_for(served: Served) -> None:
    quota(served, requests_cpu="1", limits_cpu="2", pods="10")
    said = served.refused(lambda: served.made(PODS, pod("silent"))).message
    assert (
        said
        == 'pods "silent" is forbidden: failed quota: q: must specify limits.cpu for: c; requests.cpu for: c'
    )
    served.made(PODS, pod("a", "600m"))
    said = served.refused(lambda: served.made(PODS, pod("b", "500m"))).message
    assert said.endswith(
        "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    )
    served.made(PODS, pod("c", "400m"))
    ended = served.get(PODS, "default", "a")
    served.put(PODS, {**ended, "status": {"phase": "Succeeded"}}, subresource="status")
    served.made(PODS, pod("d", "600m"))  # what has ended asks for nothing


def test_who_says_nothing_is_refused_also_where_nothing_else_is_counted(served: Served) -> None:
    quota(served, requests_memory="1Gi")
    said = served.refused(lambda: served.made(PODS, pod("silent"))).message
    assert said == 'pods "silent" is forbidden: failed quota: q: must specify requests.memory for: c'


def test_services_claims_and_any_other_kind(served: Served) -> None:
    hard = {"services": "3", "services.nodeports": "1", "services.loadbalancers": "0", "requests.storage": "2Gi", "persistentvolumeclaims": "5",
            "count/deployments.apps": "0", "secrets": "1", "fast.storageclass.storage.k8s.io/requests.storage": "1Gi", "resourcequotas": "1"}  # fmt: skip
    limited(served, hard)
    ports = [{"port": 80}]
    service: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}}
    made = served.made(SERVICES, {**service, "spec": {"ports": ports}})
    served.put(SERVICES, {**made, "spec": {**made["spec"], "type": "NodePort"}})
    assert (
        "requested: services.nodeports=1"
        in served.refused(lambda: served.made(SERVICES, {**service, "metadata": {"name": "t"}})).message
    )
    balancer = {
        "metadata": {"name": "l"},
        "spec": {"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": False},
    }
    assert (
        "requested: services.loadbalancers=1"
        in served.refused(lambda: served.made(SERVICES, balancer)).message
    )

    def claim(name: str, size: str, **more: str) -> dict[str, Any]:
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **more}
        return {"metadata": {"name": name}, "spec": asked}

    served.made(PERSISTENT_VOLUME_CLAIMS, claim("a", "1536Mi"))
    assert (
        "requested: requests.storage=1Gi, used: requests.storage=1536Mi, limited: requests.storage=2Gi"
        in served.refused(lambda: served.made(PERSISTENT_VOLUME_CLAIMS, claim("b", "1Gi"))).message
    )
    said = served.refused(
        lambda: served.made(PERSISTENT_VOLUME_CLAIMS, claim("c", "2Gi", storageClassName="fast"))
    ).message
    assert "fast.storageclass.storage.k8s.io/requests.storage=2Gi,requests.storage=2Gi" in said
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    assert (
        "requested: count/deployments.apps=1"
        in served.refused(lambda: served.made(DEPLOYMENTS, deployment)).message
    )
    served.made(SECRETS, {"metadata": {"name": "a"}})
    served.refused(lambda: served.made(SECRETS, {"metadata": {"name": "b"}}))
    assert "requested: resourcequotas=1" in served.refused(lambda: quota(served, "r", pods="1")).message


@pytest.mark.parametrize(
    ("more", "counted", "free"),
    [
        ({"scopes": ["BestEffort"]}, {}, {"cpu": "1"}), ({"scopes": ["NotBestEffort"]}, {"cpu": "1"}, {}),
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 5}, {}), ({"scopes": ["NotTerminating"]}, {}, {"activeDeadlineSeconds": 5}),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}, {"priorityClassName": "high"}, {}),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}, {"priorityClassName": "high"}, {}),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}]}}, {}, {"priorityClassName": "high"}),
    ],
)  # fmt: skip
def test_scopes(served: Served, more: dict[str, Any], counted: dict[str, Any], free: dict[str, Any]) -> None:
    served.made(PRIORITY_CLASSES, {"metadata": {"name": "high"}, "value": 5})
    limited(served, {"pods": "0"}, **more)
    served.made(PODS, pod("free", **free))
    assert "exceeded quota" in served.refused(lambda: served.made(PODS, pod("counted", **counted))).message


def test_sidecars_and_init_containers() -> None:
    always = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    first = {"name": "i", "resources": {"requests": {"cpu": "1"}}}
    made = pod("p", "500m", initContainers=[always, first], overhead={"cpu": "50m"})
    assert charge(made, PODS.storage)["requests.cpu"] == Decimal("1.15")


def test_many_at_once_never_exceed(served: Served) -> None:
    quota(served, configmaps="5")

    async def all_of_them() -> int:
        tries = (served.create(CONFIG_MAPS, "default", config(f"c{n}")) for n in range(20))
        return sum(
            not isinstance(it, ApiError) for it in await asyncio.gather(*tries, return_exceptions=True)
        )

    assert asyncio.run(all_of_them()) == 5


def test_a_trial_run_counts_nothing(served: Served) -> None:
    quota(served, configmaps="1")
    for _ in range(2):
        served.run(served.create(CONFIG_MAPS, "default", config("a"), dry_run=True))
    served.made(CONFIG_MAPS, config("a"))


def test_the_cost_of_one_more_does_not_grow(served: Served) -> None:
    quota(served, configmaps="100000")

    def made(begin: int) -> float:
        async def some() -> None:
            for number in range(begin, begin + 300):
                await served.create(CONFIG_MAPS, "default", config(f"c{number}"))

        begun = time.perf_counter()
        asyncio.run(some())
        return time.perf_counter() - begun

    first = made(0)
    for number in range(5_000):
        served.store.put(CONFIG_MAPS.storage, {"metadata": {"name": f"x{number}", "namespace": "default"}})
    assert made(1000) < first * 4 + 0.2


NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["put", "end", "gone", "quota", "unquota"]), st.integers(0, 3)))
)
def test_sums_are_what_counting_anew_gives(steps: list[tuple[str, str, int]]) -> None:
    """Whatever happens in whatever order."""
    held: dict[str, Any] = {}
    ledger = Ledger(lambda _, __: list(held.values()), lambda _: None)
    current: Any = None
    for name, what, cpu in steps:
        if what in ("quota", "unquota"):
            new = {
                "metadata": {"name": "q", "namespace": "n"},
                "spec": {"hard": {"pods": "9", "requests.cpu": "9", "count/pods": str(cpu)}},
            }
            ledger.quota(new if what == "quota" else None, current or new)
            current = new if what == "quota" else None
            continue
        old = held.get(name)
        made: Any = (
            {**pod(name, f"{cpu}00m"), "status": {"phase": "Failed" if what == "end" else "Running"}}
            if what != "gone"
            else None
        )
        if made:
            made["metadata"]["namespace"] = "n"
            held[name] = made
        elif old is None:
            continue
        else:
            del held[name]
        ledger.changed(PODS.storage, made, old)
    account = ledger.account("n", "q")
    if account is None:
        assert current is None
        return
    for resource in ("pods", "requests.cpu", "count/pods"):
        anew = sum((charge(it, PODS.storage).get(resource, Decimal(0)) for it in held.values()), Decimal(0))
        assert account.used.get(resource, Decimal(0)) == anew


def test_names_of_resources() -> None:
    assert storage_of("count/widgets.example.com") == ("example.com", "widgets")
    assert storage_of("limits.memory") == PODS.storage
    assert storage_of("requests.nvidia.com/gpu") == PODS.storage
