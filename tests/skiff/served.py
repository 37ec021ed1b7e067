"""The API server alone, in this process, over plain HTTP: real store, schemas, tokens and RBAC; no node, no controllers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from skiff.apiserver import context
from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.http import application
from skiff.apiserver.registry import Registry
from skiff.auth import escalation
from skiff.auth.access import ClusterAccess
from skiff.auth.authorize import Authorizer, bootstrap_objects
from skiff.auth.pki import ClusterPki
from skiff.auth.tokens import Tokens
from skiff.kinds import BUILT_IN, CLUSTER_ROLE_BINDINGS, NAMESPACES, SERVICE_ACCOUNTS
from skiff.schema import pack
from skiff.store.store import Store

RBAC = "rbac.authorization.k8s.io"


class Served:
    """``async with Served(folder) as it``; the administrator is the account ``default/root``."""

    def __init__(self, folder: Path) -> None:
        self.store = Store()
        self.registry = Registry(self.store, schemas=pack.Schemas(pack.load(folder / "schemas.json.gz")))
        self.custom = CustomKinds(self.registry)
        self.tokens = Tokens(ClusterPki.load_or_create(folder / "pki"), still_exists=self._exists)
        authorizer = Authorizer(
            lambda kind: self.store.all(kind.storage),
            lambda kind, namespace, name: self.store.get(kind.storage, namespace, name),
        )
        self.registry.stored |= escalation.checks(authorizer, context.USER.get)
        self.app: web.Application = application(self.registry, access=ClusterAccess(self.tokens, authorizer))
        self.client: TestClient[web.Request, web.Application] = TestClient(TestServer(self.app))
        self.root = ""

    async def __aenter__(self) -> Self:
        for name in ("default", "kube-system", "other"):
            await self.registry.create(NAMESPACES, "", {"metadata": {"name": name}})
        for kind, obj in bootstrap_objects():
            await self.registry.create(kind, "", obj)
        self.root = await self.account("root")
        binding = {
            "metadata": {"name": "root"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "root"}],
        }  # fmt: skip
        await self.registry.create(CLUSTER_ROLE_BINDINGS, "", binding)
        await self.client.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        self.store.close()

    async def account(self, name: str) -> str:
        """A token of a new ServiceAccount."""
        made = await self.registry.create(SERVICE_ACCOUNTS, "default", {"metadata": {"name": name}})
        return self.tokens.issue("default", name, expires_s=3600, sa_uid=made["metadata"]["uid"])[0]

    async def ask(
        self, method: str, path: str, content: Any = None, *, token: str = "", form: str = "application/json", **headers: str
    ) -> tuple[int, Any]:  # fmt: skip
        """(status, what was said); as the administrator unless a token is given."""
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        said = {"Authorization": f"Bearer {token or self.root}", "Content-Type": form}
        said |= {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.client.request(method, path, data=body, headers=said) as response:
            raw = await response.read()
        try:
            return response.status, json.loads(raw)
        except ValueError:
            return response.status, raw.decode()

    def _exists(self, kind: str, namespace: str, name: str, uid: str) -> bool:
        wanted = next((it for it in BUILT_IN if it.kind == kind), None)
        found = self.store.get(wanted.storage, namespace, name) if wanted else None
        return found is not None and (not uid or found["metadata"]["uid"] == uid)
