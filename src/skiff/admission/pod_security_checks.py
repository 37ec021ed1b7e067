"""What do the levels ``baseline`` and ``restricted`` forbid? One small question each, in the words of the real one.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ . Pods that ask for a user namespace get no relief:
containers here have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from skiff.admission.pods import containers
from skiff.api import Object

#: (what is forbidden, the details); None when all is well.
Violation = tuple[str, str]
Version = tuple[int, int]
_ANY: Version = (1, 0)
_LATEST: Version = (9999, 0)


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of a level, from some version on."""

    look: Callable[[Object, Object, Version], Violation | None]
    since: Version = _ANY
    restricted: bool = False
    instead: Callable[[Object, Object, Version], Violation | None] | None = (
        None  # a milder one it takes the place of
    )


def _context(it: Object) -> Object:
    found: Object = it.get("securityContext") or {}
    return found


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{it}"' for it in names)


def _several(one: str, count: int, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"


def _containers(names: list[str]) -> str:
    return f"{_several('container', len(names))} {_quoted(names)}"


def _bad(spec: Object, wrong: Callable[[Object], bool]) -> list[str]:
    return [it.get("name", "") for it in containers(spec) if wrong(it)]


def _setters(spec: Object, wrong: Callable[[Object], bool]) -> list[str]:
    """``pod``, ``container "a"``: whose security context is wrong."""
    named = _bad(spec, lambda it: wrong(_context(it)))
    return (["pod"] if wrong(_context(spec)) else []) + ([_containers(named)] if named else [])


# --- baseline ------------------------------------------------------------------------------------

_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
        "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
_SYSCTLS: tuple[tuple[Version, frozenset[str]], ...] = (
    ((1, 0), frozenset({
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    })),
    ((1, 27), frozenset({"net.ipv4.ip_local_reserved_ports"})),
    ((1, 29), frozenset({
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    })),
    ((1, 32), frozenset({"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"})),
)  # fmt: skip
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t")


def _app_armor(metadata: Object, spec: Object, _: Version) -> Violation | None:
    bad = [
        f'{name}="{value}"' for name, value in sorted((metadata.get("annotations") or {}).items())
        if name.startswith(_APPARMOR) and value not in ("", "runtime/default") and not str(value).startswith("localhost/")
    ]  # fmt: skip

    def unconfined(context: Object) -> bool:
        return (context.get("appArmorProfile") or {}).get("type") not in (None, "RuntimeDefault", "Localhost")

    found: list[Any] = [_context(spec), *map(_context, containers(spec))]
    types = sorted({it["appArmorProfile"]["type"] for it in found if unconfined(it)})
    if types:
        said = f"{' and '.join(_setters(spec, unconfined))} must not set AppArmor profile type to {_quoted(types)}"
        bad.append(said)
    return (_several("forbidden AppArmor profile", len(bad)), ", ".join(bad)) if bad else None


def _capabilities(_: Object, spec: Object, __: Version) -> Violation | None:
    def forbidden(it: Object) -> set[str]:
        return set((_context(it).get("capabilities") or {}).get("add") or ()) - _CAPABILITIES

    named = _bad(spec, lambda it: bool(forbidden(it)))
    if not named:
        return None
    words = sorted({name for it in containers(spec) for name in forbidden(it)})
    return (
        "non-default capabilities",
        f"{_containers(named)} must not include {_quoted(words)} in securityContext.capabilities.add",
    )


def _host_namespaces(_: Object, spec: Object, __: Version) -> Violation | None:
    found = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return ("host namespaces", ", ".join(found)) if found else None


def _host_paths(_: Object, spec: Object, __: Version) -> Violation | None:
    named = [it.get("name", "") for it in spec.get("volumes") or () if it.get("hostPath") is not None]
    return ("hostPath volumes", f"{_several('volume', len(named))} {_quoted(named)}") if named else None


def _host_ports(_: Object, spec: Object, __: Version) -> Violation | None:
    used = {
        it.get("name", ""): sorted(
            {port["hostPort"] for port in it.get("ports") or () if port.get("hostPort")}
        )
        for it in containers(spec)
    }
    named = [name for name, ports in used.items() if ports]
    if not named:
        return None
    ports = sorted({port for it in used.values() for port in it}, key=str)
    use = f"{_several('uses', len(named), 'use')} {_several('hostPort', len(ports))} {', '.join(map(str, ports))}"
    return "hostPort", f"{_containers(named)} {use}"


def _hosts(it: Object) -> set[str]:
    handlers = [it.get(name) or {} for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [(it.get("lifecycle") or {}).get(name) or {} for name in ("postStart", "preStop")]
    return {
        host
        for one in handlers
        for way in ("httpGet", "tcpSocket")
        if (host := (one.get(way) or {}).get("host"))
    }


def _probes(_: Object, spec: Object, __: Version) -> Violation | None:
    named = sorted(_bad(spec, lambda it: bool(_hosts(it))))
    if not named:
        return None
    hosts = sorted({host for it in containers(spec) for host in _hosts(it)})
    use = f"{_several('uses', len(named), 'use')} {_several('probe or lifecycle host', len(hosts))} {_quoted(hosts)}"
    return "probe or lifecycle host", f"{_containers(named)} {use}"


def _privileged(_: Object, spec: Object, __: Version) -> Violation | None:
    named = _bad(spec, lambda it: bool(_context(it).get("privileged")))
    return (
        ("privileged", f"{_containers(named)} must not set securityContext.privileged=true")
        if named
        else None
    )


def _proc_mount(_: Object, spec: Object, __: Version) -> Violation | None:
    def set_to(it: Object) -> str:
        return str(_context(it).get("procMount") or "Default")

    named = _bad(spec, lambda it: set_to(it) != "Default")
    words = sorted({set_to(it) for it in containers(spec)} - {"Default"})
    return (
        ("procMount", f"{_containers(named)} must not set securityContext.procMount to {_quoted(words)}")
        if named
        else None
    )


def _selinux(_: Object, spec: Object, version: Version) -> Violation | None:
    types = (*_SELINUX, "container_engine_t") if version >= (1, 31) else _SELINUX

    def wrong(context: Object) -> bool:
        held = context.get("seLinuxOptions") or {}
        return (held.get("type") or "") not in types or bool(held.get("user")) or bool(held.get("role"))

    setters = _setters(spec, wrong)
    if not setters:
        return None
    held = [it.get("seLinuxOptions") or {} for it in (_context(spec), *map(_context, containers(spec)))]
    bad = sorted({it.get("type") or "" for it in held} - set(types))
    said = [f"{_several('type', len(bad))} {_quoted(bad)}"] if bad else []
    said += [f"{word} may not be set" for word in ("user", "role") if any(it.get(word) for it in held)]
    return (
        "seLinuxOptions",
        f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}",
    )


def _profile(context: Object) -> str | None:
    found = context.get("seccompProfile")
    return None if found is None else str(found.get("type") or "")


def _seccomp_baseline(_: Object, spec: Object, __: Version) -> Violation | None:
    def wrong(context: Object) -> bool:
        return _profile(context) not in (None, "RuntimeDefault", "Localhost")

    setters = _setters(spec, wrong)
    if not setters:
        return None
    bad = sorted(
        {str(_profile(it)) for it in (_context(spec), *map(_context, containers(spec))) if wrong(it)}
    )
    return (
        "seccompProfile",
        f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {_quoted(bad)}",
    )


def _sysctls(_: Object, spec: Object, version: Version) -> Violation | None:
    allowed = {name for since, names in _SYSCTLS if version >= since for name in names}
    bad = [str(it.get("name")) for it in _context(spec).get("sysctls") or () if it.get("name") not in allowed]
    return ("forbidden sysctls", ", ".join(bad)) if bad else None


def _host_process(_: Object, spec: Object, __: Version) -> Violation | None:
    setters = _setters(spec, lambda it: bool((it.get("windowsOptions") or {}).get("hostProcess")))
    said = f"{' and '.join(reversed(setters))} must not set securityContext.windowsOptions.hostProcess=true"
    return ("hostProcess", said) if setters else None


# --- restricted ----------------------------------------------------------------------------------

_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
)


