"""By which numbers does Kubernetes call its fields in protobuf? Read out of the real kubectl, which is written in Go.

A Go program carries the names, types and tags of its structs (``runtime.types``, ``.typelink``), and Kubernetes' tags hold
the JSON name and the protobuf number. Usage: protobuf_fields.py KUBECTL > src/skiff/apiserver/protobuf_fields.txt
"""

from __future__ import annotations

import re
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from skiff.kinds import BUILT_IN

HEADER = """\
# The fields of Kubernetes' messages in protobuf. Made by tools/protobuf_fields.py from kubectl {version}; do not edit.
# [package], then one message a line: NAME number=field[:type][!] ...
# Types: none string, i integer, b boolean, y bytes, f float; []T list, {{}}T map, else a message (of the package, or a/b.NAME).
# A field without a name is inlined: its message's fields are those of the message around it. "!" keeps zero and empty values.
"""
_BOOL, _INTS, _FLOAT, _MAP, _POINTER, _SLICE, _STRING, _STRUCT = 1, range(2, 12), 14, 21, 22, 23, 24, 25
_PACKAGE = re.compile(
    r"k8s\.io/(?:api|apimachinery/pkg/apis|apiextensions-apiserver/pkg/apis|apimachinery/pkg)/(.+)"
)
_ROOTS = ("apps/v1.Scale", "autoscaling/v1.Scale", "policy/v1.Eviction", "core/v1.Binding", "authentication/v1.TokenRequest",
          "meta/v1.DeleteOptions", "meta/v1.CreateOptions", "meta/v1.UpdateOptions", "meta/v1.PatchOptions")  # fmt: skip
#: Named types that are messages of their own although they are no structs.
_LISTS = {"authentication/v1.ExtraValue", "authorization/v1.ExtraValue", "certificates/v1.ExtraValue"}


@dataclass
class GoType:
    """What we need of ``abi.Type``."""

    kind: int
    name: str  # apps/v1.Deployment; "" when it has none
    element: int = 0
    key: int = 0
    fields: list[tuple[str, int]] = field(default_factory=list)  # (tag, address of the type)


