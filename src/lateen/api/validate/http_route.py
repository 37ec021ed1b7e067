"""Is this rule of a VirtualService for HTTP one that the mesh can honour?"""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lateen.api.networking import (
    CorsPolicy,
    Destination,
    FaultAbort,
    FaultDelay,
    HeaderOperations,
    Headers,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    Percent,
    StringMatch,
)
from lateen.api.validate import expressions, shared, texts
from lateen.api.validate.finding import Finding, Findings, check, entry, warning

_SECOND = 10**9
_LARGE_BODY, _LARGEST_BODY = 100 * 1024, 1024 * 1024
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"))
_STATUSES = frozenset(str(it.value) for it in http.HTTPStatus)
#: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
_RETRY_ON = frozenset((
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream",
    "retriable-status-codes", "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
))  # fmt: skip
#: https://grpc.io/docs/guides/status-codes/
_GRPC = frozenset((
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
))  # fmt: skip
#: Envoy's filter for faults takes it too.
_LAST_STATUS = 600
#: In withoutHeaders: whatever the header says.
_PRESENT = "*"
_CLAIM = ("@request.auth.claims.", "@request.auth.claims[")


class Place(NamedTuple):
    """Where a route stands: its path, whether another one delegates to it, and whether it is for gateways alone."""

    path: str
    delegate: bool
    at_gateway: bool


def http_route(it: HTTPRoute, place: Place) -> Findings:
    """One rule of ``spec.http``."""
    at = place.path
    yield from _what(it, place)
    for index, match in enumerate(it.match):
        yield from _match(match, f"{at}.match[{index}]", delegate=place.delegate, at_gateway=place.at_gateway)
    yield from _headers(it.headers, f"{at}.headers")
    for index, way in enumerate(it.route):
        yield from destination(way.destination, f"{at}.route[{index}].destination")
        yield from _headers(way.headers, f"{at}.route[{index}].headers")
    yield from weights([way.weight for way in it.route], f"{at}.route")
    yield from _mirrors(it, at)
    yield from _redirect(it.redirect, f"{at}.redirect")
    yield from _direct(it.direct_response, f"{at}.directResponse")
    yield from _rewrite(it.rewrite, it.headers, f"{at}.rewrite")
    if it.timeout is not None and it.timeout.nanoseconds:  # 0s: as long as it takes
        yield from check(f"{at}.timeout", texts.duration(it.timeout))
    yield from _retries(it.retries, f"{at}.retries")
    yield from _fault(it.fault, f"{at}.fault")
    yield from _cors(it.cors_policy, f"{at}.corsPolicy")


def _what(it: HTTPRoute, place: Place) -> Findings:
    """Exactly one thing is done with a request."""
    at = place.path
    done = {
        "route": it.route,
        "redirect": it.redirect,
        "directResponse": it.direct_response,
        "delegate": it.delegate,
    }
    chosen = [name for name, value in done.items() if value]
    if not chosen:
        yield Finding(at, "does nothing: one of route, redirect, directResponse or delegate is required")
    if len(chosen) > 1:
        yield Finding(at, f"cannot contain both {chosen[0]} and {chosen[1]}")
    if it.delegate is not None and place.delegate:
        yield Finding(f"{at}.delegate", "a delegate cannot delegate again")
    if chosen and chosen[0] in ("redirect", "directResponse"):
        for name, value in (("fault", it.fault), ("rewrite", it.rewrite)):
            if value is not None:
                yield Finding(f"{at}.{name}", f"cannot stand beside {chosen[0]}: the request goes nowhere")
    if it.delegate is not None and not it.delegate.name:
        yield Finding(f"{at}.delegate.name", "is required")


