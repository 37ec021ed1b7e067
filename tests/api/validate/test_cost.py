"""What looking at an object costs: it grows with the object, never with its square, and a megabyte takes no second.

Documents are made from the types themselves, so that a field which is added later is tried, too: each list and each map
that a kind has, wherever it is, once with so many entries and once with twice as many.
"""

from __future__ import annotations

import functools
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect

from lateen.api import mesh_config
from lateen.api.decode import KINDS, STORED, present
from lateen.api.mesh_config import MeshConfig
from lateen.api.meta import Duration
from lateen.api.proxy_config import ProxyConfig
from lateen.api.validate import MOST_TOLD, RULES, limits, validate
from lateen.names.problems import Severity
from lateen.policy.unsupported import in_document
from lateen.testing.objects import document

MANY = 1_000
MEGABYTE = 1_000_000
#: Processor time; the issue's limit is one second, and this machine may be three times as slow as the one it was set for.
LONGEST_S = 3.0
#: Below this a ratio says nothing; what compares each of two thousand with each other takes longer.
NOISE_S = 0.2
TABLES = {it.__name__: it for it in {**KINDS, **STORED}.values() if it.__name__ in RULES}
API = {it.__name__: f"{group}/v1" for (group, _), it in {**KINDS, **STORED}.items()}

Steps = tuple[str, ...]


