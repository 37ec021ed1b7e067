"""kubectl's commands on a real cluster: what they say, and what is there afterwards."""

from __future__ import annotations

import json
import re
import select
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "commands"
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "web", "image": "busybox:1", "command": ["httpd", "-f", "-p", "8080"], "ports": [{"containerPort": 8080, "name": "http"}]},
        ]}},
    },
}  # fmt: skip


class Session:
    """kubectl in one namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __call__(self, line: str, stdin: str = "", code: int = 0) -> str:
        """What a command says, on both outputs; it must end with the given code."""
        it = self.cluster.kubectl("-n", NAMESPACE, *shlex.split(line), stdin=stdin, check=False)
        assert it.returncode == code, f"{line} ended with {it.returncode}: {it.stdout}{it.stderr}"
        # That something has no effect is another test's matter.
        lines = (it.stdout + it.stderr).strip().splitlines()
        return "\n".join(line for line in lines if not line.startswith("Warning: skiff: "))

    def json(self, line: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self(f"{line} -o json"))


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Iterator[Session]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield Session(cluster)
    cluster.kubectl("delete", "namespace", NAMESPACE)


# --- create: bodies in protobuf ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("configmap c1 --from-literal=a=b --from-literal=empty=", "configmap/c1"),
        ("secret generic s1 --from-literal=k=v", "secret/s1"),
        ("secret docker-registry s2 --docker-username=u --docker-password=p --docker-server=s", "secret/s2"),
        ("serviceaccount a1", "serviceaccount/a1"),
        ("deployment d1 --image=busybox:1 --replicas=0 --port=80 -- sleep 1000", "deployment.apps/d1"),
        ("job j1 --image=busybox:1 -- echo done", "job.batch/j1"),
        ("cronjob c1 --image=busybox:1 --schedule='*/5 * * * *' --restart=Never -- echo x", "cronjob.batch/c1"),
        ("role r1 --verb=get,list --resource=pods,deployments.apps --resource-name=x", "role.rbac.authorization.k8s.io/r1"),
        ("rolebinding b1 --role=r1 --serviceaccount=default:a1 --user=joe --group=g", "rolebinding.rbac.authorization.k8s.io/b1"),
        ("clusterrole commands1 --verb=get --non-resource-url=/x", "clusterrole.rbac.authorization.k8s.io/commands1"),
        ("clusterrole commands2 --aggregation-rule=a=b", "clusterrole.rbac.authorization.k8s.io/commands2"),
        ("clusterrolebinding commands --clusterrole=view --user=joe", "clusterrolebinding.rbac.authorization.k8s.io/commands"),
        ("service clusterip s1 --tcp=80:8080 --tcp=81:name", "service/s1"),
        ("service nodeport s2 --tcp=80:8080 --node-port=30123", "service/s2"),
        ("service loadbalancer s3 --tcp=80:8080", "service/s3"),
        ("service externalname s4 --external-name=example.com", "service/s4"),
        ("quota q1 --hard=pods=50 --scopes=BestEffort", "resourcequota/q1"),
        ("poddisruptionbudget p1 --selector=app=web --min-available=50%", "poddisruptionbudget.policy/p1"),
        ("poddisruptionbudget p2 --selector=app=web --max-unavailable=1", "poddisruptionbudget.policy/p2"),
        ("priorityclass commands --value=-10 --description=d --preemption-policy=Never", "priorityclass.scheduling.k8s.io/commands"),
        ("ingress i1 --rule='h.example.com/x*=s1:80,tls=cert' --class=c --default-backend=s1:80", "ingress.networking.k8s.io/i1"),
    ],
    ids=lambda it: it.split()[0] if " " in it else None,
)  # fmt: skip
def test_what_is_created_is_what_kubectl_means(kubectl: Session, command: str, name: str) -> None:
    options, separator, program = command.partition(" -- ")
    meant = json.loads(kubectl(f"create {options} --dry-run=client -o json{separator}{program}"))
    assert kubectl(f"create {command}") == f"{name} created"
    stored = kubectl.json(f"get {name}")
    assert _missing(meant, stored) == []
    assert "already exists" in kubectl(f"create {command}", code=1)


def _missing(meant: Any, stored: Any, place: str = "") -> list[str]:
    """Places of what is meant and not stored; empty things and zeros may be left out."""
    if isinstance(meant, dict) and isinstance(stored, dict | None):
        held = stored or {}
        return [it for key, value in meant.items() for it in _missing(value, held.get(key), f"{place}.{key}")]
    if isinstance(meant, list) and isinstance(stored, list) and len(meant) == len(stored):
        return [
            it
            for n, (one, other) in enumerate(zip(meant, stored, strict=True))
            for it in _missing(one, other, f"{place}[{n}]")
        ]
    return (
        []
        if meant == stored or (not meant and stored is None)
        else [f"{place}: {meant!r} is stored as {stored!r}"]
    )


def test_tokens_and_rights(kubectl: Session) -> None:
    kubectl("create serviceaccount asker")
    kubectl("create role reader --verb=get --resource=pods")
    kubectl("create rolebinding reader --role=reader --serviceaccount=commands:asker")
    token = kubectl("create token asker --duration=10m --audience=me")
    assert token.count(".") == 2
    assert kubectl("auth can-i get pods") == "yes"
    assert kubectl(f"auth can-i get pods --as=system:serviceaccount:{NAMESPACE}:asker") == "yes"
    assert kubectl(f"auth can-i delete pods --as=system:serviceaccount:{NAMESPACE}:asker", code=1) == "no"
    assert "pods" in kubectl(f"auth can-i --list --as=system:serviceaccount:{NAMESPACE}:asker")
    assert "kubernetes-admin" in kubectl("auth whoami")
    refused = kubectl(f"get secrets --as=system:serviceaccount:{NAMESPACE}:asker", code=1)
    assert f'cannot list resource "secrets" in API group "" in the namespace "{NAMESPACE}"' in refused


# --- a workload's life ----------------------------------------------------------------------------------


def test_a_deployment_from_apply_to_delete(kubectl: Session) -> None:
    text = json.dumps(DEPLOYMENT)
    assert kubectl("apply -f -", text) == "deployment.apps/web created"
    assert kubectl("apply -f -", text) == "deployment.apps/web unchanged"
    assert kubectl("diff -f -", text) == ""
    assert "+  replicas: 3" in kubectl("diff -f -", text.replace('"replicas": 2', '"replicas": 3'), code=1)
    assert kubectl("apply --server-side -f -", text) == "deployment.apps/web serverside-applied"
    assert "successfully rolled out" in kubectl("rollout status deployment/web --timeout=60s")
    assert kubectl("set env deployment/web A=b") == "deployment.apps/web env updated"
    assert kubectl("set image deployment/web web=busybox:2") == "deployment.apps/web image updated"
    assert "successfully rolled out" in kubectl("rollout status deployment/web --timeout=60s")
    assert re.findall(r"^\d+", kubectl("rollout history deployment/web"), re.MULTILINE) == ["1", "2", "3"]
    assert "rolled back" in kubectl("rollout undo deployment/web --to-revision=1")
    assert kubectl("rollout restart deployment/web") == "deployment.apps/web restarted"
    assert kubectl("rollout pause deployment/web") == "deployment.apps/web paused"
    assert kubectl("rollout resume deployment/web") == "deployment.apps/web resumed"
    assert "successfully rolled out" in kubectl("rollout status deployment/web --timeout=60s")
    assert (
        kubectl("autoscale deployment web --min=1 --max=3 --cpu=50%")
        == "horizontalpodautoscaler.autoscaling/web autoscaled"
    )
    assert kubectl("scale deployment/web --replicas=1") == "deployment.apps/web scaled"
    assert (
        kubectl("scale deployment/web --replicas=3 --current-replicas=2", code=1)
        == "error: Expected replicas to be 2, was 1"
    )
    assert (
        kubectl("wait deployment/web --for=jsonpath={.status.replicas}=1 --timeout=30s")
        == "deployment.apps/web condition met"
    )
    assert kubectl("expose deployment web --port=80 --target-port=http") == "service/web exposed"
    assert re.search(r"web +ClusterIP +10\.96\.\d+\.\d+ +<none> +80/TCP +\d+s", kubectl("get service web"))
    for kind in ("deployment", "replicaset", "pod", "service", "endpointslice", "horizontalpodautoscaler"):
        assert "web" in kubectl(f"describe {kind}"), kind
    owned = kubectl.json("get replicaset -l app=web")["items"]
    assert (
        kubectl("delete deployment web --cascade=orphan")
        == f'deployment.apps "web" deleted from {NAMESPACE} namespace'
    )
    left = kubectl.json("get replicaset -l app=web")["items"]
    assert {it["metadata"]["uid"] for it in left} == {it["metadata"]["uid"] for it in owned}
    assert not any("ownerReferences" in it["metadata"] for it in left)
    kubectl("delete replicaset -l app=web --cascade=foreground")
    assert kubectl("get replicaset,pod -l app=web") == f"No resources found in {NAMESPACE} namespace."


def test_labels_patches_and_edits(kubectl: Session) -> None:
    kubectl("create configmap it --from-literal=a=b")
    assert kubectl("label configmap it tier=front") == "configmap/it labeled"
    assert "--overwrite is false" in kubectl("label configmap it tier=back", code=1)
    assert kubectl("label configmap it tier-") == "configmap/it unlabeled"
    assert kubectl("annotate configmap it note=x") == "configmap/it annotated"
    assert kubectl("""patch configmap it -p '{"data":{"c":"d"}}'""") == "configmap/it patched"
    assert (
        kubectl("""patch configmap it --type=merge -p '{"data":{"c":"d"}}'""")
        == "configmap/it patched (no change)"
    )
    assert (
        kubectl("""patch configmap it --type=json -p '[{"op":"remove","path":"/data/c"}]'""")
        == "configmap/it patched"
    )
    kubectl.cluster.environment["KUBE_EDITOR"] = "sed -i 's/a: b/a: edited/'"
    assert kubectl("edit configmap it") == "configmap/it edited"
    assert kubectl("get configmap it -o jsonpath={.data}") == '{"a":"edited"}'
    assert "no changes made" in kubectl("edit configmap it")
    stored = kubectl("get configmap it -o json")
    assert kubectl("replace -f -", stored) == "configmap/it replaced"
    assert "Operation cannot be fulfilled" in kubectl(
        "replace -f -", re.sub(r'("resourceVersion": ")\d+', r"\g<1>1", stored), code=1
    )


def test_a_pod_and_its_end(kubectl: Session) -> None:
    assert kubectl("run one --image=busybox:1 --labels=x=y --env=A=b -- sleep 10000") == "pod/one created"
    assert kubectl("wait pod/one --for=condition=Ready --timeout=30s") == "pod/one condition met"
    assert re.search(
        r"^one +1/1 +Running +0 +\d+s +10\.244\.\d+\.\d+ +skiff +<none> +<none>$",
        kubectl("get pod one -o wide --no-headers"),
    )
    assert (
        kubectl("get pods --field-selector=status.phase=Running,spec.nodeName=skiff -l x=y -o name")
        == "pod/one"
    )
    assert kubectl(
        "get pods -l x=y -o custom-columns=N:.metadata.name,P:.status.phase --no-headers"
    ).split() == ["one", "Running"]
    assert "pod/one" in kubectl("events --for pod/one").lower()
    assert "Defaulting debug container name to debugger-" in kubectl("debug one --image=busybox:1 -- sh")
    assert kubectl("top pod").splitlines()[0].split() == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert kubectl("delete pod one --now --wait=false") == f'pod "one" deleted from {NAMESPACE} namespace'
    assert kubectl("wait pod/one --for=delete --timeout=30s") in ("pod/one condition met", "")
    assert kubectl("delete pod one", code=1) == 'Error from server (NotFound): pods "one" not found'
    assert kubectl("delete pod one --ignore-not-found") == ""


def test_what_is_wrong_is_said_as_kubernetes_says_it(kubectl: Session) -> None:
    unknown = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, "nope": 1}
    assert 'strict decoding error: unknown field "nope"' in kubectl("apply -f -", json.dumps(unknown), code=1)
    bad = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Bad_"}, "spec": {}}
    said = kubectl("apply -f -", json.dumps(bad), code=1)
    assert 'The Pod "Bad_" is invalid' in said
    assert "spec.containers: Required value" in said
    nobody = {"apiVersion": "v1", "kind": "Nobody", "metadata": {"name": "x"}}
    assert 'no matches for kind "Nobody" in version "v1"\nensure CRDs are installed first' in kubectl(
        "apply -f -", json.dumps(nobody), code=1
    )
    assert kubectl("get nothing", code=1) == 'error: the server doesn\'t have a resource type "nothing"'


def test_the_node_is_emptied_and_used_again(new_cluster: type[Cluster]) -> None:
    with new_cluster() as cluster:
        cluster.apply(DEPLOYMENT)
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert "node/skiff drained" in cluster.kubectl("drain", "skiff", "--force", "--timeout=60s").stdout
        assert re.search(r"skiff +Ready,SchedulingDisabled", cluster.kubectl("get", "nodes").stdout)
        assert all(it["status"]["phase"] == "Pending" for it in cluster.objects("pods"))
        cluster.kubectl("uncordon", "skiff")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_a_custom_kind(kubectl: Session) -> None:
    version = {
        "name": "v1", "served": True, "storage": True,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "string", "jsonPath": ".spec.size"},
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "string", "default": "big", "description": "How big"}, "replicas": {"type": "integer"}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        }}},
    }  # fmt: skip
    names = {"plural": "things", "kind": "Thing", "shortNames": ["th"]}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
    }
    kubectl("create -f -", json.dumps({**definition, "spec": spec}))
    kubectl("wait crd/things.example.com --for=condition=Established --timeout=10s")
    thing = json.dumps(
        {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"replicas": 2}}
    )
    assert kubectl("apply -f -", thing) == "thing.example.com/t created"
    assert kubectl("apply -f -", thing) == "thing.example.com/t unchanged"
    kubectl(
        """patch thing t --subresource=status --type=merge -p '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'"""
    )
    assert kubectl("get th").splitlines()[0].split() == ["NAME", "SIZE", "READY", "AGE"]
    assert kubectl("get th --no-headers").split()[:3] == ["t", "big", "True"]
    assert kubectl("scale thing t --replicas=4") == "thing.example.com/t scaled"
    assert kubectl("get thing t -o jsonpath={.spec.replicas}") == "4"
    assert "How big" in kubectl("explain thing.spec.size")
    assert "size" in kubectl("explain thing --recursive")
    kubectl("delete crd things.example.com")
    assert "thing" not in kubectl("api-resources -o name --cached=false")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("api-resources", "deployments"), ("api-versions", "networking.k8s.io/v1"), ("cluster-info", "is running at"),
        ("version", "Server Version: v1.37"), ("explain pod.spec.containers", "FIELD: containers <[]Container>"),
        ("explain deployment --recursive", "maxSurge"), ("get all -A", "service/kubernetes"), ("get --raw /readyz", "ok"),
        ("describe node skiff", "KubeletReady"), ("describe namespace default", "No LimitRange resource"),
        ("get namespaces --chunk-size=2", "kube-system"), ("config current-context", "skiff"),
        ("get pods --namespace nowhere", "No resources found in nowhere namespace."),
    ],
)  # fmt: skip
def test_questions(kubectl: Session, line: str, wanted: str) -> None:
    assert wanted in kubectl(line)


def test_watching_shows_changes_as_rows(kubectl: Session) -> None:
    it = kubectl.cluster.process(
        "kubectl", "-n", NAMESPACE, "get", "configmaps", "--watch-only", "-o", "name"
    )
    assert it.stdout
    kubectl.cluster.until(lambda: _watched(kubectl, it.stdout), "the watch tells of a change")
    it.kill()
    it.communicate(timeout=30)


def _watched(kubectl: Session, output: Any) -> bool:
    kubectl("create configmap seen")
    kubectl("delete configmap seen")
    return bool(select.select([output], [], [], 0.5)[0]) and "configmap/seen" in output.readline()
