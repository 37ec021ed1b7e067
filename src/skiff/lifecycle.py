"""How does the daemon begin and end? Detached processes, the pid file, readiness, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from skiff import claim, kubeconfig, watches
from skiff import log as log_file
from skiff.net import namespace
from skiff.processes import alive, born
from skiff.settings import Settings

CONTEXT = "skiff"
START_S, STOP_S, KILLED_S = 60.0, 60.0, 5.0
_BEFORE = "context-before"


class LifecycleError(Exception):
    """Something the user can mend; the message says what and how."""


def start(settings: Settings) -> Iterator[str]:
    """Lines of progress; the last one when kubectl can be used."""
    if os.geteuid() != 0:
        raise LifecycleError("network namespaces need root: run `sudo skiff start`")
    for tool in ("ip", "nft"):
        if not shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            raise LifecycleError(f'the command "{tool}" is missing: apt-get install iproute2 nftables')
    kubeconfig.check(kubeconfig.default_path())
    begun = time.monotonic()
    if running(settings):
        yield f"already running (pid {running(settings)})"
        if _differs(settings):
            yield "  --cpus, --memory and --port hold from the next start on: run `skiff stop` first"
    else:
        _require_free(settings)
        yield f"starting the cluster in {settings.home}"
        _make_home(settings)
        if told := watches.allow(settings.home):
            yield f"  {told}"
        _spawn(settings)
        yield f"  API server at https://127.0.0.1:{_port(settings)}"
    _admit(settings)
    if limits := _limits(settings):
        yield f"  limits: {limits}"
    _wait_ready(settings)
    waited = f" after {time.monotonic() - begun:.1f} s"
    yield f'  node {settings.node_name} is Ready{waited}; kubectl now uses the context "{CONTEXT}"'


def _differs(settings: Settings) -> bool:
    asked = (settings.cpus, settings.memory_mib, settings.api_port)
    usual = Settings(home=settings.home)
    return (
        asked != (usual.cpus, usual.memory_mib, usual.api_port)
        and list(map(str, asked)) != _words(settings)[2:]
    )


def _require_free(settings: Settings) -> None:
    """Another cluster's network would be taken apart, and a port of somebody else found out late, by a traceback."""
    if other := claim.holder():
        raise LifecycleError(
            f"another cluster runs on this machine, in {other}: end it with `SKIFF_HOME={other} skiff stop`"
        )
    if not namespace.names_are_free(settings.home):
        raise LifecycleError(f"a daemon of {settings.home} runs in {claim.ELSEWHERE}: end it there")
    _require_no_remains(settings)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", settings.api_port))
        except OSError as wrong:
            raise LifecycleError(
                f"port {settings.api_port} of 127.0.0.1 cannot be used ({wrong.strerror}): end what listens there "
                "(`ss -ltnp`), or choose another one with --port"
            ) from wrong


def _require_no_remains(settings: Settings) -> None:
    """Of another cluster, whose daemon was killed and whose pods go on. One without a folder can never come back."""
    other = namespace.maker()
    if not other or Path(other) == settings.home.resolve():
        return
    if (Path(other) / settings.database.name).exists():
        raise LifecycleError(
            f"the daemon of {other} was killed, and its pods go on on this machine: `SKIFF_HOME={other} skiff start` "
            f"finds them again, `SKIFF_HOME={other} skiff delete` ends them"
        )
    asyncio.run(_leftovers().clear(replace(settings, home=Path(other)), alone=True))


def _leftovers() -> ModuleType:
    from skiff.node import leftovers  # the node's code: only for those who need it

    return leftovers


def _limits(settings: Settings) -> str:
    path = settings.home / "limits"
    return path.read_text() if path.exists() else ""


def _make_home(settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.home.chmod(0o700)  # keys, tokens and secrets lie in here


def _spawn(settings: Settings) -> None:
    (settings.home / "ready").unlink(missing_ok=True)
    argv = [
        sys.executable, "-m", "skiff.daemon", f"--cpus={settings.cpus}", f"--memory={settings.memory_mib}",
        f"--port={settings.api_port}", *([] if settings.realistic is None else [f"--realistic={settings.realistic}"]),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "SKIFF_HOME": str(settings.home),
        "MALLOC_ARENA_MAX": "2",  # one for each thread would keep what it once had
    }
    log = settings.home / log_file.NAME
    log.touch(mode=0o600)
    log.chmod(0o600)  # an older release made it for everybody
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=environment,
        )
    words = (child.pid, born(child.pid), settings.cpus, settings.memory_mib, settings.api_port)
    (settings.home / "daemon.pid").write_text(" ".join(map(str, words)))
    deadline = time.monotonic() + START_S
    while not (settings.home / "ready").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            raise LifecycleError(f"the daemon did not start: {_last_words(settings)}")
        time.sleep(0.05)


def _last_words(settings: Settings) -> str:
    log = settings.home / log_file.NAME
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"{lines[-1] if lines else 'it said nothing'} (see {log})"


def _admit(settings: Settings) -> None:
    from skiff.auth.pki import ClusterPki  # cryptography: only for commands that start

    pki = ClusterPki.load_or_create(settings.home / "pki")
    certificate, key = pki.client_certificate("kubernetes-admin", ["system:masters"])
    server = f"https://127.0.0.1:{_port(settings)}"
    before = kubeconfig.merge(kubeconfig.default_path(), CONTEXT, server, pki.ca_pem, certificate, key)
    if before != CONTEXT:
        (settings.home / _BEFORE).write_text(before)
    for name, content in (("admin.crt", certificate), ("admin.key", key), ("ca.pem", pki.ca_pem)):
        path = settings.home / name
        path.touch(mode=0o600)
        path.write_bytes(content)


