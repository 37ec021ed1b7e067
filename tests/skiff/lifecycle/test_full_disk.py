"""What does a cluster do while nothing can be written? It refuses writes, reads go on, and it recovers by itself."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster


POST = """
import json, ssl, sys, urllib.error, urllib.request
home = sys.argv[1]
tls = ssl.create_default_context(cafile=f"{home}/ca.pem")
tls.load_cert_chain(f"{home}/admin.crt", f"{home}/admin.key")
body = json.dumps({"metadata": {"name": "large"}, "data": {"a": "x" * 100_000}}).encode()
url = "https://127.0.0.1:6443/api/v1/namespaces/default/configmaps"
asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
try:
    answer = urllib.request.urlopen(asked, context=tls)
except urllib.error.HTTPError as refused:
    answer = refused
print(json.dumps([answer.status, json.load(answer)]))
"""


def post_large(it: Cluster) -> tuple[int, dict[str, Any]]:
    """Not by kubectl, which tries a refused write again for ten seconds."""
    status, said = json.loads(it.python(POST, str(it.home)).stdout)
    return status, said


def pod(name: str, flags: str, script: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    volume = {"name": "v", "hostPath": {"path": flags}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 600, "containers": [container], "volumes": [volume]}}  # fmt: skip


@pytest.mark.root
@pytest.mark.finding("issue 7 part 1")
def test_a_full_disk_refuses_writes_and_nothing_else(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    try:
        it.machine()
        it.home.mkdir()
        it.run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(it.home))
        it.run("skiff", "start")
        daemon = it.run("skiff", "status", "-o", "json").stdout
        it.kubectl("create", "configmap", "before")
        flags = it.folder / "flags"
        flags.mkdir()
        it.apply(pod("ends", str(flags), "until [ -e /v/end ]; do sleep 0.1; done"),
                 pod("leaves", str(flags), "trap 'until [ -e /v/end ]; do sleep 0.1; done; exit 0' TERM; while :; do sleep 0.1; done"))  # fmt: skip
        it.kubectl("wait", "--for=condition=Ready", "pod", "ends", "leaves")
        it.kubectl("delete", "pod", "leaves", "--wait=false")
        it.run("sh", "-c", f"cat /dev/zero > {it.home}/filler", check=False)
        status, said = post_large(it)
        assert (status, said["reason"]) == (503, "ServiceUnavailable")
        assert "the database could not be written (database or disk is full)" in said["message"]
        ready = it.kubectl("get", "--raw", "/readyz", check=False)
        assert "the database cannot be written" in ready.stderr, ready
        assert it.objects("configmap", "before")
        assert not it.objects("configmap", "large")
        (flags / "end").touch()
        it.until(lambda: "/v/end" not in it.run("ps", "-eww", "-o", "args=").stdout, "both programs end")
        time.sleep(1.0)  # nothing of it can be written
        assert {each["status"]["phase"] for each in it.objects("pods")} == {"Running"}
        it.run("rm", f"{it.home}/filler")
        it.until(
            lambda: not it.kubectl("get", "--raw", "/readyz", check=False).returncode, "it is ready again"
        )
        assert post_large(it)[0] == 201
        it.until(lambda: not it.objects("pod", "leaves"), "what was deleted goes")
        it.until(
            lambda: it.objects("pod", "ends")[0]["status"]["phase"] == "Succeeded",
            "what happened meanwhile is told",
        )
        it.kubectl("run", "after", "--image=busybox", "--restart=Never", "--", "true")
        it.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/after", "--timeout=60s")
        assert it.run("skiff", "status", "-o", "json").stdout == daemon  # the same process all the time
    finally:
        it.end()


@pytest.mark.root
@pytest.mark.finding("issue 7 part 1")
def test_a_damaged_database_is_named_in_one_line_and_kept(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    try:
        it.machine()
        it.home.mkdir(mode=0o700)
        (it.home / "cluster.db").write_text("this is no database\n" * 100)
        said = it.run("skiff", "start", check=False)
        assert said.returncode == 1
        assert (
            f"{it.home}/cluster.db, which holds the cluster's objects, cannot be read: file is not a database"
            in said.stderr
        )
        assert "Traceback" not in said.stderr + it.log()
        assert (it.home / "cluster.db").read_text().startswith("this is no database\n")
    finally:
        it.end()
