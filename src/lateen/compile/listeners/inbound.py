"""What becomes of what arrives for an application? One listener, with chains for each of its ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from lateen.api.security import MutualTLSMode
from lateen.compile import naming
from lateen.compile.listeners import logs
from lateen.envoy import clusters, http, listeners, routes, tls, wellknown
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import duration, seal
from lateen.incremental import Database, query
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.names.ports import Protocol
from lateen.policy import authentication
from lateen.registry import facts, services, workloads


class Served(NamedTuple):
    """A port for which chains are made; 0 is every port that nobody declares."""

    port: int
    protocol: Protocol
    mode: MutualTLSMode
    service: str = ""  # packed; empty when no service has this port, only a policy
    service_port: int = 0

    @property
    def cluster(self) -> str:
        """Where it goes."""
        return naming.inbound(self.port) if self.service else wellknown.INBOUND_PASSTHROUGH


@query
def served(db: Database, workload: ObjectKey, said: Labels) -> tuple[Served, ...]:
    """The ports of a workload, the rest of them last.

    A proxy may connect before its pod is known. Until then policies go by the labels it ``said``: they come from its
    pod, too, and by lying about them a proxy could open no door but its own.
    """
    it = workloads.described(db, workload)
    marks = it.labels if it else said
    found = []
    for port in workloads.served_ports(db, workload):
        service = services.service(db, port.service)
        packed = f"{port.service.hostname}|{service.name if service else ''}|{port.service.namespace}"
        mode = authentication.mode(db, workload.namespace, marks, port.number)
        found.append(Served(port.number, port.protocol, mode, packed, port.service_port))
    known = {it.port for it in found}
    found += [
        Served(number, Protocol.AUTO, authentication.mode(db, workload.namespace, marks, number))
        for number in authentication.ports(db, workload.namespace, marks) if number not in known
    ]  # fmt: skip
    others = authentication.mode(db, workload.namespace, marks, 0)
    return (*found, Served(0, Protocol.AUTO, others))


@query
def virtual_inbound(db: Database, workload: ObjectKey, said: Labels) -> Resource:
    """Takes everything that is captured on its way in."""
    guard = listeners.chain(
        "virtualInbound-blackhole",
        [listeners.tcp_proxy(wellknown.BLACK_HOLE, wellknown.BLACK_HOLE, [])],
        {"destination_port": {"value": wellknown.INBOUND_PORT}},
    )
    chains = [guard, *(chain for it in served(db, workload, said) for chain in _chains(db, it))]
    timeout = facts.mesh_config(db).protocol_detection_timeout.nanoseconds
    made = listeners.listener(
        wellknown.VIRTUAL_INBOUND, "0.0.0.0", wellknown.INBOUND_PORT, chains, traffic_direction="INBOUND",
        listener_filters=[listeners.original_dst(), listeners.tls_inspector(), listeners.http_inspector()],
        listener_filters_timeout=duration(timeout), continue_on_listener_filters_timeout=True,
        access_log=logs.text(db, connections=False),
    )  # fmt: skip
    return seal(wellknown.VIRTUAL_INBOUND, made)


def _chains(db: Database, it: Served) -> Iterator[Any]:
    if it.mode is not MutualTLSMode.DISABLE:
        yield from _mutual(db, it)
    if it.mode is not MutualTLSMode.STRICT:
        yield from _plain(db, it)


def _mutual(db: Database, it: Served) -> Iterator[Any]:
    socket = tls.mesh_server(["h2", "http/1.1", "http/1.0"], facts.trust_domains(db))
    http_words, tcp_words = list(wellknown.MESH_HTTP_ALPN), list(wellknown.MESH_TCP_ALPN)
    either = _tls(http_words + tcp_words)
    if it.protocol.is_http:
        yield _requests(db, it, either, socket)
    elif it.protocol.is_tcp:
        yield _bytes(db, it, either, socket)
    else:
        yield _requests(db, it, _tls(http_words), socket)
        yield _bytes(db, it, _tls(tcp_words), socket)


def _plain(db: Database, it: Served) -> Iterator[Any]:
    raw = {"transport_protocol": "raw_buffer"}
    if it.protocol.is_http:
        yield _requests(db, it, raw)
    else:
        if it.protocol is Protocol.AUTO:
            yield _requests(db, it, {**raw, "application_protocols": list(wellknown.HTTP_ALPN)})
        yield _bytes(db, it, raw)
    # The application's own TLS, which is none of our business.
    yield _bytes(db, it, {"transport_protocol": "tls"})


def _tls(alpn: list[str]) -> dict[str, Any]:
    return {"transport_protocol": "tls", "application_protocols": alpn}


def _requests(db: Database, it: Served, match: dict[str, Any], socket: Any = None) -> Any:
    return _chain(it, _connections(db, it, mutual=socket is not None), match, socket, http=True)


def _bytes(db: Database, it: Served, match: dict[str, Any], socket: Any = None) -> Any:
    return _chain(it, _tcp(db, it, mutual=socket is not None), match, socket, http=False)


def _chain(it: Served, last: Any, match: dict[str, Any], socket: Any, *, http: bool) -> Any:
    """Its name is Istio's, which several may have: what it matches tells them apart."""
    fields = {"transport_socket": socket} if socket is not None else {}
    port = {"destination_port": {"value": it.port}} if it.port else {}
    name = naming.inbound_chain(it.port if it.service else 0, http=http)
    return listeners.chain(name, [last], {**match, **port}, **fields)


