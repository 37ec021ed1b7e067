"""What may Ingresses, their classes and NetworkPolicies be?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.containers import PROTOCOLS
from skiff.validation.metadata import selector
from skiff.validation.problems import (
    IMMUTABLE,
    between,
    each,
    entries,
    forbidden,
    invalid,
    listed,
    one_of,
    part,
    required,
    text,
    texts,
)  # fmt: skip

_PATHS = ("Exact", "ImplementationSpecific", "Prefix")
_ENCODED = re.compile(r"%2[fF]")


def ingress(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    if not listed(spec, "rules") and spec.get("defaultBackend") is None:
        yield invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    if isinstance(spec.get("defaultBackend"), dict):
        yield from _backend(spec["defaultBackend"], "spec.defaultBackend")
    for where, it in entries(spec, "tls", "spec"):
        for index, host in enumerate(texts(it, "hosts")):
            yield from _host(host, f"{where}.hosts[{index}]")
    for where, it in entries(spec, "rules", "spec"):
        host = text(it, "host")
        if names.parsed_address(host):
            yield invalid(f"{where}.host", host, "must be a DNS name, not an IP address")
        elif host:
            yield from _host(host, f"{where}.host")
        if isinstance(http := it.get("http"), dict):
            if not listed(http, "paths"):
                yield required(f"{where}.http.paths")
            for place, one in entries(http, "paths", f"{where}.http"):
                yield from _path(one, place)
    if name := text(spec, "ingressClassName"):
        yield from each("spec.ingressClassName", name, names.subdomain(name))


def _host(host: str, path: str) -> Iterator[Problem]:
    yield from each(path, host, names.wildcard(host) if "*" in host else names.subdomain(host))


def _path(it: dict[str, Any], path: str) -> Iterator[Problem]:
    place, sort = text(it, "path"), it.get("pathType")
    if sort is None:
        yield required(f"{path}.pathType", "pathType must be specified")
    elif sort not in _PATHS:
        yield from one_of(f"{path}.pathType", sort, _PATHS, needed=True)
    elif sort != "ImplementationSpecific" or place:
        if not place.startswith("/"):
            yield invalid(f"{path}.path", place, "must be an absolute path")
        elif sort != "ImplementationSpecific":
            for bad in ("//", "/./", "/../"):
                if bad in place:
                    yield invalid(f"{path}.path", place, f"must not contain '{bad}'")
            if _ENCODED.search(place):
                yield invalid(f"{path}.path", place, "must not contain '%2f'")
            for bad in ("/..", "/."):
                if place.endswith(bad):
                    yield invalid(f"{path}.path", place, f"cannot end with '{bad}'")
    yield from _backend(part(it, "backend"), f"{path}.backend")


def _backend(it: dict[str, Any], path: str) -> Iterator[Problem]:
    service, resource = it.get("service"), it.get("resource")
    if isinstance(service, dict) and isinstance(resource, dict):
        yield invalid(path, "", "cannot set both resource and service backends")
    elif isinstance(resource, dict):
        for field in ("kind", "name"):
            if not text(resource, field):
                yield required(f"{path}.resource.{field}")
    elif isinstance(service, dict):
        yield from _service(service, f"{path}.service")
    else:
        yield invalid(path, "", "resource or service backend is required")


def _service(it: dict[str, Any], path: str) -> Iterator[Problem]:
    name, port = text(it, "name"), part(it, "port")
    if not name:
        yield required(f"{path}.name")
    else:
        yield from each(f"{path}.name", name, names.label(name))
    if not port.get("name") and not port.get("number"):
        yield required(path, "port name or number is required")
    elif port.get("name") and port.get("number"):
        yield invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        yield from each(f"{path}.port.name", port["name"], names.port_name(port["name"]))
    else:
        yield from between(f"{path}.port.number", port["number"], 1, 65535)


def ingress_class(obj: Object, old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    controller = text(spec, "controller")
    if old is not None and controller != text(part(old, "spec"), "controller"):
        yield invalid("spec.controller", controller, IMMUTABLE)
    if len(controller) > 250:
        yield "FieldValueTooLong", "Too long: may not be more than 250 bytes", "spec.controller"
    if not controller or "/" not in controller:
        said = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield required("spec.controller") if not controller else invalid("spec.controller", controller, said)
    else:
        prefix, _, rest = controller.partition("/")
        yield from each("spec.controller", prefix, names.subdomain(prefix))
        if not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", rest):
            yield invalid("spec.controller", controller, "Invalid path")
    if isinstance(parameters := spec.get("parameters"), dict):
        path, scope = "spec.parameters", text(parameters, "scope")
        yield from one_of(f"{path}.scope", scope, ("Cluster", "Namespace"), needed=True)
        for field in ("kind", "name"):
            if not text(parameters, field):
                yield required(f"{path}.{field}")
        space = text(parameters, "namespace")
        if scope == "Namespace" and not space:
            yield required(f"{path}.namespace", '`parameters.scope` is set to "Namespace"')
        elif scope == "Cluster" and space:
            yield forbidden(f"{path}.namespace", '`parameters.scope` is set to "Cluster"')


def network_policy(obj: Object, _old: Object | None) -> Iterator[Problem]:
    spec = part(obj, "spec")
    yield from selector(part(spec, "podSelector"), "spec.podSelector")
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for where, rule in entries(spec, field, "spec"):
            for place, port in entries(rule, "ports", where):
                yield from _policy_port(port, place)
            for place, peer in entries(rule, peers, where):
                yield from _peer(peer, place)
    sorts = texts(spec, "policyTypes")
    if len(sorts) > 2:
        yield invalid("spec.policyTypes", sorts, "may not specify more than two policyTypes")
        return
    for index, it in enumerate(sorts):
        yield from one_of(f"spec.policyTypes[{index}]", it, ("Egress", "Ingress"), needed=True)


def _policy_port(it: dict[str, Any], path: str) -> Iterator[Problem]:
    yield from one_of(f"{path}.protocol", it.get("protocol"), PROTOCOLS)
    port, end = it.get("port"), it.get("endPort")
    if isinstance(port, str):
        yield from each(f"{path}.port", port, names.port_name(port))
    elif port is not None:
        yield from between(f"{path}.port", port, 1, 65535)
    if end is None:
        return
    if port is None:
        yield required(f"{path}.port", "must be specified when `endPort` is specified")
    elif isinstance(port, str):
        yield invalid(f"{path}.endPort", end, "may not specify endPort when port is non-numeric")
    elif end < port:
        yield invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
    yield from between(f"{path}.endPort", end, 1, 65535)


def _peer(it: dict[str, Any], path: str) -> Iterator[Problem]:
    chosen = [field for field in ("podSelector", "namespaceSelector") if isinstance(it.get(field), dict)]
    for field in chosen:
        yield from selector(it[field], f"{path}.{field}")
    block = it.get("ipBlock")
    if not isinstance(block, dict):
        if not chosen:
            yield required(path, "must specify a peer")
        return
    if chosen:
        yield forbidden(path, "may not specify both ipBlock and another peer")
    cidr, where = text(block, "cidr"), f"{path}.ipBlock"
    whole = names.parsed_network(cidr)
    if not cidr:
        yield required(f"{where}.cidr")
    else:
        yield from each(f"{where}.cidr", cidr, names.network(cidr))
    for index, one in enumerate(texts(block, "except")):
        place, inner = f"{where}.except[{index}]", names.parsed_network(one)
        if inner is None:
            yield invalid(place, one, names.CIDR_SAID)
        elif whole is not None and not _within(inner, whole):
            yield invalid(place, one, f"must be a strict subset of `cidr`: {cidr}")


def _within(inner: Any, whole: Any) -> bool:
    return bool(inner.version == whole.version and inner != whole and inner.subnet_of(whole))
