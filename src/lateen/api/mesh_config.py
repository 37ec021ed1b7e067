"""What holds for the whole mesh? MeshConfig, from the key ``mesh`` of the ConfigMap ``istio``.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ ; it is read field by field, and what is wrong, unknown
or without effect is told (docs/decisions/0007-settings-field-by-field.md).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import yaml

from lateen.api import lenient
from lateen.api import proxy_config as proxies
from lateen.api.meta import Duration, Value, from_text
from lateen.api.networking import HTTPRetry
from lateen.api.proxy_config import ProxyConfig
from lateen.api.validate import texts
from lateen.api.validate.finding import Finding, warning
from lateen.names.problems import Severity


class OutboundMode(enum.StrEnum):
    """What happens to traffic for hosts the mesh does not know."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"
    #: Istio resolves unknown names of HTTP itself; here it acts as ALLOW_ANY, which is told.
    ALLOW_ANY_DYNAMIC_DNS = "ALLOW_ANY_DYNAMIC_DNS"


class OutboundTrafficPolicy(Value, frozen=True):
    """``outboundTrafficPolicy``."""

    mode: OutboundMode = OutboundMode.ALLOW_ANY


class AccessLogEncoding(enum.StrEnum):
    """How a line of the access log is written."""

    TEXT = "TEXT"
    JSON = "JSON"


class TLSConfig(Value, frozen=True):
    """``meshMTLS``."""

    min_protocol_version: str = "TLSV1_2"


class MeshConfig(Value, frozen=True):
    """Settings are a fact like any other: a changed one recompiles just what read it."""

    trust_domain: str = "cluster.local"
    trust_domain_aliases: list[str] = []
    root_namespace: str = "istio-system"
    enable_auto_mtls: bool = True
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: AccessLogEncoding = AccessLogEncoding.TEXT
    connect_timeout: Duration = Duration(10 * 10**9)
    protocol_detection_timeout: Duration = Duration(0)
    enable_prometheus_merge: bool = True
    default_config: ProxyConfig = ProxyConfig()
    default_service_export_to: list[str] = []
    default_virtual_service_export_to: list[str] = []
    default_destination_rule_export_to: list[str] = []
    mesh_mtls: TLSConfig = msgspec.field(default=TLSConfig(), name="meshMTLS")
    default_http_retry_policy: HTTPRetry | None = None
    dns_refresh_rate: Duration = Duration(60 * 10**9)
    domain: str = "cluster.local"


class Reading(NamedTuple):
    """``config`` is None when nothing can hold: see ``read``."""

    config: MeshConfig | None
    problems: tuple[Finding, ...]


DEFAULT = MeshConfig()
#: Real ones have a few kilobytes; a ConfigMap holds a megabyte.
LONGEST = 256 * 1024
#: Values in the document, aliases written out.
_MOST_VALUES = 20_000
_NO_EFFECT = "has no effect in this release"
#: Typed, so that it is checked, but not followed in this release.
_NOT_FOLLOWED = frozenset({"dnsRefreshRate", "meshMTLS"})
#: Fields of Istio's message that nothing here looks into.
_ISTIOS = frozenset({
    "proxyListenPort", "proxyInboundListenPort", "proxyHttpPort", "tcpKeepalive", "ingressClass", "ingressService",
    "ingressControllerMode", "ingressSelector", "enableTracing", "enableEnvoyAccessLogService", "disableEnvoyListenerLog",
    "inboundTrafficPolicy", "configSources", "caCertificates", "localityLbSetting",
    "h2UpgradePolicy", "inboundClusterStatName", "outboundClusterStatName", "certificates", "serviceSettings",
    "verifyCertificateAtClient", "ca", "extensionProviders", "defaultProviders", "discoverySelectors",
    "pathNormalization", "tlsDefaults", "serviceScopeConfigs", "zoneAwareLbSetting", "defaultTrafficPolicy",
    "serviceEntryVisibility",
})  # fmt: skip
#: Fields whose default would open something, or change who everybody is, for whoever wrote another value.
_GUARDED = frozenset({
    "trustDomain", "rootNamespace", "outboundTrafficPolicy", "outboundTrafficPolicy.mode", "defaultServiceExportTo",
    "defaultVirtualServiceExportTo", "defaultDestinationRuleExportTo",
})  # fmt: skip


def decode(document: Mapping[str, Any]) -> MeshConfig:
    """The settings in a decoded ``mesh`` document; raises ``msgspec.ValidationError`` with the path."""
    return msgspec.convert(document, MeshConfig, dec_hook=from_text)


def read(text: str, kept: MeshConfig | None = None) -> Reading:
    """The settings in the text of the ConfigMap, and what is wrong in it, with paths.

    ``kept`` is what held until now: a field that cannot be read keeps its value. Without it (at the start) such a field
    has its default, but for those whose default could open something: then there is no config, and neither is there
    one when the text as a whole cannot be read.
    """
    try:
        document = _parsed(text)
    except ValueError as wrong:
        return Reading(kept, (Finding("", str(wrong)),))
    return read_document(document, kept)


def read_document(document: Mapping[str, Any], kept: MeshConfig | None = None) -> Reading:
    """The same for YAML or JSON that was read."""
    found, told = lenient.read(document, kept or DEFAULT)
    told = [it for it in told if _camel(it.path) not in _ISTIOS]
    checked, wrong = _checked(found, kept or DEFAULT)
    told += [*wrong, *_without_effect(document)]
    if kept is None and any(it.severity is Severity.ERROR and _guarded(it.path) for it in told):
        return Reading(None, tuple(told))
    return Reading(checked, tuple(told))


