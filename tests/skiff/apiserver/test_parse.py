"""What bodies mean: YAML as sigs.k8s.io/yaml reads it, and the bounds of what is read."""

from __future__ import annotations

from typing import Any

import pytest

from skiff.apiserver import selectors
from skiff.apiserver.parse import MAX_DEPTH, Form, from_yaml, parse
from skiff.errors import ApiError
from skiff.kinds import PODS
from skiff.patch import json_patch, strategic_merge_patch
from skiff.schema.decode import MismatchError, decoded
from skiff.schema.node import SchemaNode
from skiff.schema.pack import Schemas, load
from skiff.schema.walk import validate

pytestmark = pytest.mark.finding("issue 7 part 3")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 'y', 2.5, -3]", {"a": 1, "b": ["x", "y", 2.5, -3]}), ("a: yes\nb: Off\nc: oN", {"a": True, "b": False, "c": "oN"}),
        ("a: ~\nb:\nc: null\nd: ''", {"a": None, "b": None, "c": None, "d": ""}), ("a: 0x1F\nb: 0777\nc: 0o17\nd: 1_000", {"a": 31, "b": 511, "c": 15, "d": 1000}),
        ("a: 80:80\nb: 1.2.3\nc: 2020-01-01", {"a": "80:80", "b": "1.2.3", "c": "2020-01-01"}), ("1: a\ntrue: b\nx: c", {"1": "a", "true": "b", "x": "c"}),
        ("a: !!str 5\nb: |\n  x\n  y\n", {"a": "5", "b": "x\ny\n"}), ("a: 1e3\nb: .inf\nc: 08", {"a": 1000.0, "b": ".inf", "c": 8.0}),
        ("--- \n{}\n", {}), ("", None), ("- a\n- {b: c}", ["a", {"b": "c"}]), ("a: 99999999999999999999", {"a": 1e20}),
    ],
)  # fmt: skip
def test_yaml_is_read_as_kubernetes_reads_it(text: str, value: Any) -> None:
    assert from_yaml(text.encode()) == (value, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x", "aliases"), ("<<: {a: b}", "merge keys"), ("a: !!binary aaaa", "tag"), ("a: 1\n---\nb: 2", "one document"),
        ("? [a]\n: b", "key must be a string"), ("[" * 300, "nest"), ("a: " + "9" * 5000, "digits"), ("a: [", "recognized"), ("\x00", "recognized"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        parse(Form.YAML, text.encode(), twice=False)
    assert refused.value.code == 400


def test_names_that_are_there_twice_are_told() -> None:
    assert parse(Form.YAML, b"a: 1\nb: {c: 1, c: 2}\na: 3", twice=True).twice == ["c", "a"]
    assert parse(Form.JSON, b'{"a":1,"b":{"c":1,"c":2},"a":3}', twice=True).twice == ["c", "a"]


@pytest.mark.parametrize("form", [Form.JSON, Form.YAML])
def test_depth_is_bounded(form: Form) -> None:
    def body(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    assert parse(form, body(MAX_DEPTH), twice=True).value
    for depth in (MAX_DEPTH + 2, 100_000):
        with pytest.raises(ApiError, match="nested too deeply"):
            parse(form, body(depth), twice=True)


def test_patterns_take_linear_time() -> None:
    """Python's own engine would search longer than the universe is old."""
    node = SchemaNode(type="string", limits={"pattern": "^(a+)+$"})
    assert validate("a" * 100_000 + "b", node)
    assert not validate("a" * 100_000, node)
    assert validate("x", SchemaNode(type="string", limits={"pattern": "(?=x)"}))  # RE2 does not know it


def test_copies_of_a_patch_are_bounded() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(100)]
    with pytest.raises(ApiError, match="accumulated size increase of copy") as refused:
        json_patch({"a": "x" * 1000}, doubling)
    assert refused.value.code == 413
    with pytest.raises(ApiError, match="moves too many"):
        json_patch({"a": [0] * 200_000}, [{"op": "add", "path": "/a/0", "value": 1}] * 9_000)


def test_strategic_merge_keeps_its_rules(tmp_path_factory: pytest.TempPathFactory) -> None:
    schema = Schemas(load(tmp_path_factory.getbasetemp() / "schemas.json.gz")).for_kind(PODS)
    old = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}, {"name": "c"}]}}
    patch = {"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}, {"name": "a"}],
                      "containers": [{"name": "d"}, {"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}]}}  # fmt: skip
    made = strategic_merge_patch(old, patch, schema)
    assert made["spec"]["containers"] == [{"name": "d"}, {"name": "c"}, {"name": "a", "image": "2"}]
    for broken in (
        {"$retainKeys": 1},
        {"$setElementOrder/finalizers": {}},
        {"$deleteFromPrimitiveList/finalizers": "a"},
    ):
        with pytest.raises(ApiError) as refused:
            strategic_merge_patch({"metadata": {"finalizers": ["a"]}}, {"metadata": broken}, schema)
        assert refused.value.code == 400


def test_types_are_looked_at_as_go_does(tmp_path_factory: pytest.TempPathFactory) -> None:
    schema = Schemas(load(tmp_path_factory.getbasetemp() / "schemas.json.gz")).for_kind(PODS)
    made = decoded(
        {"metadata": {"name": None, "labels": None}, "spec": {"containers": [None], "hostPID": None}, "x": 1},
        schema,
    )
    assert made == {"metadata": {}, "spec": {"containers": [{}]}}
    wrong = [
        ({"spec": []}, "array into Go struct field .spec of type"), ({"spec": {"priority": 2**31}}, "of type int32"),
        ({"metadata": {"labels": {"a": 1}}}, "number 1 into Go struct field .metadata.labels.a of type string"),
        ({"spec": {"hostPID": "true"}}, "of type bool"), ({"metadata": {"creationTimestamp": "2020-02-31T00:00:00Z"}}, "parsing time"),
    ]  # fmt: skip
    for obj, said in wrong:
        with pytest.raises(MismatchError, match=said):
            decoded(obj, schema)


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("a=1,b!=2", {"a": "1"}, True), ("a=1,b!=2", {"a": "1", "b": "2"}, False), ("a in (1,2),a!=2", {"a": "2"}, False),
        ("a in (1,2),a in (2,3)", {"a": "2"}, True), ("a in (1,2),a in (2,3)", {"a": "1"}, False), ("a notin (1)", {}, True),
        ("!a", {"a": ""}, False), ("!a,b", {"b": ""}, True), ("a,!a", {"a": ""}, False), ("a,!a", {}, False), ("a==,b", {"a": "", "b": "1"}, True),
        ("", {}, True),
    ],
)  # fmt: skip
def test_label_selectors(text: str, labels: dict[str, str], fits: bool) -> None:
    assert selectors.by_labels(text)({"metadata": {"labels": labels}}) is fits


@pytest.mark.parametrize("text", ["a in (b", "a)b", "a in b", "=x", "a=b=c"])
def test_label_selectors_that_are_none(text: str) -> None:
    with pytest.raises(ApiError):
        selectors.by_labels(text)
