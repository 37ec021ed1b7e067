"""Where is the cluster, and who are we to it? kubeconfig files, or the files a pod has.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import base64
import functools
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lateen.api import reading
from lateen.kube.credentials import VERSIONS, KubeConfigError, Plugin, present

__all__ = ["Connection", "KubeConfigError", "from_files", "in_cluster", "load"]

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_INTERACTIVE = ("Never", "IfAvailable", "Always")
#: Under this name a cluster's extension holds what is for its credential plug-in.
_FOR_PLUGIN = "client.authentication.k8s.io/exec"
_INTERACTIVE_DEFAULT = "IfAvailable"


class NoClusterError(KubeConfigError):
    """Nobody has said which cluster."""


@dataclass(frozen=True)
class Connection:
    """What is needed to connect. ``token_file`` is read anew for each request: pods' tokens are renewed."""

    server: str
    tls: ssl.SSLContext | None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    namespace: str = "default"
    context: str = ""  # of the kubeconfig; empty in a pod
    plugin: Plugin | None = None
    new_tls: Callable[[], ssl.SSLContext] | None = field(default=None, repr=False)  # without a certificate
    server_name: str = ""  # what the server's certificate must be for, when it is not the server's host
    proxy: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # impersonation

    def bearer(self) -> str:
        """The token of the moment; empty when a certificate speaks for us."""
        return self.token_file.read_text().strip() if self.token_file else self.token

    def __str__(self) -> str:
        return f'{self.server} (context "{self.context}")' if self.context else self.server


def load(kubeconfig: str | None, context: str | None) -> Connection:
    """From the named file, ``$KUBECONFIG``, ``~/.kube/config``, or the pod we run in, in this order.

    Of several files, those that are not there are passed over, as kubectl does.
    """
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    paths = [Path(it) for it in named.split(os.pathsep) if it]
    if len(paths) > 1:
        paths = [it for it in paths if it.exists()]
        if not paths:
            raise KubeConfigError(f"{named}: none of these files exists: name one with --kubeconfig")
    default = Path.home() / ".kube" / "config"
    if not paths and default.exists():
        paths = [default]
    if paths:
        return from_files(paths, context)
    if (_ACCOUNT / "token").exists():
        return in_cluster()
    raise NoClusterError(
        "no cluster is configured: set KUBECONFIG or name a file with --kubeconfig; "
        '"skiff start" starts a cluster on this machine'
    )


def in_cluster() -> Connection:
    """The API server as a pod finds it."""
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    host = f"[{host}]" if ":" in host else host
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
                merged[section].setdefault(name, _absolute(it, path.absolute().parent))
    place, name = os.pathsep.join(map(str, paths)), context or current
    if name not in merged["contexts"]:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        said = f'there is no context "{name}"' if name else "no context is current: name one with --context"
        raise KubeConfigError(f"{place}: {said}; there are: {known}")
    chosen = merged["contexts"][name]
    for section, one in (("clusters", "cluster"), ("users", "user")):
        if chosen.get(one) not in merged[section]:
            if one == "user" and not chosen.get(one):
                continue  # a server that asks nobody who he is
            raise KubeConfigError(
                f'{place}: context "{name}" names the {one} "{chosen.get(one)}", which is not defined'
            )
    cluster, user = merged["clusters"][chosen["cluster"]], merged["users"].get(chosen.get("user"), {})
    return _connection(name, chosen, cluster, user)


def _connection(
    name: str, chosen: Mapping[str, Any], cluster: Mapping[str, Any], user: Mapping[str, Any]
) -> Connection:
    server = reading.text(cluster, "server").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise KubeConfigError(f'cluster "{chosen["cluster"]}" has no server such as https://10.0.0.1:6443')
    proxy = reading.text(cluster, "proxy-url")
    if proxy and not proxy.startswith(("http://", "https://")):
        raise KubeConfigError(
            f'cluster "{chosen["cluster"]}": proxy-url {proxy} is not supported: use an HTTP proxy (http://host:port)'
        )
    make = functools.partial(_authorities, cluster)
    try:
        tls = _presenting(make(), user) if server.startswith("https:") else None
    except (OSError, ValueError) as wrong:
        raise KubeConfigError(f'context "{name}": its certificates cannot be read: {wrong}') from wrong
    token_file = Path(user["tokenFile"]) if user.get("tokenFile") else None
    return Connection(
        server, tls, reading.text(user, "token"), token_file, reading.text(chosen, "namespace") or "default", name,
        _plugin(str(chosen.get("user")), user, cluster), make if tls else None, reading.text(cluster, "tls-server-name"),
        proxy, _impersonation(user),
    )  # fmt: skip


