"""How is the API spoken over HTTP? Paths, who may, discovery; objects and their subresources have files of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from skiff.api import Node
from skiff.apiserver import access as access_rules
from skiff.apiserver import (
    callers,
    computed,
    connections,
    context,
    discovery,
    health,
    lasting,
    objects,
    openapi,
    proxy,
    subresources,
)
from skiff.apiserver.access import Access, User
from skiff.apiserver.bodies import WARNINGS, encoded
from skiff.apiserver.callers import Callers
from skiff.apiserver.counts import Asked, Counts, asked
from skiff.apiserver.parse import too_deep
from skiff.apiserver.parsers import PARSERS, Parsers
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError, unknown_path
from skiff.kinds import COMPUTED, REVIEWS, Kind
from skiff.log import Log
from skiff.queries import truth

_log = Log()

MAX_BODY = 3 * 1024 * 1024  # as etcd and the API server limit objects
_MOST_WARNED, _EACH_WARNED = 4096, 256
_OPEN = {*health.PATHS, "/version"}


@dataclass(slots=True)
class Server:
    """What requests are answered from. Without ``access`` everybody may do everything: for tests of the rest."""

    registry: Registry
    access: Access | None = None
    node: Node | None = None
    callers: Callers = field(default_factory=Callers)
    documents: dict[str, bytes] = field(default_factory=dict)  # OpenAPI by path, made when first asked for
    counts: Counts = field(default_factory=Counts)


SERVER = web.AppKey("server", Server)
_USER = web.RequestKey("user", object)
_ASKED = web.RequestKey("asked", Asked)


def application(
    registry: Registry, *, access: Access | None = None, node: Node | None = None, around: Sequence[Any] = ()
) -> web.Application:  # fmt: skip
    """The API as an aiohttp application. ``around`` are middlewares that see requests first and answers last."""
    app = web.Application(
        middlewares=[*around, _counted, _as_status, lasting.hold, _with_user], client_max_size=MAX_BODY
    )
    app[SERVER] = Server(registry, access, node)
    app[lasting.STORE] = registry.store
    app[PARSERS] = parsers = Parsers()
    app.on_cleanup.append(lambda _: parsers.stop())
    app.on_response_prepare.append(_warn)
    for path in health.PATHS:
        app.router.add_get(path, _health)
        app.router.add_get(path + "/{check:.+}", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/version", _version)
    app.router.add_get("/version/", _version)
    app.router.add_get("/openapi/v2", _openapi_v2)
    app.router.add_get("/openapi/v3", _openapi_index)
    app.router.add_get("/openapi/v3/{place:.+}", _openapi)
    for root in ("/api", "/apis"):
        app.router.add_get(root, _groups)
        app.router.add_get(root + "/", _groups)
    app.router.add_route("*", "/{root:api|apis}/{rest:.+}", _resource)
    return app


@web.middleware
async def _counted(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    counts, begun, code = request.app[SERVER].counts, time.monotonic(), 0
    try:
        response = await handler(request)
        code = response.status
        return response
    finally:
        # Who asked for a resource is counted from the moment on at which it is known which one.
        if (it := request.get(_ASKED)) is None:
            counts.begin(it := Asked("GET" if request.method in ("GET", "HEAD") else "other"))
        counts.end(it, code, time.monotonic() - begun)


@web.middleware
async def _as_status(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except ApiError as refused:
        response = _status(refused)
    except web.HTTPRequestEntityTooLarge:
        response = _status(ApiError(413, "RequestEntityTooLarge", f"an object has at most {MAX_BODY} bytes"))
    except web.HTTPException as refused:  # aiohttp's own: 404 and 405 of its router
        response = _status(_refusal(refused))
    except (ConnectionError, asyncio.CancelledError):
        raise  # the client left
    except RecursionError:  # of a patch, say, that puts what is deep into what is deep
        response = _status(too_deep())
    except Exception as wrong:
        _log.exception("a request ended unexpectedly", method=request.method, path=request.path_qs)
        if request.writer.output_size:
            raise  # too late for an answer: the connection breaks
        response = _status(ApiError(500, "InternalError", f"Internal error occurred: {wrong!r}"))
    if not response.prepared and response.charset and response.content_type == "application/json":
        response.charset = None  # clients compare the whole header with what Kubernetes sends
    return response


async def _warn(request: web.Request, response: web.StreamResponse) -> None:
    """Called before anything is sent: streams are told, too."""
    for it in _bounded([*request.get(WARNINGS, []), *context.WARNINGS.get([])]):
        escaped = it.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')


def _bounded(warned: list[str]) -> list[str]:
    """What fits into headers, as the API server bounds it: 4 KiB, or 256 letters of each as far as they fit into that."""
    told = ["".join(c if c.isprintable() else " " for c in it[:_MOST_WARNED]) for it in dict.fromkeys(warned)]
    if sum(map(len, told)) <= _MOST_WARNED:
        return told
    return [it[:_EACH_WARNED] for it in told[: _MOST_WARNED // _EACH_WARNED]]


def _status(refused: ApiError) -> web.Response:
    again = (refused.details or {}).get("retryAfterSeconds")  # clients heed the header only
    response = encoded(refused.status(), refused.code)
    if again:
        response.headers["Retry-After"] = str(again)
    return response


def _refusal(refused: web.HTTPException) -> ApiError:
    match refused.status:
        case 404:
            return unknown_path()
        case 405:
            said = "the server does not allow this method on the requested resource"
            return ApiError(405, "MethodNotAllowed", said)
    return ApiError(refused.status, "BadRequest" if refused.status < 500 else "InternalError", refused.reason)


@web.middleware
async def _with_user(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    access = request.app[SERVER].access
    context.WARNINGS.set([])
    context.DRY_RUN.set(request.query.get("dryRun") == "All")
    sort = callers.sort_of(request)
    connections.asks(request, patient=sort is callers.Sort.STREAM)
    if access is None:
        return await handler(request)
    user = access.who(request)
    request[_USER] = user
    context.USER.set(user)
    known = "system:unauthenticated" not in user.groups
    with request.app[SERVER].callers.counted(sort, user.name if known else str(request.remote), user.groups):
        return await _asked(request, handler)


async def _asked(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.match_info.route.resource and "rest" not in request.match_info and request.path not in _OPEN:
        _require_path(request)
    return await handler(request)


def _require_path(request: web.Request) -> None:
    """May they ask there? For what is about no resource."""
    access = request.app[SERVER].access
    if access is not None:
        user: User = request[_USER]  # type: ignore[assignment]  # put there by _with_user
        verb = access_rules.verb_of(request, "-")
        access_rules.require(access, user, verb, None, "", "", "", request.path)


async def _health(request: web.Request) -> web.Response:
    return health.answer(request, str(request.app[SERVER].registry.store.trouble or ""))


async def _metrics(request: web.Request) -> web.Response:
    server = request.app[SERVER]
    text, form = server.counts.text(server.registry, request.headers.get("Accept", ""))
    return web.Response(body=text, headers={"Content-Type": form})


async def _version(_: web.Request) -> web.Response:
    return encoded(discovery.VERSION)


async def _openapi_v2(request: web.Request) -> web.Response:
    """kubectl looks here, in protobuf, for kinds that v3 does not know, and must find that there are none."""
    from skiff.apiserver import openapi_v2  # who asks for it is rare

    if "proto-openapi" in request.headers.get("Accept", ""):
        return web.Response(body=openapi.V2_PROTOBUF, headers={"Content-Type": openapi.V2_PROTOBUF_TYPE})
    registry = request.app[SERVER].registry
    if registry.schemas is None:
        raise unknown_path()
    return _json(openapi_v2.document(registry.schemas, list(registry.kinds.values())))


async def _openapi_index(request: web.Request) -> web.Response:
    return encoded(openapi.index(request.app[SERVER].registry.kinds.values()))


async def _openapi(request: web.Request) -> web.Response:
    server, place = request.app[SERVER], request.match_info["place"]
    served = [
        it for it in server.registry.kinds.values()
        if place == (f"apis/{it.group}/{it.version}" if it.group else f"api/{it.version}")
    ]  # fmt: skip
    if not served or server.registry.schemas is None:
        raise unknown_path()
    if any(it.custom for it in served):  # may change with its definition
        return _json(openapi.document(server.registry.schemas, served))
    if place not in server.documents:
        server.documents[place] = openapi.document(server.registry.schemas, served)
    return _json(server.documents[place])


def _json(encoded: bytes) -> web.Response:
    return web.Response(body=encoded, content_type="application/json")


async def _groups(request: web.Request) -> web.Response:
    kinds, core = request.app[SERVER].registry.kinds.values(), request.path.rstrip("/") == "/api"
    accept = request.headers.get("Accept", "")
    if "as=APIGroupDiscoveryList" in accept and "v=v2" in accept:
        body = msgspec.json.encode(discovery.aggregated(kinds, core=core))
        return web.Response(body=body, headers={"Content-Type": discovery.AGGREGATED})
    if core:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": request.host}]
        return encoded({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses})
    return encoded(discovery.group_list(kinds))


async def _resource(request: web.Request) -> web.StreamResponse:
    parts = [it for it in request.match_info["rest"].split("/") if it]
    group, version, rest = (
        ("", parts[0], parts[1:])
        if request.match_info["root"] == "api"
        else (parts[0], (parts[1:] or [""])[0], parts[2:])
    )
    registry = request.app[SERVER].registry
    if not version or not rest:
        _require_path(request)
        return _discovered(registry, group, version)
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and (group, rest[2]) not in (("", "finalize"), ("", "status"))
    ):
        namespace, rest = rest[1], rest[2:]
    kind = registry.kinds.get((group, version, rest[0]))
    # A role in a namespace must not reach what belongs to no namespace by naming one in the path.
    proxied = len(rest) > 2 and rest[2] == "proxy"
    if kind is None or (len(rest) > 3 and not proxied) or (namespace and not kind.namespaced):
        raise unknown_path()
    name, sub = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if (sub and sub not in kind.subresources) or (name and kind.namespaced and not namespace):
        raise unknown_path()
    return await _served(request, kind, namespace, name, sub)


def _discovered(registry: Registry, group: str, version: str) -> web.Response:
    served = [it for it in registry.kinds.values() if it.group == group and version in (it.version, "")]
    if not served:
        raise unknown_path()
    if not version:
        return encoded(discovery.group(group, {it.version for it in served}))
    return encoded(discovery.resource_list(f"{group}/{version}" if group else version, served))


async def _served(
    request: web.Request, kind: Kind, namespace: str, name: str, sub: str
) -> web.StreamResponse:
    server = request.app[SERVER]
    request[_ASKED] = asked(
        request.method, kind, namespace, name, sub, watch=truth(request, "watch"), apply=request.content_type == objects.APPLY
    )  # fmt: skip
    server.counts.begin(request[_ASKED])
    if kind.warning:
        context.warn(kind.warning)
    if server.access:
        user: User = request[_USER]  # type: ignore[assignment]  # put there by _with_user
        meant = access_rules.name_of(request, name)
        for verb in access_rules.verbs_of(request, name, sub):
            access_rules.require(server.access, user, verb, kind, namespace, meant, sub, request.path)
        request[access_rules.MAY_CREATE] = partial(
            access_rules.require, server.access, user, "create", kind, namespace, meant, sub, request.path
        )
        if kind in REVIEWS:
            return await subresources.review(request, server.registry, server.access, kind, user)
    if sub in subresources.STREAMS or request.method == "GET":
        request[lasting.ONLY_READS] = True
    if kind in COMPUTED:
        return await computed.answer_for(request, server.registry, server.node, kind, namespace, name)
    if sub == "proxy":
        return await proxy.serve(request, server.registry, server.node, kind, namespace, name)
    if sub in subresources.STREAMS:
        return await subresources.stream(request, server.registry, server.node, namespace, name, sub)
    if sub in subresources.SPECIAL:
        return await subresources.special(request, server.registry, server.access, kind, namespace, name, sub)
    if name:
        return await objects.one(request, server.registry, kind, namespace, name, sub)
    return await objects.many(request, server.registry, kind, namespace)
