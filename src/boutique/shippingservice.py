"""What does a parcel cost, and under which number does it travel?"""

from __future__ import annotations

import secrets
from typing import Any

import grpc

from boutique import logs, money, rpc
from boutique.pb import demo_pb2

_PARCEL_CENTS, _PIECE_CENTS = 499, 75
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def main() -> None:
    """Serve until SIGTERM."""
    rpc.run("ShippingService", {"GetQuote": get_quote, "ShipOrder": ship_order}, 50051)


async def get_quote(request: Any) -> Any:
    """A price for the parcel and for each piece in it; nothing for an empty one."""
    pieces = sum(_positive(it) for it in request.items)
    cents = _PARCEL_CENTS + pieces * _PIECE_CENTS if pieces else 0
    return demo_pb2.GetQuoteResponse(cost_usd=money.from_nanos("USD", cents * (money.NANOS // 100)))


async def ship_order(request: Any) -> Any:
    """A tracking number."""
    if not sum(_positive(it) for it in request.items):
        raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "an empty parcel cannot be sent")
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(2))
    number = f"{letters}-{secrets.randbelow(10**6):06d}-{secrets.randbelow(10**9):09d}"
    logs.say("info", "parcel sent", tracking_id=number, to=request.address.city)
    return demo_pb2.ShipOrderResponse(tracking_id=number)


def _positive(item: Any) -> int:
    if item.quantity < 0:
        raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "a quantity is negative")
    return int(item.quantity)


if __name__ == "__main__":
    main()
