"""How is the API spoken over HTTP? Paths, negotiation, and answers; what happens to objects is the registry's matter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import yaml
from aiohttp import web

from skiff.apiserver import discovery, selectors, tables
from skiff.apiserver.registry import Registry
from skiff.apiserver.watching import watch
from skiff.errors import ApiError
from skiff.kinds import Kind
from skiff.patch import json_patch, merge_patch, strategic_merge_patch
from skiff.schema.node import ANYTHING

MAX_BODY = 3 * 1024 * 1024  # as etcd and the API server limit objects

REGISTRY = web.AppKey("registry", Registry)


def application(registry: Registry) -> web.Application:
    """The API as an aiohttp application."""
    app = web.Application(middlewares=[_as_status], client_max_size=MAX_BODY)
    app[REGISTRY] = registry
    for path in ("/healthz", "/livez", "/readyz"):
        app.router.add_get(path, _ok)
    app.router.add_get("/version", _version)
    app.router.add_get("/version/", _version)
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
        return await handler(request)
    except ApiError as refused:
        return web.json_response(refused.status(), status=refused.code)
    except web.HTTPRequestEntityTooLarge:
        said = ApiError(413, "RequestEntityTooLarge", f"an object has at most {MAX_BODY} bytes")
        return web.json_response(said.status(), status=413)
    except web.HTTPNotFound:
        said = ApiError(404, "NotFound", "the server could not find the requested resource")
        return web.json_response(said.status(), status=404)


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _version(_: web.Request) -> web.Response:
    return web.json_response(discovery.VERSION)


async def _groups(request: web.Request) -> web.Response:
    kinds, core = request.app[REGISTRY].kinds.values(), request.path.rstrip("/") == "/api"
    if (
        "as=APIGroupDiscoveryList" in request.headers.get("Accept", "")
        and "v=v2" in request.headers["Accept"]
    ):
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
    registry = request.app[REGISTRY]
    served = [it for it in registry.kinds.values() if it.group == group and version in (it.version, "")]
    if not served:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    if not version:
        return web.json_response(discovery.group(group, {it.version for it in served}))
    if not rest:
        return web.json_response(discovery.resource_list(f"{group}/{version}" if group else version, served))
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and (group, rest[2]) != ("", "finalize")
        and rest[2] != "status"
    ):
        namespace, rest = rest[1], rest[2:]
    kind = registry.kinds.get((group, version, rest[0]))
    if kind is None:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    name, sub = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if sub and sub not in kind.subresources:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    return await (_one(request, kind, namespace, name, sub) if name else _many(request, kind, namespace))


async def _many(request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
    registry, dry = request.app[REGISTRY], request.query.get("dryRun") == "All"
    match request.method:
        case "GET" if truth(request, "watch"):
            return await watch(request, registry, kind, namespace)
        case "GET":
            return _listed(request, registry, kind, namespace)
        case "POST":
            made = await registry.create(kind, namespace, await _body(request), dry_run=dry)
            return _answer(request, kind, made, 201)
        case "DELETE":
            chosen = selected(request, registry.store.all(kind.storage, namespace))
            for it in chosen:
                await registry.delete(
                    kind, it["metadata"].get("namespace", ""), it["metadata"]["name"], dry_run=dry
                )
            return web.json_response(_list_of(kind, registry, chosen))
    raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _listed(request: web.Request, registry: Registry, kind: Kind, namespace: str) -> web.Response:
    found = selected(request, registry.store.all(kind.storage, namespace))
    if as_table(request):
        body = tables.table(kind, found, include=request.query.get("includeObject", "Metadata"))
        body["metadata"] = {"resourceVersion": str(registry.store.revision)}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")
    return web.Response(
        body=msgspec.json.encode(_list_of(kind, registry, found)), content_type="application/json"
    )


def _list_of(kind: Kind, registry: Registry, found: list[Any]) -> dict[str, Any]:
    metadata = {"resourceVersion": str(registry.store.revision)}
    return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": found}


async def _one(request: web.Request, kind: Kind, namespace: str, name: str, sub: str) -> web.StreamResponse:
    registry, dry = request.app[REGISTRY], request.query.get("dryRun") == "All"
    match request.method:
        case "GET":
            return _answer(request, kind, registry.get(kind, namespace, name), 200)
        case "PUT":
            made = await registry.update(
                kind, namespace, name, await _body(request), subresource=sub, dry_run=dry
            )
            return _answer(request, kind, made, 200)
        case "PATCH":
            return _answer(
                request, kind, await _patched(request, registry, kind, namespace, name, sub, dry=dry), 200
            )
        case "DELETE":
            options = await _body(request) if request.can_read_body else {}
            gone = await registry.delete(
                kind, namespace, name, uid=(options.get("preconditions") or {}).get("uid", ""),
                propagation=request.query.get("propagationPolicy") or options.get("propagationPolicy") or "Background",
                grace_seconds=_grace(request, options), dry_run=dry or options.get("dryRun") == ["All"],
            )  # fmt: skip
            return _answer(request, kind, gone, 200)
    raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _grace(request: web.Request, options: dict[str, Any]) -> int | None:
    given = request.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
    return None if given is None else int(given)


async def _patched(
    request: web.Request, registry: Registry, kind: Kind, namespace: str, name: str, sub: str, *, dry: bool
) -> Any:
    patch = await _body(request)
    for _ in range(
        5
    ):  # another writer may be quicker; a patch without resourceVersion means the newest state
        old = registry.get(kind, namespace, name)
        match request.content_type:
            case "application/json-patch+json":
                made = json_patch(old, patch)
            case "application/merge-patch+json":
                made = merge_patch(old, patch)
            case "application/strategic-merge-patch+json" if not kind.custom:
                made = strategic_merge_patch(old, patch, ANYTHING)
            case other:
                raise ApiError(
                    415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {other}"
                )
        try:
            return await registry.update(kind, namespace, name, made, subresource=sub, dry_run=dry)
        except ApiError as refused:
            if refused.code != 409 or "resourceVersion" in (
                patch.get("metadata") or {} if isinstance(patch, dict) else {}
            ):
                raise
            await asyncio.sleep(0)
    raise ApiError(
        409, "Conflict", f"{kind.resource} {name} changes faster than it can be patched: try again"
    )


async def _body(request: web.Request) -> Any:
    raw = await request.read()
    try:
        if request.content_type == "application/yaml":
            return yaml.safe_load(raw)
        return msgspec.json.decode(raw) if raw else {}
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {wrong}") from wrong


def _answer(request: web.Request, kind: Kind, obj: Any, status: int) -> web.Response:
    body = (
        tables.table(kind, [obj], include=request.query.get("includeObject", "Metadata"))
        if as_table(request) and request.method == "GET"
        else obj
    )
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", status=status)


def selected(request: web.Request, objects: list[Any]) -> list[Any]:
    """Those that pass the selectors of a request."""
    by_labels = selectors.by_labels(request.query.get("labelSelector", ""))
    by_fields = selectors.by_fields(request.query.get("fieldSelector", ""))
    return [it for it in objects if by_labels(it) and by_fields(it)]


def as_table(request: web.Request) -> bool:
    """Whether kubectl asks for rows."""
    return "as=Table" in request.headers.get("Accept", "")


def truth(request: web.Request, name: str) -> bool:
    """A boolean as Go reads it."""
    return request.query.get(name, "").lower() in ("1", "t", "true")
