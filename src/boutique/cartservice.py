"""What is in a customer's cart?"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import grpc

from boutique import carts, logs, rpc, settings
from boutique.pb import demo_pb2

_Answer = TypeVar("_Answer")
_MOST_PIECES = 1000


def main() -> None:
    """Serve until SIGTERM.

    Health does not depend on redis: the liveness probe asks the same question, and starting anew would not help.
    """
    address = settings.text("REDIS_ADDR")
    if not address:
        logs.say("info", "REDIS_ADDR is empty: carts lie in memory and are gone with this process")
    rpc.run("CartService", handlers(carts.RedisCarts(address) if address else carts.MemoryCarts()), 7070)


def handlers(store: carts.Carts) -> dict[str, rpc.Handler]:
    """The service over a store."""

    async def add_item(request: Any) -> Any:
        _named(request.user_id)
        item = request.item
        if not item.product_id or not 1 <= item.quantity <= _MOST_PIECES:
            raise rpc.RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"a product and a quantity of 1 to {_MOST_PIECES} are needed",
            )
        await _stored(store.add(request.user_id, item.product_id, item.quantity))
        return demo_pb2.Empty()

    async def get_cart(request: Any) -> Any:
        _named(request.user_id)
        found = await _stored(store.get(request.user_id))
        items = [demo_pb2.CartItem(product_id=it, quantity=found[it]) for it in sorted(found)]
        return demo_pb2.Cart(user_id=request.user_id, items=items)

    async def empty_cart(request: Any) -> Any:
        _named(request.user_id)
        await _stored(store.empty(request.user_id))
        return demo_pb2.Empty()

    return {"AddItem": add_item, "GetCart": get_cart, "EmptyCart": empty_cart}


def _named(user: str) -> None:
    if not user:
        raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "whose cart? user_id is empty")


async def _stored(call: Awaitable[_Answer]) -> _Answer:
    try:
        return await call
    except carts.UnreachableError as trouble:
        raise rpc.RefusedError(grpc.StatusCode.UNAVAILABLE, str(trouble)) from None


if __name__ == "__main__":
    main()
