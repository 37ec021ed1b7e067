"""What is an amount worth in another currency?"""

from __future__ import annotations

from typing import Any

import grpc

from boutique import money, rpc
from boutique.pb import demo_pb2

#: Millionths of a currency for one euro, rounded: a shop window's rates, not a bank's.
RATES = {
    "EUR": 1_000_000, "USD": 1_100_000, "GBP": 850_000, "JPY": 160_000_000, "CAD": 1_500_000, "TRY": 36_000_000,
    "AUD": 1_650_000, "CHF": 950_000, "SEK": 11_300_000, "NOK": 11_600_000, "DKK": 7_460_000, "PLN": 4_300_000,
    "INR": 92_000_000, "BRL": 6_000_000,
}  # fmt: skip


def main() -> None:
    """Serve until SIGTERM."""
    handlers = {"GetSupportedCurrencies": supported, "Convert": convert}
    rpc.run("CurrencyService", handlers, 7000)


async def supported(_request: Any) -> Any:
    """The codes of all currencies."""
    return demo_pb2.GetSupportedCurrenciesResponse(currency_codes=sorted(RATES))


async def convert(request: Any) -> Any:
    """The amount in the other currency, rounded towards zero to a billionth."""
    amount, wanted = getattr(request, "from"), request.to_code
    for code in (amount.currency_code, wanted):
        if code not in RATES:
            raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"there is no rate for {code!r}")
    nanos = money.to_nanos(amount)
    worth = abs(nanos) * RATES[wanted] // RATES[amount.currency_code]
    if worth // money.NANOS >= 1 << 63:
        raise rpc.RefusedError(grpc.StatusCode.OUT_OF_RANGE, "the amount is too large")
    return money.from_nanos(wanted, worth if nanos >= 0 else -worth)


if __name__ == "__main__":
    main()
