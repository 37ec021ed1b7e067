"""Does a pod live as on any other Kubernetes? Asked of a running cluster, by the real kubectl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.root

NAMESPACE = "pods"


@pytest.fixture(scope="module")
def it(cluster: Cluster) -> Cluster:
    cluster.kubectl("create", "namespace", NAMESPACE)
    return cluster


def pod(
    name: str, *containers: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}, "annotations": {"note": 'say "hi"'}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": list(containers), **spec},
    }  # fmt: skip


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


FOREVER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


def one(it: Cluster, name: str) -> dict[str, Any]:
    found = it.objects("pod", "-n", NAMESPACE, name)
    return found[0] if found else {}


def ready(it: Cluster, name: str, seconds: float = 30.0) -> dict[str, Any]:
    def is_ready() -> dict[str, Any]:
        found = one(it, name)
        held = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions", ())}
        return found if held.get("Ready") == "True" else {}

    return it.until(is_ready, f"pod {name} is ready", seconds)


def phase(it: Cluster, name: str, wanted: str) -> dict[str, Any]:
    def is_so() -> dict[str, Any]:
        found = one(it, name)
        return found if found.get("status", {}).get("phase") == wanted else {}

    return it.until(is_so, f"pod {name} is {wanted}", 30.0)


def logs(it: Cluster, name: str, *options: str) -> str:
    return it.kubectl("logs", "-n", NAMESPACE, name, *options).stdout


def sh(it: Cluster, name: str, script: str, *options: str, check: bool = True) -> str:
    said = it.kubectl("exec", "-n", NAMESPACE, name, *options, "--", "sh", "-c", script, check=check)
    return said.stdout + ("" if check else said.stderr)


def events(it: Cluster, name: str) -> dict[str, str]:
    found = it.objects("events", "-n", NAMESPACE, f"--field-selector=involvedObject.name={name}")
    return {f"{e['reason']}": e["message"] for e in found}


def test_environment_from_every_source(it: Cluster) -> None:
    it.kubectl(
        "create",
        "configmap",
        "-n",
        NAMESPACE,
        "settings",
        "--from-literal=colour=blue",
        "--from-literal=SIZE=3",
    )
    it.kubectl("create", "secret", "generic", "-n", NAMESPACE, "keys", "--from-literal=password=s3cret")
    fields = {
        "POD": "metadata.name", "NS": "metadata.namespace", "IP": "status.podIP", "HOST_IP": "status.hostIP",
        "SA": "spec.serviceAccountName", "NODE": "spec.nodeName", "UID_": "metadata.uid", "APP": "metadata.labels['app']",
        "NOTE": "metadata.annotations['note']",
    }  # fmt: skip
    env = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()]
    env += [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "x", "optional": True}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
        {"name": "GREETING", "value": "$(COLOUR)-$(MISSING)-$$(COLOUR)"},
    ]
    container = shell(
        "main", 'env; echo "args $0 $1"', env=env, args=["$(COLOUR)", "two"],
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        resources={"limits": {"cpu": "1500m", "memory": "64Mi"}},
    )  # fmt: skip
    it.apply(pod("env", container, restartPolicy="Never"), namespace=NAMESPACE)
    status = phase(it, "env", "Succeeded")["status"]
    said = logs(it, "env").splitlines()
    env_said = dict(line.split("=", 1) for line in said if "=" in line)
    assert env_said["POD"] == "env"
    assert env_said["NS"] == NAMESPACE
    assert env_said["IP"] == status["podIP"]
    assert env_said["HOST_IP"] == status["hostIP"]
    assert (env_said["SA"], env_said["NODE"], env_said["APP"]) == ("default", "skiff", "env")
    assert env_said["NOTE"] == 'say "hi"'
    assert (env_said["COLOUR"], env_said["PASSWORD"], env_said["P_SIZE"]) == ("blue", "s3cret", "3")
    assert "NONE" not in env_said
    assert (env_said["CPU"], env_said["MEM"]) == ("2", "64")
    assert env_said["GREETING"] == "blue-$(MISSING)-$(COLOUR)"
    assert env_said["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert env_said["HOSTNAME"] == "env"
    assert "args blue two" in said


def test_an_optional_config_map_lies_inside_another_volume(it: Cluster) -> None:
    """As sidecars mount the list of revoked certificates below the root certificate; it may come later, or never."""
    it.kubectl("create", "configmap", "-n", NAMESPACE, "outer", "--from-literal=root.pem=one")
    mounts = [
        {"name": "inner", "mountPath": "/var/run/outer/crl"},
        {"name": "outer", "mountPath": "/var/run/outer"},
    ]
    main = shell(
        "main",
        "ls /var/run/outer /var/run/outer/crl; until [ -e /var/run/outer/crl/ca.crl ]; do sleep 0.2; done; cat /var/run/outer/*.pem",
        volumeMounts=mounts,
        securityContext={"readOnlyRootFilesystem": True, "runAsUser": 1337},
    )
    volumes = [
        {"name": "outer", "configMap": {"name": "outer"}},
        {"name": "inner", "configMap": {"name": "inner", "optional": True}},
    ]
    it.apply(pod("inside", main, restartPolicy="Never", volumes=volumes), namespace=NAMESPACE)
    phase(it, "inside", "Running")
    it.kubectl("create", "configmap", "-n", NAMESPACE, "inner", "--from-literal=ca.crl=x")
    phase(it, "inside", "Succeeded")
    assert logs(it, "inside").splitlines()[-1] == "one"


def test_volumes_and_their_updates(it: Cluster) -> None:
    it.kubectl(
        "create",
        "configmap",
        "-n",
        NAMESPACE,
        "files",
        "--from-literal=a.conf=one",
        "--from-literal=b.conf=two",
    )
    token = {"serviceAccountToken": {"path": "token", "audience": "istio-ca", "expirationSeconds": 600}}
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {
            "path": "cpu",
            "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"},
        },
    ]
    mounts = {
        "/etc/files": "files", "/tokens": "tokens", "/podinfo": "podinfo", "/scratch": "scratch", "/mem": "memory",
    }  # fmt: skip
    listed = [{"mountPath": path, "name": name} for path, name in mounts.items()]
    listed.append({"mountPath": "/etc/only.conf", "name": "files", "subPath": "a.conf"})
    listed.append({"mountPath": "/scratch/inner", "name": "scratch", "subPathExpr": "$(POD)"})
    main = shell(
        "main", FOREVER, volumeMounts=listed, resources={"limits": {"cpu": "250m"}},
        env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    )  # fmt: skip
    other = shell("other", FOREVER, volumeMounts=[{"mountPath": "/shared", "name": "scratch"}])
    volumes = [
        {"name": "files", "configMap": {"name": "files", "defaultMode": 0o440}},
        {"name": "tokens", "projected": {"sources": [token]}},
        {"name": "podinfo", "downwardAPI": {"items": items}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    it.apply(
        pod("volumes", main, other, volumes=volumes, securityContext={"fsGroup": 3000}), namespace=NAMESPACE
    )
    ready(it, "volumes")
    assert sh(it, "volumes", "cat /etc/files/a.conf /etc/only.conf", "-c", "main") == "oneone"
    assert sh(it, "volumes", "stat -Lc '%a %g' /etc/files/a.conf", "-c", "main").strip() == "440 3000"
    assert (
        sh(it, "volumes", "cat /podinfo/labels; echo; cat /podinfo/cpu", "-c", "main") == 'app="volumes"\n250'
    )
    sh(it, "volumes", "echo shared > /scratch/note; echo in > /scratch/inner/x", "-c", "main")
    assert sh(it, "volumes", "cat /shared/note /shared/volumes/x", "-c", "other") == "shared\nin\n"
    assert "tmpfs" in sh(it, "volumes", "grep ' /mem ' /proc/mounts", "-c", "main")
    refused = sh(
        it,
        "volumes",
        "echo x > /etc/files/a.conf; head -c 3000000 /dev/zero > /mem/x",
        "-c",
        "main",
        check=False,
    )
    assert "Read-only file system" in refused
    assert sh(it, "volumes", "wc -c < /mem/x", "-c", "main").strip() == str(2**20)
    claims = it.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": sh(it, "volumes", "cat /tokens/token", "-c", "main"), "audiences": ["istio-ca"]},
    }))  # fmt: skip
    review = json.loads(claims.stdout)["status"]
    assert review["authenticated"]
    assert review["user"]["username"] == f"system:serviceaccount:{NAMESPACE}:default"
    assert review["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["volumes"]

    it.kubectl("label", "pod", "-n", NAMESPACE, "volumes", "tier=front")
    it.kubectl("patch", "configmap", "-n", NAMESPACE, "files", "-p", '{"data":{"a.conf":"new"}}')
    it.until(lambda: "tier" in sh(it, "volumes", "cat /podinfo/labels", "-c", "main"), "labels are updated")
    it.until(
        lambda: sh(it, "volumes", "cat /etc/files/a.conf", "-c", "main") == "new", "the ConfigMap is updated"
    )
    it.kubectl("delete", "pod", "-n", NAMESPACE, "volumes", "--wait")
    assert "volumes/memory" not in it.run("cat", "/proc/self/mountinfo").stdout


def test_init_containers_and_sidecars_in_order(it: Cluster) -> None:
    """Sidecars start in order, each after the one before has started; they end after the main containers, in reverse."""
    say = "echo {0} start >> /v/log; trap 'echo {0} end >> /v/log; exit 0' TERM; {1}; while :; do sleep 1000 & wait $!; done"
    mount = [{"name": "v", "mountPath": "/v"}]
    first = shell(
        "first", say.format("first", "sleep 1; touch /v/up"), volumeMounts=mount, restartPolicy="Always",
        startupProbe={"exec": {"command": ["cat", "/v/up"]}, "periodSeconds": 1, "failureThreshold": 20},
        readinessProbe={"exec": {"command": ["cat", "/v/ok"]}, "periodSeconds": 1},
    )  # fmt: skip
    plain = shell("plain", "cat /v/up; echo plain >> /v/log", volumeMounts=mount)
    second = shell("second", say.format("second", ":"), volumeMounts=mount, restartPolicy="Always")
    main = shell("main", say.format("main", ":"), volumeMounts=mount)
    host = {"name": "v", "hostPath": {"path": str(it.folder / "order"), "type": "DirectoryOrCreate"}}

    def log() -> list[str]:
        path = it.folder / "order" / "log"
        return path.read_text().splitlines() if path.exists() else []

    it.apply(pod("order", main, initContainers=[first, plain, second], volumes=[host]), namespace=NAMESPACE)
    it.until(lambda: "main start" in log(), "the main container started")
    # The first sidecar is not ready yet, and it counts.
    it.until(
        lambda: "2/3" in it.kubectl("get", "pod", "-n", NAMESPACE, "order").stdout, "two of three are ready"
    )
    assert {c["type"]: c["status"] for c in one(it, "order")["status"]["conditions"]}["Ready"] != "True"
    sh(it, "order", "touch /v/ok", "-c", "main")
    ready(it, "order")
    assert "3/3" in it.kubectl("get", "pod", "-n", NAMESPACE, "order").stdout
    it.kubectl("delete", "pod", "-n", NAMESPACE, "order", "--wait")
    assert log() == [
        "first start", "plain", "second start", "main start", "main end", "second end", "first end",
    ]  # fmt: skip


@pytest.mark.finding("conformance F17")
def test_a_sidecars_pre_stop_comes_first_and_its_signal_last(it: Cluster) -> None:
    """As the kubelet: all hooks begin with the pod's end, and the order of sidecars is that of their signals."""
    mount = [{"name": "v", "mountPath": "/v"}]
    say = "trap 'echo {0} >> /v/log; exit 0' TERM; while :; do sleep 1000 & wait $!; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /v/log"]}}}
    side = shell("side", say.format("side"), volumeMounts=mount, restartPolicy="Always", lifecycle=hook)
    slow = "trap 'sleep 1; echo main >> /v/log; exit 0' TERM; while :; do sleep 1000 & wait $!; done"
    host = {"name": "v", "hostPath": {"path": str(it.folder / "hooks"), "type": "DirectoryOrCreate"}}
    main = shell("main", slow, volumeMounts=mount)
    it.apply(pod("hooks", main, initContainers=[side], volumes=[host]), namespace=NAMESPACE)
    ready(it, "hooks")
    it.kubectl("delete", "pod", "-n", NAMESPACE, "hooks", "--wait")
    assert (it.folder / "hooks" / "log").read_text().split() == ["hook", "main", "side"]


