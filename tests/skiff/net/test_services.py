"""Do packets find pods as Services and names promise? Asked from inside pods and from the host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "net"

#: Says who it is and who asks: HTTP at 8080 and 8081, UDP at 9053.
SERVER = """
import http.server, os, signal, socket, sys, threading
me = os.environ["HOSTNAME"]
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ready" and os.path.exists("/tmp/unready"): return self.send_error(503)
        body = f"{me} {self.client_address[0]}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
for port in (8080, 8081):
    threading.Thread(target=http.server.ThreadingHTTPServer(("", port), H).serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(("", 9053))
while True:
    data, peer = udp.recvfrom(100); udp.sendto(f"{me} {peer[0]}".encode(), peer)
"""

CLIENT = """
import json, socket, struct, sys, urllib.request
def http(url):
    try: return urllib.request.urlopen(url, timeout=3).read().decode()
    except Exception as wrong: return repr(wrong)
def udp(host, port):
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(3); s.sendto(b"x", (host, port))
        try: return s.recv(100).decode()
        except Exception as wrong: return repr(wrong)
def names(name, port=None):
    try: return sorted({it[4][0] for it in socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)})
    except Exception as wrong: return repr(wrong)
def srv(name, tcp=False):
    q = struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\\0\\0\\x21\\0\\1"
    if tcp:
        s = socket.create_connection(("10.96.0.10", 53), 3); s.sendall(struct.pack(">H", len(q)) + q); r = s.recv(2000)[2:]
    else:
        s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(3); s.sendto(q, ("10.96.0.10", 53)); r = s.recv(2000)
    return [struct.unpack(">H", r[6:8])[0], r[3] & 15]
"""


def server(name: str, replicas: int = 2) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    ports = [
        {"name": "web", "containerPort": 8080},
        {"name": "dns", "containerPort": 9053, "protocol": "UDP"},
    ]
    container = {
        "name": "s",
        "image": "python:3",
        "args": ["-c", SERVER],
        "readinessProbe": probe,
        "ports": ports,
    }
    spec = {"terminationGracePeriodSeconds": 3, "containers": [container]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }  # fmt: skip


def service(name: str, app: str, ports: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": ports, **more},
    }  # fmt: skip


WEB = {"name": "web", "port": 80, "targetPort": "web"}
PORTS = [
    WEB,
    {"name": "other", "port": 81, "targetPort": 8081},
    {"name": "dns", "port": 53, "targetPort": 9053, "protocol": "UDP"},
]


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.apply(
        server("web"), server("client", 1),
        service("web", "web", PORTS, type="LoadBalancer"),
        service("client", "client", [WEB]),
        service("heads", "web", [WEB], clusterIP="None"),
        service("sticky", "web", [WEB], sessionAffinity="ClientIP"),
        service("nobody", "missing", [WEB]),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "alias"},
         "spec": {"type": "ExternalName", "externalName": f"web.{NAMESPACE}.svc.cluster.local"}},
        namespace=NAMESPACE,
    )  # fmt: skip
    for name in ("web", "client"):
        cluster.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{name}", "--timeout=60s")
    return cluster


def ask(it: Cluster, expression: str) -> Any:
    """The value of an expression in the client's pod."""
    script = f"{CLIENT}\nprint(json.dumps({expression}))"
    said = it.kubectl("exec", "-n", NAMESPACE, "deploy/client", "--", "/usr/bin/python3", "-c", script)
    return json.loads(said.stdout)


def pods(it: Cluster, app: str) -> dict[str, str]:
    found = it.objects("pods", "-n", NAMESPACE, "-l", f"app={app}")
    return {p["metadata"]["name"]: p["status"].get("podIP", "") for p in found}


