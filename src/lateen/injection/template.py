"""What is put into a pod? The sidecar, the capture of its traffic, and their volumes; for gateways, the proxy alone.

Names, ports, paths and variables are Istio's, so that tools and people find them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lateen.envoy.wellknown import INBOUND_PORT, OUTBOUND_PORT, READY_PORT, STATS_PORT
from lateen.injection.annotations import READINESS, TRAFFIC, named
from lateen.injection.decide import PROXY
from lateen.injection.owner import Owner
from lateen.injection.settings import InjectionSettings

Object = dict[str, Any]

INIT, USER = "istio-init", 1337


class Injected(NamedTuple):
    """What the template needs to know of a pod."""

    namespace: str
    owner: Owner
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: Sequence[Mapping[str, Any]]
    probers: Mapping[str, Any]
    scraped: Mapping[str, str]  # the application's own prometheus.io annotations
    proxy_config: Mapping[str, Any]
    status_port: int  # of the agent; 0 when the pod wants none
    gateway: bool
    native: bool
    grace_s: int  # between the order to end and the kubelet's kill

    @property
    def held(self) -> bool:
        """Whether the application starts after the proxy is ready."""
        return bool(self.proxy_config.get("holdApplicationUntilProxyStarts"))

    @property
    def captured(self) -> bool:
        """Whether traffic goes through the proxy without being sent to it."""
        return not self.gateway and self.annotations.get("sidecar.istio.io/interceptionMode") != "NONE"


def init(it: Injected, settings: InjectionSettings) -> Object:
    """The container that captures the pod's traffic. What it needs, it says itself: the pod may forbid root."""
    said = it.annotations.get
    own = [str(port) for port in (STATS_PORT, READY_PORT, it.status_port) if port]
    excluded = [*own, settings.exclude_inbound_ports, said(f"{TRAFFIC}/excludeInboundPorts", "")]
    outbound = [settings.exclude_outbound_ports, said(f"{TRAFFIC}/excludeOutboundPorts", "")]
    args = [
        "istio-iptables", "-p", str(OUTBOUND_PORT), "-z", str(INBOUND_PORT), "-u", str(USER), "-m", "REDIRECT",
        "-i", said(f"{TRAFFIC}/includeOutboundIPRanges", settings.include_ranges),
        "-x", said(f"{TRAFFIC}/excludeOutboundIPRanges", settings.exclude_ranges),
        "-b", said(f"{TRAFFIC}/includeInboundPorts", settings.include_inbound_ports), "-d", ",".join(filter(None, excluded)),
    ]  # fmt: skip
    optional = {
        "-o": ",".join(filter(None, outbound)), "-q": said(f"{TRAFFIC}/includeOutboundPorts", ""),
        "-c": said(f"{TRAFFIC}/excludeInterfaces", ""),
    }  # fmt: skip
    args += [word for option, value in optional.items() if value for word in (option, value)]
    return {
        "name": INIT, "image": _image(it, settings.init_image or settings.image),
        "imagePullPolicy": settings.pull_policy,
        "args": [*args, f"--log_output_level=default:{settings.agent_log_level}"], "resources": _resources(it, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": False, "runAsGroup": 0,
            "runAsUser": 0, "runAsNonRoot": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        },
    }  # fmt: skip


def proxy(it: Injected, settings: InjectionSettings) -> Object:
    """The container of Envoy and its agent."""
    said = it.annotations.get
    made: Object = {
        "name": PROXY, "image": _image(it, settings.image), "imagePullPolicy": settings.pull_policy,
        "args": [
            "proxy", "router" if it.gateway else "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local",
            f"--proxyLogLevel={said('sidecar.istio.io/logLevel', settings.log_level)}",
            f"--log_output_level=default:{said('sidecar.istio.io/agentLogLevel', settings.agent_log_level)}",
        ],
        "ports": [{"containerPort": STATS_PORT, "name": "http-envoy-prom", "protocol": "TCP"}],
        "env": _environment(it, settings), "resources": _resources(it, settings), **_probes(it),
        "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False,
            "readOnlyRootFilesystem": True, "runAsUser": USER, "runAsGroup": USER, "runAsNonRoot": True,
        },
        "volumeMounts": _mounts(it),
    }  # fmt: skip
    if it.native:
        made["restartPolicy"] = "Always"
    elif it.held and not it.gateway:
        made["lifecycle"] = {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}
    return made


def _probes(it: Injected) -> Object:
    """Ready as the annotations say. What comes after a native sidecar waits for its startup probe."""
    if not it.status_port:
        return {}
    healthy = {"httpGet": {"path": "/healthz/ready", "port": READY_PORT, "scheme": "HTTP"}}
    said = it.annotations.get
    ready: Object = {
        **healthy, "failureThreshold": int(said(f"{READINESS}/failureThreshold", "4")),
        "periodSeconds": int(said(f"{READINESS}/periodSeconds", "15")), "timeoutSeconds": 3,
    }  # fmt: skip
    if delay := int(said(f"{READINESS}/initialDelaySeconds", "0")):
        ready["initialDelaySeconds"] = delay
    made: Object = {"readinessProbe": ready}
    if it.native or it.gateway:
        made["startupProbe"] = {**healthy, "failureThreshold": 600, "periodSeconds": 1, "timeoutSeconds": 3}
    return made


