"""Who is a program in a container? User, groups and capabilities: one answer for the container and for what is executed in it."""

from __future__ import annotations

from typing import Any

#: What containers of Docker may do, but for making devices: there is no control group here that would keep them from
#: the machine's disks. A non-root user has none of it.
_DEFAULT = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot audit_write"
    " setfcap"
)
_NOBODY = 65534


def security(pod: dict[str, Any], spec: dict[str, Any], user: int | None = None) -> dict[str, Any]:
    """The pod's security context with the container's over it; ``user`` is the image's.

    Images here have no users, so a container that must not be root and names no user becomes nobody.
    """
    said = {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
    if said.get("runAsUser") is None and user is not None:
        said["runAsUser"] = user
    if said.get("runAsNonRoot") and said.get("runAsUser") is None:
        said["runAsUser"] = _NOBODY
    return said


def identity(security: dict[str, Any]) -> list[str]:
    """The setpriv command which takes the user, groups and capabilities of a security context."""
    user = int(security.get("runAsUser") or 0)
    group = int(security.get("runAsGroup") or 0)
    groups = sorted({*(security.get("supplementalGroups") or []), *filter(None, [security.get("fsGroup")])})
    said = security.get("capabilities") or {}
    dropped = {name.lower().removeprefix("cap_") for name in said.get("drop") or []}
    kept = set() if "all" in dropped else set(_DEFAULT.split()) - dropped
    kept |= {name.lower().removeprefix("cap_") for name in said.get("add") or []}
    # A process which becomes another user forgets with whom it has to end: it is told again.
    command = ["/usr/bin/setpriv", "--pdeathsig=KILL", f"--reuid={user}", f"--regid={group}"]
    command.append(f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups")
    if not (security.get("privileged") or "all" in kept):
        listed = "".join(f",+{name}" for name in sorted(kept))
        command += [f"--bounding-set=-all{listed}", "--inh-caps=-all"]
    if security.get("allowPrivilegeEscalation") is False:
        command.append("--no-new-privs")
    return command
