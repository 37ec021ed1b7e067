"""What is a control plane made of? Composition only: settings from the environment, parts, and their ports."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import resource
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import structlog

from lateen.admission.current import Current
from lateen.admission.server import webhook_application
from lateen.api import mesh_config, reading
from lateen.app.settings import FlagError, Ports, Settings
from lateen.app.supervision import kept
from lateen.authority import serving
from lateen.authority.holder import AuthorityHolder
from lateen.authority.service import CertificateService
from lateen.authority.store import Authority, load_or_create
from lateen.authority.tokens import Caller, Reviewer
from lateen.controllers import trust_bundle
from lateen.controllers.trust_bundle import TrustBundle
from lateen.controllers.webhooks import WebhookBundles
from lateen.discovery import debug
from lateen.discovery.bounds import PAGES, WEBHOOKS
from lateen.discovery.front import Front
from lateen.discovery.loop import Loop
from lateen.discovery.pages import serve
from lateen.discovery.server import DiscoveryService, server
from lateen.discovery.source import Source
from lateen.incremental import Change, Database
from lateen.kube.client import KubeClient, KubeError
from lateen.kube.config import KubeConfigError
from lateen.names.identity import Identity
from lateen.names.keys import ObjectKey
from lateen.names.metrics import Workload
from lateen.pki.authority import RefusedError
from lateen.registry import facts, workloads

_log = structlog.get_logger("lateen")


#: A change that has waited for so long will not be applied by itself.
STUCK_S = 60.0


class ControlPlane:
    """All parts of one process."""

    def __init__(
        self, client: KubeClient, authority: Authority, settings: Settings, older_roots: bytes = b""
    ) -> None:
        self.settings, self._client = settings, client
        self.authority = AuthorityHolder(authority, older_roots)
        self.db: Database = facts.new_database()
        self.loop = Loop(self.db)
        self.loop.put([
            Change(facts.MemberCluster, facts.ONLY, facts.MemberCluster(settings.cluster)),
            Change(facts.Switches, facts.ONLY, settings.switches),
        ])  # fmt: skip
        self.source = Source(
            client, self.loop.put, namespace=settings.namespace, config_map=settings.mesh_config_map
        )
        self.injector = Current(lambda: self.source.mesh)
        self.source.readers[settings.injector_config_map] = self.injector.read
        self.front: Front | None = None
        self.ports = settings.ports  # as they are, once it runs
        self.service = DiscoveryService(self.loop, self._peer, self._address)
        self.certificates = CertificateService(
            self.authority, Reviewer(client, self._lives), lambda: facts.mesh_config(self.db).trust_domain,
            self._workload, lambda name: self._peer(name)[1], self._address,
        )  # fmt: skip
        self._hosts = serving.names(settings.service, settings.namespace)
        self._tls = self._contexts()
        self._new_authority = asyncio.Event()

        def roots() -> bytes:
            return self.authority.roots_pem

        self.bundles = TrustBundle(client, roots)
        self.webhooks = WebhookBundles(client, roots, namespace=settings.namespace, service=settings.service)
        self.authority.listeners += [self.bundles.changed, self.webhooks.changed, self._new_authority.set]

    def _peer(self, name: str) -> tuple[Identity | None, bool]:
        return self.front.peer(name) if self.front else (None, False)

    def _address(self, name: str) -> str:
        return self.front.address(name) if self.front else name

    def _lives(self, caller: Caller) -> bool:
        return not caller.pod or self._workload(caller) is not None

    def _workload(self, caller: Caller) -> Workload | None:
        with self.db.peeking():
            found = (
                workloads.described(self.db, ObjectKey(caller.namespace, caller.pod)) if caller.pod else None
            )
        if found is None:
            return None
        return Workload(
            found.name,
            caller.namespace,
            found.canonical_name,
            found.canonical_revision,
            self.settings.cluster,
        )

    def alive(self) -> str:
        """What has stopped; empty while everything moves. For the liveness probe."""
        behind_s = self.loop.behind_s
        return f"changes have waited for {behind_s:.0f} s to be applied" if behind_s > STUCK_S else ""

    async def run(self) -> None:
        """Until cancelled."""
        async with AsyncExitStack() as open_things:
            # What was opened last is closed first: nobody hears anything half.
            grpc_server = server([self.service.handler(), self.certificates.handler()])
            self.front = Front(grpc_server.add_insecure_port("127.0.0.1:0"))
            await grpc_server.start()
            open_things.push_async_callback(grpc_server.stop, 0.5)
            open_things.push_async_callback(self.front.stop)
            wanted = self.ports
            plain = None if wanted.plain is None else await self.front.start(wanted.plain, None)
            secure = await self.front.start(wanted.secure, lambda: self._tls[0])
            pages = debug.Pages(self.loop, self.service, self.source, self.loop.synced.is_set, self.alive)
            open_things.push_async_callback(self.service.close)
            hooks = webhook_application(self.injector.settings)
            numbers = []
            for app, port, tls, bounds in (
                (debug.application(pages), wanted.monitoring, None, PAGES),
                (hooks, wanted.webhooks, lambda: self._tls[1], WEBHOOKS),
                (debug.application(pages), wanted.probes, None, PAGES),
            ):
                served = await serve(app, port, tls=tls, bounds=bounds)
                open_things.push_async_callback(served.close)
                numbers.append(served.port)
            self.ports = Ports(plain, secure, *numbers)
            async with asyncio.TaskGroup() as tasks:
                for part, work in self._parts().items():
                    tasks.create_task(kept(part, work))
                await self.source.synced()
                self.loop.synced.set()
                _log.info("in sync with Kubernetes", ca=self.authority.signing.source)

    def _parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "loop": self.loop.run, "source": self.source.run, "trust bundles": self.bundles.run,
            "webhooks": self.webhooks.run, "certificate": self._renew,
            "authority": lambda: self.authority.follow(self._client, self.settings.namespace),
        }  # fmt: skip

    def _contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """For proxies, and for the API server; RefusedError."""
        signing, roots = self.authority.signing, self.authority.roots_pem
        proxies = serving.server_context(signing, self._hosts, clients=True, roots=roots)
        return proxies, serving.server_context(signing, self._hosts, clients=False)

    async def _renew(self) -> None:
        """New connections get a fresh certificate at half of the life of the last, and when the CA changes.

        Established ones go on. While the CA cannot sign, the last certificate is shown.
        """
        while True:
            left = serving.renewed_after(self.authority.signing)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left.total_seconds()):
                    await self._new_authority.wait()
            self._new_authority.clear()
            try:
                self._tls = self._contexts()
            except RefusedError as wrong:
                _log.error(
                    "our own certificate could not be renewed: the last one is shown", reason=str(wrong)
                )


#: Facts and memos live long and are many: by Python's own thresholds a third of the first view is spent looking through
#: them for cycles (bench/compile.py).
COLLECT_AFTER = (50_000, 20, 100)


async def authority_of(client: KubeClient, settings: Settings) -> Authority:
    """The CA, as soon as Kubernetes can be asked. What cannot work raises: Kubernetes then starts us again, and shows why."""
    path = f"/api/v1/namespaces/{settings.namespace}/configmaps/{settings.mesh_config_map}"
    wait_s = 0.5
    while True:
        try:
            config = await client.get(path)
            return await load_or_create(client, settings.namespace, trust_domain=_trust_domain(config))
        except (aiohttp.ClientError, OSError, TimeoutError, KubeError) as problem:
            _log.warning("waiting for Kubernetes", reason=str(problem) or type(problem).__name__)
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
        wait_s = min(wait_s * 2, 10.0)


def _trust_domain(config: dict[str, Any] | None) -> str:
    """For the root's name. A mesh config that cannot be read is reported by whoever follows it."""
    found = mesh_config.read(reading.text(config, "data", "mesh")).config
    return (found or mesh_config.DEFAULT).trust_domain