def _environment(it: Injected, settings: InjectionSettings) -> list[Object]:
    """What the agent is told."""
    fields = {
        "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "INSTANCE_IP": "status.podIP",
        "SERVICE_ACCOUNT": "spec.serviceAccountName", "HOST_IP": "status.hostIP", "ISTIO_META_NODE_NAME": "spec.nodeName",
    }  # fmt: skip
    # Fields first: $(POD_NAMESPACE) in args refers to what is above.
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        *({"name": name, "value": value} for name, value in _told(it, settings).items()),
    ]


def _told(it: Injected, settings: InjectionSettings) -> dict[str, str]:
    told = {
        "PILOT_CERT_PROVIDER": "istiod", "CA_ADDR": str(it.proxy_config.get("discoveryAddress") or settings.discovery_address),
        "PROXY_CONFIG": _json(it.proxy_config), "ISTIO_META_POD_PORTS": _json(_ports(it.containers)),
        "ISTIO_META_APP_CONTAINERS": ",".join(str(c.get("name")) for c in it.containers),
        "ISTIO_META_CLUSTER_ID": settings.cluster, "ISTIO_META_WORKLOAD_NAME": it.owner.name,
        "ISTIO_META_OWNER": it.owner.url(it.namespace), "ISTIO_META_MESH_ID": settings.mesh_id,
        "TRUST_DOMAIN": settings.trust_domain,
    }  # fmt: skip
    if not it.gateway:
        told["ISTIO_META_INTERCEPTION_MODE"] = "REDIRECT" if it.captured else "NONE"
    optional = {
        "ISTIO_META_NETWORK": it.labels.get("topology.istio.io/network") or settings.network,
        "ISTIO_PROMETHEUS_ANNOTATIONS": _json(it.scraped) if it.scraped else "",
        "ISTIO_KUBE_APP_PROBERS": _json(it.probers) if it.probers else "",
        "LATEEN_NATIVE_SIDECAR": "true" if it.native else "",
        "LATEEN_GRACE_PERIOD": "" if it.native else f"{it.grace_s}s",
    }
    told |= {name: value for name, value in optional.items() if value}
    told |= settings.added_environment
    return told | {
        str(key): str(value) for key, value in (it.proxy_config.get("proxyMetadata") or {}).items()
    }


def _ports(containers: Sequence[Mapping[str, Any]]) -> list[Object]:
    return [
        {"containerPort": port.get("containerPort"), **({"name": port["name"]} if port.get("name") else {}),
         "protocol": port.get("protocol", "TCP")}
        for container in containers for port in container.get("ports") or ()
    ]  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def volumes(own: Mapping[str, str]) -> list[Object]:
    """Of the proxy: keys in memory only, its token, the root certificate, its own labels, and what the pod adds."""
    items = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.{name}"}} for name in ("labels", "annotations")
    ]
    token = {
        "serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}
    }
    return [
        {"name": "workload-socket", "emptyDir": {}}, {"name": "credential-socket", "emptyDir": {}},
        {"name": "workload-certs", "emptyDir": {}}, {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": {}}, {"name": "istio-podinfo", "downwardAPI": {"items": items}},
        {"name": "istio-token", "projected": {"sources": [token]}},
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
        *named(own, "sidecar.istio.io/userVolume"),
    ]  # fmt: skip


def _mounts(it: Injected) -> list[Object]:
    mounts = (
        ("workload-socket", "/var/run/secrets/workload-spiffe-uds"), ("credential-socket", "/var/run/secrets/credential-uds"),
        ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"), ("istiod-ca-cert", "/var/run/secrets/istio"),
        ("istio-data", "/var/lib/istio/data"), ("istio-envoy", "/etc/istio/proxy"),
        ("istio-token", "/var/run/secrets/tokens"), ("istio-podinfo", "/etc/istio/pod"),
    )  # fmt: skip
    made: list[Object] = [{"name": name, "mountPath": path} for name, path in mounts]
    return [*made, *named(it.annotations, "sidecar.istio.io/userVolumeMount")]


def _image(it: Injected, image: str) -> str:
    return it.annotations.get("sidecar.istio.io/proxyImage") or image


def _resources(it: Injected, settings: InjectionSettings) -> Object:
    """The mesh's figures, unless the pod's annotations have their own: then only these."""
    words = {
        ("requests", "cpu"): "proxyCPU", ("requests", "memory"): "proxyMemory", ("limits", "cpu"): "proxyCPULimit",
        ("limits", "memory"): "proxyMemoryLimit",
    }  # fmt: skip
    own: dict[str, dict[str, str]] = {}
    for (part, resource), word in words.items():
        if value := it.annotations.get(f"sidecar.istio.io/{word}"):
            own.setdefault(part, {})[resource] = value
    return own or {
        key: dict(value) for key, value in settings.resources.items() if isinstance(value, Mapping)
    }
