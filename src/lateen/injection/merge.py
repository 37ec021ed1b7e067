"""One container laid over another, field by field, as Kubernetes' strategic merge patch does it.

Istio merges a container ``istio-proxy`` or ``istio-init`` that a user wrote over its template in this way.
https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#customizing-injection
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

#: Lists whose items are told apart by a field, or several. All other lists are replaced as a whole.
_KEYS = {"env": ("name",), "ports": ("containerPort", "protocol"), "volumeMounts": ("mountPath",),
         "volumeDevices": ("devicePath",), "sysctls": ("name",)}  # fmt: skip
_DEFAULTS = {"protocol": "TCP"}
#: A probe or hook has one of these: another one does not come on top.
_HANDLERS = frozenset({"exec", "httpGet", "tcpSocket", "grpc", "sleep"})
#: Likewise a variable.
_SOURCES = frozenset({"value", "valueFrom"})


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Object:
    """What ``above`` says wins. Null and empty say nothing: API servers write them for what users left out."""
    made, said = dict(below), {key for key, it in above.items() if it is not None}
    for choice in (_HANDLERS, _SOURCES):
        if choice & said:
            made = {key: it for key, it in made.items() if key not in choice or key in said}
    for key, value in above.items():
        held = made.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            made[key] = laid_over(held, value)
        elif isinstance(value, list) and isinstance(held, list) and key in _KEYS and _named(value):
            made[key] = _items(held, value, _KEYS[key])
        elif value not in (None, [], {}):
            made[key] = value
    return made


def _named(items: list[Any]) -> bool:
    return all(isinstance(it, Mapping) for it in items)


def _items(below: list[Any], above: list[Any], key: tuple[str, ...]) -> list[Any]:
    """Items of the same name are merged where they stand; new ones follow."""
    fresh = {_name(it, key): it for it in above}
    made = [laid_over(it, fresh.pop(_name(it, key), {})) for it in below]
    return [*made, *fresh.values()]


def _name(item: Mapping[str, Any], key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(item.get(it) or _DEFAULTS.get(it, "")) for it in key)
