"""Which address does a Service get? Cluster IPs and node ports, chosen from what no other Service holds."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from typing import Any

from skiff.api import Object
from skiff.errors import ApiError, invalid
from skiff.schema.walk import Problem
from skiff.validation import names, problems
from skiff.validation.problems import part, texts

#: The range of Kubernetes' own default.
NODE_PORTS = range(30000, 32768)
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
#: Fields that only some types of Service have. Clients read them, change the type, and send them back.
_OF_ADDRESSES = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
_OF_BALANCERS = ("allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort")


class Addresses:
    """The service range. What is taken is read from the Services themselves, so there is nothing to keep in step."""

    def __init__(self, cidr: str) -> None:
        self._network = ipaddress.IPv4Network(cidr)

    def give(self, service: Object, old: Object | None, others: Iterable[Object]) -> Object:
        """The Service with addresses; one that had some keeps them. The input is not changed."""
        before = part(old, "spec")
        spec = _without_leftovers(part(service, "spec"), before)
        if spec.get("type") == "ExternalName":
            return {**service, "spec": spec}
        taken = [part(it, "spec") for it in others]
        if not spec.get("clusterIP"):
            wanted = next(iter(texts(spec, "clusterIPs")), "") or before.get("clusterIP")
            spec["clusterIP"] = wanted or self._free({it.get("clusterIP") for it in taken})
        if spec["clusterIP"] != before.get("clusterIP"):
            self._check(service, spec["clusterIP"], {it.get("clusterIP") for it in taken})
        if not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("type") in _WITH_NODE_PORTS and spec["clusterIP"] != "None":
            spec["ports"] = _node_ports(service, spec, before, taken)
        return {**service, "spec": spec}

    def _free(self, taken: set[Any]) -> str:
        size = self._network.num_addresses
        # The lowest part is for addresses that somebody asks for by name, as in Kubernetes.
        first = min(max(16, size // 16), 256)
        count = size - 256 - first
        start = random.randrange(count)
        for step in range(count):
            found = str(self._network[first + (start + step * 7919) % count])
            if found not in taken:
                return found
        said = "Internal error occurred: failed to allocate a serviceIP: range is full"
        raise ApiError(500, "InternalError", said)

    def _check(self, service: Object, address: Any, taken: set[Any]) -> None:
        if address == "None":
            return
        found = names.parsed_address(str(address))
        if found is None:
            causes = list(problems.each("spec.clusterIPs[0]", address, [names.ADDRESS_SAID]))
        elif found not in self._network:
            said = f"failed to allocate IP {address}: the provided IP is not in the valid range. "
            said += f"The range of valid IPs is {self._network}"
            causes = [problems.invalid("spec.clusterIPs", [address], said)]
        elif address in taken:
            said = f"failed to allocate IP {address}: provided IP is already allocated"
            causes = [problems.invalid("spec.clusterIPs", [address], said)]
        else:
            return
        raise _refused(service, causes)


def _refused(service: Object, causes: list[Problem]) -> ApiError:
    return invalid("Service", "", service["metadata"]["name"], causes)


def _without_leftovers(spec: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Without what its former type had, where the client did not change it."""
    made, sort = dict(spec), spec.get("type")
    if not before:
        return made
    left: list[str] = []
    if sort == "ExternalName":
        left += _OF_ADDRESSES
    if sort != "LoadBalancer":
        left += _OF_BALANCERS
    if sort not in _WITH_NODE_PORTS and not (sort == "ClusterIP" and spec.get("externalIPs")):
        left.append("externalTrafficPolicy")
    for field in left:
        if field in made and made[field] == before.get(field):
            del made[field]
    if sort not in _WITH_NODE_PORTS and before.get("type") in _WITH_NODE_PORTS:
        held = {it.get("nodePort") for it in _dicts(before.get("ports"))}
        if all(it.get("nodePort") in held | {None, 0} for it in _dicts(spec.get("ports"))):
            made["ports"] = [_without(it, "nodePort") for it in spec.get("ports") or []]
    return made


def _without(it: Any, field: str) -> Any:
    return {name: value for name, value in it.items() if name != field} if isinstance(it, dict) else it


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _node_ports(
    service: Object, spec: dict[str, Any], before: dict[str, Any], taken: list[dict[str, Any]]
) -> list[Any]:
    held = {_key(it): it.get("nodePort") for it in _dicts(before.get("ports"))}
    own = {it.get("nodePort") for it in _dicts(before.get("ports"))}
    used = {port.get("nodePort") for it in taken for port in _dicts(it.get("ports"))}
    automatic = spec.get("type") == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
    causes: list[Problem] = []
    named = {it.get("nodePort") for it in _dicts(spec.get("ports"))}
    made: list[Any] = []
    for index, port in enumerate(spec.get("ports") or []):
        if not isinstance(port, dict):
            made.append(port)
            continue
        number = port.get("nodePort")
        if number and number not in own:
            causes += _unfit(f"spec.ports[{index}].nodePort", number, used)
        kept = held.get(_key(port))
        if not number and automatic:
            number = kept if kept and kept not in used else _any_port(used | named)
            named.add(number)
        made.append({**port, "nodePort": number} if number else port)
    if causes:
        raise _refused(service, causes)
    return made


def _key(port: dict[str, Any]) -> tuple[Any, Any, Any]:
    return port.get("name"), port.get("port"), port.get("protocol")


def _unfit(path: str, number: Any, used: set[Any]) -> list[Problem]:
    if number not in NODE_PORTS:
        said = "provided port is not in the valid range. The range of valid ports is "
        return [problems.invalid(path, number, f"{said}{NODE_PORTS.start}-{NODE_PORTS.stop - 1}")]
    if number in used:
        return [problems.invalid(path, number, "provided port is already allocated")]
    return []


def _any_port(used: set[Any]) -> int:
    free = [it for it in NODE_PORTS if it not in used]
    if not free:
        said = "Internal error occurred: failed to allocate a nodePort: range is full"
        raise ApiError(500, "InternalError", said)
    return random.choice(free)
