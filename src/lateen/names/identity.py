"""Who is it? SPIFFE identities of workloads (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md)."""

from __future__ import annotations

from typing import NamedTuple


class Identity(NamedTuple):
    """``spiffe://<trust domain>/ns/<namespace>/sa/<service account>``."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


def parse(uri: str) -> Identity | None:
    """The identity in a URI, or None when it is not one of a mesh workload."""
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    if scheme != "spiffe" or len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa" or not all(parts):
        return None
    return Identity(parts[0], parts[2], parts[4])
