"""How does a cart become an order? Price it, charge it, send it, empty the cart, write the letter."""

from __future__ import annotations

import uuid
from typing import Any

import grpc

from boutique import logs, money, rpc
from boutique.pb import demo_pb2


def main() -> None:
    """Serve until SIGTERM."""
    rpc.run("CheckoutService", {"PlaceOrder": Checkout().place_order}, 5050)


class Checkout:
    """The services an order needs."""

    def __init__(self) -> None:
        self.carts = rpc.remote("CartService", "CART_SERVICE_ADDR")
        self.products = rpc.remote("ProductCatalogService", "PRODUCT_CATALOG_SERVICE_ADDR")
        self.currencies = rpc.remote("CurrencyService", "CURRENCY_SERVICE_ADDR")
        self.shipping = rpc.remote("ShippingService", "SHIPPING_SERVICE_ADDR")
        self.payment = rpc.remote("PaymentService", "PAYMENT_SERVICE_ADDR")
        self.email = rpc.remote("EmailService", "EMAIL_SERVICE_ADDR")

    async def place_order(self, request: Any) -> Any:
        """The order, charged and on its way."""
        currency = request.user_currency or "USD"
        cart = await self.carts.call("GetCart", demo_pb2.GetCartRequest(user_id=request.user_id))
        if not cart.items:
            raise rpc.RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "the cart is empty")
        *items, shipping_cost = await rpc.together([
            *(self._priced(it, currency) for it in cart.items),
            self._shipping_cost(request.address, cart.items, currency),
        ])  # fmt: skip
        amount = money.total(
            currency, [shipping_cost, *(money.times(it.cost, it.item.quantity) for it in items)]
        )
        charge = demo_pb2.ChargeRequest(amount=amount, credit_card=request.credit_card)
        charged = await self.payment.call("Charge", charge)
        parcel = demo_pb2.ShipOrderRequest(address=request.address, items=cart.items)
        sent = await self.shipping.call("ShipOrder", parcel)
        order = demo_pb2.OrderResult(
            order_id=str(uuid.uuid4()), shipping_tracking_id=sent.tracking_id, shipping_cost=shipping_cost,
            shipping_address=request.address, items=items,
        )  # fmt: skip
        logs.say("info", "order placed", order_id=order.order_id, amount=money.shown(amount),
                 transaction_id=charged.transaction_id)  # fmt: skip
        await self._afterwards(request, order)
        return demo_pb2.PlaceOrderResponse(order=order)

    async def _priced(self, item: Any, currency: str) -> Any:
        product = await self.products.call("GetProduct", demo_pb2.GetProductRequest(id=item.product_id))
        return demo_pb2.OrderItem(item=item, cost=await self._converted(product.price_usd, currency))

    async def _shipping_cost(self, address: Any, items: Any, currency: str) -> Any:
        quote = await self.shipping.call("GetQuote", demo_pb2.GetQuoteRequest(address=address, items=items))
        return await self._converted(quote.cost_usd, currency)

    async def _converted(self, amount: Any, currency: str) -> Any:
        if amount.currency_code == currency:
            return amount
        request = demo_pb2.CurrencyConversionRequest(**{"from": amount, "to_code": currency})
        return await self.currencies.call("Convert", request)

    async def _afterwards(self, request: Any, order: Any) -> None:
        """What must not fail an order that is paid and sent."""
        letter = demo_pb2.SendOrderConfirmationRequest(email=request.email, order=order)
        for remote, method, message in (
            (self.carts, "EmptyCart", demo_pb2.EmptyCartRequest(user_id=request.user_id)),
            (self.email, "SendOrderConfirmation", letter),
        ):
            try:
                await remote.call(method, message, timeout_s=2)
            except rpc.UpstreamError as failed:
                logs.say("warning", f"the order stands, but {failed}", order_id=order.order_id)


if __name__ == "__main__":
    main()
