"""Where does a rule of a VirtualService send a request? One HTTPRoute as Envoy's routes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lateen.api.networking import (
    CorsPolicy,
    Destination,
    HeaderOperations,
    HTTPBody,
    HTTPFaultInjection,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRoute,
    Percent,
    RedirectPort,
    StringMatch,
    UnmatchedPreflights,
)
from lateen.envoy import http, routes, wellknown
from lateen.envoy.sealing import duration
from lateen.names import gateways, labels
from lateen.names.labels import Labels

_AUTHORITY = ("host", ":authority")


class Target(NamedTuple):
    """A cluster by name, and what of a request its balancing hashes."""

    cluster: str
    hashed: Sequence[routes.Fields] = ()
    upgraded: bool = False  # HTTP/2 between the proxies, whatever the client speaks


class Situation(NamedTuple):
    """For whom a rule is compiled: where it applies (``mesh`` or a gateway), on which port, for which caller."""

    gateway: str
    port: int
    namespace: str  # of the caller; behind a gateway, the gateway's own, and so are the labels
    labels: Labels
    owner: str  # the namespace of the VirtualService
    target: Callable[[Destination], Target]
    retries: HTTPRetry | None = None  # where a rule says nothing: the mesh's


def compiled(rules: Iterable[HTTPRoute], it: Situation) -> Iterator[routes.Fields]:
    """A route for each alternative of each rule's match that can be true here, as far as any can be reached."""
    for rule in rules:
        action = _action(rule, it)
        for match in rule.match or [HTTPMatchRequest()]:
            if not applies(match.gateways, match.port, match.source_labels, match.source_namespace, it):
                continue
            name = f"{rule.name}.{match.name}" if match.name else rule.name
            found = {"name": name, "match": _match(match), **action}
            if match.stat_prefix:
                found["stat_prefix"] = match.stat_prefix
            yield found
            if catches_all(found):
                return


def catches_all(route: routes.Fields) -> bool:
    """Whether every request is meant, so that no later route is ever asked (Istio: ``IsCatchAllRoute``)."""
    match = route["match"]
    anywhere = match.get("prefix") == "/" or match.get("safe_regex") == {"regex": ".*"}
    return anywhere and not match["headers"] and not match["query_parameters"]


def applies(
    named: Sequence[str], port: int, source_labels: dict[str, str], source_namespace: str, it: Situation
) -> bool:
    """Whether the parts of a match that do not depend on the request hold."""
    if port and port != it.port:
        return False
    if named:  # Istio does not ask for the caller then
        return it.gateway in (gateways.full(one, it.owner) for one in named)
    if source_namespace and source_namespace != it.namespace:
        return False
    return labels.matches(labels.of(source_labels), it.labels)


def _match(it: HTTPMatchRequest) -> routes.Fields:
    headers: list[dict[str, Any]] = [
        *(_header(name, match) for name, match in sorted(it.headers.items())),
        *(
            {**_header(name, match), "invert_match": True, "treat_missing_header_as_empty": _has_value(match)}
            for name, match in sorted(it.without_headers.items())
        ),
    ]
    pseudo = ((":method", it.method), (":authority", it.authority), (":scheme", it.scheme))
    headers += [_header(name, match) for name, match in pseudo if match]
    found: dict[str, Any] = {**_path(it.uri), "headers": headers}
    if it.ignore_uri_case and it.uri and it.uri.regex is None:
        found["case_sensitive"] = {"value": False}
    found["query_parameters"] = [
        {"name": name, "string_match": _string(match)} if _has_value(match) else {"name": name, "present_match": True}
        for name, match in sorted(it.query_params.items())
    ]  # fmt: skip
    return found


def _path(uri: StringMatch | None) -> routes.Fields:
    if uri and uri.exact is not None:
        return {"path": uri.exact}
    if uri and uri.regex is not None:
        return {"safe_regex": {"regex": uri.regex}}
    return {"prefix": (uri.prefix if uri and uri.prefix else "/")}


def _has_value(match: StringMatch) -> bool:
    """Whether more is asked than that it is there; the star alone is Istio's word for that, and no expression."""
    if match.exact is not None:
        return True
    return bool(match.prefix) or (match.regex is not None and match.regex not in ("*", ".*", ""))


def _header(name: str, match: StringMatch) -> dict[str, Any]:
    if not _has_value(match):
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": _string(match)}


def _string(match: StringMatch) -> routes.Fields:
    if match.exact is not None:
        return {"exact": match.exact}
    if match.prefix is not None:
        return {"prefix": match.prefix}
    return {"safe_regex": {"regex": match.regex or ""}}


