"""What is put into a pod? The sidecar, the capture of its traffic, and their volumes; for gateways, the proxy alone.

Names, ports, paths and variables are Istio's, so that tools and people find them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lateen.api.proxy_config import ProxyConfig
from lateen.envoy.wellknown import AGENT_PORT, INBOUND_PORT, OUTBOUND_PORT, READY_PORT, STATS_PORT
from lateen.injection.annotations import MODE, READINESS, TRAFFIC, named, truth, virtual_interfaces
from lateen.injection.decide import PROXY
from lateen.injection.settings import InjectionSettings
from lateen.names.owners import Owner

Object = dict[str, Any]

INIT, USER = "istio-init", 1337
REVOKED = "istio-ca-crl"
_USUAL = {"discoveryAddress": ProxyConfig().discovery_address, "holdApplicationUntilProxyStarts": False}


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
    user: int  # whose traffic capture leaves alone, because it is the proxy's
    service_account: str

    @property
    def held(self) -> bool:
        """Whether the application starts after the proxy is ready."""
        return bool(self.proxy_config.get("holdApplicationUntilProxyStarts"))

    @property
    def mode(self) -> str:
        """How traffic comes to the proxy: ``REDIRECT`` or ``NONE``. Istio names it for gateways, too."""
        said = self.annotations.get(MODE) or self.proxy_config.get("interceptionMode")
        return "NONE" if said == "NONE" else "REDIRECT"

    @property
    def captured(self) -> bool:
        """Whether traffic goes through the proxy without being sent to it."""
        return not self.gateway and self.mode != "NONE"

    @property
    def variables(self) -> dict[str, str]:
        """What a user adds to the environment of our containers: ``proxyMetadata``."""
        return {str(key): str(value) for key, value in (self.proxy_config.get("proxyMetadata") or {}).items()}


def init(it: Injected, settings: InjectionSettings) -> Object:
    """The container that captures the pod's traffic. What it needs, it says itself: the pod may forbid root."""
    said = it.annotations.get
    asked = (settings.exclude_inbound_ports, said(f"{TRAFFIC}/excludeInboundPorts", ""))
    excluded = [str(STATS_PORT), str(READY_PORT), *asked, str(it.status_port or "")]
    outbound = [settings.exclude_outbound_ports, said(f"{TRAFFIC}/excludeOutboundPorts", "")]
    args = [
        "istio-iptables", "-p", str(OUTBOUND_PORT), "-z", str(INBOUND_PORT), "-u", str(it.user), "-m", "REDIRECT",
        "-i", said(f"{TRAFFIC}/includeOutboundIPRanges", settings.include_ranges),
        "-x", said(f"{TRAFFIC}/excludeOutboundIPRanges", settings.exclude_ranges),
        "-b", said(f"{TRAFFIC}/includeInboundPorts", settings.include_inbound_ports), "-d", ",".join(filter(None, excluded)),
    ]  # fmt: skip
    optional = {
        "-q": said(f"{TRAFFIC}/includeOutboundPorts", settings.include_outbound_ports),
        "-o": ",".join(filter(None, outbound)), "-k": virtual_interfaces(it.annotations),
        "-c": said(f"{TRAFFIC}/excludeInterfaces", ""),
    }  # fmt: skip
    args += [word for option, value in optional.items() if value for word in (option, value)]
    env = {"env": _values(it.variables)} if it.variables else {}
    return {
        "name": INIT, **_image(it, settings.init_image or settings.image, settings), **env,
        "args": [*args, _agent_level(it, settings)], "resources": _resources(it, settings),
        "securityContext": {
            "allowPrivilegeEscalation": settings.privileged, "privileged": settings.privileged, "readOnlyRootFilesystem": False,
            "runAsGroup": 0, "runAsUser": 0, "runAsNonRoot": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}, **_seccomp(settings),
        },
    }  # fmt: skip


def proxy(it: Injected, settings: InjectionSettings) -> Object:
    """The container of Envoy and its agent."""
    said = it.annotations.get
    made: Object = {
        "name": PROXY, **_image(it, settings.image, settings),
        "args": [
            "proxy", "router" if it.gateway else "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local",
            f"--proxyLogLevel={said('sidecar.istio.io/logLevel', settings.log_level)}",
            f"--proxyComponentLogLevel={said('sidecar.istio.io/componentLogLevel', settings.component_log_level)}",
            _agent_level(it, settings),
        ],
        "ports": [{"containerPort": STATS_PORT, "name": "http-envoy-prom", "protocol": "TCP"}],
        "env": _environment(it, settings), "resources": _resources(it, settings), **_probes(it, settings),
        "securityContext": _security(it, settings), "volumeMounts": _mounts(it, settings),
    }  # fmt: skip
    if it.native:
        made["restartPolicy"] = "Always"
    if hooks := _hooks(it, settings):
        made["lifecycle"] = hooks
    return made


