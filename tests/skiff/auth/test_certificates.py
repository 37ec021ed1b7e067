"""Who gets a certificate? Requests that are approved, denied, misused; asked of a running cluster."""

from __future__ import annotations

import base64
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

CLIENT, KUBELET = "kubernetes.io/kube-apiserver-client", "kubernetes.io/kubelet-serving"
USAGES = ["client auth", "digital signature", "key encipherment"]


def request(
    name: str, key: ec.EllipticCurvePrivateKey, common: str, *groups: str, signer: str = CLIENT, **spec: Any
) -> dict[str, Any]:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, it) for it in groups]
    subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if signer == KUBELET:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("node")]), critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": base64.b64encode(pem).decode(), "signerName": signer, "usages": USAGES, **spec},
    }  # fmt: skip


KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def it(cluster: Cluster) -> Any:
    yield cluster
    cluster.kubectl("delete", "csr", "--all")


def conditions(it: Cluster, name: str) -> list[str]:
    [found] = it.objects("csr", name)
    return [each["type"] for each in found.get("status", {}).get("conditions", [])]


@pytest.mark.finding("skiff 8")
def test_an_approved_request_becomes_a_certificate(it: Cluster) -> None:
    asked = request(
        "jane",
        KEY,
        "jane",
        "devs",
        expirationSeconds=3600,
        username="somebody-else",
        groups=["system:masters"],
    )
    it.apply(asked)
    assert it.kubectl("get", "csr", "jane", "--no-headers").stdout.split()[1:] != []
    [found] = it.objects("csr", "jane")
    assert found["spec"]["username"] == "kubernetes-admin"  # who asks is the server's word
    assert conditions(it, "jane") == []
    it.kubectl("certificate", "approve", "jane")
    assert conditions(it, "jane") == ["Approved"]
    [done] = it.until(
        lambda: [each for each in it.objects("csr", "jane") if "certificate" in each["status"]],
        "it is issued",
    )
    pem = base64.b64decode(done["status"]["certificate"])
    made = x509.load_pem_x509_certificate(pem)
    assert (made.not_valid_after_utc - made.not_valid_before_utc).total_seconds() == 3600 + 300
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    (it.folder / "jane.crt").write_bytes(pem)
    key = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (it.folder / "jane.key").write_bytes(key)
    who = it.kubectl(
        "--kubeconfig=/dev/null", "--server=https://127.0.0.1:6443", f"--certificate-authority={it.home / 'ca.pem'}",
        f"--client-certificate={it.folder / 'jane.crt'}", f"--client-key={it.folder / 'jane.key'}", "auth", "whoami", "-o", "json",
    )  # fmt: skip
    assert json.loads(who.stdout)["status"]["userInfo"] == {
        "username": "jane",
        "groups": ["devs", "system:authenticated"],
    }
    assert "Approved,Issued" in it.kubectl("get", "csr", "jane").stdout
    assert ssl.PEM_cert_to_DER_cert(pem.decode())


@pytest.mark.finding("skiff 8")
def test_decisions_stand(it: Cluster) -> None:
    for name in ("no", "other"):
        it.apply(request(name, KEY, "joe"))
    it.kubectl("certificate", "deny", "no")
    assert conditions(it, "no") == ["Denied"]
    # What was asked for cannot be changed afterwards, and a status is no approval.
    spec = json.dumps({"spec": {"usages": ["any"], "username": "root"}})
    it.kubectl("patch", "csr", "other", "--type=merge", "-p", spec)
    approved = {"type": "Approved", "status": "True", "reason": "x"}
    it.kubectl(
        "patch",
        "csr",
        "other",
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps({"status": {"conditions": [approved]}}),
    )
    [other] = it.objects("csr", "other")
    assert other["spec"]["usages"] == USAGES
    assert other["spec"]["username"] == "kubernetes-admin"
    assert conditions(it, "other") == []


@pytest.mark.finding("skiff 8")
def test_what_a_signer_does_not_sign(it: Cluster) -> None:
    def refused(asked: dict[str, Any]) -> str:
        said = it.kubectl("create", "-f", "-", stdin=json.dumps(asked), check=False)
        assert said.returncode == 1
        return said.stderr

    assert "with system:masters group is not allowed" in refused(request("a", KEY, "a", "system:masters"))
    assert "the legacy signerName is not allowed" in refused(
        request("b", KEY, "b", signer="kubernetes.io/legacy-unknown")
    )
    assert "fully qualified domain" in refused(request("c", KEY, "c", signer="me"))
    assert 'Unsupported value: "everything"' in refused(request("d", KEY, "d", usages=["everything"]))
    assert "600 seconds" in refused(request("e", KEY, "e", expirationSeconds=5))
    broken = request("f", KEY, "f")
    broken["spec"]["request"] = base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n").decode()
    assert "PEM block type must be CERTIFICATE REQUEST" in refused(broken)
    it.apply(
        request("wrong", KEY, "x", signer=KUBELET, usages=["server auth"]),
        request("usage", KEY, "x", usages=["client auth", "cert sign"]),
    )
    it.apply(request("own", KEY, "x", signer="example.com/own"))
    it.kubectl("certificate", "approve", "wrong", "usage", "own")
    for name in ("wrong", "usage"):
        it.until(lambda name=name: conditions(it, name) == ["Approved", "Failed"], "the signer says no")
    assert "certificate" not in it.objects("csr", "own")[0]["status"]  # somebody else's signer


@pytest.mark.finding("skiff 8")
def test_approving_needs_the_right_to_the_signer(it: Cluster) -> None:
    it.apply(request("asked", KEY, "eve"))
    it.kubectl(
        "create",
        "clusterrole",
        "csr-approver",
        "--verb=get,update",
        "--resource=certificatesigningrequests,certificatesigningrequests/approval",
    )
    it.kubectl("create", "clusterrolebinding", "csr-approver", "--clusterrole=csr-approver", "--user=ann")
    try:
        said = it.kubectl("certificate", "approve", "asked", "--as=ann", check=False)
        assert f'user not permitted to approve requests with signerName "{CLIENT}"' in said.stderr
        it.kubectl(
            "patch", "clusterrole", "csr-approver", "--type=json", "-p",
            json.dumps([{"op": "add", "path": "/rules/-", "value": {
                "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["approve"], "resourceNames": ["kubernetes.io/*"],
            }}]),
        )  # fmt: skip
        it.kubectl("certificate", "approve", "asked", "--as=ann")
    finally:
        it.kubectl("delete", "clusterrolebinding,clusterrole", "csr-approver")
