"""Does a cluster begin, rest, survive and end without leaving anything? In a private machine of its own."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
                "containers": [{
                    "name": "web", "image": "python:3", "args": ["-m", "http.server", "8080"],
                    "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    "securityContext": {"runAsUser": 1000},
                }, {
                    # Nobody tells the kernel again with whom it has to end.
                    "name": "changed", "image": "python:3",
                    "args": ["-c", "import os, time; os.setuid(1000); time.sleep(1000)"],
                }],
            },
        },
    },
}  # fmt: skip
SERVICE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}  # fmt: skip

#: Whatever a cluster could leave on a machine.
TRACES = (
    ("ip", "netns", "list"), ("ip", "-o", "link"), ("ip", "-4", "route"), ("nft", "list", "ruleset"),
    ("sh", "-c", "cut -d' ' -f4,5 /proc/self/mountinfo | sort"), ("ps", "-eww", "-o", "args="),
    ("sh", "-c", "find /dev /run -xdev -maxdepth 3 | sort; ls -d /sys/fs/cgroup/*/skiff* 2>/dev/null; true"),
)  # fmt: skip


def traces(it: Cluster) -> dict[str, list[str]]:
    ignored = ("ps -e", "sh -c", "find ", "cut ", "ip ", "nft ", "grep ")
    return {
        argv[-1]: [
            line.split(" qdisc")[0]
            for line in it.run(*argv).stdout.splitlines()
            if not line.startswith(ignored)
        ]
        for argv in TRACES
    }


def serves(it: Cluster) -> bool:
    ingress = it.objects("service", "web")[0]["status"].get("loadBalancer", {}).get("ingress")
    if not ingress:
        return False
    said = it.python(
        "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).status)", f"http://{ingress[0]['ip']}/",
        check=False,
    )  # fmt: skip
    return said.stdout == "200\n"


def test_a_cluster_from_its_beginning_to_its_end(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    config = it.folder / "kubeconfig"
    mine = {
        "apiVersion": "v1", "kind": "Config", "current-context": "mine",
        "clusters": [{"name": "mine", "cluster": {"server": "https://mine.example"}}],
        "users": [{"name": "mine", "user": {"token": "x"}}],
        "contexts": [{"name": "mine", "context": {"cluster": "mine", "user": "mine"}}],
    }  # fmt: skip
    config.write_text(yaml.safe_dump(mine))
    try:
        it.machine()
        before = traces(it)
        said = it.run("skiff", "start").stdout
        assert "starting the cluster in" in said
        assert "is Ready" in said
        assert "already running" in it.run("skiff", "start").stdout
        held = yaml.safe_load(config.read_text())
        assert held["current-context"] == "skiff"
        assert [c["name"] for c in held["contexts"]] == ["mine", "skiff"]
        assert config.stat().st_mode & 0o777 == 0o600
        assert it.home.stat().st_mode & 0o777 == 0o700
        it.apply(DEPLOYMENT, SERVICE)
        it.until(lambda: serves(it), "the service answers through its load balancer")
        uids = {p["metadata"]["uid"] for p in it.objects("pods")}
        it.kubectl("create", "job", "once", "--image=busybox", "--", "echo", "done")
        it.kubectl("wait", "--for=condition=complete", "job/once", "--timeout=30s")

        it.run("skiff", "stop")
        assert it.run("skiff", "status", check=False).returncode == 3
        assert "Stopped" in it.run("skiff", "status", check=False).stdout
        assert not [line for line in traces(it)["args="] if "http.server" in line]
        it.run("skiff", "start")
        it.until(lambda: serves(it), "the service answers again")
        assert it.kubectl("logs", "job/once").stdout == "done\n"  # kept, and not run again
        assert it.objects("job", "once")[0]["status"]["succeeded"] == 1
        it.kubectl("delete", "job", "once")
        it.until(lambda: len(list((it.home / "pods").iterdir())) == 2, "its files are gone")
        assert {p["metadata"]["uid"] for p in it.objects("pods")} == uids
        assert "2 (" in it.kubectl("get", "pods").stdout  # both containers were restarted, and it says so
        last = it.objects("pods")[0]["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert last["reason"] == "Unknown"

        kill(it)
        assert "containers: 4 go on" in " ".join(it.run("skiff", "status", check=False).stdout.split())
        assert it.run("skiff", "stop").stdout == "ending all pods\nstopped\n"
        it.until(
            lambda: not [a for a in traces(it)["args="] if "http.server" in a], "stop ends what goes on, too"
        )
        it.run("skiff", "start")
        it.until(lambda: serves(it), "the service answers after kill -9")
        mounts = it.kubectl("exec", "deployment/web", "-c", "web", "--", "cat", "/proc/mounts").stdout
        assert "tmpfs /memory tmpfs" in mounts  # a volume in memory is one again
        assert (
            len([a for a in traces(it)["args="] if a.endswith("http.server 8080") and "sh -c" not in a]) == 2
        )
        assert len([a for a in traces(it)["list"] if a.startswith("skiff-")]) == 3

        (it.home / "daemon.pid").unlink()
        assert "Running" in it.run("skiff", "status").stdout  # it is found without its file
        (it.home / "daemon.pid").write_text("1 1 0 0 6443")
        assert "Running" in it.run("skiff", "status").stdout  # or when that tells of another process
        kill(it)  # and delete clears up after it
        it.run("skiff", "delete")
        assert traces(it) == before
        assert not it.home.exists()
        assert yaml.safe_load(config.read_text()) | {"preferences": {}} == mine | {"preferences": {}}
        it.run("skiff", "delete")  # once more does no harm
    finally:
        it.end()


def kill(it: Cluster) -> None:
    status = json.loads(it.run("skiff", "status", "-o", "json").stdout)
    it.run("kill", f"-{int(signal.SIGKILL)}", str(status["pid"]))
    it.until(lambda: it.run("skiff", "status", check=False).returncode == 3, "the daemon is dead")


@pytest.mark.finding("newcomer D.2.9")
def test_what_cannot_work_is_said_in_one_line(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    try:
        it.machine()
        blocker = it.process("python3", "-c", "import socket, time\ns = socket.socket()\n"
                             "s.bind(('127.0.0.1', 6443)); s.listen(); print('up', flush=True); time.sleep(1000)")  # fmt: skip
        assert blocker.stdout
        assert blocker.stdout.readline() == "up\n"
        said = it.run("skiff", "start", check=False)
        assert said.returncode == 1
        assert said.stderr.startswith("Error: port 6443 of 127.0.0.1 cannot be used")
        assert "--port" in said.stderr
        said = it.run("setpriv", "--reuid=65534", "--clear-groups", "skiff", "start", check=False)
        assert said.returncode == 1
        assert said.stderr == "Error: network namespaces need root: run `sudo skiff start`\n"
        (it.folder / "kubeconfig").write_text("{ not yaml")
        said = it.run("skiff", "start", "--port", "7443", check=False)
        assert said.returncode == 1
        assert "is no kubeconfig" in said.stderr
        assert (it.folder / "kubeconfig").read_text() == "{ not yaml"
        said = it.run("skiff", "start", "--memory", "much", check=False)
        assert said.returncode == 64
    finally:
        it.end()


def test_one_cluster_at_a_time_has_the_network(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    other = ("env", f"SKIFF_HOME={it.folder}/other", f"KUBECONFIG={it.folder}/other.config")
    try:
        it.start()
        said = it.run(*other, "skiff", "start", "--port", "7443", check=False)
        assert said.returncode == 1
        assert said.stderr.startswith(
            f"Error: another cluster runs on this machine, in {it.home}: end it with"
        )
        links = it.run("ip", "netns", "list").stdout
        assert "-node" in links
        it.run(*other, "skiff", "delete")
        assert it.run("ip", "netns", "list").stdout == links
        assert it.run("skiff", "status").returncode == 0
    finally:
        it.end()


@pytest.mark.finding("newcomer D.3")
def test_a_cluster_of_another_network_takes_no_names_of_the_first(new_cluster: type[Cluster]) -> None:
    it = new_cluster()
    other = ("env", f"SKIFF_HOME={it.folder}/other", f"KUBECONFIG={it.folder}/other.config")
    try:
        it.start()
        it.apply(DEPLOYMENT)
        it.until(lambda: it.objects("deployment", "web")[0]["status"].get("readyReplicas") == 2, "it runs")
        it.run("ip", "netns", "add", "elsewhere")
        names = it.run("ip", "netns", "list").stdout
        assert names.count("skiff-") == 3  # the node's and two pods'
        inside = ("ip", "netns", "exec", "elsewhere", *other)
        it.run("ip", "netns", "exec", "elsewhere", "ip", "link", "set", "lo", "up")
        it.run(*inside, "skiff", "start")
        assert it.run("ip", "netns", "list").stdout.count("-node") == 2  # each has its own
        mine = ("env", *(f"{key}={it.environment[key]}" for key in ("SKIFF_HOME", "KUBECONFIG")))
        kill(it)  # and a daemon of the first one is refused there, while its names are free here alone
        said = it.run("ip", "netns", "exec", "elsewhere", *mine, "skiff", "start", check=False)
        assert "another cluster runs on this machine" in said.stderr
        it.run("skiff", "start")
        it.run(*inside, "skiff", "delete")
        assert sorted(it.run("ip", "netns", "list").stdout.splitlines()) == sorted(names.splitlines())
        deployment = it.objects("deployment", "web")[0]["status"]
        assert deployment["readyReplicas"] == 2
        statuses = [c for pod in it.objects("pods") for c in pod["status"]["containerStatuses"]]
        assert [c["restartCount"] for c in statuses] == [0, 0, 0, 0]
    finally:
        it.end()


@pytest.mark.parametrize("permitted", [True, False])
def test_limits_are_enforced_or_said_not_to_be(new_cluster: type[Cluster], permitted: bool) -> None:
    it = new_cluster()
    try:
        it.machine()
        if permitted:
            it.run("sh", "-ec", "mount -t tmpfs cgroup /sys/fs/cgroup; for C in cpu memory; do mkdir /sys/fs/cgroup/$C;"
                   " mount -t cgroup -o $C cgroup /sys/fs/cgroup/$C; done", check=False)  # fmt: skip
            if it.run("test", "-e", "/sys/fs/cgroup/memory/cgroup.procs", check=False).returncode:
                pytest.skip("this machine has no control groups of version 1 to mount")
        said = it.run("skiff", "start", "--cpus", "1", "--memory", "512m").stdout
        told = it.run("skiff", "status").stdout
        node = it.objects("node", "skiff")[0]["status"]["capacity"]
        assert (node["cpu"], node["memory"]) == ("1", "512Mi")
        if not permitted:
            assert "not enforced" in said
            assert "not enforced" in told
            return
        assert "1 CPUs and 512 MiB of memory: enforced by control groups" in said
        assert "enforced by control groups" in told
        it.apply(DEPLOYMENT)
        it.until(lambda: it.objects("deployment", "web")[0]["status"].get("readyReplicas") == 2, "it runs")
        # Groups are the whole machine's: other clusters may have theirs beside it.
        name = f"skiff-{hashlib.sha256(str(it.home.resolve()).encode()).hexdigest()[:8]}"
        group = it.run("sh", "-c", f"cat /sys/fs/cgroup/memory/{name}/*/*/cgroup.procs").stdout.split()
        assert len(group) >= 2
        limit = it.run("cat", f"/sys/fs/cgroup/memory/{name}/memory.limit_in_bytes").stdout
        assert int(limit) == 512 * 2**20
        it.run("skiff", "delete")
        assert not it.run("sh", "-c", f"ls -d /sys/fs/cgroup/*/{name}", check=False).stdout
    finally:
        it.run("skiff", "delete", check=False)
        it.end()
