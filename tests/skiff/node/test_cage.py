"""Does a container stay inside? Attacked from real pods: by variables, libraries, links, calls, files and sheer size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

FOREVER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"
#: Control groups of version 1, when this machine has them: the private machine of a test begins without any.
GROUPS = """
mount -t tmpfs cgroup /sys/fs/cgroup
for C in cpu cpuacct memory pids; do mkdir /sys/fs/cgroup/$C; mount -t cgroup -o $C cgroup /sys/fs/cgroup/$C; done
"""


@pytest.fixture(scope="module")
def it(new_cluster: type[Cluster]) -> Iterator[Cluster]:
    made = new_cluster()
    try:
        made.machine()
        made.run("sh", "-ec", GROUPS, check=False)
        made.start()
        yield made
    finally:
        made.run("skiff", "delete", check=False)  # groups are the whole machine's
        made.end()


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "restartPolicy": "Never", "containers": list(containers), **spec},
    }  # fmt: skip


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


def python(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "python:3.11", "args": ["-c", script], **more}


def status(it: Cluster, name: str) -> dict[str, Any]:
    found = it.objects("pod", name)
    return found[0].get("status", {}) if found else {}


def said(it: Cluster, name: str, container: str = "main") -> str:
    """Its output, once the pod is over."""
    it.until(lambda: status(it, name).get("phase") in ("Succeeded", "Failed"), f"{name} is over")
    return it.kubectl("logs", name, "-c", container).stdout


def running(it: Cluster, name: str) -> None:
    it.until(lambda: status(it, name).get("phase") == "Running", f"{name} runs")


@pytest.mark.finding("issue 7 part 2")
def test_a_pods_variables_are_not_obeyed_outside(it: Cluster) -> None:
    """The loader of every program of the host obeys LD_DEBUG_OUTPUT, as it does LD_PRELOAD: as root, before the container."""
    traces = it.folder / "traces"
    traces.mkdir()
    env = [{"name": "LD_DEBUG", "value": "libs"}, {"name": "LD_DEBUG_OUTPUT", "value": f"{traces}/x"},
           {"name": "a.b-c", "value": "kept"}]  # fmt: skip
    it.apply(pod("variables", shell("main", FOREVER, env=env)))
    running(it, "variables")
    found = it.kubectl("exec", "variables", "--", "env").stdout.splitlines()
    assert "LD_DEBUG=libs" in found
    assert "a.b-c=kept" in found
    assert not [line for line in found if line.startswith("_LD")]
    assert list(traces.iterdir()) == []


@pytest.mark.finding("issue 7 part 2")
def test_no_file_of_a_pod_runs_before_it_gave_up_the_hosts_rights(it: Cluster) -> None:
    loaded = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "preload"},
        "data": {"file": "/nowhere.so\n"},
    }
    mount = {"name": "v", "mountPath": "/etc/ld.so.preload", "subPath": "file"}
    script = "grep -h CapBnd /proc/self/status"
    it.apply(
        loaded, pod("preload", shell("main", f"exec {script}", volumeMounts=[mount]),
                    volumes=[{"name": "v", "configMap": {"name": "preload"}}]),
    )  # fmt: skip
    lines = said(it, "preload").splitlines()
    assert [line for line in lines if line.startswith("CapBnd:")]
    # The shell and grep, with the container's rights. Not: whatever prepared the container.
    assert 1 <= len([line for line in lines if "nowhere.so" in line]) <= 2

    trap = "for P in setpriv env nsenter setsid python3.11; do printf '#!/bin/sh\\ncat /proc/self/status > /trapped' > /usr/bin/$P; done"
    it.apply(pod("trap", shell("main", f"{trap}; chmod 755 /usr/bin/*; {FOREVER}")))
    running(it, "trap")
    it.until(
        lambda: it.kubectl("exec", "trap", "--", "/bin/ls", "/usr/bin/nsenter", check=False).stdout,
        "it is set",
    )
    found = it.kubectl("exec", "trap", "--", "/bin/ls", "/").stdout.split()
    assert "usr" in found
    assert "trapped" not in found


@pytest.mark.finding("security 3")
def test_links_in_volumes_lead_nowhere_else(it: Cluster) -> None:
    outside = it.folder / "outside"
    outside.mkdir()
    volume = {"name": "v", "emptyDir": {}}
    plant = shell("plant", f"ln -s {outside} /v/out; mkdir /v/d; ln -s d /v/in; ln -s ../../.. /v/up",
                  volumeMounts=[{"name": "v", "mountPath": "/v"}])  # fmt: skip

    def mounted(name: str, path: str) -> dict[str, Any]:
        return shell(
            name, "echo here > /m/file", volumeMounts=[{"name": "v", "mountPath": "/m", "subPath": path}]
        )

    it.apply(pod("links", mounted("in", "in"), mounted("out", "out"), mounted("up", "up/x"), initContainers=[plant],
                 volumes=[volume]))  # fmt: skip

    def states() -> dict[str, str]:
        found = {c["name"]: c["state"] for c in status(it, "links").get("containerStatuses", ())}
        return {
            name: state.get("waiting", {}).get("message")
            or str(state.get("terminated", {}).get("exitCode", ""))
            for name, state in found.items()
        }

    wanted = {
        "in": "0",
        "out": 'subPath "out" leads out of its volume',
        "up": 'subPath "up/x" leads out of its volume',
    }
    it.until(lambda: states() == wanted, "one of three is mounted")
    it.kubectl("delete", "pod", "links", "--wait")
    assert list(outside.iterdir()) == []


@pytest.mark.finding("security 3")
def test_a_link_swapped_all_the_time_is_never_mounted(it: Cluster) -> None:
    outside = it.folder / "target"
    outside.mkdir()
    swap = (
        "import ctypes, os\n"
        f"os.mkdir('/v/d'); os.symlink('{outside}', '/v/l'); libc = ctypes.CDLL(None); open('/v/ready', 'w')\n"
        "while True: libc.renameat2(-100, b'/v/d', -100, b'/v/l', 2)"
    )
    whole = [{"name": "v", "mountPath": "/v"}]
    probe = {"exec": {"command": ["test", "-e", "/v/ready"]}, "periodSeconds": 1}
    swapper = python("swap", swap, volumeMounts=whole, restartPolicy="Always", startupProbe=probe)
    tried = [
        shell(f"c{n}", f"echo out > /m/c{n}", volumeMounts=[{"name": "v", "mountPath": "/m", "subPath": "d"}])
        for n in range(8)
    ]
    it.apply(pod("race", *tried, initContainers=[swapper], volumes=[{"name": "v", "emptyDir": {}}]))

    def tries() -> list[str]:
        return [next(iter(c["state"])) for c in status(it, "race").get("containerStatuses", ())]

    it.until(lambda: len(tries()) == 8 and tries().count("terminated") >= 4, "half of them were started")
    it.kubectl("delete", "pod", "race", "--force", "--grace-period=0")
    assert list(outside.iterdir()) == []


CALLS = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
calls = {"unshare user": (libc.unshare, 0x10000000), "unshare mount": (libc.unshare, 0x20000), "setns": (libc.setns, -1, 0),
    "mount": (libc.mount, b"x", b"/mnt", b"tmpfs", 0, 0), "umount": (libc.umount2, b"/proc/sys", 2),
    "keyctl": (libc.syscall, 250, 0, 0, 0), "bpf": (libc.syscall, 321, 0, 0, 0), "reboot": (libc.syscall, 169, 1, 2, 3),
    "clone user": (libc.syscall, 56, 0x10000011, 0, 0, 0, 0), "clone3": (libc.syscall, 435, 0, 0),
    "open_tree": (libc.syscall, 428, -100, b"/", 1), "io_uring": (libc.syscall, 425, 1, 0), "vsock": (libc.socket, 40, 1, 0),
    "handle": (libc.syscall, 304, -100, 0, 0), "x32": (libc.syscall, 0x40000027), "newer": (libc.syscall, 9999)}
for name, (call, *words) in calls.items():
    result = call(*words)
    if result == 0 and name.startswith("clone"): os._exit(0)
    print(name, "done" if result >= 0 else errno.errorcode[ctypes.get_errno()])
os.waitpid(os.fork() or os._exit(0), 0)
import threading; threading.Thread(target=print, args=("thread",)).start()
"""


