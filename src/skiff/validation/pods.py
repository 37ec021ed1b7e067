"""What may a pod be, and what of it may change? Pods themselves, and those in the templates of workloads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from skiff.api import Object
from skiff.schema.walk import Problem
from skiff.validation import names
from skiff.validation.containers import Pod, container, host_ports, names_of
from skiff.validation.placement import placement
from skiff.validation.problems import (
    between,
    duplicate,
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
from skiff.validation.resources import amounts, of_pod
from skiff.validation.security import pod_context
from skiff.validation.volumes import volumes

SORTS = ("initContainers", "containers", "ephemeralContainers")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_NAMED = ("nodeName", "serviceAccountName", "priorityClassName", "runtimeClassName")


def broken(pod: Object, old: Object | None) -> Iterator[Problem]:
    """What is wrong with a Pod itself."""
    spec = part(pod, "spec")
    if old is None and spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if old is None and spec.get("schedulingGates") and spec.get("nodeName"):
        yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    yield from pod_spec(spec, "spec")


def pod_spec(
    spec: dict[str, Any], path: str, *, template: bool = False, claims: Iterable[str] = ()
) -> Iterator[Problem]:
    """The spec of a pod, in a Pod or in a template; ``claims`` are volumes that come from elsewhere."""
    grace = spec.get("terminationGracePeriodSeconds")
    told = Pod(
        frozenset([*claims, *names_of(spec, "volumes")]), bool(spec.get("hostNetwork")), template,
        grace if isinstance(grace, int) else 30, spec.get("hostUsers") is not False,
        frozenset([*names_of(spec, "containers"), *names_of(spec, "initContainers")]),
    )  # fmt: skip
    if not listed(spec, "containers"):
        yield required(f"{path}.containers")
    yield from volumes(spec, path)
    yield from _container_names(spec, path)
    for sort in SORTS:
        for where, it in entries(spec, sort, path):
            yield from container(it, where, told, sort)
    yield from host_ports(spec, path)
    yield from of_pod(spec, path)
    yield from _plain(spec, path)
    yield from _dns(spec, path)
    yield from _hosts(spec, path)
    yield from pod_context(spec, path)
    yield from placement(spec, path)
    yield from _gates(spec, path)


def _container_names(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    """They are names of folders too."""
    seen: set[str] = set()
    for sort in ("containers", "initContainers", "ephemeralContainers"):
        for where, it in entries(spec, sort, path):
            name = text(it, "name")
            wrong = list(names.label(name)) if name else []
            if not name:
                yield required(f"{where}.name")
            yield from each(f"{where}.name", name, wrong)
            if name and not wrong and name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)


def _plain(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    policy = spec.get("restartPolicy")
    yield from one_of(f"{path}.restartPolicy", policy, ("Always", "Never", "OnFailure"), needed=True)
    yield from between(f"{path}.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1, 2**31 - 1)
    for field in _NAMED:
        if found := text(spec, field):
            yield from each(f"{path}.{field}", found, names.subdomain(found))
    for field in ("hostname", "subdomain"):
        if found := text(spec, field):
            yield from each(f"{path}.{field}", found, names.label(found))
    preemption = spec.get("preemptionPolicy")
    yield from one_of(f"{path}.preemptionPolicy", preemption, ("Never", "PreemptLowerPriority"))
    if isinstance(system := spec.get("os"), dict):
        yield from one_of(f"{path}.os.name", system.get("name"), ("linux", "windows"), needed=True)
    yield from amounts(spec, "overhead", path)
    for where, it in entries(spec, "imagePullSecrets", path):
        if not text(it, "name"):
            yield required(f"{where}.name")


def _dns(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    policy, config, where = text(spec, "dnsPolicy"), spec.get("dnsConfig"), f"{path}.dnsConfig"
    yield from one_of(f"{path}.dnsPolicy", policy, _DNS, needed=True)
    if policy == "None":
        if not isinstance(config, dict):
            yield required(where, "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not config.get("nameservers"):
            said = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{where}.nameservers", said)
    servers, searches = texts(config, "nameservers"), texts(config, "searches")
    if len(servers) > 3:
        yield invalid(f"{where}.nameservers", servers, "must not have more than 3 nameservers")
    for index, it in enumerate(servers):
        yield from each(f"{where}.nameservers[{index}]", it, names.address(it))
    if len(searches) > 32:
        yield invalid(f"{where}.searches", searches, "must not have more than 32 search paths")
    if len(" ".join(searches)) > 2048:
        said = "must not have more than 2048 characters (including spaces) in the search list"
        yield invalid(f"{where}.searches", searches, said)
    for index, it in enumerate(searches):
        plain = it.removesuffix(".").replace("_", "x") if it != "." else "x"
        yield from each(f"{where}.searches[{index}]", it, names.subdomain(plain))
    for place, option in entries(config, "options", where):
        if not text(option, "name"):
            yield required(f"{place}.name", "must not be empty")


def _hosts(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    for where, it in entries(spec, "hostAliases", path):
        yield from each(f"{where}.ip", text(it, "ip"), names.address(text(it, "ip")))
        for index, name in enumerate(texts(it, "hostnames")):
            yield from each(f"{where}.hostnames[{index}]", name, names.subdomain(name))


def _gates(spec: dict[str, Any], path: str) -> Iterator[Problem]:
    for where, it in entries(spec, "readinessGates", path):
        found = text(it, "conditionType")
        yield from each(f"{where}.conditionType", found, names.qualified(found))
    seen: set[str] = set()
    for where, it in entries(spec, "schedulingGates", path):
        name = text(it, "name")
        yield from each(where, name, names.qualified(name))
        if name in seen:
            yield duplicate(where, name)
        seen.add(name)
