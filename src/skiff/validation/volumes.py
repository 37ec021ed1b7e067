"""What may a volume be? https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume/"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.containers import field_ref, inner_path, resource_ref
from skiff.validation.problems import (
    duplicate,
    each,
    entries,
    forbidden,
    invalid,
    one_of,
    part,
    required,
    text,
)  # fmt: skip
from skiff.validation.resources import quantity

_MODE_SAID = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_TYPES = (
    "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_IN_FILES = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"}
)
_PROJECTED = (
    "secret",
    "downwardAPI",
    "configMap",
    "serviceAccountToken",
    "clusterTrustBundle",
    "podCertificate",
)


def volumes(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """The volumes of a pod."""
    seen: set[str] = set()
    for where, it in entries(spec, "volumes", path):
        name = text(it, "name")
        wrong = list(names.label(name)) if name else []
        if not name:
            yield required(f"{where}.name")
        yield from each(f"{where}.name", name, wrong)
        if name and not wrong and name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        yield from source(it, where, "volume")


def source(it: dict[str, Any], path: str, what: str) -> Iterator[Problem]:
    """Exactly one place that it comes from."""
    given = [field for field, value in it.items() if field != "name" and isinstance(value, dict)]
    if not given:
        yield required(path, f"must specify a {what} type")
    for field in given[1:]:
        yield forbidden(f"{path}.{field}", f"may not specify more than 1 {what} type")
    for field in given[:1]:
        if check := _SOURCES.get(field):
            yield from check(it[field], f"{path}.{field}")


def _empty_dir(it: dict[str, Any], path: str) -> Iterator[Problem]:
    yield from quantity(f"{path}.sizeLimit", it.get("sizeLimit"))


def host_path(it: dict[str, Any], path: str) -> Iterator[Problem]:
    place = text(it, "path")
    if not place:
        yield required(f"{path}.path")
    elif ".." in place.split("/"):
        yield invalid(f"{path}.path", place, "must not contain '..'")
    yield from one_of(f"{path}.type", it.get("type"), _HOST_TYPES)


def _named(field: str) -> Callable[[dict[str, Any], str], Iterator[Problem]]:
    """Of a ConfigMap or a Secret, which only differ in what their name is called."""

    def check(it: dict[str, Any], path: str) -> Iterator[Problem]:
        if not text(it, field):
            yield required(f"{path}.{field}")
        yield from _mode(it, "defaultMode", path)
        yield from _items(it, path)

    return check


def _mode(it: dict[str, Any], field: str, path: str) -> Iterator[Problem]:
    mode = it.get(field)
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        yield invalid(f"{path}.{field}", mode, _MODE_SAID)


def _items(it: dict[str, Any], path: str) -> Iterator[Problem]:
    for where, item in entries(it, "items", path):
        if not text(item, "key"):
            yield required(f"{where}.key")
        if not text(item, "path"):
            yield required(f"{where}.path")
        else:
            yield from _local(f"{where}.path", text(item, "path"))
        yield from _mode(item, "mode", where)


def _local(path: str, value: str) -> Iterator[Problem]:
    yield from inner_path(path, value)
    if value.startswith("..") and not value.startswith("../"):
        yield invalid(path, value, "must not start with '..'")


def _claim(it: dict[str, Any], path: str) -> Iterator[Problem]:
    name = text(it, "claimName")
    if not name:
        yield required(f"{path}.claimName")
    else:
        yield from each(f"{path}.claimName", name, names.subdomain(name))


def _downward(it: dict[str, Any], path: str) -> Iterator[Problem]:
    yield from _mode(it, "defaultMode", path)
    for where, item in entries(it, "items", path):
        if not text(item, "path"):
            yield required(f"{where}.path")
        else:
            yield from _local(f"{where}.path", text(item, "path"))
        yield from _mode(item, "mode", where)
        field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if isinstance(field, dict):
            yield from field_ref(field, f"{where}.fieldRef", _IN_FILES)
            if isinstance(resource, dict):
                yield invalid(
                    where, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
                )
        elif isinstance(resource, dict):
            yield from resource_ref(resource, f"{where}.resourceFieldRef", volume=True)
        else:
            yield required(f"{where}.fieldRef", "one of fieldRef and resourceFieldRef is required")


def _projected(it: dict[str, Any], path: str) -> Iterator[Problem]:
    yield from _mode(it, "defaultMode", path)
    for where, one in entries(it, "sources", path):
        given = [field for field in _PROJECTED if isinstance(one.get(field), dict)]
        if not given:
            yield required(where, "must specify exactly one of: " + ", ".join(_PROJECTED))
        for field in given[1:]:
            yield forbidden(f"{where}.{field}", "may not specify more than 1 volume type")
        for field in given[:1]:
            value, place = one[field], f"{where}.{field}"
            if field in ("secret", "configMap"):
                yield from _named("name")(value, place)
            elif field == "downwardAPI":
                yield from _downward(value, place)
            elif field == "serviceAccountToken":
                yield from _token(value, place)


def _token(it: dict[str, Any], path: str) -> Iterator[Problem]:
    seconds = it.get("expirationSeconds") or 3600
    if seconds < 600:
        yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    elif seconds > 2**32:
        yield invalid(
            f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
        )
    if not text(it, "path"):
        yield required(f"{path}.path")
    else:
        yield from _local(f"{path}.path", text(it, "path"))


def _nfs(it: dict[str, Any], path: str) -> Iterator[Problem]:
    for field in ("server", "path"):
        if not text(it, field):
            yield required(f"{path}.{field}")
    if (place := text(it, "path")) and not place.startswith("/"):
        yield invalid(f"{path}.path", place, "must be an absolute path")


def _csi(it: dict[str, Any], path: str) -> Iterator[Problem]:
    driver = text(it, "driver")
    if not driver:
        yield required(f"{path}.driver")
    else:
        yield from each(f"{path}.driver", driver.lower(), names.subdomain(driver.lower()))


def _own_claim(it: dict[str, Any], path: str) -> Iterator[Problem]:
    from skiff.validation.storage import claim_spec  # which checks volumes too

    template = it.get("volumeClaimTemplate")
    if not isinstance(template, dict):
        yield required(f"{path}.volumeClaimTemplate")
        return
    yield from claim_spec(part(template, "spec"), f"{path}.volumeClaimTemplate.spec")


_SOURCES: dict[str, Callable[[dict[str, Any], str], Iterator[Problem]]] = {
    "emptyDir": _empty_dir, "hostPath": host_path, "secret": _named("secretName"), "configMap": _named("name"),
    "persistentVolumeClaim": _claim, "downwardAPI": _downward, "projected": _projected, "nfs": _nfs, "csi": _csi,
    "ephemeral": _own_claim,
}  # fmt: skip
