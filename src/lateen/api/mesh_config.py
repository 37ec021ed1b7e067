"""What holds for the whole mesh? MeshConfig, from the key ``mesh`` of the ConfigMap ``istio``.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ ; fields that are not here are accepted, and told.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from lateen.api.meta import Duration, Value, from_text
from lateen.api.networking import HTTPRetry


class OutboundMode(enum.StrEnum):
    """What happens to traffic for hosts the mesh does not know."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class OutboundTrafficPolicy(Value, frozen=True):
    """``outboundTrafficPolicy``."""

    mode: OutboundMode = OutboundMode.ALLOW_ANY


class AccessLogEncoding(enum.StrEnum):
    """How a line of the access log is written."""

    TEXT = "TEXT"
    JSON = "JSON"


class ProxyConfig(Value, frozen=True):
    """``defaultConfig``: what agents are told."""

    discovery_address: str = "istiod.istio-system.svc:15012"
    concurrency: int | None = None
    hold_application_until_proxy_starts: bool = False
    drain_duration: Duration | None = None
    termination_drain_duration: Duration | None = None
    proxy_metadata: dict[str, str] = {}


class TLSConfig(Value, frozen=True):
    """``meshMTLS``."""

    min_protocol_version: str = "TLSV1_2"


class MeshConfig(Value, frozen=True):
    """Settings are a fact like any other: a changed one recompiles just what read it."""

    trust_domain: str = "cluster.local"
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


DEFAULT = MeshConfig()
#: Known, so that it is checked, but not followed in this release.
_NOT_FOLLOWED = frozenset({"dnsRefreshRate", "meshMTLS"})


def decode(document: Mapping[str, Any]) -> MeshConfig:
    """The settings in a decoded ``mesh`` document; raises ``msgspec.ValidationError`` with the path."""
    return msgspec.convert(document, MeshConfig, dec_hook=from_text)


def read(text: str) -> MeshConfig:
    """The settings in the text of the ConfigMap; ValueError says what is wrong with it."""
    try:
        found = yaml.safe_load(text) if text else {}
        if not isinstance(found, dict):
            raise TypeError("MeshConfig is a YAML mapping, such as `accessLogFile: /dev/stdout`")
        return decode(found)
    except (msgspec.ValidationError, yaml.YAMLError, TypeError, RecursionError) as wrong:
        raise ValueError(str(wrong)) from wrong


def without_effect(text: str) -> tuple[str, ...]:
    """The paths of fields that are well written, as ``read`` found, and that nobody reads."""
    return tuple(_unread(yaml.safe_load(text) if text else {}, MeshConfig, ""))


def _unread(document: Mapping[str, Any], kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    """The paths of fields that nothing reads. What pods' proxies are told is read by the injector, whose word counts."""
    known = {it.encode_name: it.type for it in msgspec.structs.fields(kind)}
    for name, value in document.items():
        if name not in known or name in _NOT_FOLLOWED:
            yield f"{path}{name}"
        elif isinstance(value, dict) and known[name] is OutboundTrafficPolicy:
            yield from _unread(value, OutboundTrafficPolicy, f"{path}{name}.")
