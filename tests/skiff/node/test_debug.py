"""Can one look into a pod that runs? ``kubectl debug`` and shared processes, asked of a running cluster by the real kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

FOREVER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


@pytest.fixture(scope="module")
def it(new_cluster: type[Cluster]) -> Iterator[Cluster]:
    """One whose daemon may be killed. What most tests look at is there from the beginning."""
    with new_cluster() as made:
        made.apply(
            pod(
                "one",
                shell("app", FOREVER, env=[{"name": "SECRET", "value": "of-the-app"}]),
                shell("other", FOREVER),
            ),
            pod("shared", shell("a", FOREVER), shell("b", FOREVER), shareProcessNamespace=True),
        )
        made.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        yield made


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": list(containers), **spec},
    }  # fmt: skip


def said(it: Cluster, *argv: str, code: int = 0, stdin: str = "") -> str:
    found = it.kubectl(*argv, stdin=stdin, check=False)
    assert found.returncode == code, (argv, found.stdout, found.stderr, it.log()[-2000:])
    return found.stdout + found.stderr


def status(it: Cluster, name: str) -> dict[str, Any]:
    found = it.objects("pod", name)
    return found[0].get("status", {}) if found else {}


def state(it: Cluster, name: str, container: str, kind: str = "ephemeralContainerStatuses") -> dict[str, Any]:
    return next((c["state"] for c in status(it, name).get(kind) or () if c["name"] == container), {})


def debug(it: Cluster, name: str, container: str, script: str, *options: str) -> str:
    """What a container says that comes to a pod, once it has ended."""
    said(it, "debug", name, "--image=busybox", "-c", container, *options, "--", "sh", "-c", script)
    it.until(lambda: "terminated" in state(it, name, container), f"{container} ends")
    return said(it, "logs", name, "-c", container)


def processes(it: Cluster, word: str) -> list[str]:
    """Of the whole machine, by their command lines."""
    return [
        line
        for line in it.run("ps", "-e", "-o", "args=").stdout.splitlines()
        if word in line and "ps -e" not in line
    ]


@pytest.mark.finding("skiff input 22")
def test_a_container_comes_later_and_sees_its_target(it: Cluster) -> None:
    script = "ps -o pid,args; hostname; cat /proc/1/environ"
    lines = debug(it, "one", "look", script, "--target=app", "--profile=baseline").splitlines()
    assert lines[1].split(None, 1) == ["1", f"sh -c {FOREVER}"]
    assert "one" in lines
    assert not any(
        "other" in line or "skiff" in line or "waiting" in line for line in lines[: lines.index("one")]
    ), lines
    assert "SECRET=of-the-app" in lines[-1]
    alone = debug(it, "one", "alone", "ps -o args", "--profile=baseline")
    assert "sleep" not in alone.replace("sh -c", "")
    found = next(c for c in status(it, "one")["ephemeralContainerStatuses"] if c["name"] == "look")
    assert (found["ready"], found["restartCount"], found["state"]["terminated"]["reason"]) == (
        False,
        0,
        "Completed",
    )
    assert status(it, "one")["phase"] == "Running"
    assert status(it, "one")["containerStatuses"][0]["ready"]
    assert "Ephemeral Containers:" in said(it, "describe", "pod", "one")


@pytest.mark.finding("skiff input 22")
@pytest.mark.parametrize(
    ("profile", "script", "wanted"),
    [
        (
            "general",
            "tr '\\0' '\\n' </proc/1/environ; ls -d /proc/1/root/etc; ls /proc/1/root/skiff",
            "SECRET=of-the-app",
        ),
        ("restricted", "id -u; grep CapEff /proc/self/status", "65534\nCapEff:\t0000000000000000"),
        ("netadmin", "ip addr add 10.99.99.99/32 dev lo && echo added", "added"),
        ("sysadmin", "mount -t tmpfs none /mnt && echo mounted", "mounted"),
    ],
)
def test_profiles_mean_something(it: Cluster, profile: str, script: str, wanted: str) -> None:
    assert wanted in debug(it, "one", f"as-{profile}", script, "--target=app", f"--profile={profile}")


#: What others may do that come by, and whose roots they show, until somebody presses enter.
WATCHER = """
import os, sys, threading
home = sys.argv[1]
over, seen = threading.Event(), set()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
while not over.is_set():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            told = dict(line.split(":\\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\\t" in line)
            seen.add((int(told["CapEff"], 16), os.path.exists(f"/proc/{pid}/root{home}")))
        except OSError:
            pass
print(len(seen), any(caps >> 21 & 1 for caps, _ in seen), any(home for _, home in seen))
"""


@pytest.mark.finding("issue 7 part 5")
def test_who_enters_has_nothing_to_be_taken(it: Cluster) -> None:
    """A debugger may trace all it sees (CAP_SYS_PTRACE): what comes in must be as harmless as it is, from its first moment."""
    options = ("--image=python:3", "--target=app", "--profile=general", "-c", "watcher", "-i", "-q")
    watcher = it.process(
        "kubectl", "debug", "one", *options, "--", "python3", "-c", WATCHER, f"{it.home}/cluster.db"
    )
    it.until(lambda: "running" in state(it, "one", "watcher"), "it watches")
    for number in range(3):
        said(it, "exec", "one", "-c", "app", "--", "true")
        debug(it, "one", f"entering-{number}", "true", "--target=app", "--profile=restricted")
    assert watcher.communicate("\n", timeout=60)[0].split()[-3:][1:] == ["False", "False"]


@pytest.mark.finding("skiff input 22")
def test_a_debugger_at_a_terminal(it: Cluster) -> None:
    """As a human does it: kubectl waits for the container, attaches to it, and says what it says."""
    line = "kubectl debug -it one --image=busybox --target=app -c human -- sh"
    human = it.process("script", "-qec", line, "/dev/null")
    it.until(lambda: "running" in state(it, "one", "human"), "it runs")
    assert human.stdin
    human.stdin.write("[ -t 0 ] && echo $((6 * 7)); ps -o args; exit 3\n")
    answer = human.communicate(timeout=60)[0]
    assert "\n42\n" in answer.replace("\r", ""), answer
    assert "\nsleep 1000" in answer
    it.until(lambda: state(it, "one", "human").get("terminated"), "it has ended")
    assert state(it, "one", "human")["terminated"]["exitCode"] == 3


@pytest.mark.finding("skiff input 22")
def test_it_can_be_entered_and_outlives_the_daemon_and_nothing_of_it_stays(it: Cluster) -> None:
    script = f"sleep 4321 & {FOREVER}"
    said(it, "debug", "one", "--image=busybox", "-c", "stays", "--target=app", "--", "sh", "-c", script)
    it.until(lambda: "running" in state(it, "one", "stays"), "it runs")
    begun = state(it, "one", "stays")
    assert "sleep 4321" in said(it, "exec", "one", "-c", "stays", "--", "ps", "-o", "args")
    ended = state(it, "one", "look")
    it.apply(
        pod("slow", shell("main", "trap '' TERM; while :; do sleep 1; done"), terminationGracePeriodSeconds=7)
    )
    said(it, "wait", "pod/slow", "--for=condition=Ready", "--timeout=60s")
    said(it, "delete", "pod", "slow", "--wait=false")
    until = datetime.fromisoformat(it.objects("pod", "slow")[0]["metadata"]["deletionTimestamp"]).timestamp()
    daemon = json.loads(it.run("skiff", "status", "-o", "json").stdout)["pid"]
    it.run("kill", "-9", str(daemon))
    it.until(lambda: it.run("skiff", "status", check=False).returncode == 3, "the daemon is dead")
    time.sleep(2)  # of the grace
    assert processes(it, "sleep 4321")
    it.start()
    said(it, "annotate", "pod", "one", "again=yes")
    assert state(it, "one", "stays") == begun
    assert state(it, "one", "look") == ended
    assert "sleep 4321" in said(it, "exec", "one", "-c", "stays", "--", "ps", "-o", "args")
    assert said(it, "exec", "shared", "-c", "a", "--", "ps", "-o", "args").count(FOREVER) == 2
    again = time.time()
    it.until(lambda: not it.objects("pod", "slow"), "its grace is over")
    assert time.time() < max(until, again) + 2  # nobody began to count anew
    it.run("pkill", "-9", "-f", "^sh -c sleep 4321 &")
    it.until(lambda: "terminated" in state(it, "one", "stays"), "it has ended")
    assert state(it, "one", "stays")["terminated"]["exitCode"] == 137
    assert (
        processes(it, "sleep 4321") == []
    )  # among the target's processes it has no first one that takes all along


@pytest.mark.finding("issue 7 part 5")
def test_shared_processes(it: Cluster) -> None:
    found = said(it, "exec", "shared", "-c", "a", "--", "ps", "-o", "pid,user,args").splitlines()
    assert found[1].split()[0] == "1"
    assert found[1].endswith("sleep infinity")
    assert sum(line.endswith(FOREVER) for line in found) == 2
    assert "ermission denied" in said(it, "exec", "shared", "-c", "a", "--", "ls", "/proc/1/root/", code=1)
    # What is orphaned is buried, and what a program leaves goes with it.
    said(
        it,
        "exec",
        "shared",
        "-c",
        "b",
        "--",
        "sh",
        "-c",
        "(sleep 0.1 &) ; (setsid sleep 9876 >/dev/null 2>&1 &)",
    )
    it.until(
        lambda: " Z " not in said(it, "exec", "shared", "-c", "a", "--", "ps", "-o", "pid,stat,args"),
        "no zombies",
    )
    said(it, "exec", "shared", "-c", "a", "--", "sh", "-c", "cd /proc; for p in [0-9]*; do [ $p != 1 ] && [ $p != $$ ] && "
         "[ \"$(readlink $p/ns/mnt)\" != \"$(readlink self/ns/mnt)\" ] && kill -9 $p; done; true")  # fmt: skip
    it.until(
        lambda: [c["restartCount"] for c in status(it, "shared")["containerStatuses"]] == [0, 1],
        "b begins again",
    )
    it.until(lambda: "running" in state(it, "shared", "b", "containerStatuses"), "b runs")
    assert processes(it, "sleep 9876") == []
    assert status(it, "shared")["containerStatuses"][1]["lastState"]["terminated"]["exitCode"] == 137


@pytest.mark.finding("issue 7 part 5")
def test_a_killed_program_is_told_as_one_and_its_log_is_its_own(it: Cluster) -> None:
    it.apply(
        pod(
            "killed",
            shell("main", "echo before; exec sleep 7654"),
            shell("failed", "exit 1"),
            restartPolicy="Never",
        )
    )
    it.until(lambda: "running" in state(it, "killed", "main", "containerStatuses"), "it runs")
    it.run("pkill", "-9", "-f", "^sleep 7654")
    it.until(lambda: status(it, "killed").get("phase") == "Failed", "it is over")
    assert state(it, "killed", "main", "containerStatuses")["terminated"]["exitCode"] == 137
    assert state(it, "killed", "failed", "containerStatuses")["terminated"]["exitCode"] == 1
    assert said(it, "logs", "killed", "-c", "main") == "before\n"


@pytest.mark.finding("issue 7 part 5")
def test_the_hosts_processes_and_the_node(it: Cluster) -> None:
    it.apply(pod("wide", shell("main", f"(setsid sleep 8765 >/dev/null 2>&1 &); {FOREVER}"), hostPID=True))
    said(it, "wait", "pod/wide", "--for=condition=Ready", "--timeout=60s")
    assert "skiff" in said(it, "exec", "wide", "--", "ps", "-o", "args")
    assert processes(it, "sleep 8765")
    said(it, "delete", "pod", "wide")
    assert processes(it, "sleep 8765") == []
    made = said(
        it,
        "debug",
        "node/skiff",
        "--image=busybox",
        "--",
        "sh",
        "-c",
        "ls -d /host/etc; ps -o args | grep -c guardian",
    )
    name = made.split("debugging pod ")[1].split()[0]
    it.until(lambda: status(it, name).get("phase") == "Succeeded", "it looked around")
    assert said(it, "logs", name).splitlines()[0] == "/host/etc"
    assert int(said(it, "logs", name).splitlines()[1]) > 1


@pytest.mark.finding("skiff input 22")
def test_a_copy_to_look_into(it: Cluster) -> None:
    options = ("--copy-to=copy", "--share-processes", "--profile=general")
    said(
        it,
        "debug",
        "one",
        "--image=busybox",
        "-c",
        "look",
        *options,
        "--",
        "sh",
        "-c",
        f"ps -o args; {FOREVER}",
    )
    it.until(lambda: status(it, "copy").get("phase") == "Running", "it runs")
    found = it.until(
        lambda: said(it, "exec", "copy", "-c", "look", "--", "ps", "-o", "args"), "it says something"
    )
    assert found.count("\nsh -c trap") == 2, found
    assert "sleep infinity" in found


@pytest.mark.finding("issue 7 part 5")
def test_time_is_up(it: Cluster) -> None:
    it.apply(pod("short", shell("main", FOREVER), activeDeadlineSeconds=1))
    it.until(lambda: status(it, "short").get("phase") == "Failed", "its time is over")
    assert status(it, "short")["reason"] == "DeadlineExceeded"
    assert state(it, "short", "main", "containerStatuses")["terminated"]["exitCode"] == 0


@pytest.mark.finding("issue 7 part 5")
def test_a_volume_in_place_of_the_terminals(it: Cluster) -> None:
    """What is opened for a terminal of ``exec`` is named by a path in the container, where a volume may hold anything."""
    volume = {"name": "v", "emptyDir": {}}
    script = f"ln -s /etc/passwd /x/ptmx; {FOREVER}"
    mounts = [{"name": "v", "mountPath": "/dev/pts"}, {"name": "v", "mountPath": "/x"}]
    it.apply(pod("pts", shell("main", script, volumeMounts=mounts), volumes=[volume]))
    said(it, "wait", "pod/pts", "--for=condition=Ready", "--timeout=60s")
    answer = it.run(
        "script",
        "-qec",
        "kubectl exec -it pts -- sh -c 'rm /x/ptmx; echo hi >/x/ptmx'",
        "/dev/null",
        check=False,
    )
    assert "hi" not in answer.stdout.replace("echo hi", "")
    assert answer.returncode == 1
    said(it, "exec", "pts", "--", "sh", "-c", "rm /x/ptmx; echo hi >/x/ptmx")
    answer = it.run("script", "-qec", "kubectl exec -it pts -- echo there", "/dev/null", check=False)
    assert "there are no terminals in the container" in answer.stdout


@pytest.mark.finding("issue 7 part 5")
def test_no_grace_is_no_grace(it: Cluster) -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "20"]}}}
    ill = {"exec": {"command": ["test", "-e", "/well"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "touch /well; trap '' TERM; while :; do sleep 1; done"
    stubborn = shell("main", script, lifecycle=hook, livenessProbe=ill)
    template = pod("x", stubborn, terminationGracePeriodSeconds=0)["spec"]
    labels = {"app": "none"}
    it.apply({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "none"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": template}},
    })  # fmt: skip
    said(it, "rollout", "status", "deployment/none", "--timeout=60s")
    begun = time.monotonic()
    name = it.objects("pods", "-l", "app=none")[0]["metadata"]["name"]
    said(it, "exec", name, "--", "rm", "/well")
    it.until(lambda: status(it, name)["containerStatuses"][0]["restartCount"], "it is restarted")
    assert time.monotonic() - begun < 15
    begun = time.monotonic()
    said(it, "delete", "deployment", "none", "--cascade=foreground")
    it.until(lambda: not it.objects("pods", "-l", "app=none"), "its pod is gone")
    it.until(lambda: not processes(it, "trap '' TERM"), "and its processes")
    assert time.monotonic() - begun < 10
