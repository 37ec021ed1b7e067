"""What does xDS carry? Named, versioned, immutable resources, and the types they come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NewType, TypeAlias

TypeUrl = NewType("TypeUrl", str)

_PREFIX = "type.googleapis.com/envoy."
CLUSTER = TypeUrl(_PREFIX + "config.cluster.v3.Cluster")
ENDPOINT = TypeUrl(_PREFIX + "config.endpoint.v3.ClusterLoadAssignment")
LISTENER = TypeUrl(_PREFIX + "config.listener.v3.Listener")
ROUTE = TypeUrl(_PREFIX + "config.route.v3.RouteConfiguration")
SECRET = TypeUrl(_PREFIX + "extensions.transport_sockets.tls.v3.Secret")
EXTENSION_CONFIG = TypeUrl(_PREFIX + "config.core.v3.TypedExtensionConfig")

#: Make before break: a cluster arrives before the route that names it.
ORDER: tuple[TypeUrl, ...] = (CLUSTER, ENDPOINT, SECRET, EXTENSION_CONFIG, LISTENER, ROUTE)


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """One xDS resource, sealed: ``body`` is the serialized message (not wrapped in Any), ``version`` its digest."""

    name: str
    version: str
    body: bytes = field(repr=False)


def by_name(found: Iterable[Resource | None]) -> Mapping[str, Resource]:
    """Those that there are, as a view holds them."""
    return {it.name: it for it in found if it is not None}


#: Everything one proxy should have: type -> name -> resource.
View: TypeAlias = Mapping[TypeUrl, Mapping[str, Resource]]
