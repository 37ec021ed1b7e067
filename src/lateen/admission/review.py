"""The answer to one AdmissionReview: injection of pods, refusal of what is wrong. Bytes in, bytes out, no I/O.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from lateen.api.crds import DEFINITIONS
from lateen.api.validate import validate
from lateen.injection.advice import advice
from lateen.injection.annotations import InjectionError
from lateen.injection.decide import decide
from lateen.injection.inject import inject
from lateen.injection.patch import diff
from lateen.injection.settings import InjectionSettings
from lateen.names.problems import Problem, Severity
from lateen.policy import unsupported

Object = dict[str, Any]

_VERSION = "admission.k8s.io/v1"
_COUNTED = frozenset((it.group, version, it.plural) for it in DEFINITIONS for version in it.versions)


class Question(NamedTuple):
    """What the API server sent."""

    page: str  # "inject" or "validate"
    body: bytes
    rest: str = ""  # of the path, after /inject/
    settings: InjectionSettings | str = ""  # for injection; a text says why they cannot be read


class Answer(NamedTuple):
    """What it is told, which counters that moves (name and labels), and what the log should say."""

    status: int
    body: bytes
    counted: tuple[tuple[str, ...], ...] = ()
    warning: str = ""


class _UnreadableError(ValueError):
    """The body is no review; the message says why."""


def answered(question: Question) -> Answer:
    """Never raises for what the body holds."""
    try:
        asked = _asked(question.body)
    except _UnreadableError as wrong:
        return Answer(400, f"{wrong}\n".encode())
    return _injected(asked, question) if question.page == "inject" else _validated(asked)


def _asked(body: bytes) -> Object:
    try:
        review = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise _UnreadableError(f"the body is no JSON: {wrong}") from wrong
    found = review.get("request") if isinstance(review, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("uid"), str):
        raise _UnreadableError("the body is no AdmissionReview with a request and its uid")
    if review.get("apiVersion") != _VERSION or review.get("kind") != "AdmissionReview":
        said = f"{review.get('apiVersion')} {review.get('kind')}"[:200]
        raise _UnreadableError(f"{said} is not understood: send {_VERSION} AdmissionReview")
    return found


def _answer(asked: Object, warnings: Sequence[str] = (), **response: Any) -> bytes:
    said = {"uid": asked["uid"], **response, **({"warnings": list(warnings)} if warnings else {})}
    return json.dumps({"apiVersion": _VERSION, "kind": "AdmissionReview", "response": said}).encode()


def _refusal(
    asked: Object, message: str, warnings: Sequence[str] = (), *, code: int = 400, reason: str = "BadRequest"
) -> bytes:
    status = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "code": code,
    }  # fmt: skip
    return _answer(asked, warnings, allowed=False, status=status)


def _injected(asked: Object, question: Question) -> Answer:
    pod, settings = asked.get("object"), question.settings
    if not isinstance(pod, dict):
        return Answer(200, _answer(asked, allowed=True))  # a deletion
    if isinstance(settings, str):
        said = _refusal(asked, f"the sidecar cannot be added: {settings}", code=500, reason="InternalError")
        return Answer(200, said, (("asked",), ("failed",)), f"no pod can be injected: {settings}")
    namespace = str(asked.get("namespace") or "default")
    settings = _of_path(question.rest, settings)
    if not decide(pod, namespace, settings).inject:
        return Answer(200, _answer(asked, allowed=True), (("asked",), ("skipped",)))
    try:
        made = inject(pod, settings, namespace=namespace)
    except InjectionError as wrong:
        said = _refusal(asked, f"the sidecar cannot be added: {wrong}")
        return Answer(200, said, (("asked",), ("failed",)))
    patch = base64.b64encode(json.dumps(diff(pod, made)).encode()).decode()
    said = _answer(asked, list(advice(pod)), allowed=True, patchType="JSONPatch", patch=patch)
    return Answer(200, said, (("asked",), ("injected",)))


def _of_path(rest: str, settings: InjectionSettings) -> InjectionSettings:
    """``cluster/east/net/n1/KEY/value``: what the webhook of a remote cluster says of it; other words are variables."""
    words = [it.replace("--slash--", "/") for it in rest.split("/") if it]
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    cluster, network = pairs.pop("cluster", settings.cluster), pairs.pop("net", settings.network)
    variables = {name.upper(): value for name, value in pairs.items()}
    return dataclasses.replace(settings, cluster=cluster, network=network, added_environment=variables)


def _validated(asked: Object) -> Answer:
    obj = asked.get("object")
    if not isinstance(obj, dict) or _going(obj):
        return Answer(200, _answer(asked, allowed=True))  # who removes a finalizer need not fix the rest
    metadata = obj.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("namespace") and asked.get("namespace"):
        obj = {**obj, "metadata": {**metadata, "namespace": asked["namespace"]}}
    problems = (*validate(obj), *unsupported.in_document(obj))
    errors = [_said(it) for it in problems if it.severity is Severity.ERROR]
    warnings = [_said(it) for it in problems if it.severity is Severity.WARNING]
    labels = _labels(asked.get("resource"))
    if errors:
        said = _refusal(asked, f"configuration is invalid: {'; '.join(errors)}", warnings)
        return Answer(200, said, (("refused", *labels, "invalid_resource"),))
    return Answer(200, _answer(asked, warnings, allowed=True), (("passed", *labels),))


def _labels(resource: Any) -> tuple[str, str, str]:
    """Of the counters: words that anybody may send are counted together, since each would live for ever."""
    named = resource if isinstance(resource, dict) else {}
    found = tuple(str(named.get(it) or "") for it in ("group", "version", "resource"))
    group, version, plural = found if found in _COUNTED else ("other", "other", "other")
    return group, version, plural


def _going(obj: Object) -> bool:
    metadata = obj.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("deletionTimestamp"))


def _said(it: Problem) -> str:
    if it.path:
        return f"{it.path}: {it.message}"
    return f"{it.kind} {it.namespace}/{it.name}: {it.message}" if it.name else it.message
