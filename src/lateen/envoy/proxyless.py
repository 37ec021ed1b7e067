"""What does a gRPC client understand of Envoy's vocabulary? API listeners, and clusters of the few kinds it knows.

https://github.com/grpc/grpc/blob/master/doc/grpc_xds_features.md
"""

from __future__ import annotations

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from lateen.envoy import clusters, http, wellknown
from lateen.envoy.endpoints import Group, Member, assignment, socket_address
from lateen.envoy.sealing import Message, extension, packed


def api_listener(name: str, route: str) -> Message:
    """What a channel to ``xds:///name`` asks for first."""
    manager = http_connection_manager_pb2.HttpConnectionManager(
        rds=http.rds(route), http_filters=[extension(wellknown.FAULT, fault_pb2.HTTPFault()), http.router()]
    )
    return listener_pb2.Listener(name=name, api_listener={"api_listener": packed(manager)})


def cluster(name: str, *, hashed: bool, max_requests: int = 0) -> Message:
    """Endpoints by ADS; all in turn, or by the hash that the route computes."""
    limits = clusters.thresholds(**({"max_requests": max_requests} if max_requests else {}))
    policy = "RING_HASH" if hashed else "ROUND_ROBIN"
    return clusters.cluster(name, lb_policy=policy, circuit_breakers=limits, **clusters.eds())


def dns_cluster(name: str, host: str, port: int) -> Message:
    """A host outside that DNS knows."""
    where = assignment(name, [Group(("", "", ""), (Member(host, port, "", mesh=False),))])
    return clusters.cluster(name, type="LOGICAL_DNS", lb_policy="ROUND_ROBIN", load_assignment=where)


def server_listener(name: str, address: str, port: int) -> Message:
    """What an xDS-enabled server asks for: it serves in the clear, every method."""
    everything = {"match": {"prefix": "/"}, "non_forwarding_action": {}}
    manager = http_connection_manager_pb2.HttpConnectionManager(
        route_config={"name": "inbound", "virtual_hosts": [{"name": "inbound", "domains": ["*"], "routes": [everything]}]},
        http_filters=[http.router()],
    )  # fmt: skip
    chain = {"name": "inbound-plaintext", "filters": [extension(wellknown.HTTP_CONNECTION_MANAGER, manager)]}
    return listener_pb2.Listener(name=name, address=socket_address(address, port), filter_chains=[chain])
