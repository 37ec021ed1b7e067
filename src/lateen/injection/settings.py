"""What must injection know of the mesh? Read from the ConfigMaps that the installation writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml


class SettingsError(ValueError):
    """A ConfigMap that cannot be read; the message says which key and why."""


@dataclass(frozen=True, slots=True)
class InjectionSettings:
    """By default what ``lateen install`` gives."""

    image: str = "lateen/proxy:latest"
    init_image: str = ""  # of istio-init; empty means the same
    pull_policy: str = "IfNotPresent"
    pull_secrets: Sequence[str] = ()
    namespace: str = "istio-system"
    revision: str = "default"
    cluster: str = "Kubernetes"
    mesh_id: str = "cluster.local"
    network: str = ""
    trust_domain: str = "cluster.local"
    native_sidecars: bool = True
    rewrite_probes: bool = True
    prometheus_merge: bool = True
    inject_unasked: bool = True  # whether pods which say nothing themselves are injected (``autoInject``)
    never_selectors: Sequence[Mapping[str, Any]] = ()
    always_selectors: Sequence[Mapping[str, Any]] = ()
    added_annotations: Mapping[str, str] = field(default_factory=dict)
    added_environment: Mapping[str, str] = field(default_factory=dict)
    log_level: str = "warning"
    agent_log_level: str = "info"
    resources: Mapping[str, Any] = field(default_factory=dict)
    proxy_config: Mapping[str, Any] = field(default_factory=dict)
    include_ranges: str = "*"
    exclude_ranges: str = ""
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    exclude_outbound_ports: str = ""

    @property
    def discovery_address(self) -> str:
        """Where the control plane and its CA are."""
        return str(self.proxy_config.get("discoveryAddress") or f"istiod.{self.namespace}.svc:15012")


def settings_from_config_maps(injector: Mapping[str, str], mesh: Mapping[str, str]) -> InjectionSettings:
    """From the data of ``istio-sidecar-injector`` (keys ``values`` and ``config``) and ``istio`` (key ``mesh``)."""
    values = _mapping(injector.get("values", ""), "istio-sidecar-injector: data.values")
    config = _mapping(injector.get("config", ""), "istio-sidecar-injector: data.config")
    return settings(values, _mapping(mesh.get("mesh", ""), "istio: data.mesh"), config)


def settings(
    values: Mapping[str, Any], mesh: Mapping[str, Any], config: Mapping[str, Any] | None = None
) -> InjectionSettings:
    """From Helm's values, MeshConfig, and the injector's own config, which wins over the values."""
    shared, default = _part(values, "global"), InjectionSettings()
    proxy, webhook = _part(shared, "proxy"), {**_part(values, "sidecarInjectorWebhook"), **(config or {})}
    proxy_config = _part(mesh, "defaultConfig")
    if not str(proxy_config.get("statusPort") or 0).isdecimal():
        raise SettingsError(
            f"MeshConfig: defaultConfig.statusPort is {proxy_config['statusPort']!r}, which is no port"
        )
    if _truth(proxy.get("holdApplicationUntilProxyStarts"), default=False):
        proxy_config["holdApplicationUntilProxyStarts"] = True  # either of the two places says it
    return InjectionSettings(
        image=str(proxy.get("image") or default.image), init_image=str(_part(shared, "proxy_init").get("image") or ""),
        pull_policy=str(shared.get("imagePullPolicy") or default.pull_policy),
        pull_secrets=tuple(map(str, _list(shared, "imagePullSecrets"))),
        namespace=str(shared.get("istioNamespace") or default.namespace),
        revision=str(values.get("revision") or default.revision),
        cluster=str(_part(shared, "multiCluster").get("clusterName") or shared.get("clusterName") or default.cluster),
        mesh_id=str(shared.get("meshID") or mesh.get("trustDomain") or default.mesh_id),
        network=str(shared.get("network") or ""), trust_domain=str(mesh.get("trustDomain") or default.trust_domain),
        native_sidecars=_truth(_part(values, "pilot").get("nativeSidecars"), default=True),
        rewrite_probes=_truth(webhook.get("rewriteAppHTTPProbe"), default=True),
        prometheus_merge=_truth(mesh.get("enablePrometheusMerge"), default=True),
        inject_unasked=str(webhook.get("policy") or proxy.get("autoInject") or "enabled") == "enabled",
        never_selectors=tuple(it for it in _list(webhook, "neverInjectSelector") if isinstance(it, dict)),
        always_selectors=tuple(it for it in _list(webhook, "alwaysInjectSelector") if isinstance(it, dict)),
        added_annotations={str(k): str(v) for k, v in _part(webhook, "injectedAnnotations").items()},
        log_level=str(proxy.get("logLevel") or default.log_level),
        agent_log_level=str(_part(shared, "logging").get("level") or default.agent_log_level),
        resources=_part(proxy, "resources"), proxy_config=proxy_config,
        include_ranges=str(proxy.get("includeIPRanges") or "*"), exclude_ranges=str(proxy.get("excludeIPRanges") or ""),
        include_inbound_ports=str(proxy.get("includeInboundPorts") or "*"),
        exclude_inbound_ports=str(proxy.get("excludeInboundPorts") or ""),
        exclude_outbound_ports=str(proxy.get("excludeOutboundPorts") or ""),
    )  # fmt: skip


def _mapping(text: str, place: str) -> dict[str, Any]:
    """JSON is YAML, and quicker to read."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as wrong:
        raise SettingsError(f"ConfigMap {place} cannot be read: {wrong}") from wrong
    if not isinstance(found, dict):
        raise SettingsError(f"ConfigMap {place} is no mapping of settings")
    return found


def _part(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = tree.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _list(tree: Mapping[str, Any], name: str) -> list[Any]:
    found = tree.get(name)
    return found if isinstance(found, list) else []


def _truth(value: Any, *, default: bool) -> bool:
    return default if value is None or value == "" else str(value).lower() == "true"
