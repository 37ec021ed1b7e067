"""The value types by which everything is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lateen.names import durations, hostname, identity, labels
from lateen.names.keys import ServiceKey
from lateen.names.ports import Protocol, protocol

REVIEWS = ServiceKey("default", "reviews.default.svc.cluster.local")
DOMAIN = "cluster.local"


@pytest.mark.parametrize(
    ("name", "app", "transport", "number", "means"),
    [
        ("http", "", "TCP", 80, Protocol.HTTP),
        ("http-web", "", "TCP", 80, Protocol.HTTP),
        ("HTTP-web", "", "TCP", 80, Protocol.HTTP),
        ("httpd", "", "TCP", 80, Protocol.AUTO),
        ("grpc", "", "TCP", 1, Protocol.GRPC),
        ("grpc-web", "", "TCP", 1, Protocol.GRPC_WEB),
        ("grpc-web-x", "", "TCP", 1, Protocol.GRPC_WEB),
        ("grpc-api", "", "TCP", 1, Protocol.GRPC),
        ("tcp-redis", "", "TCP", 6379, Protocol.TCP),
        ("", "", "TCP", 8080, Protocol.AUTO),
        ("", "", "TCP", 3306, Protocol.MYSQL),
        ("tcp", "kubernetes.io/h2c", "TCP", 1, Protocol.HTTP2),
        ("http", "tcp", "TCP", 1, Protocol.TCP),
        ("http", "something", "TCP", 1, Protocol.AUTO),
        ("dns", "", "UDP", 53, Protocol.UDP),
    ],
)
def test_a_port_declares_its_protocol(
    name: str, app: str, transport: str, number: int, means: Protocol
) -> None:
    assert protocol(name, app, transport, number) is means


def test_only_names_without_dots_are_completed() -> None:
    assert hostname.full("reviews", "default", DOMAIN) == REVIEWS.hostname
    assert hostname.full("reviews.prod", "default", DOMAIN) == "reviews.prod"
    assert hostname.full("*", "default", DOMAIN) == "*"


@pytest.mark.parametrize(
    ("pattern", "host", "does"),
    [
        ("a.com", "a.com", True), ("a.com", "b.com", False), ("*.com", "a.com", True), ("*.com", "*.a.com", True),
        ("*.a.com", "*.com", False), ("*", "anything", True), ("*.com", "com", False), ("a.com", "*.com", False),
    ],
)  # fmt: skip
def test_wildcards_mean_all_that_end_so(pattern: str, host: str, does: bool) -> None:
    assert hostname.matches(pattern, host) is does


def test_exact_hosts_come_before_longer_and_shorter_wildcards() -> None:
    assert sorted(["*", "*.com", "a.com", "*.a.com"], key=hostname.specificity) == [
        "a.com",
        "*.a.com",
        "*.com",
        "*",
    ]


def test_short_names_depend_on_who_calls() -> None:
    assert hostname.short_names(REVIEWS, "default", DOMAIN) == (
        REVIEWS.hostname,
        "reviews.default.svc",
        "reviews.default",
        "reviews",
    )
    assert hostname.short_names(REVIEWS, "other", DOMAIN) == (
        REVIEWS.hostname,
        "reviews.default.svc",
        "reviews.default",
    )
    assert hostname.short_names(ServiceKey("x", "api.example.com"), "x", DOMAIN) == ("api.example.com",)


def test_identities_are_read_back() -> None:
    it = identity.Identity("td", "ns", "sa")
    assert identity.parse(str(it)) == it
    assert identity.parse("spiffe://td/other") is None
    assert identity.parse("https://td/ns/a/sa/b") is None


@given(st.integers(0, 10**15))
def test_durations_are_exact(nanoseconds: int) -> None:
    assert durations.parse(durations.written(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "means"), [("1h30m", 5400 * 10**9), ("1.5s", 1_500_000_000), ("100ms", 10**8), ("0", 0)]
)
def test_durations_are_read_as_go_writes_them(text: str, means: int) -> None:
    assert durations.parse(text) == means


@pytest.mark.parametrize("text", ["", "1", "5x", "s", "1s2", "-1s", "1 s"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        durations.parse(text)


def test_an_empty_selector_matches_everything() -> None:
    some = labels.of({"app": "a", "version": "v1"})
    assert labels.matches((), some)
    assert labels.matches(labels.of({"app": "a"}), some)
    assert not labels.matches(labels.of({"app": "b"}), some)
