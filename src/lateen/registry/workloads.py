"""Which workloads run? Pods as instances with an identity, and the services that choose them."""

from __future__ import annotations

from typing import NamedTuple

from lateen.api.core import Pod
from lateen.incremental import Database, query
from lateen.names import labels, owners
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.names.ports import Protocol
from lateen.registry import facts, services


class Workload(NamedTuple):
    """A running pod."""

    key: ObjectKey
    labels: Labels
    service_account: str
    node: str
    name: str  # of what made it: the Deployment's
    in_mesh: bool  # its proxy accepts mutual TLS
    canonical_name: str
    canonical_revision: str
    uid: str = ""  # tells it from an earlier pod of the same name


class ServedPort(NamedTuple):
    """A port of a workload on which a service reaches it."""

    number: int  # of the container
    protocol: Protocol
    service: ServiceKey
    service_port: int


@query
def described(db: Database, key: ObjectKey) -> Workload | None:
    """The workload a pod is, from the moment it is known: what it may do does not depend on having an address yet."""
    pod = db.get(Pod, key)
    if pod is None:
        return None
    marks = pod.metadata.labels
    name = _workload_name(pod)
    return Workload(
        key, labels.of(marks), pod.spec.service_account_name or "default", pod.spec.node_name, name,
        marks.get("security.istio.io/tlsMode") == "istio",
        canonical(marks, ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"), name),
        canonical(marks, ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"), "latest"),
        pod.metadata.uid,
    )  # fmt: skip


def canonical(marks: dict[str, str], names: tuple[str, ...], default: str) -> str:
    """The first label that is set, as Istio names workloads for telemetry."""
    return next((marks[it] for it in names if marks.get(it)), default)


def _workload_name(pod: Pod) -> str:
    """As its label says, else that of what made it; a pod that nobody made is its own workload."""
    marks = pod.metadata.labels
    if marked := marks.get("service.istio.io/workload-name"):
        return marked
    template_hash = marks.get("pod-template-hash", "")
    owner = next((it for it in pod.metadata.owner_references if it.controller), None)
    if owner is not None:
        return owners.workload(owner.kind, owner.name, owner.api_version, template_hash).name
    return pod.metadata.name


@query
def served_ports(db: Database, key: ObjectKey) -> tuple[ServedPort, ...]:
    """On which ports services reach a pod. Where two disagree about the protocol, the first service by name wins."""
    pod = db.get(Pod, key)
    if pod is None:
        return ()
    own = labels.of(pod.metadata.labels)
    found: dict[int, ServedPort] = {}
    for it in db.keys(facts.services_in, key.namespace):
        service = services.of_object(db, ObjectKey(*it))
        if service is None or not service.selector or not labels.matches(service.selector, own):
            continue
        for port in service.ports:
            number = target_number(pod, port.target)
            if number and port.protocol is not Protocol.UDP:
                found.setdefault(number, ServedPort(number, port.protocol, service.key, port.number))
    return tuple(found[number] for number in sorted(found))


def target_number(pod: Pod, target: str) -> int:
    """The container port a target means; 0 when the pod has none of that name."""
    if target.isdigit():
        return int(target)
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    return next((port.container_port for it in containers for port in it.ports if port.name == target), 0)
