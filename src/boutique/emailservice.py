"""What is the customer told of an order? The letter goes to the log: the demo sends no mail."""

from __future__ import annotations

from typing import Any

import grpc

from boutique import logs, money, rpc
from boutique.pb import demo_pb2


def main() -> None:
    """Serve until SIGTERM."""
    rpc.run("EmailService", {"SendOrderConfirmation": send_order_confirmation}, 8080)


async def send_order_confirmation(request: Any) -> Any:
    """Write the letter."""
    if "@" not in request.email:
        raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"{request.email!r} is not an address")
    logs.say("info", "order confirmation", to=request.email, letter=letter(request.order))
    return demo_pb2.Empty()


def letter(order: Any) -> str:
    """The text of a confirmation."""
    lines = [f"Thank you! Your order {order.order_id} is on its way as {order.shipping_tracking_id}."]
    lines += [f"{it.item.quantity} x {it.item.product_id}: {money.shown(it.cost)} each" for it in order.items]
    return "\n".join([*lines, f"Shipping: {money.shown(order.shipping_cost)}"])


if __name__ == "__main__":
    main()
