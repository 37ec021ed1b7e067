"""What must injection know of the mesh? Read from the ConfigMaps that the installation writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import yaml

from lateen.api import mesh_config
from lateen.api.mesh_config import MeshConfig
from lateen.api.proxy_config import InterceptionMode, ProxyConfig
from lateen.api.validate.finding import Finding
from lateen.envoy.wellknown import AGENT_PORT
from lateen.injection import values as helm
from lateen.injection.annotations import json_of, plain
from lateen.injection.values import Policy, Values


class SettingsError(ValueError):
    """A ConfigMap that cannot be read; the message says which key and why."""


@dataclass(frozen=True, slots=True)
class InjectionSettings:
    """By default what ``lateen install`` gives."""

    image: str = "lateen/proxy:latest"
    init_image: str = ""  # of istio-init; empty means the same
    pull_policy: str = ""  # empty leaves it to Kubernetes
    pull_secrets: Sequence[str] = ()
    namespace: str = "istio-system"
    revision: str = "default"
    cluster: str = "Kubernetes"
    mesh_id: str = "cluster.local"
    network: str = ""
    trust_domain: str = "cluster.local"
    ca_address: str = ""  # empty means the control plane
    native_sidecars: bool = True
    rewrite_probes: bool = True
    prometheus_merge: bool = True
    inject_unasked: bool = True  # whether pods which say nothing themselves are injected (``autoInject``)
    never_selectors: Sequence[Mapping[str, Any]] = ()
    always_selectors: Sequence[Mapping[str, Any]] = ()
    added_annotations: Mapping[str, str] = field(default_factory=dict)
    added_environment: Mapping[str, str] = field(default_factory=dict)
    log_level: str = "warning"
    component_log_level: str = "misc:error"
    agent_log_level: str = "default:info"
    resources: Mapping[str, Any] = field(default_factory=dict)
    lifecycle: Mapping[str, Any] = field(default_factory=dict)
    seccomp_profile: Mapping[str, Any] = field(default_factory=dict)
    privileged: bool = False
    bind_low_ports: bool = False  # ``capNetBindService``
    mtls_certificates: bool = False  # ``mountMtlsCerts``
    gateway_security: Mapping[str, Any] = field(default_factory=dict)  # of pods of gateways
    proxy_config: Mapping[str, Any] = field(default_factory=dict)
    status_port: int = 0  # where proxy_config says nothing; 0 means the agent's
    asked_for_status: bool = True  # False: ``statusPort: 0``
    ready_after_s: int = 0
    ready_every_s: int = 15
    ready_failures: int = 4
    startup_failures: int = 600  # 0: no startup probe
    include_ranges: str = "*"
    exclude_ranges: str = ""
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""

    @property
    def discovery_address(self) -> str:
        """Where the control plane is."""
        return str(self.proxy_config.get("discoveryAddress") or f"istiod.{self.namespace}.svc:15012")


class Reading(NamedTuple):
    """Settings, and what is wrong, unknown or without effect; paths begin with ``data``."""

    settings: InjectionSettings
    told: tuple[Finding, ...]


def read(injector: Mapping[str, str], mesh: Mapping[str, str]) -> Reading:
    """From the data of ``istio-sidecar-injector`` (keys ``values`` and ``config``) and ``istio`` (key ``mesh``).

    SettingsError when one cannot be read at all, or a setting whose default could open something.
    """
    values = read_values(injector)
    found = mesh_config.read(mesh.get("mesh", ""))
    if found.config is None:
        wrong = next(it for it in found.problems)
        raise SettingsError(
            f"ConfigMap istio: data.mesh{f': {wrong.path}' if wrong.path else ''} {wrong.message}"
        )
    told = (*values.told, *(it._replace(path=f"data.mesh: {it.path}") for it in found.problems))
    return Reading(settings(values.values, found.config), told)


def read_values(data: Mapping[str, str], kept: Values | None = None) -> helm.Reading:
    """Of the ConfigMap ``istio-sidecar-injector``; ``kept`` is what held until now. SettingsError."""
    document = _mapping(data.get("values", ""), "istio-sidecar-injector: data.values")
    config = _mapping(data.get("config", ""), "istio-sidecar-injector: data.config")
    found = helm.read(with_config(document, config), kept)
    return found._replace(told=tuple(it._replace(path=f"data.values: {it.path}") for it in found.told))


def with_config(values: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The injector's own config is part of its values, and wins."""
    injector = values.get("sidecarInjectorWebhook")
    return {
        **values,
        "sidecarInjectorWebhook": {**(injector if isinstance(injector, dict) else {}), **config},
    }


