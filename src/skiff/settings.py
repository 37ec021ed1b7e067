"""What must every part of the daemon be told? Where the state lies, which addresses are whose, how big the node is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

#: Where the API server listens on 127.0.0.1 unless told otherwise: Kubernetes' own port.
PORT = 6443


def default_home() -> Path:
    """``$SKIFF_HOME``, or ``~/.skiff``."""
    given = os.environ.get("SKIFF_HOME")
    return Path(given) if given else Path.home() / ".skiff"


@dataclass(frozen=True, slots=True)
class Settings:
    """One cluster. ``cpus`` and ``memory_mib`` are what the node says it has; 0 is what the machine has."""

    home: Path = field(default_factory=default_home)
    node_name: str = "skiff"
    cluster_domain: str = "cluster.local"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    dns_ip: str = "10.96.0.10"
    api_ip: str = "10.96.0.1"
    api_port: int = PORT  # on 127.0.0.1
    cpus: int = 0
    memory_mib: int = 0
    realistic: int | None = None  # the seed of a busy server's habits (``skiff.realism``); None: it has none

    @property
    def database(self) -> Path:
        """The one file that holds all objects."""
        return self.home / "cluster.db"
