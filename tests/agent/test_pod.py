"""The whole agent, as in a pod: a real Envoy, a real control plane beside a real API server, real tokens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.pki.certificates import pem, self_signed
from lateen.testing.ads import until
from lateen.testing.agents import bridge

pytestmark = pytest.mark.root

ADDRESS = "10.244.9.1"
Pod = Any  # the fixture's, in conftest.py


async def test_it_becomes_ready_with_a_certificate_of_its_own(pod: Pod) -> None:
    pod.agent.start()
    await until(pod.ready)
    leaf = pod.leaf()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://cluster.local/ns/default/sa/cart"
    ]
    # Who the pod is in its peers' metrics: the control plane knew it by the token.
    assert "cart-1|default|cart|v7|Kubernetes" in leaf.subject.rfc4514_string()
    assert await pod.shows(leaf.serial_number)
    # Nobody else may read the key, and the pod's listeners answer from outside.
    assert (pod.agent.folder / "proxy" / "sds" / "default.json").stat().st_mode & 0o777 == 0o600
    assert await pod.ready(port=15021, address=ADDRESS)
    assert (await pod.ask("/stats/prometheus", port=15090, address=ADDRESS)).status == 200
    # Small: the cryptographic library is gone.
    process = Path(f"/proc/{pod.agent.pid}")
    assert "_rust" not in (process / "maps").read_text()
    assert int((process / "smaps_rollup").read_text().partition("Rss:")[2].split()[0]) < 30_000  # kB
    assert (await pod.ask("/nothing")).status == 404


async def test_it_waits_for_a_control_plane_that_is_late(pod: Pod, tmp_path: Path) -> None:
    pod.agent.environment["CA_ADDR"] = "istiod.istio-system.svc:15112"
    pod.agent.configure(discoveryAddress="istiod.istio-system.svc:15112")
    pod.agent.start()
    await until(lambda: _answers(pod))
    answer = await pod.ask("/healthz/ready")
    assert (answer.status, answer.body) == (503, b"the proxy has no certificate yet, so it is not started")
    async with bridge(pod.agent.namespace, 15112, pod.plane.ports.secure):
        await until(pod.ready)


async def _answers(pod: Pod) -> bool:
    with contextlib.suppress(OSError):
        return bool((await pod.ask("/healthz/ready")).status)
    return False


@pytest.mark.parametrize("how", ["request", "signal"])
async def test_a_new_certificate_by_order(pod: Pod, how: str) -> None:
    pod.agent.start()
    await until(pod.ready)
    before, envoy = pod.leaf(), pod.agent.envoy
    if how == "request":
        answer = await pod.ask("/rotate", method="POST")
        assert answer.status == 200
        assert json.loads(answer.body)["not_after"] == pod.leaf().not_valid_after_utc.timestamp()
    else:
        pod.agent.signal(signal.SIGUSR1)
        await until(lambda: pod.leaf().serial_number != before.serial_number)
    after = pod.leaf()
    assert after.public_key() != before.public_key()
    await until(lambda: pod.shows(after.serial_number))
    assert not await pod.shows(before.serial_number)
    assert pod.agent.envoy == envoy
    # By nobody from outside, and not by chance.
    assert (await pod.ask("/rotate", method="POST", address=ADDRESS)).status == 403
    assert (await pod.ask("/rotate")).status == 405


async def test_a_token_that_proves_nothing_gets_no_certificate_and_says_why(pod: Pod) -> None:
    good = (pod.agent.folder / "tokens" / "istio-token").read_text()
    pod.agent.give_token("nonsense")
    pod.agent.start()
    await until(lambda: "no certificate from istiod.istio-system.svc:15012" in pod.agent.log)
    assert "gRPC status 16" in pod.agent.log
    assert not await pod.ready()
    pod.agent.give_token(good)
    await until(pod.ready)


async def test_a_stranger_is_not_taken_for_the_ca(pod: Pod) -> None:
    other = self_signed(
        ec.generate_private_key(ec.SECP256R1()), "other", serial=1, now=datetime.now(UTC), ttl=timedelta(1)
    )
    pod.agent.trust(pem(other.certificate))
    pod.agent.start()
    await until(lambda: "CERTIFICATE_VERIFY_FAILED" in pod.agent.log)
    assert not (pod.agent.folder / "proxy" / "sds").exists()


async def test_changed_roots_reach_envoy(pod: Pod) -> None:
    pod.agent.start()
    await until(pod.ready)
    other = self_signed(
        ec.generate_private_key(ec.SECP256R1()), "other", serial=77, now=datetime.now(UTC), ttl=timedelta(1)
    )
    pod.agent.trust(pod.plane.authority.roots_pem + pem(other.certificate))
    await until(lambda: "BEGIN" in pod.agent.secret("ROOTCA")["validation_context"]["trusted_ca"]["inline_string"]
                and pod.agent.secret("ROOTCA")["validation_context"]["trusted_ca"]["inline_string"].count("BEGIN") == 2)  # fmt: skip
    # A bundle that is none takes nothing away.
    pod.agent.trust(b"")
    await until(lambda: "the trusted roots have changed" in pod.agent.log)
    assert pod.agent.secret("ROOTCA")["validation_context"]["trusted_ca"]["inline_string"].count("BEGIN") == 2


async def test_when_envoy_dies_the_agent_ends_and_the_next_one_uses_the_certificate_that_is_there(
    pod: Pod,
) -> None:
    pod.agent.start()
    await until(pod.ready)
    serial = pod.leaf().serial_number
    os.kill(pod.agent.envoy, signal.SIGKILL)
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == 137
    # The container is started again, while nobody gives out certificates.
    pod.agent.environment["CA_ADDR"] = "127.0.0.1:1"
    pod.agent.start()
    await until(pod.ready)
    assert pod.leaf().serial_number == serial


@pytest.mark.parametrize(
    ("change", "patience"),
    [
        ({}, "1s"),
        (
            {"LATEEN_GRACE_PERIOD": "3s", "EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"},
            "1h",
        ),  # before the kubelet's kill
        ({"ISTIO_NATIVE_SIDECAR": "true"}, "1h"),  # it is told after its application has ended
    ],
)
async def test_it_drains_and_ends_when_told(pod: Pod, change: dict[str, str], patience: str) -> None:
    pod.agent.environment |= change
    pod.agent.configure(terminationDrainDuration=patience)
    pod.agent.start()
    await until(pod.ready)
    pod.agent.signal(signal.SIGTERM)
    await until(lambda: _says(pod, b"the proxy is draining"))
    await until(lambda: _drains(pod))
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == 0


@pytest.mark.parametrize(
    ("change", "said", "code"),
    [
        (
            {"PROXY_CONFIG": '{"binaryPath": "/nowhere"}'},
            "Envoy cannot be started: [Errno 2] No such file",
            1,
        ),
        ({"PROXY_CONFIG": '{"statusPort": 15012}'}, "cannot listen on port 15012", 1),
        ({"PROXY_CONFIG": '{"concurrency": "x"}'}, "the agent cannot start: PROXY_CONFIG: concurrency", 2),
    ],
)
async def test_what_keeps_it_from_starting_is_told(
    pod: Pod, change: dict[str, str], said: str, code: int
) -> None:
    pod.agent.environment |= change
    pod.agent.start()
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == code
    assert said in pod.agent.log
    assert "Traceback" not in pod.agent.log


async def _drains(pod: Pod) -> bool:
    return (await pod.ask("/ready", port=15000)).body == b"DRAINING\n"


async def _says(pod: Pod, words: bytes) -> bool:
    answer = await pod.ask("/healthz/ready")
    return answer.status == 503 and words in answer.body


async def test_told_to_end_before_it_has_begun(pod: Pod) -> None:
    pod.agent.environment["CA_ADDR"] = "127.0.0.1:1"
    pod.agent.start()
    await until(lambda: _answers(pod))
    assert (await pod.ask("/quitquitquit", method="POST")).status == 200
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == 0


async def test_the_commands_of_people_and_hooks(pod: Pod) -> None:
    program = (sys.executable, "-m", "lateen.app.node_agent")

    async def run(*words: str) -> str:
        return await asyncio.to_thread(pod.agent.namespace.run, *program, *words)

    with pytest.raises(RuntimeError, match=r"not ready after 0\.1 s"):
        await run("wait", "--timeoutSeconds", "0.1")
    pod.agent.start()
    await run("wait", "--timeoutSeconds", "20")
    assert await pod.ready()
    assert "server.state: 0" in await run("request", "GET", "stats")
    assert "istio_build" in await run("request", "--debug-port", "15020", "GET", "metrics")


async def test_metrics_of_the_application_are_merged_and_a_broken_one_does_no_harm(pod: Pod) -> None:
    pages = {"body": "# TYPE shop_carts gauge\nshop_carts 3\n"}

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=pages["body"])

    app = web.Application()
    app.router.add_get("/figures", page)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = pod.agent.namespace.call(lambda: socket.create_server(("127.0.0.1", 9102)))
    await web.SockSite(runner, listener).start()
    pod.agent.environment["ISTIO_PROMETHEUS_ANNOTATIONS"] = json.dumps(
        {"scrape": "true", "port": "9102", "path": "/figures"}
    )
    pod.agent.start()
    await until(pod.ready)
    text = (await pod.ask("/stats/prometheus")).body.decode()
    assert "\nshop_carts 3\n" in text
    assert "envoy_server_live" in text
    assert 'istio_agent_scrape_failures_total{type="application"} 0' in text
    pages["body"] = "<html>"
    await asyncio.sleep(1)  # what was read is shown again for a moment
    await pod.ask("/stats/prometheus")
    text = (await pod.ask("/metrics")).body.decode()
    assert "html" not in text
    assert "envoy_server_live" in text
    assert 'istio_agent_scrape_failures_total{type="application"} 2' in text
    await runner.cleanup()


async def _captured(pod: Pod, handler: Any) -> web.AppRunner:
    """An application on port 8080, whose traffic goes through the proxy."""
    await asyncio.to_thread(
        pod.agent.namespace.run,
        sys.executable,
        "-m",
        "lateen.app.node_agent",
        "istio-iptables",
        "-d",
        "15090,15021,15020",
    )
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = pod.agent.namespace.call(lambda: socket.create_server(("0.0.0.0", 8080)))
    await web.SockSite(runner, listener).start()
    return runner


async def _connected(pod: Pod) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    made = await asyncio.to_thread(pod.client.call, lambda: socket.create_connection((ADDRESS, 8080), 10))
    made.setblocking(False)
    return await asyncio.open_connection(sock=made)


async def test_requests_on_their_way_are_answered_while_it_drains(pod: Pod) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_: web.Request) -> web.Response:
        begun.set()
        await go_on.wait()
        return web.Response(text="done")

    runner = await _captured(pod, slowly)
    pod.agent.configure(terminationDrainDuration="3s")
    pod.agent.start()
    await until(pod.ready)
    reader, writer = await _connected(pod)
    writer.write(b"GET / HTTP/1.1\r\nHost: cart\r\n\r\n")
    await asyncio.wait_for(begun.wait(), 20)
    pod.agent.signal(signal.SIGTERM)
    await until(lambda: _says(pod, b"the proxy is draining"))
    # Late ones are served too, and asked to go elsewhere next time.
    late_reader, late_writer = await _connected(pod)
    late_writer.write(b"GET / HTTP/1.1\r\nHost: cart\r\n\r\n")
    go_on.set()
    for it in (reader, late_reader):
        answer = await asyncio.wait_for(it.read(), 20)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answer.lower()
        assert answer.endswith(b"done")
    writer.close()
    late_writer.close()
    await until(lambda: pod.agent.ended() is not None)
    await runner.cleanup()


async def test_it_may_wait_for_the_last_connection(pod: Pod) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="done")

    runner = await _captured(pod, page)
    pod.agent.configure(terminationDrainDuration="0.1s")
    pod.agent.environment["EXIT_ON_ZERO_ACTIVE_CONNECTIONS"] = "true"
    pod.agent.start()
    await until(pod.ready)
    _, writer = await _connected(pod)
    writer.write(b"GET / HTTP/1.1\r\n")
    pod.agent.signal(signal.SIGTERM)
    await until(lambda: "connections that are still open: 1" in pod.agent.log)
    assert pod.agent.ended() is None
    writer.close()
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == 0
    await runner.cleanup()


@pytest.mark.finding("conformance F17")
async def test_a_native_sidecar_asks_peers_to_leave_and_serves_those_who_still_come(pod: Pod) -> None:
    """The order of its preStop hook: its application may take much longer to end than Envoy's drain."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="done")

    async def answer() -> bytes:
        reader, writer = await _connected(pod)
        writer.write(b"GET / HTTP/1.1\r\nHost: cart\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        writer.close()
        return head.lower()

    runner = await _captured(pod, page)
    pod.agent.configure(drainDuration="1s")
    pod.agent.environment["ISTIO_NATIVE_SIDECAR"] = "true"
    pod.agent.start()
    await until(pod.ready)
    assert b"connection: close" not in await answer()
    words = (sys.executable, "-m", "lateen.app.node_agent", "request", "--debug-port=15020", "POST", "drain")
    for _ in range(2):  # whoever asks, it has begun
        await asyncio.to_thread(pod.agent.namespace.run, *words)
    assert await _says(pod, b"the proxy is draining")
    for _ in range(2):
        assert (await answer()).startswith(b"http/1.1 200")
        await asyncio.sleep(2)  # longer than Envoy's drain
    assert b"connection: close" in await answer()
    assert pod.agent.ended() is None
    pod.agent.signal(signal.SIGTERM)
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == 0
    await runner.cleanup()
