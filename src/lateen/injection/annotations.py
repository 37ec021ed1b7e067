"""What do a pod's annotations ask of its sidecar, and can it be done? A value nobody understands stops the pod.

A pod with a wrong value would run unlike its author meant; so it is refused with the annotation's name and the reason.
https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

PROXY_CONFIG = "proxy.istio.io/config"
STATUS_PORT = "status.sidecar.istio.io/port"
TEMPLATES = "inject.istio.io/templates"
TRAFFIC = "traffic.sidecar.istio.io"
READINESS = "readiness.status.sidecar.istio.io"
#: Reading YAML takes a second for 50 KB, and all who ask the control plane wait meanwhile.
_LONGEST_CONFIG = 16 * 1024
_LONGEST_SHOWN = 200
_QUANTITY = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+|m|k|[KMGTPE]i?)?")


class InjectionError(ValueError):
    """A pod that cannot be injected; the message says what to change in it."""


def check(annotations: Mapping[str, str]) -> None:
    """InjectionError for the first value that is wrong."""
    for name, rule in _RULES.items():
        if name in annotations and (wrong := rule(str(annotations[name]))):
            raise InjectionError(f'annotation {name}: "{_shown(str(annotations[name]))}" {wrong}')


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def proxy_config(annotations: Mapping[str, str]) -> dict[str, Any]:
    """The pod's own ProxyConfig; ``check`` has seen it."""
    return _plain(annotations.get(PROXY_CONFIG, "")) or {}


def truth(annotations: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A switch; ``check`` has seen it."""
    said = annotations.get(name, "").lower()
    return said in ("true", "t", "1") if said else default


def named(annotations: Mapping[str, str], name: str) -> list[dict[str, Any]]:
    """JSON of things with names, as a list or by name: ``userVolume`` and ``userVolumeMount``."""
    found = json.loads(annotations.get(name) or "[]")
    return found if isinstance(found, list) else [{"name": key, **it} for key, it in found.items()]


class _Loader(yaml.SafeLoader):
    """Without aliases: a few lines of them, written out, fill any memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not accepted", None)
        return super().compose_node(parent, index)


def _plain(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def _mode(text: str) -> str:
    return "" if text in ("REDIRECT", "NONE") else "is not supported: use REDIRECT, or NONE for no capture"


def _switch(text: str) -> str:
    return "" if text.lower() in ("true", "false", "t", "f", "1", "0") else "is neither true nor false"


def _number(text: str) -> str:
    return "" if text.isascii() and text.isdigit() and int(text) < 2**32 else "is not a number"


def _port(text: str) -> str:
    text = text.strip()
    return "" if text.isascii() and text.isdigit() and int(text) <= 65535 else "is not a port: use 0-65535"


def _ports(text: str) -> str:
    wrong = text.strip() and any(_port(it) for it in text.split(","))
    return "is not a list of ports such as 80,8080" if wrong else ""


def _all_or(rule: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "" if text.strip() == "*" else rule(text)


def _ranges(text: str) -> str:
    for it in text.split(",") if text.strip() else ():
        try:
            ipaddress.ip_network(it.strip(), strict=False)
        except ValueError:
            return f'is not a list of ranges such as 10.0.0.0/8: "{it}"'
    return ""


def _quantity(text: str) -> str:
    return "" if _QUANTITY.fullmatch(text) else "is not a quantity such as 100m or 128Mi"


def _config(text: str) -> str:
    if len(text) > _LONGEST_CONFIG:
        return f"is longer than {_LONGEST_CONFIG} characters"
    try:
        found = _plain(text)
        json.dumps(found, sort_keys=True)  # the form in which the agent gets it: no dates, no mixed keys
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as wrong:
        return f"is not YAML that JSON can say: {wrong}"
    if found is None:
        return ""
    if not isinstance(found, dict):
        return "is not a ProxyConfig such as {concurrency: 1}"
    if not isinstance(found.get("proxyMetadata") or {}, dict):
        return "has a proxyMetadata which is no mapping"
    if no_port := _port(str(found.get("statusPort") or 0)):
        return f"has a statusPort which {no_port}"
    return ""


def _things(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        return f"is not JSON: {wrong}"
    if isinstance(found, dict) and all(isinstance(it, dict) for it in found.values()):
        return ""
    if isinstance(found, list) and all(
        isinstance(it, dict) and isinstance(it.get("name"), str) for it in found
    ):
        return ""
    return 'is neither {"name": {...}} nor [{"name": ..., ...}]'


def _templates(text: str) -> str:
    return "" if text.strip() in ("sidecar", "gateway") else "is not known: use sidecar or gateway"


_RULES: Mapping[str, Callable[[str], str]] = {
    PROXY_CONFIG: _config,
    TEMPLATES: _templates,
    STATUS_PORT: _port,
    "sidecar.istio.io/interceptionMode": _mode,
    "sidecar.istio.io/rewriteAppHTTPProbers": _switch,
    "sidecar.istio.io/nativeSidecar": _switch,
    "prometheus.istio.io/merge-metrics": _switch,
    **{
        f"sidecar.istio.io/{it}": _quantity
        for it in ("proxyCPU", "proxyMemory", "proxyCPULimit", "proxyMemoryLimit")
    },
    **{f"sidecar.istio.io/{it}": _things for it in ("userVolume", "userVolumeMount")},
    **{f"{READINESS}/{it}": _number for it in ("initialDelaySeconds", "periodSeconds", "failureThreshold")},
    f"{TRAFFIC}/includeOutboundIPRanges": _all_or(_ranges),
    f"{TRAFFIC}/excludeOutboundIPRanges": _ranges,
    f"{TRAFFIC}/includeInboundPorts": _all_or(_ports),
    f"{TRAFFIC}/excludeInboundPorts": _ports,
    f"{TRAFFIC}/includeOutboundPorts": _ports,
    f"{TRAFFIC}/excludeOutboundPorts": _ports,
}
