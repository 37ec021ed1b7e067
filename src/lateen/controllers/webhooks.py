"""Can the API server trust our webhooks, and may it insist on them?

Every configuration that points at our Service carries our root as ``caBundle``. The validating one is installed with
``failurePolicy: Ignore``, so that an installation that is not finished refuses nobody's objects; once the API server has
shown that it reaches us, ours becomes ``Fail``, as Istio's does.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from lateen.api import reading
from lateen.controllers.mending import Mender
from lateen.kube.client import KubeClient, KubeError, Object
from lateen.kube.watch import Ears, Followed, follow

_API = "admissionregistration.k8s.io/v1"
_VALIDATING = "validatingwebhookconfigurations"
_KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    _VALIDATING: "ValidatingWebhookConfiguration",
}
_SERVICE, _VALIDATOR = "istiod", "istio-validator"


def validator_name(service: str, namespace: str) -> str:
    """The ValidatingWebhookConfiguration of the control plane behind a Service, as ``lateen install`` names it."""
    return f"{_VALIDATOR}{service.removeprefix(_SERVICE)}-{namespace}"


class WebhookBundles:
    """Heals every configuration that points at our Service, and makes our validation binding once it works."""

    def __init__(
        self, client: KubeClient, roots_pem: Callable[[], bytes], *, namespace: str, service: str
    ) -> None:
        self._client, self._roots_pem = client, roots_pem
        self._namespace, self._service = namespace, service
        self._validator = f"{_VALIDATING}/{validator_name(service, namespace)}"
        self._held: dict[str, Object] = {}  # by "plural/name"
        self._reached = False  # the API server has asked us
        self._bundles = Mender("webhook's caBundle", self._mend)
        self._policies = Mender("webhook's failurePolicy", self._insist)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for plural in _KINDS:
                tasks.create_task(follow(self._client, Followed(_API, plural), self._ears(plural)))
            tasks.create_task(self._bundles.run())
            tasks.create_task(self._policies.run())

    def changed(self) -> None:
        """The roots are others now."""
        for it in self._held:
            self._bundles.look(it)

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
            key = f"{plural}/{reading.name(obj)}"
            if kind == "DELETED":
                self._held.pop(key, None)
                return
            self._held[key] = obj
            hooks = reading.parts(obj, "webhooks")
            if any(map(self._differs, hooks)):
                self._bundles.look(key)
            elif key == self._validator and any(map(self._waived, hooks)):
                self._policies.look(key)  # it can only work once it has our root

        return Ears(listed, changed)

    def _ours(self, hook: Object) -> bool:
        service = reading.part(hook, "clientConfig", "service")
        return (service.get("namespace"), service.get("name")) == (self._namespace, self._service)

    def _differs(self, hook: Object) -> bool:
        return self._ours(hook) and reading.text(hook, "clientConfig", "caBundle") != self._bundle

    def _waived(self, hook: Object) -> bool:
        return self._ours(hook) and hook.get("failurePolicy") == "Ignore"

    async def _mend(self, key: str) -> None:
        def trusted(hook: Object) -> Object:
            return {**hook, "clientConfig": {**reading.part(hook, "clientConfig"), "caBundle": self._bundle}}

        await self._write(key, self._differs, trusted)

    async def _insist(self, key: str) -> None:
        hooks = reading.parts(self._held.get(key), "webhooks")
        waived = next(filter(self._waived, hooks), None)
        if waived is None:
            return
        if not self._reached:
            await self._prove(waived)
        await self._write(key, self._waived, lambda hook: {**hook, "failurePolicy": "Fail"})

    async def _prove(self, hook: Object) -> None:
        """Try to store, without storing, what only our validation refuses. KubeError unless it is refused by it."""
        try:
            await self._client.create(probe(self._namespace, hook), dry_run=True)
        except KubeError as refused:
            if "denied the request" in str(refused) and f'"{reading.text(hook, "name")}"' in str(refused):
                self._reached = True
                return
            raise KubeError(503, "NotReached", f"validation could not be tried: {refused}") from refused
        raise KubeError(503, "NotReached", "the API server does not reach this control plane's webhooks yet")

    async def _write(
        self, key: str, wrong: Callable[[Object], bool], right: Callable[[Object], Object]
    ) -> None:
        obj = self._held.get(key)
        hooks = reading.parts(obj, "webhooks")
        if not any(map(wrong, hooks)):
            return
        # The version makes a change by somebody else win: a merge patch replaces the whole list.
        versioned = {"resourceVersion": reading.text(obj, "metadata", "resourceVersion")}
        plural, _, name = key.partition("/")
        named: Object = {"apiVersion": _API, "kind": _KINDS[plural], "metadata": {"name": name}}
        mended = [right(it) if wrong(it) else it for it in hooks]
        await self._client.patch(named, {"metadata": versioned, "webhooks": mended})


def probe(namespace: str, hook: Object) -> Object:
    """A Gateway that fits its definition and that our validation refuses, with labels that the webhook selects."""
    port = {"number": 80, "name": "twice", "protocol": "HTTP"}
    server: dict[str, Any] = {"port": port, "hosts": ["probe.invalid"]}
    labels = reading.texts(hook, "objectSelector", "matchLabels")
    for it in reading.parts(hook, "objectSelector", "matchExpressions"):
        values = it.get("values")
        if it.get("operator") == "In" and isinstance(values, list) and values:
            labels[reading.text(it, "key")] = str(values[0])
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "lateen-probe", "namespace": namespace, "labels": labels},
        "spec": {"selector": {"istio": "nothing"}, "servers": [server, server]},
    }  # fmt: skip
