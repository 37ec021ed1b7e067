"""What is put into a pod? The sidecar, the capture of its traffic, and their volumes; for gateways, the proxy alone.

Names, ports, paths and variables are Istio's, so that tools and people find them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lateen.injection.settings import InjectionSettings

Object = dict[str, Any]

PROXY, INIT, USER = "istio-proxy", "istio-init", 1337
_KEPT_OUT = "15090,15021,15020"


class Injected(NamedTuple):
    """What the template needs to know of a pod."""

    namespace: str
    workload: str
    owner: str  # kubernetes://apis/apps/v1/namespaces/default/deployments/web
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: Sequence[Mapping[str, Any]]
    probers: Mapping[str, Any]
    scraped: Mapping[str, str]  # the application's own prometheus.io annotations
    proxy_config: Mapping[str, Any]


def init(it: Injected, settings: InjectionSettings) -> Object:
    """The container that captures the pod's traffic."""
    said = it.annotations.get
    prefix = "traffic.sidecar.istio.io"
    excluded = [_KEPT_OUT, settings.exclude_inbound_ports, said(f"{prefix}/excludeInboundPorts", "")]
    outbound = [settings.exclude_outbound_ports, said(f"{prefix}/excludeOutboundPorts", "")]
    args = [
        "istio-iptables", "-p", "15001", "-z", "15006", "-u", str(USER), "-m", "REDIRECT",
        "-i", said(f"{prefix}/includeOutboundIPRanges", settings.include_ranges),
        "-x", said(f"{prefix}/excludeOutboundIPRanges", settings.exclude_ranges),
        "-b", said(f"{prefix}/includeInboundPorts", "*"), "-d", ",".join(filter(None, excluded)),
    ]  # fmt: skip
    if ports := ",".join(filter(None, outbound)):
        args += ["-o", ports]
    if ports := said(f"{prefix}/includeOutboundPorts", ""):
        args += ["-q", ports]
    return {
        "name": INIT, "image": _image(it, settings), "imagePullPolicy": "IfNotPresent",
        "args": [*args, f"--log_output_level=default:{settings.agent_log_level}"], "resources": _resources(it, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": False, "runAsGroup": 0,
            "runAsUser": 0, "runAsNonRoot": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
        },
    }  # fmt: skip


def proxy(it: Injected, settings: InjectionSettings, role: str, *, native: bool) -> Object:
    """The container of Envoy and its agent; ``role`` is ``sidecar`` or ``router``."""
    healthy = {"httpGet": {"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"}}
    made: Object = {
        "name": PROXY, "image": _image(it, settings), "imagePullPolicy": "IfNotPresent",
        "args": [
            "proxy", role, "--domain", "$(POD_NAMESPACE).svc.cluster.local",
            f"--proxyLogLevel={it.annotations.get('sidecar.istio.io/logLevel', settings.log_level)}",
            f"--log_output_level=default:{it.annotations.get('sidecar.istio.io/agentLogLevel', settings.agent_log_level)}",
        ],
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "env": environment(it, settings), "resources": _resources(it, settings),
        "readinessProbe": {**healthy, "failureThreshold": 4, "periodSeconds": 15, "timeoutSeconds": 3},
        "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False,
            "readOnlyRootFilesystem": True, "runAsUser": USER, "runAsGroup": USER, "runAsNonRoot": True,
        },
        "volumeMounts": _mounts(it),
    }  # fmt: skip
    if native:
        made["restartPolicy"] = "Always"
        # It is ended after the application, so there is nothing left to wait for.
        made["env"].append({"name": "LATEEN_NATIVE_SIDECAR", "value": "true"})
    if native or role == "router":
        made["startupProbe"] = {**healthy, "failureThreshold": 600, "periodSeconds": 1, "timeoutSeconds": 3}
    elif _held(it):
        made["lifecycle"] = {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}
    return made


