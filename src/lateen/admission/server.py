"""What does the control plane answer the API server? Injection of pods, refusal of what is wrong.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import Counter

from lateen.injection.decide import decide
from lateen.injection.inject import inject
from lateen.injection.patch import diff
from lateen.injection.settings import InjectionSettings, SettingsError
from lateen.names.problems import Problem, Severity

_log = structlog.get_logger("lateen.admission")

Object = dict[str, Any]

INJECTED = Counter("sidecar_injection_success_total", "Pods that got their sidecar.")
SKIPPED = Counter("sidecar_injection_skip_total", "Pods that were asked about and got none.")
FAILED = Counter("sidecar_injection_failure_total", "Pods that could not be injected.")
PASSED = Counter("galley_validation_passed", "Objects found valid.", ["group", "resource"])
REFUSED = Counter("galley_validation_failed", "Objects refused.", ["group", "resource"])

_LARGEST = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Whom the pages ask."""

    settings: Callable[[], InjectionSettings]
    namespace_labels: Callable[[str], Mapping[str, str]]
    validate: Callable[[Object], Sequence[Problem]]


_HOOKS = web.AppKey("hooks", Webhooks)


def webhook_application(
    settings: Callable[[], InjectionSettings], namespace_labels: Callable[[str], Mapping[str, str]],
    validate: Callable[[Object], Sequence[Problem]],
) -> web.Application:  # fmt: skip
    """``/inject``, ``/inject/...`` (Istio's paths for remote clusters) and ``/validate``."""
    app = web.Application(client_max_size=_LARGEST)
    app[_HOOKS] = Webhooks(settings, namespace_labels, validate)
    app.router.add_post("/inject", _inject)
    app.router.add_post("/inject/{rest:.*}", _inject)
    app.router.add_post("/validate", _validate)
    app.router.add_get("/ready", _ready)
    return app


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _asked(request: web.Request) -> Object:
    try:
        review = await request.json()
        found = review["request"]
        if not isinstance(found, dict) or "uid" not in found:
            raise TypeError("the review holds no request")
    except (ValueError, KeyError, TypeError) as wrong:
        raise web.HTTPBadRequest(text=f"this is no AdmissionReview: {wrong}\n") from wrong
    return found


def _answer(asked: Object, **response: Any) -> web.Response:
    body = {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": asked["uid"], **response},
    }  # fmt: skip
    return web.json_response(body)


def _refusal(asked: Object, message: str, *, code: int = 400, reason: str = "BadRequest") -> web.Response:
    status = {"code": code, "reason": reason, "message": message}
    return _answer(asked, allowed=False, status=status)


async def _inject(request: web.Request) -> web.Response:
    hooks, asked = request.app[_HOOKS], await _asked(request)
    pod = asked.get("object") or {}
    namespace = asked.get("namespace") or (pod.get("metadata") or {}).get("namespace") or "default"
    try:
        settings = hooks.settings()
        decision = decide(pod, namespace, hooks.namespace_labels(namespace), settings)
        if not decision.inject:
            SKIPPED.inc()
            return _answer(asked, allowed=True)
        made = inject(pod, settings, namespace=namespace)
    except (SettingsError, KeyError, TypeError, AttributeError) as wrong:
        FAILED.inc()
        _log.warning("a pod could not be injected", namespace=namespace, reason=repr(wrong))
        return _refusal(asked, f"the sidecar could not be added: {wrong!r}")
    INJECTED.inc()
    patch = base64.b64encode(json.dumps(diff(pod, made)).encode()).decode()
    return _answer(asked, allowed=True, patchType="JSONPatch", patch=patch)


async def _validate(request: web.Request) -> web.Response:
    hooks, asked = request.app[_HOOKS], await _asked(request)
    resource = asked.get("resource") or {}
    labels = (str(resource.get("group", "")), str(resource.get("resource", "")))
    obj = asked.get("object")
    if not isinstance(obj, dict):
        return _answer(asked, allowed=True)  # a deletion
    problems = hooks.validate(obj)
    errors = [it for it in problems if it.severity is Severity.ERROR]
    warnings = [f"{it.path}: {it.message}" for it in problems if it.severity is Severity.WARNING]
    if errors:
        REFUSED.labels(*labels).inc()
        return _refusal(
            asked, "configuration is invalid: " + "; ".join(f"{it.path}: {it.message}" for it in errors)
        )
    PASSED.labels(*labels).inc()
    return _answer(asked, allowed=True, **({"warnings": warnings} if warnings else {}))
