"""What is each xDS resource called? Every name is made here; they are Istio's, for the tools that read them."""

from __future__ import annotations

from lateen.envoy import wellknown


def outbound(host: str, port: int, subset: str = "") -> str:
    """The cluster of a service's port, or of a subset of it."""
    return f"outbound|{port}|{subset}|{host}"


def server_name(host: str, port: int, subset: str = "") -> str:
    """The SNI under which a sidecar calls a service."""
    return f"outbound_.{port}_.{subset}_.{host}"


def inbound(port: int) -> str:
    """The cluster of the workload's own port, and its route."""
    return f"inbound|{port}||"


def inbound_chain(port: int, *, http: bool) -> str:
    """The filter chains of a workload's port, encrypted or not; 0 is for ports of which no service tells."""
    if port:
        return listener("0.0.0.0", port)
    return f"{wellknown.VIRTUAL_INBOUND}-catchall-http" if http else wellknown.VIRTUAL_INBOUND


def inbound_host(port: int) -> str:
    """The virtual host behind a service's ``port`` at its workload."""
    return f"inbound|http|{port}"


def listener(address: str, port: int) -> str:
    """A listener; all addresses are ``0.0.0.0``."""
    return f"{address}_{port}"


def route(port: int) -> str:
    """The route configuration that all HTTP services of a port share."""
    return str(port)


def virtual_host(host: str, port: int) -> str:
    """The virtual host of a service or of a gateway's host, and the route configuration of a service that has its own."""
    return f"{host}:{port}"


def gateway_route(port: int) -> str:
    """The route configuration of a port on which a gateway's pods speak plain HTTP: the container's, not the Service's."""
    return f"http.{port}"