@pytest.mark.finding("security 8")
def test_calls_that_lead_out_are_refused(it: Cluster) -> None:
    if it.run("uname", "-m").stdout != "x86_64\n":
        pytest.skip("the numbers here are those of x86-64")
    every = {"capabilities": {"add": ["SYS_ADMIN", "SYS_TIME"]}}
    it.apply(
        pod("calls", python("main", CALLS), python("admin", CALLS, securityContext=every),
            shell("free", "grep Seccomp: /proc/self/status", securityContext={"seccompProfile": {"type": "Unconfined"}}),
            shell("user", "grep Seccomp: /proc/self/status", securityContext={"runAsUser": 1000})),
        pod("localhost", shell("main", "id", securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}})),
        pod("inside", shell("main", FOREVER)),
    )  # fmt: skip
    lines = said(it, "calls").splitlines()
    absent = {"clone3", "io_uring", "x32", "newer"}
    assert lines[-1] == "thread"
    found = dict(line.rsplit(" ", 1) for line in lines[:-1])
    assert found == {name: "ENOSYS" if name in absent else "EPERM" for name in found}
    assert len(found) == 16
    admin = said(it, "calls", "admin")
    assert "mount done" in admin
    assert "keyctl EPERM" in admin
    assert said(it, "calls", "free") == "Seccomp:\t0\n"
    assert said(it, "calls", "user") == "Seccomp:\t2\n"
    running(it, "inside")
    executed = it.kubectl("exec", "inside", "--", "sh", "-c", "grep -E '^(Seccomp:|CapEff)' /proc/self/status; unshare -Ur id",
                          check=False)  # fmt: skip
    assert executed.stdout.splitlines() == ["CapEff:\t00000000a00425fb", "Seccomp:\t2"]
    assert "Operation not permitted" in executed.stderr
    waiting = it.until(lambda: status(it, "localhost").get("containerStatuses"), "it is told")[0]
    it.until(lambda: "seccomp profile" in json.dumps(status(it, "localhost")), "why it waits")
    assert waiting["name"] == "main"


