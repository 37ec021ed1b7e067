"""Functions of expressions: CEL's own extensions and Kubernetes'."""

from __future__ import annotations

import time

import pytest

from skiff.admission.cel.library import without_groups
from skiff.admission.cel.program import CelError, compiled, renamed, uses

pytestmark = pytest.mark.finding("issue 7 part 5")

SELF = {"l": [1, 2, 3], "s": "a,b", "names": ["b", "a"], "n": None}


def value(text: str, it: object = SELF) -> object:
    return compiled(text, ("self", "oldSelf"))({"self": it, "oldSelf": None})


@pytest.mark.parametrize(
    "text",
    [
        "self.l.indexOf(2) == 1 && self.l.indexOf(9) == -1 && [true].indexOf(1) == -1", "[1, 2, 1].lastIndexOf(1) == 2",
        "self.s.indexOf(',') == 1 && 'abab'.lastIndexOf('ab') == 2 && 'abab'.indexOf('a', 1) == 2",
        "self.l.sum() == 6 && self.l.min() == 1 && self.l.max() == 3 && [0.5, 1.5].sum() == 2.0",
        "self.l.isSorted() && !self.names.isSorted() && [].isSorted()",
        "self.s.split(',') == ['a', 'b'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab' && 'hello'.substring(1, 3) == 'el' && 'abc'.substring(2) == 'c'",
        "'aXbX'.replace('X', '-') == 'a-b-' && 'aXbX'.replace('X', '-', 1) == 'a-bX'",
        "' x '.trim() == 'x' && 'aB'.lowerAscii() == 'ab' && 'aB'.upperAscii() == 'AB' && 'abc'.charAt(1) == 'b' && 'ab'.reverse() == 'ba'",
        "'%s is %d of %.2f, %x %b %o %% %e'.format(['a', 3, 1.5, 255, 5, 8, 1.0]) == 'a is 3 of 1.50, ff 101 10 % 1.000000e+00'",
        "'%s'.format([[1, true, null, 'x', 2.0]]) == '[1, true, null, x, 2]'", "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == '' && 'x1y2'.findAll('([a-z])([0-9])') == ['x1', 'y2']",
        "'a1b2c3'.findAll('[0-9]', 2) == ['1', '2'] && 'abc'.matches('^a.c$')",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && quantity('1000m') == quantity('1') && isQuantity('1k') && !isQuantity('1q')",
        "quantity('50k').add(quantity('1')).asInteger() == 50001 && quantity('5').sub(1).compareTo(quantity('4')) == 0",
        "quantity('-1').sign() == -1 && !quantity('1500m').isInteger() && quantity('500m').asApproximateFloat() == 0.5",
        "ip('::1').isLoopback() && ip('10.1.2.3').family() == 4 && isIP('fe80::1') && !isIP('300.0.0.1') && !isIP('::ffff:1.2.3.4')",
        "ip.isCanonical('::1') && !ip.isCanonical('::0001') && ip('169.254.1.1').isLinkLocalUnicast() && ip('10.0.0.1').isGlobalUnicast()",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && !isCIDR('10.0.0.0/33')",
        "cidr('10.1.2.3/16').masked() == cidr('10.1.0.0/16') && cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.0.0.0/8').ip() == ip('10.0.0.0')",
        "isURL('https://example.com:80/a') && isURL('/a') && !isURL('a b') && !isURL('../x')",
        "url('https://u@[::1]:80/a%20b?k=1&k=2').getHostname() == '::1' && url('https://h:80/').getPort() == '80' && url('/p').getHost() == ''",
        "url('https://e.com/a%20b?k=1&k=2').getEscapedPath() == '/a%20b' && url('https://e.com/?k=1&k=2').getQuery() == {'k': ['1', '2']}",
        "semver('1.2.3-alpha.2').isLessThan(semver('1.2.3-alpha.10')) && semver('1.2.3').isGreaterThan(semver('1.2.3-rc')) && !isSemver('1.2')",
        "isSemver('v1.0', true) && semver('v1.2', true).minor() == 2 && semver('3.2.1+b').patch() == 1 && semver('1.0.0').major() == 1",
        "[1, 2].exists(i, v, i + v == 3) && {'a': 1}.all(k, v, v == 1) && sets.contains([1, 2], [1]) && self.?nope.orValue(3) == 3",
        "timestamp('2021-01-01T00:00:00Z').getFullYear() == 2021 && duration('1h') > duration('30m')", "self.n == null && has(self.n)",
    ],
)  # fmt: skip
def test_functions(text: str) -> None:
    assert value(text) is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("self.nope", "no such key: nope"), ("1 / 0", "division by zero"), ("self.s > 3", "no such overload"), ("[].min()", "min called on empty list"),
        ("quantity('x')", "quantities must match"), ("ip('x')", "does not appear to be"), ("url('a b')", "URL parse error"), ("semver('1')", "invalid semantic version"),
        ("self.l[9]", "(?i)index"), ("'abc'.charAt(9)", "index out of range"), ("'%d'.format(['a'])", "clause cannot be used"), ("'%s'.format([])", "index 0 out of range"),
        ("'abc'.find('(')", "regular expression"), ("self.l.sum().isLessThan(quantity('1'))", "no such overload"),
    ],
)  # fmt: skip
def test_what_has_no_value(text: str, said: str) -> None:
    with pytest.raises(CelError, match=said):
        value(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("self.a +", "Syntax error"), ("nope(1)", "undeclared reference to 'nope'"), ("other == 1", "undeclared reference to 'other'"),
        ("1 == 'a'", "found no matching overload"), ("(" * 500 + "1" + ")" * 500, "recursion"), ("1" * 30_000, "more than"), ("\ud800", "no valid text"),
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str, said: str) -> None:
    with pytest.raises(CelError, match=said):
        compiled(text, ("self", "oldSelf"))


def test_no_expression_runs_long() -> None:
    """Loops have an end, patterns are linear, and no function answers without one."""
    many, long = {"l": list(range(1000)), "s": "ab" * 100_000}, {"s": "a" * 1000}
    begun = time.perf_counter()
    with pytest.raises(CelError, match="actual cost limit exceeded"):
        value("self.l.all(x, self.l.all(y, x + y >= 0))", many)
    assert value("self.s.matches('^(([a-z])+.)+[A-Z]([a-z])+$')", many) is False
    with pytest.raises(CelError, match="more than 1000000"):
        value("self.s.replace('a', self.s).replace('a', self.s)", long)
    with pytest.raises(CelError, match="more than 1000000"):
        value(
            "'%s%s'.format([self.s.replace('a', self.s.substring(100)), self.s.replace('a', self.s.substring(100))])",
            long,
        )
    assert time.perf_counter() - begun < 5
    assert compiled("self.l.all(x, self.s.contains('c'))", ("self",)).heavy({"self": many})
    assert not compiled("self.l.all(x, x > 1)", ("self",)).heavy({"self": {"l": [1, 2]}})


def test_groups_and_names() -> None:
    assert without_groups(r"(a)(?:b)(?P<n>c)[(\])]\((?i)[]()](") == r"(?:a)(?:b)(?:c)[(\])]\((?i)[]()](?:"
    assert (
        renamed("oldSelf.oldSelf == 'oldSelf' && has(oldSelf.x)", "oldSelf", "(old)")
        == "(old).oldSelf == 'oldSelf' && has((old).x)"
    )
    assert not uses('self.oldSelf == "oldSelf"', "oldSelf")
    assert uses("self == oldSelf", "oldSelf")
