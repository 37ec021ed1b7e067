"""How do the parts make a cluster? One process: store, API server, controllers and node. No logic of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from asyncio import sslproto
from dataclasses import replace
from typing import Any, Never

from aiohttp import web

from skiff import log
from skiff.admission import plugins
from skiff.admission.webhooks import Webhooks
from skiff.api import Api, Object
from skiff.apiserver import context, metrics, signing
from skiff.apiserver.allocation import Addresses
from skiff.apiserver.connections import Site, keep
from skiff.apiserver.custom import CustomKinds
from skiff.apiserver.http import application
from skiff.apiserver.local import LocalApi
from skiff.apiserver.registry import Registry
from skiff.auth import escalation
from skiff.auth.access import ClusterAccess
from skiff.auth.authorize import Authorizer
from skiff.auth.pki import ClusterPki
from skiff.auth.tokens import Tokens
from skiff.bootstrap import bootstrap, lasting
from skiff.claim import claim
from skiff.controllers.run import ControllerSettings, run_all
from skiff.errors import ApiError
from skiff.kinds import BUILT_IN, CERTIFICATE_SIGNING_REQUESTS, NAMESPACES, PODS, SERVICE_ACCOUNTS, Kind
from skiff.log import Log
from skiff.node.agent import NodeAgent
from skiff.realism import shapes
from skiff.realism.chance import Chance
from skiff.realism.habits import habits
from skiff.realism.late import LateApi, LateKinds
from skiff.schema import pack
from skiff.settings import PORT, Settings
from skiff.store.file import DatabaseError
from skiff.store.store import Store

_log = Log()

READY_FILE = "ready"
#: New objects after which Python looks for cycles, seldomer than usual: stored objects are many, and none is part of one.
COLLECT_AFTER = (5000, 20, 20)


class Daemon:
    """A whole cluster."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.database)
        self.pki = ClusterPki.load_or_create(settings.home / "pki")
        schemas = pack.Schemas(pack.load(settings.home / "schemas.json.gz"))
        self.registry = Registry(self.store, schemas=schemas, addresses=Addresses(settings.service_cidr))
        CustomKinds(self.registry)
        self.api: Api = LocalApi(self.registry)
        self.chance = None if settings.realistic is None else Chance(settings.realistic)
        if self.chance:
            LateKinds(self.registry, self.chance)
            self.registry.shown = shapes.real
            self.api = LateApi(self.api, self.chance)
        self.tokens = Tokens(self.pki, still_exists=self._exists)
        authorizer = Authorizer(
            lambda kind: self.store.read_all(kind.storage),
            lambda kind, namespace, name: self.store.read(kind.storage, namespace, name),
            lambda kind, namespace: self.store.read_all(kind.storage, namespace),
            version=lambda kind: self.store.version(kind.storage),
        )
        self.registry.stored |= escalation.checks(authorizer, context.USER.get)
        self.registry.stored |= signing.checks(
            lambda user, verb, name: authorizer.allowed(
                user, verb, group=CERTIFICATE_SIGNING_REQUESTS.group, resource="signers", name=name
            )[0],
            context.USER.get,
        )
        self.access = ClusterAccess(self.tokens, authorizer)
        self.node = NodeAgent(self.api, settings, token=self._token)
        self.webhooks = Webhooks(
            lambda kind: self.store.all(kind.storage), self._namespace_labels, self.node.service_address
        )
        self.registry.admission = plugins.chain(self.registry, self.webhooks)
        self._keeper: asyncio.Task[Never] | None = None

    async def run(self) -> bool:
        """Until a signal says stop, or leave: SIGHUP ends no pod. Whether it has to be run anew."""
        stop, leave = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number, told in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, leave)):
            loop.add_signal_handler(number, told.set)
        claimed = await claim(self.settings.home)
        await bootstrap(self.registry, self.settings)
        await self.node.prepare()
        runner = await self._serve()
        controllers = ControllerSettings(
            self.settings.node_name,
            self.pki.ca_pem.decode(),
            bool(self.settings.cpus or self.settings.memory_mib),
            lasting(self.settings),
            str(self.settings.home / "claims"),
            self.pki.sign,
            self._usage,
        )
        works = [
            loop.create_task(run_all(self.api, controllers), name="controllers"),
            loop.create_task(self.node.run(), name="node"),
        ]
        waiting = [loop.create_task(it.wait()) for it in (stop, leave, self.node.lost)]
        gc.freeze()  # what is there by now stays, and need not be looked at again and again
        gc.set_threshold(*COLLECT_AFTER)
        (self.settings.home / READY_FILE).write_text(str(os.getpid()))
        _log.info("serving", port=self.settings.api_port)
        try:
            done, _ = await asyncio.wait([*waiting, *works], return_when=asyncio.FIRST_COMPLETED)
            for it in done - {*waiting}:
                it.result()  # a bug in one of them: say so and end, and let the pods go on
        finally:
            await self._end([*waiting, *works], runner, pods=stop.is_set())
            claimed.close()
        return self.node.lost.is_set() and not stop.is_set() and not leave.is_set()

    async def _end(self, tasks: list[asyncio.Task[Any]], runner: web.AppRunner, *, pods: bool) -> None:
        (self.settings.home / READY_FILE).unlink(missing_ok=True)
        for it in tasks:
            it.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await (self.node.stop() if pods else self.node.leave())
        await self.webhooks.close()
        if self._keeper:
            self._keeper.cancel()
        await runner.cleanup()
        self.store.close()
        if self.chance:
            _log.info(
                "was as a busy server is",
                seed=self.chance.seed,
                **{it.replace(" ", "_"): n for it, n in sorted(self.chance.happened.items())},
            )

    async def _serve(self) -> web.AppRunner:
        domain, port = self.settings.cluster_domain, self.settings.api_port
        names = [
            "kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}", "localhost",
            "127.0.0.1", self.settings.api_ip,
        ]  # fmt: skip
        tls = self.pki.server_context(names)
        around = [habits(self.chance)] if self.chance else []
        app = application(self.registry, access=self.access, node=self.node, around=around)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=120)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, backlog=512).start()
        await Site(runner, self.node.listen_api(), ssl_context=tls, backlog=512).start()
        assert runner.server is not None, "the runner is set up"
        self._keeper = asyncio.get_running_loop().create_task(keep(runner.server), name="connections")
        return runner

    async def _token(self, namespace: str, account: str, options: dict[str, Any]) -> str:
        """A token for a pod, as a kubelet asks for it."""
        try:
            found = self.registry.get(SERVICE_ACCOUNTS, namespace, account)
        except ApiError as missing:
            raise ApiError(
                404, "NotFound", f"service account {namespace}/{account} does not exist"
            ) from missing
        audience = options.get("audience")
        token, _ = self.tokens.issue(
            namespace, account, audiences=(audience,) if audience else (), expires_s=options.get("expires_s") or 3600,
            pod=options.get("pod"), sa_uid=found["metadata"]["uid"],
        )  # fmt: skip
        return token

    async def _usage(self, namespace: str) -> list[Object]:
        """What the Metrics API says of the pods there."""
        found = await metrics.rates(self.node)
        return metrics.of_pods(self.store.read_all(PODS.storage, namespace), found)

    def _exists(self, kind: str, namespace: str, name: str, uid: str) -> bool:
        known: dict[str, Kind] = {"Pod": PODS, "ServiceAccount": SERVICE_ACCOUNTS}
        wanted = known.get(kind) or next((it for it in BUILT_IN if it.kind == kind), None)
        found = self.store.get(wanted.storage, namespace, name) if wanted else None
        return found is not None and (not uid or found["metadata"]["uid"] == uid)

    def _namespace_labels(self, name: str) -> dict[str, str]:
        found: Object = self.store.get(NAMESPACES.storage, "", name) or {"metadata": {}}
        return found["metadata"].get("labels") or {}


def main(settings: Settings) -> None:
    """Run in the foreground; what is logged goes to stderr."""
    Log.output = log.BoundedLog(settings.home / log.NAME)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # a terminal's 1024 are too few for many pods
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if sys.version_info < (3, 12):  # later it is the default: no thread for each process of the cluster
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    sslproto.SSLProtocol.max_size = (
        32 * 1024
    )  # bytes read at once: a buffer of each connection, of 256 KiB otherwise
    try:
        while asyncio.run(Daemon(settings).run()):
            _log.warning("the node is made anew")
    except DatabaseError as wrong:
        sys.exit(f"Error: {wrong}")


def _asked(words: list[str]) -> Settings:
    """``--cpus=2``, as ``skiff.lifecycle`` writes them: a library for command lines would stay in memory with its 4 MB."""
    given = dict(it.removeprefix("--").split("=", 1) for it in words)
    seed = given.get("realistic")
    return replace(
        Settings(), cpus=int(given.get("cpus", 0)), memory_mib=int(given.get("memory", 0)),
        api_port=int(given.get("port", PORT)), realistic=int(seed) if seed else None,
    )  # fmt: skip


if __name__ == "__main__":
    main(_asked(sys.argv[1:]))