@pytest.mark.finding("security 9")
@pytest.mark.finding("skiff 6")
def test_of_the_hosts_files_a_pod_sees_programs_only(it: Cluster) -> None:
    secret = it.folder / "secret"
    secret.write_text("of the host")
    script = (
        f"cat {secret} /etc/shadow /etc/gshadow; ls /etc/ssh /etc/ssl/private /var/lib /srv /opt /boot /home /root /mnt {it.folder};"
        "cat /proc/kcore | head -c 1 | wc -c; cat /proc/keys | wc -c; ls /sys/firmware /proc/scsi; echo x > /proc/sys/kernel/hostname;"
        " grep -c root:x:0 /etc/passwd; test -d /etc/ssl/certs && echo certs; echo new > /etc/shadow && cat /etc/shadow;"
        " touch /usr/local/mine && echo written"
    )
    it.apply(pod("files", shell("main", f"({script}) 2>&1")))
    lines = said(it, "files").splitlines()
    for path in (secret, "/etc/shadow", "/etc/gshadow", "/etc/ssh", it.folder):
        assert [line for line in lines if str(path) in line and "No such file or directory" in line], path
    told = [line for line in lines if "No such file" not in line and line and not line.endswith(":")]
    told = [line for line in told if "Read-only" not in line]
    assert told == ["0", "0", "1", "certs", "new", "written"]
    assert it.run("test", "-e", "/usr/local/mine", check=False).returncode == 1


