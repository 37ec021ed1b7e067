"""Every field that a route may have acts, is told, or is refused: none is dropped in silence."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
import pytest

from lateen.api import networking as it
from lateen.api.meta import Value
from lateen.api.validate import validate
from lateen.compile.horizons import Caller, Horizon
from lateen.compile.virtual_hosts import rule_routes
from lateen.envoy.routes import routes_of_host
from lateen.names.keys import ObjectKey
from lateen.policy.unsupported import in_document
from lateen.testing.mesh import mesh, service

Json = dict[str, Any]
Place = typing.Callable[[Json], Json]


def _route(**more: Any) -> Json:
    return {"route": [{"destination": {"host": "web", "port": {"number": 80}}}], **more}


def _matching(**match: Any) -> Json:
    return _route(match=[match])


#: Where a part stands in a rule: the rule, from the fields of the part.
PLACES: dict[type[Value], Place] = {
    it.HTTPRoute: lambda own: own if {"redirect", "directResponse", "delegate"} & own.keys() else _route(**own),
    it.HTTPMatchRequest: lambda own: _matching(**own),
    it.StringMatch: lambda own: _matching(uri=own),
    it.HTTPRouteDestination: lambda own: {"route": [{"destination": {"host": "web"}, "weight": 1, **own}, {"destination": {"host": "web"}, "weight": 1}]},
    it.Destination: lambda own: {"route": [{"destination": {"host": "web", **own}}]},
    it.PortSelector: lambda own: {"route": [{"destination": {"host": "web", "port": {"number": 1, **own}}}]},
    it.HTTPRedirect: lambda own: {"redirect": {**own, **({} if "uri" in own or "prefixRewrite" in own else {"uri": "/x"})}},
    it.HTTPDirectResponse: lambda own: {"directResponse": {"status": 200, **own}},
    it.HTTPBody: lambda own: {"directResponse": {"status": 200, "body": own}},
    it.HTTPRewrite: lambda own: _route(rewrite=own),
    it.RegexRewrite: lambda own: _route(rewrite={"uriRegexRewrite": {"match": "x", "rewrite": "y", **own}}),
    it.HTTPRetry: lambda own: _route(retries={"attempts": 1, **own}),
    it.HTTPFaultInjection: lambda own: _route(fault=own),
    it.FaultDelay: lambda own: _route(fault={"delay": {"fixedDelay": "1s", "percentage": {"value": 100}, **own}}),
    it.FaultAbort: lambda own: _route(fault={"abort": {"httpStatus": 500, "percentage": {"value": 100}, **own}}),
    it.Percent: lambda own: _route(fault={"abort": {"httpStatus": 500, "percentage": own}}),
    it.HTTPMirrorPolicy: lambda own: _route(mirrors=[{"destination": {"host": "web"}, **own}]),
    it.CorsPolicy: lambda own: _route(corsPolicy={"allowOrigins": [{"exact": "https://a"}], **own}),
    it.Headers: lambda own: _route(headers=own),
    it.HeaderOperations: lambda own: _route(headers={"request": own}),
    it.Delegate: lambda own: {"delegate": {"name": "rest", **own}},
}  # fmt: skip

_TEXT = {"exact": "a"}
#: A value for each field that says something else than what its place says without it; None takes what is there away.
VALUES: dict[type[Value], Json] = {
    it.HTTPRoute: {
        "name": "n", "match": [{"uri": {"prefix": "/a"}}], "route": [{"destination": {"host": "other"}}],
        "redirect": {"uri": "/x"}, "directResponse": {"status": 201}, "delegate": {"name": "rest"}, "rewrite": {"uri": "/x"},
        "timeout": "1s", "retries": {"attempts": 5}, "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 1}}},
        "mirror": {"host": "other"}, "mirrors": [{"destination": {"host": "other"}}],
        "mirrorPercent": 5, "mirror_percent": 5, "mirrorPercentage": {"value": 5}, "corsPolicy": {"allowOrigins": [_TEXT]},
        "headers": {"request": {"set": {"a": "b"}}},
    },
    it.HTTPMatchRequest: {
        "name": "n", "uri": {"prefix": "/a"}, "scheme": _TEXT, "method": _TEXT, "authority": _TEXT, "headers": {"a": _TEXT},
        "withoutHeaders": {"a": _TEXT}, "queryParams": {"a": _TEXT}, "port": 81, "sourceLabels": {"a": "b"},
        "sourceNamespace": "x", "gateways": ["gw"], "ignoreUriCase": True, "statPrefix": "p",
    },
    it.StringMatch: {"exact": "/a", "prefix": "/a", "regex": "/a"},
    it.HTTPRouteDestination: {
        "destination": {"host": "other"}, "weight": 7, "headers": {"response": {"set": {"a": "b"}}},
    },
    it.Destination: {"host": "other", "subset": "v1", "port": {"number": 81}},
    it.PortSelector: {"number": 81},
    it.HTTPRedirect: {
        "uri": "/y", "authority": "a", "port": 81, "derivePort": "FROM_REQUEST_PORT", "prefixRewrite": "/z", "scheme": "https",
        "redirectCode": 308,
    },
    it.HTTPDirectResponse: {"status": 201, "body": {"string": "x"}},
    it.HTTPBody: {"string": "x", "bytes": "AAAA"},
    it.HTTPRewrite: {"uri": "/x", "authority": "a", "uriRegexRewrite": {"match": "a", "rewrite": "b"}},
    it.RegexRewrite: {"match": "z", "rewrite": "z"},
    it.HTTPRetry: {
        "attempts": 7, "perTryTimeout": "1s", "retryOn": "5xx", "retryRemoteLocalities": True, "backoff": "1s",
        "retryIgnorePreviousHosts": False,
    },
    it.HTTPFaultInjection: {
        "delay": {"fixedDelay": "1s", "percentage": {"value": 1}}, "abort": {"httpStatus": 500, "percentage": {"value": 1}},
    },
    it.FaultDelay: {"fixedDelay": "2s", "exponentialDelay": "2s", "percentage": {"value": 1}, "percent": 1},
    it.FaultAbort: {"httpStatus": 501, "grpcStatus": "UNAVAILABLE", "http2Error": "x", "percentage": {"value": 1}},
    it.Percent: {"value": 1},
    it.HTTPMirrorPolicy: {"destination": {"host": "other"}, "percentage": {"value": 1}},
    it.CorsPolicy: {
        "allowOrigins": [{"exact": "https://b"}], "allowOrigin": ["https://b"], "allowMethods": ["GET"], "allowHeaders": ["a"],
        "exposeHeaders": ["a"], "maxAge": "1s", "allowCredentials": True, "unmatchedPreflights": "IGNORE",
    },
    it.Headers: {"request": {"set": {"a": "b"}}, "response": {"set": {"a": "b"}}},
    it.HeaderOperations: {"set": {"a": "b"}, "add": {"a": "b"}, "remove": ["a"]},
    it.Delegate: {"name": "more", "namespace": "team"},
}  # fmt: skip
#: Fields that act only beside, or instead of, another one.
BESIDE: dict[tuple[type[Value], str], Json] = {
    (it.HTTPRoute, "mirrorPercent"): {"mirror": {"host": "web"}},
    (it.HTTPRoute, "mirror_percent"): {"mirror": {"host": "web"}},
    (it.HTTPRoute, "mirrorPercentage"): {"mirror": {"host": "web"}},
    (it.HTTPMatchRequest, "ignoreUriCase"): {"uri": {"prefix": "/a"}},
    (it.CorsPolicy, "allowOrigin"): {"allowOrigins": []},
    (it.HTTPRedirect, "derivePort"): {"scheme": "https"},
    (it.FaultDelay, "percent"): {"percentage": None},
    (it.FaultDelay, "exponentialDelay"): {"fixedDelay": None},
    (it.FaultAbort, "grpcStatus"): {"httpStatus": None},
    (it.FaultAbort, "http2Error"): {"httpStatus": None},
}
CASES = [(kind, field) for kind, fields in VALUES.items() for field in fields]


def _parts(kind: Any) -> typing.Iterator[type[Value]]:
    """The types of which a type's fields are made."""
    if isinstance(kind, type) and issubclass(kind, Value):
        yield kind
        for one in typing.get_type_hints(kind).values():
            yield from _parts(one)
    elif isinstance(kind, types.UnionType) or typing.get_origin(kind) in (list, dict):
        for one in typing.get_args(kind):
            yield from _parts(one)


