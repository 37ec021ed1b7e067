"""The commands that speak with a cluster, as processes of their own, before a server with a real one's habits."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.envoy.resource import CLUSTER
from lateen.install.apply import MANAGER
from lateen.testing.ads import Delta
from lateen.testing.habits import Rates

pytestmark = pytest.mark.finding("real kubernetes 1")

#: Enough to happen in every command, and little enough that patience of a user's length ends soon.
SOME = Rates(overloaded=0.02, failed=0.03, reset_before=0.02, reset_after=0.03, cut=0.02, conflict=0.03)
POD_SPEC = {"nodeName": "n", "containers": [{"name": "discovery", "image": "x"}]}
DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "x"}]}}},
}  # fmt: skip


@pytest.fixture(params=[None, {"seed": 3, "rates": SOME}], ids=["plain", "habits"])
def habits(request: pytest.FixtureRequest) -> dict[str, Any] | None:
    found: dict[str, Any] | None = request.param
    return found


async def lateen(*argv: str, stdin: str = "") -> tuple[int, str, str]:
    """(code, output, errors) of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lateen.cli.main", *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(120):
        out, err = await process.communicate(stdin.encode())
    assert "Traceback" not in err.decode()
    return process.returncode or 0, out.decode(), err.decode()


async def test_install_and_uninstall(api_server: Any) -> None:
    config = api_server.kubeconfig()
    assert (await lateen("install", "-y", "--no-wait", "-c", config))[0] == 0
    before = api_server.store.revision
    code, out, err = await lateen("install", "-y", "--no-wait", "-c", config)
    assert (code, err, api_server.store.revision) == (0, "", before), out
    code, _, err = await lateen("install", "-y", "--readiness-timeout", "1", "-c", config)
    assert code == 1
    assert err.startswith("Error: Deployment istio-system/istiod is not ready after 1 s. See: kubectl")
    assert (await lateen("uninstall", "-y", "--purge", "-c", config))[0] == 0


async def test_generated_manifests_are_applied(api_server: Any) -> None:
    code, out, err = await lateen("manifest", "generate")
    assert (code, err) == (0, "")
    async with api_server.client() as client:
        for obj in yaml.safe_load_all(out):
            await client.apply(obj, MANAGER)


@pytest.mark.finding("newcomer D.2.6")
async def test_proxies_and_versions_are_told(api_server: Any, install: Any, run: Any) -> None:
    from skiff.apiserver.local import LocalApi
    from skiff.kinds import PODS

    await install()
    async with run() as plane:
        api, config = LocalApi(api_server.registry), api_server.kubeconfig()
        metadata = {"name": "istiod-1", "namespace": "istio-system", "labels": {"app": "istiod"}}
        made = await api.create(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": POD_SPEC}
        )
        code, _, err = await lateen("proxy-status", "-c", config)
        assert (code, err.partition(":")[0]) == (1, "Error")
        assert 'no control plane is running in namespace "istio-system": install one' in err
        await api.update(
            PODS, {**made, "status": {"phase": "Running", "conditions": None}}, subresource="status"
        )
        api_server.node.ports["istio-system", "istiod-1", 15014] = plane.ports.monitoring
        import grpc.aio

        async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.ports.plain}") as channel:
            stream = Delta(channel, "sidecar~10.0.0.1~web-1.default~x")
            await stream.ask(CLUSTER)
            await stream.agree()
            code, out, err = await lateen("proxy-status", "-c", config)
            assert (code, err) == (0, "")
            assert out.splitlines()[1].startswith("web-1.default")
            code, out, err = await lateen("version", "-c", config)
            assert (code, err) == (0, "")
            assert "control plane version: 0.1.0" in out


async def test_manifests_get_their_sidecars(api_server: Any, install: Any, tmp_path: Path) -> None:
    config, file = api_server.kubeconfig(), tmp_path / "web.yaml"
    file.write_text(yaml.safe_dump(DEPLOYMENT))
    code, _, err = await lateen("kube-inject", "-f", str(file), "-c", config)
    assert (code, "is the mesh installed there (lateen install)?" in err) == (1, True)
    await install()
    code, out, err = await lateen("kube-inject", "-f", str(file), "-c", config)
    assert (code, err) == (0, "")
    assert "istio-proxy" in out
