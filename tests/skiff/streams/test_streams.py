"""Logs, commands and ports of real pods, as kubectl and Python clients use them."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "streams"
CLIENTS = Path(__file__).parent / "clients"
WEB = "echo started; mkdir /tmp/w; echo page > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"
SIDE = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; exec sleep 10000"  # two pipes keep no order
ECHO = "import socketserver as s\nclass E(s.BaseRequestHandler):\n def handle(i):\n  while b := i.request.recv(65536): i.request.sendall(b)\ns.ThreadingTCPServer(('', 9000), E).serve_forever()"


def container(name: str, *command: str, image: str = "busybox:1", **more: object) -> dict[str, object]:
    return {"name": name, "image": image, "command": list(command), **more}


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[Cluster]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    probe = {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
    echo = {
        "name": "echo",
        "image": "python:3",
        "args": ["-c", ECHO],
        "readinessProbe": {"tcpSocket": {"port": 9000}},
    }
    spec = {"terminationGracePeriodSeconds": 0}
    web = {
        **spec,
        "containers": [container("web", "sh", "-c", WEB, **probe), container("side", "sh", "-c", SIDE), echo],
    }
    again = {**spec, "containers": [container("again", "sh", "-c", "echo run; test -e /v/x && exec sleep 10000; touch /v/x; exit 1",
             volumeMounts=[{"name": "v", "mountPath": "/v"}])], "volumes": [{"name": "v", "emptyDir": {}}]}  # fmt: skip
    for name, it in (("web", web), ("again", again)):
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": {"app": "web"}},
                "spec": it,
            },
            namespace=NAMESPACE,
        )
    cluster.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s", "-n", NAMESPACE)
    cluster.until(
        lambda: (
            "1"
            in cluster.kubectl(
                "get", "pod", "again", "-n", NAMESPACE, "-o", "jsonpath={..restartCount}"
            ).stdout
        ),
        "it restarts",
    )
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE)


def said(cluster: Cluster, *argv: str, stdin: str = "") -> tuple[int, str, str]:
    it = cluster.kubectl("-n", NAMESPACE, *argv, stdin=stdin, check=False)
    return it.returncode, it.stdout, it.stderr


@pytest.fixture(params=["websocket", "spdy"])
def transport(request: pytest.FixtureRequest, pods: Cluster) -> Iterator[str]:
    """kubectl speaks by websockets; older ones, and other Go programs, by SPDY instead of HTTP."""
    names = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")
    for name in names:
        pods.environment[name] = str(request.param == "websocket").lower()
    yield request.param
    for name in names:
        del pods.environment[name]


# --- logs ------------------------------------------------------------------------------------------


def test_logs_of_containers_tails_times_and_limits(pods: Cluster) -> None:
    assert said(pods, "logs", "web", "-c", "side") == (0, "one\ntwo\nthree\n", "")
    assert said(pods, "logs", "web", "-c", "side", "--tail=1")[1] == "three\n"
    assert said(pods, "logs", "web", "-c", "side", "--tail=0")[1] == ""
    assert said(pods, "logs", "web", "-c", "side", "--limit-bytes=5")[1] == "one\nt"
    assert said(pods, "logs", "web", "-c", "side", "--since=1h")[1] == "one\ntwo\nthree\n"
    assert said(pods, "logs", "web", "-c", "side", "--since-time=2999-01-01T00:00:00Z")[1] == ""
    stamped = said(pods, "logs", "web", "-c", "side", "--timestamps")[1].splitlines()
    assert [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (.*)", it)[1] for it in stamped] == [
        "one",
        "two",
        "three",
    ]  # type: ignore[index]
    assert said(pods, "logs", "web")[2] == 'Defaulted container "web" out of: web, side, echo\n'
    everything = said(pods, "logs", "-l", "app=web", "--all-containers", "--prefix")[1].splitlines()
    assert {"[pod/web/web] started", "[pod/web/side] two", "[pod/again/again] run"} <= set(everything)


def test_logs_of_the_run_before(pods: Cluster) -> None:
    assert said(pods, "logs", "again", "--previous") == (0, "run\n", "")
    code, _, wrong = said(pods, "logs", "web", "-c", "side", "--previous")
    assert (code, 'previous terminated container "side" in pod "web" not found' in wrong) == (1, True)


def test_following_ends_with_the_container(pods: Cluster) -> None:
    script = "for I in 1 2 3; do echo $I; sleep 0.3; done"
    pods.kubectl(
        "-n",
        NAMESPACE,
        "run",
        "count",
        "--image=busybox:1",
        "--restart=Never",
        "--command",
        "--",
        "sh",
        "-c",
        script,
    )
    pods.kubectl(
        "-n", NAMESPACE, "wait", "pod/count", "--for=jsonpath={.status.containerStatuses}", "--timeout=30s"
    )
    pods.until(lambda: said(pods, "logs", "count")[0] == 0, "it says something")
    assert said(pods, "logs", "-f", "count") == (0, "1\n2\n3\n", "")
    pods.kubectl(
        "-n", NAMESPACE, "wait", "pod/count", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s"
    )
    assert said(pods, "logs", "count")[1] == "1\n2\n3\n"


def test_logs_that_are_not_there(pods: Cluster) -> None:
    assert said(pods, "logs", "nope")[0] == 1
    assert "container nope is not valid for pod web" in said(pods, "logs", "web", "-c", "nope")[2]


# --- commands ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("transport")
def test_commands_have_output_input_and_an_exit_code(pods: Cluster) -> None:
    assert said(pods, "exec", "web", "-c", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3") == (
        3, "out\n", "err\ncommand terminated with exit code 3\n",
    )  # fmt: skip
    assert said(pods, "exec", "-i", "web", "-c", "web", "--", "wc", "-c", stdin="x" * 300_000) == (
        0,
        "300000\n",
        "",
    )
    assert said(pods, "exec", "web", "-c", "web", "--", "cat") == (0, "", "")
    code, _, wrong = said(pods, "exec", "web", "-c", "web", "--", "no-such-program")
    assert (code, "command terminated with exit code 127" in wrong) == (127, True)
    code, _, wrong = said(pods, "exec", "nope", "--", "true")
    assert (code, 'pods "nope" not found' in wrong) == (1, True)


@pytest.mark.usefixtures("transport")
def test_files_come_back_as_they_went(pods: Cluster) -> None:
    content = os.urandom(3_000_000)
    there, back = pods.folder / "there", pods.folder / "back"
    there.write_bytes(content)
    for argv in ((f"{there}", "web:/tmp/file"), ("web:/tmp/file", f"{back}")):
        assert said(pods, "cp", "-c", "web", *argv)[0] == 0
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(content).digest()


@pytest.mark.usefixtures("transport")
def test_a_command_that_reads_late_gets_everything(pods: Cluster) -> None:
    content = pods.folder / "much"
    content.write_bytes(bytes(8_000_000))
    script = f"kubectl exec -n {NAMESPACE} -i web -c web -- sh -c 'sleep 1; wc -c' < {content}"
    assert pods.run("sh", "-c", script).stdout.strip() == "8000000"


def test_a_command_ends_with_its_client(pods: Cluster) -> None:
    it = pods.process(
        "kubectl",
        "-n",
        NAMESPACE,
        "exec",
        "web",
        "-c",
        "web",
        "--",
        "sh",
        "-c",
        "echo begun; exec sleep 4321",
    )
    assert it.stdout
    assert it.stdout.readline() == "begun\n"
    it.kill()
    it.communicate(timeout=30)
    pods.until(
        lambda: "sleep 4321" not in said(pods, "exec", "web", "-c", "web", "--", "ps", "w")[1], "it has ended"
    )


class Typist:
    """Somebody at a terminal."""

    def __init__(self, cluster: Cluster, *argv: str) -> None:
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            os.execvpe("nsenter", cluster.argv("kubectl", "-n", NAMESPACE, *argv), cluster.environment)
        self.shown = ""

    def sees(self, text: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} is not shown: {self.shown!r}"
            if select.select([self._screen], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._screen, 4096).decode(errors="replace")
                except OSError:
                    break
        assert text in self.shown
        self.shown = self.shown.partition(text)[2]

    def types(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def ends(self) -> int:
        with_rest = True
        while with_rest:
            try:
                with_rest = bool(os.read(self._screen, 4096))
            except OSError:
                with_rest = False
        os.close(self._screen)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@pytest.mark.usefixtures("transport")
def test_a_shell_at_a_terminal(pods: Cluster) -> None:
    it = Typist(pods, "exec", "-it", "web", "-c", "web", "--", "sh")
    it.sees("# ")
    it.types("tty; stty size\n")
    it.sees("/dev/pts/")
    it.types("sleep 1000\n")
    it.sees("sleep 1000")
    time.sleep(0.5)  # until the shell has started it: nothing tells
    it.types("\x03")
    it.types("echo after $?\n")
    it.sees("after 130")
    it.types("exit 5\n")
    assert it.ends() == 5


def test_a_pod_of_ones_own(pods: Cluster) -> None:
    it = Typist(pods, "run", "mine", "-it", "--rm", "--restart=Never", "--image=busybox:1", "--", "sh")
    it.sees("try pressing enter")
    it.types("echo I am $HOSTNAME\n")
    it.sees("I am mine")
    it.types("exit 4\n")
    assert it.ends() == 4
    code, out, _ = said(
        pods,
        "run",
        "piped",
        "-i",
        "--rm",
        "--restart=Never",
        "--image=busybox:1",
        "--",
        "cat",
        stdin="through\n",
    )
    assert (code, out.splitlines()[0]) == (0, "through")


# --- ports ---------------------------------------------------------------------------------------------

FORWARD = """
import hashlib, os, socket, sys, threading
size, wrong = int(sys.argv[2]), []
def speak():
    content, back = os.urandom(size), bytearray()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as it:
        threading.Thread(target=lambda: (it.sendall(content), it.shutdown(socket.SHUT_WR))).start()
        while part := it.recv(65536):
            back += part
    if bytes(back) != content:
        wrong.append(len(back))
