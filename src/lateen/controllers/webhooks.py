"""Can the API server trust our webhooks? Their configurations carry our root as ``caBundle``."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from lateen.controllers.mending import Mender
from lateen.kube.client import KubeClient, Object
from lateen.kube.watch import Ears, Followed, follow

_API = "admissionregistration.k8s.io/v1"
_KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}


class WebhookBundles:
    """Heals every configuration that points at our Service."""

    def __init__(
        self, client: KubeClient, roots_pem: Callable[[], bytes], *, namespace: str, service: str
    ) -> None:
        self._client, self._roots_pem = client, roots_pem
        self._namespace, self._service = namespace, service
        self._held: dict[str, Object] = {}  # by "plural/name"
        self._mender = Mender("webhook's caBundle", self._mend)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for plural in _KINDS:
                tasks.create_task(follow(self._client, Followed(_API, plural), self._ears(plural)))
            tasks.create_task(self._mender.run())

    def changed(self) -> None:
        """The roots are others now."""
        for it in self._held:
            self._mender.look(it)

    @property
    def _bundle(self) -> str:
        return base64.b64encode(self._roots_pem()).decode()

    def _ears(self, plural: str) -> Ears:
        def listed(objects: list[Object]) -> None:
            for key in [it for it in self._held if it.startswith(f"{plural}/")]:
                del self._held[key]
            for it in objects:
                changed("ADDED", it)

        def changed(kind: str, obj: Object) -> None:
            key = f"{plural}/{obj['metadata']['name']}"
            if kind == "DELETED":
                self._held.pop(key, None)
                return
            self._held[key] = obj
            if any(map(self._differs, obj.get("webhooks") or ())):
                self._mender.look(key)

        return Ears(listed, changed)

    def _differs(self, hook: dict[str, Any]) -> bool:
        config = hook.get("clientConfig") or {}
        service = config.get("service") or {}
        ours = (service.get("namespace"), service.get("name")) == (self._namespace, self._service)
        return ours and config.get("caBundle") != self._bundle

    async def _mend(self, key: str) -> None:
        obj = self._held.get(key)
        hooks = (obj or {}).get("webhooks") or []
        if obj is None or not any(map(self._differs, hooks)):
            return
        mended = [
            {**it, "clientConfig": {**it["clientConfig"], "caBundle": self._bundle}}
            if self._differs(it)
            else it
            for it in hooks
        ]
        kind = _KINDS[key.partition("/")[0]]
        metadata = {"name": obj["metadata"]["name"]}
        # The version makes a change by somebody else win: a merge patch replaces the whole list.
        versioned = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        await self._client.patch(
            {"apiVersion": _API, "kind": kind, "metadata": metadata},
            {"metadata": versioned, "webhooks": mended},
        )
