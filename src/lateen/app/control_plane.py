"""What is a control plane made of? Composition only: settings from the environment, parts, and their ports."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from lateen.admission.server import webhook_application
from lateen.api import validate
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
from lateen.incremental import Database
from lateen.injection.settings import InjectionSettings, settings_from_config_maps
from lateen.kube.client import KubeClient
from lateen.names.keys import ObjectKey
from lateen.names.metrics import Workload
from lateen.registry import facts, workloads

_log = structlog.get_logger("lateen")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the Deployment says (``lateen.install.manifests``)."""

    namespace: str = "istio-system"
    service: str = "istiod"
    mesh_config_map: str = "istio"
    injector_config_map: str = "istio-sidecar-injector"
    cluster: str = "Kubernetes"

    @classmethod
    def from_environment(cls) -> Settings:
        """By the names of its variables."""
        said = os.environ.get
        return cls(
            said("POD_NAMESPACE", cls.namespace), said("ISTIOD_SERVICE", "istiod"), said("MESH_CONFIG_MAP", "istio"),
            said("INJECTOR_CONFIG_MAP", "istio-sidecar-injector"), said("CLUSTER_ID", "Kubernetes"),
        )  # fmt: skip


class ControlPlane:
    """All parts of one process."""

    def __init__(
        self, client: KubeClient, authority: Authority, settings: Settings, *, journal: str = ""
    ) -> None:
        del journal
        self.settings, self.authority = settings, authority
        self.db: Database = facts.new_database()
        self.loop = Loop(self.db)
        self.source = Source(
            client, self.loop.put, namespace=settings.namespace, config_map=settings.mesh_config_map
        )
        self.front: Front | None = None
        self.service = DiscoveryService(
            self.loop, lambda name: self.front.peer(name) if self.front else (None, False)
        )
        self.certificates = CertificateService(
            authority, Reviewer(client), lambda: facts.mesh_config(self.db).trust_domain, self._workload
        )
        self.controllers = [
            TrustBundle(client, authority.root_pem),
            WebhookBundles(
                client, authority.root_pem, namespace=settings.namespace, service=settings.service
            ),
        ]

    def _workload(self, caller: Caller) -> Workload | None:
        found = workloads.of_pod(self.db, ObjectKey(caller.namespace, caller.pod)) if caller.pod else None
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
        grpc_server = server([self.service.handler(), self.certificates.handler()])
        grpc_server.add_insecure_port("0.0.0.0:15010")
        self.front = Front(grpc_server.add_insecure_port("127.0.0.1:0"))
        await grpc_server.start()
        contexts = [serving.server_context(self.authority, hosts, clients=it) for it in (True, False)]
        await self.front.start(15012, contexts[0])
        pages = debug.Pages(self.service, self.source, self.loop.synced.is_set)
        hooks = webhook_application(
            self.injection, lambda name: self.source.namespace_labels.get(name, {}), validate.validate
        )
        runners = [await debug.serve(debug.application(pages), port) for port in (8080, 15014)]
        runners.append(await debug.serve(hooks, 15017, ssl_context=contexts[1]))
        try:
            async with asyncio.TaskGroup() as tasks:
                for it in (self.loop, self.source, *self.controllers):
                    tasks.create_task(it.run())
                tasks.create_task(self._renew(contexts, hosts))
                await self.source.synced()
                self.loop.synced.set()
                _log.info("in sync with Kubernetes", ca=self.authority.source)
        finally:
            await self.front.stop()
            await grpc_server.stop(0.5)
            for runner in runners:
                await runner.cleanup()

    async def _renew(self, contexts: list[Any], hosts: list[str]) -> None:
        while True:
            await asyncio.sleep((serving.TTL / 2).total_seconds())
            for it in contexts:
                serving.fill(it, self.authority, hosts)


def _trust_domain(config: dict[str, Any] | None) -> str:
    import yaml

    said = yaml.safe_load(((config or {}).get("data") or {}).get("mesh") or "") or {}
    return str(said.get("trustDomain") or "cluster.local")


async def run(settings: Settings) -> None:
    """Until a signal."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    begun = datetime.now(UTC)
    async with KubeClient.from_environment(None, None) as client:
        path = f"/api/v1/namespaces/{settings.namespace}/configmaps/{settings.mesh_config_map}"
        authority = await load_or_create(
            client, settings.namespace, trust_domain=_trust_domain(await client.get(path))
        )
        working = loop.create_task(ControlPlane(client, authority, settings).run())
        waiting = loop.create_task(stop.wait())
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        working.cancel()
        result = (await asyncio.gather(working, return_exceptions=True))[0]
    _log.info("stopped", after=str(datetime.now(UTC) - begun - timedelta(0)).partition(".")[0])
    if isinstance(result, Exception):
        raise result


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
    asyncio.run(run(Settings.from_environment()))


if __name__ == "__main__":
    main()
