"""The command line as a user meets it: exit codes and one-line errors, never a traceback."""

from __future__ import annotations

import subprocess
import sys

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
        (["version", "--kubeconfig", "no-such-file"], 0, "Warning: no-such-file"),
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