def _plugin(name: str, user: Mapping[str, Any], cluster: Mapping[str, Any]) -> Plugin | None:
    if legacy := reading.text(user, "auth-provider", "name"):
        raise KubeConfigError(
            f'user "{name}" uses the auth-provider "{legacy}", which Kubernetes removed in 1.26: '
            "have your cloud's tool write the kubeconfig anew, with a credential plug-in (exec)"
        )
    if user.get("username") or user.get("password"):
        raise KubeConfigError(
            f'user "{name}" has a password, which Kubernetes does not take since 1.19: use a token or a certificate'
        )
    found = reading.part(user, "exec")
    if not found or user.get("token") or user.get("tokenFile"):
        return None  # a token is used rather than a plug-in, as kubectl does
    version, command = reading.text(found, "apiVersion"), reading.text(found, "command")
    if version not in VERSIONS:
        raise KubeConfigError(
            f'user "{name}": exec.apiVersion is "{version}", and {" or ".join(VERSIONS)} is understood: '
            "have your cloud's tool write the kubeconfig anew"
        )
    if not command:
        raise KubeConfigError(f'user "{name}": exec.command is missing: it names the credential plug-in')
    interactive = reading.text(found, "interactiveMode") or _INTERACTIVE_DEFAULT
    if interactive not in _INTERACTIVE:
        raise KubeConfigError(
            f'user "{name}": exec.interactiveMode is "{interactive}", which is none of {", ".join(_INTERACTIVE)}'
        )
    args = found.get("args")
    return Plugin(
        name, version, command, tuple(map(str, args)) if isinstance(args, list) else (),
        {reading.text(it, "name"): reading.text(it, "value") for it in reading.parts(found, "env") if it.get("name")},
        reading.text(found, "installHint").strip(), interactive,
        _told(cluster) if found.get("provideClusterInfo") is True else None,
    )  # fmt: skip


def _told(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """The cluster as a plug-in is told of it."""
    names = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    told = {key: cluster[key] for key in names if cluster.get(key)}
    if authority := _bytes(cluster, "certificate-authority"):
        told["certificate-authority-data"] = base64.b64encode(authority).decode()
    for it in reading.parts(cluster, "extensions"):
        if it.get("name") == _FOR_PLUGIN:
            told["config"] = it.get("extension")
    return told


def _impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    groups = user.get("as-groups")
    named = [
        ("Impersonate-User", reading.text(user, "as")), ("Impersonate-Uid", reading.text(user, "as-uid")),
        *(("Impersonate-Group", str(it)) for it in (groups if isinstance(groups, list) else ())),
    ]  # fmt: skip
    return tuple(it for it in named if it[1])


def _document(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except OSError as wrong:
        raise KubeConfigError(
            f"{path}: {wrong.strerror}: it should be a kubeconfig; name another with --kubeconfig"
        ) from wrong
    except (ValueError, yaml.YAMLError, RecursionError) as wrong:
        raise KubeConfigError(
            f"{path}: is no kubeconfig, since it is no YAML: {_position(wrong)}; "
            "correct it, or name another with --kubeconfig"
        ) from wrong
    if not isinstance(found, dict):
        raise KubeConfigError(
            f"{path}: is no kubeconfig: it holds no mapping; name another with --kubeconfig"
        )
    return found


def _position(wrong: Exception) -> str:
    """One line of what the parser tells in five."""
    mark, problem = getattr(wrong, "problem_mark", None), getattr(wrong, "problem", None)
    if mark is None or not problem:
        return " ".join(str(wrong).split())
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}"


def _entries(
    document: Mapping[str, Any], section: str, one: str, path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = document.get(section) or []
    for it in entries if isinstance(entries, list) else [None]:
        if not isinstance(it, dict) or "name" not in it or not isinstance(it.get(one) or {}, dict):
            raise KubeConfigError(f'{path}: {section} is no list of {{"name": ..., "{one}": {{...}}}}')
        yield str(it["name"]), it.get(one) or {}


def _absolute(part: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to it; so is a plug-in's command, unless it is a mere name."""
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    found = {
        key: str(folder / it) if key in files and it and isinstance(it, str) else it
        for key, it in part.items()
    }
    command = reading.text(found, "exec", "command")
    if os.sep in command:
        found["exec"] = {**reading.part(found, "exec"), "command": str(folder / command)}
    return found


def _authorities(cluster: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _bytes(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _presenting(context: ssl.SSLContext, user: Mapping[str, Any]) -> ssl.SSLContext:
    certificate, key = _bytes(user, "client-certificate"), _bytes(user, "client-key")
    if certificate and key:
        present(context, certificate, key)
    return context


def _bytes(part: Mapping[str, Any], name: str) -> bytes:
    if data := part.get(f"{name}-data"):
        return base64.b64decode("".join(str(data).split()), validate=True)
    return Path(part[name]).read_bytes() if part.get(name) else b""
