"""Whether validation is binding: not before the API server reaches the control plane, and from then on for good."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from lateen.api import decode, validate
from lateen.controllers.webhooks import probe, validator_name
from lateen.install import manifests, webhooks
from lateen.install.values import installation
from lateen.kube.client import KubeError
from lateen.names.problems import Severity
from lateen.testing.ads import until

BROKEN = {
    "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "default"},
    "spec": {"servers": [{"port": {"number": 80, "name": "x", "protocol": "HTTP"}, "hosts": ["a..b"]}]},
}  # fmt: skip
API = "admissionregistration.k8s.io/v1"
PATH = f"/apis/{API}/validatingwebhookconfigurations"
NAME = "istio-validator-istio-system"


class Way:
    """The API server's way to the webhooks, which may be closed."""

    def __init__(self, api_server: Any) -> None:
        from skiff.admission.webhooks import Webhooks

        store = api_server.store
        self.port = 0
        self.hooks = Webhooks(lambda kind: store.all(kind.storage), lambda _: {}, self._dial)
        api_server.registry.admission = self.hooks

    async def _dial(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        if not self.port:
            raise OSError(f"no endpoints of {namespace}/{service}:{port}")
        return "127.0.0.1", self.port


async def policies(admin: Any, name: str = NAME) -> list[str]:
    found = await admin.get(f"{PATH}/{name}")
    return [it["failurePolicy"] for it in found["webhooks"]]


@pytest.mark.finding("real kubernetes 2")
async def test_nothing_is_refused_before_the_control_plane_is_reached(
    api_server: Any, install: Any, run: Any
) -> None:
    await install()
    way = Way(api_server)
    async with api_server.client() as admin:
        await admin.create(BROKEN)
        await admin.delete(BROKEN)
        own = await admin.get(f"{PATH}/{NAME}")
        other = {
            **copy.deepcopy(own),
            "apiVersion": API,
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "other"},
        }
        await admin.create(other)
        async with run() as plane:
            await asyncio.sleep(1.0)
            assert await policies(admin) == ["Ignore"]  # it runs, and nobody reaches it
            await admin.create(BROKEN)
            await admin.delete(BROKEN)
            way.port = plane.ports.webhooks

            async def bound() -> bool:
                return await policies(admin) == ["Fail"]

            await until(bound)
            with pytest.raises(KubeError, match="denied the request"):
                await admin.create(BROKEN)
            assert await policies(admin, "other") == ["Ignore"]  # it is not ours, though it asks us
            # Nobody has stored the probe.
            assert await admin.list("networking.istio.io/v1", "gateways") == []
            # What is waived by hand is made binding again.
            waived = [{**it, "failurePolicy": "Ignore"} for it in own["webhooks"]]
            await admin.patch({**other, "metadata": {"name": NAME}}, {"webhooks": waived})
            await until(bound)
    await way.hooks.close()


@pytest.mark.finding("real kubernetes 2")
@pytest.mark.parametrize("settings", [[], ["revision=canary"], ["namespace=mesh"], ["revision=canary", "namespace=mesh"]])  # fmt: skip
def test_the_probe_is_one_that_only_our_validation_refuses(settings: list[str]) -> None:
    it = installation("default", settings)
    service = manifests.service(it)["metadata"]["name"]
    [configuration] = webhooks.validating(it, {}, service)
    assert configuration["metadata"]["name"] == validator_name(service, it.namespace)
    [hook] = configuration["webhooks"]
    assert hook["failurePolicy"] == "Ignore"
    tried = probe(it.namespace, hook)
    assert not isinstance(decode.decode(tried), tuple)  # its definition has nothing against it
    refused = [one for one in validate.validate(tried) if one.severity is Severity.ERROR]
    assert [one.message for one in refused] == ['"twice" is there twice: names of ports must be unique']
    assert tried["metadata"]["labels"] == ({"istio.io/rev": "canary"} if it.revision else {})
