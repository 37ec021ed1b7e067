"""What must injection know of the mesh? Read from the ConfigMaps that the installation writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml


class SettingsError(ValueError):
    """A ConfigMap that cannot be read; the message says which key and why."""


@dataclass(frozen=True, slots=True)
class InjectionSettings:
    """By default what ``lateen install`` gives."""

    image: str = "lateen/proxy:latest"
    namespace: str = "istio-system"
    revision: str = "default"
    cluster: str = "Kubernetes"
    mesh_id: str = "cluster.local"
    network: str = ""
    trust_domain: str = "cluster.local"
    native_sidecars: bool = True
    rewrite_probes: bool = True
    prometheus_merge: bool = True
    inject_by_default: bool = False
    log_level: str = "warning"
    agent_log_level: str = "info"
    resources: Mapping[str, Any] = field(default_factory=dict)
    proxy_config: Mapping[str, Any] = field(default_factory=dict)
    include_ranges: str = "*"
    exclude_ranges: str = ""
    exclude_inbound_ports: str = ""
    exclude_outbound_ports: str = ""

    @property
    def discovery_address(self) -> str:
        """Where the control plane and its CA are."""
        return str(self.proxy_config.get("discoveryAddress") or f"istiod.{self.namespace}.svc:15012")


def settings_from_config_maps(injector: Mapping[str, str], mesh: Mapping[str, str]) -> InjectionSettings:
    """From the data of ``istio-sidecar-injector`` (key ``values``) and ``istio`` (key ``mesh``)."""
    values, config = _json(injector.get("values", "")), _yaml(mesh.get("mesh", ""))
    shared = _part(values, "global")
    proxy, webhook = _part(shared, "proxy"), _part(values, "sidecarInjectorWebhook")
    default = InjectionSettings()
    return InjectionSettings(
        image=str(proxy.get("image") or default.image), namespace=str(shared.get("istioNamespace") or default.namespace),
        revision=str(values.get("revision") or "default"), cluster=str(shared.get("clusterName") or default.cluster),
        mesh_id=str(shared.get("meshID") or config.get("trustDomain") or default.mesh_id),
        network=str(shared.get("network") or ""), trust_domain=str(config.get("trustDomain") or default.trust_domain),
        native_sidecars=_truth(_part(values, "pilot").get("nativeSidecars"), default=True),
        rewrite_probes=_truth(webhook.get("rewriteAppHTTPProbe"), default=True),
        prometheus_merge=_truth(config.get("enablePrometheusMerge"), default=True),
        inject_by_default=_truth(webhook.get("enableNamespacesByDefault"), default=False),
        log_level=str(proxy.get("logLevel") or default.log_level),
        agent_log_level=str(_part(shared, "logging").get("level") or default.agent_log_level),
        resources=_part(proxy, "resources"), proxy_config=_part(config, "defaultConfig"),
        include_ranges=str(proxy.get("includeIPRanges") or "*"), exclude_ranges=str(proxy.get("excludeIPRanges") or ""),
        exclude_inbound_ports=str(proxy.get("excludeInboundPorts") or ""),
        exclude_outbound_ports=str(proxy.get("excludeOutboundPorts") or ""),
    )  # fmt: skip


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError as wrong:
        raise SettingsError(f"ConfigMap istio-sidecar-injector: data.values is no JSON: {wrong}") from wrong
    return found if isinstance(found, dict) else {}


def _yaml(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError as wrong:
        raise SettingsError(f"ConfigMap istio: data.mesh is no YAML: {wrong}") from wrong
    return found if isinstance(found, dict) else {}


def _part(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def _truth(value: Any, *, default: bool) -> bool:
    return default if value is None or value == "" else str(value).lower() == "true"
