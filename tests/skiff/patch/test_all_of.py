"""A new object's fields in one walk: the same set as the general way finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skiff.patch.managed_fields import all_of, owned, tree
from skiff.schema.node import SchemaNode

_NAME, _ANY = SchemaNode(type="string"), SchemaNode(preserve_unknown=True)
_ITEM = SchemaNode(type="object", load=lambda: {"name": _NAME, "port": SchemaNode(default=80), "more": _ROOT})
_ROOT = SchemaNode(
    type="object",
    load=lambda: {
        "a": SchemaNode(type="array", list_type="map", list_keys=("name", "port"), items=_ITEM),
        "b": SchemaNode(type="array", list_type="set", items=_NAME),
        "c": SchemaNode(type="object", map_type="atomic", additional=_NAME),
        "d": SchemaNode(type="object", additional=_ROOT),
        "metadata": _ANY,
    },
)
_NAMES = st.sampled_from(["a", "b", "c", "d", "name", "port", "more", "metadata", "uid", "apiVersion", "k"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "x", "y"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(_NAMES, inside, max_size=4),
    max_leaves=20,
)


@pytest.mark.finding("issue 7 part 9")
@given(st.dictionaries(_NAMES, _VALUES, max_size=5))
def test_one_walk_finds_what_the_general_one_finds(obj: dict[str, Any]) -> None:
    assert all_of(obj, _ROOT) == tree(iter(sorted(owned(obj, _ROOT))))
