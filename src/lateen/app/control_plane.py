"""What is a control plane made of? Composition only: settings from the environment, parts, and their ports."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import ssl
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import structlog
from aiohttp import web

from lateen.admission.server import webhook_application
from lateen.api import mesh_config
from lateen.authority import serving
from lateen.authority.service import CertificateService
from lateen.authority.store import Authority, load_or_create
from lateen.authority.tokens import Caller, Reviewer
from lateen.controllers.trust_bundle import TrustBundle
from lateen.controllers.webhooks import WebhookBundles
from lateen.discovery import debug
from lateen.discovery.front import Front
from lateen.discovery.loop import Loop
from lateen.discovery.server import DiscoveryService, server
from lateen.discovery.source import Source
from lateen.incremental import Change, Database
from lateen.injection.settings import InjectionSettings, settings_from_config_maps
from lateen.kube.client import KubeClient, KubeError
from lateen.kube.config import KubeConfigError
from lateen.names.identity import Identity
from lateen.names.keys import ObjectKey
from lateen.names.metrics import Workload
from lateen.pki.authority import RefusedError
from lateen.registry import facts, workloads

_log = structlog.get_logger("lateen")


class Ports(NamedTuple):
    """Istio's; 0 takes a free one."""

    plain: int = 15010  # ADS in the clear
    secure: int = 15012  # ADS and CA
    monitoring: int = 15014
    webhooks: int = 15017
    probes: int = 8080


@dataclass(frozen=True, slots=True)
class Settings:
    """What the Deployment says (``lateen.install.manifests``)."""

    namespace: str = "istio-system"
    service: str = "istiod"
    mesh_config_map: str = "istio"
    injector_config_map: str = "istio-sidecar-injector"
    cluster: str = "Kubernetes"
    switches: facts.Switches = field(default_factory=facts.Switches)
    ports: Ports = field(default_factory=Ports)

    @classmethod
    def from_environment(cls) -> Settings:
        """By the names of its variables."""
        said = os.environ.get
        return cls(
            said("POD_NAMESPACE", "istio-system"), said("ISTIOD_SERVICE", "istiod"), said("MESH_CONFIG_MAP", "istio"),
            said("INJECTOR_CONFIG_MAP", "istio-sidecar-injector"), said("CLUSTER_ID", "Kubernetes"),
            facts.Switches(_truth(said("PILOT_SCOPE_GATEWAY_TO_NAMESPACE", ""))),
        )  # fmt: skip


def _truth(said: str) -> bool:
    """As Go reads it, whose words Istio's users write."""
    return said in ("1", "t", "T", "true", "TRUE", "True")


class ControlPlane:
    """All parts of one process."""

    def __init__(self, client: KubeClient, authority: Authority, settings: Settings) -> None:
        self.settings, self.authority = settings, authority
        self.db: Database = facts.new_database()
        self.loop = Loop(self.db)
        self.loop.put([
            Change(facts.MemberCluster, facts.ONLY, facts.MemberCluster(settings.cluster)),
            Change(facts.Switches, facts.ONLY, settings.switches),
        ])  # fmt: skip
        self.source = Source(
            client, self.loop.put, namespace=settings.namespace, config_map=settings.mesh_config_map
        )
        self.front: Front | None = None
        self.ports = settings.ports  # as they are, once it runs
        self.service = DiscoveryService(self.loop, self._peer)
        self.certificates = CertificateService(
            authority, Reviewer(client), lambda: facts.mesh_config(self.db).trust_domain, self._workload,
            lambda name: self._peer(name)[1],
        )  # fmt: skip
        self.bundles = TrustBundle(client, authority.root_pem)
        self.webhooks = WebhookBundles(
            client, authority.root_pem, namespace=settings.namespace, service=settings.service
        )

    def _peer(self, name: str) -> tuple[Identity | None, bool]:
        return self.front.peer(name) if self.front else (None, False)

    def _workload(self, caller: Caller) -> Workload | None:
        found = workloads.described(self.db, ObjectKey(caller.namespace, caller.pod)) if caller.pod else None
        if found is None:
            return None
        return Workload(
            found.name,
            caller.namespace,
            found.canonical_name,
            found.canonical_revision,
            self.settings.cluster,
        )

    def injection(self) -> InjectionSettings:
        """As the two ConfigMaps say at this moment."""
        maps = self.source.config_maps
        return settings_from_config_maps(
            maps.get(self.settings.injector_config_map, {}), maps.get(self.settings.mesh_config_map, {})
        )

    async def run(self) -> None:
        """Until cancelled."""
        hosts = serving.names(self.settings.service, self.settings.namespace)
        contexts = [serving.server_context(self.authority, hosts, clients=it) for it in (True, False)]
        async with AsyncExitStack() as open_things:
            # What was opened last is closed first: nobody hears anything half.
            grpc_server = server([self.service.handler(), self.certificates.handler()])
            plain = grpc_server.add_insecure_port(f"0.0.0.0:{self.ports.plain}")
            self.front = Front(grpc_server.add_insecure_port("127.0.0.1:0"))
            await grpc_server.start()
            open_things.push_async_callback(grpc_server.stop, 0.5)
            secure = await self.front.start(self.ports.secure, contexts[0])
            open_things.push_async_callback(self.front.stop)
            pages = debug.Pages(self.loop, self.service, self.source, self.loop.synced.is_set)
            open_things.push_async_callback(self.service.close)
            numbers = []
            for app, port, tls in (
                (debug.application(pages), self.ports.monitoring, None), (self._hooks(), self.ports.webhooks, contexts[1]),
                (debug.application(pages), self.ports.probes, None),
            ):  # fmt: skip
                runner = await debug.serve(app, port, ssl_context=tls)
                open_things.push_async_callback(runner.cleanup)
                numbers.append(runner.addresses[0][1])
            self.ports = Ports(plain, secure, *numbers)
            async with asyncio.TaskGroup() as tasks:
                for it in (self.loop.run, self.source.run, self.bundles.run, self.webhooks.run):
                    tasks.create_task(it())
                tasks.create_task(self._renew(contexts, hosts))
                await self.source.synced()
                self.loop.synced.set()
                _log.info("in sync with Kubernetes", ca=self.authority.source)

    def _hooks(self) -> web.Application:
        return webhook_application(self.injection)

    async def _renew(self, contexts: Sequence[ssl.SSLContext], hosts: Sequence[str]) -> None:
        """New connections get a fresh certificate at half of the life of the last; established ones go on."""
        while True:
            left = serving.renewed_after(self.authority)
            await asyncio.sleep(left.total_seconds())
            for it in contexts:
                serving.fill(it, self.authority, hosts)


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
    found = mesh_config.read(((config or {}).get("data") or {}).get("mesh", "")).config
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
    await ControlPlane(client, await authority_of(client, settings), settings).run()


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
        asyncio.run(run(Settings.from_environment()))
    except (RefusedError, KubeConfigError) as wrong:  # somebody must mend it; a traceback would hide what
        _log.error("cannot start", reason=str(wrong))
        sys.exit(1)


if __name__ == "__main__":
    main()
