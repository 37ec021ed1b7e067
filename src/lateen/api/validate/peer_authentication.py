"""Is this PeerAuthentication one that the mesh can honour?"""

from __future__ import annotations

from lateen.api.security import PeerAuthentication
from lateen.api.validate import shared, texts
from lateen.api.validate.finding import Finding, Findings, entry


def peer_authentication(it: PeerAuthentication) -> Findings:
    """``spec`` of a PeerAuthentication."""
    spec = it.spec
    yield from shared.selector(spec.selector, "spec.selector")
    if spec.port_level_mtls and not (spec.selector and spec.selector.match_labels):
        yield Finding(
            "spec.portLevelMtls",
            "portLevelMtls requires selector: ports are those of workloads, so say of which",
        )
    for port in spec.port_level_mtls:
        if texts.port_text(port) or not int(port):
            yield Finding(entry("spec.portLevelMtls", port), "port must be between 1-65535")
