"""Can this card pay? Numbers are checked; no money moves and no number is kept."""

from __future__ import annotations

import time
import uuid
from typing import Any

import grpc

from boutique import logs, money, rpc
from boutique.pb import demo_pb2


def main() -> None:
    """Serve until SIGTERM."""
    rpc.run("PaymentService", {"Charge": charge}, 50051)


async def charge(request: Any) -> Any:
    """A transaction's id, or the reason why not."""
    card = request.credit_card
    digits = card.credit_card_number.replace("-", "").replace(" ", "")
    now = time.gmtime()
    problem = card_problem(
        digits, card.credit_card_expiration_year, card.credit_card_expiration_month, now.tm_year, now.tm_mon
    )
    if problem:
        raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, problem)
    if money.to_nanos(request.amount) < 0:
        raise rpc.RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "a negative amount cannot be charged")
    transaction = str(uuid.uuid4())
    logs.say("info", "charged", amount=money.shown(request.amount), card=f"ends with {digits[-4:]}")
    return demo_pb2.ChargeResponse(transaction_id=transaction)


def card_problem(digits: str, year: int, month: int, this_year: int, this_month: int) -> str:
    """Why a card is not accepted; empty if it is."""
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19 and _luhn(digits)):
        return "the card number is not valid"
    if not (digits[0] == "4" or 51 <= int(digits[:2]) <= 55 or 2221 <= int(digits[:4]) <= 2720):
        return "only VISA and MasterCard are accepted"
    if not 1 <= month <= 12:
        return "the expiration month is not a month"
    if (year, month) < (this_year, this_month):
        return f"the card expired in {month}/{year}"
    return ""


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: every second digit from the right counts double, its digits added."""
    doubled = (int(it) * (1 + at % 2) for at, it in enumerate(reversed(digits)))
    return sum(it - 9 if it > 9 else it for it in doubled) % 10 == 0


if __name__ == "__main__":
    main()
