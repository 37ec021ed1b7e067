"""Bodies in protobuf: the table is the one of the installed kubectl, and nothing is dropped in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.apiserver import protobuf
from skiff.apiserver.protobuf import UnknownKindError, UnreadableError, decode

ROOT = Path(__file__).resolve().parents[3]
KUBECTL = Path(sys.executable).with_name("kubectl")


def test_the_table_is_what_the_installed_kubectl_says() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "protobuf_fields.py", KUBECTL],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert made == (ROOT / "src/skiff/apiserver/protobuf_fields.txt").read_text()


def number(n: int) -> bytes:
    made = b""
    while n > 127:
        made += bytes([n & 127 | 128])
        n >>= 7
    return made + bytes([n])


def octets(field: int, content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return number(field << 3 | 2) + number(len(raw)) + raw


def varint(field: int, value: int) -> bytes:
    return number(field << 3) + number(value & (1 << 64) - 1)


def body(version: str, kind: str, message: bytes) -> bytes:
    return protobuf.MAGIC + octets(1, octets(1, version) + octets(2, kind)) + octets(2, message)


NAMED = octets(1, octets(1, "a"))


@pytest.mark.parametrize(
    ("version", "kind", "message", "wanted"),
    [
        ("v1", "ConfigMap", octets(2, octets(1, "k") + octets(2, "v")) + octets(2, octets(1, "empty")), {"data": {"k": "v", "empty": ""}}),
        ("v1", "Secret", octets(2, octets(1, "k") + octets(2, b"\x00\xff")) + octets(3, "Opaque"), {"data": {"k": "AP8="}, "type": "Opaque"}),
        ("v1", "Service", octets(2, octets(1, varint(3, 80) + octets(4, varint(1, 1) + octets(3, "http")))),
         {"spec": {"ports": [{"port": 80, "targetPort": "http"}]}}),
        ("v1", "Service", octets(2, octets(1, varint(3, 80) + octets(4, varint(1, 0) + varint(2, 8080)))),
         {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}),
        ("v1", "Pod", octets(2, octets(1, octets(1, "v") + octets(2, octets(2, b"")))), {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        ("v1", "Pod", octets(2, varint(4, 0) + varint(11, 0) + octets(3, "")), {"spec": {"terminationGracePeriodSeconds": 0}}),
        ("v1", "Pod", octets(2, varint(25, -5)), {"spec": {"priority": -5}}),
        ("v1", "Pod", octets(2, octets(2, octets(1, "c") + octets(8, octets(1, octets(1, "cpu") + octets(2, octets(1, "1")))))),
         {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}}),
        ("coordination.k8s.io/v1", "Lease", octets(2, octets(4, varint(1, 1700000000) + varint(2, 5000))),
         {"spec": {"renewTime": "2023-11-14T22:13:20.000005Z"}}),
        ("apps/v1", "ControllerRevision", octets(2, octets(1, b'{"a":1}')) + varint(3, 4), {"data": {"a": 1}, "revision": 4}),
    ],
)  # fmt: skip
def test_kinds_of_fields(version: str, kind: str, message: bytes, wanted: dict[str, object]) -> None:
    found, unknown = decode(body(version, kind, NAMED + message))
    assert found == {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, **wanted}
    assert unknown == []


def test_options_are_known_under_the_name_of_every_group() -> None:
    found, _ = decode(body("apps/v1", "DeleteOptions", octets(4, "Foreground") + varint(1, 0)))
    assert found == {
        "apiVersion": "apps/v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "gracePeriodSeconds": 0,
    }


def test_what_is_not_known_is_told_with_its_place() -> None:
    newer = octets(1, octets(1, "a") + octets(99, "x")) + varint(77, 1)
    assert decode(body("v1", "ConfigMap", newer))[1] == ["ConfigMap.metadata[99]", "ConfigMap[77]"]


def test_a_kind_without_table_is_refused() -> None:
    with pytest.raises(UnknownKindError, match="Nope in version 'x/v1'"):
        decode(body("x/v1", "Nope", b""))


@given(st.binary(max_size=200))
def test_broken_bytes_are_refused_or_read_and_never_anything_else(raw: bytes) -> None:
    for kind in ("Pod", "Service"):
        try:
            decode(body("v1", kind, raw))
        except (UnreadableError, ValueError, OverflowError):
            continue
    with pytest.raises(UnreadableError):
        decode(b"{}" + raw)
