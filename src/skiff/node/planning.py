"""What does a container run, and with which variables? Its own words before its image's."""

from __future__ import annotations

from typing import Any

from skiff.api import Object
from skiff.node.environment import (
    CannotStartError,
    Found,
    container_environment,
    expand,
    service_variables,
)
from skiff.node.images import Image
from skiff.node.root import PATH, PROGRAMS


def program(
    pod: Object, spec: Object, image: Image, security: dict[str, Any], hostname: str, found: Found,
    services: dict[tuple[str, str], Object], whole: dict[str, str],
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """(words, variables) of a container's program; CannotStartError when nobody names one."""
    links = pod["spec"].get("enableServiceLinks", True)
    before = {
        **image.env, "HOSTNAME": hostname, "HOME": "/tmp" if security.get("runAsUser") else "/root",  # noqa: S108
        **service_variables(services, pod["metadata"]["namespace"], links),
    }  # fmt: skip
    if image.applets or image.commands:
        before["PATH"] = f"{PROGRAMS}:{PATH}"
    env = container_environment(pod, spec, found, before, whole)
    command = [expand(it, env) for it in spec.get("command") or ()]
    given = [expand(it, env) for it in spec.get("args") or ()]
    argv = [*command, *given] if command else [*image.entrypoint, *(given or image.args)]
    if not argv:
        raise CannotStartError(
            f'neither the container nor its image "{spec.get("image", "")}" names a command'
        )
    return argv, env
