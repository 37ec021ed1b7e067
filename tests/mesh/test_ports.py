"""Which ports listen in a running mesh? Those of ``lateen.names.listening``, no others; and they refuse what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

from lateen.demo import steps
from lateen.demo.commands import Machine
from lateen.names import listening
from lateen.names.listening import LOOPBACK, POD, Port

pytestmark = [pytest.mark.mesh, pytest.mark.root]

MESHED, ALONE = "ports-meshed", "ports-alone"
APPLICATION, LOWER_BOUND_OF_CHOSEN = 8000, 32768
_LISTENING = "0A"
#: Run by the stranger: lines of [address, port, "tls" or "", text to send] become the first line of each answer.
_ASK = """
import json, socket, ssl, sys
def ask(address, port, tls, text):
    try:
        with socket.create_connection((address, port), 3) as made:
            if tls:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                made = context.wrap_socket(made)
            made.settimeout(3)
            made.sendall(text.encode("latin-1"))
            return made.recv(65536).decode("latin-1").partition("\\r\\n")[0] or "closed"
    except ConnectionRefusedError:
        return "refused"
    except OSError as wrong:
        return "silent" if isinstance(wrong, TimeoutError) else "closed"
print(json.dumps([ask(*it) for it in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def mesh(machine: Machine) -> Iterator[Machine]:
    """A server in the mesh, a stranger outside of it, a gateway with a door."""
    serve = ["python3", "-m", "http.server", str(APPLICATION)]
    for namespace, name, command in ((MESHED, "web", serve), (ALONE, "stranger", ["sleep", "100000"])):
        machine.kubectl("create", "namespace", namespace)
        if namespace == MESHED:
            machine.kubectl("label", "namespace", namespace, "istio-injection=enabled")
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "app", "image": "python:3", "command": command}],
            },
        }  # fmt: skip
        path = machine.home / f"{name}.yaml"
        path.write_text(yaml.safe_dump(pod))
        machine.kubectl("apply", "-n", namespace, "-f", str(path))
        machine.kubectl("wait", "-n", namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=90s")
    yield machine
    for namespace in (MESHED, ALONE):
        machine.kubectl("delete", "namespace", namespace, timeout_s=120)


def sockets(machine: Machine, namespace: str, pod: str) -> set[tuple[int, str]]:
    """(port, reach) of what listens in a pod's network, as its kernel says."""
    text = machine.kubectl("exec", "-n", namespace, pod, "--", "sh", "-c", "cat /proc/net/tcp /proc/net/tcp6")
    found = set()
    for words in map(str.split, text.splitlines()):
        if len(words) > 3 and words[3] == _LISTENING:
            address, _, port = words[1].rpartition(":")
            reach = LOOPBACK if _is_loopback(address) else POD
            found.add((int(port, 16), reach))
    return found


def _is_loopback(address: str) -> bool:
    """As the kernel writes addresses: of version 4 the last byte first, also as a part of version 6."""
    first, last = address[:-8], address[-8:]
    return address == "0" * 24 + "01000000" or (last.endswith("7F") and first in ("", "0" * 16 + "FFFF0000"))


def differences(table: Sequence[Port], found: set[tuple[int, str]], own: set[int]) -> list[str]:
    """What listens and should not, or should and does not."""
    wanted = {(it.number, it.reach) for it in table if it.number}
    chosen = {it for it in found if it[0] >= LOWER_BOUND_OF_CHOSEN and it[1] == LOOPBACK}
    extra = {it for it in found - wanted - chosen if it[0] not in own}
    absent = {(it.number, it.reach) for it in table if it.number and not it.optional} - found
    count = sum(not it.number for it in table)
    return [
        *(f"listens, and no table names it: {it}" for it in sorted(extra)),
        *(f"does not listen: {it}" for it in sorted(absent)),
        *(
            [f"chosen at the start: {sorted(chosen)}, and the table has {count}"]
            if len(chosen) > count
            else []
        ),
    ]


def name_of(machine: Machine, label: str) -> dict[str, Any]:
    found: dict[str, Any] = machine.objects("pods", "-n", "istio-system", "-l", label)[0]
    return found


@pytest.mark.finding("security 1")
def test_what_listens_is_what_the_table_names(mesh: Machine) -> None:
    assert differences(listening.SIDECAR, sockets(mesh, MESHED, "web"), {APPLICATION}) == []
    gateway, istiod = name_of(mesh, "istio=ingressgateway"), name_of(mesh, "app=istiod")
    name = str(gateway["metadata"]["name"])
    assert differences(listening.GATEWAY, sockets(mesh, "istio-system", name), {8080, 8443}) == []
    name = str(istiod["metadata"]["name"])
    assert differences(listening.CONTROL_PLANE, sockets(mesh, "istio-system", name), set()) == []


def request(line: str, *headers: str) -> str:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""])