def _escalation(_: Object, spec: Object, __: Version) -> Violation | None:
    named = _bad(spec, lambda it: _context(it).get("allowPrivilegeEscalation") is not False)
    said = "must set securityContext.allowPrivilegeEscalation=false"
    return ("allowPrivilegeEscalation != false", f"{_containers(named)} {said}") if named else None


def _all_dropped(_: Object, spec: Object, __: Version) -> Violation | None:
    def held(it: Object) -> Object:
        return _context(it).get("capabilities") or {}

    def forbidden(it: Object) -> set[str]:
        return set(held(it).get("add") or ()) - {"NET_BIND_SERVICE"}

    said = []
    if named := _bad(spec, lambda it: "ALL" not in (held(it).get("drop") or ())):
        said.append(f'{_containers(named)} must set securityContext.capabilities.drop=["ALL"]')
    if named := _bad(spec, lambda it: bool(forbidden(it))):
        words = sorted({name for it in containers(spec) for name in forbidden(it)})
        said.append(
            f"{_containers(named)} must not include {_quoted(words)} in securityContext.capabilities.add"
        )
    return ("unrestricted capabilities", "; ".join(said)) if said else None


def _volumes(_: Object, spec: Object, __: Version) -> Violation | None:
    bad = {
        it.get("name", ""): next((key for key in it if key != "name"), "unknown")
        for it in spec.get("volumes") or () if not any(it.get(form) is not None for form in _VOLUMES)
    }  # fmt: skip
    if not bad:
        return None
    types = sorted(set(bad.values()))
    use = f"{_several('uses', len(bad), 'use')} restricted volume {_several('type', len(types))} {_quoted(types)}"
    return "restricted volume types", f"{_several('volume', len(bad))} {_quoted(bad)} {use}"


