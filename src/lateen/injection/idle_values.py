"""A table of the values in Istio's charts that nothing here acts on.

Each entry has the values that need no word: what Istio writes by default, and what is the case here anyway. Null and
empty never need one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_EFFECT = "has no effect in this release"

#: Variables below ``pilot.env`` that do something: in the control plane (``lateen.app.control_plane``), or in injection.
READ_BY_CONTROL_PLANE = frozenset({
    "ENABLE_NATIVE_SIDECARS", "POD_NAMESPACE", "ISTIOD_SERVICE", "MESH_CONFIG_MAP", "INJECTOR_CONFIG_MAP", "CLUSTER_ID",
    "LOG_LEVEL", "PILOT_SCOPE_GATEWAY_TO_NAMESPACE",
})  # fmt: skip
#: Those that Python and its libraries read.
OF_PROGRAMS = ("PYTHON", "GRPC_", "SSL_CERT_", "TZ", "MALLOC_", "LD_", "LC_", "LANG")

#: Parts of the values whose fields are looked at one by one.
GROUPS = frozenset({"global.proxy", "global.proxy_init", "global.multiCluster", "pilot.cni", "gateways"})

_PARTS_NOT_HERE = {
    "cni": (), "istio_cni": ({"enabled": False}, {"enabled": False, "chained": True}), "ztunnel": (), "experimental": (),
    "telemetry": (
        {"enabled": True}, {"enabled": True, "v2": {"enabled": True}},
        {"enabled": True, "v2": {"enabled": True, "prometheus": {"enabled": True}, "stackdriver": {"enabled": False}}},
    ),
    "gatewayClasses": (), "base": ({"enableIstioConfigCRDs": True},), "defaultRevision": ("default",), "profile": (),
    "istiodRemote": ({"enabled": False, "injectionURL": "", "injectionPath": "/inject", "injectionCABundle": ""},),
    "ownerName": (), "revisionTags": (), "compatibilityVersion": (), "meshConfig": (), "ambient": (), "platform": (),
}  # fmt: skip
_GLOBAL = {
    "certSigners": (), "configValidation": (True,), "defaultNodeSelector": (), "defaultPodDisruptionBudget": ({"enabled": True},),
    "defaultResources": ({"requests": {"cpu": "10m"}},), "defaultTolerations": (), "logAsJson": (False,), "meshNetworks": (),
    "multiCluster.enabled": (False,), "multiCluster.globalDomainSuffix": (), "multiCluster.includeEnvoyFilter": (False, True),
    "podDNSSearchNamespaces": (), "omitSidecarInjectorConfigMap": (False,), "operatorManageWebhooks": (False,),
    "priorityClassName": (), "sds": ({"token": {"aud": "istio-ca"}},), "variant": (), "tracer": (), "remotePilotAddress": (),
    "istiod": ({"enableAnalysis": False},), "pilotCertProvider": ("istiod",), "jwtPolicy": ("third-party-jwt",),
    "sts": ({"servicePort": 0},), "revision": (), "externalIstiod": (False,), "configCluster": (False,), "caName": (),
    "platform": (), "ipFamilies": (["IPv4"],), "ipFamilyPolicy": ("SingleStack",), "trustBundleName": ("istio-ca-root-cert",),
    "waypoint": ({"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
                  "affinity": {}, "topologySpreadConstraints": [], "nodeSelector": {}, "tolerations": []},),
    "nativeNftables": (False, True), "networkPolicy": ({"enabled": False},), "resourceScope": ("all", "undefined"),
    "agentgateway": ({"image": "agentgateway"},), "enableReaderRBAC": (False,), "proxy.clusterDomain": ("cluster.local",),
    "proxy.enableCoreDump": (False,), "proxy.outlierLogPath": (), "proxy.tracer": ("none", "zipkin"),
    "proxy_init.resources": (), "proxy_init.forceApplyIptables": (False,),
}  # fmt: skip
_PILOT = {
    "enabled": (True,), "autoscaleEnabled": (False, True), "autoscaleMin": (1,), "autoscaleMax": (5,), "autoscaleBehavior": (),
    "replicaCount": (1,), "image": ("pilot",), "traceSampling": (1, 1.0), "cpu": ({"targetAverageUtilization": 80},),
    "memory": (), "nodeSelector": (), "keepaliveMaxServerConnectionAge": ("30m",), "deploymentLabels": (), "podLabels": (),
    "configMap": (True,), "affinity": (), "rollingMaxSurge": ("100%",), "rollingMaxUnavailable": ("25%",), "tolerations": (),
    "podAnnotations": (), "serviceAnnotations": (), "serviceAccountAnnotations": (), "jwksResolverExtraRootCA": (),
    "sidecarInjectorWebhookAnnotations": (), "hub": (), "tag": (), "variant": (), "seccompProfile": (),
    "topologySpreadConstraints": (), "terminationGracePeriodSeconds": (30,), "extraContainerArgs": (), "volumeMounts": (),
    "volumes": (), "initContainers": (), "ipFamilies": (), "ipFamilyPolicy": (), "taint": ({"enabled": False, "namespace": ""},),
    "trustedZtunnelNamespace": (), "trustedZtunnelName": (), "istiodRemote": (), "envVarFrom": (),
    "crlConfigMapName": ("istio-ca-crl",), "cni.enabled": (False,), "cni.provider": ("default",), "cni.chained": (False, True),
}  # fmt: skip
_INJECTOR = {
    "reinvocationPolicy": ("Never",), "injectionURL": (), "templates": (), "defaultTemplates": (["sidecar"],), "aliases": (),
}  # fmt: skip
_GATEWAYS = {"istio-ingressgateway": (), "istio-egressgateway": ({"enabled": False},), "seccompProfile": ()}

IDLE: Mapping[str, tuple[Any, ...]] = {
    **_PARTS_NOT_HERE,
    **{f"global.{name}": quiet for name, quiet in _GLOBAL.items()},
    **{f"pilot.{name}": quiet for name, quiet in _PILOT.items()},
    **{f"sidecarInjectorWebhook.{name}": quiet for name, quiet in _INJECTOR.items()},
    **{f"gateways.{name}": quiet for name, quiet in _GATEWAYS.items()},
}

#: What to do instead, or what is the case.
_MORE = {
    "pilot.cni.enabled": "the container istio-init captures the traffic, with the capability NET_ADMIN",
    "global.platform": "the users that OpenShift gives to a namespace are not looked up; the proxy runs as 1337",
    "sidecarInjectorWebhook.templates": "there are the templates sidecar and gateway; pods that ask for others are refused",
    "sidecarInjectorWebhook.defaultTemplates": "pods get the template sidecar",
    "sidecarInjectorWebhook.aliases": "there are the templates sidecar and gateway",
    "global.proxy.clusterDomain": "the domain of the cluster is cluster.local",
    "global.revision": "use revision",
    "meshConfig": "the settings of the mesh are beside the values: meshConfig.accessLogFile",
    "pilot.hub": "hub and tag are those of all images",
    "pilot.tag": "hub and tag are those of all images",
    "global.logAsJson": "logs are texts",
    "istio_cni": "the container istio-init captures the traffic, with the capability NET_ADMIN",
}  # fmt: skip


def quiet(path: str, value: Any) -> bool:
    """Whether a value of the table needs no word."""
    return value in (None, "", {}, []) or any(value == it for it in IDLE[path])


def reason(path: str) -> str:
    """What is told of it."""
    return f"{NO_EFFECT}: {_MORE[path]}" if path in _MORE else NO_EFFECT
