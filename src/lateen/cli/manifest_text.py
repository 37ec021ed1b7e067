"""How are manifests read and written as kubectl would? YAML in documents, with Kubernetes' idea of numbers and dates.

PyYAML follows YAML 1.1 to the letter: ``8080:50`` is a number to base 60 and ``2026-01-02`` a date. kubectl takes both
for text, and so must whoever writes a manifest out again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import IO, Any

import yaml

_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"^[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]*|[1-9][0-9_]*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"^[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
    ),
}
_FIRST = list("-+0123456789.")


class _Loader(yaml.SafeLoader):
    """Without base 60 and dates."""


class _Dumper(yaml.SafeDumper):
    """Quotes what either reader would not take for text; no anchors, which users of kubectl do not expect."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        return super().increase_indent(flow, indentless=False)


_UNWANTED = {*_NUMBERS, "tag:yaml.org,2002:timestamp"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in _UNWANTED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _rule in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _rule, _FIRST)
    _Dumper.add_implicit_resolver(_tag, _rule, _FIRST)


def read(text: str) -> list[Any]:
    """The documents which are not empty; raises ``yaml.YAMLError``."""
    return [it for it in yaml.load_all(text, Loader=_Loader) if it is not None]


def write(documents: Iterable[Any], to: IO[str]) -> None:
    """Documents, separated by ``---``."""
    yaml.dump_all(
        documents,
        to,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=2**16,
        default_flow_style=False,
    )
