"""What may people and hooks ask of a running agent? Whether it is ready, and pages of Envoy and of itself."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from lateen.agent import http
from lateen.agent.http import Endpoint
from lateen.envoy import wellknown


def wait(arguments: Sequence[str]) -> int:
    """``wait``: until the proxy is ready; 1 when the time is over."""
    parser = argparse.ArgumentParser("wait")
    parser.add_argument("--timeoutSeconds", type=float, default=60.0)
    parser.add_argument("--requestTimeoutMillis", type=float, default=500.0)
    parser.add_argument("--periodMillis", type=float, default=200.0)
    parser.add_argument(
        "--port", type=int, default=wellknown.READY_PORT
    )  # the same, wherever the agent's own port is
    options = parser.parse_args(arguments)
    end, said = time.monotonic() + options.timeoutSeconds, "no answer"
    while time.monotonic() < end:
        try:
            answer = asyncio.run(
                _ask(options.port, "GET", "/healthz/ready", options.requestTimeoutMillis / 1000)
            )
        except OSError as wrong:
            said = str(wrong) or type(wrong).__name__
        else:
            if answer.status == 200:
                return 0
            said = answer.body.decode(errors="replace")
        time.sleep(options.periodMillis / 1000)
    print(f"the proxy is not ready after {options.timeoutSeconds:g} s: {said}", file=sys.stderr)
    return 1


def request(arguments: Sequence[str]) -> int:
    """``request GET stats``: the page on stdout; 1 when there is none."""
    parser = argparse.ArgumentParser("request")
    parser.add_argument("method", type=str.upper)
    parser.add_argument("path")
    parser.add_argument("--debug-port", type=int, default=wellknown.ADMIN_PORT)
    options = parser.parse_args(arguments)
    path = "/" + options.path.lstrip("/")
    try:
        answer = asyncio.run(_ask(options.debug_port, options.method, path, 60.0))
    except OSError as wrong:
        print(f"127.0.0.1:{options.debug_port}{path}: {wrong or type(wrong).__name__}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(answer.body)
    return 0 if answer.status < 400 else 1


async def _ask(port: int, method: str, path: str, timeout_s: float) -> http.Response:
    return await http.fetch(Endpoint("127.0.0.1", port), path, method=method, timeout_s=timeout_s)
