"""Do pods outlive the daemon? Killed with -9 under everything that a pod can do, and found again by the next one."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

COUNTER = "import itertools, time\nfor n in itertools.count():\n    print(n, flush=True); time.sleep(0.01)"
#: Answers, and is unready while a file is there.
SERVER = """
import http.server, os
class It(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ill = os.path.exists("/flags/" + self.path.strip("/"))
        self.send_response(503 if ill else 200)
        self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), It).serve_forever()
"""
#: Calls until its input ends; prints how many calls there were and how many failed.
CALLER = """
import sys, threading, time, urllib.request
stop, calls, failed = threading.Event(), 0, 0
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
print("calling", flush=True)
while not stop.is_set():
    try:
        calls += 1
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
    except OSError as wrong:
        failed += 1
    time.sleep(0.01)
print(calls, failed)
"""


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": list(containers), **spec},
    }  # fmt: skip


def python(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "python:3", "args": ["-c", script], **more}


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


SLEEPER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


@pytest.fixture(scope="module")
def it(new_cluster: type[Cluster]) -> Iterator[Cluster]:
    with new_cluster() as made:
        yield made


def kill(it: Cluster) -> None:
    status = json.loads(it.run("skiff", "status", "-o", "json").stdout)
    it.run("kill", f"-{int(signal.SIGKILL)}", str(status["pid"]))
    it.until(lambda: it.run("skiff", "status", check=False).returncode == 3, "the daemon is dead")


def one(it: Cluster, name: str) -> dict[str, Any]:
    found = it.objects("pod", name)
    return found[0] if found else {}


def statuses(it: Cluster, name: str, kind: str = "containerStatuses") -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in one(it, name).get("status", {}).get(kind) or ()}


def ready(it: Cluster, *names: str) -> None:
    it.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *(f"pod/{name}" for name in names))


def pids(it: Cluster, word: str) -> list[str]:
    """Of programs whose command line has the word; not of those that only look for it."""
    return sorted(
        line.split()[0]
        for line in it.run("ps", "-eww", "-o", "pid=,comm=,args=").stdout.splitlines()
        if word in line and line.split()[1] in ("python3", "python3.11", "sh", "sleep", "busybox", "cat")
    )


@pytest.mark.finding("issue 7 part 4")
@pytest.mark.finding("mesh M10")
def test_kill_9_touches_no_pod(it: Cluster) -> None:
    flags = it.folder / "flags"
    flags.mkdir()
    volumes = [
        {"name": "flags", "hostPath": {"path": str(flags)}},
        {"name": "m", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [{"name": "flags", "mountPath": "/flags"}, {"name": "m", "mountPath": "/memory"}]
    probe = {"periodSeconds": 1, "failureThreshold": 1}
    server = python(
        "server", SERVER, volumeMounts=mounts, readinessProbe={"httpGet": {"path": "/unready", "port": 8080}, **probe},
        livenessProbe={"httpGet": {"path": "/dead", "port": 8080}, **probe},
        startupProbe={"httpGet": {"path": "/unstarted", "port": 8080}, **probe, "failureThreshold": 60},
        lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo begun >> /flags/begun"]}}},
    )  # fmt: skip
    once = shell("once", "echo once >> /flags/once", volumeMounts=mounts)
    beside = {**shell("beside", SLEEPER), "restartPolicy": "Always"}
    it.apply(
        pod("web", server, python("counter", COUNTER), volumes=volumes, initContainers=[once, beside]),
        pod("typed", {"name": "it", "image": "busybox", "command": ["sh"], "stdin": True, "tty": True}),
        pod("piped", {"name": "it", "image": "busybox", "command": ["cat"], "stdin": True, "stdinOnce": True}, restartPolicy="Never"),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
         "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
    )  # fmt: skip
    ready(it, "web", "typed", "piped")
    it.kubectl("exec", "web", "-c", "server", "--", "sh", "-c", "echo kept > /memory/kept")
    service = it.objects("service", "web")[0]["spec"]["clusterIP"]
    before = {name: one(it, name)["status"] for name in ("web", "typed", "piped")}
    running = pids(it, "8080"), pids(it, "itertools")
    caller = it.process("python3", "-c", CALLER, f"http://{service}/ok")
    assert caller.stdout
    assert caller.stdout.readline() == "calling\n"
    follower = it.process("kubectl", "exec", "web", "-c", "server", "--", "sleep", "4321")

    kill(it)
    time.sleep(1.0)  # the counter writes on, and nobody reads
    (flags / "unstarted").touch()  # a startup probe that succeeded is not asked again
    it.run("skiff", "start")
    assert (pids(it, "8080"), pids(it, "itertools")) == running
    for name, status in before.items():
        found = one(it, name)["status"]
        assert (found["podIP"], found["startTime"]) == (status["podIP"], status["startTime"])
        assert found["containerStatuses"] == status["containerStatuses"]  # ids, times, counts, readiness
        assert found.get("initContainerStatuses") == status.get("initContainerStatuses")
        assert [c["lastTransitionTime"] for c in found["conditions"]] == [
            c["lastTransitionTime"] for c in status["conditions"]
        ]
    assert follower.wait(10) != 0  # what was asked of the daemon ends with it
    it.until(lambda: not pids(it, "4321"), "and so does its program")
    numbers = [int(word) for word in it.kubectl("logs", "web", "-c", "counter").stdout.split()]
    assert numbers == list(range(len(numbers)))
    assert it.kubectl("exec", "web", "-c", "server", "--", "cat", "/memory/kept").stdout == "kept\n"
    assert (flags / "begun").read_text() == "begun\n"
    assert (flags / "once").read_text() == "once\n"
    # Terminal and input of a program that an earlier daemon began.
    said = it.kubectl("attach", "-i", "piped", stdin="through\n", check=False, timeout=10).stdout
    assert said == "through\n"
    it.until(lambda: one(it, "piped")["status"]["phase"] == "Succeeded", "its input ends with its client")
    keys = it.process("script", "-qec", "kubectl attach -it typed", "/dev/null")
    assert keys.stdin
    assert keys.stdout
    time.sleep(1.0)
    keys.stdin.write("echo I am $HOSTNAME\n")
    keys.stdin.flush()
    while "I am typed" not in keys.stdout.readline():
        assert keys.poll() is None
    keys.kill()

    out, _ = caller.communicate(timeout=20)
    calls, failed = map(int, out.split())
    assert calls > 100
    assert failed == 0
    (flags / "unready").touch()
    it.until(lambda: not statuses(it, "web")["server"]["ready"], "its readiness is asked for again")
    (flags / "unready").unlink()
    it.until(lambda: statuses(it, "web")["server"]["ready"], "and it is ready again")
    (flags / "unstarted").unlink()
    (flags / "dead").touch()
    it.until(lambda: statuses(it, "web")["server"]["restartCount"] == 1, "its liveness, too")
    (flags / "dead").unlink()


@pytest.mark.finding("issue 7 part 4")
def test_what_ended_while_no_daemon_ran(it: Cluster) -> None:
    place = it.folder / "ended"
    place.mkdir()
    volumes = [{"name": "v", "hostPath": {"path": str(place)}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    until = "until [ -e /v/{0} ]; do sleep 0.05; done; echo last words of {0}; exit {1}"
    it.apply(
        pod("failed", shell("it", until.format("failed", 7), volumeMounts=mounts), volumes=volumes, restartPolicy="Never"),
        pod("done", shell("it", until.format("done", 0), volumeMounts=mounts), volumes=volumes, restartPolicy="OnFailure"),
        pod("again", shell("it", until.format("again", 3), volumeMounts=mounts), volumes=volumes),
        pod("slain", shell("it", "sleep 7654"), shell("beside", SLEEPER)),
        pod("going", shell("it", "trap 'sleep 1; echo bye > /v/bye; exit 0' TERM; while :; do sleep 0.1; done",
                           volumeMounts=mounts), volumes=volumes, terminationGracePeriodSeconds=30),
        pod("gone", shell("it", "trap '' TERM; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=600),
    )  # fmt: skip
    ready(it, "failed", "done", "again", "slain", "going", "gone")
    first = pids(it, "sleep 7654")[0]
    it.kubectl("delete", "pod", "going", "gone", "--wait=false")
    kill(it)
    for name in ("failed", "done", "again"):
        (place / name).touch()
    guardian = [line.split()[0] for line in it.run("ps", "-eww", "-o", "pid=,args=").stdout.splitlines()
                if "guardian.sh" in line and "default_slain_" in line and "/it." in line]  # fmt: skip
    it.run("kill", "-9", *guardian)
    it.until(lambda: first not in pids(it, "sleep 7654"), "the program ends with its guardian")
    time.sleep(1.0)  # the others end, and nobody sees it
    (place / "again").unlink()
    it.run("skiff", "start")
    it.until(lambda: one(it, "failed")["status"]["phase"] == "Failed", "it failed")
    ended = statuses(it, "failed")["it"]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert it.kubectl("logs", "failed").stdout == "last words of failed\n"
    it.until(lambda: one(it, "done")["status"]["phase"] == "Succeeded", "it succeeded")
    assert statuses(it, "done")["it"]["restartCount"] == 0
    it.until(lambda: statuses(it, "again")["it"]["restartCount"] == 1, "it runs again")
    assert statuses(it, "again")["it"]["lastState"]["terminated"]["exitCode"] == 3
    it.until(lambda: statuses(it, "slain")["it"]["restartCount"] == 1, "it runs again, too")
    assert statuses(it, "slain")["it"]["lastState"]["terminated"]["reason"] == "Unknown"
    assert statuses(it, "slain")["beside"]["restartCount"] == 0
    it.until(lambda: not one(it, "going"), "its end is orderly")
    assert (place / "bye").read_text() == "bye\n"
    it.kubectl("delete", "pod", "gone", "--force", "--grace-period=0")
    it.kubectl("delete", "pod", "failed", "done", "again", "slain")


@pytest.mark.finding("issue 7 part 4")
@pytest.mark.finding("newcomer D.3")
def test_a_lost_place_in_the_network_is_made_anew(it: Cluster) -> None:
    it.apply(pod("placed", python("server", SERVER), shell("beside", SLEEPER)))
    ready(it, "placed")
    before = one(it, "placed")
    namespace = "".join(f"{int(part):02x}" for part in before["status"]["podIP"].split("."))
    name = next(
        line.split()[0] for line in it.run("ip", "netns", "list").stdout.splitlines() if namespace in line
    )
    it.run("ip", "netns", "del", name)
    it.until(lambda: statuses(it, "placed")["beside"]["restartCount"] == 1, "it is made anew")
    ready(it, "placed")
    after = one(it, "placed")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"
    url = f"http://{after['status']['podIP']}:8080/"
    it.until(lambda: it.python(script, url, check=False).stdout == "200\n", "it answers")
    told = [e["reason"] for e in it.objects("events", "--field-selector=involvedObject.name=placed")]
    assert "SandboxChanged" in told
    # The same while no daemon runs, by its link; and then the node's own.
    node = name.rpartition("-")[0] + "-node"
    kill(it)
    link = "v" + "".join(f"{int(part):02x}" for part in after["status"]["podIP"].split("."))
    it.run("ip", "-n", node, "link", "del", link)
    it.run("skiff", "start")
    it.until(lambda: statuses(it, "placed")["beside"]["restartCount"] == 2, "it is made anew")
    it.run("ip", "netns", "del", node)

    def restarted() -> bool:  # the daemon, too, begins anew, and does not answer for a moment
        path = "jsonpath={.status.containerStatuses[?(@.name=='beside')].restartCount}"
        return it.kubectl("get", "pod", "placed", "-o", path, check=False).stdout == "3"

    it.until(restarted, "with the whole node", 90.0)
    ready(it, "placed")
    it.until(lambda: it.python(script, f"http://{one(it, 'placed')['status']['podIP']}:8080/", check=False).stdout == "200\n",
             "it answers")  # fmt: skip
    assert len([a for a in it.run("ip", "netns", "list").stdout.splitlines() if "-node" in a]) == 1
    it.kubectl("delete", "pod", "placed")


def settled(it: Cluster, names: list[str]) -> bool:
    found = {p["metadata"]["name"]: p for p in it.objects("pods")}
    return all(
        {c["type"]: c["status"] for c in found.get(name, {}).get("status", {}).get("conditions") or ()}.get(
            "Ready"
        )
        == "True"
        for name in names
    )


def slay(it: Cluster, rounds: int, chance: random.Random) -> None:
    """Pods come and go while the daemon is killed at any moment; in the end there is exactly what shall be."""
    kept: list[str] = []
    for number in range(rounds):
        name = f"soak-{number}"
        it.apply(pod(name, shell("a", SLEEPER), shell("b", SLEEPER), initContainers=[shell("i", "true")],
                     volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}]))  # fmt: skip
        kept.append(name)
        if len(kept) > 3:
            it.kubectl("delete", "pod", kept.pop(0), "--wait=false")
        time.sleep(chance.uniform(0.0, 0.7))
        kill(it)
        it.run("skiff", "start")
    it.until(lambda: settled(it, kept), "all live")
    it.until(lambda: not [p for p in it.objects("pods") if p["metadata"]["name"].startswith("soak-")
                          and p["metadata"]["name"] not in kept], "what was deleted is gone")  # fmt: skip
    folders = {path.name.split("_")[1] for path in (it.home / "pods").iterdir()}
    assert {name for name in folders if name.startswith("soak-")} == set(kept)
    living = [
        line
        for line in it.run("ps", "-eww", "-o", "args=").stdout.splitlines()
        if "guardian.sh" in line or "sleep infinity" in line
    ]
    assert len([line for line in living if "default_soak-" in line]) == 2 * len(kept)
    assert not [line for line in living if line == "/bin/sleep infinity"]
    pods = [p["status"]["podIP"] for p in it.objects("pods") if p["status"].get("phase") == "Running"]
    names = it.run("ip", "netns", "list").stdout.splitlines()
    assert len(names) == len(pods) + 1
    counts = [c["restartCount"] for name in kept for c in statuses(it, name).values()]
    assert counts == [0] * len(counts)
    it.kubectl("delete", "pod", *kept)


def test_killed_in_the_middle_of_making_pods(it: Cluster) -> None:
    slay(it, 2, random.Random())


@pytest.mark.soak
def test_fifty_kills(it: Cluster) -> None:
    slay(it, 50, random.Random())


@pytest.mark.finding("issue 7 part 4")
def test_another_daemon_touches_no_pod(it: Cluster) -> None:
    it.apply(pod("stays", shell("it", SLEEPER)))
    ready(it, "stays")
    before = statuses(it, "stays")
    pid = json.loads(it.run("skiff", "status", "-o", "json").stdout)["pid"]
    assert "pods go on" in it.run("skiff", "restart").stdout
    assert json.loads(it.run("skiff", "status", "-o", "json").stdout)["pid"] != pid
    assert statuses(it, "stays") == before
    it.run("ip", "link", "set", "skiff0", "alias", "skiff of /nowhere")  # of a folder that is gone: nobody's
    kill(it)
    it.run("skiff", "start")
    it.until(lambda: statuses(it, "stays")["it"]["restartCount"] == 1, "the network is made anew")
    it.kubectl("delete", "pod", "stays")
