"""What does a pod ask for? Its requests and limits, summed as Kubernetes sums them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from skiff import quantities
from skiff.api import Object
from skiff.kinds import (
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Kind,
)  # fmt: skip

Amounts = dict[str, Decimal]

#: Kinds that describe pods.
TEMPLATES: frozenset[Kind] = frozenset(
    {DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, CRON_JOBS, REPLICATION_CONTROLLERS}
)


def described(kind: Kind, obj: Object) -> tuple[Object, Object] | None:
    """(metadata, spec) of the pods that an object is or makes; None when it has none."""
    if kind is PODS:
        return obj["metadata"], obj.get("spec") or {}
    spec = obj.get("spec") or {}
    if kind is CRON_JOBS:
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template")
    return (template.get("metadata") or {}, template.get("spec") or {}) if template else None


def containers(spec: Object) -> Iterator[Object]:
    """All containers of a pod, in Kubernetes' order."""
    for part in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(part) or ()


def amounts(listed: Any) -> Amounts:
    """A list of resources as numbers; what is no quantity is left out, validation says so."""
    made: Amounts = {}
    for name, text in (listed or {}).items():
        try:
            made[name] = quantities.parse(text)
        except ValueError:
            continue
    return made


def asked(spec: Object, what: str) -> Amounts:
    """``requests`` or ``limits`` of a whole pod: all that run together, or the first that run alone, whichever is more."""
    together = added(_of(it, what) for it in spec.get("containers") or ())
    beside: Amounts = {}
    alone: Amounts = {}
    for it in spec.get("initContainers") or ():
        mine = _of(it, what)
        if it.get("restartPolicy") == "Always":  # a sidecar goes on
            beside = added((beside, mine))
            together = added((together, mine))
            mine = beside
        else:
            mine = added((mine, beside))
        alone = {
            name: max(mine.get(name, Decimal(0)), alone.get(name, Decimal(0))) for name in {*mine, *alone}
        }
    whole = {
        name: max(together.get(name, Decimal(0)), alone.get(name, Decimal(0))) for name in {*together, *alone}
    }
    whole |= amounts((spec.get("resources") or {}).get(what))  # what the pod says of itself counts
    overhead = amounts(spec.get("overhead"))
    if what == "limits":
        overhead = {name: it for name, it in overhead.items() if name in whole}
    return added((whole, overhead))


def _of(container: Object, what: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(what))


def added(several: Iterable[Amounts]) -> Amounts:
    """The sum of all."""
    made: Amounts = {}
    for one in several:
        for name, value in one.items():
            made[name] = made.get(name, Decimal(0)) + value
    return made


def best_effort(spec: Object) -> bool:
    """Whether no container asks for processors or memory."""
    parts = [it for part in ("initContainers", "containers") for it in spec.get(part) or ()]
    return not any(
        amount and name in ("cpu", "memory")
        for it in [*parts, spec]
        for what in ("requests", "limits")
        for name, amount in _of(it, what).items()
    )
