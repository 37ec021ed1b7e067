"""Where is the cluster, and who are we to it? kubeconfig files, or the files a pod has."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeConfigError(Exception):
    """There is no cluster to talk to, or the file that names it is wrong; the message says what to do."""


@dataclass(frozen=True)
class Connection:
    """What is needed to connect. ``token_file`` is read anew for each request: pods' tokens are renewed."""

    server: str
    tls: ssl.SSLContext | None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    namespace: str = "default"

    def bearer(self) -> str:
        """The token of the moment; empty when a certificate speaks for us."""
        return self.token_file.read_text().strip() if self.token_file else self.token


def load(kubeconfig: str | None, context: str | None) -> Connection:
    """From the named file, ``$KUBECONFIG``, ``~/.kube/config``, or the pod we run in, in this order."""
    paths = [Path(it) for it in (kubeconfig or os.environ.get("KUBECONFIG", "")).split(os.pathsep) if it]
    default = Path.home() / ".kube" / "config"
    if not paths and default.exists():
        paths = [default]
    if paths:
        return from_files(paths, context)
    if (_ACCOUNT / "token").exists():
        return in_cluster()
    raise KubeConfigError('no cluster is configured: start one with "skiff start", or set KUBECONFIG')


def in_cluster() -> Connection:
    """The API server as a pod finds it."""
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    namespace = _ACCOUNT / "namespace"
    tls = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    own = namespace.read_text().strip() if namespace.exists() else "default"
    return Connection(f"https://{host}:{port}", tls, token_file=_ACCOUNT / "token", namespace=own)


def from_files(paths: list[Path], context: str | None) -> Connection:
    """Of several files the first that defines a name wins, as for kubectl."""
    merged: dict[str, dict[str, Any]] = {"clusters": {}, "users": {}, "contexts": {}}
    current = ""
    for path in paths:
        document = _document(path)
        current = current or str(document.get("current-context") or "")
        for section, one in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for name, it in _entries(document, section, one, path):
                merged[section].setdefault(name, _absolute(it, path.parent))
    name = context or current
    if name not in merged["contexts"]:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        raise KubeConfigError(f'{paths[0]}: there is no context "{name}"; there are: {known}')
    chosen = merged["contexts"][name]
    for section, one in (("clusters", "cluster"), ("users", "user")):
        if chosen.get(one) not in merged[section]:
            raise KubeConfigError(
                f'{paths[0]}: context "{name}" names the {one} "{chosen.get(one)}", which is not defined'
            )
    cluster, user = merged["clusters"][chosen["cluster"]], merged["users"][chosen["user"]]
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise KubeConfigError(f'cluster "{chosen["cluster"]}" has no server such as https://10.0.0.1:6443')
    if user.get("exec") or user.get("auth-provider"):
        raise KubeConfigError(
            f'user "{chosen["user"]}" needs a credential plug-in, which is not supported yet: use a token or certificate'
        )
    try:
        tls = _tls(cluster, user) if server.startswith("https:") else None
    except (OSError, ValueError) as wrong:
        raise KubeConfigError(f'context "{name}": its certificates cannot be read: {wrong}') from wrong
    token_file = Path(user["tokenFile"]) if user.get("tokenFile") else None
    return Connection(server, tls, user.get("token", ""), token_file, chosen.get("namespace") or "default")


def _document(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as wrong:
        raise KubeConfigError(f"{path}: cannot be read as a kubeconfig: {wrong}") from wrong
    if not isinstance(found, dict):
        raise KubeConfigError(f"{path}: is no kubeconfig: it holds no mapping")
    return found


def _entries(
    document: Mapping[str, Any], section: str, one: str, path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = document.get(section) or []
    for it in entries if isinstance(entries, list) else [None]:
        if not isinstance(it, dict) or "name" not in it or not isinstance(it.get(one) or {}, dict):
            raise KubeConfigError(f'{path}: {section} is no list of {{"name": ..., "{one}": {{...}}}}')
        yield str(it["name"]), it.get(one) or {}


def _absolute(part: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {key: str(folder / value) if key in files and value else value for key, value in part.items()}


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _bytes(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _bytes(user, "client-certificate"), _bytes(user, "client-key")
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only
            path = Path(folder) / "client.pem"
            path.touch(0o600)
            path.write_bytes(certificate + b"\n" + key)
            context.load_cert_chain(path)
    return context


def _bytes(part: Mapping[str, Any], name: str) -> bytes:
    if data := part.get(f"{name}-data"):
        return base64.b64decode("".join(str(data).split()), validate=True)
    return Path(part[name]).read_bytes() if part.get(name) else b""
