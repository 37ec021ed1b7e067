"""Whatever one field of an object becomes, the answer is yes or a refusal with fields in it; never a bug."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from good_objects import GOOD
from hypothesis import given, settings
from hypothesis import strategies as st

from skiff.apiserver.builtin import with_defaults
from skiff.apiserver.checks import check
from skiff.errors import ApiError
from skiff.kinds import NAMESPACES, Kind
from skiff.schema.pack import Schemas
from skiff.schema.walk import validate

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=8), st.sampled_from(
        ["", "a", "A", "-", "a.b", "10.0.0.1", "::1", "None", "ClusterIP", "100%", "1e400", "9" * 400, "/", "..", "\ud800", "a" * 300]),
    st.just([]), st.just({}), st.just([None]), st.just([{}]), st.just({"": None}), st.just({"a": "b"}), st.just([[]]), st.just(["", ""]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, it in items:
        yield from places(it, (*path, key))


def mutated(obj: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(obj)
    target = made
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return made


#: The registry names every object before it is checked.
CASES = [
    (kind, path)
    for kind, obj in GOOD.items()
    for path in places({**obj, "spec": obj.get("spec", {})})
    if path not in (("metadata",), ("metadata", "name"))
]


@pytest.mark.finding("issue 7 part 6")
@settings(max_examples=400, deadline=None)
@given(case=st.sampled_from(CASES), value=VALUES, change=st.booleans())
def test_one_field_is_something_else(
    schemas: Schemas, case: tuple[Kind, tuple[Any, ...]], value: Any, change: bool
) -> None:
    kind, path = case
    named = {"apiVersion": kind.api_version, "kind": kind.kind, **GOOD[kind]}
    named["metadata"] = {**named["metadata"], "namespace": "default"}
    named.setdefault("spec", {})
    odd = mutated(named, path, value)
    schema = schemas.for_kind(kind)
    of_metadata = schemas.for_kind(NAMESPACES).child("metadata")
    if not isinstance(odd["metadata"], dict) or validate(odd, schema):
        return  # whoever reads a body looks at its types first
    old = with_defaults(kind, named) if change else None
    refused = outcome(kind, with_defaults(kind, odd), old, schema, of_metadata)
    if refused and refused.code != 400:
        assert refused.code == 422
        assert refused.details
        assert all(it["reason"] and it["message"] for it in refused.details["causes"])
        assert len(refused.message) < 500_000


def outcome(*arguments: Any) -> ApiError | None:
    try:
        check(*arguments)
    except ApiError as refused:
        return refused
    return None


@settings(max_examples=100, deadline=None)
@given(
    value=VALUES,
    field=st.sampled_from(["labels", "annotations", "finalizers", "ownerReferences", "generateName"]),
)
def test_metadata_of_a_custom_kind_has_a_form_too(schemas: Schemas, value: Any, field: str) -> None:
    kind = Kind("example.com", "v1", "Thing", "things", custom=True)
    obj = {"metadata": {"name": "a", "namespace": "default", field: value}}
    refused = outcome(kind, obj, None, schemas.for_kind(kind), schemas.for_kind(NAMESPACES).child("metadata"))
    assert refused is None or refused.code in (400, 422)
    wanted = {
        "labels": dict,
        "annotations": dict,
        "finalizers": list,
        "ownerReferences": list,
        "generateName": str,
    }[field]
    assert refused or value is None or isinstance(value, wanted)
