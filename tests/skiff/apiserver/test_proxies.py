"""Through the API server to pods, services and the node; and what they use."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "proxies"
#: Tells what it is asked, redirects, streams without end, echoes websockets' bytes after an upgrade.
SERVER = r"""
import http.server, json, sys, time, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do(self):
        if self.headers.get("Upgrade"):
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
            while piece := self.connection.recv(100):
                self.connection.sendall(piece.upper())
            self.close_connection = True
            return
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size); self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/away"):
            self.send_response(302); self.send_header("Location", "/login?a=b"); self.send_header("Content-Length", "0"); self.end_headers()
            return
        if self.path.startswith("/endless"):
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            try:
                while True:
                    self.wfile.write(b"5\r\ntick\n\r\n"); time.sleep(0.05)
            except OSError:
                print("left", flush=True)
            return
        said = json.dumps({"method": self.command, "path": self.path, "size": len(body), "headers": dict(self.headers)}).encode()
        self.send_response(418 if self.path.startswith("/teapot") else 200)
        self.send_header("Content-Length", str(len(said))); self.send_header("Set-Cookie", "a=b"); self.end_headers()
        if self.command != "HEAD": self.wfile.write(said)
    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler)
if len(sys.argv) > 1:
    threading.Thread(target=all, args=(iter(lambda: 1, 0),), daemon=True).start()  # busy for ever
server.serve_forever()
"""
#: A client that says what it likes: method, path, headers, body, as JSON on its input; prints status, headers and body.
CLIENT = r"""
import http.client, json, ssl, sys
for asked in json.load(sys.stdin):
    context = ssl._create_unverified_context()
    it = http.client.HTTPSConnection("127.0.0.1", 6443, context=context, timeout=20)
    it.request(asked.get("method", "GET"), asked["path"], headers=asked["headers"],
               body="x" * asked["size"] if asked.get("size") else None)
    said = it.getresponse()
    body = said.read(asked.get("most")).decode()
    print(json.dumps({"code": said.status, "headers": dict(said.getheaders()), "body": body}))
    it.sock and it.sock.close()
"""
UPGRADE = r"""
import json, socket, ssl, sys
path, token = sys.argv[1:]
it = ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", 6443), 20))
head = f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
it.sendall(head.encode())
said = b""
while b"hello " not in said: said += it.recv(1000)
for n in range(50):
    it.sendall(b"x" * 1000)
