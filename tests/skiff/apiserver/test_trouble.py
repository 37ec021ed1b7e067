"""Whatever goes wrong, the client gets a Status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from skiff.api import Object
from skiff.apiserver.http import MAX_BODY, application
from skiff.apiserver.registry import Registry
from skiff.kinds import CONFIG_MAPS, NAMESPACES, Kind
from skiff.store.store import Store


class BrokenRegistry(Registry):
    """Has a bug."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        if name == "bug":
            message = "this is a bug"
            raise KeyError(message)
        return super().get(kind, namespace, name)

    read = get


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    registry = BrokenRegistry(Store())
    await registry.create(NAMESPACES, "", {"metadata": {"name": "default"}})
    async with TestClient(TestServer(application(registry))) as it:
        yield it
    registry.store.close()


ROOT = "/api/v1/namespaces/default"


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "code", "reason", "message"),
    [
        ("GET", f"{ROOT}/configmaps/bug", {}, b"", 500, "InternalError", "Internal error occurred: KeyError('this is a bug')"),
        ("GET", "/nowhere", {}, b"", 404, "NotFound", "the server could not find the requested resource"),
        ("DELETE", "/version", {}, b"", 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
        ("GET", "/apis/nope/v1", {}, b"", 404, "NotFound", "the server could not find the requested resource"),
        ("GET", f"{ROOT}/configmaps/a", {}, b"", 404, "NotFound", 'configmaps "a" not found'),
        ("POST", f"{ROOT}/configmaps", {}, b"{", 400, "BadRequest", "the object provided is unrecognized: Input data was truncated"),
        ("POST", f"{ROOT}/configmaps", {}, b"[]", 400, "BadRequest", "the body is no ConfigMap: it is not an object"),
        ("POST", f"{ROOT}/configmaps", {}, b" " * (MAX_BODY + 1), 413, "RequestEntityTooLarge", f"an object has at most {MAX_BODY} bytes"),
        ("POST", f"{ROOT}/configmaps", {"Content-Type": "application/vnd.kubernetes.protobuf"}, b"k8s\0\x0a\x50", 400, "BadRequest",
         "the object provided is unrecognized: field 1 ends after the message"),
        ("POST", f"{ROOT}/configmaps", {"Content-Type": "application/vnd.kubernetes.protobuf"}, b"k8s\0\x0a\x07\x0a\x02x1\x12\x01K", 415,
         "UnsupportedMediaType", "K in version 'x1' is not known in protobuf here: send JSON"),
        ("POST", f"{ROOT}/configmaps?fieldValidation=Strict", {}, b'{"metadata":{"name":"a","name":"b"}}', 400, "BadRequest",
         'strict decoding error: duplicate field "name"'),
        ("POST", f"{ROOT}/configmaps", {"Content-Type": "application/yaml"}, b"a: &a [x]\nb: *a", 400, "BadRequest",
         "the object provided is unrecognized: aliases are not accepted here"),
        ("GET", f"{ROOT}/nodes/skiff", {}, b"", 404, "NotFound", "the server could not find the requested resource"),
        ("GET", "/api/v1/configmaps/a", {}, b"", 404, "NotFound", "the server could not find the requested resource"),
        ("GET", f"{ROOT}/configmaps?watch=1&timeoutSeconds=x", {}, b"", 400, "BadRequest", "timeoutSeconds must be a number that is not negative, not 'x'"),
        ("PATCH", f"{ROOT}/configmaps/bug", {"Content-Type": "application/merge-patch+json"}, b"{}", 500, "InternalError",
         "Internal error occurred: KeyError('this is a bug')"),
    ],
)  # fmt: skip
async def test_every_trouble_is_a_status(
    client: TestClient[Any, Any],
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    code: int,
    reason: str,
    message: str,
) -> None:
    answer = await client.request(
        method, path, data=body or None, headers={"Content-Type": "application/json", **headers}
    )
    said = await answer.json()
    assert (answer.status, said["kind"], said["code"], said["reason"], said["message"]) == (
        code,
        "Status",
        code,
        reason,
        message,
    )


async def test_a_path_that_is_not_served_has_empty_details(client: TestClient[Any, Any]) -> None:
    assert (await (await client.get("/api/v1/nope")).json())["details"] == {}


async def test_fields_that_the_table_does_not_know_are_told(client: TestClient[Any, Any]) -> None:
    raw = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x08\x0a\x03\x0a\x01a\xf8\x06\x01"
    answer = await client.post(
        f"{ROOT}/configmaps", data=raw, headers={"Content-Type": "application/vnd.kubernetes.protobuf"}
    )
    assert answer.status == 201
    told = "field ConfigMap[111] of the protobuf body is not known to this server and was ignored"
    assert answer.headers["Warning"] == f'299 - "{told}"'
    assert CONFIG_MAPS.plural in str(answer.url)