def test_a_service_spreads_and_keeps_the_source(it: Cluster) -> None:
    web, client = pods(it, "web"), pods(it, "client")
    answers = [
        a.split()
        for a in ask(it, "[http('http://web') for _ in range(40)] + [udp('web', 53) for _ in range(20)]")
    ]
    assert {name for name, _ in answers} == set(web)
    assert {source for _, source in answers} == set(client.values())
    assert ask(it, f"http('http://web.{NAMESPACE}.svc.cluster.local:81')").split()[0] in web
    assert ask(it, "http('http://client')").split()[0] in client  # a pod reaches itself through its service
    assert len(set(ask(it, "[http('http://sticky').split()[0] for _ in range(20)]"))) == 1
    assert "Connection refused" in ask(it, "http('http://nobody')")  # at once, not after a timeout


def test_names(it: Cluster) -> None:
    vip = it.objects("service", "-n", NAMESPACE, "web")[0]["spec"]["clusterIP"]
    every = sorted(pods(it, "web").values())
    full = f"web.{NAMESPACE}.svc.cluster.local"
    assert (
        ask(it, f"[names('web'), names('web.{NAMESPACE}'), names('{full}'), names('alias')]") == [[vip]] * 4
    )
    assert ask(it, "names('heads')") == every
    dashed = every[0].replace(".", "-")
    assert ask(it, f"names('{dashed}.heads.{NAMESPACE}.svc.cluster.local')") == [every[0]]
    assert ask(it, f"names('{dashed}.{NAMESPACE}.pod.cluster.local')") == [every[0]]
    assert "gaierror" in ask(it, "names('missing')")
    assert ask(
        it, f"[srv('_web._tcp.{full}'), srv('_web._tcp.heads.{NAMESPACE}.svc.cluster.local', True)]"
    ) == [[1, 0], [2, 0]]
    assert ask(it, "srv('_web._tcp.missing.default.svc.cluster.local')") == [0, 3]


def test_the_host_reaches_node_ports_and_load_balancers(it: Cluster) -> None:
    found = it.objects("service", "-n", NAMESPACE, "web")[0]
    node = it.objects("node", "skiff")[0]["status"]["addresses"][0]["address"]
    balancer = found["status"]["loadBalancer"]["ingress"][0]["ip"]
    port = found["spec"]["ports"][0]["nodePort"]
    for url in (f"http://{node}:{port}", f"http://{balancer}", f"http://{found['spec']['clusterIP']}"):
        said = it.python(
            "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())", url
        ).stdout
        assert said.split()[0] in pods(it, "web"), url


def test_readiness_and_the_end_move_traffic(it: Cluster) -> None:
    """Not one request fails while pods become unready, or end by a rolling restart."""
    script = f"""{CLIENT}
import os, time
count = failed = 0
while not os.path.exists("/tmp/stop"):
    count += 1; failed += "Error" in http("http://web"); time.sleep(0.01)
print(json.dumps([count, failed]))
"""
    asking = it.process(
        "kubectl", "exec", "-n", NAMESPACE, "deploy/client", "--", "/usr/bin/python3", "-c", script
    )
    first = min(pods(it, "web"))
    it.kubectl("exec", "-n", NAMESPACE, first, "--", "touch", "/tmp/unready")

    def conditions() -> dict[str, Any]:
        slices = it.objects("endpointslices", "-n", NAMESPACE, "-l", "kubernetes.io/service-name=web")
        return {e["targetRef"]["name"]: e["conditions"] for s in slices for e in s["endpoints"]}

    it.until(
        lambda: conditions()[first] == {"ready": False, "serving": False, "terminating": False},
        "it is unready",
    )
    assert len(set(ask(it, "[http('http://web').split()[0] for _ in range(20)]"))) == 1
    it.kubectl("exec", "-n", NAMESPACE, first, "--", "rm", "/tmp/unready")
    it.until(lambda: conditions()[first]["ready"], "it is ready again")
    it.kubectl("rollout", "restart", "-n", NAMESPACE, "deployment/web")
    it.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/web", "--timeout=60s")
    it.until(lambda: len(pods(it, "web")) == 2, "the old pods are gone")
    it.kubectl("exec", "-n", NAMESPACE, "deploy/client", "--", "touch", "/tmp/stop")
    assert asking.stdout
    count, failed = json.loads(asking.stdout.read().splitlines()[-1])
    assert count > 100
    assert failed == 0
