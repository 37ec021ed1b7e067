"""How is the API spoken over HTTP? Paths, who may, discovery; objects and their subresources have files of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from aiohttp import web

from skiff.api import Node
from skiff.apiserver import access as access_rules
from skiff.apiserver import context, discovery, lasting, objects, openapi, subresources
from skiff.apiserver.access import Access, User
from skiff.apiserver.bodies import WARNINGS
from skiff.apiserver.parse import too_deep
from skiff.apiserver.parsers import PARSERS, Parsers
from skiff.apiserver.registry import Registry
from skiff.errors import ApiError, unknown_path
from skiff.kinds import REVIEWS, Kind

_log = structlog.get_logger("skiff.apiserver")

MAX_BODY = 3 * 1024 * 1024  # as etcd and the API server limit objects
_OPEN = {"/healthz", "/livez", "/readyz", "/version"}


@dataclass(slots=True)
class Server:
    """What requests are answered from. Without ``access`` everybody may do everything: for tests of the rest."""

    registry: Registry
    access: Access | None = None
    node: Node | None = None
    documents: dict[str, bytes] = field(default_factory=dict)  # OpenAPI by path, made when first asked for


SERVER = web.AppKey("server", Server)
_USER = web.RequestKey("user", object)


def application(
    registry: Registry, *, access: Access | None = None, node: Node | None = None, around: Sequence[Any] = ()
) -> web.Application:  # fmt: skip
    """The API as an aiohttp application. ``around`` are middlewares that see requests first and answers last."""
    app = web.Application(
        middlewares=[*around, _as_status, lasting.hold, _with_user], client_max_size=MAX_BODY
    )
    app[SERVER] = Server(registry, access, node)
    app[lasting.STORE] = registry.store
    app[PARSERS] = parsers = Parsers()
    app.on_cleanup.append(lambda _: parsers.stop())
    for path in ("/healthz", "/livez", "/readyz"):
        app.router.add_get(path, _ok)
        app.router.add_get(path + "/{check:.*}", _ok)
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
    if not response.prepared and response.content_type == "application/json":
        response.charset = None  # clients compare the whole header with what Kubernetes sends
    warned = [*request.get(WARNINGS, []), *context.WARNINGS.get([])]
    if warned and not response.prepared:
        for it in dict.fromkeys(warned):
            escaped = it.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def _status(refused: ApiError) -> web.Response:
    again = (refused.details or {}).get("retryAfterSeconds")  # clients heed the header only
    headers = {"Retry-After": str(again)} if again else None
    return web.json_response(refused.status(), status=refused.code, headers=headers)


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
    if access is None:
        return await handler(request)
    user = access.who(request)
    request[_USER] = user
    context.USER.set(user)
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


async def _ok(request: web.Request) -> web.Response:
    if (trouble := request.app[SERVER].registry.store.trouble) and request.path.startswith("/readyz"):
        return web.Response(status=500, text=f"[-]the database cannot be written: {trouble}\n")
    return web.Response(text="ok")


async def _version(_: web.Request) -> web.Response:
    return web.json_response(discovery.VERSION)


async def _openapi_v2(request: web.Request) -> web.Response:
    """kubectl looks here for kinds that v3 does not know, and must find that there are none."""
    if "proto-openapi" in request.headers.get("Accept", ""):
        return web.Response(body=openapi.V2_PROTOBUF, headers={"Content-Type": openapi.V2_PROTOBUF_TYPE})
    return web.json_response(openapi.V2)


async def _openapi_index(request: web.Request) -> web.Response:
    return web.json_response(openapi.index(request.app[SERVER].registry.kinds.values()))


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
        return web.json_response(
            {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
        )
    return web.json_response(discovery.group_list(kinds))


async def _resource(request: web.Request) -> web.StreamResponse:
    parts = [it for it in request.match_info["rest"].split("/") if it]
    group, version, rest = (
        ("", parts[0], parts[1:])
        if request.match_info["root"] == "api"
        else (parts[0], (parts[1:] or [""])[0], parts[2:])
    )
    registry = request.app[SERVER].registry
    served = [it for it in registry.kinds.values() if it.group == group and version in (it.version, "")]
    if not version or not rest:
        _require_path(request)
    if not served:
        raise unknown_path()
    if not version:
        return web.json_response(discovery.group(group, {it.version for it in served}))
    if not rest:
        return web.json_response(discovery.resource_list(f"{group}/{version}" if group else version, served))
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and (group, rest[2]) not in (("", "finalize"), ("", "status"))
    ):
        namespace, rest = rest[1], rest[2:]
    kind = registry.kinds.get((group, version, rest[0]))
    # A role in a namespace must not reach what belongs to no namespace by naming one in the path.
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise unknown_path()
    name, sub = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if (sub and sub not in kind.subresources) or (name and kind.namespaced and not namespace):
        raise unknown_path()
    return await _served(request, kind, namespace, name, sub)


async def _served(
    request: web.Request, kind: Kind, namespace: str, name: str, sub: str
) -> web.StreamResponse:
    server = request.app[SERVER]
    if server.access:
        user: User = request[_USER]  # type: ignore[assignment]  # put there by _with_user
        meant = access_rules.name_of(request, name)
        for verb in access_rules.verbs_of(request, name, sub):
            access_rules.require(server.access, user, verb, kind, namespace, meant, sub, request.path)
        if kind in REVIEWS:
            return await subresources.review(request, server.registry, server.access, kind, user)
    if sub in subresources.STREAMS or request.method == "GET":
        request[lasting.ONLY_READS] = True
    if sub in subresources.STREAMS:
        return await subresources.stream(request, server.registry, server.node, namespace, name, sub)
    if sub in subresources.SPECIAL:
        return await subresources.special(request, server.registry, server.access, kind, namespace, name, sub)
    if name:
        return await objects.one(request, server.registry, kind, namespace, name, sub)
    return await objects.many(request, server.registry, kind, namespace)
