"""The pods that selectors choose. Asked only by who looks for problems: views find pods through endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from lateen.api.core import Pod
from lateen.api.gateway import Gateway
from lateen.incremental import Database, query
from lateen.names import labels
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.policy.problems import spelling
from lateen.policy.problems.spelling import Known
from lateen.registry import facts

#: By (label, value).
_ByLabel: TypeAlias = Mapping[tuple[str, str], frozenset[ObjectKey]]

_ENDED = ("Succeeded", "Failed")


@query
def selected(db: Database, namespace: str, selector: Labels) -> tuple[ObjectKey, ...]:
    """The pods of a namespace that have these labels and have not ended. An empty selector chooses none."""
    return _with_all(_by_label(db, namespace), selector)


def _with_all(found: _ByLabel, selector: Labels) -> tuple[ObjectKey, ...]:
    rarest, *others = sorted((found.get(it, frozenset()) for it in selector), key=len) or [frozenset()]
    return tuple(sorted(it for it in rarest if all(it in one for one in others)))


@query
def _by_label(db: Database, namespace: str) -> _ByLabel:
    found: dict[tuple[str, str], set[ObjectKey]] = {}
    for it in db.keys(facts.pods_in, namespace):
        key = ObjectKey(*it)
        for pair in marks(db, key):
            found.setdefault(pair, set()).add(key)
    return {pair: frozenset(keys) for pair, keys in found.items()}


@query
def marks(db: Database, key: ObjectKey) -> Labels:
    """The labels of a pod; none of one that has ended, or of none."""
    found = db.get(Pod, key)
    return labels.of(found.metadata.labels) if found and found.status.phase not in _ENDED else labels.NONE


@query
def port_names(db: Database, namespace: str, selector: Labels) -> frozenset[str]:
    """The names of the ports that the containers of some pods declare."""
    return frozenset().union(*(_port_names(db, it) for it in selected(db, namespace, selector)))


@query
def _port_names(db: Database, key: ObjectKey) -> frozenset[str]:
    found = db.get(Pod, key)
    containers = [*found.spec.containers, *found.spec.init_containers] if found else []
    return frozenset(port.name for it in containers for port in it.ports if port.name)


@query
def values(db: Database, namespace: str, label: str) -> tuple[str, ...]:
    """Which values a label has among the pods of a namespace."""
    return _values(_by_label(db, namespace), label)


@query
def values_of(db: Database, namespace: str, selector: Labels, label: str) -> tuple[str, ...]:
    """As ``values``, of the pods that a selector chooses."""
    found = (labels.get(marks(db, it), label) for it in selected(db, namespace, selector))
    return tuple(sorted(set(filter(None, found))))


def _values(found: _ByLabel, label: str) -> tuple[str, ...]:
    return tuple(sorted(value for name, value in found if name == label))


@query
def _spelled(db: Database, namespace: str, label: str) -> Known:
    return spelling.known(values(db, namespace, label))


def advice(db: Database, namespace: str, selector: Labels) -> str:
    """What to say of a selector that chooses no pod of a namespace: the label that is nearly one of theirs."""
    return _advice((label, spelling.near(value, _spelled(db, namespace, label))) for label, value in selector)


def _advice(nearly: Iterable[tuple[str, str]]) -> str:
    found = next((f"{label}={value}" for label, value in nearly if value), "")
    return f": did you mean {found}?" if found else ""


# --- gateways: their pods may run in any namespace -------------------------------------------


@query
def gateway_pods(db: Database, namespace: str, selector: Labels) -> tuple[ObjectKey, ...]:
    """The pods that a Gateway of a namespace selects."""
    if facts.switches(db).scope_gateways_to_namespace:
        return selected(db, namespace, selector)
    return _with_all(_everywhere(db), selector)


def gateway_advice(db: Database, namespace: str, selector: Labels) -> str:
    """As ``advice``, for a Gateway."""
    if facts.switches(db).scope_gateways_to_namespace:
        return advice(db, namespace, selector)
    return _advice((label, spelling.near(value, _spelled_everywhere(db, label))) for label, value in selector)


@query
def _everywhere(db: Database) -> _ByLabel:
    found: dict[tuple[str, str], set[ObjectKey]] = {}
    for it in db.keys(facts.namespaces, facts.ONLY):
        for pair, keys in _asked_in(db, ObjectKey(*it).name).items():
            found.setdefault(pair, set()).update(keys)
    return {pair: frozenset(keys) for pair, keys in found.items()}


@query
def _asked_in(db: Database, namespace: str) -> _ByLabel:
    """Of the labels that Gateways ask for: what other labels say changes nothing for them."""
    asked = _asked(db)
    return {pair: keys for pair, keys in _by_label(db, namespace).items() if pair[0] in asked}


@query
def _asked(db: Database) -> frozenset[str]:
    found = (db.get(Gateway, it) for it in db.keys(facts.all_gateways, facts.ONLY))
    return frozenset(label for it in found if it for label in it.spec.selector)


@query
def _spelled_everywhere(db: Database, label: str) -> Known:
    return spelling.known(_values(_everywhere(db), label))