class GoBinary:
    """The types of a Go program for 64-bit ELF."""

    def __init__(self, content: bytes) -> None:
        self._bytes = content
        self._sections = _sections(content)
        self._origin = self._sections[".rodata"][0]
        self._known: dict[int, GoType] = {}

    def named(self) -> dict[str, GoType]:
        """All struct types of Kubernetes' API, by name."""
        _, offset, size = self._sections[".typelink"]
        waiting = [self._origin + it for it in struct.unpack_from(f"<{size // 4}i", self._bytes, offset)]
        while waiting:
            address = waiting.pop()
            if address and address not in self._known:
                it = self.type(address)
                waiting += [it.element, it.key, *(of for _, of in it.fields)]
        return {it.name: it for it in self._known.values() if it.kind == _STRUCT and it.name}

    def type(self, address: int) -> GoType:
        """The type at an address."""
        if address in self._known:
            return self._known[address]
        at = self._offset(address)
        flags, kind, name = self._bytes[at + 20], self._bytes[at + 23] & 31, self._name(at)
        made = self._known[address] = GoType(kind, name if flags & 4 else "")
        if kind in (_POINTER, _SLICE):
            made.element = self._word(at + 48)
        elif kind == _MAP:
            made.key, made.element = self._word(at + 48), self._word(at + 56)
        elif kind == _STRUCT and (first := self._word(at + 56)):
            fields = self._offset(first)
            for n in range(self._word(at + 64)):
                name_at, of = self._word(fields + 24 * n), self._word(fields + 24 * n + 8)
                made.fields.append((self._text(name_at, tag=True), of))
        return made

    def _name(self, at: int) -> str:
        flags, kind = self._bytes[at + 20], self._bytes[at + 23] & 31
        extra = {_STRUCT: 32, _SLICE: 8}.get(kind)
        if not flags & 1 or extra is None:
            return ""
        # The "uncommon" part, with the package, follows the part that depends on the kind.
        (package_at,) = struct.unpack_from("<i", self._bytes, at + 48 + extra)
        (name_at,) = struct.unpack_from("<i", self._bytes, at + 40)
        found = _PACKAGE.fullmatch(self._text(self._origin + package_at)) if package_at else None
        name = self._text(self._origin + name_at).rpartition(".")[2]
        return f"{found[1]}.{name}" if found else ""

    def _text(self, address: int, *, tag: bool = False) -> str:
        at = self._offset(address)
        text, end = self._counted(at + 1)
        if not tag:
            return text
        return self._counted(end)[0] if self._bytes[at] & 2 else ""

    def _counted(self, at: int) -> tuple[str, int]:
        size = shift = 0
        while True:
            byte = self._bytes[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return self._bytes[at : at + size].decode(errors="replace"), at + size

    def _word(self, at: int) -> int:
        found: int = struct.unpack_from("<Q", self._bytes, at)[0]
        return found

    def _offset(self, address: int) -> int:
        for start, offset, size in self._sections.values():
            if start <= address < start + size:
                return address - start + offset
        raise LookupError(hex(address))


def _sections(content: bytes) -> dict[str, tuple[int, int, int]]:
    """Address, offset and size of each loaded section."""
    (table,) = struct.unpack_from("<Q", content, 0x28)
    count, names = struct.unpack_from("<HH", content, 0x3C)
    headers = [struct.unpack_from("<IIQQQQ", content, table + 64 * n) for n in range(count)]
    texts = headers[names][4]

    def name(at: int) -> str:
        return content[texts + at : content.index(b"\0", texts + at)].decode()

    return {name(it[0]): (it[3], it[4], it[5]) for it in headers if it[3]}


def table(binary: GoBinary) -> dict[str, list[str]]:
    """Message -> its fields as they stand in the file, for all that the served kinds are made of."""
    known, made = binary.named(), {}
    waiting = [name for name in (*_kinds(known), *_ROOTS) if name in known]
    while waiting:
        name = waiting.pop()
        if name in made:
            continue
        listed = []
        for tag, address in known[name].fields:
            if entry := _field(binary, tag, address):
                number, text, used = entry
                listed.append((number, text))
                waiting += [it for it in used if it in known]
        made[name] = [text for _, text in sorted(listed)]
    return made


def _kinds(known: dict[str, GoType]) -> list[str]:
    """Go's names of the served kinds: the package is the group's first word, or "core"."""
    wanted = []
    for it in BUILT_IN:
        word = it.group.split(".")[0] or "core"
        wanted.append(f"{word}/{it.version}.{it.kind}")
    return [it for it in wanted if it in known]


def _field(binary: GoBinary, tag: str, address: int) -> tuple[int, str, list[str]] | None:
    words = dict(re.findall(r'(\w+):"([^"]*)"', tag))
    number = re.match(r"\w+,(\d+),", words.get("protobuf", ""))
    if not number:
        return None
    name, *options = words.get("json", "").split(",")
    used: list[str] = []
    kind = binary.type(address)
    shown = _shown(binary, address, used)
    keeps = kind.kind == _POINTER or not ({"omitempty", "omitzero"} & set(options))
    single = name and shown[:2] not in ("[]", "{}")
    return (
        int(number[1]),
        f"{number[1]}={name}{':' if shown else ''}{shown}{'!' if keeps and single else ''}",
        used,
    )


def _shown(binary: GoBinary, address: int, used: list[str]) -> str:
    it = binary.type(address)
    if it.name in _LISTS:
        return "[]Items"
    match it.kind:
        case _ if it.kind == _POINTER:
            return _shown(binary, it.element, used)
        case _ if it.kind == _SLICE:
            if binary.type(it.element).kind == 8:  # bytes
                return "y"
            return f"[]{_shown(binary, it.element, used)}"
        case _ if it.kind == _MAP:
            return f"{{}}{_shown(binary, it.element, used)}"
        case _ if it.kind == _STRUCT:
            used.append(it.name)
            return it.name
        case _ if it.kind == _BOOL:
            return "b"
        case _ if it.kind == _FLOAT:
            return "f"
        case _ if it.kind in _INTS:
            return "i"
    return ""


def main() -> None:
    """Print the table."""
    path = Path(sys.argv[1])
    found = table(GoBinary(path.read_bytes()))
    lines, package = [HEADER.format(version="1.37").rstrip()], ""
    for name in sorted(found):
        own, _, message = name.rpartition(".")
        if own != package:
            package = own
            lines.append(f"[{package}]")
        lines.append(" ".join([message, *(it.replace(f"{package}.", "") for it in found[name])]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
