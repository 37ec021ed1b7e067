"""How do single services behave when others come, go, are slow, or ask? Each a process of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import grpc
import pytest

from boutique import rpc
from boutique.caller import TRACING
from boutique.pb import demo_pb2

if TYPE_CHECKING:
    from shop_programs import RunningShop

SERVICES = {
    "adservice": "AdService", "cartservice": "CartService", "checkoutservice": "CheckoutService",
    "currencyservice": "CurrencyService", "emailservice": "EmailService", "paymentservice": "PaymentService",
    "productcatalogservice": "ProductCatalogService", "recommendationservice": "RecommendationService",
    "shippingservice": "ShippingService",
}  # fmt: skip
HEADERS = {
    "x-request-id": "7", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b",
    "b3": "4bf92f3577b34da6-00f067aa0ba902b7-1", "x-b3-traceid": "4bf92f3577b34da6", "x-b3-spanid": "00f067aa0ba902b7",
    "x-b3-parentspanid": "00f067aa0ba902b8", "x-b3-sampled": "1",
}  # fmt: skip


class Call(NamedTuple):
    """What came with a call."""

    headers: dict[str, str]
    seconds_left: float

    @property
    def tracing(self) -> dict[str, str]:
        return {name: it for name, it in self.headers.items() if name in TRACING}


@asynccontextmanager
async def recorder(service: str, method: str, answer: Any) -> AsyncIterator[tuple[str, list[Call]]]:
    """A stand-in for one service of another shop: its address, and every call it got."""
    seen: list[Call] = []

    async def answered(_request: bytes, context: Any) -> bytes:
        headers = {str(name): str(value) for name, value in context.invocation_metadata()}
        seen.append(Call(headers, context.time_remaining()))
        encoded: bytes = answer.SerializeToString()
        return encoded

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                f"hipstershop.{service}", {method: grpc.unary_unary_rpc_method_handler(answered)}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", seen
    finally:
        await server.stop(0)


@asynccontextmanager
async def calling(service: str, address: str) -> AsyncIterator[rpc.Remote]:
    remote = rpc.Remote(service, address)
    try:
        yield remote
    finally:
        await remote.close()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_answers_kubernetes_health_probes(shop: RunningShop, name: str) -> None:
    from shop_programs import is_serving

    address = shop.programs[name].address
    assert is_serving(address)
    assert is_serving(address, f"hipstershop.{SERVICES[name]}")
    with pytest.raises(grpc.RpcError) as refused:
        is_serving(address, "hipstershop.Nothing")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_frontend_hands_trace_headers_on(shop: RunningShop) -> None:
    from shop_programs import running

    async with recorder("AdService", "GetAds", demo_pb2.AdResponse()) as (address, seen):
        with running("frontend", **{**shop.variables, "AD_SERVICE_ADDR": address}) as frontend:
            async with (
                aiohttp.ClientSession(f"http://{frontend.address}") as session,
                session.get("/", headers={**HEADERS, "x-secret": "1"}) as answer,
            ):
                assert answer.status == 200
    (call,) = seen
    assert call.tracing == HEADERS
    assert "x-secret" not in call.headers


async def test_a_service_hands_trace_headers_and_the_deadline_on() -> None:
    from shop_programs import running

    async with recorder("ProductCatalogService", "ListProducts", demo_pb2.ListProductsResponse()) as (
        address,
        seen,
    ):
        with running("recommendationservice", PRODUCT_CATALOG_SERVICE_ADDR=address) as program:
            async with grpc.aio.insecure_channel(program.address) as channel:
                ask = channel.unary_unary("/hipstershop.RecommendationService/ListRecommendations")
                await ask(b"", timeout=3, metadata=tuple(HEADERS.items()), wait_for_ready=True)
    (call,) = seen
    assert call.tracing == HEADERS
    assert call.seconds_left <= 3  # of the caller's, not the 5 s that are usual here


async def test_pages_do_without_advertisements_and_recommendations(shop: RunningShop) -> None:
    from shop_programs import free_port, running

    nobody = f"127.0.0.1:{free_port()}"
    away = {"AD_SERVICE_ADDR": nobody, "RECOMMENDATION_SERVICE_ADDR": nobody}
    with running("frontend", **{**shop.variables, **away}) as frontend:
        async with (
            aiohttp.ClientSession(f"http://{frontend.address}") as session,
            session.get("/product/6E92ZMYYFZ") as answer,
        ):
            text = await answer.text()
            assert answer.status == 200
    assert "Captain" in text
    assert "Advertisement" not in text
    assert "You may also like" not in text


async def test_a_slow_service_costs_no_more_than_the_deadline() -> None:
    from shop_programs import running

    with running("productcatalogservice", EXTRA_LATENCY="30s") as slow:
        async with calling("ProductCatalogService", slow.address) as products:
            with pytest.raises(rpc.UpstreamError) as failed:
                await products.call("ListProducts", demo_pb2.Empty(), timeout_s=0.3)
    assert failed.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_waits_for_a_peer_that_is_being_replaced() -> None:
    from shop_programs import free_port, running

    port = str(free_port())
    async with calling("CurrencyService", f"127.0.0.1:{port}") as currencies:
        with running("currencyservice", PORT=port) as first:
            assert (await currencies.call("GetSupportedCurrencies", demo_pb2.Empty())).currency_codes
            assert first.stop() == 0
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(
                currencies.call("GetSupportedCurrencies", demo_pb2.Empty(), timeout_s=20)
            )
            await asyncio.sleep(0.1)  # so that it meets the closed port first
            with running("currencyservice", PORT=port):
                assert (await asked).currency_codes
        impatient = currencies.call("GetSupportedCurrencies", demo_pb2.Empty(), timeout_s=20, patient=False)
        with pytest.raises(rpc.UpstreamError) as failed:
            await impatient
        assert failed.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_leaving_service_finishes_what_it_has_begun() -> None:
    from shop_programs import running

    with running("productcatalogservice", EXTRA_LATENCY="700ms", DRAIN_SECONDS="0.2") as leaving:
        async with calling("ProductCatalogService", leaving.address) as products:
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(products.call("ListProducts", demo_pb2.Empty()))
                await asyncio.sleep(0.2)  # so that the call has arrived
                assert await asyncio.to_thread(leaving.stop) == 0
            assert len(asked.result().products) == 9
        assert leaving.wait_for(lambda it: it["message"] == "stopped")


async def test_a_leaving_frontend_finishes_its_page_and_says_that_it_leaves(shop: RunningShop) -> None:
    from shop_programs import running

    with running("productcatalogservice", EXTRA_LATENCY="700ms") as slow:
        variables = {**shop.variables, "PRODUCT_CATALOG_SERVICE_ADDR": slow.address, "DRAIN_SECONDS": "1"}
        with running("frontend", **variables) as leaving:
            async with (
                aiohttp.ClientSession(f"http://{leaving.address}") as session,
                asyncio.TaskGroup() as group,
            ):
                asked = group.create_task(_whole(session, "/"))
                await asyncio.sleep(0.2)  # so that the request has arrived
                group.create_task(asyncio.to_thread(leaving.stop))
                while (probed := await _whole(session, "/_healthz")) == (200, "ok"):
                    await asyncio.sleep(0.01)
            assert (asked.result()[0], probed) == (200, (503, "leaving"))
            assert leaving.process.returncode == 0


async def _whole(session: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with session.get(path) as answer:
        return answer.status, await answer.text()


async def test_a_broken_cart_store_is_said_on_the_page(shop: RunningShop) -> None:
    from shop_programs import free_port, running

    with running("cartservice", REDIS_ADDR=f"127.0.0.1:{free_port()}") as carts:
        assert carts.address
        with running("frontend", **{**shop.variables, "CART_SERVICE_ADDR": carts.address}) as frontend:
            async with aiohttp.ClientSession(f"http://{frontend.address}") as session:
                status, text = await _whole(session, "/cart")
    assert status == 503
    assert re.search(r"CartService: redis: .*refused|CartService: redis: no answer", text)


@pytest.mark.parametrize("name", ["frontend", "checkoutservice", "recommendationservice", "loadgenerator"])
def test_a_missing_address_ends_a_program_with_the_reason(name: str) -> None:
    from shop_programs import PATIENCE_S, Program

    with Program(name) as program:
        told = program.wait_for(lambda it: it["severity"] == "error")
        assert re.search(r"the environment has no \w+_ADDR: set it to host:port", told["message"])
        assert program.process.wait(PATIENCE_S) == 2


def test_a_port_in_use_ends_a_program_with_the_reason(shop: RunningShop) -> None:
    from shop_programs import PATIENCE_S, Program

    for name in ("currencyservice", "frontend"):
        with Program(name, {**shop.variables, "PORT": str(shop.programs[name].port)}) as program:
            told = program.wait_for(lambda it: it["severity"] == "error")
            assert "cannot listen on 127.0.0.1" in told["message"]
            assert program.process.wait(PATIENCE_S) == 1


def test_customers_do_everything_and_nothing_fails(shop: RunningShop) -> None:
    from shop_programs import Program

    variables = {
        "FRONTEND_ADDR": shop.url.removeprefix("http://"), "USERS": "4", "RATE": "100", "REPORT_SECONDS": "0.5",
        "WAIT_SECONDS_LEAST": "0.02", "WAIT_SECONDS_MOST": "0.05",
    }  # fmt: skip
    with Program("loadgenerator", variables) as customers:
        told = customers.wait_for(lambda it: it["message"] == "load" and it["all_requests"] >= 100)
        assert {"users", "requests", "errors", "p50_ms", "p99_ms"} <= told.keys()
        assert customers.stop() == 0
        last = customers.wait_for(lambda it: it["message"] == "stopped")
    assert last["requests"] >= 100
    assert last["errors"] == 0


def test_customers_count_what_fails() -> None:
    from shop_programs import Program, free_port

    variables = {
        "FRONTEND_ADDR": f"127.0.0.1:{free_port()}",
        "USERS": "2",
        "RATE": "100",
        "REPORT_SECONDS": "0.2",
    }
    with Program("loadgenerator", variables) as customers:
        told = customers.wait_for(lambda it: it["message"] == "load" and it["errors"] > 0)
        assert told["severity"] == "warning"
        assert list(told["reasons"]) == ["GET /: ClientConnectorError"]
        assert customers.stop() == 0
