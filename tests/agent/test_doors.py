"""What may strangers ask of a pod's own ports? The whole agent with a real Envoy, asked by the pod's neighbour."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from typing import Any

import pytest
from aiohttp import web

from lateen.testing import rude
from lateen.testing.ads import until

pytestmark = pytest.mark.root

ADDRESS = "10.244.9.1"
Pod = Any  # the fixture's, in conftest.py
TRICKS = (
    "{}/../../{}", "{}/../{}", "{}/%2e%2e/%2e%2e/{}", "{}/..%2f..%2f{}", "{}\\..\\..\\{}", "{}%2f..%2f..%2f{}", "/{1}",
    "//{1}", "/{1}?{0}", "http://localhost/{1}", "http://localhost{}/../../{}", "{}#/../../{}", "{};/../../{}", "{}/{}",
    "{}%00/../../{}", "{}/./.././../{}", "/%7b1%7d/../{1}",
)  # fmt: skip
ORDERS = ("config_dump", "certs", "drain_listeners", "quitquitquit", "healthcheck/fail", "rotate", "drain")


def from_outside(pod: Pod, port: int) -> rude.Connect:
    return lambda: pod.client.call(lambda: socket.create_connection((ADDRESS, port), 5))


def within(pod: Pod, port: int) -> rude.Connect:
    return lambda: pod.agent.namespace.call(lambda: socket.create_connection(("127.0.0.1", port), 5))


def answered(pod: Pod, port: int, page: str) -> list[str]:
    """The orders and secrets that some trick got through to."""
    found = []
    for method in ("GET", "POST"):
        for trick in TRICKS:
            for order in ORDERS:
                path = trick.format(page, order)
                got = rude.status(from_outside(pod, port), path, method=method)
                if got not in (0, 400, 403, 404, 405):
                    found.append(f"{method} {path} on {port}: {got}")
    return found


@pytest.mark.finding("security 1")
async def test_no_path_leads_from_the_pods_own_ports_to_what_lies_behind(pod: Pod) -> None:
    pod.agent.start()
    await until(pod.ready)
    for port, page in ((15090, "/stats/prometheus"), (15021, "/healthz/ready"), (15020, "/healthz/ready")):
        assert await asyncio.to_thread(answered, pod, port, page) == []
        assert await asyncio.to_thread(rude.status, from_outside(pod, port), page) == 200
        assert await asyncio.to_thread(rude.status, from_outside(pod, port), page + "?usedonly") == 200
    assert await pod.ready()
    assert pod.agent.ended() is None
    assert (await pod.ask("/ready", port=15000)).body == b"LIVE\n"
    # Nobody else has a port here.
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(from_outside(pod, 15000))


@pytest.mark.finding("security 1")
async def test_the_admin_interface_does_what_people_need_and_no_more(pod: Pod) -> None:
    pod.agent.start()
    await until(pod.ready)
    for path in ("/", "/help", "/config_dump?include_eds", "/clusters?format=json", "/listeners", "/certs", "/server_info",
                 "/stats?filter=server", "/stats/prometheus?usedonly", "/ready", "/memory", "/runtime", "/init_dump"):  # fmt: skip
        assert (await pod.ask(path, port=15000)).status == 200, path
    for path in ("/logging?level=warning", "/reset_counters"):
        assert (await pod.ask(path, port=15000, method="POST")).status == 200, path
    for path in (
        "/runtime_modify?a=b",
        "/heap_dump",
        "/cpuprofiler?enable=y",
        "/heapprofiler?enable=y",
        "/tap",
        "/x",
    ):
        for method in ("GET", "POST"):
            assert (await pod.ask(path, port=15000, method=method)).status == 403, path


@pytest.mark.finding("security 1")
@pytest.mark.parametrize("grace", ["2s", ""])
async def test_an_envoy_that_was_told_to_close_its_listeners_is_started_again(pod: Pod, grace: str) -> None:
    pod.agent.environment["LATEEN_GRACE_PERIOD"] = grace
    pod.agent.start()
    await until(pod.ready)
    await pod.ask("/drain_listeners", port=15000, method="POST")
    if grace:
        await until(lambda: pod.agent.ended() is not None)
        assert pod.agent.ended() == 1
        assert "Envoy's listeners are closed, not by the agent" in pod.agent.log
    else:  # a hook of a pod that is ending drains as well
        await asyncio.sleep(4)
        assert pod.agent.ended() is None


@pytest.mark.finding("mesh M8")
async def test_an_agent_whose_envoy_was_asked_to_end_has_done_its_work(pod: Pod) -> None:
    pod.agent.start()
    await until(pod.ready)
    assert (await pod.ask("/quitquitquit", port=15000, method="POST")).status == 200
    await until(lambda: pod.agent.ended() is not None)
    assert pod.agent.ended() == 0


@pytest.mark.finding("security 7")
@pytest.mark.parametrize("port", [15020, 15021])
async def test_a_crowd_does_not_make_a_pod_unready(pod: Pod, port: int) -> None:
    pod.agent.start()
    await until(pod.ready)
    await until(lambda: pod.ready(port=port))

    def probed() -> list[int]:
        def kubelet() -> socket.socket:
            found: socket.socket = pod.client.call(
                lambda: socket.create_connection((ADDRESS, port), 3, ("10.244.9.3", 0))
            )
            return found

        with rude.crowd([from_outside(pod, port)] * 400):
            return [rude.status(kubelet, "/healthz/ready") for _ in range(30)]

    pod.client.ip("addr add 10.244.9.3/16 dev eth0")
    assert set(await asyncio.to_thread(probed)) == {200}


@contextlib.asynccontextmanager
async def application(pod: Pod, handler: Any) -> Any:
    app = web.Application()
    app.router.add_get("/{rest:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = pod.agent.namespace.call(lambda: socket.create_server(("0.0.0.0", 8080)))
    await web.SockSite(runner, listener).start()
    try:
        yield
    finally:
        await runner.cleanup()


PROBE = {"httpGet": {"path": "/well", "port": 8080, "httpHeaders": [{"name": "X-Shop", "value": "open"}]}}


@pytest.mark.finding("security 15")
async def test_a_probe_carries_only_what_a_kubelets_does(pod: Pod) -> None:
    heard: list[Any] = []

    async def page(request: web.Request) -> web.Response:
        heard.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response()

    pod.agent.environment["ISTIO_KUBE_APP_PROBERS"] = json.dumps({"/app-health/app/readyz": PROBE})
    pod.agent.start()
    async with application(pod, page):
        await until(pod.ready)
        more = ("x-forwarded-client-cert: URI=spiffe://evil", "x-evil: 1", "cookie: a", "authorization: b", "x-shop: shut",
                "user-agent: kube-probe/1.37", "accept: */*", "x-forwarded-for: 1.2.3.4", "upgrade: h2c")  # fmt: skip
        path = "/app-health/app/readyz"
        assert await asyncio.to_thread(rude.status, from_outside(pod, 15020), path, headers=more) == 200
    (found,) = heard
    assert found.pop("host")
    assert found == {
        "user-agent": "kube-probe/1.37", "accept": "*/*", "x-shop": "open", "connection": "close", "content-length": "0",
    }  # fmt: skip


@pytest.mark.finding("security 7")
async def test_an_application_is_not_asked_more_often_by_a_crowd(pod: Pod) -> None:
    heard: list[str] = []

    async def page(request: web.Request) -> web.Response:
        heard.append(request.path)
        await asyncio.sleep(1)
        return web.Response()

    pod.agent.environment["ISTIO_KUBE_APP_PROBERS"] = json.dumps(
        {"/app-health/app/readyz": {**PROBE, "timeoutSeconds": 20}}
    )
    pod.agent.start()
    async with application(pod, page):
        await until(pod.ready)
        path = "/app-health/app/readyz"
        asked = [
            asyncio.to_thread(
                rude.status, from_outside(pod, 15020), path, headers=["user-agent: kube-probe/1.37"]
            )
            for _ in range(5)
        ]
        assert await asyncio.gather(*asked) == [200] * 5
    assert len(heard) < 5


@pytest.mark.finding("security 7")
async def test_metrics_without_an_end_do_not_hold_others_up(pod: Pod) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"shop_carts 3\n" * 1000)
            await asyncio.sleep(0.01)

    pod.agent.environment["ISTIO_PROMETHEUS_ANNOTATIONS"] = json.dumps({"scrape": "true", "port": "8080"})
    pod.agent.start()
    async with application(pod, page):
        await until(pod.ready)
        patience = ["x-prometheus-scrape-timeout-seconds: 1"]
        asked = [asyncio.to_thread(rude.said, from_outside(pod, 15020), (
            f"GET /metrics HTTP/1.1\r\n{patience[0]}\r\n\r\n").encode(), 10.0) for _ in range(3)]  # fmt: skip
        waiting = asyncio.gather(*asked)
        assert await pod.ready()
        for text in await waiting:
            assert b"envoy_server_live" in text
            assert b"shop_carts" not in text
    pod.agent.signal(signal.SIGTERM)
    await until(lambda: pod.agent.ended() is not None)