def settings(values: Values, mesh: MeshConfig) -> InjectionSettings:
    """From Helm's values and MeshConfig."""
    shared, injector, default = values.shared, values.sidecar_injector_webhook, InjectionSettings()
    proxy, config = shared.proxy, proxy_config(mesh.default_config, shared.istio_namespace)
    if proxy.hold_application_until_proxy_starts:
        config["holdApplicationUntilProxyStarts"] = True  # either of the two places says it
    image = _image(shared.proxy.image, shared)
    return InjectionSettings(
        image=image, init_image=_image(shared.proxy_init.image, shared) if shared.proxy_init.image else image,
        pull_policy=shared.image_pull_policy, pull_secrets=tuple(shared.image_pull_secrets),
        namespace=shared.istio_namespace, revision=values.revision or default.revision,
        cluster=shared.multi_cluster.cluster_name or shared.cluster_name or default.cluster,
        mesh_id=shared.mesh_id or mesh.trust_domain, network=shared.network, trust_domain=mesh.trust_domain,
        ca_address=shared.ca_address, native_sidecars=_truth(values.pilot.env.get("ENABLE_NATIVE_SIDECARS")),
        rewrite_probes=injector.rewrite_app_http_probe, prometheus_merge=mesh.enable_prometheus_merge,
        inject_unasked=(injector.policy or proxy.auto_inject) is Policy.ENABLED,
        never_selectors=_plain(injector.never_inject_selector), always_selectors=_plain(injector.always_inject_selector),
        added_annotations={key: str(it) for key, it in injector.injected_annotations.items()},
        log_level=proxy.log_level or default.log_level, component_log_level=proxy.component_log_level,
        agent_log_level=scoped(shared.logging.level), resources=_resources(proxy.resources),
        lifecycle=proxy.lifecycle, seccomp_profile=proxy.seccomp_profile, privileged=proxy.privileged,
        bind_low_ports=proxy.cap_net_bind_service, mtls_certificates=shared.mount_mtls_certs,
        gateway_security=values.gateways.security_context, proxy_config=config,
        status_port=_unusual(proxy.status_port), asked_for_status=proxy.status_port != 0,
        ready_after_s=proxy.readiness_initial_delay_seconds, ready_every_s=proxy.readiness_period_seconds,
        ready_failures=proxy.readiness_failure_threshold,
        startup_failures=proxy.startup_probe.failure_threshold if proxy.startup_probe.enabled else 0,
        include_ranges=proxy.include_ip_ranges, exclude_ranges=proxy.exclude_ip_ranges,
        include_inbound_ports=str(proxy.include_inbound_ports), exclude_inbound_ports=str(proxy.exclude_inbound_ports),
        include_outbound_ports=str(proxy.include_outbound_ports), exclude_outbound_ports=str(proxy.exclude_outbound_ports),
    )  # fmt: skip


def proxy_config(it: ProxyConfig, namespace: str = "istio-system") -> dict[str, Any]:
    """As JSON for the agent: what was said, well written. TPROXY is told where it is read; REDIRECT acts instead."""
    made: dict[str, Any] = msgspec.to_builtins(it, enc_hook=json_of)
    if it.interception_mode is InterceptionMode.TPROXY:
        del made["interceptionMode"]
    if namespace != "istio-system" and it.discovery_address == ProxyConfig().discovery_address:
        made["discoveryAddress"] = f"istiod.{namespace}.svc:15012"
    return made


def scoped(level: str) -> str:
    """``debug`` and ``default:debug`` are one."""
    return level if ":" in level else f"default:{level or 'info'}"


def _unusual(port: int | None) -> int:
    """Istio's charts always say the usual one, which must not hide what MeshConfig says."""
    return 0 if port in (None, AGENT_PORT) else port or 0


def _image(name: str, shared: helm.Global) -> str:
    """Istio's rule: a name alone is one of the hub's images."""
    return name if "/" in name or ":" in name else f"{shared.hub}/{name or 'proxy'}:{shared.tag}"


def _resources(it: helm.Resources) -> dict[str, Any]:
    parts = {"requests": it.requests, "limits": it.limits}
    return {
        part: {key: str(amount) for key, amount in found.items()} for part, found in parts.items() if found
    }


def _plain(selectors: Sequence[helm.Selector]) -> tuple[Mapping[str, Any], ...]:
    return tuple(msgspec.to_builtins(it) for it in selectors)


def _mapping(text: str, place: str) -> dict[str, Any]:
    """JSON is YAML, and quicker to read."""
    if not text.strip():
        return {}
    if len(text) > mesh_config.LONGEST:
        raise SettingsError(
            f"ConfigMap {place} has {len(text)} characters: at most {mesh_config.LONGEST} are read"
        )
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else plain(text)
    except (ValueError, RecursionError, yaml.YAMLError) as wrong:
        raise SettingsError(f"ConfigMap {place} cannot be read: {wrong}") from wrong
    if not isinstance(found, dict):
        raise SettingsError(f"ConfigMap {place} is no mapping of settings")
    return found


def _truth(value: Any) -> bool:
    """Native sidecars are what is meant unless somebody says no."""
    return str(value).lower() not in ("false", "f", "0")
