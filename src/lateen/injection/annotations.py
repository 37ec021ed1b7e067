"""What do a pod's annotations ask of its sidecar, and can it be done? A value nobody understands stops the pod.

A pod with a wrong value would run unlike its author meant; so it is refused with the annotation's name and the reason.
https://istio.io/latest/docs/reference/config/annotations/
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import yaml

from lateen.api import mesh_config
from lateen.api.meta import Duration
from lateen.api.proxy_config import InterceptionMode, ProxyConfig
from lateen.api.validate.finding import Finding
from lateen.names import durations
from lateen.names.problems import Severity

PROXY_CONFIG = "proxy.istio.io/config"
STATUS_PORT = "status.sidecar.istio.io/port"
TEMPLATES = "inject.istio.io/templates"
TRAFFIC = "traffic.sidecar.istio.io"
READINESS = "readiness.status.sidecar.istio.io"
MODE = "sidecar.istio.io/interceptionMode"
#: The same by its old and its new name; the new one wins.
VIRTUAL_INTERFACES = ("istio.io/reroute-virtual-interfaces", f"{TRAFFIC}/kubevirtInterfaces")
SIDECAR, GATEWAY = "sidecar", "gateway"
#: Reading YAML takes a second for 50 KB, and all who ask the control plane wait meanwhile.
_LONGEST_CONFIG = 16 * 1024
_LONGEST_SHOWN = 200
_QUANTITY = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+|m|k|[KMGTPE]i?)?")
_LEVEL = "trace|debug|info|warning|warn|error|critical|off"
_LEVELS = re.compile(rf"[\w.]+:({_LEVEL})(,[\w.]+:({_LEVEL}))*")
_AGENT_LEVELS = re.compile(
    r"([\w-]+:)?(debug|info|warn|error|fatal|none)(,([\w-]+:)?(debug|info|warn|error|fatal|none))*"
)
_INTERFACE = re.compile(r"[\w.-]{1,15}")


class InjectionError(ValueError):
    """A pod that cannot be injected; the message says what to change in it."""


def check(annotations: Mapping[str, str]) -> None:
    """InjectionError for the first value that is wrong."""
    for name, rule in RULES.items():
        if name in annotations and (wrong := rule(str(annotations[name]))):
            raise InjectionError(f'annotation {name}: "{_shown(str(annotations[name]))}" {wrong}')


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def proxy_config(annotations: Mapping[str, str]) -> dict[str, Any]:
    """The pod's own ProxyConfig as JSON, well written; ``check`` has seen it."""
    names, found, _ = _own_config(annotations.get(PROXY_CONFIG, ""))
    said = [it for it in msgspec.structs.fields(ProxyConfig) if it.name in names or it.encode_name in names]
    made = {it.encode_name: msgspec.to_builtins(getattr(found, it.name), enc_hook=json_of) for it in said}
    return {name: value for name, value in made.items() if value is not None}


@functools.lru_cache(maxsize=8)
def _own_config(text: str) -> tuple[frozenset[str], ProxyConfig, tuple[Finding, ...]]:
    """(the fields that are written, the settings, what is wrong); read once, for reading takes most of the time."""
    written = plain(text) or {}
    return frozenset(written), *mesh_config.proxy_config(written)


def json_of(it: Any) -> str:
    """For msgspec: our own type in the settings of proxies."""
    assert isinstance(it, Duration), it
    return durations.written(it.nanoseconds)


def findings(annotations: Mapping[str, str]) -> tuple[Finding, ...]:
    """What is unknown or without effect in the pod's own ProxyConfig."""
    return _own_config(annotations.get(PROXY_CONFIG, ""))[2]


def template(annotations: Mapping[str, str]) -> str:
    """``sidecar`` or ``gateway``; ``check`` has seen it."""
    return annotations.get(TEMPLATES, SIDECAR).partition(",")[0].strip()


def virtual_interfaces(annotations: Mapping[str, str]) -> str:
    """Behind which interfaces there are virtual machines; empty for none."""
    return next((annotations[it] for it in VIRTUAL_INTERFACES if it in annotations), "")


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