@pytest.mark.finding("skiff 4")
@pytest.mark.finding("issue 7 part 5")
def test_limits_hold_where_there_are_control_groups(it: Cluster) -> None:
    if it.run("test", "-e", "/sys/fs/cgroup/pids/cgroup.procs", check=False).returncode:
        pytest.skip("this machine has no control groups of version 1 to mount")
    assert (
        "CPU, memory and processes of containers: enforced by control groups"
        in it.run("skiff", "status").stdout
    )
    hungry = python("main", "x = bytearray(200 * 2**20)", resources={"limits": {"memory": "64Mi"}})
    slow = shell("slow", f"cat /proc/self/cgroup; {FOREVER}", resources={"limits": {"cpu": "100m"}})
    it.apply(pod("limited", hungry, slow))
    it.until(lambda: len([c for c in status(it, "limited").get("containerStatuses", ()) if "terminated" in c["state"]]) == 1,
             "one has ended")  # fmt: skip
    ended = next(
        c["state"]["terminated"] for c in status(it, "limited")["containerStatuses"] if c["name"] == "main"
    )
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    seen = it.kubectl("logs", "limited", "-c", "slow").stdout
    assert not [
        line
        for line in seen.splitlines()
        if line.split(":")[1] in ("cpu", "memory", "pids") and line[-2:] != ":/"
    ]
    uid = it.objects("pod", "limited")[0]["metadata"]["uid"]
    quota = it.run("sh", "-c", f"cat /sys/fs/cgroup/cpu/skiff-*/{uid}/slow/cpu.cfs_quota_us").stdout
    assert quota == "10000\n"
    within = f"cat /sys/fs/cgroup/memory/skiff-*/{uid}/slow/cgroup.procs | wc -l"
    before = int(it.run("sh", "-c", within).stdout)
    it.kubectl("exec", "limited", "-c", "slow", "--", "sh", "-c", "sleep 1000 > /dev/null 2>&1 &")
    assert int(it.run("sh", "-c", within).stdout) > before  # what is executed counts too
    it.kubectl("delete", "pod", "limited", "--wait")
    assert not it.run("sh", "-c", f"ls -d /sys/fs/cgroup/*/skiff-*/{uid}", check=False).stdout


@pytest.mark.finding("skiff 11")
@pytest.mark.finding("skiff input 27")
def test_a_program_of_a_checkout_is_reachable_and_its_neighbours_are_not(it: Cluster) -> None:
    app, neighbour = it.folder / "checkout", it.folder / "neighbour"
    app.mkdir()
    neighbour.mkdir()
    (app / "serve.sh").write_text("#!/bin/sh\ncat $(dirname $0)/data; ls $1; touch /tmp/x && echo done\n")
    (app / "serve.sh").chmod(0o755)
    (app / "data").write_text("its data\n")
    it.apply(pod("checkout", {"name": "main", "image": "my/app:1"}))
    it.until(lambda: "skiff images add my/app:1" in json.dumps(status(it, "checkout")), "it says how")
    (it.home / "images.yaml").write_text("- {image: my/app, entry: [ls]}\n")
    wrong = f'{it.home}/images.yaml, line 1: unknown key "entry"'
    it.until(
        lambda: wrong in it.kubectl("describe", "pod", "checkout").stdout.replace("\\", ""),
        "what is wrong is told",
    )
    (it.home / "images.yaml").unlink()
    it.run("skiff", "images", "add", "my/app:*", "--", str(app / "serve.sh"), str(neighbour))
    lines = said(it, "checkout").splitlines()
    assert sorted(lines)[:2] == ["done", "its data"]
    assert [line for line in lines if str(neighbour) in line and line.endswith("No such file or directory")]
