"""Requests that are large in every way we could think of: each makes a body of about the size it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

NS, CUSTOM = "/api/v1/namespaces/default", "/apis/x.io/v1/namespaces/default/things"
_CRDS, _RBAC = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/rbac.authorization.k8s.io/v1"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
_YAML, _PROTO = "application/yaml", "application/vnd.kubernetes.protobuf"

_ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_PROPERTIES: dict[str, Any] = {
    "any": _ANY, "pattern": {"type": "string", "pattern": "^(a+)+$"},
    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    "unique": {"type": "array", "uniqueItems": True, "items": _ANY},
    "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string"}}}},
    "one": {"type": "array", "items": {**_ANY, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}},
}  # fmt: skip


def definition(name: str, *versions: dict[str, Any]) -> dict[str, Any]:
    """A CustomResourceDefinition of ``name``s in x.io."""
    usual = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    schema = {"schema": {"openAPIV3Schema": {"type": "object", "properties": _PROPERTIES}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{name}s.x.io"},
        "spec": {"group": "x.io", "scope": "Namespaced", "names": {"plural": f"{name}s", "kind": name.title(), "singular": name},
                 "versions": list(versions) or [{**usual, **schema}]},
    }  # fmt: skip


class Case(NamedTuple):
    """One request, for a number of whatever it has many of."""

    name: str
    method: str
    path: str
    make: Callable[[int], Any]
    form: str = "application/json"
    before: Callable[[int], Any] | None = None  # applied at the same path first


def written(made: Any) -> bytes:
    """The body."""
    return made if isinstance(made, bytes) else json.dumps(made, separators=(",", ":")).encode()


def sized(make: Callable[[int], Any], size: int) -> int:
    """How many there must be, so that the body has about this size."""
    return max(1, 100 * size // len(written(make(100))))


def words(n: int, value: Any = "") -> dict[str, Any]:
    return {f"k{i}": value for i in range(n)}


def named(**more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "made"}, **more}


def pod(**spec: Any) -> dict[str, Any]:
    return named(spec={"containers": [{"name": "c", "image": "i"}], **spec})


def thing(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "x.io/v1", "kind": "Thing", **named(**more)}


def version(schema: dict[str, Any], name: str = "v1", *, storage: bool = True) -> dict[str, Any]:
    full = {"type": "object", **schema}
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": full}}


def nested(n: int, before: bytes = b'{"metadata":{"name":"made"},"any":') -> bytes:
    return before + b'{"a":' * n + b"1" + b"}" * n + b"}"


def protobuf(rest: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A ConfigMap with more fields."""

    def field(number: int, content: bytes) -> bytes:
        size, head = len(content), bytes([number << 3 | 2])
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        return head + bytes([size]) + content

    def make(n: int) -> bytes:
        about = field(1, b"v1") + field(2, b"ConfigMap")
        return b"k8s\0" + field(1, about) + field(2, field(1, field(1, b"made")) + rest(n))

    return make


def _manager(n: int) -> list[dict[str, Any]]:
    usual = {
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}},
    }
    return [{"manager": f"m{i}", **usual} for i in range(n)]


