"""All parts of a control plane together: what Kubernetes, proxies and tools see of it."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.api import reading
from lateen.discovery.source import REFUSALS
from lateen.envoy.resource import CLUSTER, LISTENER
from lateen.pki import messages
from lateen.testing.ads import Delta, until

NODE = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
POD = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web", "security.istio.io/tlsMode": "istio"}},
    "spec": {"serviceAccountName": "web", "containers": [{"name": "app", "image": "x"}]},
    "status": {"phase": "Running", "podIP": "10.0.0.1"},
}  # fmt: skip
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
}  # fmt: skip
WEB = "outbound|80||web.default.svc.cluster.local"
RULE = {
    "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"host": "web", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]},
}  # fmt: skip


def csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request(pem: bytes, seconds: int = 0) -> bytes:
    """An IstioCertificateRequest."""
    body = b"\x0a" + bytes([len(pem) & 0x7F | 0x80, len(pem) >> 7]) + pem
    number = b""
    while seconds:
        number, seconds = number + bytes([seconds & 0x7F | (0x80 if seconds > 0x7F else 0)]), seconds >> 7
    return body + (b"\x18" + number if number else b"")


def certificates(answer: bytes) -> list[x509.Certificate]:
    start = answer.index(b"-----BEGIN")
    return x509.load_pem_x509_certificates(answer[start:])


class Caller:
    """Who asks the CA, and then ADS, on port 15012."""

    def __init__(self, port: int, root: bytes, identity: tuple[bytes, bytes] | None = None) -> None:
        chain, key = identity or (None, None)
        credentials = grpc.ssl_channel_credentials(root, key, chain)
        options = [("grpc.ssl_target_name_override", "istiod.istio-system.svc")]
        self.channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options)

    async def sign(self, raw: bytes, token: str = "", **how: Any) -> bytes:
        metadata = [("authorization", f"Bearer {token}")] if token else []
        found: bytes = await self.channel.unary_unary(messages.METHOD)(raw, metadata=metadata, timeout=20)
        return found

    async def identity(self, token: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        chain = certificates(await self.sign(request(csr(key)), token))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return b"".join(it.public_bytes(serialization.Encoding.PEM) for it in chain[:-1]), private


async def code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    found: grpc.StatusCode = refused.value.code()
    return found


async def test_a_workload_gets_its_certificate_and_with_it_its_configuration(
    api_server: Any, install: Any, run: Any
) -> None:
    await install()
    async with api_server.client() as admin, run() as plane:
        await runs(api_server, await admin.create(POD))
        await admin.create(SERVICE)
        await until(lambda: plane._workload(_caller()) is not None)
        stranger = Caller(plane.ports.secure, plane.authority.roots_pem)
        token = api_server.token("default/web", audience="istio-ca", pod="web-1")
        key = ec.generate_private_key(ec.SECP256R1())
        leaf, *_, root = certificates(await stranger.sign(request(csr(key)), token))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://cluster.local/ns/default/sa/web"
        ]
        assert leaf.subject.rfc4514_string().endswith("web-1|default|web|latest|Kubernetes")
        assert root.public_bytes(serialization.Encoding.PEM) == plane.authority.roots_pem

        # The same port serves who shows that certificate, and only as whom it names.
        without = Delta(stranger.channel, NODE, SERVICE_ACCOUNT="web")
        await without.ask(CLUSTER)
        with pytest.raises(EOFError, match="client certificate"):
            await without.hear()
        itself = Caller(plane.ports.secure, plane.authority.roots_pem, await stranger.identity(token))
        stream = Delta(itself.channel, NODE, SERVICE_ACCOUNT="web")
        await stream.ask(CLUSTER)
        assert WEB in await stream.agree()
        other = Delta(itself.channel, NODE.replace("default", "kube-system"), SERVICE_ACCOUNT="web")
        await other.ask(CLUSTER)
        with pytest.raises(EOFError, match="default/web"):
            await other.hear()


async def runs(api_server: Any, pod: dict[str, Any]) -> None:
    """What a kubelet writes."""
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    api = LocalApi(api_server.registry)
    stored = await api.get(PODS, reading.namespace(pod), reading.name(pod))
    await api.update(PODS, {**stored, "status": POD["status"]}, subresource="status")


def _caller() -> Any:
    from lateen.authority.tokens import Caller as Known

    return Known("default", "web", "web-1")


async def test_the_ca_refuses_who_proves_nothing(api_server: Any, install: Any, run: Any) -> None:
    await install()
    async with run() as plane:
        it, key = (
            Caller(plane.ports.secure, plane.authority.roots_pem),
            ec.generate_private_key(ec.SECP256R1()),
        )
        good = request(csr(key))
        token = api_server.token("default/web", audience="istio-ca")
        assert await code(it.sign(good)) is grpc.StatusCode.UNAUTHENTICATED
        assert await code(it.sign(good, "nonsense")) is grpc.StatusCode.UNAUTHENTICATED
        assert await code(it.sign(good, token[:-4] + "AAAA")) is grpc.StatusCode.UNAUTHENTICATED
        elsewhere = api_server.token("default/web", audience="other")
        assert await code(it.sign(good, elsewhere)) is grpc.StatusCode.UNAUTHENTICATED
        expired = api_server.token("default/web", audience="istio-ca", expires_s=-1)
        assert await code(it.sign(good, expired)) is grpc.StatusCode.UNAUTHENTICATED
        assert await code(it.sign(b"\xff\xff", token)) is grpc.StatusCode.INVALID_ARGUMENT
        assert await code(it.sign(request(b"no csr" * 30), token)) is grpc.StatusCode.INVALID_ARGUMENT
        assert await code(it.sign(b"\x0a" * 70_000, token)) is grpc.StatusCode.INVALID_ARGUMENT
        # A token that crosses the network in the clear proves nothing either.
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
            call = channel.unary_unary(messages.METHOD)(good, metadata=[("authorization", f"Bearer {token}")])
            assert await code(call) is grpc.StatusCode.UNAUTHENTICATED


async def test_while_kubernetes_is_away_the_ca_says_so_and_proxies_go_on(
    api_server: Any, install: Any, run: Any
) -> None:
    await install()
    async with api_server.client() as admin, run() as plane:
        await admin.create(SERVICE)
        it, key = (
            Caller(plane.ports.secure, plane.authority.roots_pem),
            ec.generate_private_key(ec.SECP256R1()),
        )
        token = api_server.token("default/web", audience="istio-ca")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
            stream = Delta(channel, NODE)
            await stream.ask(CLUSTER)
            have = await stream.agree()
            while WEB not in have:
                have |= await stream.agree()
            await api_server.stop()
            assert await code(it.sign(request(csr(key)), token)) is grpc.StatusCode.UNAVAILABLE
            again = Delta(channel, NODE)
            await again.ask(CLUSTER, have=have)
            answer = await again.hear()
            assert (list(answer.resources), list(answer.removed_resources)) == ([], [])
            await api_server.start()
            assert certificates(await it.sign(request(csr(key)), token))


@pytest.mark.parametrize(("asked_s", "given"), [(0, 24), (3600, 1), (10**9, 24), (2**63 - 1, 24)])
async def test_life_is_bounded_and_a_pod_nobody_knows_yet_is_signed(
    api_server: Any, install: Any, run: Any, asked_s: int, given: int
) -> None:
    await install()
    async with run() as plane:
        it, key = (
            Caller(plane.ports.secure, plane.authority.roots_pem),
            ec.generate_private_key(ec.SECP256R1()),
        )
        token = api_server.token("default/web", audience="istio-ca", pod="web-9")
        leaf = certificates(await it.sign(request(csr(key), asked_s), token))[0]
        assert abs(leaf.not_valid_after_utc - datetime.now(UTC) - timedelta(hours=given)) < timedelta(
            minutes=1
        )
        assert "web|default" in leaf.subject.rfc4514_string()


async def test_it_is_ready_when_in_sync_and_its_pages_say_what_it_knows(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install()
    await api_server.stop()
    await api_server.start()
    async with api_server.client() as admin, run() as plane:
        await admin.create(POD)
        await admin.create(SERVICE)
        assert (await page(plane, "/ready"))[0] == 200
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
            stream = Delta(channel, NODE, ISTIO_VERSION="0.1.0")
            await stream.ask(CLUSTER)
            await stream.agree()
            await until(lambda: WEB in str(plane.loop.view(next(iter(plane.service.connections)).proxy.key)))

            async def synced() -> bool:
                [it] = json.loads((await page(plane, "/debug/syncz"))[1])
                return (it["proxy"], it["cluster_status"], it["cluster_sent"] == it["cluster_acked"]) == (
                    "web-1.default", "SYNCED", True)  # fmt: skip

            await until(synced)
            assert json.loads((await page(plane, "/debug/connections"))[1])["totalClients"] == 1
            dump = json.loads((await page(plane, "/debug/config_dump?proxyID=web-1.default"))[1])
            assert WEB in [it["cluster"]["name"] for it in dump["configs"][0]["dynamic_active_clusters"]]
            assert (await page(plane, "/debug/config_dump?proxyID=ghost"))[0] == 404
            assert (await page(plane, "/debug/config_dump"))[0] == 400
            numbers = (await page(plane, "/metrics"))[1]
            assert 'pilot_xds{version="0.1.0"} 1.0' in numbers
            assert 'pilot_xds_pushes{type="cds"}' in numbers
            assert "pilot_proxy_convergence_time_bucket" in numbers
            assert "citadel_server_csr_count " in numbers
        services = json.loads((await page(plane, "/debug/registryz"))[1])
        assert "web.default.svc.cluster.local" in [it["hostname"] for it in services]
        assert (await page(plane, "/debug/endpointz"))[0] == 200
        for path in ("/debug", "/debug/config_dump?proxyID=web-1.default", "/debug/syncz"):
            assert (await page(plane, path, source="127.0.0.2"))[0] == 403, "other pods need not know"
        assert (await page(plane, "/metrics", source="127.0.0.2"))[0] == 200
        assert (await page(plane, "/version"))[1].strip()


async def test_before_it_is_in_sync_it_says_so_and_tells_proxies_nothing(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install(rights=False)
    async with api_server.client() as admin:
        for kind in ("secrets", "configmaps"):  # enough for its CA, not enough to follow anything
            await admin.create(_role(kind))
            await admin.create(_binding(kind))
        async with run(wait=False) as plane:
            await until(lambda: "services" in plane.source.unreadable())
            status, said = await page(plane, "/ready")
            assert (status, "waiting for namespaces (" in said, "forbidden" in said) == (503, True, True)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
                stream = Delta(channel, NODE)
                await stream.ask(CLUSTER, have={WEB: "1"})
                await until(lambda: plane.source.tables["v1", "services"]._refusals > REFUSALS)
                # Its rights come: not before then the proxy is told that what it has is gone.
                assert not plane.loop.synced.is_set()
                await install()
                await stream.agree()
                await stream.ask(LISTENER)
                await stream.agree()
                found = await stream.hear()
                assert list(found.removed_resources) == [WEB], "when no listener of it can use it"
            assert (await page(plane, "/ready"))[0] == 200


async def test_an_istio_kind_that_may_not_be_read_is_told_and_the_others_go_on(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install()
    async with api_server.client() as admin:
        [role] = [
            it
            for it in await admin.list("rbac.authorization.k8s.io/v1", "clusterroles")
            if "istiod" in it["metadata"]["name"]
        ]
        rules = [it for it in role["rules"] if "security.istio.io" not in it["apiGroups"]]
        rules.append({"apiGroups": ["networking.istio.io"], "resources": ["*"], "verbs": ["*"]})
        await admin.patch(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", **role}, {"rules": rules}
        )
        await admin.create(SERVICE)
        async with run() as plane:
            refused = json.loads((await page(plane, "/debug/problems"))[1])["kinds"]
            assert [it["kind"] for it in refused] == ["peerauthentications"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
                stream = Delta(channel, NODE)
                await stream.ask(CLUSTER)
                assert WEB in await stream.agree()


def _role(kind: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": [kind], "verbs": ["*"]}]
    meta = {"name": f"r-{kind}", "namespace": "istio-system"}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules}


def _binding(kind: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": f"r-{kind}", "namespace": "istio-system"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": f"r-{kind}"},
        "subjects": [{"kind": "ServiceAccount", "name": "istiod", "namespace": "istio-system"}],
    }  # fmt: skip


async def test_kinds_that_are_defined_later_are_honoured_from_then_on(
    api_server: Any, install: Any, run: Any
) -> None:
    await install(kinds=False)
    async with api_server.client() as admin, run() as plane:
        await admin.create(SERVICE)
        await install()
        await admin.create(RULE)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
            stream = Delta(channel, NODE)
            await stream.ask(CLUSTER)
            have: dict[str, str] = {}
            while "outbound|80|v1|web.default.svc.cluster.local" not in have:
                have |= await stream.agree()


ROOT = {
    "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "root", "namespace": "default"},
    "spec": {"hosts": ["web"], "http": [{"delegate": {"name": "nowhere"}}]},
}  # fmt: skip


@pytest.mark.finding("mesh M1")
async def test_a_broken_object_is_told_and_takes_nothing_down(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install()
    # Another cluster's API server may be more liberal than our schema: make this one so.
    async with api_server.client() as admin, run() as plane:
        await admin.create(SERVICE)
        await admin.create(RULE)
        subset = "outbound|80|v1|web.default.svc.cluster.local"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
            stream = Delta(channel, NODE)
            await stream.ask(CLUSTER)
            have: dict[str, str] = {}
            while subset not in have:
                have |= await stream.agree()
            table = plane.source.tables["networking.istio.io/v1", "destinationrules"]
            bad = {**RULE, "spec": {"host": "web", "subsets": "none"}}
            table.on_event("MODIFIED", bad)
            table.on_event("ADDED", {**bad, "metadata": {"name": "new", "namespace": "default"}})
            found = json.loads((await page(plane, "/debug/problems"))[1])["objects"]
            assert [(it["name"], "subsets" in it["path"]) for it in found] == [("new", True), ("web", True)]
            # Something else changes meanwhile, and the last good version is still in force.
            await admin.patch(
                SERVICE, {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "more", "port": 81}]}}
            )
            while "outbound|81|v1|web.default.svc.cluster.local" not in have:
                have |= await stream.agree()
            table.on_list([RULE])
            assert json.loads((await page(plane, "/debug/problems"))[1])["objects"] == []
            # What is right alone, and wrong beside what there is, is told as well.
            plane.source.tables["networking.istio.io/v1", "virtualservices"].on_event("ADDED", ROOT)
            async with asyncio.timeout(10):
                while not (found := json.loads((await page(plane, "/debug/problems"))[1])["objects"]):
                    await asyncio.sleep(0.02)
            assert [(it["name"], it["path"]) for it in found] == [("root", "spec.http[0].delegate")]


async def test_the_root_outlives_restarts_and_webhooks_and_namespaces_hold_it(
    api_server: Any, install: Any, run: Any
) -> None:
    await install()
    async with api_server.client() as admin:
        async with run() as plane:
            first = plane.authority.roots_pem
        async with run() as plane:
            assert plane.authority.roots_pem == first
            bundle = base64.b64encode(first).decode()

            async def trusted() -> bool:
                found = []
                for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
                    found += await admin.list("admissionregistration.k8s.io/v1", plural)
                return len(found) >= 2 and all(
                    hook["clientConfig"].get("caBundle") == bundle for it in found for hook in it["webhooks"]
                )

            await until(trusted)
            [hook, *_] = await admin.list("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
            hook["webhooks"][0]["clientConfig"]["caBundle"] = base64.b64encode(b"other").decode()
            kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
            await admin.patch({**kind, **hook}, {"webhooks": hook["webhooks"]})
            await until(trusted)
