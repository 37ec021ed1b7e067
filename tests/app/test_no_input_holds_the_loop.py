"""No input of a megabyte holds the loop of a control plane for longer than a second, by whichever door it comes.

What is measured is processor time of the loop's thread between two beats of a heart, so that busy machines count for
nothing; the limit leaves room for slow ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc.aio
import pytest

from lateen.api.decode import KINDS, STORED
from lateen.api.validate import RULES
from lateen.app.control_plane import ControlPlane
from lateen.app.settings import Ports
from lateen.authority.store import existing
from lateen.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from lateen.pki.authority import RefusedError
from lateen.testing.ads import Delta
from lateen.testing.objects import document

MEGABYTE = 1_000_000
LIMIT_S = 3.0
NODE = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
UNITS = ("%REQ(", "(", "[", "{", "a.", "a,", "é", "-", "- a\n", "a: {", "&a [*a,", "\\")
ROUTE_TO = [{"destination": {"host": "web"}}]


class Heart:
    """The longest time between two beats, and what was done meanwhile."""

    def __init__(self) -> None:
        self.longest_s, self.while_doing, self.doing = 0.0, "", ""

    async def beat(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            if now - last > self.longest_s:
                self.longest_s, self.while_doing = now - last, self.doing
            last = now
            await asyncio.sleep(0.002)
            last = time.thread_time() if time.thread_time() - last < self.longest_s else last


@asynccontextmanager
async def heart() -> AsyncIterator[Heart]:
    it = Heart()
    beating = asyncio.ensure_future(it.beat())
    try:
        yield it
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


def filled(entry: Callable[[int], Any], most: int = MEGABYTE) -> list[Any]:
    made: list[Any] = []
    size = 0
    while size < most:
        made.append(entry(len(made)))
        size += len(json.dumps(made[-1])) + 2
    return made


def core(kind: str, spec: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "it", "namespace": "shop"},
        "spec": spec or {},
        **more,
    }


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """(plural's kind, object): as they come by a watch, whoever let them in."""
    for kind in sorted(it.__name__ for it in {**KINDS, **STORED}.values() if it.__name__ in RULES):
        for name, value in document(kind)["spec"].items():
            for big in (
                [value] * (MEGABYTE // (len(json.dumps(value)) + 2)),
                {f"k{it}": value for it in range(30_000)},
                "%REQ(" * 200_000,
            ):
                yield kind, {**document(kind), "spec": {**document(kind)["spec"], name: big}}
    route = {"headers": {"request": {"set": {"a": "%REQ(" * 190_000}}}, "route": ROUTE_TO}
    yield "VirtualService", {**document("VirtualService"), "spec": {"hosts": ["w"], "http": [route]}}
    ports = filled(lambda it: {"name": f"http-{it}", "port": it % 65535 + 1, "targetPort": 8080})
    yield "Service", core("Service", {"clusterIP": "10.96.0.9", "ports": ports})
    yield (
        "Pod",
        core("Pod", {"containers": filled(lambda it: {"name": f"c{it}", "ports": [{"containerPort": 80}]})}),
    )
    labels = {f"k{it}": "v" for it in range(70_000)}
    yield "Namespace", {**core("Namespace"), "metadata": {"name": "it", "labels": labels}}
    backends = filled(lambda it: {"addresses": [f"10.{it // 62500}.{it // 250 % 250}.{it % 250 + 1}"]})
    marks = {"name": "it", "namespace": "shop", "labels": {"kubernetes.io/service-name": "it"}}
    yield "EndpointSlice", {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": marks, "endpoints": backends,
        "addressType": "IPv4", "ports": [{"name": f"http-{it}", "port": it} for it in range(1, 100)],
    }  # fmt: skip


async def by_watch(it: ControlPlane, heart: Heart) -> None:
    kinds = {f"{api.partition('/')[0]}/{plural}": table for (api, plural), table in
             {**it.source.tables, **it.source._told}.items()}  # fmt: skip
    plurals = {
        "Service": "services",
        "Pod": "pods",
        "Namespace": "namespaces",
        "EndpointSlice": "endpointslices",
    }
    for kind, written in objects():
        heart.doing = f"{kind} by watch: {json.dumps(written)[:200]}"
        plural = plurals.get(kind) or f"{kind.lower()}s".replace("ys", "ies").replace("gatewaies", "gateways")
        table = next(one for name, one in kinds.items() if name.endswith(f"/{plural}"))
        table.on_event("ADDED", written)
        while not it.loop.idle:
            await asyncio.sleep(0.01)
        table.on_event("DELETED", written)
        await asyncio.sleep(0.01)


async def by_config_map(it: ControlPlane, heart: Heart) -> None:
    for name in (it.settings.mesh_config_map, it.settings.injector_config_map):
        for key in ("mesh", "config", "values"):
            for unit in UNITS:
                heart.doing = f"ConfigMap {name}, {key}: {unit!r}"
                data = {key: unit * (MEGABYTE // len(unit))}
                it.source._map_changed(
                    "MODIFIED", {"metadata": {"name": name, "namespace": "istio-system"}, "data": data}
                )
                await asyncio.sleep(0.01)


async def by_secret(client: Any, it: ControlPlane, heart: Heart) -> None:
    """As ``AuthorityHolder.follow`` reads it."""
    pem = it.authority.roots_pem.decode()
    for text in (pem * (MEGABYTE // len(pem)), "-----BEGIN CERTIFICATE-----\n" * 35_000, "A" * MEGABYTE):
        heart.doing = f"Secret cacerts: {text[:30]!r}"
        parts = dict.fromkeys(
            ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"), text[: MEGABYTE // 4]
        )
        made = {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": "istio-system"},
            "stringData": parts,
        }  # fmt: skip
        await client.create(made)
        with contextlib.suppress(RefusedError):
            await existing(client, "istio-system")
        await client.delete(made)


async def by_xds(it: ControlPlane, heart: Heart) -> None:
    names = tuple(f"outbound|{one}||web-{one}.shop.svc.cluster.local" for one in range(20_000))
    for kind in (CLUSTER, LISTENER, ROUTE, ENDPOINT, "type.googleapis.com/made.up"):
        heart.doing = f"xDS {kind}"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{it.ports.plain}") as channel:
            proxy = Delta(channel, NODE, LABELS=json.dumps({f"k{one}": "v" for one in range(200)}))
            with contextlib.suppress(grpc.RpcError, TimeoutError):
                async with asyncio.timeout(2):
                    await proxy.ask(kind, *names)
                    await proxy.ask(kind, *names, drop=names)
                    await proxy.hear()


async def by_page(it: ControlPlane, heart: Heart) -> None:
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        for port in (it.ports.monitoring, it.ports.probes):
            for path, headers in (
                ("/" + "a/" * 4000, {}),
                ("/debug/config_dump?proxyID=" + "%41" * 2500, {}),
                ("/", {"a": "b" * 8000}),
            ):
                heart.doing = f"page {path[:40]}"
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
                        await answer.read()
        for page in ("inject", "validate"):
            for body in (
                b"[" * MEGABYTE,
                b'{"a":' * (MEGABYTE // 5),
                b"9" * MEGABYTE,
                json.dumps(next(objects())[1]).encode(),
            ):
                heart.doing = f"review at /{page}: {body[:20]!r}"
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.post(
                        f"https://127.0.0.1:{it.ports.webhooks}/{page}", data=body, ssl=tls
                    ) as answer:
                        await answer.read()


@pytest.mark.finding("redteam 8: no input of 1 MB holds any loop longer than 1 s")
@pytest.mark.parametrize("habits", [None], ids=["plain"])
async def test_a_megabyte_by_any_door(
    install: Callable[..., Awaitable[None]], run: Any, api_server: Any
) -> None:
    await install()
    async with run(ports=Ports(0, 0, 0, 0, 0)) as it, api_server.client() as admin, heart() as beats:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{it.ports.plain}") as channel:
            proxy = Delta(channel, NODE)  # whose view is made anew with each object
            await proxy.ask(CLUSTER)
            await proxy.hear()
            await by_watch(it, beats)
            await by_config_map(it, beats)
            await by_secret(admin, it, beats)
            await by_xds(it, beats)
            await by_page(it, beats)
        assert beats.longest_s < LIMIT_S, beats.while_doing