def _action(rule: HTTPRoute, it: Situation) -> dict[str, Any]:
    found: dict[str, Any] = {**_headers(rule.headers.request, rule.headers.response)}
    filters = {}
    if rule.fault:
        filters[wellknown.FAULT] = _fault(rule.fault)
    if rule.cors_policy:
        filters[wellknown.CORS] = _cors(rule.cors_policy)
    if filters:
        found["typed_per_filter_config"] = filters
    if rule.redirect:
        return {**found, "redirect": _redirect(rule.redirect, it)}
    if rule.direct_response:
        body = _body(rule.direct_response.body)
        return {**found, "direct_response": {"status": rule.direct_response.status, **body}}
    if not rule.route:
        return {**found, "direct_response": {"status": 404}}
    return {**found, "route": _forward(rule, it)}


def _headers(request: HeaderOperations, response: HeaderOperations) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, operations in (("request", request), ("response", response)):
        adds, sets = (
            [(k, v) for k, v in sorted(pairs.items()) if not _is_envoys(k)]
            for pairs in (operations.add, operations.set)
        )
        added = [*routes.headers(adds, append=True), *routes.headers(sets, append=False)]
        if added:
            found[f"{side}_headers_to_add"] = added
        if removed := [it for it in operations.remove if not _is_envoys(it)]:
            found[f"{side}_headers_to_remove"] = removed
    return found


def _is_envoys(header: str) -> bool:
    """Envoy refuses operations on what it makes itself; the authority is rewritten by another field."""
    return header.startswith(":") or header.lower() == "host"


def _forward(rule: HTTPRoute, it: Situation) -> dict[str, Any]:
    action: dict[str, Any] = {
        "timeout": duration(rule.timeout.nanoseconds if rule.timeout else 0),
    }
    targets = [it.target(one.destination) for one in rule.route]
    hashed = next((found.hashed for found in targets if found.hashed), ())
    if hashed:
        action["hash_policy"] = list(hashed)
    action.update(retried(rule.retries or it.retries, hashed=bool(hashed)))
    only = rule.route[0]
    if len(rule.route) == 1:
        action["cluster"] = targets[0].cluster
        action.update(_host(only.headers.request))
    if len(rule.route) > 1 or targets[0].upgraded or _headers(only.headers.request, only.headers.response):
        action.pop("cluster", None)
        single = len(rule.route) == 1
        action["weighted_clusters"] = {"clusters": [
            {"name": target.cluster, "weight": {"value": one.weight or (1 if single else 0)},
             **_headers(one.headers.request, one.headers.response), **_host(one.headers.request), **spoken(target)}
            for one, target in zip(rule.route, targets, strict=True) if one.weight or single
        ]}  # fmt: skip
        if not action["weighted_clusters"]["clusters"]:
            # Weights that sum to zero: Envoy refuses them, so nothing gets them.
            action["weighted_clusters"] = {
                "clusters": [{"name": wellknown.BLACK_HOLE, "weight": {"value": 1}}]
            }
    action.update(_rewrite(rule))
    action["request_mirror_policies"] = list(_mirrors(rule, it))
    return action


def spoken(target: Target) -> dict[str, Any]:
    """Offers HTTP/2 to the next proxy where the request itself may be of another version."""
    return {"typed_per_filter_config": {http.ALPN: http.upgrade()}} if target.upgraded else {}


def _host(it: HeaderOperations) -> dict[str, str]:
    """A new authority, which Envoy wants said in another way than a header."""
    pairs = (*sorted(it.set.items()), *sorted(it.add.items()))
    found = next((value for name, value in pairs if name.lower() in _AUTHORITY), "")
    return {"host_rewrite_literal": found} if found else {}


def _rewrite(rule: HTTPRoute) -> dict[str, Any]:
    found: dict[str, Any] = {**_host(rule.headers.request)}
    if rule.rewrite and rule.rewrite.authority:
        found["host_rewrite_literal"] = rule.rewrite.authority
    if rule.rewrite is None:
        return found
    if rule.rewrite.uri_regex_rewrite:
        regex = rule.rewrite.uri_regex_rewrite
        found["regex_rewrite"] = {"pattern": {"regex": regex.match}, "substitution": regex.rewrite}
    elif rule.rewrite.uri:
        by_regex = any(it.uri and it.uri.regex is not None for it in rule.match)
        if by_regex:
            found["regex_rewrite"] = {"pattern": {"regex": "^.*$"}, "substitution": rule.rewrite.uri}
        else:
            found["prefix_rewrite"] = rule.rewrite.uri
    return found


def _mirrors(rule: HTTPRoute, it: Situation) -> Iterator[routes.Fields]:
    mirrors = [(one.destination, one.percentage) for one in rule.mirrors]
    if rule.mirror:
        old = Percent(value=float(rule.mirror_percent)) if rule.mirror_percent is not None else None
        mirrors.insert(0, (rule.mirror, rule.mirror_percentage or old))
    for destination, percentage in mirrors:
        fraction = _fraction(percentage.value if percentage else 100.0)
        yield {"cluster": it.target(destination).cluster, "runtime_fraction": {"default_value": fraction}}