async def run(settings: Settings) -> None:
    """Until a signal."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with KubeClient.from_environment(None, None) as client:
        working = loop.create_task(_work(client, settings))
        waiting = loop.create_task(stop.wait())
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        working.cancel()
        result = (await asyncio.gather(working, return_exceptions=True))[0]
    if isinstance(result, Exception):
        raise result
    _log.info("stopped")


async def _work(client: KubeClient, settings: Settings) -> None:
    authority = await authority_of(client, settings)
    await ControlPlane(client, authority, settings, await roots_before(client, settings)).run()


async def roots_before(client: KubeClient, settings: Settings) -> bytes:
    """What our own namespace trusts so far: leaves of an earlier CA may live. Nothing when that cannot be read."""
    path = f"/api/v1/namespaces/{settings.namespace}/configmaps/{trust_bundle.NAME}"
    try:
        found = await client.get(path)
    except (aiohttp.ClientError, OSError, TimeoutError, KubeError) as problem:
        _log.warning("the roots before could not be read", reason=str(problem) or type(problem).__name__)
        return b""
    return str(((found or {}).get("data") or {}).get(trust_bundle.KEY, "")).encode()


def _more_files() -> None:
    """Each connection takes up to three file descriptors; what a container gets by default is few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """The entry of the image ``lateen/pilot``."""
    level = {"debug": 10, "warning": 30, "error": 40}.get(os.environ.get("LOG_LEVEL", "info"), 20)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )  # fmt: skip
    try:
        gc.set_threshold(*COLLECT_AFTER)
        _more_files()
        asyncio.run(run(Settings.from_environment(sys.argv[1:])))
    except (
        RefusedError,
        KubeConfigError,
        FlagError,
    ) as wrong:  # somebody must mend it; a traceback would hide what
        _log.error("cannot start", reason=str(wrong))
        sys.exit(1)


if __name__ == "__main__":
    main()