def proxy_config(document: Mapping[str, Any]) -> tuple[ProxyConfig, tuple[Finding, ...]]:
    """What the annotation ``proxy.istio.io/config`` says, and what is wrong, unknown or without effect in it.

    A field that cannot be read has its default. Paths begin at the document: ``gatewayTopology.numTrustedProxies``.
    """
    found, told = lenient.read(document, ProxyConfig())
    checked, wrong = _checked_proxy(found, ProxyConfig(), "")
    return checked, (*told, *wrong, *_idle_of_proxies(document, ""))


def _parsed(text: str) -> Mapping[str, Any]:
    if len(text) > LONGEST:
        raise ValueError(f"has {len(text)} characters: at most {LONGEST} are read")
    try:
        found = yaml.load(text, _LOADER) if text.strip() else {}  # noqa: S506 - a safe loader
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise ValueError("is not a YAML mapping such as `accessLogFile: /dev/stdout`")  # noqa: TRY004
        _count(found)
    except (yaml.YAMLError, RecursionError, OverflowError) as wrong:
        raise ValueError(f"cannot be read: {str(wrong) or 'it is nested too deeply'}") from wrong
    return found


#: libyaml's, where PyYAML has it: ten times as quick.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _count(tree: Any) -> None:
    """Aliases of aliases grow without limit once they are written out."""
    rest, seen = [tree], 0
    while rest:
        it = rest.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise ValueError(f"has more than {_MOST_VALUES} values (aliases count as often as they are used)")
        rest += it.values() if isinstance(it, dict) else it if isinstance(it, list) else ()


def _guarded(path: str) -> bool:
    return _camel(path.partition("[")[0]) in _GUARDED


def _camel(name: str) -> str:
    """``trustDomain`` of ``trust_domain``: protobuf's readers take both."""
    first, *others = name.split("_")
    return first + "".join(it[:1].upper() + it[1:] for it in others)


def _checked(it: MeshConfig, kept: MeshConfig) -> tuple[MeshConfig, list[Finding]]:
    """Values that are of the right type and make no sense."""
    told: list[Finding] = []
    right: dict[str, Any] = {}
    for name, path, wrong in (
        ("trust_domain", "trustDomain", texts.fqdn(it.trust_domain)),
        ("root_namespace", "rootNamespace", texts.dns_label(it.root_namespace)),
        ("connect_timeout", "connectTimeout", texts.duration(it.connect_timeout)),
    ):
        if wrong:
            right[name] = getattr(kept, name)
            told.append(Finding(path, f"{wrong}{lenient.HOLDS}{lenient.shown(right[name])} holds"))
    if it.outbound_traffic_policy.mode is OutboundMode.ALLOW_ANY_DYNAMIC_DNS:
        right["outbound_traffic_policy"] = OutboundTrafficPolicy(OutboundMode.ALLOW_ANY)
    right["default_config"], wrong_of_proxies = _checked_proxy(
        it.default_config, kept.default_config, "defaultConfig."
    )
    return msgspec.structs.replace(it, **right), [*told, *wrong_of_proxies]


def _checked_proxy(it: ProxyConfig, kept: ProxyConfig, at: str) -> tuple[ProxyConfig, list[Finding]]:
    """The same for settings of a proxy, with which its agent would not start."""
    told: list[Finding] = []
    right: dict[str, Any] = {}
    drain = it.drain_duration
    for name, path, wrong in (
        ("discovery_address", "discoveryAddress", _address(it.discovery_address)),
        ("drain_duration", "drainDuration", "must be at least 1s" if drain and drain.seconds < 1 else ""),
    ):
        if wrong:
            right[name] = getattr(kept, name)
            held = f"{lenient.HOLDS}{lenient.shown(right[name])} holds" if right[name] is not None else ""
            told.append(Finding(f"{at}{path}", f"{wrong}{held}"))
    return msgspec.structs.replace(it, **right), told


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    named = host[1:-1] if host[:1] + host[-1:] == "[]" else host
    wrong = (
        not colon
        or texts.port_text(port)
        or port == "0"
        or not (texts.is_address(named) or not texts.fqdn(host))
    )
    return f'"{text}" is not of the form host:port, such as istiod.istio-system.svc:15012' if wrong else ""


def _without_effect(document: Mapping[str, Any]) -> Iterator[Finding]:
    """Fields that are well written, and that nobody acts on."""
    for written, value in document.items():
        name = _camel(str(written))
        if name in _ISTIOS or name in _NOT_FOLLOWED:
            yield warning(str(written), _NO_EFFECT)
        elif name == "defaultConfig" and isinstance(value, Mapping):
            yield from _idle_of_proxies(value, f"{name}.")
        elif name == "outboundTrafficPolicy" and value == {"mode": OutboundMode.ALLOW_ANY_DYNAMIC_DNS}:
            yield warning(
                f"{name}.mode", f"ALLOW_ANY_DYNAMIC_DNS {_NO_EFFECT} of its own: it acts as ALLOW_ANY"
            )


def _idle_of_proxies(document: Mapping[str, Any], at: str) -> Iterator[Finding]:
    known = {it.encode_name for it in msgspec.structs.fields(ProxyConfig)}
    for written, value in document.items():
        name = _camel(str(written))
        if name in known and name not in proxies.FOLLOWED:
            yield warning(f"{at}{written}", _NO_EFFECT)
        elif name == "interceptionMode" and value == proxies.InterceptionMode.TPROXY:
            yield warning(f"{at}{written}", f"TPROXY {_NO_EFFECT}: it acts as REDIRECT")
        elif name == "proxyMetadata" and isinstance(value, Mapping):
            for variable in value:
                if variable in proxies.IDLE_VARIABLES:
                    yield warning(f"{at}{written}.{variable}", _NO_EFFECT)
