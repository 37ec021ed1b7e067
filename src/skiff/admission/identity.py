"""Whose is a pod, and how important? Its service account and its priority; and which class a claim is of.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from skiff.admission.request import Request, Stored, forbidden
from skiff.api import Object
from skiff.errors import invalid
from skiff.kinds import PRIORITY_CLASSES, SERVICE_ACCOUNTS, STORAGE_CLASSES

_MIRROR = "kubernetes.io/config.mirror"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
#: The classes that every cluster has, and what they are worth.
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_SAID = {
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to another node if"
    " necessary.",
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
}
_RESERVED = "Forbidden: priority class names with 'system-' prefix are reserved for system use only"
_LOOKS, _PAUSE_S = 10, 0.1
_HIGHEST = 1_000_000_000


def system_classes() -> list[Object]:
    """The PriorityClasses that every cluster has."""
    return [
        {"metadata": {"name": name}, "value": value, "description": _SAID[name]}
        for name, value in SYSTEM_CLASSES.items()
    ]


class ServiceAccounts:
    """Every pod has an account, which exists."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def mutate(self, request: Request, obj: Object) -> Object | Awaitable[Object]:
        """The pod with its account's name and the secrets by which the account pulls images."""
        if request.created is None or _MIRROR in (obj["metadata"].get("annotations") or {}):
            return obj
        spec = obj.get("spec") or {}
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        account = self._stored.get(SERVICE_ACCOUNTS, request.namespace, name)
        return self._late(request, obj, name) if account is None else _with_account(obj, account)

    async def _late(self, request: Request, obj: Object, name: str) -> Object:
        """A controller makes the account of a new namespace: a moment's patience, as the real plug-in has."""
        for _ in range(_LOOKS):
            await asyncio.sleep(_PAUSE_S)
            if account := self._stored.get(SERVICE_ACCOUNTS, request.namespace, name):
                return _with_account(obj, account)
        full = f"{request.namespace}/{name}"
        raise forbidden(
            request, f'error looking up service account {full}: serviceaccount "{name}" not found'
        )


def _with_account(obj: Object, account: Object) -> Object:
    spec, name = dict(obj.get("spec") or {}), account["metadata"]["name"]
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = list(account["imagePullSecrets"])
    return {**obj, "spec": spec}


class Priorities:
    """``spec.priority`` is the value of the pod's class; nobody writes another number."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def mutate(self, request: Request, obj: Object) -> Object:
        """The pod with the number of its class, or of the default one."""
        if request.created is None:
            return obj
        spec = obj.get("spec") or {}
        name, value, policy = self._class(request, spec.get("priorityClassName") or "")
        given = spec.get("priority")
        if given is not None and given != value:
            said = f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
            raise forbidden(request, f"{said}controller computed {value} from the given PriorityClass name")
        if spec.get("preemptionPolicy") not in (None, policy):
            said = f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            raise forbidden(
                request,
                f"{said}priority admission controller computed {policy} from the given PriorityClass name",
            )
        named = {"priorityClassName": name} if name else {}
        return {**obj, "spec": {**spec, **named, "priority": value, "preemptionPolicy": policy}}

    def _class(self, request: Request, name: str) -> tuple[str, int, str]:
        found = self._stored.get(PRIORITY_CLASSES, "", name) if name else self._default()
        if found is not None:
            return (
                found["metadata"]["name"],
                found.get("value", 0),
                found.get("preemptionPolicy") or "PreemptLowerPriority",
            )
        if name in SYSTEM_CLASSES:
            return name, SYSTEM_CLASSES[name], "PreemptLowerPriority"
        if name:
            raise forbidden(request, f"no PriorityClass with name {name} was found")
        return "", 0, "PreemptLowerPriority"

    def _default(self) -> Object | None:
        found = [it for it in self._stored.all(PRIORITY_CLASSES) if it.get("globalDefault")]
        return min(found, key=lambda it: int(it.get("value", 0)), default=None)

    def validate(self, request: Request) -> None:
        """PriorityClasses themselves: bounds of the value, system classes stay, one default."""
        new, old = request.obj, request.old
        if new is None:
            if request.name in SYSTEM_CLASSES:
                raise forbidden(request, "this is a system priority class and cannot be deleted")
            return
        said: list[tuple[str, str, str]] = []
        value = new.get("value", 0)
        if old is not None and (old.get("value", 0), old.get("preemptionPolicy")) != (
            value,
            new.get("preemptionPolicy"),
        ):
            said.append(("FieldValueForbidden", "Forbidden: may not be changed in an update.", "value"))
        system = SYSTEM_CLASSES.get(request.name)
        if request.name.startswith("system-") and (system is None or system != value):
            said.append(("FieldValueForbidden", _RESERVED, "metadata.name"))
        elif system is None and value > _HIGHEST:
            said.append(
                (
                    "FieldValueForbidden",
                    f"Forbidden: maximum allowed value of a user defined priority is {_HIGHEST}",
                    "value",
                )
            )
        if said:
            raise invalid(request.kind.kind, request.kind.group, request.name, said)
        others = [
            it
            for it in self._stored.all(PRIORITY_CLASSES)
            if it.get("globalDefault") and it["metadata"]["name"] != request.name
        ]
        if new.get("globalDefault") and others:
            raise forbidden(
                request,
                f"PriorityClass {others[0]['metadata']['name']} is already marked as default. Only one default can exist",
            )


class DefaultStorageClass:
    """A claim that names no class is of the default one, when there is one."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def mutate(self, request: Request, obj: Object) -> Object:
        """With the name of the newest default class."""
        spec = obj.get("spec") or {}
        if request.created is None or spec.get("storageClassName") is not None:
            return obj
        found = [
            it for it in self._stored.all(STORAGE_CLASSES)
            if (it["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
        ]  # fmt: skip
        if not found:
            return obj
        newest = max(
            found, key=lambda it: (it["metadata"].get("creationTimestamp", ""), it["metadata"]["name"])
        )
        return {**obj, "spec": {**spec, "storageClassName": newest["metadata"]["name"]}}
