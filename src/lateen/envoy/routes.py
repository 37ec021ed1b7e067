"""Which request goes where? Route configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2

from lateen.envoy import wellknown
from lateen.envoy.sealing import Message, duration, embedded, extension, serialized, struct

#: A message's fields, as its constructor takes them.
Fields = Mapping[str, Any]


#: What surely was not processed. Istio leaves 503 out since 1.24: the application itself may have said it.
DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


def retry_policy(
    attempts: int,
    conditions: str,
    codes: Sequence[int],
    *,
    per_try_ns: int = 0,
    backoff_ns: int = 0,
    elsewhere: bool = True,
) -> Fields:
    """Try again, if possible at another endpoint (``elsewhere``)."""
    fields: dict[str, Any] = {
        "retry_on": conditions, "num_retries": {"value": attempts}, "retriable_status_codes": codes,
        "host_selection_retry_max_attempts": 5,
    }  # fmt: skip
    if elsewhere:
        predicate = previous_hosts_pb2.PreviousHostsPredicate()
        fields["retry_host_predicate"] = [extension("envoy.retry_host_predicates.previous_hosts", predicate)]
    if per_try_ns:
        fields["per_try_timeout"] = duration(per_try_ns)
    if backoff_ns:
        fields["retry_back_off"] = {
            "base_interval": duration(backoff_ns),
            "max_interval": duration(backoff_ns * 10),
        }
    return fields


def default_retry(*, elsewhere: bool = True) -> Fields:
    """Istio's default: two more attempts, for what surely was not processed."""
    return retry_policy(2, DEFAULT_RETRY_ON, (), elsewhere=elsewhere)


def retry_unsent() -> Fields:
    """For the way into an application: a connection that it closed before the request went out is no answer."""
    return {"retry_on": "reset-before-request", "num_retries": {"value": 2}}


def forward(cluster: str, **action: Any) -> Fields:
    """A route for every path to one cluster, without a time limit."""
    return {
        "name": "default",
        "match": {"prefix": "/"},
        "route": {"cluster": cluster, "timeout": duration(0), **action},
    }


def shaped_by(config: str) -> Fields:
    """The field of a route that says which object it comes from."""
    return {"metadata": {"filter_metadata": {wellknown.ISTIO_METADATA: struct({"config": config})}}}


def headers(pairs: Sequence[tuple[str, str]], *, append: bool) -> list[Fields]:
    """Headers to add to, or to put in place of, what is there."""
    action = "APPEND_IF_EXISTS_OR_ADD" if append else "OVERWRITE_IF_EXISTS_OR_ADD"
    return [{"header": {"key": key, "value": value}, "append_action": action} for key, value in pairs]


def routes_of_host(routes: Sequence[Fields]) -> bytes:
    """The part of a virtual host that does not depend on how it is called."""
    return serialized(virtual_host("", (), routes))


def named_host(name: str, domains: Sequence[str], routes: bytes) -> bytes:
    """A virtual host of such a part, as it stands in the bytes of a configuration."""
    named = serialized(route_components_pb2.VirtualHost(name=name, domains=domains))
    return embedded(_VIRTUAL_HOSTS, named + routes)


_VIRTUAL_HOSTS = route_pb2.RouteConfiguration.VIRTUAL_HOSTS_FIELD_NUMBER


def joined(name: str, hosts: Iterable[bytes]) -> bytes:
    """A whole route configuration of virtual hosts that are bytes already."""
    return b"".join((serialized(configuration(name, (), ignore_port_in_host_matching=True)), *hosts))


def virtual_host(name: str, domains: Sequence[str], routes: Sequence[Fields], **fields: Any) -> Message:
    """The routes of one host."""
    return route_components_pb2.VirtualHost(
        name=name, domains=domains, routes=list(routes), include_request_attempt_count=True, **fields
    )


def configuration(name: str, virtual_hosts: Sequence[Message], **fields: Any) -> Message:
    """A whole route configuration. Clusters may come later than it, or be gone earlier."""
    return route_pb2.RouteConfiguration(
        name=name,
        virtual_hosts=virtual_hosts,
        validate_clusters={"value": False},
        max_direct_response_body_size_bytes={"value": 1024 * 1024},
        **fields,
    )
