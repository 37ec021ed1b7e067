"""What does the control plane answer the API server? Pages of webhooks; what they answer is worked out elsewhere.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client import Counter

from lateen.admission.gate import LARGEST, FullError, Gate
from lateen.admission.review import Answer, Question
from lateen.admission.workers import SlowError, Workers
from lateen.injection.settings import InjectionSettings, SettingsError

_log = structlog.get_logger("lateen.admission")

ASKED = Counter("sidecar_injection_requests_total", "Pods that we were asked about.")
INJECTED = Counter("sidecar_injection_success_total", "Pods that got their sidecar.")
SKIPPED = Counter("sidecar_injection_skip_total", "Pods that were asked about and got none.")
FAILED = Counter("sidecar_injection_failure_total", "Pods that could not be injected.")
PASSED = Counter("galley_validation_passed", "Objects found valid.", ["group", "version", "resource"])
REFUSED = Counter("galley_validation_failed", "Objects refused.", ["group", "version", "resource", "reason"])
_COUNTERS = {
    "asked": ASKED, "injected": INJECTED, "skipped": SKIPPED, "failed": FAILED, "passed": PASSED, "refused": REFUSED,
}  # fmt: skip

#: Reading, waiting and work together: less than the 10 s after which the API server gives up.
PATIENCE_S = 9.0

Settings = Callable[[], InjectionSettings]


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Whom the pages ask."""

    settings: Settings
    workers: Workers
    gate: Gate
    patience_s: float


_HOOKS = web.AppKey("hooks", Webhooks)


def webhook_application(
    settings: Settings, *, workers: Workers | None = None, patience_s: float = PATIENCE_S
) -> web.Application:
    """``/inject``, ``/inject/...`` (with settings of a remote cluster in the path) and ``/validate``.

    The workers start and stop with the application.
    """
    app = web.Application(client_max_size=LARGEST, middlewares=[_last_resort])
    app[_HOOKS] = Webhooks(settings, workers or Workers(), Gate(), patience_s)
    app.cleanup_ctx.append(_working)
    app.router.add_post("/inject", _inject)
    app.router.add_post("/inject/{rest:.*}", _inject)
    app.router.add_post("/validate", _validate)
    app.router.add_get("/ready", _ready)
    return app


async def _working(app: web.Application) -> AsyncIterator[None]:
    app[_HOOKS].workers.start()
    yield
    await app[_HOOKS].workers.stop()


@web.middleware
async def _last_resort(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A bug is told once in the log; the API server does what the webhook's failurePolicy says."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception as bug:  # noqa: BLE001  # the boundary of this server
        _log.exception("a webhook failed: this is a bug", path=request.path)
        return web.Response(status=500, text=f"the webhook failed: {bug!r}\n")


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _inject(request: web.Request) -> web.Response:
    found: InjectionSettings | str
    try:
        found = request.app[_HOOKS].settings()
    except SettingsError as wrong:
        found = str(wrong)
    return await _answered(request, "inject", request.match_info.get("rest", ""), found)


async def _validate(request: web.Request) -> web.Response:
    return await _answered(request, "validate")


async def _answered(
    request: web.Request, page: str, rest: str = "", settings: InjectionSettings | str = ""
) -> web.Response:
    hooks, address = request.app[_HOOKS], request.remote or "?"
    try:
        async with asyncio.timeout(hooks.patience_s):
            answer = await _worked_out(hooks, address, request, Question(page, b"", rest, settings))
    except TimeoutError:
        answer = Answer(504, f"no answer within {hooks.patience_s:g} s\n".encode())
    except FullError as full:
        answer = Answer(429, f"{full}\n".encode())
    except SlowError as slow:
        answer = Answer(504, f"{slow}\n".encode())
    for name, *labels in answer.counted:
        counter = _COUNTERS[name]
        (counter.labels(*labels) if labels else counter).inc()
    if answer.warning:
        _log.warning("a webhook refused", reason=answer.warning)
    kind = "application/json" if answer.status == 200 else "text/plain"
    response = web.Response(status=answer.status, body=answer.body, content_type=kind)
    if request.content.is_eof():
        return response
    response.force_close()  # the rest of the body is not waited for
    return response


async def _worked_out(hooks: Webhooks, address: str, request: web.Request, asked: Question) -> Answer:
    held, parts = 0, list[bytes]()
    hooks.gate.enter(address)
    try:
        async for part in request.content.iter_any():
            hooks.gate.take(address, len(part))
            held += len(part)
            parts.append(part)
            if held > LARGEST:
                return Answer(413, f"a review has at most {LARGEST} bytes\n".encode())
        body = b"".join(parts)
        parts.clear()
        return await hooks.workers.ask(address, asked._replace(body=body))
    finally:
        hooks.gate.leave(address, held)