def test_no_field_is_missing_here() -> None:
    assert set(_parts(it.HTTPRoute)) == set(VALUES) == set(PLACES)
    for kind, fields in VALUES.items():
        assert {one.encode_name for one in msgspec.structs.fields(kind)} == set(fields), kind


def _document(rule: Json) -> Json:
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "it", "namespace": "default"},
        "spec": {"hosts": ["web"], "http": [rule]},
    }  # fmt: skip


def _compiled(rule: Json) -> bytes:
    db = mesh(
        service("web", {"http": 80, "other": 81}, "10.96.0.1"), service("other", {"http": 80}, "10.96.0.2"),
        msgspec.json.encode(_document(rule)).decode(),
        *(
            f"{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}, namespace: {home}}}, "
            f"spec: {{http: [{{directResponse: {{status: {status}}}}}]}}}}"
            for status, (name, home) in enumerate((("rest", "default"), ("more", "default"), ("rest", "team")), 201)
        ),
    )  # fmt: skip
    key = ObjectKey("default", "it")
    return routes_of_host(rule_routes(db, key, Caller(Horizon(), "default"), "mesh", 80))


@pytest.mark.finding("conformance F3")
@pytest.mark.parametrize(("kind", "field"), CASES, ids=[f"{kind.__name__}.{field}" for kind, field in CASES])
def test_a_field_acts_or_is_told(kind: type[Value], field: str) -> None:
    beside = BESIDE.get((kind, field), {})
    without, having = (
        PLACES[kind](_given({**beside, **more})) for more in ({}, {field: VALUES[kind][field]})
    )
    document = _document(_given(having))
    told = [*in_document(document), *validate(document)]
    assert _compiled(_given(without)) != _compiled(_given(having)) or any(
        field in one.path.rpartition(".")[2] or field in one.message for one in told
    )


def _given(tree: Any) -> Any:
    """Without what is None."""
    if isinstance(tree, dict):
        return {name: _given(value) for name, value in tree.items() if value is not None}
    return [_given(one) for one in tree] if isinstance(tree, list) else tree
