"""Expressions in CEL: what can be parsed and what cannot."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lateen.api.validate.cel import LONGEST, expression


@pytest.mark.finding("conformance F20")
@pytest.mark.parametrize(
    "text",
    ["response.code >= 400", "response.code >= 400 && (connection.mtls || request.url_path.contains('v1beta3'))",
     "!has(request.auth.principal)", "a ? b : c", "a ? b ? 1 : 2 : c", "[1, 2, 3,].exists(it, it in [])", "{'a': 1, 'b': {}}",
     "request.headers['x'] == \"\"", "a.b.c()", "f(a, b)[0].c{d: 1}", "-1 + -a * 2.5e3", "r'\\d+' == b\"x\"", "0x1Fu", ".a.b",
     "xds.cluster_name == 'a' // why", "a == \"\"\"b\nc\"\"\""],
)  # fmt: skip
def test_what_can_be_parsed(text: str) -> None:
    assert expression(text) == ""


@pytest.mark.finding("conformance F20")
@pytest.mark.parametrize(
    "text",
    ["response.code >>= 400", "response.code >=", ")(", "(a", "a b", "a ? b", "a : b", "f(a,)", "a.", "a..b", "a.1", "'a", "[1 2]",
     "{1}}", "()", "a &&", "&& a", "a & b", "in a", "a[]", "#", "a, b", "f(", "[a ? b]", "a = b"],
)  # fmt: skip
def test_what_cannot(text: str) -> None:
    assert expression(text)


@given(st.text(alphabet="ab.1'()[]{}?:,!-+&|= \n", max_size=40))
def test_there_is_an_answer_for_anything(text: str) -> None:
    assert isinstance(expression(text), str)


def test_it_is_read_once() -> None:
    before = time.process_time()
    for text in (
        "(" * LONGEST,
        "'" * LONGEST,
        "a+" * (LONGEST // 2),
        '"""' * (LONGEST // 3),
        "r" * LONGEST,
        "1" * LONGEST,
    ):
        expression(text)
    assert time.process_time() - before < 3
