"""The control plane as it runs in its pod: a process that is started with files and variables, and ended by a signal."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
import yaml

from lateen.envoy.resource import CLUSTER
from lateen.testing.ads import Delta, until
from lateen.testing.agents import bridge, entrance
from lateen.testing.namespaces import Namespace

pytestmark = pytest.mark.root


class Process:
    """A control plane on Istio's own ports, in a network of its own."""

    def __init__(self, namespace: Namespace, folder: Path, api_server: Any) -> None:
        self.log, self._namespace = folder / "log", namespace
        authority = base64.b64encode(api_server.pki.ca_pem).decode()
        config = {
            "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {
                "server": f"https://127.0.0.1:{api_server.port}", "certificate-authority-data": authority}}],
            "users": [{"name": "x", "user": {"token": api_server.token("istio-system/istiod")}}],
        }  # fmt: skip
        self._config = folder / "kubeconfig"
        self._config.write_text(yaml.safe_dump(config))

    def start(self) -> subprocess.Popen[bytes]:
        command = [
            "nsenter",
            f"--net={self._namespace.path}",
            sys.executable,
            "-m",
            "lateen.app.control_plane",
        ]
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self._config)}
        with self.log.open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


@pytest.fixture
async def process(api_server: Any, install: Any, tmp_path: Path) -> AsyncIterator[Process]:
    await install()
    namespace = Namespace()
    async with bridge(namespace, api_server.port, api_server.port):
        yield Process(namespace, tmp_path, api_server)
    namespace.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_when_told_while_proxies_are_connected(
    process: Process, number: signal.Signals
) -> None:
    running = process.start()
    try:
        async with AsyncExitStack() as stack:
            pages, plain = [
                await stack.enter_async_context(entrance(process._namespace, it)) for it in (8080, 15010)
            ]
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def ready() -> bool:
                assert running.poll() is None, process.log.read_text()
                try:
                    async with session.get(f"http://127.0.0.1:{pages}/ready") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

            await until(ready)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{plain}"))
            stream = Delta(channel)
            await stream.ask(CLUSTER)
            await stream.agree()
            running.send_signal(number)
            with pytest.raises(EOFError) as ended:
                await stream.hear()
            assert ended.value.args == (grpc.StatusCode.UNAVAILABLE, "this control plane ends")
        assert await asyncio.to_thread(running.wait, 20) == 0
        assert "event=stopped" in process.log.read_text()
        assert "Traceback" not in process.log.read_text()
    finally:
        running.kill()
        running.wait()


async def test_told_before_kubernetes_answers_it_ends_too(process: Process, api_server: Any) -> None:
    await api_server.stop()
    running = process.start()
    try:
        await until(lambda: "waiting for Kubernetes" in process.log.read_text())
        running.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait, 20) == 0
        assert "Traceback" not in process.log.read_text()
    finally:
        running.kill()
        running.wait()