def _security(mutual: bool) -> str:
    return "mutual_tls" if mutual else "none"


def _connections(db: Database, it: Served, *, mutual: bool) -> Any:
    route = {
        "name": "default", "match": {"prefix": "/"},
        "route": {"cluster": it.cluster, "timeout": duration(0), "retry_policy": routes.retry_unsent()},
        "decorator": {"operation": f"{it.service.partition('|')[0]}:{it.service_port}/*"},
    }  # fmt: skip
    inline = routes.configuration(
        it.cluster, [routes.virtual_host(naming.inbound_host(it.service_port), ["*"], [route])]
    )
    fields: dict[str, Any] = {}
    if mutual:
        # Gateways of the root namespace tell of certificates that they have seen; without proof nobody is believed.
        settings = facts.mesh_config(db)
        believed = f"spiffe://{settings.trust_domain}/ns/{settings.root_namespace}/sa/"
        fields.update(http.callers_certificates(believed))
    return http.connection_manager(
        f"inbound_0.0.0.0_{it.port}", [http.grpc_stats(), http.fault_filter(), http.cors_filter(), http.router()],
        route_config=inline, access_log=logs.server(db, _security(mutual), it.service, http=True), **fields,
    )  # fmt: skip


def _tcp(db: Database, it: Served, *, mutual: bool) -> Any:
    fields: dict[str, Any] = {}
    if mutual:
        # Else a connection is counted before the handshake has told whose it is.
        fields = {
            "upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE",
            "max_early_data_bytes": {"value": 0},
        }
    log = logs.server(db, _security(mutual), it.service, http=False)
    return listeners.tcp_proxy(it.cluster, it.cluster, log, **fields)


@query
def inbound_clusters(db: Database, workload: ObjectKey, said: Labels) -> tuple[Resource, ...]:
    """From the proxy to its own application."""
    timeout = duration(facts.mesh_config(db).connect_timeout.nanoseconds)
    made: dict[str, Resource] = {}
    for it in served(db, workload, said):
        fields: dict[str, Any] = {}
        if it.protocol.is_http:
            fields["typed_extension_protocol_options"] = clusters.http_options(http2=it.protocol.is_http2)
        elif it.protocol is Protocol.AUTO:
            fields["typed_extension_protocol_options"] = clusters.http_options(http2=None)
        here = clusters.original_destination(wellknown.INBOUND_SOURCE)
        message = clusters.cluster(it.cluster, connect_timeout=timeout, **here, **fields)
        made.setdefault(it.cluster, seal(it.cluster, message))
    return tuple(made.values())
