"""Which packets does the node let through? The rules of NetworkPolicies, kept in step with policies, pods and namespaces."""

from __future__ import annotations

import asyncio
from typing import Never

from skiff.api import Object
from skiff.controllers.informer import Informers
from skiff.kinds import NAMESPACES, NETWORK_POLICIES, PODS
from skiff.net.kernel import run
from skiff.net.policies import EMPTY, World, ruleset
from skiff.node import rules


class Filtering:
    """What of the cluster the rules were made of, and when they must be made anew."""

    def __init__(self, informers: Informers, node: str) -> None:
        self._informers, self._node = informers, node
        self._changed = asyncio.Event()
        self._applied = ""  # unknown: an earlier daemon may have left some
        informers[NETWORK_POLICIES].listen(lambda _old, _new: self._changed.set())
        informers[NAMESPACES].listen(self._namespace_changed)
        informers[PODS].listen(self._pod_changed)

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        labels = [(it["metadata"].get("labels") or {}) if it is not None else None for it in (old, new)]
        if labels[0] != labels[1] and self._informers[NETWORK_POLICIES].objects:
            self._changed.set()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if self._informers[NETWORK_POLICIES].objects and _seen(old) != _seen(new):
            self._changed.set()

    async def keep_rules(self) -> Never:
        """Until cancelled."""
        await rules.keep(self._changed, self._apply, "the rules of NetworkPolicies")

    async def _apply(self) -> None:
        policies = list(self._informers[NETWORK_POLICIES].objects.values())
        text = EMPTY
        if policies:
            namespaces = self._informers[NAMESPACES].objects.values()
            text = ruleset(policies, World(self._informers[PODS].objects.values(), namespaces))
        if text != self._applied:
            await run("ip", "netns", "exec", self._node, "nft", "-f", "-", feed=text)
            self._applied = text


def _seen(pod: Object | None) -> tuple[object, ...] | None:
    """What of a pod the rules are made of."""
    if pod is None:
        return None
    status = pod.get("status") or {}
    return (pod["metadata"]["uid"], pod["metadata"].get("labels"), status.get("podIP"), status.get("phase"))