def _fraction(percent: float) -> routes.Fields:
    return {"numerator": round(max(0.0, min(100.0, percent)) * 10_000), "denominator": "MILLION"}


def retried(it: HTTPRetry | None, *, hashed: bool) -> routes.Fields:
    """The field for retries: as written, as Istio does it without a word, or not at all."""
    return {} if it and not it.attempts else {"retry_policy": _retries(it, hashed=hashed)}


def _retries(it: HTTPRetry | None, *, hashed: bool) -> routes.Fields:
    elsewhere = not hashed and not (it and it.retry_ignore_previous_hosts is False)
    if it is None:
        return routes.default_retry(elsewhere=elsewhere)
    conditions = [one.strip() for one in it.retry_on.split(",") if one.strip()]
    codes = tuple(int(one) for one in conditions if one.isdigit())
    words = [one for one in conditions if not one.isdigit()]
    if codes and "retriable-status-codes" not in words:
        words.append("retriable-status-codes")
    per_try = it.per_try_timeout.nanoseconds if it.per_try_timeout else 0
    backoff = it.backoff.nanoseconds if it.backoff else 0
    return routes.retry_policy(
        it.attempts, ",".join(words) or routes.DEFAULT_RETRY_ON, codes, per_try_ns=per_try, backoff_ns=backoff,
        elsewhere=elsewhere,
    )  # fmt: skip


def _redirect(it: HTTPRedirect, where: Situation) -> routes.Fields:
    codes = {
        301: "MOVED_PERMANENTLY",
        302: "FOUND",
        303: "SEE_OTHER",
        307: "TEMPORARY_REDIRECT",
        308: "PERMANENT_REDIRECT",
    }
    found: dict[str, Any] = {"response_code": codes.get(it.redirect_code or 301, "MOVED_PERMANENTLY")}
    if it.uri:
        found["path_redirect"] = it.uri
    elif it.prefix_rewrite:
        found["prefix_rewrite"] = it.prefix_rewrite
    if it.authority:
        found["host_redirect"] = it.authority
    if it.scheme:
        found["scheme_redirect"] = it.scheme
    port = where.port if it.derive_port is RedirectPort.FROM_REQUEST_PORT else it.port
    # A scheme's own port goes without saying. All listeners whose routes these are speak plain HTTP.
    if port and port != {"http": 80, "https": 443}.get(it.scheme or "http"):
        found["port_redirect"] = port
    return found


def _body(it: HTTPBody | None) -> dict[str, Any]:
    if it is None:
        return {}
    if not it.bytes:
        return {"body": {"inline_string": it.string}}
    try:
        return {"body": {"inline_bytes": base64.b64decode(it.bytes)}}
    except ValueError:
        return {}


def _fault(it: HTTPFaultInjection) -> Any:
    fields: dict[str, Any] = {}
    if it.delay and it.delay.fixed_delay:
        fields["delay"] = {
            "fixed_delay": duration(it.delay.fixed_delay.nanoseconds),
            "percentage": _fraction(_percent(it.delay.percentage, it.delay.percent)),
        }
    if it.abort and it.abort.http_status:
        fields["abort"] = {
            "http_status": it.abort.http_status,
            "percentage": _fraction(_percent(it.abort.percentage, None)),
        }
    elif it.abort and it.abort.grpc_status in _GRPC:
        fields["abort"] = {
            "grpc_status": _GRPC.index(it.abort.grpc_status),
            "percentage": _fraction(_percent(it.abort.percentage, None)),
        }
    return http.fault(**fields)


_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


def _percent(written: Percent | None, old: int | None) -> float:
    """Istio: when neither is given, nothing is delayed or aborted."""
    return written.value if written else float(old or 0)


def _cors(it: CorsPolicy) -> Any:
    origins = [_string(one) for one in it.allow_origins] or [{"exact": one} for one in it.allow_origin]
    fields: dict[str, Any] = {"allow_origin_string_match": origins}
    for name, values in (
        ("allow_methods", it.allow_methods), ("allow_headers", it.allow_headers), ("expose_headers", it.expose_headers),
    ):  # fmt: skip
        if values:
            fields[name] = ",".join(values)
    if it.max_age:
        fields["max_age"] = str(int(it.max_age.seconds))
    if it.allow_credentials is not None:
        fields["allow_credentials"] = {"value": it.allow_credentials}
    if it.unmatched_preflights is UnmatchedPreflights.IGNORE:
        fields["forward_not_matching_preflights"] = {"value": False}
    return http.cors(**fields)
