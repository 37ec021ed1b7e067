"""Do the small parts keep their word? Catalogue, cards, parcels, durations, health's bytes, forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boutique import catalog, health, paymentservice, rpc, settings, shippingservice
from boutique.frontend import forms
from boutique.pb import demo_pb2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("mug", ["6E92ZMYYFZ"]),
        ("CAPTAIN's", ["6E92ZMYYFZ"]),
        ("litre ship's", ["9SIQT8TOJO"]),
        ("watch", ["1YMWWN1N4O"]),
        ("salt", ["2ZYFJ3GM2N", "LS4PSXUNUM"]),
        ("anchor", []),
        ("  ", []),
    ],
)
def test_a_search_finds_all_words_in_name_or_description(query: str, found: list[str]) -> None:
    assert [it.id for it in catalog.matching(query)] == found


@given(st.sampled_from(catalog.WARES), st.data())
def test_a_ware_is_found_by_any_of_its_words(ware: catalog.Ware, data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(f"{ware.name} {ware.description}".split()))
    assert ware in catalog.matching(word.upper())


def test_wares_are_those_which_load_generators_know() -> None:
    assert len(catalog.BY_ID) == len(catalog.WARES) == 9
    assert {"OLJCESPC7Z", "66VCHSJNUP", "1YMWWN1N4O", "L9ECAV7KIM", "2ZYFJ3GM2N", "0PUK6V6EV0", "LS4PSXUNUM",
            "9SIQT8TOJO", "6E92ZMYYFZ"} == set(catalog.BY_ID)  # fmt: skip


def luhn_digit(digits: str) -> str:
    """The digit that makes a number valid, found by trying: independent of the code under test's arithmetic."""
    table = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    total = sum(table[int(it)] if at % 2 == 0 else int(it) for at, it in enumerate(reversed(digits)))
    return str(-total % 10)


@given(st.text("0123456789", min_size=14, max_size=14))
def test_a_card_is_accepted_with_its_own_check_digit_only(digits: str) -> None:
    right = luhn_digit("4" + digits)
    for last in "0123456789":
        problem = paymentservice.card_problem("4" + digits + last, 2030, 1, 2026, 11)
        assert (problem == "") is (last == right)


@pytest.mark.parametrize(
    ("digits", "year", "month", "problem"),
    [
        ("4432801561520454", 2026, 11, ""),
        ("5555555555554444", 2039, 1, ""),
        ("4432801561520454", 2026, 10, "expired in 10/2026"),
        ("4432801561520454", 2030, 13, "not a month"),
        ("378282246310005", 2030, 1, "only VISA and MasterCard"),
        ("", 2030, 1, "not valid"),
        ("4432801561520455", 2030, 1, "not valid"),
        ("४४३२८०१५६१५२०४५४", 2030, 1, "not valid"),
    ],
)
def test_why_a_card_is_refused(digits: str, year: int, month: int, problem: str) -> None:
    said = paymentservice.card_problem(digits, year, month, 2026, 11)
    assert problem in said
    assert bool(said) is bool(problem)


async def test_a_quote_grows_with_the_pieces_and_is_nothing_for_none() -> None:
    async def quote(*quantities: int) -> demo_pb2.Money:
        items = [demo_pb2.CartItem(product_id="x", quantity=it) for it in quantities]
        return (await shippingservice.get_quote(demo_pb2.GetQuoteRequest(items=items))).cost_usd

    assert await quote() == demo_pb2.Money(currency_code="USD")
    assert (
        await quote(1, 2) == await quote(3) == demo_pb2.Money(currency_code="USD", units=7, nanos=240_000_000)
    )
    with pytest.raises(rpc.RefusedError, match="negative"):
        await quote(1, -1)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0", 0), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), (".5s", 0.5), ("250us", 0.00025)],
)
def test_durations_are_read_as_go_writes_them(said: str, seconds: float) -> None:
    assert settings.duration_s(said) == pytest.approx(seconds)


@pytest.mark.parametrize("said", ["", "5", "s", "1 s", "1x", "-1s", "1s1"])
def test_what_is_no_duration_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        settings.duration_s(said)


@given(st.text(max_size=40).filter(lambda it: len(it.encode()) <= 127))
def test_healths_request_survives_both_ways(service: str) -> None:
    assert health.decode_request(health.encode_request(service)) == service


@given(st.binary(max_size=140))
def test_healths_decoder_never_fails(raw: bytes) -> None:
    decoded = health.decode_request(raw)
    assert decoded is None or isinstance(decoded, str)
    assert health.decode_status(raw) >= 0


FORM = {
    "email": "someone@example.com", "street_address": "1 Harbour Road", "zip_code": "94043", "city": "Port",
    "state": "CA", "country": "Land", "credit_card_number": "4432-8015-6152-0454",
    "credit_card_expiration_month": "1", "credit_card_expiration_year": "2039", "credit_card_cvv": "672",
}  # fmt: skip


def test_a_whole_form_is_an_order() -> None:
    order = forms.order(FORM)
    assert order.email == "someone@example.com"
    assert (order.address.zip_code, order.address.city) == (94043, "Port")
    assert (order.credit_card.credit_card_cvv, order.credit_card.credit_card_expiration_year) == (672, 2039)


@given(st.sets(st.sampled_from(sorted(FORM)), min_size=1))
def test_every_missing_field_has_its_reason(missing: set[str]) -> None:
    with pytest.raises(forms.RefusedFormError) as refused:
        forms.order({name: value for name, value in FORM.items() if name not in missing})
    assert len(refused.value.reasons) == len(missing)


@given(st.dictionaries(st.sampled_from(sorted(FORM)), st.text(max_size=600)))
def test_any_text_is_an_order_or_refused_with_reasons(typed: dict[str, str]) -> None:
    try:
        outcome = forms.order({**FORM, **typed}).SerializeToString()
    except forms.RefusedFormError as refused:
        outcome = refused.reasons
    assert outcome


@pytest.mark.parametrize("quantity", ["0", "11", "-1", "1.5", "", "ten", "99999999999999999999"])
def test_a_quantity_is_one_to_ten(quantity: str) -> None:
    with pytest.raises(forms.RefusedFormError, match="from 1 to 10"):
        forms.addition({"product_id": "x", "quantity": quantity})
