"""What did a daemon leave behind? Its containers end with it; namespaces, links and routes are taken away here."""

from __future__ import annotations

from skiff.net.namespace import NodeNetwork
from skiff.settings import Settings


async def clear(settings: Settings) -> None:
    """Remove every network namespace, link and route of a node."""
    await NodeNetwork(settings.pod_cidr, settings.service_cidr, ()).remove()