def _non_root(_: Object, spec: Object, __: Version) -> Violation | None:
    if setters := _setters(spec, lambda it: it.get("runAsNonRoot") is False):
        return (
            "runAsNonRoot != true",
            f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false",
        )
    if _context(spec).get("runAsNonRoot"):
        return None
    named = _bad(spec, lambda it: _context(it).get("runAsNonRoot") is None)
    return (
        ("runAsNonRoot != true", f"pod or {_containers(named)} must set securityContext.runAsNonRoot=true")
        if named
        else None
    )


def _user(_: Object, spec: Object, __: Version) -> Violation | None:
    setters = _setters(spec, lambda it: it.get("runAsUser") == 0)
    return ("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


def _seccomp_restricted(metadata: Object, spec: Object, version: Version) -> Violation | None:
    if wrong := _seccomp_baseline(metadata, spec, version):
        return wrong
    if _profile(_context(spec)) is not None:
        return None
    named = _bad(spec, lambda it: _profile(_context(it)) is None)
    said = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return ("seccompProfile", f"pod or {_containers(named)} {said}") if named else None


#: In the order in which the real one lists what is wrong.
CHECKS: tuple[Check, ...] = (
    Check(_app_armor), Check(_capabilities), Check(_host_namespaces), Check(_host_paths), Check(_host_ports),
    Check(_probes, (1, 34)), Check(_privileged), Check(_proc_mount), Check(_selinux), Check(_seccomp_baseline), Check(_sysctls),
    Check(_host_process),
    Check(_escalation, (1, 8), restricted=True), Check(_all_dropped, (1, 22), restricted=True, instead=_capabilities),
    Check(_volumes, restricted=True, instead=_host_paths), Check(_non_root, restricted=True),
    Check(_user, (1, 23), restricted=True), Check(_seccomp_restricted, (1, 19), restricted=True, instead=_seccomp_baseline),
)  # fmt: skip


def violations(level: str, version: str, metadata: Object, spec: Object) -> Iterator[Violation]:
    """What a pod does that its level forbids."""
    number = _LATEST if version == "latest" else (1, int(version.removeprefix("v1.")))
    if level == "privileged":
        return
    active = [it for it in CHECKS if number >= it.since and (level == "restricted" or not it.restricted)]
    replaced = {it.instead for it in active if it.instead}
    for it in active:
        if it.look not in replaced and (found := it.look(metadata, spec, number)):
            yield found
