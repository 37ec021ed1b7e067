"""Credential plug-ins, as the kubeconfigs of EKS, GKE and AKS have them: real commands before a real server."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from lateen.kube import credentials
from lateen.kube.client import KubeClient, KubeError
from lateen.kube.config import KubeConfigError, load

V1, BETA = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"

#: Prints what its environment says, and notes each call beside itself.
PLUGIN = f"""#!{sys.executable}
import json, os, sys, pathlib
here = pathlib.Path(__file__).parent
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
calls = here / "calls"
calls.write_text((calls.read_text() if calls.exists() else "") + json.dumps([sys.argv[1:], os.environ.get("REGION"), info]) + "\\n")
number = len(calls.read_text().splitlines())
status = json.loads((here / "status").read_text().replace("NUMBER", str(number)))
print(json.dumps({{"kind": "ExecCredential", "apiVersion": info["apiVersion"], "status": status}}))
"""


class Cloud:
    """A kubeconfig with a plug-in beside it, and what that is to answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = folder / "cloud-login"
        self.command.write_text(PLUGIN)
        self.command.chmod(0o755)
        self.answers(token="token-NUMBER")

    def answers(self, **status: Any) -> None:
        (self.folder / "status").write_text(json.dumps(status))

    def config(self, url: str, cluster: dict[str, Any] | None = None, **plugin: Any) -> str:
        it = {"apiVersion": V1, "command": "./cloud-login", "interactiveMode": "Never", **plugin}
        document = {
            "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}],
            "users": [{"name": "u", "user": {"exec": it}}],
        }  # fmt: skip
        path = self.folder / "config"
        path.write_text(yaml.safe_dump(document))
        return str(path)

    def calls(self) -> list[Any]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


