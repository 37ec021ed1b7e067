"""Where can this client send to? The clusters of services and subsets, and the fixed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.api.destination_rule import (
    ClientTLSMode,
    ClientTLSSettings,
    ConnectionPoolSettings,
    H2UpgradePolicy,
    HTTPSettings,
    SimpleLB,
    TCPSettings,
)
from lateen.compile import load_balancing
from lateen.compile.horizons import Upstream
from lateen.envoy import clusters, http, tls, wellknown
from lateen.envoy.resource import Resource
from lateen.envoy.sealing import duration, seal
from lateen.incremental import Database, query
from lateen.names.ports import Protocol
from lateen.policy import authentication, traffic
from lateen.registry import endpoints as registered
from lateen.registry import facts, services
from lateen.registry.services import Port, Resolution, Service


@query
def cluster(db: Database, upstream: Upstream) -> Resource | None:
    """The cluster of a service's port; none when there is no such port."""
    service = services.service(db, upstream.service)
    port = service.port(upstream.port) if service else None
    if service is None or port is None:
        return None
    policy = traffic.policy(db, upstream.rule, upstream.subset, upstream.port)
    pool = policy.connection_pool
    tcp, requests = (pool.tcp, pool.http) if pool else (None, None)
    fields: dict[str, Any] = {
        "metadata": _metadata(service, upstream, _offers(db, port, pool, policy.tls)),
        "circuit_breakers": clusters.thresholds(**_limits(tcp, requests)),
        "connect_timeout": duration(_connect_timeout(db, tcp)),
        **_kind(upstream, service, port),
        **_options(port, pool, policy.tls),
    }
    if not fields.get("lb_policy"):
        fields.update(load_balancing.policy(policy.load_balancer))
    by_address = fields.get("type") == "ORIGINAL_DST"
    fields.update(_security(db, upstream, policy.tls, port, by_address=by_address))
    if policy.outlier_detection:
        fields.update(load_balancing.outliers(policy.outlier_detection, by_address=by_address))
    elif fields.get("type") == "EDS":
        fields.update(clusters.unreachable(requests=not port.protocol.is_tcp))
        fields["common_lb_config"] = {**fields["common_lb_config"], **clusters.LAST_RESORT}
    if fields.get("type") == "EDS" and _connect_timeout(db, tcp) == clusters.DEFAULT_CONNECT_TIMEOUT_NS:
        fields.update(clusters.unanswered())
    if tcp and tcp.tcp_keepalive:
        fields["upstream_connection_options"] = {"tcp_keepalive": load_balancing.keepalive(tcp.tcp_keepalive)}
    return seal(upstream.name, clusters.cluster(upstream.name, **fields))


def _offers(
    db: Database, port: Port, pool: ConnectionPoolSettings | None, settings: ClientTLSSettings | None
) -> Mapping[str, str]:
    """The mesh's own words of ALPN are for sidecars: a server outside may take one, or not know what to say to it.

    What is offered is what the cluster speaks: a caller's HTTP/2 becomes HTTP/1.1 on the way to a port that has no other.
    """
    auto = settings is None and facts.mesh_config(db).enable_auto_mtls
    mutual = auto or (settings is not None and settings.mode is ClientTLSMode.ISTIO_MUTUAL)
    if not (mutual and (port.protocol.is_http or port.protocol is Protocol.AUTO)):
        return {}
    return http.offers(_http2(port, pool))


def _metadata(it: Service, upstream: Upstream, offers: Mapping[str, str]) -> clusters.Fields:
    host, namespace, rule = it.key.hostname, it.key.namespace, upstream.rule
    config = wellknown.written_in("destination-rule", rule.namespace, rule.name) if rule else ""
    return clusters.mesh_metadata(
        f"{host}|{it.name}|{namespace}",
        host,
        it.name,
        namespace,
        offers,
        config=config,
        subset=upstream.subset,
    )


def _connect_timeout(db: Database, tcp: TCPSettings | None) -> int:
    if tcp and tcp.connect_timeout:
        return tcp.connect_timeout.nanoseconds
    return facts.mesh_config(db).connect_timeout.nanoseconds


def _limits(tcp: TCPSettings | None, http: HTTPSettings | None) -> dict[str, int]:
    limits = {
        "max_connections": tcp.max_connections if tcp else 0,
        "max_pending_requests": http.http1_max_pending_requests if http else 0,
        "max_requests": http.http2_max_requests if http else 0,
        "max_retries": http.max_retries if http else 0,
    }
    return {name: it for name, it in limits.items() if it > 0}


def _kind(upstream: Upstream, service: Service, port: Port) -> clusters.Fields:
    match service.resolution:
        case Resolution.ENDPOINTS:
            return clusters.eds()
        case Resolution.HEADLESS:
            # The client asked DNS for one endpoint, and means it.
            return clusters.eds() if upstream.from_gateway else clusters.original_destination()
        case Resolution.DNS | Resolution.ALIAS:  # an alias has no clusters
            return clusters.dns(upstream.name, service.external_name, port.number)


