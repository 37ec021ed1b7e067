"""What the account of the control plane may do, as Kubernetes' authorizer says, and that it is enough."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.kube.client import KubeClient, KubeError

ACCOUNT = "system:serviceaccount:istio-system:istiod"
HOOKS = "admissionregistration.k8s.io"


async def may(
    admin: KubeClient, verb: str, resource: str, name: str = "", namespace: str = "", group: str = ""
) -> bool:
    wanted = {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace}
    answer = await admin.create({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"user": ACCOUNT, "resourceAttributes": wanted},
    })  # fmt: skip
    return bool(answer["status"]["allowed"])


@pytest.mark.finding("security 18")
@pytest.mark.finding("architecture 18")
async def test_what_it_writes_it_may_write_by_name_only(api_server: Any, install: Any) -> None:
    await install()
    async with api_server.client() as admin:
        for namespace in ("default", "kube-system", "istio-system"):
            assert await may(admin, "patch", "configmaps", "istio-ca-root-cert", namespace)
            assert not await may(admin, "patch", "configmaps", "coredns", namespace)
            assert not await may(admin, "delete", "configmaps", "istio-ca-root-cert", namespace)
            assert await may(admin, "get", "configmaps", "coredns", namespace) is (
                namespace == "istio-system"
            )
        for kind, own in (
            ("mutatingwebhookconfigurations", "istio-sidecar-injector"),
            ("validatingwebhookconfigurations", "istio-validator-istio-system"),
        ):
            assert await may(admin, "patch", kind, own, group=HOOKS)
            assert await may(admin, "list", kind, group=HOOKS)
            assert not await may(admin, "patch", kind, "somebody-elses", group=HOOKS)
            assert not await may(admin, "create", kind, group=HOOKS)
        for name in ("cacerts", "istio-ca-secret"):
            assert await may(admin, "get", "secrets", name, "istio-system")
            assert not await may(admin, "patch", "secrets", name, "istio-system")
        assert not await may(admin, "get", "secrets", "other", "istio-system")
        assert not await may(admin, "list", "secrets", "", "istio-system")
        assert not await may(admin, "get", "secrets", "cacerts", "default")


@pytest.mark.finding("security 18")
async def test_a_list_by_name_is_a_question_for_that_name(api_server: Any, install: Any) -> None:
    """As in Kubernetes: the trust bundles are followed without a right to any other ConfigMap."""
    await install()
    async with api_server.client("istio-system/istiod") as client:
        path = "/api/v1/configmaps"
        await client.read(path, {"fieldSelector": "metadata.name=istio-ca-root-cert"})
        for query in (
            {},
            {"fieldSelector": "metadata.name=coredns"},
            {"fieldSelector": "metadata.name!=istio-ca-root-cert"},
        ):
            with pytest.raises(KubeError) as refused:
                await client.read(path, query)
            assert refused.value.code == 403
