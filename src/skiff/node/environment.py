"""What does a container find in its environment? env, envFrom, references to fields and objects, service variables."""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from skiff.quantities import parse

_VARIABLE = re.compile(r"\$\$|\$\(([^()\s]+)\)")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class CannotStartError(Exception):
    """A container names a ConfigMap, Secret, key or field which is not there, or may not run as it is written."""


class Found(NamedTuple):
    """The objects a pod's environment may refer to, by name, in its namespace."""

    config_maps: dict[str, dict[str, Any]]
    secrets: dict[str, dict[str, Any]]


def expand(text: str, known: dict[str, str]) -> str:
    """``$(NAME)`` replaced if known, ``$$`` is a dollar sign."""
    return _VARIABLE.sub(lambda m: "$" if m[0] == "$$" else known.get(m[1], m[0]), text)


def field_value(pod: dict[str, Any], path: str) -> str:
    """A fieldRef as the downward API renders it."""
    meta = pod["metadata"]
    if keyed := _KEYED.fullmatch(path):
        return str((meta.get(keyed[1]) or {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = sorted((meta.get(path.split(".")[1]) or {}).items())
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in entries)
    if path == "status.podIPs":
        return ",".join(item["ip"] for item in (pod.get("status") or {}).get("podIPs") or [])
    value: Any = pod
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(
    pod: dict[str, Any], container: dict[str, Any], ref: dict[str, Any], whole: dict[str, str]
) -> str:
    """A resourceFieldRef; limits which are not set are the node's."""
    name = ref.get("containerName")
    if name:
        every = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        container = next((c for c in every if c["name"] == name), container)
    kind, _, resource = ref["resource"].partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(kind) or {}).get(resource) or whole.get(resource, "0")
    divisor = float(parse(str(ref.get("divisor") or "1"))) or 1.0
    return str(-int(-float(parse(str(value))) // divisor))


def service_variables(
    services: dict[tuple[str, str], dict[str, Any]], namespace: str, links: bool
) -> dict[str, str]:
    """``NAME_SERVICE_HOST`` and ``_PORT`` for the services of the namespace and for ``kubernetes``."""
    said: dict[str, str] = {}
    for (where, name), service in services.items():
        spec = service.get("spec") or {}
        vip = spec.get("clusterIP")
        if (
            not vip
            or vip == "None"
            or not ((links and where == namespace) or (where, name) == ("default", "kubernetes"))
        ):
            continue
        prefix = name.upper().replace("-", "_")
        ports = spec.get("ports") or []
        said[f"{prefix}_SERVICE_HOST"] = vip
        if ports:
            said[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
            said[f"{prefix}_PORT"] = _url(vip, ports[0])
        for port in ports:
            if port.get("name"):
                said[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            protocol = (port.get("protocol") or "TCP").upper()
            link = f"{prefix}_PORT_{port['port']}_{protocol}"
            said |= {
                link: _url(vip, port), f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(port["port"]),
                f"{link}_ADDR": vip,
            }  # fmt: skip
    return said


def _url(vip: str, port: dict[str, Any]) -> str:
    return f"{(port.get('protocol') or 'TCP').lower()}://{vip}:{port['port']}"


def object_data(obj: dict[str, Any], *, secret: bool) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret as bytes."""
    encoded = (obj.get("data") if secret else obj.get("binaryData")) or {}
    said = {key: base64.b64decode(value or "") for key, value in encoded.items()}
    plain = {} if secret else obj.get("data") or {}
    return said | {key: str(value).encode() for key, value in plain.items()}


def container_environment(
    pod: dict[str, Any],
    container: dict[str, Any],
    found: Found,
    before: dict[str, str],
    whole: dict[str, str],
) -> dict[str, str]:
    """The environment: what was before, then envFrom, then env with its expansions."""
    env = dict(before)
    for source in container.get("envFrom") or []:
        for key, secret, objects in (
            ("configMapRef", False, found.config_maps),
            ("secretRef", True, found.secrets),
        ):
            if ref := source.get(key):
                obj = _object(objects, ref, "secret" if secret else "configmap")
                for name, raw in (object_data(obj, secret=secret) if obj else {}).items():
                    env[f"{source.get('prefix', '')}{name}"] = raw.decode(errors="replace")
    for entry in container.get("env") or []:
        value = _value(pod, container, entry, found, env, whole)
        if value is not None:
            env[entry["name"]] = value
    return env


def _object(objects: dict[str, dict[str, Any]], ref: dict[str, Any], what: str) -> dict[str, Any] | None:
    obj = objects.get(ref.get("name", ""))
    if obj is None and not ref.get("optional"):
        raise CannotStartError(f'{what} "{ref.get("name", "")}" not found')
    return obj


def _value(
    pod: dict[str, Any], container: dict[str, Any], entry: dict[str, Any], found: Found, env: dict[str, str],
    whole: dict[str, str],
) -> str | None:  # fmt: skip
    source = entry.get("valueFrom") or {}
    if ref := source.get("fieldRef"):
        return field_value(pod, ref["fieldPath"])
    if ref := source.get("resourceFieldRef"):
        return resource_value(pod, container, ref, whole)
    for key, secret, objects in (
        ("configMapKeyRef", False, found.config_maps),
        ("secretKeyRef", True, found.secrets),
    ):
        if ref := source.get(key):
            obj = _object(objects, ref, "secret" if secret else "configmap")
            data = object_data(obj, secret=secret) if obj else {}
            if ref["key"] not in data and not ref.get("optional"):
                raise CannotStartError(f"couldn't find key {ref['key']} in {ref.get('name', '')}")
            return data[ref["key"]].decode(errors="replace") if ref["key"] in data else None
    return expand(str(entry.get("value") or ""), env)
