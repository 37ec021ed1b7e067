"""Are webhooks asked when they should be, and is what they say followed? With a real one, in a pod behind a Service."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "hooks"
#: /add/X appends X to an annotation; /deny refuses; /slow never answers in time; every request is printed.
SERVER = """
import base64, http.server, json, ssl, time
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        path = self.path.split("?")[0]
        print(path, asked["operation"], asked["kind"]["kind"], asked["name"], asked["dryRun"], asked["userInfo"]["username"], flush=True)
        answer = {"uid": asked["uid"], "allowed": path != "/deny"}
        if path == "/deny": answer["status"] = {"message": "not today", "code": 403}
        if path == "/slow": time.sleep(5)
        if path.startswith("/add/"):
            notes = asked["object"]["metadata"].get("annotations") or {}
            notes["seen"] = notes.get("seen", "") + path[5:]
            patch = [{"op": "add", "path": "/metadata/annotations", "value": notes}]
            answer |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode(), "warnings": ["seen by " + path[5:]]}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", 8443), H)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def certificate(host: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


class Hooks:
    """A running webhook server, and configurations that are gone after the test."""

    def __init__(self, it: Cluster) -> None:
        self.it = it
        self.ca, key = certificate(f"hook.{NAMESPACE}.svc")
        it.kubectl("create", "namespace", NAMESPACE)
        for name, marked in (("watched", True), ("unwatched", False)):
            it.kubectl("create", "namespace", name)
            if marked:
                it.kubectl("label", "namespace", name, "hooks=on")
        probe = {"tcpSocket": {"port": 8443}, "periodSeconds": 1}
        container = {
            "name": "hook", "image": "python:3", "args": ["-c", SERVER], "readinessProbe": probe,
            "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        }  # fmt: skip
        spec = {"containers": [container], "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}]}
        it.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "stringData": {"tls.crt": self.ca, "tls.key": key}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hook", "labels": {"app": "hook"}}, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
             "spec": {"selector": {"app": "hook"}, "ports": [{"port": 443, "targetPort": 8443}]}},
            namespace=NAMESPACE,
        )  # fmt: skip
        it.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/hook", "--timeout=30s")
        it.until(lambda: self.endpoints(), "the service has its endpoint")

    def endpoints(self) -> bool:
        slices = self.it.objects("endpointslices", "-n", NAMESPACE)
        return any(e["conditions"]["ready"] for s in slices for e in s["endpoints"])

    def set(self, kind: str, *hooks: dict[str, Any]) -> None:
        """``kind`` is Mutating or Validating."""
        made = []
        for number, hook in enumerate(hooks):
            service = {"name": hook.pop("service", "hook"), "namespace": NAMESPACE, "path": hook.pop("path")}
            rule = {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["configmaps"],
            }
            made.append({
                "name": f"h{number}.hooks.example", "admissionReviewVersions": ["v1"], "sideEffects": "None", "rules": [rule],
                "clientConfig": {"service": service, "caBundle": base64.b64encode(self.ca.encode()).decode()},
                "namespaceSelector": {"matchLabels": {"hooks": "on"}}, "timeoutSeconds": 2, **hook,
            })  # fmt: skip
        self.it.apply({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": "test"}, "webhooks": made,
        })  # fmt: skip

    def create(self, name: str, *options: str, namespace: str = "watched") -> str:
        said = self.it.kubectl("create", "configmap", "-n", namespace, name, *options, check=False)
        return said.stdout + said.stderr

    def log(self) -> list[str]:
        return self.it.kubectl("logs", "-n", NAMESPACE, "hook").stdout.splitlines()


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Hooks:
    return Hooks(cluster)


@pytest.fixture
def hooks(server: Hooks) -> Any:
    yield server
    for kind in ("mutating", "validating"):
        server.it.kubectl("delete", f"{kind}webhookconfiguration", "test", "--ignore-not-found")


def test_mutations_follow_each_other_and_may_be_asked_again(hooks: Hooks) -> None:
    hooks.set("Mutating", {"path": "/add/a", "reinvocationPolicy": "IfNeeded"}, {"path": "/add/b"})
    said = hooks.create("changed")
    assert "Warning: seen by a" in said
    notes = hooks.it.objects("configmap", "-n", "watched", "changed")[0]["metadata"]["annotations"]
    assert notes == {"seen": "aba"}
    hooks.create("elsewhere", namespace="unwatched")
    assert "annotations" not in hooks.it.objects("configmap", "-n", "unwatched", "elsewhere")[0]["metadata"]
    assert "/add/a CREATE ConfigMap changed False kubernetes-admin" in hooks.log()


def test_refusals_failures_and_timeouts(hooks: Hooks) -> None:
    hooks.set(
        "Validating",
        {"path": "/deny", "objectSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}},
    )
    assert 'admission webhook "h0.hooks.example" denied the request: not today' in hooks.create("denied")
    assert not hooks.it.objects("configmap", "-n", "watched", "denied")
    hooks.set("Validating", {"path": "/slow", "timeoutSeconds": 1})
    said = hooks.create("slow")
    assert 'failed calling webhook "h0.hooks.example"' in said
    hooks.set("Validating", {"path": "/slow", "timeoutSeconds": 1, "failurePolicy": "Ignore"})
    assert "created" in hooks.create("slow")
    hooks.set("Validating", {"path": "/", "service": "missing"})
    assert 'service "missing" not found' in hooks.create("lost")
    hooks.set("Validating", {"path": "/", "service": "missing", "failurePolicy": "Ignore"})
    assert "created" in hooks.create("lost")


def test_dry_runs_reach_only_hooks_without_side_effects(hooks: Hooks) -> None:
    hooks.set("Mutating", {"path": "/add/c"})
    said = hooks.create("dry", "--dry-run=server", "-o", "json")
    assert json.JSONDecoder().raw_decode(said[said.index("{") :])[0]["metadata"]["annotations"] == {
        "seen": "c"
    }
    assert not hooks.it.objects("configmap", "-n", "watched", "dry")
    assert "/add/c CREATE ConfigMap dry True kubernetes-admin" in hooks.log()
    hooks.set("Mutating", {"path": "/add/c", "sideEffects": "NoneOnDryRun"})
    assert "created (server dry run)" in hooks.create("dry", "--dry-run=server")
