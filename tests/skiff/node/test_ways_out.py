"""Does a container stay inside, when it lies about what is where? Files over the kernel's, the host's devices, strange words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NULL = Path("/dev/null")
FOREVER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


@pytest.fixture(scope="module")
def it(new_cluster: type[Cluster]) -> Iterator[Cluster]:
    with new_cluster() as made:
        yield made


def pod(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": [container], **spec},
    }  # fmt: skip


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "busybox", "command": ["sh", "-c", script], **more}


def python(script: str, **more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "python:3.11", "args": ["-c", script], **more}


def told(it: Cluster, name: str) -> dict[str, Any]:
    """The status of its only container, as far as there is one."""
    found = it.objects("pod", name)
    every: list[dict[str, Any]] = found[0].get("status", {}).get("containerStatuses") or [{}]
    return every[0]


def state(it: Cluster, name: str) -> dict[str, Any]:
    return told(it, name).get("state") or {}


@pytest.mark.finding("issue 7 redteam")
def test_what_lies_over_the_kernels_files_gives_no_capabilities(it: Cluster) -> None:
    """The last capability is not what a volume at /proc/sys/kernel/cap_last_cap says: with -1 none was dropped."""
    it.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lies"}, "data": {"last": "-1"}},
        pod("direct", shell(FOREVER, volumeMounts=[
            {"name": "lies", "mountPath": "/proc/sys/kernel/cap_last_cap", "subPath": "last"},
        ]), volumes=[{"name": "lies", "configMap": {"name": "lies"}}]),
        # The same by way of a link in a volume, which is found when all others are mounted.
        pod("linked", shell(FOREVER, volumeMounts=[
            {"name": "empty", "mountPath": "/v"}, {"name": "lies", "mountPath": "/v/link/cap_last_cap", "subPath": "last"},
        ]), initContainers=[shell("ln -s /proc/sys/kernel /v/link", volumeMounts=[{"name": "empty", "mountPath": "/v"}])
                            | {"name": "first"}],
            volumes=[{"name": "lies", "configMap": {"name": "lies"}}, {"name": "empty", "emptyDir": {}}]),
        pod("usual", shell(FOREVER)),
    )  # fmt: skip
    said = {}
    for name in ("linked", "usual"):
        it.until(lambda it_=name: state(it, it_).keys() & {"running", "terminated"}, f"{name} runs")
        if "running" in state(it, name):
            said[name] = it.kubectl("exec", name, "--", "grep", "Cap", "/proc/self/status").stdout
    assert set(said.values()) == {said["usual"]}
    refused = it.until(lambda: state(it, "direct").get("waiting", {}).get("message"), "it is told why")
    assert "inside /proc" in refused


@pytest.mark.finding("issue 7 redteam")
def test_the_hosts_devices_are_in_nobodys_hand(it: Cluster) -> None:
    """What root holds open it may change: the rights of the host's /dev/null are everybody's."""
    before = NULL.stat().st_mode
    probe = {"exec": {"command": ["chmod", "0660", "/proc/self/fd/0"]}, "periodSeconds": 1}
    it.apply(
        pod("device", shell(f"chmod 0660 /proc/self/fd/0 && echo done; {FOREVER}", startupProbe=probe)),
    )
    try:
        it.until(lambda: told(it, "device").get("started"), "it was probed")
        assert it.kubectl("logs", "device").stdout == "done\n"
        assert NULL.stat().st_mode == before
    finally:
        NULL.chmod(before & 0o7777)


@pytest.mark.finding("issue 7 redteam")
def test_a_terminal_is_made_of_the_containers_own_only(it: Cluster) -> None:
    """A link where its terminals should be leads the daemon to no file of the host; the answer says what is wrong."""
    watched = it.folder / "watched"
    os.mkfifo(watched)
    script = f"ln -s {watched} /dev/pts/ptmx; {FOREVER}"
    mounts = [{"name": "v", "mountPath": "/dev/pts"}]
    it.apply(pod("terminals", shell(script, volumeMounts=mounts), volumes=[{"name": "v", "emptyDir": {}}]))
    it.until(lambda: "running" in state(it, "terminals"), "it runs")
    said = it.run("script", "-qec", "kubectl exec -it terminals -- id", "/dev/null", check=False)
    assert "no terminals" in said.stdout or "symbolic links" in said.stdout, said.stdout
    assert "uid=" in it.kubectl("exec", "terminals", "--", "id").stdout


@pytest.mark.finding("issue 7 redteam")
def test_variables_of_any_bytes_keep_nobody_out(it: Cluster) -> None:
    """A program may change what /proc tells of its variables; probes and commands go on."""
    script = (
        "import os; os.execve(b'/bin/sleep', [b'sleep', b'10000'], {b'\\xff\\xfe': b'\\xfd', b'good': b'1'})"
    )
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    it.apply(pod("bytes", python(script, readinessProbe=probe)))
    it.kubectl("wait", "--for=condition=Ready", "pod/bytes", "--timeout=60s")
    assert it.kubectl("exec", "bytes", "--", "printenv", "good").stdout == "1\n"


@pytest.mark.finding("issue 7 redteam")
def test_probes_reach_the_nodes_network_and_not_this_machines(it: Cluster) -> None:
    """A host that a probe names is asked for where a kubelet would: 127.0.0.1 is the node's, not that of the daemon."""
    server = "import http.server as h; h.HTTPServer(('127.0.0.1', 8099), h.SimpleHTTPRequestHandler).serve_forever()"

    def probed(**probe: Any) -> dict[str, Any]:
        return {"readinessProbe": {"periodSeconds": 1, "failureThreshold": 1, **probe}}

    http = {"httpGet": {"host": "127.0.0.1", "port": 8099}}
    inside = {"tcpSocket": {"host": "127.0.0.1", "port": 6443}}  # the API server of this machine
    it.apply(
        pod("outside", python(server, **probed(**http)), hostNetwork=True),
        pod("tcp", shell(FOREVER, **probed(**inside))),
        pod(
            "http",
            shell(FOREVER, **probed(httpGet={**inside["tcpSocket"], "scheme": "HTTPS", "path": "/livez"})),
        ),
    )
    it.kubectl("wait", "--for=condition=Ready", "pod/outside", "--timeout=60s")
    for name in ("tcp", "http"):
        field = f"--field-selector=reason=Unhealthy,involvedObject.name={name}"
        it.until(lambda given=field: it.objects("events", given), "it is told why")
        assert not told(it, name).get("ready")
