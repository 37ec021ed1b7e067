"""The shop's programs as a machine runs them: each a process of its own, on loopback ports the system chooses."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import grpc

from boutique.health import NAME, SERVING, decode_status, encode_request

#: Nothing here takes so long; it ends a test that would wait for ever.
PATIENCE_S = 30


class Program:
    """One service, loadgenerator or redis; ended by leaving its ``with`` block."""

    def __init__(self, name: str, variables: Mapping[str, str] | None = None) -> None:
        self.name, self.said = name, []
        self._lines: queue.Queue[str | None] = queue.Queue()
        environment = {
            "PATH": os.environ["PATH"],
            "LISTEN_ADDR": "127.0.0.1",
            "PORT": "0",
            "DRAIN_SECONDS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"boutique.{name}"], env={**environment, **(variables or {})}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    said: list[dict[str, Any]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    @property
    def port(self) -> int:
        """The port it listens on, once it does."""
        return int(self.wait_for(lambda it: it["message"] == "listening")["port"])

    @property
    def address(self) -> str:
        """host:port, once it listens."""
        return f"127.0.0.1:{self.port}"

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of its log, already said or to come, which is wanted."""
        for it in self.said:
            if wanted(it):
                return it
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise AssertionError(f"{self.name} said nothing of the kind; it said {self.said}") from None
            if line is None:
                raise AssertionError(f"{self.name} has ended; it said {self.said}")
            with contextlib.suppress(json.JSONDecodeError):
                self.said.append(json.loads(line))
                if wanted(self.said[-1]):
                    return self.said[-1]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Whatever it does."""
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


@contextlib.contextmanager
def running(name: str, **variables: str) -> Iterator[Program]:
    """One program which listens."""
    with Program(name, variables) as program:
        assert program.port
        yield program


@contextlib.contextmanager
def redis_server(port: int = 0) -> Iterator[int]:
    """A real redis-server; its port."""
    port = port or free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                break
        else:
            raise AssertionError(f"redis-server has ended: {said}")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def is_serving(address: str, service: str = "") -> bool:
    """What a Kubernetes gRPC probe would conclude."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(f"/{NAME}/Check")
        answer: bytes = check(encode_request(service), timeout=PATIENCE_S, wait_for_ready=True)
        return decode_status(answer) == SERVING


class RunningShop(NamedTuple):
    """Every service by name, where each can be reached, and the page's address."""

    programs: Mapping[str, Program]
    variables: Mapping[str, str]
    url: str


_ALONE = {
    "productcatalogservice": "PRODUCT_CATALOG_SERVICE_ADDR", "currencyservice": "CURRENCY_SERVICE_ADDR",
    "shippingservice": "SHIPPING_SERVICE_ADDR", "paymentservice": "PAYMENT_SERVICE_ADDR",
    "emailservice": "EMAIL_SERVICE_ADDR", "adservice": "AD_SERVICE_ADDR", "cartservice": "CART_SERVICE_ADDR",
}  # fmt: skip
_CALLING = {
    "recommendationservice": "RECOMMENDATION_SERVICE_ADDR",
    "checkoutservice": "CHECKOUT_SERVICE_ADDR",
}


@contextlib.contextmanager
def whole_shop(redis_port: int) -> Iterator[RunningShop]:
    """All services of one shop, started side by side."""
    with contextlib.ExitStack() as stack:
        programs: dict[str, Program] = {}
        variables = {"REDIS_ADDR": f"127.0.0.1:{redis_port}"}
        for names in (_ALONE, _CALLING):
            programs |= {it: stack.enter_context(Program(it, variables)) for it in names}
            variables |= {variable: programs[name].address for name, variable in names.items()}
        programs["frontend"] = stack.enter_context(Program("frontend", variables))
        yield RunningShop(programs, variables, f"http://{programs['frontend'].address}")