def plain(text: str) -> Any:
    """YAML without aliases as plain values."""
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def _mode(text: str) -> str:
    return "" if text in ("REDIRECT", "NONE") else "is not supported: use REDIRECT, or NONE for no capture"


def _matching(rule: re.Pattern[str], meant: str) -> Callable[[str], str]:
    return lambda text: "" if rule.fullmatch(text) else meant


def _interfaces(text: str) -> str:
    wrong = text.strip() and not all(_INTERFACE.fullmatch(it.strip()) for it in text.split(","))
    return "is not a list of interfaces such as eth0,net1" if wrong else ""


def _switch(text: str) -> str:
    return "" if text.lower() in ("true", "false", "t", "f", "1", "0") else "is neither true nor false"


def _number(text: str) -> str:
    return "" if text.isascii() and text.isdigit() and int(text) < 2**31 else "is not a number"


def _count(text: str) -> str:
    return _number(text) or ("" if int(text) else "is not a number greater than 0")


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
        found = plain(text)
        json.dumps(found, sort_keys=True)  # the form in which the agent gets it: no dates, no mixed keys
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as wrong:
        return f"is not YAML that JSON can say: {wrong}"
    if found is None:
        return ""
    if not isinstance(found, dict):
        return "is not a ProxyConfig such as {concurrency: 1}"
    _, own, told = _own_config(text)
    for it in told:
        if it.severity is Severity.ERROR:
            return f"has {it.path or 'fields'}: {it.message}"
    if own.interception_mode is InterceptionMode.TPROXY:
        return f"has interceptionMode: TPROXY {_mode('TPROXY')}"
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
    """One of ours, however often: ``sidecar,sidecar`` is a habit of those who add templates of their own."""
    chosen = {it.strip() for it in text.split(",")}
    if len(chosen) == 1 and chosen <= {SIDECAR, GATEWAY}:
        return ""
    return (
        "is not supported: there are the templates sidecar and gateway, one for a pod; templates of one's own, grpc-agent, "
        "grpc-simple and spire are not"
    )


#: What is wrong with the value of an annotation; empty when nothing is.
RULES: Mapping[str, Callable[[str], str]] = {
    PROXY_CONFIG: _config,
    TEMPLATES: _templates,
    STATUS_PORT: _port,
    MODE: _mode,
    "sidecar.istio.io/rewriteAppHTTPProbers": _switch,
    "sidecar.istio.io/nativeSidecar": _switch,
    "sidecar.istio.io/capNetBindService": _switch,
    "sidecar.istio.io/logLevel": _matching(re.compile(_LEVEL), f"is not one of {_LEVEL.replace('|', ', ')}"),
    "sidecar.istio.io/componentLogLevel": _matching(
        _LEVELS, "is not a list of levels such as http:debug,misc:error"
    ),
    "sidecar.istio.io/agentLogLevel": _matching(_AGENT_LEVELS, "is not a level such as default:debug"),
    "prometheus.istio.io/merge-metrics": _switch,
    **{
        f"sidecar.istio.io/{it}": _quantity
        for it in ("proxyCPU", "proxyMemory", "proxyCPULimit", "proxyMemoryLimit")
    },
    **{f"sidecar.istio.io/{it}": _things for it in ("userVolume", "userVolumeMount")},
    f"{READINESS}/initialDelaySeconds": _number,
    **{f"{READINESS}/{it}": _count for it in ("periodSeconds", "failureThreshold")},
    f"{TRAFFIC}/includeOutboundIPRanges": _all_or(_ranges),
    f"{TRAFFIC}/excludeOutboundIPRanges": _ranges,
    f"{TRAFFIC}/includeInboundPorts": _all_or(_ports),
    f"{TRAFFIC}/excludeInboundPorts": _ports,
    f"{TRAFFIC}/includeOutboundPorts": _ports,
    f"{TRAFFIC}/excludeOutboundPorts": _ports,
    **dict.fromkeys((f"{TRAFFIC}/excludeInterfaces", *VIRTUAL_INTERFACES), _interfaces),
}