def gateway_security(settings: InjectionSettings) -> Object:
    """Of a gateway's pod: its proxy may listen on any port without rights for that. Kubernetes calls it a safe sysctl."""
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return dict(settings.gateway_security) or {"sysctls": sysctls}


def _security(it: Injected, settings: InjectionSettings) -> Object:
    """What the pod says of itself does not matter: it may ask for root, or forbid it."""
    low = truth(it.annotations, "sidecar.istio.io/capNetBindService", default=settings.bind_low_ports)
    return {
        "allowPrivilegeEscalation": settings.privileged, "privileged": settings.privileged, "readOnlyRootFilesystem": True,
        "runAsUser": 0 if low else USER, "runAsGroup": USER, "runAsNonRoot": not low,
        "capabilities": {**({"add": ["NET_BIND_SERVICE"]} if low else {}), "drop": ["ALL"]}, **_seccomp(settings),
    }  # fmt: skip


def _seccomp(settings: InjectionSettings) -> Object:
    return {"seccompProfile": dict(settings.seccomp_profile)} if settings.seccomp_profile else {}


def _hooks(it: Injected, settings: InjectionSettings) -> Object:
    """A held application starts when the proxy is ready. A native sidecar ends after its application, but its peers are
    asked to leave as soon as the pod begins to end."""
    if settings.lifecycle:
        return dict(settings.lifecycle)
    if it.native:
        order = ["pilot-agent", "request", f"--debug-port={it.status_port or AGENT_PORT}", "POST", "drain"]
        return {"preStop": {"exec": {"command": order}}}
    if it.held and not it.gateway:
        return {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}
    return {}


def _agent_level(it: Injected, settings: InjectionSettings) -> str:
    level = it.annotations.get("sidecar.istio.io/agentLogLevel", settings.agent_log_level)
    return f"--log_output_level={level if ':' in level else f'default:{level}'}"


def _probes(it: Injected, settings: InjectionSettings) -> Object:
    """Ready as the annotations say. What comes after a native sidecar waits for its startup probe, and others, too, are
    ready as soon as it succeeds."""
    if not it.status_port:
        return {}
    healthy = {"httpGet": {"path": "/healthz/ready", "port": READY_PORT}}
    said = it.annotations.get
    ready: Object = {
        **healthy, "failureThreshold": int(said(f"{READINESS}/failureThreshold", settings.ready_failures)),
        "periodSeconds": int(said(f"{READINESS}/periodSeconds", settings.ready_every_s)), "timeoutSeconds": 3,
    }  # fmt: skip
    if delay := int(said(f"{READINESS}/initialDelaySeconds", settings.ready_after_s)):
        ready["initialDelaySeconds"] = delay
    made: Object = {"readinessProbe": ready}
    if settings.startup_failures:
        made["startupProbe"] = {
            **healthy, "failureThreshold": settings.startup_failures, "periodSeconds": 1, "timeoutSeconds": 3,
        }  # fmt: skip
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
        {
            "name": "ISTIO_CPU_LIMIT",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}},
        },
        *_values(_told(it, settings)),
    ]


