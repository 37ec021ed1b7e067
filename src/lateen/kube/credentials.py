"""Proof of who we are: a token, a certificate, or what a credential plug-in gives and gives anew.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lateen.api import reading

if TYPE_CHECKING:
    from lateen.kube.config import Connection

#: How long a plug-in may take; with a terminal somebody may have to log in.
TIMEOUT_S, INTERACTIVE_TIMEOUT_S = 60.0, 300.0
#: What expires so soon is asked for anew, since the request takes time, too.
_EARLY_S = 5.0
_SHOWN = 400
VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class KubeConfigError(Exception):
    """There is no cluster to talk to, or the file that names it is wrong; the message says what to do."""


@dataclass(frozen=True)
class Plugin:
    """A command that prints an ExecCredential, as ``users[].user.exec`` describes it."""

    user: str
    version: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    install_hint: str = ""
    interactive: str = "IfAvailable"
    #: ``spec.cluster`` of what it is told; None unless it asks for that.
    cluster: Mapping[str, Any] | None = field(default=None, repr=False)


class Proof(NamedTuple):
    """What goes with a request."""

    token: str
    tls: ssl.SSLContext | None


class Credentials:
    """The proof of the moment for one connection; a plug-in runs once however many requests wait for it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._held: tuple[Proof, float] | None = None  # and when it expires, in seconds since 1970

    async def current(self) -> Proof:
        """KubeConfigError when a plug-in gives none."""
        it = self._connection
        if it.plugin is None:
            return Proof(it.bearer(), it.tls)
        async with self._turn:
            if self._held is None or self._held[1] - _EARLY_S < time.time():
                said = await _run(it.plugin)
                self._held = _proof(it, it.plugin, said)
            return self._held[0]

    def refused(self, proof: Proof) -> bool:
        """The server does not take this proof (401): whether another can be had."""
        if self._connection.plugin is None:
            return False
        if self._held is not None and self._held[0] == proof:
            self._held = None
        return True


async def _run(plugin: Plugin) -> str:
    terminal = plugin.interactive != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive == "Always" and not terminal:
        raise KubeConfigError(
            f'user "{plugin.user}": {plugin.command} must ask you, and there is no terminal: run this in one'
        )
    spec = {**({} if plugin.cluster is None else {"cluster": plugin.cluster}), "interactive": terminal}
    asked = {"kind": "ExecCredential", "apiVersion": plugin.version, "spec": spec}
    environment = {**os.environ, **plugin.env, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command, *plugin.args, env=environment, stdout=asyncio.subprocess.PIPE,
            stdin=None if terminal else asyncio.subprocess.DEVNULL,
            stderr=None if terminal else asyncio.subprocess.PIPE,
        )  # fmt: skip
    except (OSError, ValueError) as wrong:
        hint = f". {plugin.install_hint}" if plugin.install_hint else ": install it, or put it on the PATH"
        reason = wrong.strerror if isinstance(wrong, OSError) else str(wrong)
        raise KubeConfigError(
            f'user "{plugin.user}" needs the credential plug-in {plugin.command}, which cannot be run ({reason}){hint}'
        ) from wrong
    timeout_s = INTERACTIVE_TIMEOUT_S if terminal else TIMEOUT_S
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError as wrong:
        raise KubeConfigError(
            f'user "{plugin.user}": the credential plug-in {plugin.command} has not answered for {timeout_s:.0f} s'
        ) from wrong
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        said = " ".join((err or b"").decode(errors="replace").split())[-_SHOWN:]
        raise KubeConfigError(
            f'user "{plugin.user}": the credential plug-in {plugin.command} ended with code {process.returncode}'
            + (f": {said}" if said else "")
        )
    return out.decode(errors="replace")


def _proof(connection: Connection, plugin: Plugin, said: str) -> tuple[Proof, float]:
    """From an ExecCredential; without ``expirationTimestamp`` it holds until the server refuses it."""
    place = f'user "{plugin.user}": the credential plug-in {plugin.command}'
    try:
        found = json.loads(said)
    except ValueError as wrong:
        raise KubeConfigError(f"{place} printed no ExecCredential: {wrong}") from wrong
    if reading.text(found, "kind") != "ExecCredential" or reading.text(found, "apiVersion") != plugin.version:
        raise KubeConfigError(
            f"{place} printed no ExecCredential of {plugin.version}, which the kubeconfig asks for"
        )
    token = reading.text(found, "status", "token")
    certificate = reading.text(found, "status", "clientCertificateData")
    key = reading.text(found, "status", "clientKeyData")
    if bool(certificate) != bool(key):
        raise KubeConfigError(
            f"{place} gave only one of clientCertificateData and clientKeyData: both are needed"
        )
    if not token and not certificate:
        raise KubeConfigError(f"{place} gave neither a token nor a certificate")
    tls = connection.tls
    if certificate and connection.new_tls is not None:
        tls = connection.new_tls()
        try:
            present(tls, certificate.encode(), key.encode())
        except (OSError, ValueError) as wrong:
            raise KubeConfigError(f"{place} gave a certificate that cannot be read: {wrong}") from wrong
    return Proof(token, tls), _until(reading.text(found, "status", "expirationTimestamp"), place)


def _until(text: str, place: str) -> float:
    if not text:
        return float("inf")
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as wrong:
        raise KubeConfigError(f"{place} gave an expirationTimestamp that is no date: {text}") from wrong


def present(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Show this certificate to servers."""
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only
        path = Path(folder) / "client.pem"
        path.touch(0o600)
        path.write_bytes(certificate + b"\n" + key)
        tls.load_cert_chain(path)
