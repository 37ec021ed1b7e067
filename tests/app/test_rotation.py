"""A CA whose Secret changes, or ends, while a control plane runs."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.authority import holder, serving
from lateen.authority.store import Authority
from lateen.pki.certificates import Issuer, key_pem, pem, self_signed
from lateen.testing.ads import until


def root_ca(*, begins: datetime | None = None, ttl: timedelta = timedelta(days=9)) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    begins = begins or datetime.now(UTC)
    return self_signed(key, "plugged", serial=secrets.randbits(64) | 1, now=begins, ttl=ttl)


def plugged_in(root: Issuer) -> dict[str, Any]:
    parts = {
        "ca-cert.pem": pem(root.certificate),
        "ca-key.pem": key_pem(root.key),
        "root-cert.pem": pem(root.certificate),
    }
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": "istio-system"},
        "data": {name: base64.b64encode(it).decode() for name, it in parts.items()},
    }  # fmt: skip


async def shown(port: int, trusted: bytes) -> bool:
    """Whether who trusts this root alone trusts the certificate that is shown."""
    context = ssl.create_default_context(cadata=trusted.decode())
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="istiod.istio-system.svc"
        )
    except ssl.SSLError:
        return False
    writer.close()
    return True


@pytest.mark.finding("architecture 16")
async def test_a_changed_secret_is_followed_roots_first(
    api_server: Any, install: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "_LOOK_S", 0.05)
    monkeypatch.setattr(holder, "SPREAD", timedelta(seconds=3))
    await install()
    new = root_ca()
    async with api_server.client() as admin, run() as plane:
        old = plane.authority.roots_pem
        path = "/api/v1/namespaces/default/configmaps/istio-ca-root-cert"

        async def trusted() -> bytes:
            return ((await admin.get(path) or {}).get("data") or {}).get("root-cert.pem", "").encode()

        async def bundled() -> set[str]:
            found = []
            for plural in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
                found += await admin.list("admissionregistration.k8s.io/v1", plural)
            return {str(hook["clientConfig"].get("caBundle")) for it in found for hook in it["webhooks"]}

        async def told(text: bytes) -> bool:
            return await trusted() == text and await bundled() == {base64.b64encode(text).decode()}

        await until(lambda: told(old))
        await admin.create(plugged_in(new))
        await until(lambda: told(old + pem(new.certificate)))
        assert await shown(plane.ports.secure, old), "what signs is changed when everybody knows its root"
        await until(lambda: told(pem(new.certificate) + old))
        for port in (plane.ports.secure, plane.ports.webhooks):
            await until(lambda port=port: shown(port, pem(new.certificate)))  # type: ignore[misc]
        assert plane.authority.signing.source == "cacerts"


@pytest.mark.finding("architecture 16")
async def test_a_secret_that_is_gone_or_broken_changes_nothing(
    api_server: Any, install: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "_LOOK_S", 0.05)
    await install()
    with structlog.testing.capture_logs() as told:
        async with api_server.client() as admin, run() as plane:
            before = plane.authority.signing
            broken = {**plugged_in(root_ca()), "data": {"ca-cert.pem": "eA=="}}
            await admin.create(broken)
            await until(lambda: any("Secret cacerts: " in str(it.get("reason")) for it in told))
            await admin.delete(broken)
            own = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "istio-ca-secret", "namespace": "istio-system"},
            }
            await admin.delete(own)
            await until(lambda: any("it is gone" in str(it.get("reason")) for it in told))
            assert plane.authority.signing is before


@pytest.mark.finding("architecture 9")
async def test_a_ca_that_ends_while_we_run_leaves_our_last_certificate(
    api_server: Any, install: Any, run: Any, page: Any
) -> None:
    await install()
    ended = root_ca(begins=datetime(2020, 1, 1, tzinfo=UTC), ttl=timedelta(days=1))
    async with run() as plane:
        old = plane.authority.roots_pem
        with structlog.testing.capture_logs() as told:
            plane.authority.signing = Authority(ended, pem(ended.certificate), "cacerts")
            plane._new_authority.set()
            await until(lambda: any("2020-01-02" in str(it.get("reason")) for it in told))
        assert await shown(plane.ports.secure, old)
        assert (await page(plane, "/ready"))[0] == 200
        assert serving.renewed_after(plane.authority.signing) >= timedelta(minutes=1), (
            "it is not asked without pause"
        )
