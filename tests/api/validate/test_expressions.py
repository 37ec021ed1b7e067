"""Regular expressions: what is accepted here, Envoy reads too."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from lateen.agent.envoy_process import binary
from lateen.api.validate import expressions
from lateen.envoy import bootstrap

ACCEPTED = [
    "a+", r"/v\d+/.*", "[*+]+", r"\++", r"\(?=x", "[[:alpha:]]+", r"\pL", "(?i)abc", "a(?i)b", "(?P<x>a)", "(?<x>a)", r"\z",
    "[]a]", r"a\\1", "(?s:.)", "(?-i:a)", r"\x41\01", r"[\d\-\]]", "a{1000}", "(a{31}){32}", "[a-z]{1,500}", "{", "a{,3}",
    r"(\pL{1,90}x){1,9}", r"\pL{1000}", r".*\.(png|jpg)$", "(?i:abc)", r"[\w.-]+@[\w-]+", r"\p{Greek}+", r"\Qa.b\E+", "a+?b*?c??", r"\W{1000}", ".{1000}", "(?i)é{1000}", r"(?i)[\pL\pN]{1000}", "a{0}",
]  # fmt: skip


@pytest.mark.parametrize("text", ACCEPTED)
def test_expressions_of_re2(text: str) -> None:
    assert expressions.regex(text) == ""


PARTS = [
    "a", "é", ".", "*", "+", "?", "|", "(", ")", "[", "]", "^", "{2}", "{3,}", "{1,4}", "{", "\\d", "\\b", "\\.", "\\\\", "(?:",
    "(?i)", "(?P<n>", "(?<n>", "(?s:", "(?i", "-", "[^a]", "[a-z]", "[a-", "\\pL", "\\x41", "\\x{41}", "\\n", "\\Q", "\\E", "\\z",
    "\\A", "\\C", "\\0", "\\12", "[[:alpha:]]", "&&", "~", "\\-", "(?U)", "]]", ",", ":",
]  # fmt: skip


def _random(number: int) -> list[str]:
    """Expressions of chance that are accepted."""
    chance, found = random.Random(number), set[str]()
    while len(found) < 500:
        text = "".join(chance.choices(PARTS, k=chance.randint(1, 7)))
        if not expressions.regex(text):
            found.add(text)
    return sorted(found)


@pytest.mark.parametrize("accepted", [ACCEPTED, _random(0)], ids=["chosen", "random"])
def test_envoy_reads_what_is_accepted(tmp_path: Path, accepted: list[str]) -> None:
    made = bootstrap.bootstrap(bootstrap.Node("a", "b", {}), bootstrap.Discovery("127.0.0.1", 1, ("a",)))
    routes = [{"match": {"safe_regex": {"regex": it}}, "direct_response": {"status": 200}} for it in accepted]
    extensions = "type.googleapis.com/envoy.extensions.filters"
    connections = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}],
    }  # fmt: skip
    listener = {
        "name": "x", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": connections}]}],
    }  # fmt: skip
    config = {"layered_runtime": made["layered_runtime"], "static_resources": {"listeners": [listener]}}
    (tmp_path / "envoy.json").write_text(json.dumps(config))
    done = subprocess.run(
        [binary(), "--mode", "validate", "-c", tmp_path / "envoy.json", "--log-level", "error"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "", "(", "[", "a**", "a*+", "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?>a)", "(?P<x>a)(?P=x)", "x" * 1025,
        r"\Z", r"\u1234", r"[\b]", r"\é", "(?x: a)", "(?a)x", "(?u:x)", "(?#a)", "a{1001}", "(a{40}){40}", "a{99999999}",
        r"([\pL\pN]{10}x){200}", "a{2,1}", r"\h", r"\p{Nope}", "[[:nope:]]", r"a\E", "a(?i)*", "(?<n>a", r"(\pL", "{3}{4}", "*a",
    ],
)  # fmt: skip
def test_expressions_that_re2_does_not_know(text: str) -> None:
    assert expressions.regex(text)