threads = [threading.Thread(target=speak) for _ in range(8)]
for it in threads: it.start()
for it in threads: it.join()
print(wrong or "same")
"""


@pytest.mark.usefixtures("transport")
def test_eight_connections_through_a_forwarded_port(pods: Cluster) -> None:
    it = pods.process("kubectl", "-n", NAMESPACE, "port-forward", "pod/web", ":9000")
    assert it.stdout
    port = re.search(r"127\.0\.0\.1:(\d+)", it.stdout.readline())
    assert port
    assert pods.python(FORWARD, port[1], "1000000").stdout == "same\n"
    it.terminate()
    it.communicate(timeout=30)


def test_a_port_nobody_listens_at(pods: Cluster) -> None:
    it = pods.process("kubectl", "-n", NAMESPACE, "port-forward", "pod/web", ":81")
    assert it.stdout
    port = re.search(r"127\.0\.0\.1:(\d+)", it.stdout.readline())
    assert port
    pods.python(
        f"import socket; it = socket.create_connection(('127.0.0.1', {port[1]}), 20); it.recv(1)", check=False
    )
    out, _ = it.communicate(timeout=30)
    assert "error forwarding port 81 to pod web: failed to connect to localhost:81" in out


# --- Python clients ----------------------------------------------------------------------------------------


@pytest.mark.finding("issue 7 clients")
@pytest.mark.parametrize("client", sorted(it.name for it in CLIENTS.glob("with_*.py")))
def test_python_clients_work_unmodified(pods: Cluster, client: str) -> None:
    script = (CLIENTS / client).read_text()
    done = pods.python(script, NAMESPACE).stdout.split()
    assert done[-1] == "done"
