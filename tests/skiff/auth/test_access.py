"""Who is let in, and to what? Asked of a running cluster with real tokens and certificates."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from skiff.auth.pki import ClusterPki
from skiff.auth.tokens import ISSUER, Tokens
from skiff.errors import ApiError

if TYPE_CHECKING:
    from pathlib import Path

    from cluster import Cluster

NAMESPACE = "access"


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("create", "serviceaccount", "-n", NAMESPACE, "robot")
    return cluster


def token(it: Cluster, *options: str) -> str:
    return it.kubectl("create", "token", "-n", NAMESPACE, "robot", *options).stdout.strip()


def by(it: Cluster, bearer: str, *words: str) -> tuple[int, str]:
    """As somebody with a token and no certificate: (exit code, what was said)."""
    ca = it.home / "ca.pem"
    where = [
        "--kubeconfig=/dev/null",
        "--server=https://127.0.0.1:6443",
        f"--certificate-authority={ca}",
        f"--token={bearer}",
    ]
    said = it.kubectl(*where, *words, check=False)
    return said.returncode, said.stdout + said.stderr


def review(it: Cluster, bearer: str, *audiences: str) -> dict[str, Any]:
    wanted = {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": bearer, "audiences": list(audiences)},
    }  # fmt: skip
    said = it.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(wanted)).stdout
    status: dict[str, Any] = json.loads(said)["status"]
    return status


@pytest.mark.root
def test_roles_grant_what_they_say_and_no_more(it: Cluster) -> None:
    bearer = token(it)
    code, said = by(it, bearer, "get", "pods", "-n", NAMESPACE)
    assert code == 1
    user = f"system:serviceaccount:{NAMESPACE}:robot"
    assert (
        f'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" in the namespace "{NAMESPACE}"'
        in said
    )
    it.kubectl(
        "create",
        "role",
        "-n",
        NAMESPACE,
        "reader",
        "--verb=get,list",
        "--resource=pods,configmaps",
        "--resource-name=only",
    )
    it.kubectl(
        "create",
        "rolebinding",
        "-n",
        NAMESPACE,
        "reader",
        "--role=reader",
        f"--serviceaccount={NAMESPACE}:robot",
    )
    assert by(it, bearer, "get", "configmap", "-n", NAMESPACE, "only")[1].startswith(
        "Error from server (NotFound)"
    )
    assert "forbidden" in by(it, bearer, "get", "configmap", "-n", NAMESPACE, "other")[1]
    assert "forbidden" in by(it, bearer, "get", "pods", "-n", "default")[1]
    assert "forbidden" in by(it, bearer, "delete", "pod", "-n", NAMESPACE, "only")[1]
    assert by(it, bearer, "auth", "can-i", "get", "pods/only", "-n", NAMESPACE)[1] == "yes\n"
    assert by(it, bearer, "auth", "can-i", "create", "pods", "-n", NAMESPACE)[1].startswith("no")
    assert user in by(it, bearer, "auth", "whoami")[1]
    as_it = it.kubectl("get", "nodes", f"--as={user}", check=False)
    assert "cannot list resource" in as_it.stderr


@pytest.mark.root
def test_roles_collect_others_by_label(it: Cluster) -> None:
    it.kubectl("create", "rolebinding", "-n", NAMESPACE, "viewer", "--clusterrole=view", "--user=ann")
    ask = ("auth", "can-i", "list", "leases.coordination.k8s.io", "-n", NAMESPACE, "--as=ann")
    assert it.kubectl(*ask, check=False).stdout == "no\n"
    it.kubectl("create", "clusterrole", "leases", "--verb=list", "--resource=leases.coordination.k8s.io")
    it.kubectl("label", "clusterrole", "leases", "rbac.authorization.k8s.io/aggregate-to-view=true")
    assert it.kubectl(*ask).stdout == "yes\n"
    assert (
        it.kubectl("auth", "can-i", "get", "secrets", "-n", NAMESPACE, "--as=ann", check=False).stdout
        == "no\n"
    )


@pytest.mark.root
def test_strangers_are_refused(it: Cluster) -> None:
    assert "You must be logged in" in by(it, "no.such.token", "get", "pods")[1]
    look = (
        "import ssl, sys, urllib.request, urllib.error\nc = ssl.create_default_context(cafile=sys.argv[1])\n"
    )
    look += "for path in ('/api/v1/pods', '/version', '/healthz'):\n try: print(urllib.request.urlopen(sys.argv[2] + path, context=c).status)\n"
    look += " except urllib.error.HTTPError as e: print(e.code, e.read().decode()[:500])"
    said = it.python(look, str(it.home / "ca.pem"), "https://127.0.0.1:6443").stdout.splitlines()
    assert said[0].startswith("403")
    assert 'User \\"system:anonymous\\" cannot list resource \\"pods\\"' in said[0]
    assert said[1:] == ["200", "200"]


@pytest.mark.root
def test_tokens_of_pods_end_with_them(it: Cluster) -> None:
    container = {"name": "main", "image": "busybox", "command": ["sleep", "1000"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bearer"},
        "spec": {"serviceAccountName": "robot", "containers": [container]},
    }
    it.apply(pod, namespace=NAMESPACE)
    it.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/bearer", "--timeout=30s")
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    own = it.kubectl("exec", "-n", NAMESPACE, "bearer", "--", "cat", path).stdout
    bound = token(
        it, "--bound-object-kind=Pod", "--bound-object-name=bearer", "--audience=shop", "--audience=bank"
    )
    assert review(it, own)["authenticated"]
    found = review(it, bound, "shop", "other")
    assert found["audiences"] == ["shop"]
    assert found["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["bearer"]
    assert "error" in review(it, bound, "other")
    assert "error" in review(it, bound)  # it is not for the API server
    it.kubectl("delete", "pod", "-n", NAMESPACE, "bearer", "--force", "--grace-period=0")
    for it_ends in (own, bound):
        assert not review(it, it_ends, *(["shop"] if it_ends is bound else [])).get("authenticated")
    refused = it.kubectl(
        "create",
        "token",
        "-n",
        NAMESPACE,
        "robot",
        "--bound-object-kind=Pod",
        "--bound-object-name=gone",
        check=False,
    )
    assert 'pods "gone" not found' in refused.stderr


@pytest.mark.root
def test_nobody_grants_what_he_does_not_hold(it: Cluster) -> None:
    """Neither by a role, nor by binding one, nor by a path that names a namespace for what belongs to none."""
    it.kubectl("create", "namespace", "granted")
    it.kubectl("create", "serviceaccount", "-n", "granted", "chief")
    it.kubectl(
        "create",
        "rolebinding",
        "-n",
        "granted",
        "chief",
        "--clusterrole=admin",
        "--serviceaccount=granted:chief",
    )
    bearer = it.kubectl("create", "token", "-n", "granted", "chief").stdout.strip()
    user = "system:serviceaccount:granted:chief"

    def says(*words: str) -> str:
        return by(it, bearer, *words, "-n", "granted")[1]

    assert "created" in says("create", "role", "reader", "--verb=get", "--resource=pods")
    assert "created" in says("create", "rolebinding", "more", "--clusterrole=view", f"--user={user}")
    said = says("create", "role", "node-reader", "--verb=get,list", "--resource=nodes")
    assert f'user "{user}" (groups=' in said
    assert (
        'permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get", "list"]}'
        in said
    )
    assert "not currently held" in says(
        "create", "rolebinding", "all", "--clusterrole=cluster-admin", f"--user={user}"
    )
    assert '"nope" not found' in says("create", "rolebinding", "later", "--role=nope", f"--user={user}")
    it.kubectl("create", "role", "-n", "granted", "everything", "--verb=*", "--resource=*.*")
    it.kubectl(
        "create",
        "rolebinding",
        "-n",
        "granted",
        "everything",
        "--role=everything",
        "--serviceaccount=granted:chief",
    )
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "mine"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }  # fmt: skip
    where = "/apis/rbac.authorization.k8s.io/v1/namespaces/granted/clusterrolebindings"
    code, said = by(it, bearer, "create", f"--raw={where}", "-f", str(written(it, "binding.json", binding)))
    assert code == 1
    assert "could not find the requested resource" in said
    assert not it.objects("clusterrolebinding", "mine")


def written(it: Cluster, name: str, content: dict[str, Any]) -> Path:
    path = it.folder / name
    path.write_text(json.dumps(content))
    return path


def test_tokens_expire_and_cannot_be_forged(tmp_path: Path) -> None:
    now = [1000.0]
    pki = ClusterPki.load_or_create(tmp_path / "one")
    tokens = Tokens(pki, clock=lambda: now[0])
    made, _ = tokens.issue("shop", "cart", expires_s=600)
    assert tokens.review(made).name == "system:serviceaccount:shop:cart"
    assert tokens.reviewed(made) == (tokens.review(made), [ISSUER])
    head, claims, signature = made.split(".")
    for forged in (
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{claims[:-2]}.{signature}",
        f"{claims}.{head}.{signature}",
        "x",
        "",
    ):
        with pytest.raises(ApiError):
            tokens.review(forged)
    with pytest.raises(ApiError):
        Tokens(ClusterPki.load_or_create(tmp_path / "other"), clock=lambda: now[0]).review(made)
    now[0] += 601
    with pytest.raises(ApiError, match="expired"):
        tokens.review(made)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    pki = ClusterPki.load_or_create(tmp_path / "pki")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "pki").iterdir()} == {0o600}
    assert ClusterPki.load_or_create(tmp_path / "pki").ca_pem == pki.ca_pem
    assert pki.server_context(["localhost", "127.0.0.1"]).verify_mode is ssl.CERT_OPTIONAL
