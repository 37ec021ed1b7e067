"""Which cluster a kubeconfig means, and what is said of one that means none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.kube.config import KubeConfigError, load


def written(folder: Path, cluster: Any = None, user: Any = None, **more: Any) -> str:
    config = {
        "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": cluster or {"server": "http://127.0.0.1:1/"}}],
        "users": [{"name": "u", "user": user or {}}], **more,
    }  # fmt: skip
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_of_several_files_the_first_that_defines_a_name_wins(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_text("users: [{name: u, user: {token: first}}]")
    found = load(f"{first}:{written(tmp_path, user={'token': 'second'})}", None)
    assert (found.server, found.bearer(), found.namespace) == ("http://127.0.0.1:1", "first", "shop")


def test_files_are_found_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert load(written(tmp_path, user={"tokenFile": "token"}), None).bearer() == "secret"


@pytest.mark.parametrize(
    "text", ["just text", "[1]", "contexts: 7", "contexts: [{}]", "users: [{name: u, user: 7}]", "a: ["]
)
def test_what_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeConfigError, match=str(path)):
        load(str(path), None)


TLS = "https://127.0.0.1:1"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"cluster": {"certificate-authority": "ca"}}, "has no server such as"),
        ({"cluster": {"server": "nonsense"}}, "has no server such as"),
        ({"cluster": {"server": TLS, "certificate-authority-data": "!!"}}, "certificates cannot be read"),
        ({"cluster": {"server": TLS, "certificate-authority-data": "AAAA"}}, "certificates cannot be read"),
        ({"cluster": {"server": TLS, "certificate-authority": "/nowhere"}}, "certificates cannot be read"),
        ({"cluster": {"server": TLS}, "user": {"client-certificate-data": "AAAA", "client-key-data": "AAAA"}}, "cannot be read"),
        ({"current-context": "other"}, 'no context "other"; there are: x'),
        ({"users": []}, 'names the user "u", which is not defined'),
        ({"user": {"exec": {"command": "x"}}}, "exec.apiVersion"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(tmp_path: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(KubeConfigError, match=said):
        load(written(tmp_path, **how), None)
