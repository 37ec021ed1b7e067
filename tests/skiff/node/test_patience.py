"""Does a pod wait when the machine refuses what it needs, and live once it is granted?"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "patient"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "it", "image": "busybox", "command": ["sleep", "1000"]}],
    },
}  # fmt: skip

#: Refuses the links of pods (their namespaces are called by their addresses) while a file is there: a kernel that is short of something.
IP = """#!/bin/sh
case "$*" in "-n skiff-"*"-0af4"*" -batch -") [ -e {refusing} ] && echo "RTNETLINK answers: Cannot allocate memory" >&2 && exit 2;; esac
exec {ip} "$@"
"""


def test_what_the_kernel_refuses_is_asked_for_again(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    refusing = it.folder / "refusing"
    refusing.touch()
    programs = it.folder / "programs"
    programs.mkdir()
    path = it.environment["PATH"]
    (programs / "ip").write_text(IP.format(refusing=refusing, ip=shutil.which("ip", path=path)))
    (programs / "ip").chmod(0o755)
    it.environment["PATH"] = f"{programs}:{path}"
    try:
        it.start()
        it.apply(POD)
        it.until(
            lambda: "FailedCreatePodSandBox" in it.kubectl("get", "events").stdout, "the refusal is told"
        )
        said = it.kubectl("describe", "pod", "patient").stdout
        assert "Cannot allocate memory" in said
        assert len(it.run("ip", "netns", "list").stdout.splitlines()) == 1  # nothing half is left
        refusing.unlink()
        it.kubectl("wait", "--for=condition=Ready", "pod/patient", "--timeout=60s")
        refusing.touch()
        it.kubectl("replace", "--force", "-f", "-", stdin=str(POD).replace("'", '"'))
        it.kubectl("delete", "pod", "patient", "--timeout=30s")  # a pod without a place can be deleted
    finally:
        it.end()
