"""Reading settings field by field: what is wrong in one costs that one, and is told with its path.

For documents that no webhook looks at, MeshConfig and ProxyConfig. Objects of Kubernetes are taken or refused as a whole
(``lateen.api.decode``).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from lateen.api.decode import explained, present, without_nulls
from lateen.api.meta import Duration, Value, from_text
from lateen.api.validate.finding import Finding, entry, warning
from lateen.api.validate.unknown import advice
from lateen.names import durations

_Read = TypeVar("_Read", bound=Value)
#: So many things are told of one document; a reader mends the first ones first.
MOST_TOLD = 50
#: Stands between what is wrong and what holds instead.
HOLDS = "; until fixed, "
_SHOWN = 80


def read(document: Mapping[str, Any], kept: _Read, at: str = "") -> tuple[_Read, list[Finding]]:
    """(the settings, what is wrong): a field that cannot be read has the value it has in ``kept``.

    ``kept`` is what held until now, or the defaults. Fields that are absent have their defaults. Names may be written
    as in protobuf's text, too (``proxy_metadata``), as Istio takes them.
    """
    told: list[Finding] = []
    value = _struct(document, type(kept), kept, at, told)
    return cast("_Read", value), told[:MOST_TOLD]


@functools.cache
def _fields(struct: type[Value]) -> Mapping[str, tuple[msgspec.structs.FieldInfo, msgspec.inspect.Type]]:
    """Each field by both of its names."""
    kind = msgspec.inspect.type_info(struct)
    assert isinstance(kind, msgspec.inspect.StructType)
    types = {it.name: present(it.type) for it in kind.fields}
    infos = msgspec.structs.fields(struct)
    return {name: (it, types[it.name]) for it in infos for name in (it.name, it.encode_name)}


def _struct(
    document: Mapping[str, Any], struct: type[Value], kept: Value | None, at: str, told: list[Finding]
) -> Value:
    known, found = _fields(struct), {}
    for name, written in document.items():
        place = entry(at, str(name)) if at else str(name)
        if name not in known:
            if len(told) < MOST_TOLD:
                told.append(warning(place, advice(str(name), (it for it in known if "_" not in it))))
            continue
        if written is not None:
            info, kind = known[name]
            before = getattr(kept, info.name) if kept is not None else msgspec.NODEFAULT
            value = _field(written, info, kind, before, place, told)
            if value is not msgspec.NODEFAULT:
                found[info.name] = value
    for group in struct.ONE_OF:
        chosen = [name for name in group if name in known and known[name][0].name in found]
        if len(chosen) > 1:
            told.append(Finding(at, f"only one of {', '.join(group)} can be set, not {' and '.join(chosen)}"))
    return struct(**found)


def _field(
    written: Any,
    info: msgspec.structs.FieldInfo,
    kind: msgspec.inspect.Type,
    kept: Any,
    at: str,
    told: list[Finding],
) -> Any:
    """The value of one field; what is kept, or NODEFAULT for nothing, when it cannot be read."""
    if isinstance(kind, msgspec.inspect.StructType) and isinstance(written, Mapping):
        inside = kept if isinstance(kept, Value) else None
        try:
            return _struct(written, cast("type[Value]", kind.cls), inside, at, told)
        except TypeError:  # a field of it is required and could not be read, which was told
            if not told or not told[-1].path.startswith(at):
                told.append(Finding(at, "lacks a field that is required"))
            return kept
    if isinstance(kind, msgspec.inspect.DictType) and isinstance(written, Mapping):
        return _entries(written, _holder(info.type), kind, kept, at, told)
    return _converted(written, _holder(info.type), kind, kept, at, told)


def _entries(
    written: Mapping[str, Any], holder: type[msgspec.Struct], kind: msgspec.inspect.DictType, kept: Any, at: str,
    told: list[Finding],
) -> dict[str, Any]:  # fmt: skip
    """A map, entry by entry."""
    held = kept if isinstance(kept, Mapping) else {}
    found: dict[str, Any] = {}
    for name, one in written.items():
        if one is not None:
            before = held.get(str(name))
            value = _converted({str(name): one}, holder, kind, before and {str(name): before}, at, told)
            found.update(value or {})
    return found


def _converted(
    written: Any,
    holder: type[msgspec.Struct],
    kind: msgspec.inspect.Type,
    kept: Any,
    at: str,
    told: list[Finding],
) -> Any:
    """The value, converted as a whole."""
    try:
        found = msgspec.convert({"value": _number(without_nulls(written), kind)}, holder, dec_hook=from_text)
        return found.value  # type: ignore[attr-defined]
    except msgspec.ValidationError as wrong:
        message, path = explained(str(wrong), holder)
        if isinstance(kind, msgspec.inspect.DictType) and isinstance(written, Mapping):
            path = f".{next(iter(written))}"  # msgspec does not name the key
    except RecursionError:
        message, path = "is nested too deeply", ""
    if len(told) < MOST_TOLD:
        held = f"{HOLDS}{shown(kept)} holds" if kept is not None and kept is not msgspec.NODEFAULT else ""
        told.append(Finding(f"{at}{path.removeprefix('value')}", f"{message}{held}"))
    return kept


def shown(kept: Any) -> str:
    """A value for a message."""
    text = json.dumps(msgspec.to_builtins(kept, enc_hook=_written), ensure_ascii=False)
    return text if len(text) <= _SHOWN else "what was set before"


def _written(it: Any) -> str:
    return durations.written(it.nanoseconds) if isinstance(it, Duration) else repr(it)


@functools.cache
def _holder(kind: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct("_Holder", [("value", kind)])


def _number(written: Any, kind: msgspec.inspect.Type) -> Any:
    """Protobuf's JSON takes numbers as texts, too: ``concurrency: "2"``."""
    if isinstance(kind, msgspec.inspect.IntType) and isinstance(written, str) and len(written) < 20:
        return int(written) if written.removeprefix("-").isdecimal() and written.isascii() else written
    return written
