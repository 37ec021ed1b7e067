"""Which rights may a pod and its containers ask for? Not whether they get them: what makes no sense at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from skiff.schema.walk import Problem
from skiff.validation.problems import (
    between,
    duplicate,
    entries,
    forbidden,
    invalid,
    listed,
    one_of,
    part,
    required,
    text,
    texts,
)  # fmt: skip

_MOST = 2**31 - 1
_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def container_context(it: dict[str, Any], path: str, *, users: bool) -> Iterator[Problem]:
    """A container's ``securityContext``; ``users``: whether the pod shares the host's users."""
    for field in ("runAsUser", "runAsGroup"):
        yield from between(f"{path}.{field}", it.get(field), 0, _MOST)
    mount = text(it, "procMount")
    yield from one_of(f"{path}.procMount", mount, ("Default", "Unmasked"))
    if mount == "Unmasked" and users:
        yield invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    if it.get("allowPrivilegeEscalation") is False:
        said = "cannot set `allowPrivilegeEscalation` to false and "
        if it.get("privileged"):
            yield invalid(path, it, f"{said}`privileged` to true")
        if {"CAP_SYS_ADMIN", "SYS_ADMIN"} & set(texts(part(it, "capabilities"), "add")):
            yield invalid(path, it, f"{said}`capabilities.Add` CAP_SYS_ADMIN")
    yield from _profiles(it, path)


def pod_context(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """A pod's ``securityContext``, and what it shares with the host."""
    it, path_ = part(spec, "securityContext"), f"{path}.securityContext"
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        yield from between(f"{path_}.{field}", it.get(field), 0, _MOST)
    for index, group in enumerate(listed(it, "supplementalGroups")):
        yield from between(f"{path_}.supplementalGroups[{index}]", group, 0, _MOST)
    change = it.get("fsGroupChangePolicy")
    yield from one_of(f"{path_}.fsGroupChangePolicy", change, ("Always", "OnRootMismatch"))
    groups = it.get("supplementalGroupsPolicy")
    yield from one_of(f"{path_}.supplementalGroupsPolicy", groups, ("Merge", "Strict"))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        said = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, said)
    if spec.get("hostUsers") is False:
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield forbidden(f"{path}.{field}", "when `hostUsers` is false")
    yield from _sysctls(spec, it, path_)
    yield from _profiles(it, path_)


def _sysctls(spec: dict[str, Any], it: dict[str, Any], path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for where, entry in entries(it, "sysctls", path):
        name = text(entry, "name")
        if not name:
            yield required(f"{where}.name")
        elif len(name) > 253 or not re.fullmatch(_SYSCTL, name):
            yield invalid(
                f"{where}.name", name, f"must have at most 253 characters and match regex ^{_SYSCTL}$"
            )
        elif name.replace("/", ".") in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name.replace("/", "."))
        if name.startswith("net.") and spec.get("hostNetwork"):
            yield invalid(f"{where}.name", name, "may not be specified when 'hostNetwork' is true")
        if name.startswith(("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")) and spec.get("hostIPC"):
            yield invalid(f"{where}.name", name, "may not be specified when 'hostIPC' is true")


def _profiles(it: dict[str, Any], path: str) -> Iterator[Problem]:
    for field, word in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
        if isinstance(profile := it.get(field), dict):
            where, sort = f"{path}.{field}", text(profile, "type")
            yield from one_of(f"{where}.type", sort, _PROFILES, needed=True)
            file = text(profile, "localhostProfile")
            if sort == "Localhost" and not file:
                yield required(f"{where}.localhostProfile", f"must be set when {word} type is Localhost")
            elif sort != "Localhost" and file:
                said = f"can only be set when {word} type is Localhost"
                yield invalid(f"{where}.localhostProfile", file, said)
