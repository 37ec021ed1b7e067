"""What does the control plane answer the API server? Injection of pods, refusal of what is wrong.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import Counter

from lateen.injection.annotations import InjectionError
from lateen.injection.decide import decide
from lateen.injection.inject import advice, inject
from lateen.injection.patch import diff
from lateen.injection.settings import InjectionSettings, SettingsError
from lateen.names.problems import Problem, Severity

_log = structlog.get_logger("lateen.admission")

Object = dict[str, Any]

ASKED = Counter("sidecar_injection_requests_total", "Pods that we were asked about.")
INJECTED = Counter("sidecar_injection_success_total", "Pods that got their sidecar.")
SKIPPED = Counter("sidecar_injection_skip_total", "Pods that were asked about and got none.")
FAILED = Counter("sidecar_injection_failure_total", "Pods that could not be injected.")
PASSED = Counter("galley_validation_passed", "Objects found valid.", ["group", "version", "resource"])
REFUSED = Counter("galley_validation_failed", "Objects refused.", ["group", "version", "resource", "reason"])

_LARGEST = 8 * 1024 * 1024
_VERSION = "admission.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Whom the pages ask."""

    settings: Callable[[], InjectionSettings]
    validate: Callable[[Object], Sequence[Problem]]


_HOOKS = web.AppKey("hooks", Webhooks)


def webhook_application(
    settings: Callable[[], InjectionSettings], validate: Callable[[Object], Sequence[Problem]]
) -> web.Application:
    """``/inject``, ``/inject/...`` (with settings of a remote cluster in the path) and ``/validate``."""
    app = web.Application(client_max_size=_LARGEST, middlewares=[_last_resort])
    app[_HOOKS] = Webhooks(settings, validate)
    app.router.add_post("/inject", _inject)
    app.router.add_post("/inject/{rest:.*}", _inject)
    app.router.add_post("/validate", _validate)
    app.router.add_get("/ready", _ready)
    return app


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


async def _asked(request: web.Request) -> Object:
    try:
        review = await request.json()
    except (ValueError, RecursionError) as wrong:
        raise web.HTTPBadRequest(text=f"the body is no JSON: {wrong}\n") from wrong
    found = review.get("request") if isinstance(review, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("uid"), str):
        raise web.HTTPBadRequest(text="the body is no AdmissionReview with a request and its uid\n")
    if review.get("apiVersion") != _VERSION or review.get("kind") != "AdmissionReview":
        said = f"{review.get('apiVersion')} {review.get('kind')}"
        raise web.HTTPBadRequest(text=f"{said} is not understood: send {_VERSION} AdmissionReview\n")
    return found


def _answer(asked: Object, warnings: Sequence[str] = (), **response: Any) -> web.Response:
    said = {"uid": asked["uid"], **response, **({"warnings": list(warnings)} if warnings else {})}
    return web.json_response({"apiVersion": _VERSION, "kind": "AdmissionReview", "response": said})


def _refusal(
    asked: Object, message: str, warnings: Sequence[str] = (), *, code: int = 400, reason: str = "BadRequest"
) -> web.Response:
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code,
    }  # fmt: skip
    return _answer(asked, warnings, allowed=False, status=status)


async def _inject(request: web.Request) -> web.Response:
    hooks, asked = request.app[_HOOKS], await _asked(request)
    pod = asked.get("object")
    if not isinstance(pod, dict):
        return _answer(asked, allowed=True)  # a deletion
    ASKED.inc()
    namespace = str(asked.get("namespace") or "default")
    try:
        settings = _of_path(request.match_info.get("rest", ""), hooks.settings())
        if not (decision := decide(pod, namespace, settings)).inject:
            SKIPPED.inc()
            _log.debug("a pod gets no sidecar", namespace=namespace, reason=decision.reason)
            return _answer(asked, allowed=True)
        made = inject(pod, settings, namespace=namespace)
    except InjectionError as wrong:
        FAILED.inc()
        return _refusal(asked, f"the sidecar cannot be added: {wrong}")
    except SettingsError as wrong:
        FAILED.inc()
        _log.warning("no pod can be injected", reason=str(wrong))
        return _refusal(asked, f"the sidecar cannot be added: {wrong}", code=500, reason="InternalError")
    INJECTED.inc()
    patch = base64.b64encode(json.dumps(diff(pod, made)).encode()).decode()
    return _answer(asked, list(advice(pod)), allowed=True, patchType="JSONPatch", patch=patch)


def _of_path(rest: str, settings: InjectionSettings) -> InjectionSettings:
    """``cluster/east/net/n1/KEY/value``: what the webhook of a remote cluster says of it; other words are variables."""
    words = [it.replace("--slash--", "/") for it in rest.split("/") if it]
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    cluster, network = pairs.pop("cluster", settings.cluster), pairs.pop("net", settings.network)
    variables = {name.upper(): value for name, value in pairs.items()}
    return dataclasses.replace(settings, cluster=cluster, network=network, added_environment=variables)


async def _validate(request: web.Request) -> web.Response:
    hooks, asked = request.app[_HOOKS], await _asked(request)
    obj = asked.get("object")
    if not isinstance(obj, dict) or _going(obj):
        return _answer(asked, allowed=True)  # who removes a finalizer need not mend the rest
    resource = asked.get("resource")
    named = resource if isinstance(resource, dict) else {}
    labels = tuple(str(named.get(it) or "") for it in ("group", "version", "resource"))
    metadata = obj.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("namespace") and asked.get("namespace"):
        obj = {**obj, "metadata": {**metadata, "namespace": asked["namespace"]}}
    problems = hooks.validate(obj)
    errors = [_said(it) for it in problems if it.severity is Severity.ERROR]
    warnings = [_said(it) for it in problems if it.severity is Severity.WARNING]
    if errors:
        REFUSED.labels(*labels, "invalid_resource").inc()
        return _refusal(asked, f"configuration is invalid: {'; '.join(errors)}", warnings)
    PASSED.labels(*labels).inc()
    return _answer(asked, warnings, allowed=True)


def _going(obj: Object) -> bool:
    metadata = obj.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("deletionTimestamp"))


def _said(it: Problem) -> str:
    return f"{it.path}: {it.message}" if it.path else it.message
