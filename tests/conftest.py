"""What every test may rely on: loud skips, and no way to the outside."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lateen.testing.habits import Habits

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    loud = pytest.mark.skip(reason="needs root for network namespaces: run as root to test this")
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("mesh"):
            item.add_marker(loud)


@pytest.fixture
def shared() -> Path:
    """Files of Istio and Google that lie beside the checkout; tests that need them skip loudly without."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with Istio's and Google's own files is not here")
    return SHARED


class Forwards:
    """A node that does nothing but forward: (namespace, pod, port) leads to a port of this process."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, str, int], int] = {}

    async def dial(self, namespace: str, pod: str, port: int) -> Any:
        """As ``skiff.api.Node`` has it."""
        return await asyncio.open_connection("127.0.0.1", self.ports[namespace, pod, port])


class ApiServer:
    """A real API server of skiff on a port of its own: TLS, tokens, RBAC; no controllers and no node."""

    def __init__(self, folder: Path) -> None:
        from skiff.apiserver.custom import CustomKinds
        from skiff.apiserver.registry import Registry
        from skiff.auth.access import ClusterAccess
        from skiff.auth.authorize import Authorizer
        from skiff.auth.pki import ClusterPki
        from skiff.auth.tokens import Tokens
        from skiff.store.store import Store

        self.store = Store()
        self.registry = Registry(self.store)
        CustomKinds(self.registry)
        self.pki = ClusterPki.load_or_create(folder / "pki")
        self.tokens = Tokens(self.pki)
        authorizer = Authorizer(
            lambda kind: self.store.all(kind.storage),
            lambda kind, namespace, name: self.store.get(kind.storage, namespace, name),
        )
        self.access = ClusterAccess(self.tokens, authorizer)
        self.port = 0
        self._folder, self._runner = folder, None
        self.habits: Habits | None = None
        self.node = Forwards()

    async def start(self) -> None:
        """Serve; the second time on the same port."""
        from aiohttp import web

        from skiff.apiserver.http import application
        from skiff.auth.authorize import bootstrap_objects
        from skiff.kinds import NAMESPACES

        if not self.port:
            for name in ("default", "kube-system", "istio-system"):
                await self.registry.create(NAMESPACES, "", {"metadata": {"name": name}})
            for kind, obj in bootstrap_objects():
                await self.registry.create(kind, obj["metadata"].get("namespace", ""), obj)
        self._runner = web.AppRunner(
            application(self.registry, access=self.access, node=self.node), shutdown_timeout=0.01
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            "127.0.0.1",
            self.port,
            ssl_context=self.pki.server_context(["127.0.0.1"]),
            reuse_address=True,
        )
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """As if it was killed: every connection breaks."""
        if self._runner:
            await self._runner.cleanup()

    def client(self, account: str = "") -> object:
        """An administrator, or a service account ``namespace/name``."""
        from lateen.kube.client import KubeClient
        from lateen.kube.config import Connection

        tls = ssl.create_default_context(cadata=self.pki.ca_pem.decode())
        token = ""
        if account:
            token = self.token(account)
        else:
            self._prove(tls)
        return KubeClient(Connection(self.habits.url if self.habits else self.url, tls, token))

    @property
    def url(self) -> str:
        """Where it serves, by TLS."""
        return f"https://127.0.0.1:{self.port}"

    def kubeconfig(self) -> str:
        """A file by which commands find it, as an administrator."""
        import base64

        certificate, key = self.pki.client_certificate("admin", ["system:masters"])
        cluster, user = (
            {name: base64.b64encode(it).decode() for name, it in pairs}
            for pairs in (
                [("certificate-authority-data", self.pki.ca_pem)],
                [("client-certificate-data", certificate), ("client-key-data", key)],
            )
        )
        document = {
            "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.habits.url if self.habits else self.url, **cluster}}],
            "users": [{"name": "u", "user": user}],
        }  # fmt: skip
        path = self._folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return str(path)

    def behind_habits(self, **how: Any) -> Habits:
        """A proxy before it with the habits of a real one; once it is set as ``habits``, clients go through it."""
        from lateen.testing.habits import Habits

        administrator, anybody = (ssl.create_default_context(cadata=self.pki.ca_pem.decode()) for _ in "12")
        self._prove(administrator)
        serve = self.pki.server_context(["127.0.0.1"])
        return Habits(self.url, administrator=administrator, anybody=anybody, serve=serve, **how)

    def _prove(self, tls: ssl.SSLContext) -> None:
        pair = self._folder / "admin.pem"
        certificate, key = self.pki.client_certificate("admin", ["system:masters"])
        pair.write_bytes(certificate + key)
        tls.load_cert_chain(pair)

    def token(self, account: str, *, audience: str = "", pod: str = "", expires_s: int = 3600) -> str:
        """A service account's token, bound to a pod if one is named."""
        namespace, _, name = account.partition("/")
        found, _ = self.tokens.issue(
            namespace, name, audiences=[audience] if audience else (), pod=(pod, "uid") if pod else None,
            expires_s=expires_s,
        )  # fmt: skip
        return found


@pytest.fixture
def habits() -> dict[str, Any] | None:
    """How a real API server's habits are put before ``api_server``; folders whose tests must bear them override this."""
    return None


@pytest.fixture
async def api_server(
    tmp_path: Path, habits: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ApiServer]:
    """Kubernetes without nodes."""
    it = ApiServer(tmp_path)
    await it.start()
    if habits is None:
        yield it
    else:
        # So much fails that waiting as long as elsewhere would take minutes.
        monkeypatch.setattr("lateen.kube.client._FIRST_WAIT_S", 0.02)
        async with it.behind_habits(**habits) as it.habits:
            yield it
    await it.stop()
    it.store.close()
