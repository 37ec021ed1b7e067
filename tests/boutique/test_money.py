"""Is money exact? Against Python's own exact fractions."""

from __future__ import annotations

from fractions import Fraction

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boutique import currencyservice, money, rpc
from boutique.pb import demo_pb2

NANOS = st.integers(-(10**15) * money.NANOS, 10**15 * money.NANOS)
CODES = st.sampled_from(sorted(currencyservice.RATES))


def worth(amount: demo_pb2.Money) -> Fraction:
    return Fraction(amount.units) + Fraction(amount.nanos, money.NANOS)


def well_formed(amount: demo_pb2.Money) -> bool:
    return abs(amount.nanos) < money.NANOS and amount.units * amount.nanos >= 0


@given(NANOS)
def test_an_amount_survives_both_ways_with_one_sign(nanos: int) -> None:
    amount = money.from_nanos("EUR", nanos)
    assert well_formed(amount)
    assert money.to_nanos(amount) == nanos


@given(st.lists(NANOS, max_size=20))
def test_a_total_is_the_exact_sum_in_any_order(nanos: list[int]) -> None:
    amounts = [money.from_nanos("USD", it) for it in nanos]
    total = money.total("USD", amounts)
    assert well_formed(total)
    assert worth(total) == sum(map(worth, amounts), Fraction(0))
    assert total == money.total("USD", reversed(amounts))


@given(NANOS, st.integers(0, 1000))
def test_times_is_repeated_addition(nanos: int, count: int) -> None:
    amount = money.from_nanos("JPY", nanos)
    assert worth(money.times(amount, count)) == worth(amount) * count


def test_amounts_of_two_currencies_are_not_added() -> None:
    with pytest.raises(ValueError, match="cannot add USD to EUR"):
        money.total("EUR", [money.from_nanos("EUR", 1), money.from_nanos("USD", 1)])


@given(NANOS, st.sampled_from(["USD", "JPY", "CHF"]))
def test_what_is_shown_is_at_most_half_a_coin_off(nanos: int, code: str) -> None:
    shown = money.shown(money.from_nanos(code, nanos))
    sign = -1 if shown.startswith("-") else 1
    figure = Fraction(
        shown.lstrip("-").removeprefix("$").removeprefix("¥").removeprefix("CHF ").replace(",", "")
    )
    coin = Fraction(1) if code == "JPY" else Fraction(1, 100)
    assert abs(sign * figure - Fraction(nanos, money.NANOS)) <= coin / 2


@pytest.mark.parametrize(
    ("code", "units", "nanos", "shown"),
    [
        ("USD", 19, 990_000_000, "$19.99"),
        ("USD", 0, 5_000_000, "$0.01"),
        ("USD", -1, -500_000_000, "-$1.50"),
        ("JPY", 2908, 600_000_000, "¥2,909"),
        ("SEK", 1_234_567, 0, "SEK 1,234,567.00"),
        ("EUR", 0, -1, "€0.00"),
    ],
)
def test_amounts_read_well(code: str, units: int, nanos: int, shown: str) -> None:
    assert money.shown(demo_pb2.Money(currency_code=code, units=units, nanos=nanos)) == shown


@given(st.integers(-(10**18), 10**18), CODES, CODES)
async def test_a_conversion_is_right_to_a_billionth(nanos: int, code: str, wanted: str) -> None:
    request = demo_pb2.CurrencyConversionRequest(**{"from": money.from_nanos(code, nanos), "to_code": wanted})
    converted = await currencyservice.convert(request)
    assert converted.currency_code == wanted
    assert well_formed(converted)
    exact = Fraction(nanos * currencyservice.RATES[wanted], currencyservice.RATES[code] * money.NANOS)
    assert abs(worth(converted) - exact) < Fraction(1, money.NANOS)
    assert abs(worth(converted)) <= abs(exact)


@pytest.mark.parametrize(("code", "wanted"), [("XXX", "EUR"), ("EUR", "XXX"), ("", "")])
async def test_a_currency_without_a_rate_is_refused(code: str, wanted: str) -> None:
    request = demo_pb2.CurrencyConversionRequest(**{"from": money.from_nanos(code, 1), "to_code": wanted})
    with pytest.raises(rpc.RefusedError, match="no rate") as refused:
        await currencyservice.convert(request)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
