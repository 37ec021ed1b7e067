"""A whole control plane in this process, beside a real API server, under the rights that ``lateen install`` gives it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from lateen.api.crds import manifests as definitions
from lateen.app.control_plane import ControlPlane, authority_of
from lateen.app.settings import Ports, Settings
from lateen.install.manifests import components
from lateen.install.values import installation
from lateen.kube import watch
from lateen.kube.client import KubeError
from lateen.testing.ads import until

ACCOUNT = "istio-system/istiod"
ANY_PORTS = Ports(0, 0, 0, 0, 0)
Run = Callable[..., AbstractAsyncContextManager[ControlPlane]]


async def _installed(api_server: Any, *, kinds: bool = True, rights: bool = True) -> None:
    wanted = [it for part in components(installation("minimal")) for it in part.objects]
    skipped = {
        "CustomResourceDefinition",
        "Namespace",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    }
    async with api_server.client() as admin:
        for it in [*(definitions() if kinds else ()), *(it for it in wanted if it["kind"] not in skipped)]:
            if rights or it["kind"] not in ("ClusterRoleBinding", "RoleBinding"):
                try:
                    await admin.create(it)
                except KubeError as refused:
                    assert refused.code == 409, refused  # noqa: PT017


@pytest.fixture(params=[None, {"seed": 1}], ids=["plain", "habits"])
def habits(request: pytest.FixtureRequest) -> dict[str, Any] | None:
    """A plain API server, and one with a real server's habits."""
    found: dict[str, Any] | None = request.param
    return found


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused may be allowed at any moment: here it is asked again ten times as often as elsewhere."""
    monkeypatch.setattr(watch, "_LONGEST_REFUSED_S", watch._LONGEST_REFUSED_S / 10)
    monkeypatch.setattr(watch, "_LONGEST_WAIT_S", 0.5)


@pytest.fixture
def install(api_server: Any) -> Callable[..., Awaitable[None]]:
    """Write what ``lateen install`` writes, without what would run."""
    return functools.partial(_installed, api_server)


@pytest.fixture
def run(api_server: Any) -> Run:
    """Run a control plane; ``wait`` until it is in sync."""

    @asynccontextmanager
    async def running(*, wait: bool = True, ports: Ports = ANY_PORTS) -> AsyncIterator[ControlPlane]:
        async with api_server.client(ACCOUNT) as client:
            settings = Settings(ports=ports)
            it = ControlPlane(client, await authority_of(client, settings), settings)
            task = asyncio.ensure_future(it.run())
            try:
                await until(lambda: it.ports.monitoring != 0 or task.done())
                if wait:
                    await until(lambda: it.loop.synced.is_set() or task.done())
                if task.done():
                    await task
                yield it
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return running


@pytest.fixture
def page() -> Callable[..., Awaitable[tuple[int, str]]]:
    """GET a debug page, perhaps from another address: (status, text)."""

    async def get(it: ControlPlane, path: str, source: str = "127.0.0.1") -> tuple[int, str]:
        url, connector = (
            f"http://127.0.0.1:{it.ports.monitoring}{path}",
            aiohttp.TCPConnector(local_addr=(source, 0)),
        )
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
            return answer.status, await answer.text()

    return get
