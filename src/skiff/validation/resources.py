"""Which amounts may somebody ask for? Requests and limits, quotas, the size of a claim."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from skiff import quantities
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.problems import (
    NEGATIVE,
    POSITIVE,
    each,
    forbidden,
    invalid,
    listed,
    part,
    required,
    text,
    unsupported,
)

_OF_PODS = ("cpu", "memory")
_NATIVE = ("cpu", "memory", "ephemeral-storage")
HUGE = "hugepages-"


def amount(value: Any) -> Decimal | None:
    """The quantity; None when it is none, which the schema tells."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return quantities.parse(value)
    except ValueError:
        return None


def quantity(path: str, value: Any, *, positive: bool = False) -> Iterator[Problem]:
    """A quantity that is none, or too small."""
    found = amount(value)
    if found is None:
        if value is not None:
            yield invalid(path, value, quantities.WRONG)
    elif positive and found <= 0:
        yield invalid(path, str(value), POSITIVE)
    elif found < 0:
        yield invalid(path, str(value), NEGATIVE)


def amounts(value: Any, name: str, path: str) -> Iterator[Problem]:
    """A map of resources: their names, and amounts that are not negative; whole ones of what cannot be divided."""
    for key, it in part(value, name).items():
        where = f"{path}.{name}[{key}]"
        yield from each(where, key, names.qualified(key))
        yield from quantity(where, it)
        found = amount(it)
        if (
            found is not None
            and found != found.to_integral_value()
            and (_extended(key) or key.startswith(HUGE))
        ):
            yield invalid(where, str(it), "must be an integer")


def requirements(value: Any, path: str) -> Iterator[Problem]:
    """``resources`` of a container."""
    limits, requests = part(value, "limits"), part(value, "requests")
    for field, given in (("limits", limits), ("requests", requests)):
        yield from amounts(value, field, path)
        for key in given:
            if "/" not in key and key not in _NATIVE and not key.startswith(HUGE):
                yield invalid(f"{path}.{field}[{key}]", key, "must be a standard resource for containers")
    for key, it in requests.items():
        yield from _within(key, it, limits, path)
    named = {*limits, *requests}
    if any(it.startswith(HUGE) for it in named) and not named & {"cpu", "memory"}:
        yield forbidden(path, "HugePages require cpu or memory")


def _within(key: str, value: Any, limits: dict[str, Any], path: str) -> Iterator[Problem]:
    asked, most = amount(value), amount(limits.get(key))
    exact = _extended(key) or key.startswith(HUGE)
    if most is None:
        if exact:
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        return
    if asked is None:
        return
    if exact and asked != most:
        yield invalid(f"{path}.requests", str(value), f"must be equal to {key} limit of {limits[key]}")
    elif asked > most:
        yield invalid(
            f"{path}.requests", str(value), f"must be less than or equal to {key} limit of {limits[key]}"
        )


def _extended(key: str) -> bool:
    """Whether it is a thing of somebody else, such as a GPU: ``example.com/gpu``."""
    return "/" in key and "kubernetes.io/" not in key


def of_pod(spec: Any, path: str) -> Iterator[Problem]:
    """``resources`` of a whole pod, and what its containers ask for beside them."""
    whole, where = part(spec, "resources"), f"{path}.resources"
    if not whole:
        return
    limits, requests = part(whole, "limits"), part(whole, "requests")
    for field, given in (("limits", limits), ("requests", requests)):
        yield from amounts(whole, field, where)
        for key in given:
            if key not in _OF_PODS and not key.startswith(HUGE):
                yield unsupported(f"{where}.{field}[{key}]", key, _OF_PODS)
    for key, it in requests.items():
        yield from _within(key, it, limits, where)
    if listed(whole, "claims"):
        yield forbidden(f"{where}.claims", "claims may not be set for Resources at pod-level")
    for key, it in requests.items():
        asked, most = _together(spec, key), amount(it)
        if most is not None and asked > most:
            said = f"must be greater than or equal to aggregate container requests of {quantities.show(asked, it)}"
            yield invalid(f"{where}.requests[{key}]", str(it), said)
    for index, one in enumerate(listed(spec, "containers")):
        for key, it in part(part(one, "resources"), "limits").items():
            most, own = amount(limits.get(key)), amount(it)
            if most is not None and own is not None and own > most:
                said = f"must be less than or equal to pod limits of {limits[key]}"
                yield invalid(f"{path}.containers[{index}][{key}].limits", str(it), said)


def _together(spec: Any, key: str) -> Decimal:
    """What containers and sidecars ask for, or more when one that runs before them does."""
    total, most = Decimal(0), Decimal(0)
    for it in listed(spec, "initContainers"):
        own = _request(it, key)
        most = max(most, total + own)
        total += own if text(it, "restartPolicy") == "Always" else 0
    return max(most, total + sum((_request(it, key) for it in listed(spec, "containers")), Decimal(0)))


def _request(it: Any, key: str) -> Decimal:
    return amount(part(part(it, "resources"), "requests").get(key)) or Decimal(0)
