"""Amounts as Kubernetes reads and writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.quantities import parse, show

pytestmark = pytest.mark.finding("issue 7 part 5")


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("1", 1, "1"), ("100m", "0.1", "100m"), ("1000m", 1, "1"), ("0.5", "0.5", "500m"), (1.5, "1.5", "1500m"), (2, 2, "2"),
        ("1Ki", 1024, "1Ki"), ("1024Mi", 2**30, "1Gi"), ("1.5Gi", 1536 * 2**20, "1536Mi"), ("0.5Ki", 512, "512"),
        ("1k", 1000, "1k"), ("1E", 10**18, "1E"), ("1e3", 1000, "1e3"), ("12E2", 1200, "1200"), ("1e-3", "0.001", "1e-3"),
        ("+1", 1, "1"), ("-1500m", "-1.5", "-1500m"), (".5", "0.5", "500m"), ("5.", 5, "5"), ("0.1n", "1e-9", "1n"), ("0", 0, "0"),
        ("1Ei", 2**60, "1Ei"), ("9Ei", 2**63 - 1, "9223372036854775807"), (0.0001, "0.0001", "100u"),
    ],
)  # fmt: skip
def test_amounts(text: str | float, value: str | int, shown: str) -> None:
    assert parse(text) == Decimal(value)
    assert show(parse(text), text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1.2.3",
        "1 Gi",
        "1gi",
        "Mi",
        "1KiB",
        "--1",
        "1e",
        "1e9999",
        "٣",
        float("nan"),
        float("inf"),
        "1" * 1000,
    ],
)
def test_nonsense(text: str | float) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        parse(text)


@given(st.integers(-(10**18), 10**18), st.sampled_from(["", "m", "Ki", "e0", "n"]))
def test_what_is_shown_is_the_same_amount(nano: int, like: str) -> None:
    value = Decimal(nano).scaleb(-9)
    assert parse(show(value, f"1{like}")) == value
