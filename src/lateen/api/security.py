"""Who must prove who they are? PeerAuthentication (security.istio.io)."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, field

from lateen.api.meta import Fact, Value, WorkloadSelector


class MutualTLSMode(enum.StrEnum):
    """``mtls.mode``. UNSET inherits."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class MutualTLS(Value, frozen=True):
    """Mutual TLS of a workload or port."""

    mode: MutualTLSMode = MutualTLSMode.UNSET


class PeerAuthenticationSpec(Value, frozen=True):
    """``spec`` of a PeerAuthentication. Ports are those of the workload, not of a service."""

    selector: WorkloadSelector | None = None
    mtls: MutualTLS = MutualTLS()
    port_level_mtls: Annotated[dict[str, MutualTLS], Meta(min_length=1)] = {}


class PeerAuthentication(Fact, frozen=True):
    """Whether connections to a workload must be mutual TLS."""

    spec: PeerAuthenticationSpec = field(default_factory=PeerAuthenticationSpec)