NO = ("closed", "HTTP/1.0 400", "HTTP/1.1 400", "HTTP/1.1 403", "HTTP/1.1 404", "HTTP/1.1 405")
#: Of any pod with a proxy: (port, request, how the answers begin that are right).
REFUSED = [
    (15000, request("GET /config_dump"), ("refused", "closed", "silent", "HTTP/1.1 503")),  # captured, and nobody there
    (15001, request("GET /"), (*NO, "refused", "HTTP/1.1 50", "silent")),
    (15006, request("GET /"), (*NO, "refused", "HTTP/1.1 50", "silent")),
    (15053, "x", ("refused", "closed", "silent")),
    *((15090, request(f"{method} /stats/prometheus{trick}"), NO) for method in ("GET", "POST") for trick in (
        "/../../config_dump", "/..%2f..%2fcerts", "/%2e%2e/%2e%2e/certs", "\\..\\..\\certs", "/../../quitquitquit",
        "/../../drain_listeners", "/../../healthcheck/fail", "#/../../certs",
    )),
    (15090, request("GET /config_dump"), NO), (15090, request("POST /stats/prometheus", "Content-Length: 0"), NO),
    (15090, request("GET http://localhost/stats/prometheus/../../certs"), NO),
    *((15021, request(f"POST /healthz/ready/../{order}", "Content-Length: 0"), NO) for order in (
        "quitquitquit", "drain", "rotate", "../quitquitquit",
    )),
    *((15020, request(f"POST /{order}", "Content-Length: 0", "X-Forwarded-For: 127.0.0.1"), NO) for order in (
        "quitquitquit", "drain", "rotate", "healthz/../quitquitquit", "%71uitquitquit",
    )),
    (15020, request("POST /healthz/ready", "Transfer-Encoding: chunked"), NO),
]  # fmt: skip
CONTROL = [
    *((port, "", request(f"GET {path}"), NO) for port in (8080, 15014) for path in (
        "/debug/syncz", "/debug/config_dump?proxyID=web.x", "//debug/syncz", "/%64ebug/syncz", "/x/../debug/syncz", "/debug",
    )),
    (15017, "", "GET / HTTP/1.1\r\n\r\n", ("closed", "HTTP/1.1 400")), (15017, "tls", request("GET /debug/syncz"), NO),
    (15017, "tls", "nonsense\r\n\r\n", NO), (15012, "", "\0" * 100, ("closed", "\x15")),
    (15012, "tls", request("GET /debug/syncz"), (*NO, "\0")),
]  # fmt: skip


@pytest.mark.finding("security 1")
def test_a_stranger_is_refused_what_the_table_refuses(mesh: Machine) -> None:
    (web,) = mesh.objects("pods", "-n", MESHED, "-l", "app=web")
    gateway, istiod = name_of(mesh, "istio=ingressgateway"), name_of(mesh, "app=istiod")
    wanted = [
        *((it["status"]["podIP"], port, "", text, right) for it in (web, gateway) for port, text, right in REFUSED),
        *((istiod["status"]["podIP"], port, tls, text, right) for port, tls, text, right in CONTROL),
    ]  # fmt: skip
    script = mesh.home / "asked.json"
    script.write_text(json.dumps([it[:4] for it in wanted]))
    said = mesh.result(
        "sh", "-c", f"kubectl exec -i -n {ALONE} stranger -- python3 -c '{_ASK}' < {script}", timeout_s=300
    ).stdout
    wrong = [
        f"{address}:{port} {text.splitlines()[0]!r}: {answer}"
        for (address, port, _, text, right), answer in zip(wanted, json.loads(said), strict=True)
        if not answer.startswith(right)
    ]
    assert wrong == []
    # And all that was asked has harmed nobody.
    mesh.kubectl("wait", "-n", MESHED, "--for=condition=Ready", "pod/web", "--timeout=5s")
    assert (
        steps.until(lambda: name_of(mesh, "istio=ingressgateway")["status"]["phase"] == "Running", within_s=5)
        < 5
    )


@pytest.mark.finding("security 1")
def test_what_anybody_may_ask_is_answered(mesh: Machine) -> None:
    (web,) = mesh.objects("pods", "-n", MESHED, "-l", "app=web")
    asked = [
        (15020, "/healthz/ready"),
        (15021, "/healthz/ready"),
        (15090, "/stats/prometheus"),
        (15020, "/metrics"),
    ]
    lines = [(web["status"]["podIP"], port, "", request(f"GET {path}")) for port, path in asked]
    script = mesh.home / "asked.json"
    script.write_text(json.dumps(lines))
    said = mesh.result(
        "sh", "-c", f"kubectl exec -i -n {ALONE} stranger -- python3 -c '{_ASK}' < {script}", timeout_s=60
    ).stdout
    assert json.loads(said) == ["HTTP/1.1 200 OK"] * 4
    # From within, people and tools look as ever.
    page = ("exec", "-n", MESHED, "web", "-c", "app", "--", "python3", "-c")
    look = "import urllib.request as u; print(len(u.urlopen('http://localhost:15000/config_dump').read()))"
    assert int(mesh.kubectl(*page, look)) > 1000
    assert mesh.lateen("proxy-config", "listener", f"web.{MESHED}")
