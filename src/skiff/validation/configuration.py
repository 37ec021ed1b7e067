"""What may ConfigMaps, Secrets and ServiceAccounts hold?"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.problems import (
    IMMUTABLE,
    each,
    entries,
    forbidden,
    invalid,
    part,
    required,
    text,
    too_long,
)  # fmt: skip

#: Of all values together. https://kubernetes.io/docs/concepts/configuration/configmap/
MOST_BYTES = 1024 * 1024
_ACCOUNT = "kubernetes.io/service-account.name"
#: Keys that a type of Secret must have.
_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockercfg": (".dockercfg",), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}  # fmt: skip
_JSON = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def config_map(obj: Object, old: Object | None) -> Iterator[Problem]:
    data, binary = part(obj, "data"), part(obj, "binaryData")
    size = 0
    for key, it in data.items():
        yield from each(f"data[{key}]", key, names.key(key))
        if key in binary:
            yield invalid(f"data[{key}]", key, f"duplicate of key present in binaryData: {key}")
        size += _bytes(it)
    for key, it in binary.items():
        yield from each(f"binaryData[{key}]", key, names.key(key))
        yield from _base64(f"binaryData[{key}]", it)
        size += _decoded(it)
    if size > MOST_BYTES:
        yield too_long("", MOST_BYTES)
    yield from _kept(obj, old)


def secret(obj: Object, old: Object | None) -> Iterator[Problem]:
    data, sort = part(obj, "data"), text(obj, "type")
    size = 0
    for key, it in data.items():
        yield from each(f"data[{key}]", key, names.key(key))
        yield from _base64(f"data[{key}]", it)
        size += _decoded(it)
    if size > MOST_BYTES:
        yield too_long("data", MOST_BYTES)
        return
    for key in _KEYS.get(sort, ()):
        if key not in data:
            yield required(f"data[{key}]")
    if sort == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        yield required("data[username]")
        yield required("data[password]")
    if (key := _JSON.get(sort, "")) in data and not _is_json(data[key]):
        yield invalid(f"data[{key}]", "<secret contents redacted>", "invalid JSON")
    account = text(part(part(obj, "metadata"), "annotations"), _ACCOUNT)
    if sort == "kubernetes.io/service-account-token" and not account:
        yield required(f"metadata.annotations[{_ACCOUNT}]")
    if old is not None and sort != text(old, "type"):
        yield invalid("type", sort, IMMUTABLE)
    yield from _kept(obj, old)


def _kept(obj: Object, old: Object | None) -> Iterator[Problem]:
    if old is None or not old.get("immutable"):
        return
    for field in ("immutable", "data", "binaryData"):
        if (obj.get(field) or None) != (old.get(field) or None):
            yield forbidden(field, f"{IMMUTABLE} when `immutable` is set")


def _bytes(value: Any) -> int:
    return len(value.encode(errors="replace")) if isinstance(value, str) else 0


def _decoded(value: Any) -> int:
    return len(value) // 4 * 3 - value[-2:].count("=") if isinstance(value, str) else 0


def _base64(path: str, value: Any) -> Iterator[Problem]:
    if not isinstance(value, str):
        return
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        yield invalid(path, "<contents redacted>", "illegal base64 data")


def _is_json(value: Any) -> bool:
    try:
        json.loads(base64.b64decode(value if isinstance(value, str) else ""))
    except (ValueError, RecursionError):
        return False
    return True


def service_account(obj: Object, _old: Object | None) -> Iterator[Problem]:
    for field in ("secrets", "imagePullSecrets"):
        for where, it in entries(obj, field, ""):
            if name := text(it, "name"):
                yield from each(f"{where}.name", name, names.subdomain(name))
