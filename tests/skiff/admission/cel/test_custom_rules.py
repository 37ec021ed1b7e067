"""Rules of CustomResourceDefinitions: compiled when they are stored, held by every object."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lateen.api import crds
from skiff.errors import ApiError
from skiff.kinds import CUSTOM_RESOURCE_DEFINITIONS, Kind

if TYPE_CHECKING:
    from ..conftest import Served

pytestmark = [pytest.mark.finding("skiff input 10"), pytest.mark.finding("issue 7 part 5")]

Schema = dict[str, Any]
INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def definition(spec: Schema, **more: Any) -> dict[str, Any]:
    root = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", **spec},
            "status": {"type": "object", "properties": {"n": INTEGER}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {**root, **more}},
        "subresources": {"status": {}},
    }
    names = {"kind": "Boat", "plural": "boats"}
    return {
        "metadata": {"name": "boats.sea.example"},
        "spec": {"group": "sea.example", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def boats(served: Served) -> Kind:
    return served.kinds["sea.example", "v1", "boats"]


def boat(name: str = "b", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def ruled(*rules: Schema, **properties: Schema) -> dict[str, Any]:
    return definition({"properties": properties, "x-kubernetes-validations": list(rules)})


def test_a_rule_between_two_fields(served: Served) -> None:
    served.made(
        CUSTOM_RESOURCE_DEFINITIONS,
        ruled(
            {"rule": "!has(self.m) || self.m <= self.num", "message": "m is at most num"},
            m=INTEGER,
            num=INTEGER,
        ),
    )
    said = served.refused(lambda: served.made(boats(served), boat(m=5, num=2)))
    assert (said.code, said.message) == (
        422,
        'Boat.sea.example "b" is invalid: spec: Invalid value: "object": m is at most num',
    )
    assert said.status()["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": 'Invalid value: "object": m is at most num',
            "field": "spec",
        }
    ]
    assert served.made(boats(served), boat(m=1, num=2))["spec"] == {"m": 1, "num": 2}


@pytest.mark.parametrize(
    ("rules", "good", "bad", "said"),
    [
        ([{"rule": "self.num > 1"}], {"num": 2}, {"num": 1}, 'spec: Invalid value: "object": failed rule: self.num > 1'),
        ([{"rule": "self.num > 1", "messageExpression": "'%d is too few'.format([self.num])", "message": "no"}], {"num": 2}, {"num": 1}, "1 is too few"),
        ([{"rule": "self.num > 1", "messageExpression": "self.texts[9]", "message": "plain"}], {"num": 2}, {"num": 1, "texts": []}, ": plain"),
        ([{"rule": "self.num > 1", "reason": "FieldValueForbidden", "fieldPath": ".num"}], {"num": 2}, {"num": 1}, "spec.num: Forbidden: failed rule"),
        ([{"rule": "self.num > 1", "reason": "FieldValueRequired"}], {"num": 2}, {"num": 1}, "spec: Required value: failed rule"),
        ([{"rule": "self.num > 1", "reason": "FieldValueDuplicate"}], {"num": 2}, {"num": 1}, 'spec: Duplicate value: "object"'),
        ([{"rule": "self.num / self.div == 1", "message": "div"}], {"num": 2, "div": 2}, {"num": 2, "div": 0}, "division by zero evaluating rule: div"),
        ([{"rule": "self.m > 0"}], {"m": 1}, {}, "no such key: m evaluating rule"),
        ([{"rule": "self.port.matches('a')"}], {"port": "a"}, {"port": 5}, "call arguments did not match a supported operator, function or macro"),
        ([{"rule": "type(self.port) == int ? self.port < 10 : self.port == 'x'"}], {"port": "x"}, {"port": 10}, "failed rule"),
        ([{"rule": "self.big__dash__one == 1 && self.__namespace__ == 'x' && self.a__dot__b__underscores__c__slash__d == 2"}],
         {"big-one": 1, "namespace": "x", "a.b__c/d": 2}, {"big-one": 2, "namespace": "x", "a.b__c/d": 2}, "failed rule"),
        ([{"rule": "self.when > timestamp('2020-01-01T00:00:00Z') && self.span < duration('1h') && self.raw == b'abc'"}],
         {"when": "2021-01-01T00:00:00Z", "span": "5m", "raw": "YWJj"}, {"when": "2019-01-01T00:00:00Z", "span": "5m", "raw": "YWJj"}, "failed rule"),
        ([{"rule": "self.ratio * 2.0 > 2.0"}], {"ratio": 2}, {"ratio": 1}, "failed rule"),
        ([{"rule": "self.map.all(k, self.map[k] > 0) && 'a' in self.map"}], {"map": {"a": 1}}, {"map": {"a": 0}}, "failed rule"),
        ([{"rule": "self.texts.all(it, it.size() < 3)"}], {"texts": ["a"]}, {"texts": ["aaa"]}, "failed rule"),
        ([{"rule": "!has(self.maybe) || self.maybe == null || self.maybe > 2"}], {"maybe": None}, {"maybe": 2}, "failed rule"),
    ],
)  # fmt: skip
def test_rules(served: Served, rules: list[Schema], good: Any, bad: Any, said: str) -> None:
    fields = {
        "num": INTEGER, "m": INTEGER, "div": INTEGER, "port": {"x-kubernetes-int-or-string": True}, "big-one": INTEGER, "namespace": STRING,
        "a.b__c/d": INTEGER, "when": {**STRING, "format": "date-time"}, "span": {**STRING, "format": "duration"}, "raw": {**STRING, "format": "byte"},
        "ratio": {"type": "number"}, "map": {"type": "object", "additionalProperties": INTEGER}, "texts": {"type": "array", "items": STRING},
        "maybe": {**INTEGER, "nullable": True},
    }  # fmt: skip
    served.made(CUSTOM_RESOURCE_DEFINITIONS, ruled(*rules, **fields))
    served.made(boats(served), boat("good", **good))
    assert said in served.refused(lambda: served.made(boats(served), boat("bad", **bad))).message


def test_rules_of_items_values_and_of_the_whole(served: Served) -> None:
    crew = {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["who"],
        "items": {"type": "object", "required": ["who"], "properties": {"who": STRING, "age": INTEGER},
                  "x-kubernetes-validations": [{"rule": "self.age >= oldSelf.age", "message": "nobody gets younger"}]},
    }  # fmt: skip
    sails = {
        "type": "object",
        "additionalProperties": {
            **INTEGER,
            "x-kubernetes-validations": [{"rule": "self > 0", "message": "more"}],
        },
    }
    made = definition(
        {"properties": {"crew": crew, "sails": sails}},
        **{
            "x-kubernetes-validations": [
                {
                    "rule": "self.metadata.name.startsWith('b') && self.kind == 'Boat'",
                    "message": "a name with b",
                }
            ]
        },
    )
    served.made(CUSTOM_RESOURCE_DEFINITIONS, made)
    assert (
        '<nil>: Invalid value: "object": a name with b'
        in served.refused(lambda: served.made(boats(served), boat("x"))).message
    )
    assert (
        'spec.sails[big]: Invalid value: "integer": more'
        in served.refused(lambda: served.made(boats(served), boat(sails={"big": 0}))).message
    )
    stored = served.made(boats(served), boat(crew=[{"who": "ann", "age": 3}, {"who": "bob", "age": 3}]))
    changed = {**stored, "spec": {"crew": [{"who": "bob", "age": 2}, {"who": "eve", "age": 1}]}}
    said = served.refused(lambda: served.put(boats(served), changed)).message
    assert said.endswith('spec.crew[0]: Invalid value: "object": nobody gets younger')


def test_rules_about_changes(served: Served) -> None:
    """They hold only where there was a value before, unless they say that they need none; what did not change is left alone."""
    never = {"rule": "self.num == oldSelf.num", "message": "num stays"}
    first = {
        "rule": "oldSelf.hasValue() || self.num < 10",
        "optionalOldSelf": True,
        "message": "small at first",
    }
    served.made(CUSTOM_RESOURCE_DEFINITIONS, ruled(never, first, num=INTEGER, free=INTEGER))
    assert "small at first" in served.refused(lambda: served.made(boats(served), boat(num=10))).message
    stored = served.made(boats(served), boat(num=3))
    assert (
        "num stays"
        in served.refused(lambda: served.put(boats(served), {**stored, "spec": {"num": 4}})).message
    )
    served.put(boats(served), {**stored, "spec": {"num": 3, "free": 1}})
    held = served.run(
        _replaced(served, ruled({"rule": "self.num > 5", "message": "more"}, num=INTEGER, free=INTEGER))
    )
    assert held["spec"]["num"] == 3  # stored before the rule: what did not change is not asked again
    served.put(boats(served), {**held, "metadata": {**held["metadata"], "labels": {"a": "b"}}})
    assert (
        ": more"
        in served.refused(
            lambda: served.put(
                boats(served), {**held, "metadata": {"name": "b", "namespace": "default"}, "spec": {"num": 4}}
            )
        ).message
    )


async def _replaced(served: Served, made: dict[str, Any]) -> Any:
    await served.update(CUSTOM_RESOURCE_DEFINITIONS, "", "boats.sea.example", made)
    return served.get(boats(served), "default", "b")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"rule": "self.nope == 1"}, "compilation failed: ERROR: <input>:1:5: undefined field 'nope'"), ({"rule": "self.num +"}, "Syntax error"),
        ({"rule": "self.num"}, "cel expression must evaluate to a bool"), ({"rule": "self.num == 'a'"}, "found no matching overload"),
        ({"rule": ""}, "rule is not specified"), ({"rule": "true", "message": "a\nb"}, "must not contain line breaks"),
        ({"rule": "true", "reason": "Why"}, 'Unsupported value: "Why"'), ({"rule": "true", "fieldPath": ".nope"}, "does not refer to a valid field"),
        ({"rule": "true", "messageExpression": "self.num"}, "messageExpression must evaluate to a string"),
        ({"rule": "true", "messageExpression": "1 +"}, "messageExpression compilation failed"),
        ({"rule": "nobody(self)"}, "undeclared reference to 'nobody'"), ({"rule": "self.free.x == 1"}, "undefined field 'x'"),
        ({"rule": "oldSelf.hasValue()"}, "compilation failed"), ({"rule": "self." + "a" * 30_000 + " == 1"}, "more than 20000 characters"),
    ],
)  # fmt: skip
def test_a_definition_with_a_rule_that_is_none(served: Served, rule: Schema, said: str) -> None:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    refused = served.refused(
        lambda: served.made(CUSTOM_RESOURCE_DEFINITIONS, ruled(rule, num=INTEGER, free=free))
    )
    assert refused.code == 422
    assert said in refused.message
    assert "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]." in refused.message
    assert ("sea.example", "v1", "boats") not in served.kinds


def test_old_values_of_lists_without_keys_are_unknown(served: Served) -> None:
    items = {**STRING, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    made = definition({"properties": {"texts": {"type": "array", "items": items}}})
    said = served.refused(lambda: served.made(CUSTOM_RESOURCE_DEFINITIONS, made)).message
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema" in said


def test_what_would_run_long_is_done_aside_and_has_an_end(served: Served) -> None:
    loop = {"rule": "self.texts.all(a, self.texts.all(b, a == b || self.s.contains(a)))", "message": "long"}
    bomb = {"rule": "!has(self.s) || self.texts.map(a, self.s + a).size() > 0", "message": "wide"}
    served.made(
        CUSTOM_RESOURCE_DEFINITIONS, ruled(loop, bomb, s=STRING, texts={"type": "array", "items": STRING})
    )
    begun = time.perf_counter()
    said = served.refused(
        lambda: served.made(boats(served), boat(s="x" * 400_000, texts=[str(it) for it in range(9_000)]))
    ).message
    assert "cost" in said
    assert time.perf_counter() - begun < 60
    wide = boat(s="12" * 10_000, texts=["1"] * 90)
    assert served.made(boats(served), wide)["spec"] == wide["spec"]  # judged aside, and right


# --- the rules of Istio's kinds ------------------------------------------------------------------


@pytest.fixture
def documents(shared: Path) -> list[tuple[str, dict[str, Any]]]:
    folder = shared / "conformance" / "validation"
    return [
        (path.stem, it)
        for path in sorted(folder.glob("*.yaml"))
        for it in yaml.safe_load_all(
            path.read_text().replace("001:db8::]", '"001:db8::"]')
        )  # as kubectl reads it
        if it
    ]


def test_what_istio_refuses_skiff_refuses_by_the_definitions_alone(
    served: Served, documents: list[tuple[str, dict[str, Any]]]
) -> None:
    for it in crds.manifests():
        served.made(CUSTOM_RESOURCE_DEFINITIONS, json.loads(json.dumps(it)))
    wrong, refused, accepted = [], 0, 0
    for place, it in documents:
        it.pop("_err", None)
        group, _, version = it["apiVersion"].partition("/")
        kind = next(
            kind
            for key, kind in served.kinds.items()
            if key[:2] == (group, version) and kind.kind == it["kind"]
        )
        it["metadata"].setdefault("namespace", "default")
        try:
            served.run(served.create(kind, it["metadata"]["namespace"], it, dry_run=True))
            accepted += 1
            wrong += [f"{place}: accepted {it['metadata']['name']}"] if place.endswith("-invalid") else []
        except ApiError as said:
            refused += 1
            wrong += [f"{place}: {said.message}"] if place.endswith("-valid") else []
    assert wrong == []
    assert (refused, accepted) == (77, 35)