def _held(it: Injected) -> bool:
    return bool(it.proxy_config.get("holdApplicationUntilProxyStarts"))


def environment(it: Injected, settings: InjectionSettings) -> list[Object]:
    """What the agent is told."""
    fields = {
        "POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "INSTANCE_IP": "status.podIP",
        "SERVICE_ACCOUNT": "spec.serviceAccountName", "HOST_IP": "status.hostIP", "ISTIO_META_NODE_NAME": "spec.nodeName",
    }  # fmt: skip
    ports = [
        {"containerPort": port.get("containerPort"), **({"name": port["name"]} if port.get("name") else {}),
         "protocol": port.get("protocol", "TCP")}
        for container in it.containers for port in container.get("ports") or ()
    ]  # fmt: skip
    plain = {
        "PILOT_CERT_PROVIDER": "istiod", "CA_ADDR": str(it.proxy_config.get("discoveryAddress") or settings.discovery_address),
        "PROXY_CONFIG": _json(it.proxy_config), "ISTIO_META_POD_PORTS": _json(ports),
        "ISTIO_META_APP_CONTAINERS": ",".join(str(c.get("name")) for c in it.containers),
        "ISTIO_META_CLUSTER_ID": settings.cluster, "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": it.workload, "ISTIO_META_OWNER": it.owner, "ISTIO_META_MESH_ID": settings.mesh_id,
        "TRUST_DOMAIN": settings.trust_domain,
    }  # fmt: skip
    if settings.network:
        plain["ISTIO_META_NETWORK"] = settings.network
    if it.scraped:
        plain["ISTIO_PROMETHEUS_ANNOTATIONS"] = _json(it.scraped)
    if it.probers:
        plain["ISTIO_KUBE_APP_PROBERS"] = _json(it.probers)
    plain |= {str(key): str(value) for key, value in (it.proxy_config.get("proxyMetadata") or {}).items()}
    # The cloud's own fields first: $(POD_NAMESPACE) in args refers to what is above.
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        *({"name": name, "value": value} for name, value in plain.items()),
    ]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def volumes() -> list[Object]:
    """Of the proxy: keys in memory only, its token, the root certificate, its own labels."""
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
    ]  # fmt: skip


def _mounts(it: Injected) -> list[Object]:
    mounts = [
        ("workload-socket", "/var/run/secrets/workload-spiffe-uds"), ("credential-socket", "/var/run/secrets/credential-uds"),
        ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"), ("istiod-ca-cert", "/var/run/secrets/istio"),
        ("istio-data", "/var/lib/istio/data"), ("istio-envoy", "/etc/istio/proxy"),
        ("istio-token", "/var/run/secrets/tokens"), ("istio-podinfo", "/etc/istio/pod"),
    ]  # fmt: skip
    made: list[Object] = [{"name": name, "mountPath": path} for name, path in mounts]
    try:
        extra = json.loads(it.annotations.get("sidecar.istio.io/userVolumeMount", "{}"))
    except ValueError:
        extra = {}
    return (
        [*made, *({"name": name, **how} for name, how in extra.items())] if isinstance(extra, dict) else made
    )


def _image(it: Injected, settings: InjectionSettings) -> str:
    return it.annotations.get("sidecar.istio.io/proxyImage") or settings.image


def _resources(it: Injected, settings: InjectionSettings) -> Object:
    """The mesh's figures, unless the pod's annotations have their own."""
    words = {
        ("requests", "cpu"): "proxyCPU", ("requests", "memory"): "proxyMemory", ("limits", "cpu"): "proxyCPULimit",
        ("limits", "memory"): "proxyMemoryLimit",
    }  # fmt: skip
    own: dict[str, dict[str, str]] = {}
    for (part, resource), word in words.items():
        if value := it.annotations.get(f"sidecar.istio.io/{word}"):
            own.setdefault(part, {})[resource] = value
    return own or {key: dict(value) for key, value in settings.resources.items()}