def _match(it: HTTPMatchRequest, at: str, *, delegate: bool, at_gateway: bool) -> Findings:
    named = {"uri": it.uri, "scheme": it.scheme, "method": it.method, "authority": it.authority}
    for name, match in named.items():
        yield from _text(match, f"{at}.{name}", delegate=delegate)
    for field, matches in (
        ("headers", it.headers),
        ("withoutHeaders", it.without_headers),
        ("queryParams", it.query_params),
    ):
        for name, match in matches.items():
            place = entry(f"{at}.{field}", name)
            if field != "withoutHeaders" or match.regex != _PRESENT:
                yield from _text(match, place, delegate=delegate)
            if field == "queryParams":
                yield from check(place, texts.parameter_name(name))
                continue
            if not name.startswith(_CLAIM):
                yield from check(place, texts.header_name(name.removeprefix(":")))
            elif not at_gateway:
                yield Finding(place, "routing by a claim of a JWT is for gateways only: set spec.gateways")
    if it.port:
        yield from check(f"{at}.port", texts.port(it.port))
    yield from check(f"{at}.sourceLabels", texts.labels(it.source_labels))
    yield from shared.gateway_names(it.gateways, f"{at}.gateways")
    if it.source_namespace:
        yield from check(f"{at}.sourceNamespace", texts.dns_label(it.source_namespace))
    if it.ignore_uri_case and it.uri is not None and it.uri.regex is not None:
        yield warning(f"{at}.ignoreUriCase", "has no effect on a regex: write (?i) in it")


def _text(it: StringMatch | None, at: str, *, delegate: bool) -> Findings:
    if it is None:
        return
    if it.prefix == "":
        # Envoy takes an empty prefix of paths only.
        tell = warning if at.endswith(".uri") else Finding
        yield tell(f"{at}.prefix", "an empty prefix matches everything: leave the condition out")
    if it.regex is not None:
        yield from check(f"{at}.regex", expressions.regex(it.regex))
        if delegate:
            yield Finding(f"{at}.regex", "conditions of a delegated route cannot be regular expressions")


def destination(it: Destination, at: str) -> Findings:
    """A host, and perhaps a subset and a port."""
    if it.host == "*":
        yield Finding(f"{at}.host", "a destination is one host, not *")
    else:
        yield from check(f"{at}.host", texts.wildcard_domain(it.host) if it.host else "is required")
    if it.subset:
        yield from check(f"{at}.subset", texts.dns_label(it.subset))
    if it.port is not None:
        yield from check(f"{at}.port.number", texts.port(it.port.number))


def weights(found: Sequence[int], at: str) -> Findings:
    """None is negative, and together they are something."""
    for index, weight in enumerate(found):
        if weight < 0:
            yield Finding(f"{at}[{index}].weight", f"{weight} is negative")
    if len(found) > 1 and sum(found) == 0:
        yield Finding(at, "the weights of several destinations cannot all be 0: set weight")


def _headers(it: Headers, at: str) -> Findings:
    yield from _operations(it.request, f"{at}.request", authority=True)
    yield from _operations(it.response, f"{at}.response", authority=False)


def _operations(it: HeaderOperations, at: str, *, authority: bool) -> Findings:
    for word, pairs in (("set", it.set), ("add", it.add)):
        for name, value in pairs.items():
            if not (authority and name.lower() in ("host", ":authority")):
                yield from check(entry(f"{at}.{word}", name), _changed(name))
            yield from check(entry(f"{at}.{word}", name), texts.header_value(value))
    for index, name in enumerate(it.remove):
        yield from check(f"{at}.remove[{index}]", _changed(name))


def _changed(name: str) -> str:
    if not name:
        return "a header name cannot be empty"
    return f'"{name}" cannot be changed' if name.startswith(":") or name.lower() == "host" else ""


