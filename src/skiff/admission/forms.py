"""Are quotas and limit ranges themselves well formed? In the words of the real server's validation."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from skiff import quantities
from skiff.admission.request import Request
from skiff.admission.usage import storage_of
from skiff.api import Object
from skiff.errors import invalid
from skiff.kinds import LIMIT_RANGES, PODS, RESOURCE_QUOTAS, Kind
from skiff.schema.walk import Problem

KINDS: tuple[Kind, ...] = (RESOURCE_QUOTAS, LIMIT_RANGES)
_COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage"})
_STANDARD = frozenset(
    {
        "pods", "services", "services.loadbalancers", "services.nodeports", "replicationcontrollers", "resourcequotas", "secrets",
        "configmaps", "persistentvolumeclaims", "requests.storage", *_COMPUTE, *(f"requests.{it}" for it in _COMPUTE),
        *(f"limits.{it}" for it in _COMPUTE),
    }
)  # fmt: skip
_SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
_OPPOSITE = (("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort"))
_TYPES = ("Container", "Pod", "PersistentVolumeClaim")


class Forms:
    """Refuses quotas and limit ranges that mean nothing."""

    def validate(self, request: Request) -> None:
        """422 with every place that is wrong."""
        new = request.obj
        if new is None or request.subresource:
            return
        spec, old = new.get("spec") or {}, (request.old or {}).get("spec")
        found = list(_quota(spec, old) if request.kind is RESOURCE_QUOTAS else _ranges(spec))
        if found:
            raise invalid(request.kind.kind, request.kind.group, request.name, found)


def _amount(text: Any, at: str) -> tuple[Decimal | None, list[Problem]]:
    try:
        value = quantities.parse(text)
    except ValueError as wrong:
        return None, [("FieldValueInvalid", f'Invalid value: "{text}": {wrong}', at)]
    if value < 0:
        said = f'Invalid value: "{text}": must be greater than or equal to 0'
        return None, [("FieldValueInvalid", said, at)]
    return value, []


def _quota(spec: Object, old: Object | None) -> Iterator[Problem]:
    scopes: list[str] = list(spec.get("scopes") or ())
    for name, text in (spec.get("hard") or {}).items():
        at = f"spec.hard[{name}]"
        value, wrong = _amount(text, at)
        yield from wrong
        if (
            "/" not in name
            and name not in _STANDARD
            and not name.startswith(("hugepages-", "requests.hugepages-"))
        ):
            yield "FieldValueInvalid", f'Invalid value: "{name}": must be a standard resource for quota', at
        counted = name == "pods" or (storage_of(name) != PODS.storage and "requests.storage" not in name)
        if counted and value is not None and value != value.to_integral_value():
            yield "FieldValueInvalid", f'Invalid value: "{text}": must be an integer', at
        for scope in scopes:
            if not _limits(scope, name):
                said = f"Invalid value: {_listed(scopes)}: unsupported scope applied to resource"
                yield "FieldValueInvalid", said, "spec.scopes"
    for scope in scopes:
        if scope not in _SCOPES:
            yield "FieldValueInvalid", f"Invalid value: {_listed(scopes)}: unsupported scope", "spec.scopes"
    if any(one in scopes and other in scopes for one, other in _OPPOSITE):
        yield "FieldValueInvalid", f"Invalid value: {_listed(scopes)}: conflicting scopes", "spec.scopes"
    if old is not None and set(old.get("scopes") or ()) != set(scopes):
        yield "FieldValueInvalid", f"Invalid value: {_listed(scopes)}: field is immutable", "spec.scopes"


def _limits(scope: str, name: str) -> bool:
    """Whether a scope can be put on a resource."""
    if scope == "BestEffort":
        return name in ("pods", "count/pods")
    return scope not in _SCOPES or storage_of(name) == PODS.storage


def _listed(scopes: list[str]) -> str:
    return "[" + ",".join(f'"{it}"' for it in scopes) + "]"


def _ranges(spec: Object) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, limit in enumerate(spec.get("limits") or ()):
        at, of = f"spec.limits[{index}]", limit.get("type")
        if of in seen:
            yield "FieldValueDuplicate", f'Duplicate value: "{of}"', f"{at}.type"
        seen.add(of)
        if of not in _TYPES and "/" not in str(of):
            yield (
                "FieldValueInvalid",
                f'Invalid value: "{of}": must be a standard limit type or fully qualified',
                f"{at}.type",
            )
        if of == "Pod":
            for word in ("default", "defaultRequest"):
                if limit.get(word):
                    yield (
                        "FieldValueForbidden",
                        "Forbidden: may not be specified when `type` is 'Pod'",
                        f"{at}.{word}",
                    )
        if of == "PersistentVolumeClaim" and not any(
            "storage" in (limit.get(word) or {}) for word in ("min", "max")
        ):
            yield (
                "FieldValueRequired",
                "Required value: either minimum or maximum storage value is required, but neither was provided",
                at,
            )
        yield from _ordered(limit, at)


def _ordered(limit: Object, at: str) -> Iterator[Problem]:
    """The least, the usual and the most, in this order."""
    held: dict[str, dict[str, Decimal]] = {}
    for word in ("min", "defaultRequest", "default", "max", "maxLimitRequestRatio"):
        held[word] = {}
        for name, text in (limit.get(word) or {}).items():
            value, wrong = _amount(text, f"{at}.{word}[{name}]")
            yield from wrong
            if value is not None:
                held[word][name] = value
    called = {"min": "min", "defaultRequest": "default request", "default": "default", "max": "max"}
    for less, more in (("min", "max"), ("min", "defaultRequest"), ("defaultRequest", "max"), ("min", "default"),
                       ("defaultRequest", "default"), ("default", "max")):  # fmt: skip
        for name, value in held[less].items():
            if name in held[more] and value > held[more][name]:
                one, other = limit[less][name], limit[more][name]
                said = f'Invalid value: "{one}": {called[less]} value {one} is greater than {called[more]} value {other}'
                yield "FieldValueInvalid", said, f"{at}.{less}[{name}]"
    for name, value in held["maxLimitRequestRatio"].items():
        if value < 1:
            text = limit["maxLimitRequestRatio"][name]
            said = f'Invalid value: "{text}": ratio {text} is less than 1'
            yield "FieldValueInvalid", said, f"{at}.maxLimitRequestRatio[{name}]"
