"""How do the services call each other? A server for one service, and a remote end with deadlines."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from boutique import caller, logs, settings
from boutique.health import Health
from boutique.pb import demo_pb2

Handler = Callable[[Any], Awaitable[Any]]

TIMEOUT_S = 5.0
#: In-flight calls are given this long when the server stops; with the drain it is below Kubernetes' 5 s.
_GRACE_S = 2.5
#: A server refuses what it cannot finish anyway.
_CONCURRENT = 500
_SERVER_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 1 << 20))
_CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # No policy asks for retries; what is left are those of requests which never left this process.
    ("grpc.service_config_disable_resolution", 1),
    # A peer whose address has vanished says nothing: ask while calls wait, and give the connection up.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)


class RefusedError(Exception):
    """A service will not do what it is asked; code and reason go to the caller."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class UpstreamError(Exception):
    """A call to another service failed."""

    def __init__(self, service: str, method: str, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(f"{service}/{method}: {code.name}: {reason}")
        self.service, self.method, self.code, self.reason = service, method, code, reason


class Remote:
    """Another service at an address; connects when it is first called and again whenever it must."""

    def __init__(self, service: str, address: str) -> None:
        self.service, self.address = service, address
        self._channel: Any = None
        self._calls: dict[str, Any] = {}

    async def call(
        self, method: str, request: Any, *, timeout_s: float = TIMEOUT_S, patient: bool = True
    ) -> Any:
        """The answer; UpstreamError otherwise.

        A patient call waits within its deadline for a service that is just being replaced; the request itself is
        sent at most once.
        """
        try:
            return await self._call(method)(
                request,
                timeout=caller.time_left_s(timeout_s),
                metadata=caller.headers(),
                wait_for_ready=patient,
            )
        except grpc.aio.AioRpcError as failed:
            reason = failed.details() or "no reason given"
            raise UpstreamError(self.service, method, failed.code(), reason) from None

    async def close(self) -> None:
        """End the connection."""
        if self._channel is not None:
            await self._channel.close()

    def _call(self, method: str) -> Any:
        if method not in self._calls:
            if self._channel is None:
                self._channel = grpc.aio.insecure_channel(self.address, options=_CHANNEL_OPTIONS)
            described = demo_pb2.DESCRIPTOR.services_by_name[self.service].methods_by_name[method]
            self._calls[method] = self._channel.unary_unary(
                f"/hipstershop.{self.service}/{method}",
                request_serializer=_encode,
                response_deserializer=GetMessageClass(described.output_type).FromString,
            )
        return self._calls[method]


def remote(service: str, variable: str) -> Remote:
    """The service whose address a variable holds; ends the program if it does not."""
    address = settings.text(variable)
    if not address:
        logs.say("error", f"the environment has no {variable}: set it to host:port of {service}")
        raise SystemExit(2)
    return Remote(service, address)


async def together(calls: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The answers of calls made at the same time, in their order; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(it) for it in calls]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [it.result() for it in tasks]


def run(service: str, handlers: Mapping[str, Handler], default_port: int) -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(service, handlers, settings.port(default_port)))


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for it in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(it, stop.set)
    return stop


async def _serve(service: str, handlers: Mapping[str, Handler], port: int) -> None:
    stop, health = stop_signal(), Health(f"hipstershop.{service}")
    server = grpc.aio.server(options=_SERVER_OPTIONS, maximum_concurrent_rpcs=_CONCURRENT)
    server.add_generic_rpc_handlers((_generic(service, handlers), health.handler()))
    try:
        bound = server.add_insecure_port(f"{settings.listen_address()}:{port}")
    except RuntimeError as refused:
        logs.say("error", f"cannot listen on {settings.listen_address()}:{port}: {refused}")
        raise SystemExit(1) from None
    await server.start()
    logs.say("info", "listening", service=service, port=bound)
    await stop.wait()
    health.drain()
    # Callers learn of a leaving pod a moment after it is told to leave; until then they are served.
    await asyncio.sleep(settings.drain_s())
    await server.stop(_GRACE_S)
    logs.say("info", "stopped", service=service)


def _generic(service: str, handlers: Mapping[str, Handler]) -> Any:
    methods = {}
    for it in demo_pb2.DESCRIPTOR.services_by_name[service].methods:
        methods[it.name] = grpc.unary_unary_rpc_method_handler(
            _guarded(f"{service}/{it.name}", handlers[it.name]),
            request_deserializer=GetMessageClass(it.input_type).FromString,
            response_serializer=_encode,
        )
    return grpc.method_handlers_generic_handler(f"hipstershop.{service}", methods)


def _guarded(name: str, handler: Handler) -> Callable[[Any, Any], Awaitable[Any]]:
    """A handler whose every failure becomes a status."""

    async def answer(request: Any, context: Any) -> Any:
        caller.enter(context.invocation_metadata() or (), context.time_remaining())
        try:
            return await handler(request)
        except RefusedError as refused:
            code, reason = refused.code, refused.reason
        except UpstreamError as failed:
            logs.say("warning", str(failed), method=name)
            code, reason = failed.code, str(failed)
        except Exception as bug:  # noqa: BLE001  # one boundary: a bug fails one call, not the service
            logs.say("error", f"{type(bug).__name__}: {bug}", method=name)
            code, reason = grpc.StatusCode.INTERNAL, f"{name} failed: {type(bug).__name__}"
        await context.abort(code, reason)
        return None

    return answer


def _encode(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