def _mirrors(it: HTTPRoute, at: str) -> Findings:
    if it.mirror is not None:
        yield from destination(it.mirror, f"{at}.mirror")
        if it.mirrors:
            yield Finding(f"{at}.mirrors", "cannot contain both mirror and mirrors")
    if it.mirror_percent is not None:
        yield warning(f"{at}.mirrorPercent", "is deprecated: use mirrorPercentage")
        if it.mirror_percent > 100:
            yield Finding(f"{at}.mirrorPercent", f"{it.mirror_percent} is not a percentage: use 0-100")
    yield from _percent(it.mirror_percentage, f"{at}.mirrorPercentage", least=0)
    for index, mirror in enumerate(it.mirrors):
        yield from destination(mirror.destination, f"{at}.mirrors[{index}].destination")
        yield from _percent(mirror.percentage, f"{at}.mirrors[{index}].percentage", least=0)


def _percent(it: Percent | None, at: str, least: float = 0.0001) -> Findings:
    """``least`` beside 0: Istio lets a share of mirrored requests be so small that it is none."""
    if it is not None and not 0 <= it.value <= 100:
        yield Finding(f"{at}.value", f"{it.value} is not a percentage: use 0-100")
    elif it is not None and 0 < it.value < least:
        yield Finding(f"{at}.value", f"{it.value} is too small: Envoy counts in steps of 0.0001")


def _redirect(it: HTTPRedirect | None, at: str) -> Findings:
    if it is None:
        return
    if not (
        it.uri or it.prefix_rewrite or it.authority or it.scheme or it.port or it.derive_port is not None
    ):
        yield Finding(at, "says nothing: set uri, prefixRewrite, authority, scheme, port or derivePort")
    if it.uri and it.prefix_rewrite:
        yield Finding(at, "only one of uri and prefixRewrite can be set: both say the path")
    if it.redirect_code and not 300 <= it.redirect_code <= 399:
        yield Finding(f"{at}.redirectCode", f"{it.redirect_code} is not a redirect: use 3xx")
    for field, text in (("uri", it.uri), ("prefixRewrite", it.prefix_rewrite), ("authority", it.authority)):
        yield from check(f"{at}.{field}", texts.one_line(text))
    if it.scheme not in ("", "http", "https"):
        yield Finding(f"{at}.scheme", f'unknown scheme "{it.scheme}": use http or https')
    if it.port:
        yield from check(f"{at}.port", texts.port(it.port))


def _direct(it: HTTPDirectResponse | None, at: str) -> Findings:
    if it is None:
        return
    yield from check(f"{at}.status", _status(it.status))
    size = max(len(it.body.string), len(it.body.bytes)) if it.body else 0
    if size > _LARGEST_BODY:
        yield Finding(f"{at}.body", f"has {size} bytes: it must be less than 1 MB")
    elif size > _LARGE_BODY:
        yield warning(f"{at}.body", f"has {size} bytes, which every proxy is sent")


def _status(code: int) -> str:
    return "" if 200 <= code <= 599 else f"{code} is not a status of HTTP: use 200-599"


def _rewrite(it: HTTPRewrite | None, headers: Headers, at: str) -> Findings:
    named = [name for pairs in (headers.request.set, headers.request.add) for name in pairs]
    authorities = [name for name in named if name.lower() in ("host", ":authority")]
    if len(authorities) + bool(it and it.authority) > 1:
        yield Finding(at.removesuffix(".rewrite"), "the authority can be changed in one place only")
    if it is None:
        return
    if it.uri and it.uri_regex_rewrite:
        yield Finding(at, "only one of uri and uriRegexRewrite can be set")
    if not (it.uri or it.uri_regex_rewrite or it.authority):
        yield Finding(at, "says nothing: set uri, uriRegexRewrite or authority")
    if it.uri_regex_rewrite is not None:
        place = f"{at}.uriRegexRewrite"
        yield from check(f"{place}.match", expressions.regex(it.uri_regex_rewrite.match))
        if not it.uri_regex_rewrite.rewrite:
            yield Finding(f"{place}.rewrite", "is required")
        yield from check(f"{place}.rewrite", texts.one_line(it.uri_regex_rewrite.rewrite))
    for field, text in (("uri", it.uri), ("authority", it.authority)):
        yield from check(f"{at}.{field}", texts.one_line(text))