@asynccontextmanager
async def server(allowed: Callable[[str], bool], tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An API server that takes some tokens."""

    async def answer(request: web.BaseRequest) -> web.Response:
        bearer = request.headers.get("Authorization", "")
        if not allowed(bearer.removeprefix("Bearer ")):
            return web.json_response({"reason": "Unauthorized", "message": "Unauthorized"}, status=401)
        return web.json_response({"token": bearer})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("version", [V1, BETA])
async def test_a_plug_in_runs_once_with_what_it_is_told(cloud: Cloud, version: str) -> None:
    async with server(lambda token: token == "token-1") as url:
        extension = {
            "name": credentials.VERSIONS[0].rpartition("/")[0] + "/exec",
            "extension": {"audience": "a"},
        }
        config = cloud.config(
            url, {"extensions": [extension], "tls-server-name": "api"}, apiVersion=version, args=["get-token", "--cluster", "c"],
            env=[{"name": "REGION", "value": "north"}], provideClusterInfo=True,
        )  # fmt: skip
        async with KubeClient.from_environment(config, None) as client:
            await asyncio.gather(*(client.get("/api") for _ in range(5)))
    [[args, region, info]] = cloud.calls()
    assert (args, region) == (["get-token", "--cluster", "c"], "north")
    cluster = {"server": url, "tls-server-name": "api", "config": {"audience": "a"}}
    assert info == {
        "kind": "ExecCredential", "apiVersion": version, "spec": {"cluster": cluster, "interactive": False},
    }  # fmt: skip


async def test_what_expires_or_is_refused_is_asked_for_again_and_what_holds_is_not(cloud: Cloud) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    cloud.answers(token="token-NUMBER", expirationTimestamp=soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    taken = {"token-1", "token-2", "token-4"}
    async with (
        server(taken.__contains__) as url,
        KubeClient.from_environment(cloud.config(url), None) as client,
    ):
        await client.get("/api")
        await client.get("/api")  # it is about to expire
        assert len(cloud.calls()) == 2
        cloud.answers(token="token-NUMBER", expirationTimestamp="2999-01-01T00:00:00+00:00")
        for _ in range(3):
            await client.get("/api")
        assert len(cloud.calls()) == 4  # the third token was refused, the fourth was not
        taken.clear()
        with pytest.raises(KubeError) as refused:
            await client.get("/api")
        assert (refused.value.code, len(cloud.calls())) == (401, 5)


async def test_a_certificate_is_shown_to_the_server(cloud: Cloud, api_server: Any) -> None:
    certificate, key = api_server.pki.client_certificate("admin", ["system:masters"])
    cloud.answers(clientCertificateData=certificate.decode(), clientKeyData=key.decode())
    (cloud.folder / "ca").write_bytes(api_server.pki.ca_pem)
    config = cloud.config(f"https://localhost:{api_server.port}", {"certificate-authority": "ca", "tls-server-name": "127.0.0.1"})  # fmt: skip
    async with KubeClient.from_environment(config, None) as client:
        assert await client.get("/api/v1/namespaces/default")


@pytest.mark.parametrize(
    ("plugin", "status", "said"),
    [
        ({"command": "no-such-login", "installHint": "Get it at example.com"}, None, "no-such-login, which cannot be run (No such file or directory). Get it at example.com"),
        ({"command": "no-such-login"}, None, "install it, or put it on the PATH"),
        ({"command": sys.executable, "args": ["-c", "import sys; sys.exit('log in first')"]}, None, "ended with code 1: log in first"),
        ({"command": sys.executable, "args": ["-c", "print('hello')"]}, None, "printed no ExecCredential"),
        ({"command": sys.executable, "args": ["-c", "print('[null]')"]}, None, "printed no ExecCredential"),
        ({"command": sys.executable, "args": ["-c", 'print(\'{"kind": "ExecCredential", "apiVersion": "x"}\')']}, None, f"of {V1}"),
        ({"command": sys.executable, "args": ["-c", "import time; time.sleep(60)"]}, None, "has not answered for"),
        ({"interactiveMode": "Always"}, None, "there is no terminal"),
        ({}, {}, "neither a token nor a certificate"),
        ({}, {"clientKeyData": "x"}, "only one of clientCertificateData"),
        ({}, {"clientCertificateData": "x", "clientKeyData": "x"}, "a certificate that cannot be read"),
        ({}, {"token": "x", "expirationTimestamp": "tomorrow"}, "no date: tomorrow"),
        ({}, None, ""),
    ],
)  # fmt: skip
async def test_a_plug_in_that_fails_is_told_with_what_to_do(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, plugin: dict[str, Any], status: dict[str, Any] | None, said: str
) -> None:  # fmt: skip
    monkeypatch.setattr(credentials, "TIMEOUT_S", 1.0)
    if status is not None:
        cloud.answers(**status)
    url = "https://127.0.0.1:1"
    async with KubeClient.from_environment(cloud.config(url, **plugin), None) as client:
        if said:
            with pytest.raises(KubeConfigError) as wrong:
                await client.get("/api")
            assert said in str(wrong.value)
            assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}, "v1alpha1"),
        ({"exec": {"apiVersion": V1}}, "exec.command is missing"),
        ({"exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Maybe"}}, "none of Never"),
        ({"auth-provider": {"name": "gcp"}}, 'auth-provider "gcp", which Kubernetes removed in 1.26'),
        ({"username": "a", "password": "b"}, "does not take since 1.19"),
    ],
)
def test_what_no_server_takes_any_more_is_told(cloud: Cloud, user: dict[str, Any], said: str) -> None:
    config = yaml.safe_load(Path(cloud.config("http://127.0.0.1:1")).read_text())
    config["users"][0]["user"] = user
    path = cloud.folder / "config"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(KubeConfigError, match=said):
        load(str(path), None)


async def test_a_token_beside_a_plug_in_wins(cloud: Cloud) -> None:
    config = yaml.safe_load(Path(cloud.config("http://127.0.0.1:1")).read_text())
    config["users"][0]["user"]["token"] = "own"
    (cloud.folder / "config").write_text(yaml.safe_dump(config))
    found = load(str(cloud.folder / "config"), None)
    assert (found.plugin, found.bearer()) == (None, "own")
    assert found.context == "x"
