"""Which products are there? ``EXTRA_LATENCY`` (as Go writes durations) makes every answer late."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from boutique import catalog, money, rpc, settings
from boutique.pb import demo_pb2


def main() -> None:
    """Serve until SIGTERM."""
    late_s = settings.duration_variable_s("EXTRA_LATENCY")

    async def list_products(_request: Any) -> Any:
        await _wait(late_s)
        return demo_pb2.ListProductsResponse(products=[message(it) for it in catalog.WARES])

    async def get_product(request: Any) -> Any:
        await _wait(late_s)
        if request.id not in catalog.BY_ID:
            raise rpc.RefusedError(grpc.StatusCode.NOT_FOUND, f"there is no product {request.id!r}")
        return message(catalog.BY_ID[request.id])

    async def search_products(request: Any) -> Any:
        await _wait(late_s)
        return demo_pb2.SearchProductsResponse(
            results=[message(it) for it in catalog.matching(request.query)]
        )

    handlers = {
        "ListProducts": list_products,
        "GetProduct": get_product,
        "SearchProducts": search_products,
    }
    rpc.run("ProductCatalogService", handlers, 3550)


def message(ware: catalog.Ware) -> Any:
    """A ware as the interface has it."""
    return demo_pb2.Product(
        id=ware.id,
        name=ware.name,
        description=ware.description,
        picture=f"/static/pictures/{ware.id}.svg",
        price_usd=money.from_nanos("USD", ware.cents * (money.NANOS // 100)),
        categories=ware.categories,
    )


async def _wait(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    main()
