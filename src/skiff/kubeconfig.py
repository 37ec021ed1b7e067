"""How does kubectl find the cluster? A context in the user's kubeconfig, put in and taken out without touching the rest."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import yaml

_SECTIONS = (("clusters", "cluster"), ("users", "user"), ("contexts", "context"))


class ConfigError(ValueError):
    """The user's kubeconfig cannot be read; the message says why."""


def default_path() -> Path:
    """The first file of ``$KUBECONFIG``, or ``~/.kube/config``."""
    given = os.environ.get("KUBECONFIG", "").split(":")[0]
    return Path(given) if given else Path.home() / ".kube" / "config"


def merge(path: Path, name: str, server: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    """Add or renew cluster, user and context ``name``, and make it the current one; which one was before."""
    config = _read(path)
    before = str(config.get("current-context") or "")
    entries: dict[str, dict[str, Any]] = {
        "clusters": {"server": server, "certificate-authority-data": _encoded(ca)},
        "users": {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)},
        "contexts": {"cluster": name, "user": name, "namespace": "default"},
    }
    for section, word in _SECTIONS:
        others = [it for it in config.get(section) or [] if it.get("name") != name]
        config[section] = [*others, {"name": name, word: entries[section]}]
    config["current-context"] = name
    _write(path, config)
    return before


def check(path: Path) -> None:
    """ConfigError when the file is there and is no kubeconfig: it must not be lost."""
    _read(path)


def remove(path: Path, name: str, before: str = "") -> None:
    """Take the context out, and give the one that was current before its place back; an empty file is removed."""
    if not path.exists():
        return
    config = _read(path)
    for section, _ in _SECTIONS:
        config[section] = [it for it in config.get(section) or [] if it.get("name") != name]
    if config.get("current-context") == name:
        known = {it.get("name") for it in config["contexts"]}
        config["current-context"] = before if before in known else ""
    if any(config.get(section) for section, _ in _SECTIONS):
        _write(path, config)
    else:
        path.unlink()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        found = {}
    except yaml.YAMLError as wrong:
        raise ConfigError(f"{path} is no kubeconfig: {wrong}") from wrong
    except IsADirectoryError as wrong:
        raise ConfigError(f"{path} is a folder") from wrong
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no kubeconfig")  # of the user, not of the program
    return {"apiVersion": "v1", "kind": "Config", "preferences": {}, **found}


def _write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.resolve().with_name(f"{path.name}.skiff-{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(yaml.safe_dump(config, sort_keys=False))
    fresh.replace(path.resolve())  # a link stays a link


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
