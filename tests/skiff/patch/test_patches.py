"""Three ways to change an object."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.errors import ApiError
from skiff.patch import json_patch, merge_patch, strategic_merge_patch
from skiff.schema.node import SchemaNode

CONTAINER = SchemaNode(type="object", load=lambda: {
    "ports": SchemaNode(type="array", merge_key="containerPort", merge_strategy="merge", items=SchemaNode(type="object")),
    "args": SchemaNode(type="array"),
})  # fmt: skip
POD = SchemaNode(type="object", load=lambda: {
    "containers": SchemaNode(type="array", merge_key="name", merge_strategy="merge", items=CONTAINER),
    "finalizers": SchemaNode(type="array", merge_strategy="merge"),
    "strategy": SchemaNode(type="object", merge_strategy="retainKeys"),
})  # fmt: skip
BEFORE = {"containers": [{"name": "a", "image": "1", "args": ["x", "y"]}, {"name": "b", "image": "1"}], "finalizers": ["p"],
          "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}  # fmt: skip


@pytest.mark.parametrize(
    ("patch", "after"),
    [
        ({"containers": [{"name": "b", "image": "2"}]},
         {"containers": [BEFORE["containers"][0], {"name": "b", "image": "2"}]}),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [BEFORE["containers"][1]]}),
        ({"containers": [{"$patch": "replace"}, {"name": "z"}]}, {"containers": [{"name": "z"}]}),
        ({"containers": [{"name": "a", "args": ["z"]}]},
         {"containers": [{"name": "a", "image": "1", "args": ["z"]}, BEFORE["containers"][1]]}),
        ({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "containers": [{"name": "c"}]},
         {"containers": [{"name": "c"}, BEFORE["containers"][1], BEFORE["containers"][0]]}),
        ({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
         {"containers": [BEFORE["containers"][1], BEFORE["containers"][0]]}),
        ({"finalizers": ["q"]}, {"finalizers": ["p", "q"]}),
        ({"$deleteFromPrimitiveList/finalizers": ["p"], "finalizers": ["q"]}, {"finalizers": ["q"]}),
        ({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}, {"strategy": {"type": "Recreate"}}),
        ({"strategy": None}, {"strategy": None}),
        ({"strategy": {"$patch": "replace", "type": "X"}}, {"strategy": {"type": "X"}}),
    ],
)  # fmt: skip
def test_strategic_merge(patch: dict[str, Any], after: dict[str, Any]) -> None:
    before = copy.deepcopy(BEFORE)
    expected = {key: value for key, value in {**BEFORE, **after}.items() if value is not None}
    assert strategic_merge_patch(before, patch, POD) == expected
    assert before == BEFORE, "the document is not changed"


@pytest.mark.parametrize(
    "patch", [{"$patch": "explode"}, {"containers": [{"image": "1"}]}, {"$boom": 1}, [1]]
)
def test_a_bad_strategic_patch_is_refused(patch: Any) -> None:
    with pytest.raises(ApiError) as refused:
        strategic_merge_patch(BEFORE, patch, POD)
    assert refused.value.code == 400


def test_json_patch_does_all_operations() -> None:
    before = {"a": [1, 2], "b/c": {"~": 1}}
    after = json_patch(before, [
        {"op": "test", "path": "/a/0", "value": 1}, {"op": "add", "path": "/a/-", "value": 3}, {"op": "remove", "path": "/a/0"},
        {"op": "replace", "path": "/b~1c/~0", "value": 2}, {"op": "copy", "from": "/a", "path": "/d"},
        {"op": "move", "from": "/d/0", "path": "/e"},
    ])  # fmt: skip
    assert after == {"a": [2, 3], "b/c": {"~": 2}, "d": [3], "e": 2}
    assert before == {"a": [1, 2], "b/c": {"~": 1}}
    assert json_patch(before, [{"op": "replace", "path": "", "value": 7}]) == 7


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 0}, {"op": "remove", "path": "/x"}, {"op": "add", "path": "/a/9", "value": 1},
        {"op": "boom", "path": "/a"}, {"op": "add", "path": "a", "value": 1}, {"op": "add", "path": "/a/01", "value": 1}, {"op": "add"},
    ],
)  # fmt: skip
def test_an_operation_that_cannot_be_done_is_named(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="operation 0") as refused:
        json_patch({"a": [1]}, [operation])
    assert refused.value.code == 422


json = st.recursive(
    st.integers(0, 2) | st.text("ab", max_size=1),
    lambda it: st.dictionaries(st.sampled_from("abc"), it, max_size=3),
    max_leaves=6,
)


@given(json, json)
def test_a_merge_patch_of_plain_values_leaves_what_it_says(document: Any, patch: Any) -> None:
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once
    assert merge_patch({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 2}}
