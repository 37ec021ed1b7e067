"""Which cluster a kubeconfig means, and what is said of one that means none."""

from __future__ import annotations

import ssl
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


@pytest.mark.finding("newcomer D.2.8")
def test_what_is_no_yaml_is_told_in_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("clusters:\n- name: c\n  cluster: [\n")
    with pytest.raises(KubeConfigError) as wrong:
        load(str(path), None)
    said = str(wrong.value)
    assert "\n" not in said
    assert "in line 4, column 1; correct it, or name another with --kubeconfig" in said


@pytest.mark.finding("newcomer D.2.8")
def test_files_of_a_list_may_be_absent_and_a_single_one_may_not(tmp_path: Path) -> None:
    there, absent = written(tmp_path), str(tmp_path / "absent")
    assert load(f"{absent}:{there}", None).namespace == "shop"
    with pytest.raises(KubeConfigError, match="absent: No such file or directory: it should be a kubeconfig"):
        load(absent, None)
    with pytest.raises(KubeConfigError, match="none of these files exists"):
        load(f"{absent}:{absent}2", None)


def test_no_current_context_is_told(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match="no context is current: name one with --context; there are: x"):
        load(written(tmp_path, **{"current-context": ""}), None)


def test_all_that_a_connection_may_need_is_read(tmp_path: Path) -> None:
    cluster = {
        "server": TLS, "insecure-skip-tls-verify": True, "tls-server-name": "api", "proxy-url": "http://127.0.0.1:2",
    }  # fmt: skip
    user = {"token": "t", "as": "jane", "as-groups": ["a", "b"], "as-uid": "7"}
    it = load(written(tmp_path, cluster=cluster, user=user), "x")
    assert it.tls
    assert (it.tls.verify_mode, it.tls.check_hostname) == (ssl.CERT_NONE, False)
    assert (it.server_name, it.proxy, str(it)) == ("api", "http://127.0.0.1:2", f'{TLS} (context "x")')
    assert it.headers == (
        ("Impersonate-User", "jane"), ("Impersonate-Uid", "7"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"),
    )  # fmt: skip


def test_a_server_that_asks_nobody_needs_no_user(tmp_path: Path) -> None:
    contexts = [{"name": "x", "context": {"cluster": "c"}}]
    assert load(written(tmp_path, contexts=contexts, users=None), None).bearer() == ""


TLS = "https://127.0.0.1:1"


@pytest.mark.finding("newcomer D.2.7")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"cluster": {"certificate-authority": "ca"}}, "has no server such as"),
        ({"cluster": {"server": "nonsense"}}, "has no server such as"),
        ({"cluster": {"server": TLS, "proxy-url": "socks5://127.0.0.1:2"}}, "use an HTTP proxy"),
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
