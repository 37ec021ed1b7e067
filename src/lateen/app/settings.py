"""What the Deployment tells the control plane: variables, and the flags of Istio's ``pilot-discovery`` that name ports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lateen.registry import facts


class Ports(NamedTuple):
    """Istio's; 0 takes a free one."""

    plain: int | None = 15010  # ADS in the clear; None: closed
    secure: int = 15012  # ADS and CA
    monitoring: int = 15014
    webhooks: int = 15017
    probes: int = 8080


_FLAGS = {
    "--grpcAddr": "plain", "--secureGRPCAddr": "secure", "--monitoringAddr": "monitoring", "--httpsAddr": "webhooks",
    "--httpAddr": "probes",
}  # fmt: skip


class FlagError(ValueError):
    """A flag that cannot be followed; the message says which, and what would be right."""


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
    def from_environment(cls, arguments: Sequence[str] = ()) -> Settings:
        """By the names of its variables; FlagError. Arguments that mean nothing here do no harm."""
        said = os.environ.get
        return cls(
            said("POD_NAMESPACE", "istio-system"), said("ISTIOD_SERVICE", "istiod"), said("MESH_CONFIG_MAP", "istio"),
            said("INJECTOR_CONFIG_MAP", "istio-sidecar-injector"), said("CLUSTER_ID", "Kubernetes"),
            facts.Switches(_truth(said("PILOT_SCOPE_GATEWAY_TO_NAMESPACE", ""))), ports(arguments),
        )  # fmt: skip


def _truth(said: str) -> bool:
    """As Go reads it, whose words Istio's users write."""
    return said in ("1", "t", "T", "true", "TRUE", "True")


def ports(arguments: Sequence[str]) -> Ports:
    """Of flags such as ``--grpcAddr=:15010``; ``--grpcAddr=`` closes the port in the clear. FlagError."""
    found, rest = Ports(), list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in _FLAGS:
            continue
        if not equals and rest:
            value = rest.pop(0)
        value = value.strip("'\"")
        _, _, number = value.rpartition(":")
        if not value and name == "--grpcAddr":
            found = found._replace(plain=None)
        elif number.isdecimal() and int(number) < 65536:
            found = found._replace(**{_FLAGS[name]: int(number)})
        else:
            raise FlagError(f'{name}: "{value}" is no address to listen on: write it as {name}=:15010')
    return found