@functools.cache
def info(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def repeated(it: inspect.Type) -> list[Steps]:
    """The shortest way to each list and map; ``[]`` and ``{}`` are steps into their first entry.

    A type that is used in several places is looked into once.
    """
    found: list[Steps] = []
    seen: set[type] = set()
    rest: list[tuple[Steps, inspect.Type]] = [((), it)]
    while rest:
        above, one = rest.pop(0)
        match present(one):
            case inspect.StructType(cls=struct, fields=fields) if struct not in seen:
                seen.add(struct)
                rest += [((*above, field.encode_name), field.type) for field in fields]
            case inspect.ListType(item_type=item):
                found.append(above)
                rest.append(((*above, "[]"), item))
            case inspect.DictType(value_type=value):
                found.append(above)
                rest.append(((*above, "{}"), value))
    return found


#: By the names of fields, what passes the rules that stand in the way.
WORDS: dict[str, Callable[[int], str]] = {
    "hosts": lambda n: f"w{n}.example.com", "host": lambda n: f"w{n}.example.com", "sniHosts": lambda n: f"w{n}.example.com",
    "ipBlocks": lambda n: f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "addresses": lambda n: f"10.1.{n >> 8 & 255}.{n & 255}",
    "destinationSubnets": lambda n: f"10.2.{n >> 8 & 255}.{n & 255}", "paths": lambda n: f"/w/{n}/{{*}}",
    "regex": lambda n: f"/w{n}(a|b)*", "ports": lambda n: str(n), "from": lambda n: f"region{n}/zone/*",
    "gateways": lambda n: f"shop/gw{n}", "url": lambda n: f"oci://w{n}.example.com/a", "protocol": lambda n: "HTTP",
    "key": lambda n: f"request.headers[w{n}]", "retryOn": lambda n: "5xx,reset", "jwksUri": lambda n: "https://a.b/c",
    "portLevelMtls": lambda n: str(n + 1), "sha256": lambda n: "", "kind": lambda n: "Service", "group": lambda n: "",
}  # fmt: skip


def word(name: str, number: int) -> str:
    return WORDS.get(name, lambda n: f"w{n}")(number)


def made(it: inspect.Type, name: str, number: int, *, rich: bool) -> Any:
    """Something of a type; ``rich`` has all scalar fields, otherwise only those which are required or tell entries apart."""
    match present(it):
        case inspect.StructType(fields=fields):
            return {
                field.encode_name: made(field.type, field.encode_name, number, rich=rich)
                for field in fields
                if field.required or wanted(present(field.type), field.encode_name, rich=rich)
            }
        case inspect.StrType():
            return word(name, number)
        case inspect.IntType(ge=least):
            return max(least or 0, number % 60_000 + 1) if name in ("number", "port") else max(least or 0, 1)
        case inspect.FloatType():
            return 1.0
        case inspect.BoolType():
            return True
        case inspect.EnumType(cls=choices):
            return list(choices)[-1].value
        case inspect.CustomType(cls=kind) if kind is Duration:
            return "1s"
        case inspect.ListType(item_type=item):
            return [made(item, name, number, rich=rich)]
        case inspect.DictType(value_type=value):
            return {word(name, number): made(value, name, number, rich=rich)}
    return {"a": number}


def wanted(it: inspect.Type, name: str, *, rich: bool) -> bool:
    if name in ("name", "number", "port", "destination", "source", "operation"):
        return True
    return rich and isinstance(
        it, inspect.StrType | inspect.IntType | inspect.FloatType | inspect.StructType | inspect.ListType
    )


def filled(it: inspect.Type, way: Steps, count: int, name: str = "", *, rich: bool) -> Any:
    """Something of a type whose list or map at the end of the way has so many entries."""
    it = present(it)
    if not way:
        if isinstance(it, inspect.ListType):
            return [made(it.item_type, name, n, rich=rich) for n in range(count)]
        assert isinstance(it, inspect.DictType)
        return {word(name, n): made(it.value_type, name, n, rich=rich) for n in range(count)}
    step, *further = way
    rest = tuple(further)
    if isinstance(it, inspect.ListType):
        return [filled(it.item_type, rest, count, name, rich=rich)]
    if isinstance(it, inspect.DictType):
        return {word(name, 0): filled(it.value_type, rest, count, name, rich=rich)}
    assert isinstance(it, inspect.StructType)
    base = made(it, name, 0, rich=False)
    field = next(one for one in it.fields if one.encode_name == step)
    return {**base, step: filled(field.type, rest, count, step, rich=rich)}


def spec_type(kind: str) -> inspect.Type:
    found = info(TABLES[kind])
    assert isinstance(found, inspect.StructType)
    return next(it.type for it in found.fields if it.name == "spec")


def object_with(kind: str, way: Steps, count: int, *, rich: bool) -> dict[str, Any]:
    """The kind's document in order, changed at the first step of the way; new fields come with what they need."""
    found = document(kind)
    found["spec"] = {**found["spec"], way[0]: filled(spec_type(kind), way, count, rich=rich)[way[0]]}
    return found


def looked_at(it: dict[str, Any]) -> None:
    validate(it)
    in_document(it)


def spent(work: Callable[[], object]) -> float:
    """Seconds of processor, without Python's collector, which looks at all that other tests hold."""
    gc.disable()
    try:
        before = time.process_time()
        work()
        return time.process_time() - before
    finally:
        gc.enable()


def assert_linear(once: Callable[[], object], twice: Callable[[], object], said: str) -> None:
    """Doubled input costs less than three times as much; tried again when a busy machine says otherwise."""
    for _ in range(5):
        if (two := spent(twice)) < NOISE_S or two < 3 * (one := spent(once)):
            return
    raise AssertionError(f"{said}: {one:.3f} s, and {two:.3f} s for twice as much")


#: Each list and map of each kind, by the shortest way to it.
FIELDS = sorted((kind, way) for kind in TABLES for way in repeated(spec_type(kind)))


@pytest.mark.finding("security 2")
@pytest.mark.parametrize("kind", sorted(TABLES))
def test_twice_as_many_entries_cost_twice_as_much(kind: str) -> None:
    ways = [way for it, way in FIELDS if it == kind]
    assert ways
    for way in ways:
        for rich in (False, True):
            one, two = (object_with(kind, way, n, rich=rich) for n in (MANY, 2 * MANY))
            assert_linear(lambda: looked_at(one), lambda: looked_at(two), f"{kind} {'.'.join(way)}")  # noqa: B023


@pytest.mark.finding("security 2")
@pytest.mark.parametrize("kind", sorted(TABLES))
def test_a_megabyte_takes_no_second(kind: str) -> None:
    for way in (way for it, way in FIELDS if it == kind):
        hundred, one = (len(json.dumps(object_with(kind, way, n, rich=True))) for n in (101, 1))
        count = max(1, min(MEGABYTE * 100 // (hundred - one), limits.MOST_WORDS))
        while next(limits.bounds(it := object_with(kind, way, count, rich=True)), None):
            count //= 2  # what is refused at once says nothing of the rules
        assert spent(lambda: validate(it)) < LONGEST_S, (kind, way, count)  # noqa: B023
        assert spent(lambda: in_document(it)) < LONGEST_S, (kind, way, count)  # noqa: B023


def routes(count: int, **spec: Any) -> dict[str, Any]:
    found = document("VirtualService")
    found["spec"] = {
        "hosts": ["a"],
        "http": [
            {"match": [{"uri": {"exact": f"/{n}"}}], "route": [{"destination": {"host": "b"}}]}
            for n in range(count)
        ],
        **spec,
    }
    return found


HOSTILE: dict[str, Callable[[int], dict[str, Any]]] = {
    "routes": routes,
    "routes that cover each other": lambda n: routes(0, http=[
        {"match": [{"uri": {"prefix": "/" + "a" * (i % 50)}, "headers": {f"h{k}": {} for k in range(i % 20)}}],
         "route": [{"destination": {"host": "b"}}]} for i in range(n)]),
    "hosts": lambda n: routes(1, hosts=[f"a{i}.example.com" for i in range(n)]),
    "wildcards": lambda n: routes(1, hosts=[f"*{'a' * (i % 200)}{i}.com" for i in range(n)]),
    "hosts of one wildcard": lambda n: routes(1, hosts=["*.com", *(f"a{i}.com" for i in range(n))]),
    "sni hosts": lambda n: routes(0, hosts=[f"*{i}.example.com" for i in range(n)], tls=[
        {"match": [{"sniHosts": [f"a{i}.example.com" for i in range(n)]}], "route": [{"destination": {"host": "b"}}]}]),
    "sni hosts of others": lambda n: routes(0, hosts=[f"{i}.example.com" for i in range(n)], tls=[
        {"match": [{"sniHosts": [f"a{i}.example.org" for i in range(n)]}], "route": [{"destination": {"host": "b"}}]}]),
    "tcp": lambda n: routes(0, tcp=[{"match": [{"port": i + 1}], "route": [{"destination": {"host": "b"}}]} for i in range(n)]),
    "unknown fields": lambda n: routes(1, **{f"htpp{i}": i for i in range(n)}),
    "unknown fields everywhere": lambda n: routes(0, http=[{f"rout{i}": 1} for i in range(n)]),
    "wrong types": lambda n: routes(0, http=[{"timeout": i} for i in range(n)]),
    "wrong fields of one rule": lambda n: routes(0, http=[{"match": [{"headers": {f"h{i}": i for i in range(n)}}]}]),
    "expressions": lambda n: routes(0, http=[{"match": [{"uri": {"regex": "(a|b)?" * 10 + str(i)}}]} for i in range(min(n, 1500))]),
    "brackets": lambda n: routes(0, http=[{"match": [{"uri": {"regex": "[" * 900 + str(i)}}]} for i in range(min(n, 100))]),
    "a long text": lambda n: routes(1, hosts=["a" * n]),
    "a long name": lambda n: routes(1, **{"a" * n: 1}),
    "a long duration": lambda n: routes(0, http=[{"timeout": "9" * n + "s"}]),
    "a long number": lambda n: {**document("AuthorizationPolicy"), "spec": {"rules": [{"to": [{"operation": {"ports": ["9" * n]}}]}]}},
    "deep keys": lambda n: {**document("RequestAuthentication"), "spec": {"jwtRules": [{"issuer": "i", "jwks": "[" * n}]}},
    "maglev": lambda n: {**document("DestinationRule"), "spec": {"host": "a", "subsets": [
        {"name": f"s{i}", "trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 4_999_999 - i}}}}}
        for i in range(min(n, 900))]}},
    "localities": lambda n: {**document("DestinationRule"), "spec": {"host": "a", "trafficPolicy": {"loadBalancer": {"localityLbSetting": {
        "distribute": [{"from": f"r{i}/z/*", "to": {f"r{k}/z": 1 for k in range(3)}} for i in range(n)]}}}}},
}  # fmt: skip


@pytest.mark.finding("security 2")
@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_what_was_found_by_attack_costs_in_proportion(what: str) -> None:
    one, two = HOSTILE[what](MANY), HOSTILE[what](2 * MANY)
    assert_linear(lambda: looked_at(one), lambda: looked_at(two), what)
    largest = HOSTILE[what](20_000)
    assert spent(lambda: validate(largest)) < LONGEST_S


@pytest.mark.finding("security 2")
@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_only_so_much_is_told_and_each_briefly(what: str) -> None:
    for strict in (True, False):
        found = validate(HOSTILE[what](4_000), strict=strict)
        assert len(found) <= 2 * MOST_TOLD + 20
        assert all(len(it.message) <= 500 and len(it.path) <= 500 for it in found)


@pytest.mark.finding("security 2")
def test_warnings_in_plenty_hide_no_error() -> None:
    it = routes(200, gateways=["mesh"])
    for route in it["spec"]["http"]:
        route["mirrorPercent"] = 1
    it["spec"]["http"][199]["route"][0]["weight"] = -1
    assert [one.path for one in validate(it) if one.severity is Severity.ERROR] == [
        "spec.http[199].route[0].weight"
    ]


@pytest.mark.finding("security 2")
@pytest.mark.parametrize(
    ("it", "path"),
    [
        (routes(limits.MOST_ENTRIES + 1), "spec.http"),
        (routes(0, hosts=["a"] * (limits.MOST_WORDS + 1)), "spec.hosts"),
        (routes(100, hosts=[f"a{n}" for n in range(501)]), "spec"),
        ({**document("DestinationRule"), "spec": {"host": "a", "subsets": [{"name": f"s{n}"} for n in range(1001)]}}, "spec.subsets"),
        ({**document("Gateway"), "spec": {"servers": [{}] * 1001}}, "spec.servers"),
        (routes(1, http=[{"match": [{"uri": {"regex": "a" * 1000}}]}] * 101), "spec"),
        (routes(1, x=functools.reduce(lambda inner, _: [inner], range(200), 1)), "spec.x[0]"),
    ],
)  # fmt: skip
def test_bounds_are_told_with_their_place(it: dict[str, Any], path: str) -> None:
    [problem] = validate(it)
    assert (problem.path[:8], problem.severity) == (path[:8], Severity.ERROR)
    assert any(word in problem.message for word in ("split", "deep"))


@pytest.mark.finding("security 2")
@pytest.mark.parametrize("struct", [MeshConfig, ProxyConfig])
def test_settings_cost_in_proportion(struct: type[msgspec.Struct]) -> None:
    def read(count: int, way: Steps, *, rich: bool) -> Callable[[], object]:
        it = filled(info(struct), way, count, rich=rich)
        return lambda: mesh_config.read_document(it) if struct is MeshConfig else mesh_config.proxy_config(it)

    for way in repeated(info(struct)):
        for rich in (False, True):
            assert_linear(read(MANY, way, rich=rich), read(2 * MANY, way, rich=rich), ".".join(way))


@pytest.mark.finding("security 2")
def test_a_megabyte_of_settings_takes_no_second() -> None:
    bomb = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))])
    texts = [
        yaml.safe_dump({f"nothing{n}": n for n in range(9_000)}),
        yaml.safe_dump({"defaultConfig": {"proxyMetadata": {f"A{n}": n for n in range(9_000)}}}),
        "a: " + "[" * 100_000, "{" * 200_000, bomb, "a: 1\n" * 200_000, "x" * MEGABYTE,
        "trustDomain: " + "9" * 200_000, "connectTimeout: " + "9" * 200_000 + "s",
    ]  # fmt: skip
    for text in texts:
        assert spent(lambda: mesh_config.read(text)) < LONGEST_S  # noqa: B023