more = b""
while len(more) < 50000: more += it.recv(65536)
print(said.decode().splitlines()[0], set(more))
"""


def pod(name: str, *argv: str, sleeper: bool = False) -> dict[str, Any]:
    container = {
        "name": "web", "image": "python:3", "command": ["python3", "-c", SERVER, *argv],
        "ports": [{"containerPort": 8080, "name": "http"}], "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }  # fmt: skip
    quiet = [{"name": "quiet", "image": "busybox:1", "command": ["sleep", "1000"]}] if sleeper else []
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container, *quiet]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.kubectl("create", "namespace", NAMESPACE)
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }  # fmt: skip
    cluster.apply(pod("web"), pod("busy", "burn", sleeper=True), service, namespace=NAMESPACE)
    cluster.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/web", "pod/busy")
    cluster.kubectl("create", "serviceaccount", "-n", NAMESPACE, "robot")
    cluster.kubectl(
        "create",
        "rolebinding",
        "-n",
        NAMESPACE,
        "robot",
        "--clusterrole=edit",
        f"--serviceaccount={NAMESPACE}:robot",
    )
    only = ("--verb=impersonate", "--resource=serviceaccounts", "--resource-name=robot")
    cluster.kubectl("create", "role", "-n", NAMESPACE, "self", *only)
    subject = f"--serviceaccount={NAMESPACE}:robot"
    cluster.kubectl("create", "rolebinding", "-n", NAMESPACE, "self", "--role=self", subject)
    return cluster


@pytest.fixture(scope="module")
def bearer(it: Cluster) -> str:
    return it.kubectl("create", "token", "-n", NAMESPACE, "robot").stdout.strip()


ROOT = f"/api/v1/namespaces/{NAMESPACE}"


def ask(it: Cluster, bearer: str, *asked: dict[str, Any]) -> list[dict[str, Any]]:
    mine = {"Authorization": f"Bearer {bearer}"}
    sent = [{**each, "headers": {**mine, **each.get("headers", {})}} for each in asked]
    said = it.run("python3", "-c", CLIENT, stdin=json.dumps(sent)).stdout
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.finding("issue 7 part 5")
@pytest.mark.finding("skiff 8")
def test_pods_and_services_are_reached_through_the_api(it: Cluster, bearer: str) -> None:
    leaks = {
        "Impersonate-User": f"system:serviceaccount:{NAMESPACE}:robot",  # itself, by right
        "X-Remote-User": "x",
        "Cookie": "own=1",
        "X-Mine": "1",
        "Connection": "X-Hop",
        "X-Hop": "1",
    }
    plain, typed, teapot, put, bare, away, refused = ask(
        it, bearer,
        {"path": f"{ROOT}/pods/web/proxy/a%2Fb//c?x=1&y=%20", "headers": leaks},
        {"path": f"{ROOT}/services/http:web:http/proxy/", "method": "HEAD"},
        {"path": f"{ROOT}/services/web:80/proxy/teapot", "method": "DELETE"},
        {"path": f"{ROOT}/pods/web:8080/proxy/put", "method": "PUT", "size": 5_000_000},  # larger than an object may be
        {"path": f"{ROOT}/pods/web/proxy?q=1"},
        {"path": f"{ROOT}/services/web:http/proxy/away"},
        {"path": f"{ROOT}/pods/web:81/proxy/"},
    )  # fmt: skip
    seen = json.loads(plain["body"])
    assert seen["path"] == "/a%2Fb//c?x=1&y=%20"
    got = {name.lower(): value for name, value in seen["headers"].items()}
    assert not {"authorization", "impersonate-user", "x-remote-user", "x-hop"} & got.keys()
    assert (got["cookie"], got["x-mine"], got["x-forwarded-proto"]) == ("own=1", "1", "https")
    assert got["x-forwarded-uri"] == f"{ROOT}/pods/web/proxy/a%2Fb//c"
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert plain["headers"]["Set-Cookie"] == "a=b"
    acting = ("--as=ann", "--as-group=system:masters")
    seen = json.loads(it.kubectl("get", "--raw", f"{ROOT}/pods/web/proxy/", *acting).stdout)
    assert not any(name.lower().startswith("impersonate") for name in seen["headers"])
    assert (typed["code"], typed["body"]) == (200, "")
    assert (teapot["code"], json.loads(teapot["body"])["method"]) == (418, "DELETE")
    assert json.loads(put["body"])["size"] == 5_000_000
    assert (bare["code"], bare["headers"]["Location"]) == (301, f"{ROOT}/pods/web/proxy/?q=1")
    assert (away["code"], away["headers"]["Location"]) == (302, f"{ROOT}/services/web:http/proxy/login?a=b")
    assert refused["code"] == 503
    said = json.loads(refused["body"])["message"]
    assert re.fullmatch(
        r"error trying to reach service: dial tcp [0-9.]+:81: connect: connection refused", said
    )


@pytest.mark.finding("issue 7 part 5")
def test_streams_and_upgrades_pass_the_proxy(it: Cluster, bearer: str) -> None:
    [endless] = ask(it, bearer, {"path": f"{ROOT}/pods/web/proxy/endless", "most": 25})
    assert endless["body"] == "tick\n" * 5
    # The program hears that its client has left.
    it.until(
        lambda: "left" in it.kubectl("logs", "-n", NAMESPACE, "web").stdout, "the stream ends with its client"
    )
    said = it.python(UPGRADE, f"{ROOT}/services/web:http/proxy/ws", bearer).stdout
    assert said.strip() == "HTTP/1.1 101 Switching Protocols {88}"


@pytest.mark.finding("issue 7 part 5")
def test_the_proxy_reaches_pods_only(it: Cluster, bearer: str) -> None:
    """Whatever users write into slices and statuses."""
    # Validation keeps loopback and link-local addresses out; those of the API server and of Services are left to try.
    slices = [
        {"addresses": [address], "conditions": {"ready": True}} for address in ("10.96.0.1", "169.253.77.1")
    ]
    evil = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "evil", "labels": {"kubernetes.io/service-name": "evil"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 6443}], "endpoints": slices,
    }  # fmt: skip
    targets = {"kind": "Pod", "name": "web", "namespace": NAMESPACE}
    named = {**evil, "metadata": {"name": "named", "labels": {"kubernetes.io/service-name": "named"}}, "ports": [{"name": "", "port": 8080}],
             "endpoints": [{"addresses": ["10.96.0.1"], "targetRef": targets}]}  # fmt: skip
    services = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
        for name in ("evil", "named")
    ]
    it.apply(evil, named, *services, namespace=NAMESPACE)
    patch = json.dumps({"status": {"podIP": "10.96.0.1", "podIPs": [{"ip": "10.96.0.1"}]}})
    it.kubectl("patch", "pod", "-n", NAMESPACE, "web", "--subresource=status", "--type=merge", "-p", patch)
    evil_said, named_said, pod_said, api = ask(
        it, bearer, {"path": f"{ROOT}/services/evil:80/proxy/"}, {"path": f"{ROOT}/services/named:80/proxy/"},
        {"path": f"{ROOT}/pods/web/proxy/"}, {"path": f"{ROOT}/pods/web:6443/proxy/healthz"},
    )  # fmt: skip
    assert (evil_said["code"], json.loads(evil_said["body"])["message"]) == (
        503,
        'no endpoints available for service "evil"',
    )
    assert json.loads(named_said["body"])["path"] == "/"  # the pod, not the address beside its name
    assert json.loads(pod_said["body"])["path"] == "/"
    assert api["code"] == 503


@pytest.mark.finding("issue 7 part 5")
def test_the_proxy_asks_for_permission(it: Cluster, bearer: str) -> None:
    it.kubectl(
        "create",
        "role",
        "-n",
        NAMESPACE,
        "one",
        "--verb=get",
        "--resource=services/proxy",
        "--resource-name=http:web:http",
    )
    it.kubectl("create", "serviceaccount", "-n", NAMESPACE, "little")
    it.kubectl(
        "create", "rolebinding", "-n", NAMESPACE, "one", "--role=one", f"--serviceaccount={NAMESPACE}:little"
    )
    little = it.kubectl("create", "token", "-n", NAMESPACE, "little").stdout.strip()
    allowed, posted, other, node = ask(
        it, little, {"path": f"{ROOT}/services/http:web:http/proxy/"},
        {"path": f"{ROOT}/services/http:web:http/proxy/", "method": "POST"}, {"path": f"{ROOT}/services/web:http/proxy/"},
        {"path": "/api/v1/nodes/skiff/proxy/pods"},
    )  # fmt: skip
    assert [allowed["code"], posted["code"], other["code"], node["code"]] == [200, 403, 403, 403]
    assert 'cannot create resource "services/proxy"' in posted["body"].replace("\\", "")


@pytest.mark.finding("issue 7 part 5")
def test_a_node_tells_its_health_and_what_its_pods_use(it: Cluster) -> None:
    def told(path: str) -> str:
        return it.kubectl("get", "--raw", f"/api/v1/nodes/{path}").stdout

    assert told("skiff/proxy/healthz") == "ok"
    assert f'"namespace":"{NAMESPACE}"' in told("skiff:10250/proxy/pods")
    summary = json.loads(told("skiff/proxy/stats/summary"))
    busy = next(each for each in summary["pods"] if each["podRef"]["name"] == "busy")
    assert [each["name"] for each in busy["containers"]] == ["web", "quiet"]
    assert busy["cpu"]["usageCoreNanoSeconds"] > 0 < busy["memory"]["workingSetBytes"]
    assert 'container_cpu_usage_seconds_total{container="web",namespace="proxies",pod="busy"}' in told(
        "skiff/proxy/metrics/resource"
    )
    for path in ("run/x", "exec/x", "logs"):
        said = it.kubectl("get", "--raw", f"/api/v1/nodes/skiff/proxy/{path}", check=False).stderr
        assert "could not find the requested resource" in said
    assert "not found" in it.kubectl("get", "--raw", "/api/v1/nodes/other/proxy/healthz", check=False).stderr


@pytest.mark.finding("skiff 7")
@pytest.mark.finding("issue 7 part 5")
def test_top(it: Cluster, bearer: str) -> None:
    def top(*words: str) -> list[list[str]]:
        lines = it.kubectl("top", *words).stdout.splitlines()
        return [line.split() for line in lines]

    rows = top("pods", "-n", NAMESPACE, "--containers", "--no-headers")
    used = {(row[0], row[1]): int(row[2].removesuffix("m")) for row in rows}
    assert used.keys() == {("web", "web"), ("busy", "web"), ("busy", "quiet")}
    assert used["busy", "web"] > 100 > used["busy", "quiet"]
    assert int(top("pod", "busy", "-n", NAMESPACE, "--no-headers")[0][2].removesuffix("Mi")) > 0
    assert [row[0] for row in top("pods", "-n", NAMESPACE, "-l", "app=busy", "--no-headers")] == ["busy"]
    assert top("pods", "-A", "--sum")[-1][0].endswith("m")
    [node] = top("nodes", "--no-headers")
    assert node[0] == "skiff"
    assert int(node[1].removesuffix("m")) > 100
    assert it.kubectl("get", "pods.metrics.k8s.io", "-n", NAMESPACE, "busy").stdout.startswith("NAME")
    metrics = "/apis/metrics.k8s.io/v1beta1"
    own, others, written = ask(
        it, bearer, {"path": f"{metrics}/namespaces/{NAMESPACE}/pods/busy"}, {"path": f"{metrics}/pods"},
        {"path": f"{metrics}/namespaces/{NAMESPACE}/pods/busy", "method": "DELETE"},
    )  # fmt: skip
    assert [own["code"], others["code"], written["code"]] == [200, 403, 403]
    assert json.loads(own["body"])["containers"][0]["usage"]["cpu"].endswith("n")