CASES = [
    Case("names twice", "POST", f"{NS}/configmaps?fieldValidation=Strict",
         lambda n: b'{"data":{' + b",".join(b'"k%d":"","k%d":""' % (i, i) for i in range(n)) + b"}}"),
    Case("names twice of a review", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?fieldValidation=Strict",
         lambda n: b'{"k0":0,' + b",".join(b'"k%d":0' % i for i in range(n)) + b"}"),
    Case("unknown fields", "POST", f"{NS}/configmaps?fieldValidation=Warn", lambda n: named(**words(n))),
    Case("YAML map", "POST", f"{NS}/configmaps", lambda n: b"".join(b"k%d: v\n" % i for i in range(n)), _YAML),
    Case("YAML data", "POST", f"{NS}/configmaps",
         lambda n: b"metadata: {name: made}\ndata:\n" + b"".join(b" k%d: v\n" % i for i in range(n)), _YAML),
    Case("YAML depth", "POST", f"{NS}/configmaps", lambda n: b"[" * n, _YAML),
    Case("YAML lists", "POST", f"{NS}/configmaps", lambda n: b"a: [" + b"[]," * n + b"]", _YAML),
    Case("data", "POST", f"{NS}/configmaps", lambda n: named(data=words(n))),
    Case("finalizers", "POST", f"{NS}/configmaps", lambda n: {"metadata": {"name": "made", "finalizers": list(words(n))}}),
    Case("labels", "POST", f"{NS}/configmaps", lambda n: {"metadata": {"name": "made", "labels": words(n)}}),
    Case("managers", "POST", f"{NS}/configmaps", lambda n: {"metadata": {"name": "made", "managedFields": _manager(n)}}),
    Case("containers", "POST", f"{NS}/pods", lambda n: pod(containers=[{"name": f"c{i}", "image": "i"} for i in range(n)])),
    Case("empty containers", "POST", f"{NS}/pods", lambda n: pod(containers=[{}] * n)),
    Case("volumes", "POST", f"{NS}/pods", lambda n: pod(volumes=[{"name": f"v{i}"} for i in range(n)])),
    Case("ports", "POST", f"{NS}/services", lambda n: named(spec={"ports": [{"port": i % 60_000 + 1} for i in range(n)]})),
    Case("any maps", "POST", CUSTOM, lambda n: thing(any=words(n, {}))),
    Case("any lists", "POST", CUSTOM, lambda n: thing(any={"a": [[]] * n})),
    Case("set", "POST", CUSTOM, lambda n: thing(set=list(words(n)))),
    Case("unique", "POST", CUSTOM, lambda n: thing(unique=[{"a": i} for i in range(n)])),
    Case("map", "POST", CUSTOM, lambda n: thing(map=[{"k": f"k{i}"} for i in range(n)])),
    Case("one of", "POST", CUSTOM, lambda n: thing(one=[{"a": i} for i in range(n)])),
    Case("pattern", "POST", CUSTOM, lambda n: thing(pattern="a" * n + "b")),
    Case("wrong types", "POST", CUSTOM, lambda n: thing(set=[1] * n)),
    Case("depth", "POST", CUSTOM, nested),
    Case("apply any again", "PATCH", f"{CUSTOM}/made?fieldManager=m", lambda n: thing(any=words(n, {"a": {"b": 1}})), APPLY,
         lambda n: thing(any=words(n, {"a": {"b": 2}}))),
    Case("apply map again", "PATCH", f"{CUSTOM}/made?fieldManager=m", lambda n: thing(map=[{"k": f"k{i}"} for i in range(n)]),
         APPLY, lambda n: thing(map=[{"k": f"j{i}"} for i in range(n)])),
    Case("apply set again", "PATCH", f"{CUSTOM}/made?fieldManager=m", lambda n: thing(set=list(words(n))), APPLY,
         lambda n: thing(set=[f"j{i}" for i in range(n)])),
    Case("apply nothing any more", "PATCH", f"{CUSTOM}/made?fieldManager=m", lambda n: thing(pattern="a" * n), APPLY,
         lambda n: thing(map=[{"k": f"k{i}"} for i in range(n // 20)], set=list(words(n // 20)))),
    Case("conflicts", "PATCH", f"{CUSTOM}/made?fieldManager=n", lambda n: thing(any=words(n, 1)), f"{APPLY};",
         lambda n: thing(any=words(n, 2))),
    Case("merge", "PATCH", f"{NS}/configmaps/many", lambda n: {"data": words(n, "y")}, MERGE),
    Case("merge depth", "PATCH", f"{CUSTOM}/thing", lambda n: nested(n, b'{"any":'), MERGE),
    Case("JSON patch", "PATCH", f"{NS}/configmaps/many",
         lambda n: [{"op": "add", "path": f"/data/k{i}", "value": "v" * 80} for i in range(min(n, 10_000))], JSON_PATCH),
    Case("copies that double", "PATCH", f"{CUSTOM}/thing",
         lambda n: [{"op": "add", "path": "/any", "value": {"a": "x" * (n // 2)}},
                    *({"op": "copy", "from": "/any", "path": f"/any/k{i}"} for i in range(min(n, 5_000)))], JSON_PATCH),
    Case("long path", "PATCH", f"{CUSTOM}/thing", lambda n: [{"op": "add", "path": "/any" + "/a" * n, "value": 1}], JSON_PATCH),
    Case("always first", "PATCH", f"{CUSTOM}/thing",
         lambda n: [{"op": "add", "path": "/any", "value": {"a": [1] * n}},
                    *({"op": "add", "path": "/any/a/0", "value": 2} for _ in range(min(n // 10, 9_000)))], JSON_PATCH),
    Case("by key", "PATCH", f"{NS}/pods/many", lambda n: {"spec": {"containers": [{"name": f"c{i}"} for i in range(n)]}}, STRATEGIC),
    Case("delete by key", "PATCH", f"{NS}/pods/many",
         lambda n: {"spec": {"containers": [{"$patch": "delete", "name": f"x{i}"} for i in range(n)]}}, STRATEGIC),
    Case("order by key", "PATCH", f"{NS}/pods/many",
         lambda n: {"spec": {"$setElementOrder/containers": [{"name": f"c{i}"} for i in range(n)]}}, STRATEGIC),
    Case("order", "PATCH", f"{NS}/configmaps/many",
         lambda n: {"metadata": {"finalizers": list(words(n)), "$setElementOrder/finalizers": list(words(n))[::-1]}}, STRATEGIC),
    Case("delete plain", "PATCH", f"{NS}/configmaps/many",
         lambda n: {"metadata": {"$deleteFromPrimitiveList/finalizers": list(words(n))}}, STRATEGIC),
    Case("retain", "PATCH", f"{NS}/configmaps/many", lambda n: {"data": {"$retainKeys": list(words(n))}}, STRATEGIC),
    Case("rules", "POST", f"{_RBAC}/clusterroles",
         lambda n: named(rules=[{"apiGroups": [""], "verbs": ["get"], "resources": [f"k{i}"]} for i in range(n)])),
    Case("one rule", "POST", f"{_RBAC}/clusterroles",
         lambda n: named(rules=[{"apiGroups": list(words(n)), "verbs": list(words(n)), "resources": list(words(n))}])),
    Case("groups", "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
         lambda n: {"spec": {"user": "a", "groups": list(words(n)), "resourceAttributes": {"verb": "get", "resource": "pods"}}}),
    Case("token", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", lambda n: {"spec": {"token": "a." * n}}),
    Case("audiences", "POST", f"{NS}/serviceaccounts/root/token", lambda n: {"spec": {"audiences": list(words(n))}}),
    Case("delete options", "DELETE", f"{NS}/configmaps/none", lambda n: {"dryRun": list(words(n))}),
    Case("eviction", "POST", f"{NS}/pods/none/eviction", lambda n: {"deleteOptions": {"dryRun": list(words(n))}}),
    Case("scale", "PUT", f"{NS.replace('/api', '/apis/apps')}/deployments/none/scale", lambda n: {"spec": words(n)}),
    Case("properties", "POST", _CRDS, lambda n: definition("made", version({"properties": words(n, {"type": "string"})}))),
    Case("versions", "POST", _CRDS, lambda n: definition("made", *(version({}, f"v{i}", storage=not i) for i in range(n)))),
    Case("alternatives", "POST", _CRDS, lambda n: definition("made", version({"oneOf": [{"required": [f"a{i}"]} for i in range(n)]}))),
    Case("protobuf", "POST", f"{NS}/configmaps", protobuf(lambda n: b"".join(b"\x12\x06\x0a\x04%04x" % (i & 65535) for i in range(n))), _PROTO),
    Case("unknown protobuf", "POST", f"{NS}/configmaps", protobuf(lambda n: b"\xf8\x07\x01" * n), _PROTO),
]  # fmt: skip
