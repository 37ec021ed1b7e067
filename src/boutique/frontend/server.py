"""Which address shows which page? Routes, cookies, and errors with their reasons."""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from aiohttp import web

from boutique import caller, logs, rpc, settings
from boutique.frontend import forms, pages, pictures
from boutique.frontend.shop import Cart, Shop, Visitor, is_refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION_COOKIE, CURRENCY_COOKIE = "shop_session-id", "shop_currency"
_COOKIE_S = 48 * 3600
#: Nobody waits longer for a page, whatever it needs.
_PAGE_S = 12.0
_GRACE_S = 2.5
#: Longer than proxies keep idle connections (Envoy: one hour): the server must never be the one who hangs up,
#: or a request already on its way is lost.
_KEEP_ALIVE_S = 3630.0
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STYLE = Path(__file__).with_name("style.css").read_bytes()
_STYLE_URL = f"/static/style.css?{hashlib.sha256(_STYLE).hexdigest()[:8]}"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATUS = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.PERMISSION_DENIED: 403,
}

SHOP = web.AppKey("shop", Shop)
STOP = web.AppKey("stop", asyncio.Event)
VISITOR = web.RequestKey("visitor", Visitor)


def main() -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(settings.listen_address(), settings.port(8080)))


def application(shop: Shop, stop: asyncio.Event) -> web.Application:
    """All pages over a shop; once ``stop`` is set connections are closed after their answer."""
    app = web.Application(middlewares=[_around], client_max_size=64 << 10)
    app[SHOP], app[STOP] = shop, stop
    app.add_routes([
        web.get("/", _home), web.get("/product/{id}", _product), web.get("/cart", _cart),
        web.post("/cart", _add), web.post("/cart/empty", _empty), web.post("/cart/checkout", _order),
        web.post("/setCurrency", _set_currency), web.get("/logout", _logout),
        web.get("/static/style.css", _style), web.get("/static/pictures/{id}.svg", _picture),
        web.get("/robots.txt", _robots), web.get("/_healthz", _healthz),
    ])  # fmt: skip
    return app


async def _serve(address: str, port: int) -> None:
    stop, shop = rpc.stop_signal(), Shop()
    runner = web.AppRunner(
        application(shop, stop), access_log=None, keepalive_timeout=_KEEP_ALIVE_S, shutdown_timeout=_GRACE_S
    )
    await runner.setup()
    site = web.TCPSite(runner, address or None, port)
    try:
        await site.start()
    except OSError as refused:
        logs.say("error", f"cannot listen on {address}:{port}: {refused.strerror}")
        raise SystemExit(1) from None
    logs.say("info", "listening", service="frontend", port=runner.addresses[0][1])
    await stop.wait()
    # Callers learn of a leaving pod a moment after it is told to leave; until then they are served.
    await asyncio.sleep(settings.drain_s())
    await runner.cleanup()
    await shop.close()
    logs.say("info", "stopped", service="frontend")