def _before(settings: Settings) -> str:
    """The context that kubectl used before ours."""
    path = settings.home / _BEFORE
    return path.read_text() if path.exists() else ""


def _wait_ready(settings: Settings) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if _node_ready(settings):
            return
        if not running(settings):
            raise LifecycleError(f"the daemon ended: {_last_words(settings)}")
        time.sleep(0.1)
    raise LifecycleError(f"the node is not Ready after {START_S:.0f} s: {_last_words(settings)}")


def _node_ready(settings: Settings) -> bool:
    import json

    try:
        found = json.loads(_get(settings, f"/api/v1/nodes/{settings.node_name}"))
    except (OSError, ValueError):
        return False
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def _get(settings: Settings, path: str) -> bytes:
    tls = ssl.create_default_context(cafile=settings.home / "ca.pem")
    tls.load_cert_chain(settings.home / "admin.crt", settings.home / "admin.key")
    url = f"https://127.0.0.1:{_port(settings)}{path}"
    with urllib.request.urlopen(url, context=tls, timeout=5) as answer:  # our own address
        return bytes(answer.read())


def _words(settings: Settings) -> list[str]:
    """What is known of the daemon: pid, start time, CPUs, MiB, port."""
    try:
        found = (settings.home / "daemon.pid").read_text().split()
    except OSError:
        found = []
    known = len(found) == 5 and found[0].isdigit() and born(int(found[0])) == found[1]
    return found if known else _searched(settings)


def _searched(settings: Settings) -> list[str]:
    """The same from the process itself: its file may be lost or another's, and a daemon that nobody finds never ends."""
    for it in Path("/proc").iterdir():
        if not it.name.isdigit():
            continue
        try:
            argv = (it / "cmdline").read_bytes().decode(errors="replace").split("\0")
            mine = f"SKIFF_HOME={settings.home}".encode() in (it / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mine and (
            argv[1:3] == ["-m", "skiff.daemon"] or argv[1:4] == ["-m", "skiff.cli", "daemon"]
        ):  # of old
            options = dict(
                word[2:].split("=", 1) for word in argv[3:] if word.startswith("--") and "=" in word
            )
            return [
                it.name,
                born(int(it.name)),
                *(options.get(name, "0") for name in ("cpus", "memory", "port")),
            ]
    return []


def _seed(pid: int) -> int | None:
    """Of a busy server's habits; None when the daemon has none."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    found = [it.partition("=")[2] for it in argv if it.startswith("--realistic=")]
    return int(found[0]) if found else None


def _port(settings: Settings) -> int:
    words = _words(settings)
    return int(words[4]) if words else settings.api_port


def running(settings: Settings) -> int:
    """The daemon's pid; 0 when it does not run."""
    words = _words(settings)
    if not words:
        return 0
    return int(words[0]) if alive(int(words[0]), words[1]) else 0


def stop(settings: Settings) -> bool:
    """End the daemon in order, or what goes on without it; False when nothing ran."""
    pid = running(settings)
    if not pid:
        return _clear_remains(settings)
    return _end(settings, signal.SIGTERM)


def _end(settings: Settings, how: signal.Signals) -> bool:
    pid = running(settings)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
    if not _ended(settings, pid, STOP_S):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _ended(settings, pid, KILLED_S)
    (settings.home / "daemon.pid").unlink(missing_ok=True)
    return True


def _clear_remains(settings: Settings) -> bool:
    """What a killed daemon left; whether containers were among it."""
    if os.geteuid() != 0 or not namespace.names_are_free(settings.home):
        return False
    found = _leftovers().running(settings.home)
    asyncio.run(_leftovers().clear(settings, alone=not claim.holder()))
    return bool(found)


def leave(settings: Settings) -> bool:
    """End the daemon and no pod; False when it did not run."""
    return _end(settings, signal.SIGHUP)


def restart(settings: Settings) -> Iterator[str]:
    """Another daemon instead of the one that runs, such as after an upgrade: pods go on meanwhile."""
    if words := _words(settings):
        cpus, memory, port = map(int, words[2:])
        seed = _seed(int(words[0]))
        settings = replace(settings, cpus=cpus, memory_mib=memory, api_port=port, realistic=seed)
    if leave(settings):
        yield "the daemon ended; pods go on"
    yield from start(settings)


def _ended(settings: Settings, pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while running(settings) == pid:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def delete(settings: Settings) -> None:
    """Stop and remove everything, also what a killed daemon left."""
    if os.geteuid() != 0 and settings.home.exists():
        raise LifecycleError("what skiff made belongs to root: run `sudo skiff delete`")
    stop(settings)
    _clear_remains(settings)  # also what an orderly end left
    watches.put_back(settings.home)
    before = _before(settings)
    shutil.rmtree(settings.home, ignore_errors=True)
    kubeconfig.remove(kubeconfig.default_path(), CONTEXT, before)


def status(settings: Settings) -> dict[str, Any]:
    """What ``skiff status`` shows."""
    pid = running(settings)
    found: dict[str, Any] = {"daemon": "Running" if pid else "Stopped", "home": str(settings.home)}
    if pid:
        found |= {
            "pid": pid, "server": f"https://127.0.0.1:{_port(settings)}",
            "node": "Ready" if _node_ready(settings) else "NotReady", "context": CONTEXT,
        }  # fmt: skip
        found |= {"limits": told} if (told := _limits(settings)) else {}
        if (seed := _seed(pid)) is not None:
            found["habits"] = f"those of a busy server, by seed {seed}"
    elif os.geteuid() == 0 and (left := _leftovers().running(settings.home)):
        found["containers"] = f"{left} go on; `skiff start` finds them again, `skiff stop` ends them"
    return found
