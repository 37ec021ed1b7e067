"""Which packets may pass between pods? NetworkPolicies as one nftables table of the node. Pure.

A pod that no policy selects is open. One that is selected gets, or sends, only what some policy allows. The node itself is
always allowed, and so are the cluster's API and DNS, which are the node's.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from skiff.api import Object
from skiff.names import HOST_IP, NODE_IP
from skiff.net.services import is_address, is_port
from skiff.objects import finished, matches

_PROTOCOLS = ("tcp", "udp", "sctp")
EMPTY = "table ip skiff-policies\ndelete table ip skiff-policies\n"


class _Pod(NamedTuple):
    address: str
    namespace: str
    labels: dict[str, str]
    ports: dict[tuple[str, str], int]  # (protocol, name) -> number


class World:
    """The pods with addresses, and what selectors select of them, each asked once."""

    def __init__(self, pods: Iterable[Object], namespaces: Iterable[Object]) -> None:
        self.pods: dict[str, list[_Pod]] = {}
        for it in pods:
            address = (it.get("status") or {}).get("podIP")
            if is_address(address) and not it["spec"].get("hostNetwork") and not finished(it):
                made = _Pod(
                    str(address), it["metadata"]["namespace"], it["metadata"].get("labels") or {}, _named(it)
                )
                self.pods.setdefault(made.namespace, []).append(made)
        self._labels = {it["metadata"]["name"]: it["metadata"].get("labels") or {} for it in namespaces}
        self._known: dict[str, list[_Pod]] = {}

    def selected(self, namespace: str, selector: Object | None, among: Object | None = None) -> list[_Pod]:
        """The pods of a namespace, or of those that ``among`` selects; no selector means all of them."""
        key = json.dumps([namespace if among is None else "", selector, among], sort_keys=True)
        if key not in self._known:
            places = (
                [namespace]
                if among is None
                else [it for it, had in self._labels.items() if matches(among, had)]
            )
            self._known[key] = [
                pod for place in places for pod in self.pods.get(place, ())
                if not selector or matches(selector, pod.labels)
            ]  # fmt: skip
        return self._known[key]


def _named(pod: Object) -> dict[tuple[str, str], int]:
    every = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
    return {
        ((port.get("protocol") or "TCP").lower(), port["name"]): port["containerPort"]
        for it in every
        for port in it.get("ports") or ()
        if port.get("name") and is_port(port.get("containerPort"))
    }


def ruleset(policies: Iterable[Object], world: World) -> str:
    """The whole table, replaced in one transaction. What is under way stays under way."""
    isolated: dict[str, set[str]] = {"ingress": set(), "egress": set()}
    chains: dict[str, list[str]] = {"ingress": [], "egress": []}
    for policy in sorted(policies, key=lambda it: (it["metadata"]["namespace"], it["metadata"]["name"])):
        spec, namespace = policy.get("spec") or {}, policy["metadata"]["namespace"]
        mine = world.selected(namespace, spec.get("podSelector") or {})
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        for way in ("ingress", "egress") if mine else ():
            if way.capitalize() in types:
                isolated[way] |= {it.address for it in mine}
                chains[way] += _allowed(way, mine, spec.get(way) or (), namespace, world)
    if not any(isolated.values()):
        return EMPTY
    own = f"{{ {HOST_IP}, {NODE_IP} }}"
    lines = [
        "ct state established,related accept", f"ip saddr {own} accept", f"ip daddr {own} accept",
        *(f"ip saddr {_set(isolated['egress'])} jump egress" for _ in range(bool(isolated["egress"]))),
        *(f"ip daddr {_set(isolated['ingress'])} jump ingress" for _ in range(bool(isolated["ingress"]))),
    ]  # fmt: skip
    body = [f"chain {way} {{\n" + "\n".join([*rules, "drop"]) + "\n}" for way, rules in chains.items()]
    body.append("chain forward { type filter hook forward priority 5;\n" + "\n".join(lines) + "\n}")
    sets: dict[str, str] = {}
    text = _LONG.sub(lambda it: "@" + sets.setdefault(it[0], f"s{len(sets)}"), "\n".join(body))
    named = [f"set {name} {{ type {_type(words)}; elements = {words}\n}}" for words, name in sets.items()]
    return "\n".join([EMPTY.rstrip(), "table ip skiff-policies {", *named, text, "}", ""])


#: Sets of many pods are written once, however many rules are about them.
_LONG = re.compile(r"\{ [0-9., ]{200,} \}")


def _type(words: str) -> str:
    return "ipv4_addr . inet_service" if " . " in words else "ipv4_addr"


def _set(words: Iterable[str]) -> str:
    return "{ " + ", ".join(sorted(words)) + " }"


def _allowed(
    way: str, mine: list[_Pod], rules: Iterable[Object], namespace: str, world: World
) -> Iterator[str]:
    """A rule of nftables for each thing that is allowed."""
    own, other = ("daddr", "saddr") if way == "ingress" else ("saddr", "daddr")
    ours = f"ip {own} {_set(it.address for it in mine)}"
    for rule in rules:
        peers = rule.get("from" if way == "ingress" else "to")
        for match, pods in _peers(peers, other, namespace, world):
            for ports in _ports(rule.get("ports"), mine if way == "ingress" else pods):
                yield " ".join(filter(None, (ours, match, ports, "return")))


def _peers(
    peers: list[Object] | None, other: str, namespace: str, world: World
) -> Iterator[tuple[str, list[_Pod]]]:
    """(what matches the other side, the pods that this is). No peers mean everybody."""
    if not peers:
        yield "", [it for every in world.pods.values() for it in every]
        return
    pods: dict[str, _Pod] = {}
    for it in peers:
        if (block := it.get("ipBlock")) is not None:
            if (match := _block(block, other)) is not None:
                yield match, []
        else:
            found = world.selected(namespace, it.get("podSelector"), it.get("namespaceSelector"))
            pods |= {pod.address: pod for pod in found}
    if pods:
        yield f"ip {other} {_set(pods)}", list(pods.values())


def _block(block: Object, other: str) -> str | None:
    network = _network(block.get("cidr"))
    if network is None:
        return None
    apart = sorted({str(it) for text in block.get("except") or () if (it := _network(text))})
    return f"ip {other} {network}" + "".join(f" ip {other} != {it}" for it in apart)


def _network(text: Any) -> ipaddress.IPv4Network | None:
    """Users write these, and what is none would spoil the rules of everybody."""
    try:
        return ipaddress.IPv4Network(str(text), strict=False)
    except ValueError:
        return None


def _ports(ports: list[Object] | None, there: list[_Pod]) -> Iterator[str]:
    """What matches the ports; ``there`` are the pods whose ports they are. No ports mean all."""
    if not ports:
        yield ""
        return
    for it in ports:
        protocol, port = (it.get("protocol") or "TCP").lower(), it.get("port")
        if protocol not in _PROTOCOLS:
            continue
        if port is None:
            yield f"meta l4proto {protocol}"
        elif isinstance(port, str):
            pairs = {
                f"{pod.address} . {pod.ports[protocol, port]}"
                for pod in there
                if (protocol, port) in pod.ports
            }
            if pairs:
                yield f"meta l4proto {protocol} ip daddr . th dport {_set(pairs)}"
        elif is_port(port):
            end = it.get("endPort")
            yield (
                f"{protocol} dport {port}-{end}"
                if is_port(end) and end > port
                else f"{protocol} dport {port}"
            )
