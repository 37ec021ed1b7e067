"""What does kubectl show of services and ways into the cluster? The cells after NAME."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from skiff.api import Object
from skiff.apiserver.cells import NONE, UNSET, born, join, pairs, some


def service(it: Object, now: datetime) -> list[Any]:
    """Services."""
    spec = it.get("spec") or {}
    given = ((it.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    kind = spec.get("type", "ClusterIP")
    outside = ",".join(
        [*(i.get("ip") or i.get("hostname", "") for i in given), *(spec.get("externalIPs") or ())]
    )
    external = outside or spec.get("externalName") or ("<pending>" if kind == "LoadBalancer" else NONE)
    ports = join(
        f"{p['port']}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    )
    return [
        kind,
        spec.get("clusterIP") or NONE,
        external,
        ports,
        born(it, now),
        pairs(spec.get("selector")),
    ]


def endpoints(it: Object, now: datetime) -> list[Any]:
    """Endpoints."""
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in it.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    return [some(found, NONE), born(it, now)]


def endpoint_slice(it: Object, now: datetime) -> list[Any]:
    """EndpointSlices."""
    ports = [str(p["port"]) if p.get("port") is not None else "*" for p in it.get("ports") or ()]
    addresses = [a for e in it.get("endpoints") or () for a in e.get("addresses") or ()]
    return [it.get("addressType", ""), some(ports, UNSET), some(addresses, UNSET), born(it, now)]


def ingress(it: Object, now: datetime) -> list[Any]:
    """Ingresses."""
    spec = it.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    given = ((it.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [
        spec.get("ingressClassName") or NONE, some(hosts, "*"), ",".join(i.get("ip") or i.get("hostname", "") for i in given),
        "80, 443" if spec.get("tls") else "80", born(it, now),
    ]  # fmt: skip


def ingress_class(it: Object, now: datetime) -> list[Any]:
    """IngressClasses."""
    given = (it.get("spec") or {}).get("parameters") or {}
    group = f".{given['apiGroup']}" if given.get("apiGroup") else ""
    shown = f"{given['kind']}{group}/{given['name']}" if given else NONE
    return [(it.get("spec") or {}).get("controller", ""), shown, born(it, now)]
