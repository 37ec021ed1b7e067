"""What may one container, pod or claim ask for, and what does it get when it says nothing? LimitRanges.

https://kubernetes.io/docs/concepts/policy/limit-range/ , in the words of the real plug-in.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from skiff import quantities
from skiff.admission.pods import Amounts, amounts
from skiff.admission.request import Request, Stored, forbidden
from skiff.api import Object
from skiff.kinds import LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS, Kind

KINDS: tuple[Kind, ...] = (PODS, PERSISTENT_VOLUME_CLAIMS)
_ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanges:
    """Sets what is missing, and refuses what is too little or too much."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def _limits(self, request: Request, of: str) -> list[Object]:
        found = self._stored.all(LIMIT_RANGES, request.namespace)
        return [
            it for one in found for it in (one.get("spec") or {}).get("limits") or () if it.get("type") == of
        ]

    def mutate(self, request: Request, obj: Object) -> Object:
        """A pod with the defaults of its namespace."""
        if request.kind is not PODS or request.created is None:
            return obj
        limits = self._limits(request, "Container")
        return _with_defaults(obj, limits) if limits else obj

    def validate(self, request: Request) -> None:
        """403 when a bound is broken."""
        new = request.obj
        if new is None or request.subresource or new["metadata"].get("deletionTimestamp"):
            return
        if request.kind is PERSISTENT_VOLUME_CLAIMS:
            said = list(self._claim(request, new))
        elif request.operation == "CREATE":  # what a pod asks for stays
            said = list(self._pod(request, new))
        else:
            return
        if said:
            raise forbidden(request, said[0] if len(said) == 1 else f"[{', '.join(said)}]")

    def _claim(self, request: Request, claim: Object) -> Iterator[str]:
        for limit in self._limits(request, "PersistentVolumeClaim"):
            yield from _broken(limit, _resources(claim.get("spec") or {}), ratio=False, both=False)

    def _pod(self, request: Request, pod: Object) -> Iterator[str]:
        spec = pod.get("spec") or {}
        listed = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        for limit in self._limits(request, "Container"):
            for it in listed:
                yield from _broken(limit, _resources(it))
        whole = self._limits(request, "Pod")
        if whole:
            summed = _together(spec)
            for limit in whole:
                yield from _broken(limit, summed)


Resources = tuple[Amounts, Amounts, dict[str, Any]]


def _resources(obj: Object) -> Resources:
    """(requests, limits, how they were written)."""
    held = obj.get("resources") or {}
    return (
        amounts(held.get("requests")),
        amounts(held.get("limits")),
        {**(held.get("requests") or {}), **(held.get("limits") or {})},
    )


def _together(spec: Object) -> Resources:
    """Of a pod: a resource that one of its containers does not bound is not bound."""
    listed = [_resources(it) for it in spec.get("containers") or ()]
    sums = []
    for place in (0, 1):
        names = {name for it in listed for name in it[place]}
        sums.append(
            {
                name: sum((it[place][name] for it in listed), Decimal(0))
                for name in names
                if all(name in it[place] for it in listed)
            }
        )
    for it in spec.get("initContainers") or ():
        for place, found in enumerate(_resources(it)[:2]):
            for name, value in found.items():
                sums[place][name] = max(sums[place].get(name, Decimal(0)), value)
    own = _resources(spec)
    return (
        {**sums[0], **own[0]},
        {**sums[1], **own[1]},
        {name: text for it in listed for name, text in it[2].items()} | own[2],
    )


def _broken(limit: Object, held: Resources, *, ratio: bool = True, both: bool = True) -> Iterator[str]:
    requests, limits, written = held
    of = limit["type"]

    def shown(name: str, value: Decimal) -> str:
        return quantities.show(value, written.get(name, ""))

    for name, least in amounts(limit.get("min")).items():
        begin = f"minimum {name} usage per {of} is {quantities.show(least, limit['min'][name])}"
        if name not in requests:
            yield f"{begin}.  No request is specified"
        elif requests[name] < least:
            yield f"{begin}, but request is {shown(name, requests[name])}"
        elif name in limits and limits[name] < least and both:
            yield f"{begin}, but limit is {shown(name, limits[name])}"
    for name, most in amounts(limit.get("max")).items():
        begin = f"maximum {name} usage per {of} is {quantities.show(most, limit['max'][name])}"
        if both and name not in limits:
            yield f"{begin}.  No limit is specified"
        elif both and limits[name] > most:
            yield f"{begin}, but limit is {shown(name, limits[name])}"
        elif name in requests and requests[name] > most:
            yield f"{begin}, but request is {shown(name, requests[name])}"
    for name, most in amounts(limit.get("maxLimitRequestRatio")).items() if ratio else ():
        yield from _ratio(name, of, most, limit["maxLimitRequestRatio"][name], requests, limits)


def _ratio(
    name: str, of: str, most: Decimal, written: Any, requests: Amounts, limits: Amounts
) -> Iterator[str]:
    begin = f"{name} max limit to request ratio per {of} is {quantities.show(most, written)}"
    if not requests.get(name):
        yield f"{begin}, but no request is specified or request is 0"
    elif not limits.get(name):
        yield f"{begin}, but no limit is specified or limit is 0"
    elif limits[name] / requests[name] > most:
        yield f"{begin}, but provided ratio is {limits[name] / requests[name]:.6f}"


def _with_defaults(pod: Object, limits: list[Object]) -> Object:
    defaults = {
        part: {name: text for limit in limits for name, text in (limit.get(word) or {}).items()}
        for part, word in (("requests", "defaultRequest"), ("limits", "default"))
    }
    told: list[str] = []
    spec = dict(pod.get("spec") or {})
    for part, called in (("containers", "container"), ("initContainers", "init container")):
        if spec.get(part):
            spec[part] = [_completed(it, defaults, told, called) for it in spec[part]]
    if not told:
        return pod
    notes = {
        **(pod["metadata"].get("annotations") or {}),
        _ANNOTATION: "LimitRanger plugin set: " + "; ".join(told),
    }
    return {**pod, "metadata": {**pod["metadata"], "annotations": notes}, "spec": spec}


def _completed(
    container: Object, defaults: dict[str, dict[str, Any]], told: list[str], called: str
) -> Object:
    resources = dict(container.get("resources") or {})
    for part, word in (("requests", "request"), ("limits", "limit")):
        held = resources.get(part) or {}
        missing = {name: text for name, text in defaults[part].items() if name not in held}
        if missing:
            resources[part] = {**held, **missing}
            told.append(f"{', '.join(sorted(missing))} {word} for {called} {container.get('name', '')}")
    return {**container, "resources": resources} if resources else container


def completed_range(obj: Object) -> Object:
    """A LimitRange with what follows from what it says: a maximum is the default, and a default limit the default request."""
    limits = [
        _range(it) if it.get("type") == "Container" else it
        for it in (obj.get("spec") or {}).get("limits") or ()
    ]
    return {**obj, "spec": {**(obj.get("spec") or {}), "limits": limits}} if limits else obj


def _range(limit: Object) -> Object:
    limit = dict(limit)
    for word, sources in (("default", ("max",)), ("defaultRequest", ("default", "min"))):
        made = dict(limit.get(word) or {})
        for source in sources:
            for name, text in (limit.get(source) or {}).items():
                made.setdefault(name, text)
        if made:
            limit[word] = made
    return limit


class RangeDefaults:
    """Completes LimitRanges themselves."""

    def mutate(self, request: Request, obj: Object) -> Object:
        """With the defaults that follow."""
        return obj if request.subresource else completed_range(obj)