def _values(variables: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def _told(it: Injected, settings: InjectionSettings) -> dict[str, str]:
    told = {
        "PILOT_CERT_PROVIDER": "istiod",
        # As in Istio, a pod that follows another control plane (discoveryAddress) still asks the mesh's own CA.
        "CA_ADDR": settings.ca_address or settings.discovery_address,
        "PROXY_CONFIG": _json(_unusual(it.proxy_config)), "ISTIO_META_POD_PORTS": _json(_ports(it.containers)),
        "ISTIO_META_APP_CONTAINERS": ",".join(str(c.get("name")) for c in it.containers),
        "ISTIO_META_CLUSTER_ID": settings.cluster,
        "ISTIO_META_WORKLOAD_NAME": it.labels.get("service.istio.io/workload-name") or it.owner.name,
        "ISTIO_META_OWNER": it.owner.url(it.namespace), "ISTIO_META_MESH_ID": settings.mesh_id,
        "TRUST_DOMAIN": settings.trust_domain, "ISTIO_META_INTERCEPTION_MODE": it.mode,
    }  # fmt: skip
    optional = {
        "ISTIO_META_NETWORK": it.labels.get("topology.istio.io/network") or settings.network,
        "ISTIO_PROMETHEUS_ANNOTATIONS": _json(it.scraped) if it.scraped else "",
        "ISTIO_KUBE_APP_PROBERS": _json(it.probers) if it.probers else "",
        "ISTIO_NATIVE_SIDECAR": "true" if it.native else "",
        "LATEEN_GRACE_PERIOD": "" if it.native else f"{it.grace_s}s",
    }
    told |= {name: value for name, value in optional.items() if value}
    told |= settings.added_environment
    return told | it.variables


def _unusual(config: Mapping[str, Any]) -> Object:
    """What the agent would not take for granted anyway: so does Istio, and people see what was set."""
    return {name: value for name, value in config.items() if name not in _USUAL or value != _USUAL[name]}


def _ports(containers: Sequence[Mapping[str, Any]]) -> list[Object]:
    """As they are written, for those who read them in the node's metadata."""
    words = ("name", "containerPort", "protocol")
    return [
        {word: port[word] for word in words if port.get(word)}
        for container in containers
        for port in container.get("ports") or ()
    ]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def volumes(it: Injected, settings: InjectionSettings) -> list[Object]:
    """Of the proxy: keys in memory only, its token, the root certificate, its own labels, and what the pod adds."""
    items = [
        {"path": name, "fieldRef": {"fieldPath": f"metadata.{name}"}} for name in ("labels", "annotations")
    ]
    token = {
        "serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}
    }
    certificates = {"secretName": f"istio.{it.service_account}", "optional": True}
    return [
        {"name": "workload-socket", "emptyDir": {}}, {"name": "credential-socket", "emptyDir": {}},
        {"name": "workload-certs", "emptyDir": {}}, {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": {}}, {"name": "istio-podinfo", "downwardAPI": {"items": items}},
        {"name": "istio-token", "projected": {"sources": [token]}},
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}, *_revoked(it),
        *([{"name": "istio-certs", "secret": certificates}] if settings.mtls_certificates else ()),
        *named(it.annotations, "sidecar.istio.io/userVolume"),
    ]  # fmt: skip


def _revoked(it: Injected) -> list[Object]:
    """The list of revoked certificates where the installation has one; sidecars get it, gateways do not (Istio's rule)."""
    return [] if it.gateway else [{"name": REVOKED, "configMap": {"name": "istio-ca-crl", "optional": True}}]


def _mounts(it: Injected, settings: InjectionSettings) -> list[Object]:
    mounts = (
        ("workload-socket", "/var/run/secrets/workload-spiffe-uds"), ("credential-socket", "/var/run/secrets/credential-uds"),
        ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"), ("istiod-ca-cert", "/var/run/secrets/istio"),
        *(() if it.gateway else ((REVOKED, "/var/run/secrets/istio/crl"),)),
        ("istio-data", "/var/lib/istio/data"), ("istio-envoy", "/etc/istio/proxy"),
        ("istio-token", "/var/run/secrets/tokens"), ("istio-podinfo", "/etc/istio/pod"),
    )  # fmt: skip
    made: list[Object] = [{"name": name, "mountPath": path} for name, path in mounts]
    if settings.mtls_certificates:
        made.append({"name": "istio-certs", "mountPath": "/etc/certs/", "readOnly": True})
    return [*made, *named(it.annotations, "sidecar.istio.io/userVolumeMount")]


def _image(it: Injected, image: str, settings: InjectionSettings) -> Object:
    policy = {"imagePullPolicy": settings.pull_policy} if settings.pull_policy else {}
    return {"image": it.annotations.get("sidecar.istio.io/proxyImage") or image, **policy}


def _resources(it: Injected, settings: InjectionSettings) -> Object:
    """The mesh's figures, unless the pod's annotations have their own: then only these. A gateway has those it asks for."""
    words = {
        ("requests", "cpu"): "proxyCPU", ("requests", "memory"): "proxyMemory", ("limits", "cpu"): "proxyCPULimit",
        ("limits", "memory"): "proxyMemoryLimit",
    }  # fmt: skip
    own: dict[str, dict[str, str]] = {}
    for (part, resource), word in words.items():
        if value := it.annotations.get(f"sidecar.istio.io/{word}"):
            own.setdefault(part, {})[resource] = value
    if own or it.gateway:
        return own
    return {key: dict(value) for key, value in settings.resources.items()}
