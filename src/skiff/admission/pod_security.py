"""May these pods run in this namespace? Its labels ``pod-security.kubernetes.io/*`` say which standard it keeps.

https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from skiff.admission.pod_security_checks import violations
from skiff.admission.pods import TEMPLATES, described
from skiff.admission.request import Request, Stored, forbidden
from skiff.api import Object
from skiff.apiserver import context
from skiff.errors import invalid
from skiff.kinds import NAMESPACES, PODS, Kind
from skiff.log import Log

KINDS: tuple[Kind, ...] = (PODS, NAMESPACES, *sorted(TEMPLATES, key=str))
_PREFIX = "pod-security.kubernetes.io/"
_LEVELS = ("privileged", "baseline", "restricted")
_MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]{0,3})", re.ASCII)
_MOST_PODS, _MOST_S = 3000, 0.1

_log = Log()


class Policy(NamedTuple):
    """A level and the version of the standard that is meant."""

    level: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


def policies(labels: dict[str, str]) -> dict[str, Policy]:
    """By mode. A value that is none counts as the strictest, as in the real one."""
    made = {}
    for mode in _MODES:
        level, version = labels.get(_PREFIX + mode), labels.get(f"{_PREFIX}{mode}-version", "latest")
        if level is None:
            level = "privileged"
        elif level not in _LEVELS:
            level = "restricted" if mode == "enforce" else "privileged"
        made[mode] = Policy(level, version if _VERSION.fullmatch(version) else "latest")
    enforced = made["enforce"]
    if f"{_PREFIX}warn" not in labels and enforced.level != "privileged":
        made["warn"] = enforced  # whoever writes a template hears what its pods will hear
    return made


def _said(policy: Policy, metadata: Object, spec: Object) -> str:
    found = violations(policy.level, policy.version, metadata, spec)
    return ", ".join(f"{what} ({detail})" if detail else what for what, detail in found)


class PodSecurity:
    """Refuses pods, warns about templates, and about pods that a namespace has when its labels change."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def validate(self, request: Request) -> None:
        """403 for a pod that its namespace forbids."""
        if request.obj is None or request.subresource not in ("", "ephemeralcontainers"):
            return
        if request.kind is NAMESPACES:
            self._namespace(request, request.obj)
            return
        found = self._stored.get(NAMESPACES, "", request.namespace) or {"metadata": {}}
        labels = found["metadata"].get("labels") or {}
        if any(it.startswith(_PREFIX) for it in labels):
            self._judge(request, request.obj, policies(labels))

    def _judge(self, request: Request, obj: Object, modes: dict[str, Policy]) -> None:
        pod = described(request.kind, obj)
        if pod is None or (request.old is not None and not _matters(request, obj, request.old)):
            return
        if request.kind is PODS and (said := _said(modes["enforce"], *pod)):
            raise forbidden(request, f'violates PodSecurity "{modes["enforce"]}": {said}')
        if said := _said(modes["warn"], *pod):
            context.warn(f'would violate PodSecurity "{modes["warn"]}": {said}')
        if said := _said(modes["audit"], *pod):
            _log.info("would violate PodSecurity", policy=str(modes["audit"]), kind=request.kind.kind,
                      namespace=request.namespace, name=request.name, reason=said)  # fmt: skip

    def _namespace(self, request: Request, obj: Object) -> None:
        labels = obj["metadata"].get("labels") or {}
        before = ((request.old or {}).get("metadata") or {}).get("labels") or {}
        changed = {
            it for it in {*labels, *before} if it.startswith(_PREFIX) and labels.get(it) != before.get(it)
        }
        if not changed:
            return
        wrong = list(_wrong_labels(labels))
        if wrong and (request.old is None or not set(_wrong_labels(before)) >= set(wrong)):
            raise invalid("Namespace", "", request.name, wrong)
        now, then = policies(labels)["enforce"], policies(before)["enforce"]
        if request.old is not None and now != then and _LEVELS.index(now.level) >= _LEVELS.index(then.level):
            context.warn(*self._existing(request.name, now))

    def _existing(self, namespace: str, policy: Policy) -> Iterator[str]:
        pods = self._stored.all(PODS, namespace)
        found: dict[str, list[str]] = {}
        looked, end = 0, time.monotonic() + _MOST_S
        for it in pods[:_MOST_PODS]:
            looked += 1
            what = ", ".join(
                name for name, _ in violations(policy.level, policy.version, it["metadata"], it["spec"])
            )
            if what:
                found.setdefault(what, []).append(it["metadata"]["name"])
            if time.monotonic() > end:
                break
        if len(pods) > looked:
            yield f"new PodSecurity enforce level only checked against the first {looked} of {len(pods)} existing pods"
        if found:
            yield f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{policy}"'
        yield from sorted(_line(names, what) for what, names in found.items())


def _line(names: list[str], what: str) -> str:
    more = len(names) - 1
    others = "" if not more else f" (and {more} other {'pod' if more == 1 else 'pods'})"
    return f"{min(names)}{others}: {what}"


def _wrong_labels(labels: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for mode in _MODES:
        level, version = labels.get(_PREFIX + mode), labels.get(f"{_PREFIX}{mode}-version")
        if level is not None and level not in _LEVELS:
            said = f'Invalid value: "{level}": must be one of {", ".join(_LEVELS)}'
            yield "FieldValueInvalid", said, f"metadata.labels[{_PREFIX}{mode}]"
        if version is not None and not _VERSION.fullmatch(version):
            said = f'Invalid value: "{version}": must be "latest" or "v1.x"'
            yield "FieldValueInvalid", said, f"metadata.labels[{_PREFIX}{mode}-version]"


def _matters(request: Request, new: Object, old: Object) -> bool:
    """Whether an update changes what the standards look at; of a pod, little can change."""
    if request.kind is not PODS:
        return described(request.kind, new) != described(request.kind, old)
    return new.get("spec") != old.get("spec") or new["metadata"].get("annotations") != old["metadata"].get(
        "annotations"
    )
