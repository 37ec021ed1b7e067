"""Defaults of Services, their endpoints and what else decides where traffic goes."""

from __future__ import annotations

from skiff.api import Object
from skiff.apiserver.defaults.parts import dicts, inside, part, put

_AFFINITY_S = 3 * 60 * 60


def service(obj: Object) -> None:
    spec = part(obj, "spec")
    put(spec, type="ClusterIP", sessionAffinity="None")
    if spec["sessionAffinity"] == "ClientIP":
        put(part(part(spec, "sessionAffinityConfig"), "clientIP"), timeoutSeconds=_AFFINITY_S)
    else:
        spec.pop("sessionAffinityConfig", None)
    if spec["type"] != "ExternalName":
        put(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer") or (
        spec["type"] == "ClusterIP" and spec.get("externalIPs")
    ):
        put(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        put(spec, allocateLoadBalancerNodePorts=True)
    for port in dicts(spec.get("ports")):
        put(port, protocol="TCP")
        if spec["type"] != "ExternalName" and not port.get("targetPort"):
            port["targetPort"] = port.get("port")
    put(part(obj, "status"), loadBalancer={})


def endpoints(obj: Object) -> None:
    for subset in dicts(obj.get("subsets")):
        for port in dicts(subset.get("ports")):
            put(port, protocol="TCP")


def endpoint_slice(obj: Object) -> None:
    for port in dicts(obj.get("ports")):
        put(port, name="", protocol="TCP")


def ingress_class(obj: Object) -> None:
    if parameters := inside(obj, "spec", "parameters"):
        put(parameters, scope="Cluster")


def network_policy(obj: Object) -> None:
    spec = part(obj, "spec")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for field in ("ingress", "egress"):
        for rule in dicts(spec.get(field)):
            for port in dicts(rule.get("ports")):
                put(port, protocol="TCP")
