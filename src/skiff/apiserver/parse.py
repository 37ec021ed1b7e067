"""What do the bytes of a body mean? JSON, YAML and Kubernetes' protobuf, with what is lost or not known in them.

Runs on the loop for small bodies and in a process of its own for large ones (``skiff.apiserver.parsers``).
"""

from __future__ import annotations

import enum
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import yaml

from skiff.errors import ApiError

#: Objects and lists inside each other. Real ones have some forty levels; our own walks, and those of every client in
#: Python, end by an error at a few hundred (the real API server: 10,000).
MAX_DEPTH = 250
#: Names that are told to a client; whoever has more of them at a time knows enough.
_MOST_TOLD = 100


class Form(enum.Enum):
    """How a body is written."""

    JSON = "json"
    YAML = "yaml"
    PROTOBUF = "protobuf"


class Parsed(NamedTuple):
    """The value; fields that were there twice; places of protobuf fields which the table does not know."""

    value: Any
    twice: list[str]
    unknown: list[str]


def parse(form: Form, raw: bytes, *, twice: bool) -> Parsed:
    """The value of a body; ApiError 400 or 415. ``twice``: look for fields that are there twice, too."""
    if not raw:
        return Parsed({}, [], [])
    try:
        made = _parsed(form, raw, twice=twice)
    except (msgspec.DecodeError, yaml.YAMLError, ValueError, OverflowError) as wrong:
        raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {wrong}") from wrong
    except RecursionError:
        raise too_deep() from None
    require_shallow(made.value)
    return made


def _parsed(form: Form, raw: bytes, *, twice: bool) -> Parsed:
    match form:
        case Form.PROTOBUF:
            return _from_protobuf(raw)
        case Form.YAML if raw.lstrip()[:1] != b"{":
            value, names = from_yaml(raw)
            return Parsed(value, names if twice else [], [])
        case Form.YAML:  # kubectl sends JSON under the name of YAML
            try:
                value = msgspec.json.decode(raw)
            except msgspec.DecodeError:
                value, names = from_yaml(raw)
                return Parsed(value, names if twice else [], [])
            return Parsed(value, _twice(raw) if twice else [], [])
        case Form.JSON:
            return Parsed(msgspec.json.decode(raw), _twice(raw) if twice else [], [])


def _from_protobuf(raw: bytes) -> Parsed:
    from skiff.apiserver import protobuf  # tables of field numbers: only for those who need them

    try:
        found, unknown = protobuf.decode(raw)
    except protobuf.UnknownKindError as missing:
        raise ApiError(415, "UnsupportedMediaType", str(missing)) from missing
    return Parsed(found, [], unknown)


def _twice(raw: bytes) -> list[str]:
    """Names of fields of which one object has two."""
    found: list[str] = []

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(given)
        if len(made) < len(given) and len(found) < _MOST_TOLD:
            found.extend(name for name, times in Counter(name for name, _ in given).items() if times > 1)
        return made

    json.loads(raw, object_pairs_hook=pairs)
    return found[:_MOST_TOLD]


def require_shallow(value: Any) -> None:
    """400 for a value with too many levels."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = list(itertools.chain.from_iterable(map(_inside, level)))
        if not level:
            return
    raise too_deep()


def _inside(value: Any) -> Iterator[Any]:
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (it for it in held if isinstance(it, dict | list))


def too_deep() -> ApiError:
    """400 for what is nested deeper than anything here can walk."""
    return ApiError(
        400, "BadRequest", f"the object provided is nested too deeply: it has more than {MAX_DEPTH} levels"
    )


# --- YAML --------------------------------------------------------------------------------------

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is twenty times as fast
_NULL, _TRUE, _FALSE = {"", "~", "null", "Null", "NULL"}, {"true", "yes", "on"}, {"false", "no", "off"}
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_STRING = "tag:yaml.org,2002:str"


def from_yaml(raw: bytes) -> tuple[Any, list[str]]:
    """(the one document, keys that are there twice). As sigs.k8s.io/yaml reads it, without aliases: they are written in
    a line and may mean more than there is memory, and no client of the API sends them."""
    made = _Builder()
    loader = _Loader(raw)
    try:
        while loader.check_event():
            made.take(loader.get_event())
    finally:
        loader.dispose()
    return made.document, made.twice


class _Builder:
    """A value made of events: without a tree of nodes, and without a call of its own for each level."""

    def __init__(self) -> None:
        self.document: Any = None
        self.twice: list[str] = []
        self._documents = 0
        self._open: list[
            tuple[list[Any] | dict[str, Any], list[str]]
        ] = []  # what is not closed, and a map's next key

    def take(self, event: Any) -> None:
        """The next event. By its class alone: there are millions of them."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._put(_scalar(event))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if len(self._open) > MAX_DEPTH:
                raise too_deep()
            self._open.append(({} if kind is yaml.MappingStartEvent else [], []))
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._put(self._open.pop()[0])
        elif kind is yaml.AliasEvent:
            raise yaml.YAMLError("aliases are not accepted here")
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                raise yaml.YAMLError("a body has one document")

    def _put(self, value: Any) -> None:
        if not self._open:
            self.document = value
            return
        held, key = self._open[-1]
        if isinstance(held, list):
            held.append(value)
        elif key:
            name = key.pop()
            if name in held and len(self.twice) < _MOST_TOLD:
                self.twice.append(name)
            held[name] = value
        else:
            key.append(_key(value))


def _key(value: Any) -> str:
    if isinstance(value, str):
        if value == "<<":
            raise yaml.YAMLError("merge keys are not accepted here")
        return value
    if value is None or isinstance(value, dict | list):
        raise yaml.YAMLError(f"a key must be a string, not {json.dumps(value)[:100]}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag not in (None, "!", _STRING):
        raise yaml.YAMLError(f"the tag {event.tag} is not accepted here")
    if event.tag or not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text.lower() in _TRUE | _FALSE and text in (text.lower(), text.upper(), text.title()):
        return text.lower() in _TRUE
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text.replace("_", ""))
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text.replace("_", ""))):
        return number
    return text


def _integer(text: str) -> int | float:
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    base = {"0b": 2, "0x": 16, "0o": 8}.get(digits[:2], 8 if digits[0] == "0" and len(digits) > 1 else 10)
    if len(digits) > 100:
        raise yaml.YAMLError("a number has too many digits")
    found = sign * int(digits.removeprefix("0b").removeprefix("0x").removeprefix("0o"), base)
    return found if -(1 << 63) <= found < 1 << 64 else float(found)
