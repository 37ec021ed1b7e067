"""Whatever is written, validation answers: it never raises, its paths lead somewhere, and it agrees with the schemas."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from lateen.api import crds
from lateen.api.decode import decode
from lateen.api.validate import RULES, validate
from lateen.names.problems import Problem, Severity
from lateen.testing.objects import document

KINDS = st.sampled_from(sorted(RULES))
WORDS = st.sampled_from(
    [
        "",
        "a",
        "*",
        "a.b",
        "host",
        "1s",
        "-1s",
        "80",
        "STRICT",
        "é",
        "\x00",
        "/",
        "(",
        "%",
        "a" * 300,
        "unix:///x",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | WORDS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, as the steps that lead there."""
    found = [above] if above else []
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return found + [it for step, inside in steps for it in places(inside, (*above, step))]


def put(tree: Any, steps: tuple[Any, ...], value: Any) -> None:
    for step in steps[:-1]:
        tree = tree[step]
    tree[steps[-1]] = value


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A document in order, in which a few things were changed."""
    made = document(draw(KINDS))
    for _ in range(draw(st.integers(1, 3))):
        put(
            made,
            draw(st.sampled_from([it for it in places(made) if it[0] in ("metadata", "spec")])),
            draw(JSON),
        )
    return made


@given(mutated())
@settings(max_examples=200, deadline=None)
def test_it_never_raises_and_its_paths_lead_somewhere(it: dict[str, Any]) -> None:
    kept = copy.deepcopy(it)
    for problem in validate(it):
        assert problem.message
        assert problem.path.startswith(("spec", "metadata")) or not problem.path
        assert problem.kind == it["kind"]
    assert it == kept


@given(KINDS, JSON)
@settings(max_examples=200, deadline=None)
def test_whatever_the_spec_is_there_is_an_answer(kind: str, spec: Any) -> None:
    it = document(kind)
    it["spec"] = spec
    if not isinstance(spec, dict):
        assert any(one.severity is Severity.ERROR for one in validate(it)) or (
            spec is None and not isinstance(decode(it), Problem)
        )
    else:
        validate(it)


CHECKS = {
    it["spec"]["names"]["kind"]: jsonschema_rs.validator_for(
        it["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    )
    for it in crds.manifests()
}


def null_free(tree: Any) -> bool:
    if isinstance(tree, dict):
        return all(it is not None and null_free(it) for it in tree.values())
    return all(null_free(it) for it in tree) if isinstance(tree, list) else not isinstance(tree, float)


@given(mutated())
@settings(max_examples=200, deadline=None)
def test_what_the_schema_refuses_is_refused_by_the_webhook(it: dict[str, Any]) -> None:
    """So that one who asks with --validate=false, or Istio's own definitions, gets the same answer.

    Null means absent to Kubernetes, and 1.0 is an integer to JSON schema: both are left out here.
    """
    it["metadata"] = {"name": "it", "namespace": "shop"}
    if null_free(it) and not CHECKS[it["kind"]].is_valid(it):
        assert any(one.severity is Severity.ERROR for one in validate(it))


@given(mutated())
@settings(max_examples=100, deadline=None)
def test_what_decodes_is_what_is_checked(it: dict[str, Any]) -> None:
    """An object that passes has a fact; one without a fact does not pass."""
    passes = not any(one.severity is Severity.ERROR for one in validate(it))
    assert not (passes and isinstance(decode(it), Problem))