@web.middleware
async def _around(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path == "/_healthz":
        return await handler(request)
    session = request.cookies.get(SESSION_COOKIE, "")
    known = bool(_SESSION.fullmatch(session))
    visitor = Visitor(session if known else str(uuid.uuid4()), request.cookies.get(CURRENCY_COOKIE, "USD"))
    request[VISITOR] = visitor
    caller.enter(request.headers.items(), _PAGE_S)
    response = await _answered(request, handler)
    if not known and not request.path.startswith(("/static/", "/logout", "/robots.txt")):
        _set_cookie(request, response, SESSION_COOKIE, visitor.session)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app[STOP].is_set():
        response.force_close()
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer, or a page which says why there is none."""
    try:
        return await handler(request)
    except forms.RefusedFormError as refused:
        return _error(request, 422, *refused.reasons)
    except rpc.UpstreamError as failed:
        status = _STATUS.get(failed.code, 502)
        logs.say("warning" if status < 500 else "error", str(failed), path=request.path, status=status)
        return _error(request, status, f"{failed.service}: {failed.reason}")
    except web.HTTPException as refused:
        return _error(request, refused.status, refused.reason)
    except Exception as bug:  # noqa: BLE001  # one boundary: a bug fails one page, not the shop
        logs.say("error", f"{type(bug).__name__}: {bug}", path=request.path, status=500)
        return _error(request, 500, f"a mistake in the shop itself: {type(bug).__name__}")


async def _home(request: web.Request) -> web.StreamResponse:
    query = request.query.get("q", "").strip()[:100]
    return _html(pages.home(await request.app[SHOP].home(request[VISITOR], query), _STYLE_URL))


async def _product(request: web.Request) -> web.StreamResponse:
    found = await request.app[SHOP].product(request[VISITOR], request.match_info["id"])
    return _html(pages.product(found, _STYLE_URL))


async def _cart(request: web.Request) -> web.StreamResponse:
    return _html(pages.cart(await request.app[SHOP].cart(request[VISITOR]), _STYLE_URL))


async def _add(request: web.Request) -> web.StreamResponse:
    product, quantity = forms.addition(await _form(request))
    await request.app[SHOP].add(request[VISITOR], product, quantity)
    return _go("/cart")


async def _empty(request: web.Request) -> web.StreamResponse:
    await request.app[SHOP].empty(request[VISITOR])
    return _go("/")


async def _order(request: web.Request) -> web.StreamResponse:
    """A refused order shows the cart again, with what was typed and with the reasons."""
    shop, visitor, form = request.app[SHOP], request[VISITOR], await _form(request)
    try:
        done = await shop.order(visitor, forms.order(form))
    except (forms.RefusedFormError, rpc.UpstreamError) as refused:
        if isinstance(refused, rpc.UpstreamError) and not is_refusal(refused):
            raise
        reasons = refused.reasons if isinstance(refused, forms.RefusedFormError) else (_why(refused),)
        typed = {name: value for name, value in form.items() if isinstance(value, str)}
        shown: Cart = await shop.cart(visitor)
        return _html(pages.cart(shown, _STYLE_URL, typed=typed, reasons=reasons), 422)
    logs.say("info", "order placed", order_id=done.id)
    return _html(pages.order(done, _STYLE_URL))


async def _set_currency(request: web.Request) -> web.StreamResponse:
    code = forms.currency(await _form(request))
    response = _go(_way_back(request))
    _set_cookie(request, response, CURRENCY_COOKIE, code)
    return response


async def _logout(_request: web.Request) -> web.StreamResponse:
    response = _go("/")
    for name in (SESSION_COOKIE, CURRENCY_COOKIE):
        response.del_cookie(name, path="/", httponly=True, samesite="Lax")
    return response


async def _style(_request: web.Request) -> web.StreamResponse:
    return _static(_STYLE, "text/css")


async def _picture(request: web.Request) -> web.StreamResponse:
    return _static(pictures.file(request.match_info["id"]).encode(), "image/svg+xml")


async def _robots(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="User-agent: *\nDisallow: /\n")


async def _healthz(request: web.Request) -> web.StreamResponse:
    """Says nothing of other services: starting this one anew would not help them."""
    if request.app[STOP].is_set():
        return web.Response(text="leaving", status=503)
    return web.Response(text="ok")


async def _form(request: web.Request) -> Mapping[str, Any]:
    try:
        return await request.post()
    except (
        ValueError,
        LookupError,
    ) as unreadable:  # bytes of no such encoding, no such encoding, no boundary
        raise forms.RefusedFormError(f"The form cannot be read: {unreadable}") from None


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def _error(request: web.Request, status: int, *reasons: str) -> web.Response:
    trace = request.headers.get("x-request-id", "")
    return _html(pages.error(status, reasons, trace, _STYLE_URL), status)


def _static(content: bytes, kind: str) -> web.Response:
    headers = {"Cache-Control": "public, max-age=86400"}
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)


def _go(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


def _way_back(request: web.Request) -> str:
    """The page the visitor came from, if it is one of ours; never another site's."""
    came = urlsplit(request.headers.get("Referer", ""))
    if came.netloc != request.host or not re.fullmatch(r"/([^/\\].*)?", came.path):
        return "/"
    # A refused order is shown under an address which only takes forms.
    path = "/cart" if came.path.startswith("/cart/") else came.path
    return f"{path}?{came.query}" if came.query else path


def _set_cookie(request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
    secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
    response.set_cookie(
        name, value, max_age=_COOKIE_S, path="/", httponly=True, samesite="Lax", secure=secure
    )


def _why(refused: rpc.UpstreamError) -> str:
    """The last service's own words: each one before it has put its name in front."""
    words = refused.reason.rpartition(": ")[2]
    return words[:1].upper() + words[1:]