def _options(
    port: Port, pool: ConnectionPoolSettings | None, settings: ClientTLSSettings | None
) -> clusters.Fields:
    if not (port.protocol.is_http or port.protocol is Protocol.AUTO):
        return {}
    requests, tcp = (pool.http, pool.tcp) if pool else (None, None)
    options = clusters.http_options(
        http2=_http2(port, pool),
        **_server_expected(settings),
        max_requests=requests.max_requests_per_connection if requests else 0,
        max_streams=requests.max_concurrent_streams if requests else 0,
        idle_timeout_ns=requests.idle_timeout.nanoseconds if requests and requests.idle_timeout else None,
        max_duration_ns=tcp.max_connection_duration.nanoseconds if tcp and tcp.max_connection_duration else 0,
    )
    return {"typed_extension_protocol_options": options}


def _http2(port: Port, pool: ConnectionPoolSettings | None) -> bool | None:
    """What the cluster speaks; None for what its caller speaks."""
    requests = pool.http if pool else None
    if port.protocol is Protocol.AUTO or (requests and requests.use_client_protocol):
        return None
    return port.protocol.is_http2 or bool(requests and requests.h2_upgrade_policy is H2UpgradePolicy.UPGRADE)


def _server_expected(it: ClientTLSSettings | None) -> dict[str, bool]:
    """As in Istio: who names no server expects the host that is called, unless other names of it are written."""
    if it is None or it.mode not in (ClientTLSMode.SIMPLE, ClientTLSMode.MUTUAL) or it.sni:
        return {}
    return {"name_called": True, "check_called": not (it.subject_alt_names or it.insecure_skip_verify)}


def _security(
    db: Database, upstream: Upstream, settings: ClientTLSSettings | None, port: Port, *, by_address: bool
) -> clusters.Fields:
    if settings is None:
        if not facts.mesh_config(db).enable_auto_mtls:
            return {}
        if by_address:
            # Endpoints that Envoy makes up have no metadata to match, so all of them must agree.
            known = registered.endpoints(db, upstream.service, port.name)
            agreed = bool(known) and all(
                authentication.takes_mutual_tls(db, it.workload, it.port) for it in known
            )
            return {"transport_socket": _mesh(db, upstream, None)} if agreed else {}
        return {"transport_socket_matches": clusters.if_mesh(_mesh(db, upstream, None), tls.raw())}
    match settings.mode:
        case ClientTLSMode.DISABLE:
            return {}
        case ClientTLSMode.ISTIO_MUTUAL:
            return {"transport_socket": _mesh(db, upstream, settings)}
        case ClientTLSMode.SIMPLE:
            return {"transport_socket": _origin(upstream, settings, None, port)}
        case ClientTLSMode.MUTUAL:
            own = (settings.client_certificate, settings.private_key)
            return {"transport_socket": _origin(upstream, settings, own if all(own) else None, port)}


def _mesh(db: Database, upstream: Upstream, settings: ClientTLSSettings | None) -> Any:
    identities = registered.identities(db, upstream.service)
    names = list(settings.subject_alt_names) if settings and settings.subject_alt_names else list(identities)
    sni = settings.sni if settings and settings.sni else upstream.server_name
    return tls.mesh_client(sni, names, wellknown.MESH_TCP_ALPN)


def _origin(
    upstream: Upstream, settings: ClientTLSSettings, certificate: tuple[str, str] | None, port: Port
) -> Any:
    authority = (
        "" if settings.insecure_skip_verify else settings.ca_certificates or wellknown.SYSTEM_AUTHORITIES
    )
    alpn = ["h2"] if port.protocol.is_http2 else ["http/1.1"] if port.protocol.is_http else []
    sni = settings.sni or upstream.service.hostname
    return tls.origin_client(sni, authority, certificate, settings.subject_alt_names, alpn)


@query
def is_discovered(db: Database, upstream: Upstream) -> bool:
    """Whether the endpoints of a cluster come by EDS."""
    service = services.service(db, upstream.service)
    port = service.port(upstream.port) if service else None
    if service is None or port is None:
        return False
    balancing = traffic.policy(db, upstream.rule, upstream.subset, upstream.port).load_balancer
    by_address = balancing and balancing.simple is SimpleLB.PASSTHROUGH and not balancing.consistent_hash
    return not by_address and _kind(upstream, service, port).get("type") == "EDS"


@query
def fixed(db: Database) -> tuple[Resource, ...]:
    """The clusters every client has: to nowhere, and to where the client wanted to go."""
    made = (
        clusters.black_hole(),
        clusters.cluster(
            wellknown.PASSTHROUGH,
            connect_timeout=duration(facts.mesh_config(db).connect_timeout.nanoseconds),
            typed_extension_protocol_options=clusters.http_options(http2=None),
            **clusters.original_destination(),
        ),
    )
    return tuple(seal(it.name, it) for it in made)
