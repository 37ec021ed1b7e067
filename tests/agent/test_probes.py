"""The application's probes, asked by the agent, against real servers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lateen.agent import probes
from lateen.agent.http import Request
from lateen.injection.probes import rewritten
from lateen.pki.certificates import key_pem, pem, self_signed

ASKED = Request(
    "GET", "/app-health/x/readyz", {"user-agent": "kube-probe/1.37", "host": "10.0.0.1:15020"}, "10.0.0.9"
)


def original(probe: dict[str, Any]) -> dict[str, Any]:
    """What the injector leaves for the agent."""
    _, found = rewritten(
        {"name": "x", "ports": [{"name": "web", "containerPort": 80}], "readinessProbe": probe}
    )
    made: dict[str, Any] = found["/app-health/x/readyz"]
    return made


async def ask(probe: dict[str, Any], address: str = "127.0.0.1") -> tuple[int, str]:
    found = await probes.ask(original({"timeoutSeconds": 20, **probe}), address, ASKED)
    return found.status, found.body.decode()


async def _page(request: web.Request) -> web.Response:
    match request.path:
        case "/moved":
            raise web.HTTPFound("/well")
        case "/away":
            raise web.HTTPFound("https://example.com/")
        case "/loop":
            raise web.HTTPFound("/loop")
        case "/sick":
            return web.Response(status=503, text="sick")
    seen = {name: request.headers.get(name) for name in ("Host", "User-Agent", "X-Shop")}
    return web.json_response({**seen, "peer": request.remote})


@pytest.fixture(params=["http", "https"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[int, str]]:
    """(port, scheme)."""
    context = None
    if request.param == "https":
        key = ec.generate_private_key(ec.SECP256R1())
        made = self_signed(key, "nobody", serial=1, now=datetime.now(UTC), ttl=timedelta(days=1))
        assert isinstance(made.certificate, x509.Certificate)
        (tmp_path / "pair.pem").write_bytes(pem(made.certificate) + key_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "pair.pem")
    app = web.Application()
    app.router.add_get("/{rest:.*}", _page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1], request.param.upper()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/well", 200), ("well", 200), ("/sick", 503), ("/moved", 200), ("/away", 200), ("/loop", 200)],
)
async def test_http(server: tuple[int, str], path: str, status: int) -> None:
    port, scheme = server
    assert (await ask({"httpGet": {"path": path, "port": port, "scheme": scheme}}))[0] == status


async def test_headers_are_the_kubelets_and_the_probes(server: tuple[int, str]) -> None:
    port, scheme = server
    headers = [{"name": "X-Shop", "value": "open"}, {"name": "Host", "value": "shop.example"}]
    _, said = await ask({"httpGet": {"path": "/", "port": port, "scheme": scheme, "httpHeaders": headers}})
    assert '"Host": "shop.example", "User-Agent": "kube-probe/1.37", "X-Shop": "open"' in said


async def test_the_application_is_asked_at_the_pods_address_from_where_nothing_is_captured() -> None:
    app = web.Application()
    app.router.add_get("/", _page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.9", 0).start()
    try:
        port = runner.addresses[0][1]
        assert '"peer": "127.0.0.6"' in (await ask({"httpGet": {"port": port}}, "127.0.0.9"))[1]
    finally:
        await runner.cleanup()


async def test_tcp(health_server: int) -> None:
    assert await ask({"tcpSocket": {"port": health_server}}) == (200, "")
    status, said = await ask({"tcpSocket": {"port": 1}})
    assert status == 500
    assert "refused" in said or "failed" in said


@pytest.mark.parametrize(
    ("service", "status", "said"),
    [
        ("", 200, ""), ("shop.Cart", 200, ""), ("shop.Sick", 500, "service unhealthy (responded with status 2)"),
        ("shop.None", 500, 'unknown service "shop.None" — 100 % (gRPC status 5)'), ("x" * 200, 500, "the service's name is too long"),
        ("shop.Slow", 500, "no answer within 0.2 s"),
    ],
)  # fmt: skip
async def test_grpc(health_server: int, service: str, status: int, said: str) -> None:
    probe = {
        "grpc": {"port": health_server, "service": service},
        "timeoutSeconds": 0.2 if "Slow" in service else 20,
    }
    assert await ask(probe) == (status, said)


async def test_grpc_to_nobody_and_to_others(server: tuple[int, str]) -> None:
    assert (await ask({"grpc": {"port": 1}}))[0] == 500
    status, said = await ask({"grpc": {"port": server[0]}, "timeoutSeconds": 5})
    assert status == 500
    assert said


async def test_a_probe_of_no_known_form_is_told() -> None:
    found = await probes.ask({"exec": {}}, "127.0.0.1", ASKED)
    assert (found.status, found.body) == (500, b"the probe has no form that the agent knows")
    assert (await probes.ask({"httpGet": {"port": None}}, "127.0.0.1", ASKED)).status == 500
