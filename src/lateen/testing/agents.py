"""Does the agent keep its promises? Started as in a pod: own namespaces, uid 1337, nothing writable but its volumes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lateen.envoy import wellknown
from lateen.names.identity import Identity
from lateen.testing import clients
from lateen.testing.namespaces import Namespace

#: Envoy's and Python's own files are the machine's; what a pod mounts comes from the folder.
_START = """
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /etc
cp -r "$0"/etc/. /etc/
mkdir -p /etc/istio/proxy /etc/istio/pod /run/secrets/tokens /run/secrets/istio
[ -e /var/run/secrets ] || { mount -t tmpfs tmpfs /var; mkdir /var/run; mount --rbind /run /var/run; }
mount --bind "$0"/proxy /etc/istio/proxy
mount --bind "$0"/pod /etc/istio/pod
mount --bind "$0"/tokens /run/secrets/tokens
mount --bind "$0"/roots /run/secrets/istio
mount -o remount,bind,ro /
exec setpriv --reuid=1337 --regid=1337 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs --pdeathsig=KILL "$@"
"""
CONTROL_PLANE = "istiod.istio-system.svc"


class AgentProcess:
    """An agent, and the Envoy that it runs. ``folder`` is its own."""

    def __init__(
        self, folder: Path, namespace: Namespace, identity: Identity, *, pod: str, address: str
    ) -> None:
        self.folder, self.namespace = folder, namespace
        self.environment = {
            "POD_NAME": pod, "POD_NAMESPACE": identity.namespace, "INSTANCE_IP": address,
            "SERVICE_ACCOUNT": identity.service_account, "TRUST_DOMAIN": identity.trust_domain,
            "ISTIO_META_WORKLOAD_NAME": pod, "ISTIO_META_CLUSTER_ID": "Kubernetes",
            "CA_ADDR": f"{CONTROL_PLANE}:15012", "PROXY_CONFIG": "{}", "PATH": os.environ["PATH"],
        }  # fmt: skip
        for it in ("etc", "proxy", "pod", "tokens", "roots"):
            (folder / it).mkdir(parents=True)
        (folder / "proxy").chmod(0o777)
        (folder / "etc" / "hosts").write_text(f"127.0.0.1 localhost {CONTROL_PLANE}\n")
        (folder / "etc" / "nsswitch.conf").write_text("hosts: files\n")
        (folder / "pod" / "labels").write_text(f'app="{pod}"\n')
        self._process: subprocess.Popen[bytes] | None = None

    def trust(self, roots: bytes) -> None:
        """The ConfigMap's file, replaced as the kubelet does."""
        fresh = self.folder / "roots" / ".fresh"
        fresh.write_bytes(roots)
        fresh.rename(self.folder / "roots" / "root-cert.pem")

    def give_token(self, token: str) -> None:
        """The projected token."""
        (self.folder / "tokens" / "istio-token").write_text(token)

    def configure(self, **proxy_config: Any) -> None:
        """The pod's ProxyConfig."""
        self.environment["PROXY_CONFIG"] = json.dumps(proxy_config)

    def start(self, *arguments: str, kind: str = "sidecar") -> None:
        """Run."""
        program = [sys.executable, "-m", "lateen.app.node_agent", "proxy", kind, *arguments]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                ["nsenter", f"--net={self.namespace.path}", "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                 "--kill-child", "sh", "-ec", _START, str(self.folder), *program],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the agent itself."""
        assert self._process
        return int(_children(self._process.pid)[0])

    @property
    def envoy(self) -> int:
        """The process id of its Envoy; 0 when there is none."""
        for it in _children(self.pid):
            if Path(f"/proc/{it}/exe").readlink().name == "envoy":
                return int(it)
        return 0

    @property
    def log(self) -> str:
        """All it wrote, and Envoy."""
        return (self.folder / "log").read_text()

    def signal(self, number: signal.Signals) -> None:
        """As the kubelet or a person would."""
        os.kill(self.pid, number)

    def ended(self) -> int | None:
        """The exit code, once there is one."""
        assert self._process
        return self._process.poll()

    def stop(self) -> None:
        """At once, with all that it runs: the agent is the first process of its own."""
        if self._process:
            for it in _children(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(it), signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    def ask(
        self, path: str, *, port: int = wellknown.AGENT_PORT, method: str = "GET", address: str = "127.0.0.1"
    ) -> Any:
        """An answer over HTTP from inside the pod."""
        made = self.namespace.call(lambda: socket.create_connection((address, port), 20))
        connection = clients.http_connection(made)
        try:
            return clients.request(connection, method, path, [("host", "localhost")])
        finally:
            connection.close()

    def secret(self, name: str) -> Mapping[str, Any]:
        """What lies in a secret's file."""
        text = (self.folder / "proxy" / "sds" / f"{name}.json").read_text()
        found: Mapping[str, Any] = json.loads(text)["resources"][0]
        return found


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


@asynccontextmanager
async def bridge(namespace: Namespace, port: int, target: int) -> AsyncIterator[asyncio.Server]:
    """Inside the namespace a port leads to one of this process."""
    made = namespace.call(lambda: socket.create_server(("127.0.0.1", port)))
    async with _relay(made, lambda: socket.create_connection(("127.0.0.1", target), 20)) as server:
        yield server


@asynccontextmanager
async def entrance(namespace: Namespace, port: int) -> AsyncIterator[int]:
    """A port of this process that leads to one inside the namespace."""
    made = socket.create_server(("127.0.0.1", 0))

    def connect() -> socket.socket:
        return namespace.call(lambda: socket.create_connection(("127.0.0.1", port), 20))

    async with _relay(made, connect):
        yield made.getsockname()[1]


@asynccontextmanager
async def _relay(made: socket.socket, connect: Callable[[], socket.socket]) -> AsyncIterator[asyncio.Server]:
    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
        except OSError:
            pass
        finally:
            to.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opened = await asyncio.to_thread(connect)
            opened.setblocking(False)
            there, back = await asyncio.open_connection(sock=opened)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(connected, sock=made)
    try:
        yield server
    finally:
        server.close()
