"""What does a container run, as whom, with which variables and files? Its own words before its image's."""

from __future__ import annotations

from typing import Any, Protocol

from skiff.api import Object
from skiff.node.environment import (
    CannotStartError,
    Found,
    container_environment,
    expand,
    service_variables,
)
from skiff.node.host import Host
from skiff.node.identity import security
from skiff.node.images import Image
from skiff.node.mounts import Mounts
from skiff.node.process import Place
from skiff.node.root import PATH, PROGRAMS, Among, Plan


class House(Place, Protocol):
    """The pod, as far as it says how its containers are made."""

    pod: Object
    host: Host
    netns: str

    def hostname(self) -> str: ...
    def among(self, spec: Object) -> Among | None: ...


async def planned(house: House, spec: Object, image: Image, mounts: Mounts) -> Plan:
    """Everything needed to start a container; CannotStartError when it refers to what is not there."""
    metadata, said = house.pod["metadata"], security(house.pod, spec, image.user)
    if said.get("runAsNonRoot") and not said.get("runAsUser"):
        raise CannotStartError(
            "container's runAsUser breaks non-root policy "
            f'(pod: "{metadata["namespace"]}/{metadata["name"]}", container: {spec["name"]})'
        )
    argv, env = program(
        house.pod, spec, image, said, house.hostname(), await mounts.found(), house.host.services(), house.host.whole()
    )  # fmt: skip
    return Plan(
        house.netns, house.hostname(), argv, env, spec.get("workingDir") or "/", mounts.of_container(spec, env), said,
        image.applets, image.commands, house.folder / "roots" / spec["name"], house.home, house.limits.fresh(spec),
        image.shown, house.among(spec),
    )  # fmt: skip


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