@pytest.mark.finding("conformance F11")
def test_a_safe_sysctl_lets_a_user_listen_on_low_ports(it: Cluster) -> None:
    program = "import socket; socket.create_server(('0.0.0.0', 80)); print('listening', flush=True); input()"
    security = {"runAsUser": 1337, "runAsGroup": 1337, "capabilities": {"drop": ["ALL"]}}
    for name, sysctls, said in (
        ("open", [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}], "listening"),
        ("closed", [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "1024"}], "Permission denied"),
    ):
        main = {"name": "main", "image": "python:3", "command": ["python3", "-c", program], "stdin": True,
                "securityContext": security}  # fmt: skip
        it.apply(pod(f"low-{name}", main, securityContext={"sysctls": sysctls}), namespace=NAMESPACE)
        done = it.until(
            lambda name=name: it.kubectl("logs", "-n", NAMESPACE, f"low-{name}", check=False).stdout.strip(),
            f"low-{name} has spoken",
        )
        assert said in done


def test_security_context_is_enforced(it: Cluster) -> None:
    script = (
        "id -u; id -g; id -G; grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status; touch /x /tmp/x /usr/x; touch /v/$(id -u) && echo wrote;"
        f" ls {it.home} /root /home /tmp; cat {it.home}/pki/ca.key; mount -t tmpfs x /mnt; hostname nope; echo x > /proc/sys/vm/swappiness"
    )
    context = {
        "runAsUser": 1234, "runAsGroup": 2345, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    mounts = [{"name": "v", "mountPath": "/v"}]
    user = shell("user", f"({script}) 2>&1", securityContext=context, volumeMounts=mounts)
    root = shell("root", f"({script}) 2>&1; touch /x /var/lib/x && echo wrote", volumeMounts=mounts)
    net = shell(
        "net", "nft add table ip own && nft list tables && echo done", securityContext={"capabilities": {"add": ["NET_ADMIN"]}}
    )  # fmt: skip
    nobody = shell("nobody", "id -u", securityContext={"runAsNonRoot": True})
    it.apply(
        pod("secure", user, root, net, nobody, restartPolicy="Never", volumes=[{"name": "v", "emptyDir": {}}],
            securityContext={"supplementalGroups": [4000], "fsGroup": 5000}),
        namespace=NAMESPACE,
    )  # fmt: skip
    it.until(
        lambda: one(it, "secure")["status"].get("phase") in ("Succeeded", "Failed"),
        "all containers have ended",
    )
    said = logs(it, "secure", "-c", "user")
    assert said.splitlines()[:3] == ["1234", "2345", "2345 4000 5000"]
    assert "CapBnd:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    for path in ("/x", "/tmp/x", "/usr/x", "/proc/sys/vm/swappiness"):
        assert f"{path}: Read-only file system" in said
    assert "wrote" in said
    assert "ca.key': No such file or directory" in said
    assert "pki\n" not in said
    said = logs(it, "secure", "-c", "root")
    assert said.startswith("0\n")
    assert "ca.key': No such file or directory" in said
    assert "kubeconfig" not in said  # HOME of the one who started skiff may hold it
    assert said.rstrip().endswith("wrote")
    for path in ("/x", "/var/lib/x"):
        assert it.run("test", "-e", path, check=False).returncode == 1  # the host is not touched
    assert logs(it, "secure", "-c", "net").splitlines() == ["table ip own", "done"]
    assert logs(it, "secure", "-c", "nobody") == "65534\n"
    assert "skiff" not in it.run("nft", "list", "tables").stdout  # and nothing in the host's namespace

    contradiction = shell("main", "id", securityContext={"runAsNonRoot": True, "runAsUser": 0})
    it.apply(pod("contradiction", contradiction), namespace=NAMESPACE)
    it.until(
        lambda: "breaks non-root policy" in json.dumps(one(it, "contradiction")["status"]), "it is refused"
    )
    assert "CreateContainerConfigError" in it.kubectl("get", "pod", "-n", NAMESPACE, "contradiction").stdout
    it.kubectl("delete", "pod", "-n", NAMESPACE, "contradiction", "secure", "--wait")


def test_crashes_restarts_and_previous_logs(it: Cluster) -> None:
    script = "echo run $(cat /v/n 2>/dev/null); echo x >> /v/n; echo bad news > /dev/termination-log; exit 3"
    main = shell("main", script, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    it.apply(pod("crash", main, volumes=[{"name": "v", "emptyDir": {}}]), namespace=NAMESPACE)

    def state() -> dict[str, Any]:
        found = one(it, "crash")["status"].get("containerStatuses") or [{}]
        waiting = (found[0].get("state") or {}).get("waiting") or {}
        return found[0] if waiting.get("reason") == "CrashLoopBackOff" else {}

    held = it.until(state, "it waits for a restart")
    assert held["restartCount"] == 1  # the first restart follows at once
    last = held["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "bad news\n")
    assert logs(it, "crash") == "run x\n"
    said = events(it, "crash")
    assert {"Scheduled", "Pulled", "Created", "Started", "BackOff"} <= set(said)
    assert said["Scheduled"] == f"Successfully assigned {NAMESPACE}/crash to skiff"
    described = it.kubectl("describe", "pod", "-n", NAMESPACE, "crash").stdout
    assert "Back-off restarting failed container main" in described
    it.kubectl("delete", "pod", "-n", NAMESPACE, "crash", "--wait")

    flips = shell("main", f"echo run $(cat /v/n 2>/dev/null); echo x >> /v/n; [ $(wc -l < /v/n) -gt 1 ] || exit 1; {FOREVER}",
                  volumeMounts=[{"name": "v", "mountPath": "/v"}])  # fmt: skip
    it.apply(pod("flips", flips, volumes=[{"name": "v", "emptyDir": {}}]), namespace=NAMESPACE)
    ready(it, "flips")
    it.until(lambda: "run x" in logs(it, "flips"), "the second run speaks")
    assert logs(it, "flips", "--previous") == "run\n"
    it.kubectl("delete", "pod", "-n", NAMESPACE, "flips", "--wait")


@pytest.mark.finding("newcomer D.2.11")
def test_an_unknown_image_says_what_to_do(it: Cluster) -> None:
    it.apply(pod("unknown", {"name": "main", "image": "example.com/shop/x:1.2"}), namespace=NAMESPACE)
    it.until(
        lambda: "ErrImagePull" in it.kubectl("get", "pod", "-n", NAMESPACE, "unknown").stdout,
        "it cannot be pulled",
    )
    it.until(
        lambda: "images.yaml" in it.kubectl("describe", "pod", "-n", NAMESPACE, "unknown").stdout,
        "it says how",
    )
    line = {"image": "example.com/shop/*", "entrypoint": ["/bin/sleep"], "args": ["1000"]}
    (it.home / "images.yaml").write_text(json.dumps([line]))
    try:
        ready(it, "unknown")  # found without restarting anything
    finally:
        (it.home / "images.yaml").unlink()
    it.kubectl("delete", "pod", "-n", NAMESPACE, "unknown", "--wait", "--grace-period=1")


GRPC = """
import grpc, sys, os, time
from concurrent import futures
class Health(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(lambda r, c: b"\\x08\\x01" if b"shop" in r else b"\\x08\\x02")
server = grpc.server(futures.ThreadPoolExecutor(2), [Health()])
server.add_insecure_port("0.0.0.0:9000"); server.start(); server.wait_for_termination()
"""
HTTP = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path != "/ok" or os.path.exists("/tmp/ok")
        self.send_response(200 if ok and self.headers.get("X-Probe", "yes") == "yes" else 500); self.end_headers()
http.server.HTTPServer(("", 8080), H).serve_forever()
"""


def python(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "python:3", "args": ["-c", script], **more}


def test_probes_of_every_kind(it: Cluster) -> None:
    often = {"periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 2}
    http = python(
        "http", HTTP, ports=[{"name": "web", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/ok", "port": "web", "httpHeaders": [{"name": "X-Probe", "value": "yes"}]}, **often},
        livenessProbe={"tcpSocket": {"port": "web"}, "initialDelaySeconds": 5, **often},
    )  # fmt: skip
    rpc = python("rpc", GRPC, readinessProbe={"grpc": {"port": 9000, "service": "shop"}, **often})
    wrong = python(
        "wrong",
        "import time; time.sleep(1000)",
        readinessProbe={"grpc": {"port": 9000, "service": "other"}, **often},
    )
    it.apply(pod("probed", http, rpc, wrong), namespace=NAMESPACE)

    def states() -> dict[str, bool]:
        return {c["name"]: c["ready"] for c in one(it, "probed")["status"].get("containerStatuses") or ()}

    it.until(lambda: states().get("rpc"), "the gRPC server is healthy")
    assert states() == {"http": False, "rpc": True, "wrong": False}
    it.kubectl("exec", "-n", NAMESPACE, "probed", "-c", "http", "--", "touch", "/tmp/ok")
    it.until(lambda: states()["http"], "HTTP is ready")
    it.kubectl("exec", "-n", NAMESPACE, "probed", "-c", "http", "--", "rm", "/tmp/ok")
    it.until(lambda: not states()["http"], "HTTP is not ready any more")
    assert not states()["wrong"]
    assert (
        "HTTP probe failed with statuscode: 500"
        in it.kubectl("describe", "pod", "-n", NAMESPACE, "probed").stdout
    )
    it.kubectl("delete", "pod", "-n", NAMESPACE, "probed", "--force", "--grace-period=0")

    sick = shell(
        "main", f"touch /tmp/alive; {FOREVER}",
        livenessProbe={"exec": {"command": ["cat", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 2},
    )  # fmt: skip
    late = shell(
        "late",
        FOREVER,
        startupProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2},
    )
    it.apply(pod("sick", sick, late), namespace=NAMESPACE)
    it.until(lambda: len(one(it, "sick")["status"].get("containerStatuses") or ()) == 2, "both run")
    sh(it, "sick", "rm /tmp/alive", "-c", "main")

    def restarted() -> bool:
        return all(c["restartCount"] for c in one(it, "sick")["status"]["containerStatuses"])

    it.until(restarted, "both were restarted")
    assert "Liveness probe failed" in it.kubectl("describe", "pod", "-n", NAMESPACE, "sick").stdout
    it.kubectl("delete", "pod", "-n", NAMESPACE, "sick", "--wait")


def test_the_end_is_orderly(it: Cluster) -> None:
    """preStop, then SIGTERM; the grace holds; a forced deletion ends it at once; nothing stays behind."""
    place = it.folder / "end"
    host = {"name": "v", "hostPath": {"path": str(place), "type": "DirectoryOrCreate"}}
    main = shell(
        "main", "trap 'echo term >> /v/log; exit 0' TERM; while :; do sleep 1000 & wait $!; done",
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "sleep 1; echo hook >> /v/log"]}},
                   "postStart": {"exec": {"command": ["sh", "-c", "echo post >> /v/log"]}}},
    )  # fmt: skip
    it.apply(pod("end", main, volumes=[host]), namespace=NAMESPACE)
    ready(it, "end")
    it.kubectl("delete", "pod", "-n", NAMESPACE, "end", "--wait")
    assert (place / "log").read_text().split() == ["post", "hook", "term"]

    deaf = shell("main", "trap '' TERM; while :; do sleep 0.2; done")
    it.apply(pod("deaf", deaf, terminationGracePeriodSeconds=600), namespace=NAMESPACE)
    address = ready(it, "deaf")["status"]["podIP"]
    it.kubectl("delete", "pod", "-n", NAMESPACE, "deaf", "--wait=false")
    it.kubectl("delete", "pod", "-n", NAMESPACE, "deaf", "--force", "--grace-period=0")
    name = "-" + "".join(f"{int(part):02x}" for part in address.split("."))
    it.until(lambda: name not in it.run("ip", "netns", "list").stdout, "its network namespace is gone")
    it.until(lambda: not list((it.home / "pods").glob(f"{NAMESPACE}_deaf_*")), "and its folder")


def test_names_of_a_pod_and_its_resolver(it: Cluster) -> None:
    spec = {
        "hostname": "own", "subdomain": "sub", "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["alias"]}],
        "dnsConfig": {"searches": ["shop.example"], "options": [{"name": "ndots", "value": "2"}]},
        "automountServiceAccountToken": False,
    }  # fmt: skip
    it.apply(pod("named", shell("main", FOREVER), **spec), namespace=NAMESPACE)
    address = ready(it, "named")["status"]["podIP"]
    assert sh(it, "named", "hostname; cat /etc/hostname") == "own\nown\n"
    hosts = sh(it, "named", "cat /etc/hosts")
    assert f"{address}\town.sub.{NAMESPACE}.svc.cluster.local\town" in hosts
    assert "10.9.9.9\talias" in hosts
    resolver = sh(it, "named", "cat /etc/resolv.conf")
    assert f"search {NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local shop.example" in resolver
    assert "options ndots:2" in resolver
    assert "No such file" in sh(it, "named", "ls /var/run/secrets/kubernetes.io", check=False)
    assert sh(it, "named", "ip -4 -o addr show eth0").count(address) == 1
    it.kubectl("delete", "pod", "-n", NAMESPACE, "named", "--wait")


def test_a_pod_on_the_node_s_network(it: Cluster) -> None:
    main = python("main", HTTP, readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1})
    it.apply(pod("hostly", main, hostNetwork=True), namespace=NAMESPACE)
    status = ready(it, "hostly")["status"]
    assert status["podIP"] == status["hostIP"]
    look = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).status)"
    assert it.python(look, f"http://{status['hostIP']}:8080/").stdout == "200\n"
    it.kubectl("delete", "pod", "-n", NAMESPACE, "hostly", "--wait", "--grace-period=1")
    assert it.objects("node", "skiff")  # the node's own network is still there


def test_a_gate_keeps_a_pod_unready_until_somebody_opens_it(it: Cluster) -> None:
    it.apply(
        pod("gated", shell("main", FOREVER), readinessGates=[{"conditionType": "example.com/open"}]),
        namespace=NAMESPACE,
    )

    def conditions() -> dict[str, str]:
        return {c["type"]: c["status"] for c in one(it, "gated")["status"].get("conditions") or ()}

    it.until(lambda: conditions().get("ContainersReady") == "True", "its containers are ready")
    assert conditions()["Ready"] == "False"
    opened = [
        {"op": "add", "path": "/status/conditions/-", "value": {"type": "example.com/open", "status": "True"}}
    ]
    it.kubectl(
        "patch",
        "pod",
        "-n",
        NAMESPACE,
        "gated",
        "--subresource=status",
        "--type=json",
        "-p",
        json.dumps(opened),
    )
    ready(it, "gated")
    it.kubectl("delete", "pod", "-n", NAMESPACE, "gated", "--wait")


def test_a_missing_reference_is_waited_for(it: Cluster) -> None:
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    volume = {"name": "v", "secret": {"secretName": "later"}}
    main = shell("main", FOREVER, env=env, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    it.apply(pod("early", main, volumes=[volume]), namespace=NAMESPACE)
    it.until(
        lambda: 'secret "later" not found' in events(it, "early").get("FailedMount", ""),
        "the volume is missed",
    )
    it.kubectl("create", "secret", "generic", "-n", NAMESPACE, "later", "--from-literal=k=v")
    it.until(
        lambda: "CreateContainerConfigError" in it.kubectl("get", "pod", "-n", NAMESPACE, "early").stdout,
        "then the variable",
    )
    it.kubectl("create", "configmap", "-n", NAMESPACE, "later", "--from-literal=x=1")
    ready(it, "early")
    assert sh(it, "early", "echo $X; cat /v/k") == "1\nv"
    it.kubectl("delete", "pod", "-n", NAMESPACE, "early", "--wait")


def test_a_failed_init_container_ends_a_pod_that_never_restarts(it: Cluster) -> None:
    sidecar = shell("side", FOREVER, restartPolicy="Always")
    broken = shell("broken", "echo reason; exit 4", terminationMessagePolicy="FallbackToLogsOnError")
    it.apply(
        pod("failed", shell("main", "true"), initContainers=[sidecar, broken], restartPolicy="Never"),
        namespace=NAMESPACE,
    )
    status = phase(it, "failed", "Failed")["status"]
    ended = status["initContainerStatuses"][1]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (4, "reason\n")
    assert "terminated" in status["initContainerStatuses"][0]["state"]
    assert "Init:Error" in it.kubectl("get", "pod", "-n", NAMESPACE, "failed").stdout

    it.apply(
        pod("done", shell("main", "sleep 1"), initContainers=[sidecar], restartPolicy="Never"),
        namespace=NAMESPACE,
    )
    phase(it, "done", "Succeeded")  # the sidecar does not keep it alive
    assert "Completed" in it.kubectl("get", "pod", "-n", NAMESPACE, "done").stdout
    it.kubectl("delete", "pods", "-n", NAMESPACE, "failed", "done")


@pytest.mark.finding("mesh M11")
def test_a_volume_does_not_hide_what_the_image_is_made_of(it: Cluster) -> None:
    """Checkouts may lie below /tmp, and workloads mount volumes there."""
    program = it.folder / "below" / "program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho here; exec sleep 1000\n")
    program.chmod(0o755)
    it.run("skiff", "images", "add", "below", "--", str(program))
    mounted = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    volumes = [{"name": "tmp", "emptyDir": {}}]
    it.apply(pod("below", {"name": "a", "image": "below", **mounted}, volumes=volumes), namespace=NAMESPACE)
    ready(it, "below")
    assert logs(it, "below") == "here\n"
    sh(it, "below", "echo mine > /tmp/mine && cat /tmp/mine")
    assert "Read-only" in sh(it, "below", f"echo x > {program}", check=False)
