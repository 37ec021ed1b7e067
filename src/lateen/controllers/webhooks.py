"""Can the API server trust our webhooks? Their configurations carry our root as ``caBundle``."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import structlog

from lateen.kube.client import KubeClient, KubeError, Object
from lateen.kube.watch import follow

_log = structlog.get_logger("lateen.controllers")

_API = "admissionregistration.k8s.io/v1"
_KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}
_AGAIN_S = 2.0


class WebhookBundles:
    """Heals every configuration that points at our Service."""

    def __init__(self, client: KubeClient, root_pem: bytes, *, namespace: str, service: str) -> None:
        self._client, self._bundle = client, base64.b64encode(root_pem).decode()
        self._namespace, self._service = namespace, service
        self._queue: asyncio.Queue[Object] = asyncio.Queue(1000)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for plural in _KINDS:
                tasks.create_task(follow(
                    self._client, _API, plural, on_list=lambda found: [self._look(it) for it in found] and None,
                    on_event=lambda kind, it: self._look(it) if kind != "DELETED" else None,
                ))  # fmt: skip
            tasks.create_task(self._work())

    def _look(self, obj: Object) -> None:
        if any(self._needs(hook) for hook in obj.get("webhooks") or ()):
            try:
                self._queue.put_nowait(obj)
            except asyncio.QueueFull:
                _log.warning("too many webhook configurations change at once", name=obj["metadata"]["name"])

    def _needs(self, hook: dict[str, Any]) -> bool:
        config = hook.get("clientConfig") or {}
        service = config.get("service") or {}
        ours = (service.get("namespace"), service.get("name")) == (self._namespace, self._service)
        return ours and config.get("caBundle") != self._bundle

    async def _work(self) -> None:
        while True:
            obj = await self._queue.get()
            try:
                await self._mend(obj)
            except (KubeError, OSError, TimeoutError) as wrong:
                if isinstance(wrong, KubeError) and wrong.code in (404, 409):
                    continue  # it is gone, or changed meanwhile: then it is heard of again
                _log.warning(
                    "a webhook's bundle will be written again",
                    name=obj["metadata"]["name"],
                    reason=str(wrong),
                )
                asyncio.get_running_loop().call_later(_AGAIN_S, self._look, obj)

    async def _mend(self, obj: Object) -> None:
        hooks = [
            {**it, "clientConfig": {**it["clientConfig"], "caBundle": self._bundle}}
            if self._needs(it)
            else it
            for it in obj["webhooks"]
        ]
        metadata = {
            "name": obj["metadata"]["name"],
            "resourceVersion": obj["metadata"].get("resourceVersion", ""),
        }
        await self._client.patch(
            {"apiVersion": _API, "kind": obj["kind"], "metadata": {"name": metadata["name"]}},
            {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "webhooks": hooks},
        )
