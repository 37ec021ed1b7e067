"""How much of a quota is used? Sums that every change moves by what it changes: nobody counts all objects for one more.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from skiff import quantities
from skiff.admission.pods import Amounts, added, amounts, asked, best_effort
from skiff.api import Object
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES

Storage = tuple[str, str]
#: (namespace, storage) -> what there is.
Listed = Callable[[str, Storage], Iterable[Object]]

#: Names that are counts of one kind, beside ``count/<resource>.<group>``.
_COUNTS: dict[str, Storage] = {
    it: ("", it)
    for it in (
        "services",
        "configmaps",
        "secrets",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
    )
}
_OF_SERVICES = ("services.loadbalancers", "services.nodeports")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_ONE = Decimal(1)


def storage_of(name: str) -> Storage | None:
    """Objects of which kind a resource of a quota is about; None for a name that is no resource."""
    if name.startswith("count/"):
        plural, _, group = name.removeprefix("count/").partition(".")
        return (group, plural) if plural else None
    if name in _COUNTS:
        return _COUNTS[name]
    if name in _OF_SERVICES:
        return SERVICES.storage
    if name == "requests.storage" or _STORAGE_CLASS in name:
        return PERSISTENT_VOLUME_CLAIMS.storage
    return PODS.storage


def charge(obj: Object, storage: Storage) -> Amounts:
    """What an object costs, by the names that quotas use."""
    count = {f"count/{storage[1]}.{storage[0]}".rstrip("."): _ONE}
    if storage == PODS.storage:
        return count | _of_pod(obj)
    if storage[1] in _COUNTS and not storage[0]:
        count[storage[1]] = _ONE
    if storage == SERVICES.storage:
        count |= _of_service(obj)
    elif storage == PERSISTENT_VOLUME_CLAIMS.storage:
        count |= _of_claim(obj)
    return count


def _of_pod(pod: Object) -> Amounts:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return {}
    spec = pod.get("spec") or {}
    made: Amounts = {"pods": _ONE}
    for name, value in asked(spec, "requests").items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            made[name] = value
        made[f"requests.{name}"] = value
    for name, value in asked(spec, "limits").items():
        if name in _COMPUTE:
            made[f"limits.{name}"] = value
    return made


def _of_service(service: Object) -> Amounts:
    spec = service.get("spec") or {}
    ports = Decimal(len(spec.get("ports") or ()))
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": ports}
        case "LoadBalancer":
            balancer: Amounts = {"services.loadbalancers": _ONE}
            return balancer | (
                {} if spec.get("allocateLoadBalancerNodePorts") is False else {"services.nodeports": ports}
            )
    return {}


def _of_claim(claim: Object) -> Amounts:
    spec = claim.get("spec") or {}
    storage = amounts((spec.get("resources") or {}).get("requests")).get("storage", Decimal(0))
    made: Amounts = {"requests.storage": storage}
    if name := spec.get("storageClassName"):
        made |= {
            f"{name}{_STORAGE_CLASS}requests.storage": storage,
            f"{name}{_STORAGE_CLASS}persistentvolumeclaims": _ONE,
        }
    return made


def in_scope(quota: Object, obj: Object, storage: Storage) -> bool:
    """Whether an object is one of those that a quota with scopes is about."""
    spec = quota.get("spec") or {}
    wanted: list[Object] = [{"scopeName": it, "operator": "Exists"} for it in spec.get("scopes") or ()]
    wanted += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    if not wanted:
        return True
    return storage == PODS.storage and all(_scoped(it, obj.get("spec") or {}) for it in wanted)


def _scoped(wanted: Object, spec: Object) -> bool:
    terminating = (spec.get("activeDeadlineSeconds") or -1) >= 0
    match wanted.get("scopeName"):
        case "Terminating":
            return terminating
        case "NotTerminating":
            return not terminating
        case "BestEffort":
            return best_effort(spec)
        case "NotBestEffort":
            return not best_effort(spec)
        case "PriorityClass":
            return _named(wanted, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _crosses(spec.get("affinity") or {})
    return False


def _named(wanted: Object, name: str) -> bool:
    values = wanted.get("values") or ()
    match wanted.get("operator"):
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return not name
    return bool(name)


def _crosses(affinity: Object) -> bool:
    for word in ("podAffinity", "podAntiAffinity"):
        held = affinity.get(word) or {}
        terms = [*(held.get("requiredDuringSchedulingIgnoredDuringExecution") or ())]
        terms += [
            it.get("podAffinityTerm") or {}
            for it in held.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(it.get("namespaces") or it.get("namespaceSelector") is not None for it in terms):
            return True
    return False


@dataclass(slots=True)
class Account:
    """One quota and what is used of it."""

    quota: Object
    hard: Amounts
    storages: frozenset[Storage]
    used: Amounts = field(default_factory=dict)

    def covers(self, obj: Object, storage: Storage) -> bool:
        """Whether it is about such objects."""
        return storage in self.storages and in_scope(self.quota, obj, storage)

    def costs(self, obj: Object | None, storage: Storage) -> Amounts:
        """What an object takes of it."""
        if obj is None or not self.covers(obj, storage):
            return {}
        return {name: value for name, value in charge(obj, storage).items() if name in self.hard}

    def moved(self, new: Object | None, old: Object | None, storage: Storage) -> Amounts:
        """By how much a change moves the sums."""
        before, after = self.costs(old, storage), self.costs(new, storage)
        moves = {
            name: after.get(name, Decimal(0)) - before.get(name, Decimal(0)) for name in {*before, *after}
        }
        return {name: value for name, value in moves.items() if value}

    def status(self) -> dict[str, dict[str, str]]:
        """As the status of the quota tells it."""
        hard: dict[str, Any] = (self.quota.get("spec") or {}).get("hard") or {}
        return {
            "hard": {name: quantities.show(value, hard[name]) for name, value in self.hard.items()},
            "used": {
                name: quantities.show(self.used.get(name, Decimal(0)), hard[name]) for name in self.hard
            },
        }


class Ledger:
    """The accounts of all quotas. Whoever feeds it tells every change once, and answers with what exists when asked."""

    def __init__(self, listed: Listed, follow: Callable[[Storage], None]) -> None:
        self._listed, self._follow = listed, follow
        self._followed: set[Storage] = set()
        self._accounts: dict[str, dict[str, Account]] = {}  # by namespace, then name

    def of(self, namespace: str) -> Iterable[Account]:
        """The accounts of a namespace."""
        return self._accounts.get(namespace, {}).values()

    def account(self, namespace: str, name: str) -> Account | None:
        """The account of one quota."""
        return self._accounts.get(namespace, {}).get(name)

    def quota(self, new: Object | None, old: Object | None) -> None:
        """A quota is there, has changed or is gone."""
        about = new or old
        if about is None:
            return
        namespace, name = about["metadata"]["namespace"], about["metadata"]["name"]
        if new is None:
            self._accounts.get(namespace, {}).pop(name, None)
            if not self._accounts.get(namespace):
                self._accounts.pop(namespace, None)
            return
        held = self.account(namespace, name)
        if held is not None and held.quota.get("spec") == new.get("spec"):
            held.quota = new
            return
        hard = amounts((new.get("spec") or {}).get("hard"))
        storages = frozenset(it for it in map(storage_of, hard) if it)
        made = Account(new, hard, storages)
        for storage in storages:
            if storage not in self._followed:
                self._followed.add(storage)
                self._follow(storage)
            made.used = added(
                [made.used, *(made.costs(it, storage) for it in self._listed(namespace, storage))]
            )
        self._accounts.setdefault(namespace, {})[name] = made

    def changed(self, storage: Storage, new: Object | None, old: Object | None) -> list[Account]:
        """An object of a followed kind is there, has changed or is gone; answers whose sums moved."""
        about = new or old
        accounts = self._accounts.get(about["metadata"].get("namespace", "")) if about else None
        moved = []
        for it in accounts.values() if accounts else ():
            if moves := it.moved(new, old, storage):
                it.used = added((it.used, moves))
                moved.append(it)
        return moved
