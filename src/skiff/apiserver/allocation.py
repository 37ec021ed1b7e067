"""Which address does a Service get? Cluster IPs and node ports, chosen from what no other Service holds."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from typing import Any

from skiff.api import Object
from skiff.errors import invalid

#: The range of Kubernetes' own default.
NODE_PORTS = range(30000, 32768)


class Addresses:
    """The service range. What is taken is read from the Services themselves, so there is nothing to keep in step."""

    def __init__(self, cidr: str) -> None:
        self._network = ipaddress.IPv4Network(cidr)

    def give(self, service: Object, old: Object | None, others: Iterable[Object]) -> Object:
        """The Service with addresses; one that had some keeps them. The input is not changed."""
        spec: dict[str, Any] = {**service.get("spec", {})}
        if spec.get("type") == "ExternalName":
            return service
        before = (old or {}).get("spec", {})
        taken = [it.get("spec", {}) for it in others]
        if not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP") or self._free({it.get("clusterIP") for it in taken})
        else:
            self._check(service, spec["clusterIP"], {it.get("clusterIP") for it in taken})
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("type") in ("NodePort", "LoadBalancer") and spec["clusterIP"] != "None":
            spec["ports"] = self._node_ports(spec.get("ports") or [], before.get("ports") or [], taken)
        return {**service, "spec": spec}

    def _free(self, taken: set[Any]) -> str:
        size = self._network.num_addresses
        # The lowest part is for addresses that somebody asks for by name, as in Kubernetes.
        reserved = min(max(16, size // 16), 256)
        for _ in range(size):
            found = str(self._network[random.randrange(reserved, size - 256)])
            if found not in taken:
                return found
        raise RuntimeError(f"no free address in {self._network}")

    def _check(self, service: Object, address: str, taken: set[Any]) -> None:
        name = service["metadata"]["name"]
        if address == "None":
            return
        try:
            inside = ipaddress.IPv4Address(address) in self._network
        except ValueError:
            inside = False
        if not inside:
            said = f'Invalid value: "{address}": the provided IP is not in the valid range {self._network}'
            raise invalid("Service", "", name, [("FieldValueInvalid", said, "spec.clusterIPs")])
        if address in taken:
            said = f'Invalid value: "{address}": provided IP is already allocated'
            raise invalid("Service", "", name, [("FieldValueInvalid", said, "spec.clusterIPs")])

    def _node_ports(
        self, ports: list[dict[str, Any]], before: list[dict[str, Any]], taken: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        held = {(it.get("name"), it.get("port")): it.get("nodePort") for it in before}
        used = {port.get("nodePort") for it in taken for port in it.get("ports") or []}
        made = []
        for port in ports:
            number = port.get("nodePort") or held.get((port.get("name"), port.get("port")))
            if not number:
                number = random.choice([it for it in NODE_PORTS if it not in used])
            used.add(number)
            made.append({**port, "nodePort": number})
        return made
