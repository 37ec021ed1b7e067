"""Who answers the kubelet's probes and hooks? The agent, outside of mutual TLS, by asking the application inside the pod.

The original is kept for the agent under the path by which the kubelet asks instead (``ISTIO_KUBE_APP_PROBERS``).
https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.envoy.wellknown import AGENT_PORT

_PROBES = {"readinessProbe": "readyz", "livenessProbe": "livez", "startupProbe": "startupz"}
_HOOKS = {"preStop": "prestopz", "postStart": "poststartz"}


def rewritten(container: Mapping[str, Any], port: int = AGENT_PORT) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the container asking the agent, the originals by path).

    What runs a command stays as it is, and so does what names a port the container does not have: the kubelet says so.
    """
    made, originals = dict(container), dict[str, Any]()
    name = container.get("name", "")
    for field, word in _PROBES.items():
        probe = container.get(field)
        if isinstance(probe, dict) and (original := _original(probe, container)):
            path = f"/app-health/{name}/{word}"
            originals[path] = original
            kept = {key: value for key, value in probe.items() if key not in ("httpGet", "tcpSocket", "grpc")}
            made[field] = {**kept, **_asking(path, port, probe)}
    lifecycle = container.get("lifecycle")
    hooks = lifecycle if isinstance(lifecycle, dict) else {}
    for field, word in _HOOKS.items():
        hook = hooks.get(field)
        if (
            isinstance(hook, dict)
            and isinstance(hook.get("httpGet"), dict)
            and (how := _original(hook, container))
        ):
            path = f"/app-lifecycle/{name}/{word}"
            originals[path] = how
            made["lifecycle"] = {**made["lifecycle"], field: _asking(path, port, hook)}
    return made, originals


def _asking(path: str, port: int, original: Mapping[str, Any]) -> dict[str, Any]:
    """By HTTP, which is the default: named only where the original names a scheme."""
    http = original.get("httpGet")
    named = isinstance(http, Mapping) and http.get("scheme")
    return {"httpGet": {"path": path, "port": port, **({"scheme": "HTTP"} if named else {})}}


def _original(probe: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    timeout = {"timeoutSeconds": probe["timeoutSeconds"]} if probe.get("timeoutSeconds") else {}
    for form in ("httpGet", "tcpSocket", "grpc"):
        if isinstance(how := probe.get(form), dict):
            number = _number(how.get("port"), container)
            return {form: {**how, "port": number}, **timeout} if number else {}
    return {}


def _number(port: Any, container: Mapping[str, Any]) -> int | None:
    """Named ports become numbers: the agent does not know the names."""
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isascii() and port.isdigit():
        return int(port)
    declared = container.get("ports") or ()
    found = next(
        (it.get("containerPort") for it in declared if isinstance(it, dict) and it.get("name") == port), None
    )
    return found if isinstance(found, int) else None
