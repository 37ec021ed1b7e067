"""The command line as a user meets it: exit codes and one-line errors, never a traceback."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def lateen(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "lateen.cli.main", *argv], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_it_completes_in_bash() -> None:
    # Else the shell that started the tests decides, and make's is one that cannot complete.
    done = lateen("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "complete -o" in done.stdout


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["--help"], 0, "proxy-config"),
        (["version", "--no-remote"], 0, "client version: 0.1.0"),
        (["version", "--remote=false"], 0, "client version: 0.1.0"),
        (["version", "--remote=false", "-o", "json"], 0, '"version": "0.1.0"'),
        (["version", "--remote=perhaps"], 1, 'not "perhaps"'),
        (["version", "--kubeconfig", "no-such-file"], 1, "Warning: no-such-file"),
        (["proxy-status", "--kubeconfig", "no-such-file"], 1, "no-such-file"),
        (["proxy-config", "cluster", "web", "--kubeconfig", "no-such-file"], 1, "no-such-file"),
        (["proxy-config", "cluster", "-f", __file__], 1, "no JSON of an Envoy"),
        (["proxy-config", "cluster", "-f", "/"], 1, "Is a directory"),
        (["proxy-config", "cluster", "--direction", "up", "-f", __file__], 1, 'not "up"'),
        (["proxy-config", "cluster", "web", "-o", "xml"], 64, "xml"),
        (["version", "--short"], 0, "0.1.0"),
        (["bogus"], 64, "No such command"),
        (["install", "--bogus"], 64, "No such option"),
        (["install", "--profile", "tiny", "-y"], 1, "unknown profile"),
        (["proxy-config", "cluster"], 1, "name a pod"),
        (["proxy-config", "cluster", "-f", "no-such-file.json"], 1, "no such file"),
    ],
)
def test_every_command_ends_with_its_code_and_a_sentence(argv: list[str], code: int, said: str) -> None:
    done = lateen(*argv)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def every_verb() -> list[str]:
    """As typed, without the hidden second names."""
    from typer.main import get_command

    from lateen.cli.main import app

    def below(command: Any, path: str) -> list[str]:
        inner = getattr(command, "commands", {})
        if not inner:
            return [path]
        return [
            it for name, one in inner.items() if not one.hidden for it in below(one, f"{path} {name}".strip())
        ]

    return below(get_command(app), "")


@pytest.mark.finding("newcomer D.3")
@pytest.mark.parametrize("verb", every_verb())
def test_every_verb_has_two_examples_that_it_understands(verb: str) -> None:
    from typer.main import get_command

    from lateen.cli.examples import EXAMPLES
    from lateen.cli.main import app

    assert len(EXAMPLES[verb]) >= 2
    for line, purpose in EXAMPLES[verb]:
        # What stands before and after in a shell is the shell's.
        words = re.search(r"lateen ([^|>)]*)", line)
        assert words, line
        assert purpose, line
        command, argv = get_command(app), shlex.split(words[1])
        while hasattr(command, "commands"):
            command = command.commands[argv.pop(0)]
        command.make_context("lateen", argv)  # raises UsageError for an option that is not there


@pytest.mark.finding("newcomer D.3")
def test_examples_are_printed_under_a_verbs_help() -> None:
    for verb in ("proxy-status", "ps"):
        assert "lateen proxy-status deploy/web -n shop" in lateen(verb, "--help").stdout
    for verbs in (("proxy-config", "cluster"), ("pc", "c"), ("pc", "clusters")):
        assert "lateen proxy-config cluster deploy/web -n shop" in lateen(*verbs, "-h").stdout


@pytest.mark.finding("newcomer D.2.16")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("analyze", "lateen problems"),
        ("x describe pod a", "lateen problems"),
        ("validate -f a.yaml", "lateen problems"),
        ("verify-install", "lateen version"),
        ("dashboard kiali", "kubectl port-forward"),
        ("admin log", "kubectl port-forward"),
        ("upgrade", "lateen install"),
        ("tag set prod", "lateen install --revision"),
        ("waypoint apply", "lateen proxy-status"),
        ("completion bash", "--install-completion"),
        ("proxy-config log deploy/web", "pilot-agent request"),
        ("pc ecds deploy/web", "lateen proxy-status"),
    ],
)
def test_a_verb_of_istioctl_that_is_not_here_yet_says_what_is(typed: str, said: str) -> None:
    done = lateen(*typed.split())
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert "is not here yet" in line
    assert said in line


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("-n shop pc c deploy/web", "pc c -n shop deploy/web"),
        ("pc -n shop c deploy/web -o json", "pc c -n shop deploy/web -o json"),
        ("--namespace=shop -i mesh proxy-status", "proxy-status --namespace=shop -i mesh"),
        ("--context a -c f manifest generate --set x=y", "manifest generate --context a -c f --set x=y"),
        ("pc c deploy/web -n shop", "pc c deploy/web -n shop"),
        ("pc -h", "pc -h"),
        ("-n shop -h", "-n shop -h"),
        ("-n", "-n"),
        ("", ""),
    ],
)
def test_options_of_every_verb_may_stand_before_it_as_in_istioctl(typed: str, read: str) -> None:
    from lateen.cli.main import hoisted

    assert hoisted(typed.split()) == read.split()


@pytest.mark.finding("newcomer D.3")
def test_a_namespace_before_the_verb_is_the_verbs() -> None:
    done = lateen("-n", "shop", "pc", "c", "-f", "no-such-file.json")
    assert (done.returncode, "no such file" in done.stderr) == (1, True), done.stderr


def test_ctrl_c_while_modules_are_imported_is_one_line() -> None:
    slow = (
        "import sys, time, signal, os, importlib.abc\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'lateen.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from lateen.cli.entry import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", slow], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.finding("newcomer D.3")
def test_istioctl_is_a_name_of_ours_on_request_and_never_instead_of_another(tmp_path: Path) -> None:
    (tmp_path / "lateen").symlink_to(Path(sys.executable).with_name("lateen"))
    path = f"{tmp_path}:/usr/bin:/bin"
    assert lateen("alias", "istioctl", PATH=path).returncode == 0
    said = subprocess.run(
        ["istioctl", "version", "--remote=false"],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "client version" in said.stdout
    assert lateen("alias", PATH=path).returncode == 0
    assert lateen("alias", "--remove", PATH=path).returncode == 0
    (tmp_path / "istioctl").write_text("#!/bin/sh\necho theirs\n")
    (tmp_path / "istioctl").chmod(0o755)
    done = lateen("alias", PATH=path)
    assert done.returncode == 1
    assert "stays as it is" in done.stderr
    assert "theirs" in (tmp_path / "istioctl").read_text()
