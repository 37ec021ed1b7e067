"""What may a Service be? https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/

Which addresses and node ports are free is not a question of form: ``apiserver.allocation`` answers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.containers import PROTOCOLS
from skiff.validation.endpoints import not_special
from skiff.validation.metadata import labels
from skiff.validation.probes import port_or_name
from skiff.validation.problems import (
    between,
    duplicate,
    each,
    entries,
    forbidden,
    invalid,
    one_of,
    part,
    required,
    text,
    texts,
)  # fmt: skip

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def broken(service: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(service, "spec")
    sort = text(spec, "type")
    yield from one_of("spec.type", sort, _TYPES, needed=True)
    yield from labels(spec, "spec", "selector")
    yield from _ports(spec, sort)
    yield from _affinity(spec)
    yield from _addresses(spec, sort)
    yield from _policies(spec, sort)
    yield from _balanced(spec, sort)
    if old is not None:
        yield from _kept(spec, part(old, "spec"))


def _ports(spec: dict[str, Any], sort: str) -> Iterator[Problem]:
    ports = list(entries(spec, "ports", "spec"))
    if not ports and sort != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    seen: dict[str, set[Any]] = {"name": set(), "port": set(), "node": set()}
    for where, it in ports:
        yield from _port(it, where, sort, many=len(ports) > 1)
        name, protocol, node = text(it, "name"), text(it, "protocol"), it.get("nodePort")
        if name and name in seen["name"]:
            yield duplicate(f"{where}.name", name)
        if (protocol, it.get("port")) in seen["port"]:
            yield duplicate(where, {"protocol": protocol, "port": it.get("port")})
        if node and (protocol, node) in seen["node"]:
            yield duplicate(f"{where}.nodePort", node)
        seen["name"].add(name)
        seen["port"].add((protocol, it.get("port")))
        seen["node"].add((protocol, node))


def _port(it: dict[str, Any], path: str, sort: str, *, many: bool) -> Iterator[Problem]:
    name = text(it, "name")
    if many and not name:
        yield required(f"{path}.name")
    elif name:
        yield from each(f"{path}.name", name, names.label(name))
    yield from between(f"{path}.port", it.get("port") or 0, 1, 65535)
    yield from one_of(f"{path}.protocol", it.get("protocol"), PROTOCOLS)
    if it.get("targetPort") not in (None, 0, ""):
        yield from port_or_name(f"{path}.targetPort", it["targetPort"])
    if found := text(it, "appProtocol"):
        yield from each(f"{path}.appProtocol", found, names.qualified(found))
    if it.get("nodePort"):
        yield from between(f"{path}.nodePort", it["nodePort"], 1, 65535)
        if sort in ("ClusterIP", "ExternalName"):
            yield forbidden(f"{path}.nodePort", f"may not be used when `type` is '{sort}'")
    if sort == "LoadBalancer" and it.get("port") == 10250:
        said = "may not expose port 10250 externally since it is used by kubelet"
        yield invalid(f"{path}.port", 10250, said)


def _affinity(spec: dict[str, Any]) -> Iterator[Problem]:
    kind, config = text(spec, "sessionAffinity"), spec.get("sessionAffinityConfig")
    yield from one_of("spec.sessionAffinity", kind, ("ClientIP", "None"))
    if kind == "ClientIP":
        seconds = part(config, "clientIP").get("timeoutSeconds")
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        if seconds is None:
            yield required("spec.sessionAffinityConfig", "when session affinity type is ClientIP")
        elif not 0 < seconds <= 86400:
            yield invalid(path, seconds, "must be greater than 0 and less than 86400")
    elif config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")


def _addresses(spec: dict[str, Any], sort: str) -> Iterator[Problem]:
    own, all_of_them = text(spec, "clusterIP"), texts(spec, "clusterIPs")
    if sort == "ExternalName":
        if own or all_of_them:
            yield forbidden("spec.clusterIPs", "may not be set for ExternalName services")
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(field):
                yield forbidden(f"spec.{field}", "may not be set for ExternalName services")
        name = text(spec, "externalName").removesuffix(".")
        if not name:
            yield required("spec.externalName")
        else:
            yield from each("spec.externalName", name, names.subdomain(name))
    elif own == "None" and sort in ("LoadBalancer", "NodePort"):
        yield invalid("spec.clusterIPs[0]", own, f"may not be set to 'None' for {sort} services")
    if own and all_of_them and own != all_of_them[0]:
        yield invalid("spec.clusterIPs", all_of_them, "first value must match `clusterIP`")
    if len(all_of_them) > 2:
        yield invalid("spec.clusterIPs", all_of_them, "may only hold up to 2 values")
    for index, it in enumerate(texts(spec, "externalIPs")):
        yield from each(f"spec.externalIPs[{index}]", it, names.address(it))
        yield from not_special(f"spec.externalIPs[{index}]", it)
    yield from _families(spec)


def _families(spec: dict[str, Any]) -> Iterator[Problem]:
    """The cluster speaks IPv4."""
    policy = text(spec, "ipFamilyPolicy")
    yield from one_of("spec.ipFamilyPolicy", policy, ("PreferDualStack", "RequireDualStack", "SingleStack"))
    if policy == "RequireDualStack":
        said = "this cluster is not configured for dual-stack services"
        yield invalid("spec.ipFamilyPolicy", policy, said)
    seen: set[str] = set()
    for index, it in enumerate(texts(spec, "ipFamilies")):
        where = f"spec.ipFamilies[{index}]"
        yield from one_of(where, it, ("IPv4", "IPv6"))
        if it == "IPv6":
            yield invalid(where, it, "not configured on this cluster")
        if it in seen:
            yield duplicate(where, it)
        seen.add(it)


def _policies(spec: dict[str, Any], sort: str) -> Iterator[Problem]:
    outer, inner = text(spec, "externalTrafficPolicy"), text(spec, "internalTrafficPolicy")
    outside = sort in ("LoadBalancer", "NodePort") or (sort == "ClusterIP" and bool(spec.get("externalIPs")))
    yield from one_of("spec.internalTrafficPolicy", inner, ("Cluster", "Local"))
    yield from one_of("spec.externalTrafficPolicy", outer, ("Cluster", "Local"))
    if outer and not outside:
        said = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", outer, said)
    if check := spec.get("healthCheckNodePort"):
        yield from between("spec.healthCheckNodePort", check, 1, 65535)
        if sort != "LoadBalancer" or outer != "Local":
            said = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            yield invalid("spec.healthCheckNodePort", check, said)
    near = ("PreferClose", "PreferSameNode", "PreferSameZone")
    yield from one_of("spec.trafficDistribution", spec.get("trafficDistribution"), near)


def _balanced(spec: dict[str, Any], sort: str) -> Iterator[Problem]:
    for index, it in enumerate(texts(spec, "loadBalancerSourceRanges")):
        yield from each(f"spec.loadBalancerSourceRanges[{index}]", it, names.network(it.strip()))
    if sort == "LoadBalancer":
        return
    for field in ("loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if spec.get(field) not in (None, [], ""):
            yield forbidden(f"spec.{field}", _ONLY_BALANCED)


def _kept(new: dict[str, Any], old: dict[str, Any]) -> Iterator[Problem]:
    if "ExternalName" not in (new.get("type"), old.get("type")):
        before, after = old.get("clusterIP"), new.get("clusterIP")
        if before and before != after:
            yield invalid("spec.clusterIPs[0]", [after], "may not change once set")
    both = new.get("type") == old.get("type") == "LoadBalancer"
    if both and old.get("loadBalancerClass") and new.get("loadBalancerClass") != old["loadBalancerClass"]:
        yield invalid("spec.loadBalancerClass", new.get("loadBalancerClass"), "may not change once set")
