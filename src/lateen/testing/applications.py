"""Who answered, and what did it hear? The application of every pod: HTTP, gRPC, TCP, and TCP that speaks first."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from typing import Any

import grpc
from aiohttp import web

from lateen.testing.namespaces import Namespace

HTTP, TLS, GRPC, ECHO, BANNER = 8080, 8443, 9090, 9000, 9001


class Application:
    """Listens on all ports of a pod, and remembers each HTTP request it heard."""

    def __init__(self, who: str, namespace: Namespace, tls: ssl.SSLContext | None = None) -> None:
        self.who = who
        self.heard: list[dict[str, Any]] = []
        self._namespace, self._tls = namespace, tls
        self._failures: Counter[str] = Counter()
        self._ends: list[Any] = []

    async def start(self) -> None:
        """Be ready when this returns."""
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._http)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        self._ends.append(runner.cleanup)
        await web.SockSite(runner, self._socket(HTTP)).start()
        if self._tls:
            await web.SockSite(runner, self._socket(TLS), ssl_context=self._tls).start()
        for port, answer in ((ECHO, self._echo), (BANNER, self._banner)):
            server = await asyncio.start_server(answer, sock=self._socket(port))
            self._ends.append(_closing(server))
        await self._start_grpc()

    async def _start_grpc(self) -> None:
        made = grpc.aio.server()
        made.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("echo.Echo", {
                "Say": grpc.unary_unary_rpc_method_handler(self._say),
                "Fail": grpc.unary_unary_rpc_method_handler(self._fail),
                "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
            }),
        ))  # fmt: skip
        self._namespace.call(lambda: made.add_insecure_port(f"0.0.0.0:{GRPC}"))
        await made.start()
        self._ends.append(lambda: made.stop(0.1))

    async def stop(self) -> None:
        """Close everything."""
        for end in reversed(self._ends):
            await end()
        self._ends.clear()

    def _socket(self, port: int) -> socket.socket:
        made = self._namespace.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("0.0.0.0", port))
        made.listen(256)
        return made

    async def _http(self, request: web.Request) -> web.Response:
        """``?status=``, ``?delay=`` seconds, ``?failures=N&key=K``: the first N requests of this key get 503."""
        said = {
            "who": self.who, "method": request.method, "path": request.path_qs, "host": request.host,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "peer": request.remote, "tls": request.secure, "certificate": _shown(request), "alpn": _agreed(request),
        }  # fmt: skip
        self.heard.append(said)
        asked = request.query
        if delay := float(asked.get("delay", 0)):
            await asyncio.sleep(delay)
        status = int(asked.get("status", 200))
        if (key := asked.get("key")) and self._failures[key] < int(asked.get("failures", 0)):
            self._failures[key] += 1
            status = 503
        return web.Response(
            status=status, text=json.dumps(said), headers={"x-app": self.who}, content_type="application/json"
        )

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(f"{self.who} ".encode() + line)
        writer.close()

    async def _banner(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{self.who} speaks first\n".encode())
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def _say(self, request: bytes, context: Any) -> bytes:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        return json.dumps({"who": self.who, "said": request.decode(), "metadata": metadata}).encode()

    async def _fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(getattr(grpc.StatusCode, request.decode()), "as you wished")
        return b""

    async def _talk(self, requests: Any, context: Any) -> None:
        async for request in requests:
            await context.write(f"{self.who} ".encode() + request)


def _shown(request: web.Request) -> str:
    """The name in the client's certificate."""
    found = request.get_extra_info("peercert") or {}
    return next((value for _, value in found.get("subjectAltName", ())), "")


def _agreed(request: web.Request) -> str:
    """What was agreed on by ALPN."""
    made = request.get_extra_info("ssl_object")
    return (made.selected_alpn_protocol() if made else None) or ""


def _closing(server: asyncio.Server) -> Any:
    async def close() -> None:
        server.close()

    return close
