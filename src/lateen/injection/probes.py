"""How can a kubelet without a certificate still ask the application? By the agent: probes are pointed at port 15020.

https://istio.io/latest/docs/ops/configuration/mesh/app-health-check/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGENT_PORT = 15020
_PROBES = {"readinessProbe": "readyz", "livenessProbe": "livez", "startupProbe": "startupz"}
_HOOKS = {"preStop": "prestopz", "postStart": "poststartz"}


def rewritten(container: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the container asking the agent, the originals by path). Probes that run a command stay as they are."""
    made, originals = dict(container), dict[str, Any]()
    name = container.get("name", "")
    for field, word in _PROBES.items():
        probe = container.get(field)
        if not isinstance(probe, dict) or not (original := _original(probe, container)):
            continue
        path = f"/app-health/{name}/{word}"
        originals[path] = original
        kept = {key: value for key, value in probe.items() if key not in ("httpGet", "tcpSocket", "grpc")}
        made[field] = {**kept, "httpGet": {"path": path, "port": AGENT_PORT, "scheme": "HTTP"}}
    lifecycle = container.get("lifecycle")
    for field, word in _HOOKS.items() if isinstance(lifecycle, dict) else ():
        hook = lifecycle.get(field)
        if isinstance(hook, dict) and isinstance(get := hook.get("httpGet"), dict):
            path = f"/app-lifecycle/{name}/{word}"
            originals[path] = {"httpGet": {**get, "port": _number(get.get("port"), container)}}
            asked = {"httpGet": {"path": path, "port": AGENT_PORT, "scheme": "HTTP"}}
            made["lifecycle"] = {**made["lifecycle"], field: asked}
    return made, originals


def _original(probe: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    timeout = {"timeoutSeconds": probe["timeoutSeconds"]} if probe.get("timeoutSeconds") else {}
    for form in ("httpGet", "tcpSocket", "grpc"):
        if isinstance(how := probe.get(form), dict):
            return {form: {**how, "port": _number(how.get("port"), container)}, **timeout}
    return {}


def _number(port: Any, container: Mapping[str, Any]) -> Any:
    """Named ports become numbers: the agent does not know the names."""
    if isinstance(port, str) and not port.isdigit():
        for it in container.get("ports") or ():
            if it.get("name") == port:
                return it.get("containerPort")
    return int(port) if isinstance(port, str) and port.isdigit() else port
