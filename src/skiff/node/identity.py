"""Who is a program in a container, and what may it do? One answer for the container and for what is executed in it."""

from __future__ import annotations

from typing import Any

from skiff.node import seccomp
from skiff.node.environment import CannotStartError

#: The kernel's numbers of capabilities are their places here.
_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service"
    " net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin"
    " sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override"
    " mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
_CAPABILITIES = _NAMES.split()
#: What containers of Docker may do, but for making devices: there is no control group here that would keep them from
#: the machine's disks. A non-root user has none of it.
_DEFAULT = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot audit_write"
    " setfcap"
)
_NOBODY = 65534


def security(pod: dict[str, Any], spec: dict[str, Any], user: int | None = None) -> dict[str, Any]:
    """The pod's security context with the container's over it; ``user`` is the image's.

    Images here have no users, so a container that must not be root and names no user becomes nobody. CannotStartError
    when it asks for what there is not.
    """
    said = {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
    if said.get("runAsUser") is None and user is not None:
        said["runAsUser"] = user
    if said.get("runAsNonRoot") and said.get("runAsUser") is None:
        said["runAsUser"] = _NOBODY
    profile = said.get("seccompProfile") or {}
    if profile.get("type") == "Localhost":
        name = profile.get("localhostProfile", "")
        raise CannotStartError(
            f'cannot load seccomp profile "{name}": skiff has RuntimeDefault and Unconfined only'
        )
    _capabilities(said)
    return said


def identity(security: dict[str, Any]) -> dict[str, Any]:
    """User, groups, capabilities and filter of a security context, as ``launch`` takes them."""
    kept, every = _capabilities(security)
    profile = (security.get("seccompProfile") or {}).get("type")
    unfiltered = security.get("privileged") or profile == "Unconfined"
    groups = {*(security.get("supplementalGroups") or []), *filter(None, [security.get("fsGroup")])}
    return {
        "user": int(security.get("runAsUser") or 0),
        "group": int(security.get("runAsGroup") or 0),
        "groups": sorted(map(int, groups)),
        "capabilities": None if every else sum(1 << _CAPABILITIES.index(it) for it in kept),
        "no_new_privileges": security.get("allowPrivilegeEscalation") is False,
        "filter": b"" if unfiltered else seccomp.program(frozenset(_CAPABILITIES if every else kept)),
    }


def _capabilities(security: dict[str, Any]) -> tuple[set[str], bool]:
    """(those it has, whether it has all there are)."""
    said = security.get("capabilities") or {}
    dropped = {name.lower().removeprefix("cap_") for name in said.get("drop") or []}
    kept = set() if "all" in dropped else set(_DEFAULT.split()) - dropped
    kept |= {name.lower().removeprefix("cap_") for name in said.get("add") or []}
    every = bool(security.get("privileged")) or "all" in kept
    for it in sorted(kept - {"all"}):
        if it not in _CAPABILITIES:
            raise CannotStartError(f'unknown capability "CAP_{it.upper()}": see capabilities(7)')
    return kept - {"all"}, every
