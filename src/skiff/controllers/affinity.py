"""Which pods does a term of pod affinity mean? Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from skiff.api import Object
from skiff.objects import matches

#: Labels of a namespace by its name.
Namespaces = Callable[[str], dict[str, str]]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class Term(NamedTuple):
    """One required term, with what it takes from its pod filled in."""

    topology: str
    namespaces: frozenset[str]
    among: Any  # a selector of namespaces, or None
    selector: Any

    def means(self, pod: Object, namespaces: Namespaces) -> bool:
        """Whether it is about this pod."""
        place = pod["metadata"].get("namespace", "")
        if place not in self.namespaces and (
            self.among is None or not matches(self.among, namespaces(place))
        ):
            return False
        return matches(self.selector, pod["metadata"].get("labels"))

    @property
    def key(self) -> str:
        """The same for the terms of all replicas."""
        return json.dumps([self.topology, sorted(self.namespaces), self.among, self.selector], sort_keys=True)


def required(pod: Object, sort: str) -> list[Term]:
    """The terms of ``podAffinity`` or ``podAntiAffinity`` that must hold."""
    said = ((pod["spec"].get("affinity") or {}).get(sort) or {}).get(_REQUIRED) or ()
    return [_term(pod, it) for it in said]


def _term(pod: Object, term: Object) -> Term:
    among, listed = term.get("namespaceSelector"), frozenset(term.get("namespaces") or ())
    own = frozenset({pod["metadata"].get("namespace", "")})
    named = own if among is None and not listed else listed
    return Term(term.get("topologyKey", ""), named, among, filled(pod, term))


def filled(pod: Object, term: Object) -> Object | None:
    """The label selector with ``matchLabelKeys`` and ``mismatchLabelKeys`` of the pod that bears it."""
    selector = term.get("labelSelector")
    if selector is None:
        return None
    labels, more = pod["metadata"].get("labels") or {}, []
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        more += [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for key in term.get(field) or ()
            if key in labels
        ]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}
