"""What else might please? Any products but those the customer is looking at."""

from __future__ import annotations

import random
from typing import Any

from boutique import rpc
from boutique.pb import demo_pb2

_AT_MOST = 5


def main() -> None:
    """Serve until SIGTERM."""
    products = rpc.remote("ProductCatalogService", "PRODUCT_CATALOG_SERVICE_ADDR")

    async def list_recommendations(request: Any) -> Any:
        listed = await products.call("ListProducts", demo_pb2.Empty())
        seen = set(request.product_ids)
        others = [it.id for it in listed.products if it.id not in seen]
        chosen = random.sample(others, min(_AT_MOST, len(others)))
        return demo_pb2.ListRecommendationsResponse(product_ids=chosen)

    rpc.run("RecommendationService", {"ListRecommendations": list_recommendations}, 8080)


if __name__ == "__main__":
    main()
