"""Are there fields that Istio's API does not have, or several where one is meant? Found on the document itself."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from lateen.api.decode import present
from lateen.api.meta import Fact
from lateen.api.validate.finding import Finding, Findings, entry
from lateen.names.problems import Severity

#: No field of Istio's has a longer name; comparing costs more the longer a name is.
_LONGEST_NAME = 64
_MOST_ADVISED = 50
UNKNOWN = "unknown field"
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


class _Stranger(NamedTuple):
    """A field that nobody knows, and those that could be meant."""

    path: str
    name: str
    known: Iterable[str]


def unknown(document: Mapping[str, Any], table: type[Fact], severity: Severity) -> Findings:
    """What decoding passes over in silence; ``severity`` is that of a field which nobody knows.

    Looking for what was meant takes much longer than finding out that nobody knows it: the first ones get an advice.
    """
    strangers = (_Stranger(name, name, _TOP) for name in document if name not in _TOP)
    advised = 0
    for it in chain(strangers, _walk(document.get("spec"), _fields(table)["spec"], "spec")):
        if isinstance(it, Finding):
            yield it
        else:
            advised += 1
            yield Finding(
                it.path, advice(it.name, it.known) if advised <= _MOST_ADVISED else UNKNOWN, severity
            )


@functools.cache
def _fields(struct: type) -> Mapping[str, msgspec.inspect.Type]:
    """The fields of a type by their names in JSON; looking into a type takes a thousand times as long as using it."""
    found = msgspec.inspect.type_info(struct)
    assert isinstance(found, msgspec.inspect.StructType)
    return {field.encode_name: present(field.type) for field in found.fields}


def _walk(value: Any, kind: msgspec.inspect.Type, at: str) -> Iterator[Finding | _Stranger]:
    match present(kind):
        case msgspec.inspect.StructType() as struct if isinstance(value, Mapping):
            yield from _object(value, struct.cls, at)
        case msgspec.inspect.ListType(item_type=item) if isinstance(value, list):
            for index, one in enumerate(value):
                yield from _walk(one, item, f"{at}[{index}]")
        case msgspec.inspect.DictType(value_type=inner) if isinstance(value, Mapping):
            for name, one in value.items():
                yield from _walk(one, inner, entry(at, str(name)))


def _object(value: Mapping[str, Any], struct: type, at: str) -> Iterator[Finding | _Stranger]:
    known = _fields(struct)
    for name, one in value.items():
        if name in known:
            yield from _walk(one, known[name], f"{at}.{name}")
        else:
            yield _Stranger(entry(at, str(name)), str(name), known)
    for group in getattr(struct, "ONE_OF", ()):
        chosen = [name for name in group if value.get(name) is not None]
        if len(chosen) > 1:
            yield Finding(at, f"only one of {', '.join(group)} can be set, not {' and '.join(chosen)}")


def advice(name: str, known: Iterable[str]) -> str:
    """What to say of a name that nobody knows; those that are far too long to be a misspelling are not compared."""
    near = difflib.get_close_matches(name, list(known), n=1) if len(name) <= _LONGEST_NAME else []
    return f"{UNKNOWN}: did you mean {near[0]}?" if near else UNKNOWN
