"""How do packets find pods? DNS, the rules of Services, and addresses for load balancers, kept in step with the objects."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Never

from skiff.api import Api, Object
from skiff.controllers.informer import Informers
from skiff.errors import ApiError
from skiff.kinds import ENDPOINT_SLICES, PODS, SERVICES
from skiff.net.dns import DnsServer, World
from skiff.net.kernel import run, socket_inside
from skiff.net.namespace import node_of
from skiff.net.services import fronts, host_fronts, host_ports, ready_addresses, ready_endpoints, ruleset
from skiff.node import rules
from skiff.settings import Settings

_SERVICE = "kubernetes.io/service-name"
#: A pod that ends waits so long at most until no rule sends to it.
_WITHDRAWN_S = 1.0
#: And so long after that: proxies that choose endpoints themselves hear of it a moment later than the node, and a kubelet
#: takes no less until it sends a signal.
_HEARD_S = 0.25


class Packets:
    """What the node's network knows of Services."""

    def __init__(self, api: Api, settings: Settings, informers: Informers) -> None:
        self.api, self.settings, self._informers = api, settings, informers
        self.node = node_of(settings.home)
        self.world = World({}, {})
        self._changed = asyncio.Event()
        self._applied, self._offered = "", frozenset[str]()
        self._dropped: dict[
            str, float
        ] = {}  # when an address was withdrawn, by the loop's clock; those of late only
        self._turn = asyncio.Condition()
        self._listening: list[asyncio.BaseTransport | asyncio.Server] = []
        for kind in (SERVICES, ENDPOINT_SLICES):
            informers[kind].listen(lambda _old, _new: self._changed.set())
        informers[PODS].listen(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if any(it is not None and host_ports(it) for it in (old, new)):
            self._changed.set()

    async def serve_dns(self) -> None:
        """Answer at the DNS Service's address, over UDP and TCP."""
        loop = asyncio.get_running_loop()
        server = DnsServer(lambda: self.world, self.settings.cluster_domain)
        where = (self.settings.dns_ip, 53)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: server, sock=socket_inside(self.node, socket.AF_INET, socket.SOCK_DGRAM, where)
        )
        listening = socket_inside(self.node, socket.AF_INET, socket.SOCK_STREAM, where)
        listening.listen(64)
        self._listening = [transport, await asyncio.start_server(server.serve_tcp, sock=listening)]

    def close(self) -> None:
        """Answer no more."""
        for it in self._listening:
            it.close()

    async def keep_rules(self) -> Never:
        """Until cancelled."""
        await rules.keep(self._changed, self._look, "the service rules")

    async def _look(self) -> None:
        """What there is now becomes names, rules and addresses."""
        services = {
            (it["metadata"]["namespace"], it["metadata"]["name"]): it
            for it in self._informers[SERVICES].objects.values()
        }
        slices: dict[tuple[str, str], list[Object]] = {}
        for it in self._informers[ENDPOINT_SLICES].objects.values():
            name = (it["metadata"].get("labels") or {}).get(_SERVICE)
            if name:
                slices.setdefault((it["metadata"]["namespace"], name), []).append(it)
        self.world = World(services, slices)
        await self._apply()
        async with self._turn:
            before, now = self._offered, asyncio.get_running_loop().time()
            self._offered = ready_addresses(it for every in slices.values() for it in every)
            self._dropped = {it: at for it, at in self._dropped.items() if at > now - _WITHDRAWN_S}
            self._dropped |= dict.fromkeys(before - self._offered, now)
            self._turn.notify_all()
        await self._give_addresses(list(services.values()))

    async def _apply(self) -> None:
        own = (self.settings.api_ip, self.settings.dns_ip)
        offered = [
            front for key, it in sorted(self.world.services.items()) if it["spec"].get("clusterIP") not in own
            for front in fronts(it, self.world.slices.get(key, []), own)
        ]  # fmt: skip
        offered += host_fronts(self._informers[PODS].objects.values())
        text = ruleset(offered)
        if text == self._applied:
            return
        await run("ip", "netns", "exec", self.node, "nft", "-f", "-", feed=text)
        self._applied = text

    async def withdrawn(self, ip: str) -> None:
        """Until nobody sends new connections to an address, or a second has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WITHDRAWN_S):
                async with self._turn:
                    await self._turn.wait_for(lambda: ip not in self._offered)
                if (since := self._dropped.get(ip)) is not None:
                    await asyncio.sleep(since + _HEARD_S - asyncio.get_running_loop().time())

    async def _give_addresses(self, services: list[Object]) -> None:
        """LoadBalancers get an address of the last part of the service range, which the host reaches."""
        prefix = ".".join(self.settings.service_cidr.split(".")[:2]) + ".255."
        taken = {
            i.get("ip")
            for it in services
            for i in ((it.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        }
        for it in services:
            wanted = it["spec"].get("type") == "LoadBalancer"
            ingress = ((it.get("status") or {}).get("loadBalancer") or {}).get("ingress")
            if wanted == bool(ingress):
                continue
            free = next((ip for ip in (f"{prefix}{n}" for n in range(1, 255)) if ip not in taken), None)
            if wanted and free is None:
                continue  # it stays pending, as where nobody gives addresses
            taken.add(free)
            balancer = {"ingress": [{"ip": free, "ipMode": "VIP"}] if wanted else None}
            with contextlib.suppress(ApiError):
                await self.api.patch(
                    SERVICES, it["metadata"]["namespace"], it["metadata"]["name"], {"status": {"loadBalancer": balancer}},
                    subresource="status",
                )  # fmt: skip

    def service_address(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        """A ready endpoint of a service, which the daemon can dial; LookupError with the reason when there is none."""
        found = self.world.services.get((namespace, service))
        if found is None:
            raise LookupError(f'service "{service}" not found')
        named = next((it for it in found["spec"].get("ports") or () if it["port"] == port), None)
        if named is None:
            raise LookupError(f'no service port {port} found for service "{service}"')
        ready = ready_endpoints(self.world.slices.get((namespace, service), []), named.get("name") or "")
        if not ready:
            raise LookupError(f'no endpoints available for service "{service}"')
        return ready[0]
