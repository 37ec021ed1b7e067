"""Which packets become which? Services and EndpointSlices as one nftables table."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from skiff.names import NODE_IP

_HAIRPIN = "0x4000"
_BUCKETS = 256
_PROTOCOLS = ("tcp", "udp", "sctp")


class Front(NamedTuple):
    """One port of a service with its fronts (VIPs, the cluster's own first; node port) and ready backends."""

    vips: tuple[str, ...]
    protocol: str
    port: int
    node_port: int
    backends: tuple[tuple[str, int], ...]
    sticky: bool = False  # a client stays with its backend


def ready_endpoints(slices: Iterable[dict[str, Any]], port_name: str) -> tuple[tuple[str, int], ...]:
    """(ip, port) of the endpoints which may get new connections at the named port.

    When all that is left is ending, those that still serve: better than nothing, as in kube-proxy.
    """
    ready, last = set(), set()
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        ports = [
            p["port"]
            for p in piece.get("ports") or []
            if (p.get("name") or "") == port_name and 0 < (p.get("port") or 0) < 65536
        ]
        for endpoint in piece.get("endpoints") or []:
            found = {(ip, port) for ip in _addresses(endpoint) for port in ports}
            if _ready(endpoint):
                ready |= found
            elif (endpoint.get("conditions") or {}).get("serving") and endpoint["conditions"].get(
                "terminating"
            ):
                last |= found
    return tuple(sorted(ready or last))


def _ready(endpoint: dict[str, Any]) -> bool:
    return (endpoint.get("conditions") or {}).get("ready", True) is not False


def ready_addresses(slices: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Every address that is ready behind some service."""
    return frozenset(
        ip
        for piece in slices
        for endpoint in piece.get("endpoints") or ()
        if _ready(endpoint)
        for ip in _addresses(endpoint)
    )


def _addresses(endpoint: dict[str, Any]) -> list[str]:
    return [it for it in endpoint.get("addresses") or () if is_address(it)]


def is_address(text: Any) -> bool:
    """Whether it is an IPv4 address. Users write them, and what is not one would spoil the rules of everybody."""
    try:
        return bool(IPv4Address(text)) and isinstance(text, str)
    except ValueError:
        return False


def is_port(number: Any) -> bool:
    """Whether anything can listen there; of ports the same holds as of addresses."""
    return isinstance(number, int) and 0 < number < 65536


def fronts(service: dict[str, Any], slices: list[dict[str, Any]], kept: Container[Any] = ()) -> list[Front]:
    """What the service offers; nothing if it is headless or only a name. It gets none of the addresses that are ``kept``."""
    spec = service.get("spec") or {}
    vip = spec.get("clusterIP") or ""
    if vip in ("", "None") or spec.get("type") == "ExternalName":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    more = [*(it.get("ip") for it in ingress), *(spec.get("externalIPs") or [])]
    vips = tuple(dict.fromkeys(it for it in [vip, *more] if is_address(it) and it not in kept))
    return [
        Front(
            vips, (port.get("protocol") or "TCP").lower(), port["port"],
            port["nodePort"] if is_port(port.get("nodePort")) else 0,
            ready_endpoints(slices, port.get("name") or ""), spec.get("sessionAffinity") == "ClientIP",
        )
        for port in spec.get("ports") or []
        if (port.get("protocol") or "TCP").lower() in _PROTOCOLS and is_port(port.get("port"))
    ]  # fmt: skip


def host_fronts(pods: Iterable[dict[str, Any]]) -> list[Front]:
    """The node's ports that belong to pods (``hostPort``). The scheduler gives each to one pod."""
    found = []
    for pod in pods:
        status, spec = pod.get("status") or {}, pod.get("spec") or {}
        address = str(status.get("podIP") or "")
        if (
            not is_address(address)
            or spec.get("hostNetwork")
            or status.get("phase") in ("Succeeded", "Failed")
        ):
            continue
        for port in host_ports(pod):
            protocol, number = (port.get("protocol") or "TCP").lower(), port["hostPort"]
            here = port.get("hostIP") in (None, "", "0.0.0.0", NODE_IP)
            if here and protocol in _PROTOCOLS and is_port(number) and is_port(port.get("containerPort")):
                found.append(Front((), protocol, 0, number, ((address, port["containerPort"]),)))
    return sorted(found)


def host_ports(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Its container ports that name a port of the node."""
    spec = pod.get("spec") or {}
    every = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return [port for it in every for port in it.get("ports") or () if port.get("hostPort")]


def ruleset(offered: Iterable[Front]) -> str:
    """The whole table, replaced in one transaction; established connections stay where they are.

    The cluster gave each Service an address of its own: who names that of another one as external gets nothing of it.
    """
    offered = list(offered)
    given = {(front.vips[0], front.protocol, front.port) for front in offered if front.vips}
    chains: list[str] = []
    services: dict[str, str] = {}
    node_ports: dict[str, str] = {}
    empty: dict[str, str] = {}
    for number, front in enumerate(offered):
        external = [it for it in front.vips[1:] if (it, front.protocol, front.port) not in given]
        keys = [f"{vip} . {front.protocol} . {front.port}" for vip in (*front.vips[:1], *external)]
        if not front.backends:
            empty |= dict.fromkeys(keys, "")
            continue
        for index, (ip, port) in enumerate(front.backends):
            chains.append(
                f"chain e{number}_{index} {{ ip saddr {ip} meta mark set {_HAIRPIN}\n"
                f"meta l4proto {front.protocol} dnat to {ip}:{port}\n}}"
            )
        choice = "numgen random mod {}" if not front.sticky else "jhash ip saddr mod {} seed 0x1"
        chosen = range(len(front.backends)) if not front.sticky else _buckets(front.backends)
        choices = ", ".join(f"{place} : goto e{number}_{index}" for place, index in enumerate(chosen))
        chains.append(f"chain s{number} {{ {choice.format(len(chosen))} vmap {{ {choices} }}\n}}")
        services |= dict.fromkeys(keys, f"goto s{number}")
        if front.node_port:
            node_ports.setdefault(f"{front.protocol} . {front.node_port}", f"goto s{number}")
    jumps = (
        "ip daddr . meta l4proto . th dport vmap @services\n"
        f"ip daddr {NODE_IP} meta l4proto . th dport vmap @nodeports\n"
    )
    refuse = (
        "ip daddr . meta l4proto . th dport @empty meta l4proto tcp reject with tcp reset\n"
        "ip daddr . meta l4proto . th dport @empty reject\n"
    )
    return "\n".join([
        "table ip skiff", "delete table ip skiff", "table ip skiff {", *chains,
        _named("map services", "ipv4_addr . inet_proto . inet_service : verdict", services),
        _named("map nodeports", "inet_proto . inet_service : verdict", node_ports),
        _named("set empty", "ipv4_addr . inet_proto . inet_service", empty),
        f"chain prerouting {{ type nat hook prerouting priority -100;\n{jumps}}}",
        f"chain output {{ type nat hook output priority -100;\n{jumps}}}",
        f"chain postrouting {{ type nat hook postrouting priority 100;\nmeta mark {_HAIRPIN} snat to {NODE_IP}\n}}",
        f"chain forward {{ type filter hook forward priority 0;\n{refuse}}}",
        f"chain locally {{ type filter hook output priority 0;\n{refuse}}}",
        "}", "",
    ])  # fmt: skip


def _buckets(backends: Sequence[tuple[str, int]]) -> list[int]:
    """The backend of each hash of a client: when a backend leaves, only its own clients move (rendezvous hashing)."""
    return [
        max(range(len(backends)), key=lambda index: _weight(place, backends[index]))
        for place in range(_BUCKETS)
    ]


def _weight(place: int, backend: tuple[str, int]) -> bytes:
    return hashlib.sha256(f"{place} {backend}".encode()).digest()


def _named(what: str, kind: str, elements: dict[str, str]) -> str:
    listed = ", ".join(f"{key} : {value}" if value else key for key, value in elements.items())
    return f"{what} {{ type {kind}; {f'elements = {{ {listed} }}' if listed else ''}\n}}"
