"""What is on the node already? Its pods with indexes, so that a thousand that wait are not compared with a thousand there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from skiff.api import Object
from skiff.controllers import affinity, placement
from skiff.controllers.affinity import Namespaces, Term
from skiff.controllers.queue import Key
from skiff.objects import finished, key_of, matches

_ANYWHERE = ("", "0.0.0.0")


class Occupancy:
    """The pods of the node. Told of every change of a pod."""

    def __init__(self) -> None:
        self.pods: dict[Key, Object] = {}
        self.asked: Counter[str] = Counter()  # what they ask for, in thousandths
        self._labelled: dict[tuple[str, str, str], set[Key]] = {}
        self._by_namespace: dict[str, set[Key]] = {}
        self._repelling: dict[str, tuple[Term, set[Key]]] = {}
        self._ports: dict[tuple[str, int], Counter[str]] = {}

    def changed(self, old: Object | None, new: Object | None) -> None:
        """A listener of the informer of pods."""
        obj = new or old
        if obj is None:
            return
        if key_of(obj) in self.pods:
            self._leave(key_of(obj))
        if new is not None and new["spec"].get("nodeName") and not finished(new):
            self._come(new)

    def _come(self, pod: Object) -> None:
        key = key_of(pod)
        self.pods[key] = pod
        self.asked.update(placement.requests(pod))
        for word in _words(pod):
            self._labelled.setdefault(word, set()).add(key)
        self._by_namespace.setdefault(key[0], set()).add(key)
        for term in affinity.required(pod, "podAntiAffinity"):
            self._repelling.setdefault(term.key, (term, set()))[1].add(key)
        for protocol, number, address in host_ports(pod):
            self._ports.setdefault((protocol, number), Counter())[address] += 1

    def _leave(self, key: Key) -> None:
        pod = self.pods.pop(key)
        self.asked.subtract(placement.requests(pod))
        for word in _words(pod):
            _discard(self._labelled, word, key)
        _discard(self._by_namespace, key[0], key)
        for term in affinity.required(pod, "podAntiAffinity"):
            if (held := self._repelling.get(term.key)) is not None:
                held[1].discard(key)
                if not held[1]:
                    del self._repelling[term.key]
        for protocol, number, address in host_ports(pod):
            self._ports[protocol, number][address] -= 1

    # --- questions -------------------------------------------------------------------------------

    def busy(self, pod: Object) -> bool:
        """Whether somebody holds one of the node's ports that the pod wants."""
        for protocol, number, address in host_ports(pod):
            for held, count in self._ports.get((protocol, number), {}).items():
                if count and (held == address or held in _ANYWHERE or address in _ANYWHERE):
                    return True
        return False

    def of_namespace(self, namespace: str) -> list[Object]:
        """The pods of a namespace."""
        return [self.pods[it] for it in self._by_namespace.get(namespace, ())]

    def repelled(self, pod: Object, labels: dict[str, str], namespaces: Namespaces) -> bool:
        """Whether a pod that is there does not want this one beside it."""
        return any(
            term.topology in labels and term.means(pod, namespaces) for term, _ in self._repelling.values()
        )

    def some(self, terms: Iterable[Term], namespaces: Namespaces) -> bool:
        """Whether a pod is there that all terms mean."""
        every = list(terms)
        return any(all(it.means(pod, namespaces) for it in every) for pod in self._candidates(every[0]))

    def count(self, namespace: str, selector: Object | None) -> int:
        """How many pods of a namespace a selector selects, without those that are ending."""
        term = Term("", frozenset({namespace}), None, selector)
        return sum(
            matches(selector, it["metadata"].get("labels")) and not it["metadata"].get("deletionTimestamp")
            for it in self._candidates(term)
        )

    def _candidates(self, term: Term) -> Iterator[Object]:
        """The pods that a term may mean: by its rarest label where it names its namespaces."""
        if term.selector is None:
            return
        if term.among is not None:
            yield from list(self.pods.values())
            return
        words = list((term.selector.get("matchLabels") or {}).items())
        words += [
            (it.get("key", ""), it["values"][0])
            for it in term.selector.get("matchExpressions") or ()
            if it.get("operator") == "In" and len(it.get("values") or ()) == 1
        ]
        for namespace in term.namespaces:
            sets = [self._labelled.get((namespace, *word), set()) for word in words]
            keys = min(sets, key=len) if sets else self._by_namespace.get(namespace, set())
            yield from [self.pods[key] for key in keys]


def host_ports(pod: Object) -> list[tuple[str, int, str]]:
    """(protocol, port, address) that the pod takes of the node; of a pod in the node's network all its ports."""
    found = []
    for part in ("containers", "initContainers"):
        for container in pod["spec"].get(part) or ():
            if part == "initContainers" and container.get("restartPolicy") != "Always":
                continue
            for it in container.get("ports") or ():
                shared = it.get("containerPort", 0) if pod["spec"].get("hostNetwork") else 0
                if number := it.get("hostPort") or shared:
                    found.append((it.get("protocol", "TCP"), number, it.get("hostIP") or ""))
    return found


def _words(pod: Object) -> list[tuple[str, str, str]]:
    labels = pod["metadata"].get("labels") or {}
    return [(pod["metadata"].get("namespace", ""), key, value) for key, value in labels.items()]


def _discard(index: dict[Any, set[Key]], word: Any, key: Key) -> None:
    keys = index.get(word, set())
    keys.discard(key)
    if not keys:
        index.pop(word, None)