def _retries(it: HTTPRetry | None, at: str) -> Findings:
    if it is None:
        return
    if it.attempts < 0:
        yield Finding(f"{at}.attempts", f"{it.attempts} is negative: 0 means never")
    if it.attempts == 0 and (it.per_try_timeout or it.retry_on or it.retry_remote_localities is not None):
        yield Finding(f"{at}.attempts", "0 means never, so nothing else may be set: how many attempts?")
    for name, duration in (("perTryTimeout", it.per_try_timeout), ("backoff", it.backoff)):
        if duration is not None:
            yield from check(f"{at}.{name}", texts.duration(duration))
    for word in it.retry_on.split(",") if it.retry_on else ():
        if word not in _RETRY_ON and word not in _STATUSES:
            yield Finding(
                f"{at}.retryOn", f'"{word}" is neither a condition of Envoy, such as 5xx, nor a status'
            )


def _fault(it: HTTPFaultInjection | None, at: str) -> Findings:
    if it is None:
        return
    if it.abort is None and it.delay is None:
        yield Finding(at, "says nothing: set delay or abort")
    if it.abort is not None:
        yield from _abort(it.abort, f"{at}.abort")
    if it.delay is not None:
        yield from _delay(it.delay, f"{at}.delay")


def _abort(it: FaultAbort, at: str) -> Findings:
    yield from _percent(it.percentage, f"{at}.percentage")
    if it.http_status is not None:
        yield from check(
            f"{at}.httpStatus", "" if it.http_status == _LAST_STATUS else _status(it.http_status)
        )
    elif it.grpc_status:
        if it.grpc_status not in _GRPC:
            yield Finding(
                f"{at}.grpcStatus", f'"{it.grpc_status}" is not a status of gRPC, such as NOT_FOUND'
            )
    elif it.http2_error:
        yield Finding(f"{at}.http2Error", "is not supported: use httpStatus or grpcStatus")
    else:
        yield warning(at, "has no effect: set httpStatus or grpcStatus")


def _delay(it: FaultDelay, at: str) -> Findings:
    yield from _percent(it.percentage, f"{at}.percentage")
    if it.percent is not None:
        yield warning(f"{at}.percent", "is deprecated: use percentage.value")
        if not 0 <= it.percent <= 100:
            yield Finding(f"{at}.percent", f"{it.percent} is not a percentage: use 0-100")
    if it.exponential_delay is not None:
        yield Finding(f"{at}.exponentialDelay", "is not supported: use fixedDelay")
    elif it.fixed_delay is None:
        yield warning(at, "has no effect: set fixedDelay")
    else:
        yield from check(f"{at}.fixedDelay", texts.duration(it.fixed_delay))


def _cors(it: CorsPolicy | None, at: str) -> Findings:
    if it is None:
        return
    for index, origin in enumerate(it.allow_origins):
        place = f"{at}.allowOrigins[{index}]"
        if not (origin.exact or origin.prefix or origin.regex):
            yield Finding(place, "needs one of exact, prefix, regex")
        elif origin.regex:
            yield from check(f"{place}.regex", expressions.regex(origin.regex))
    for index, method in enumerate(it.allow_methods):
        if method not in _METHODS and method != "*":
            yield Finding(f"{at}.allowMethods[{index}]", f'"{method}" is not a method of HTTP')
    lists: Mapping[str, Sequence[str]] = {
        "allowHeaders": it.allow_headers,
        "exposeHeaders": it.expose_headers,
    }
    for name, values in lists.items():
        for index, value in enumerate(values):
            if value != "*":
                yield from check(f"{at}.{name}[{index}]", texts.header_name(value))
    if it.max_age is not None:
        yield from check(f"{at}.maxAge", texts.duration(it.max_age) if it.max_age.nanoseconds else "")
        if it.max_age.nanoseconds % _SECOND:
            yield Finding(f"{at}.maxAge", "must be whole seconds")
