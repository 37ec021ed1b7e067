"""Where can a service be reached? Its ready endpoints, with the workloads behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lateen.api.core import EndpointSlice, Pod, SliceEndpoint
from lateen.incremental import Database, query
from lateen.names import addresses, labels
from lateen.names.identity import Identity
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.names.locality import Locality
from lateen.names.ports import is_number
from lateen.registry import facts, services, workloads
from lateen.registry.workloads import Workload


class Endpoint(NamedTuple):
    """Address and port of one workload for one service port."""

    address: str
    port: int
    locality: Locality
    labels: Labels
    workload: Workload | None  # none: an address that is no pod of this cluster

    @property
    def in_mesh(self) -> bool:
        """Whether its proxy accepts mutual TLS."""
        return self.workload is not None and self.workload.in_mesh


@query
def endpoints(db: Database, key: ServiceKey, port_name: str) -> tuple[Endpoint, ...]:
    """Where this port of the service can be reached, by address."""
    service = services.service(db, key)
    if service is None:
        return ()
    found: dict[tuple[str, int], Endpoint] = {}
    for slice_ in _slices(db, key, service.name):
        numbers = [
            port.port
            for port in slice_.ports
            if port.name == port_name and port.port and is_number(port.port)
        ]
        for backend in slice_.endpoints:
            if is_ready(backend) and (behind := _behind(db, key.namespace, backend)):
                for number in numbers:
                    # Slices may overlap while Kubernetes moves endpoints between them: the first by name counts.
                    found.setdefault((backend.addresses[0], number), _reached(backend, number, *behind))
    return tuple(found[it] for it in sorted(found))


def _slices(db: Database, key: ServiceKey, name: str) -> Iterator[EndpointSlice]:
    for it in db.keys(facts.slices_of, (key.namespace, name)):
        found = db.get(EndpointSlice, it)
        if found is not None and found.address_type == "IPv4":  # pods are called by IPv4 only
            yield found


def is_ready(backend: SliceEndpoint) -> bool:
    """Unknown means ready (EndpointConditions in the Kubernetes API); what terminates gets no new requests."""
    return (
        backend.conditions.ready is not False
        and bool(backend.addresses)
        and addresses.is_callable(backend.addresses[0])
    )


def _behind(db: Database, namespace: str, backend: SliceEndpoint) -> tuple[Workload | None] | None:
    """The workload at an address, (None,) where there is no pod; None while its pod is not known.

    Pods and slices are watched apart, so either may come first. Of a pod that is not known nobody can say whether it
    takes mutual TLS, and one that took the name of another may run as somebody else: such an endpoint waits, as in
    Istio, until its pod is known.
    """
    target = backend.target_ref
    if target is None or not target.kind:
        return (_at_address(db, namespace, backend.addresses[0]),)
    if target.kind != "Pod":
        return (None,)
    key = ObjectKey(target.namespace or namespace, target.name)
    found = workloads.described(db, key)
    if found is None or (target.uid and found.uid and target.uid != found.uid):
        return None
    return (found,)


def _at_address(db: Database, namespace: str, address: str) -> Workload | None:
    """The pod behind an address that somebody wrote by hand: of the same namespace, as in Istio, and the newest."""
    found = []
    for it in db.keys(facts.pods_at, address):
        pod = db.get(Pod, it)
        if pod is not None and pod.metadata.namespace == namespace:
            found.append((pod.metadata.creation_timestamp, ObjectKey(*it)))
    return workloads.described(db, max(found)[1]) if found else None


def _reached(backend: SliceEndpoint, number: int, workload: Workload | None) -> Endpoint:
    own = workload.labels if workload else labels.NONE
    return Endpoint(backend.addresses[0], number, Locality("", backend.zone), own, workload)


@query
def waiting(db: Database, key: ServiceKey) -> tuple[str, ...]:
    """The addresses that are ready but left out, since their pods are not known."""
    service = services.service(db, key)
    found = {
        backend.addresses[0]
        for it in (_slices(db, key, service.name) if service else ()) for backend in it.endpoints
        if is_ready(backend) and _behind(db, key.namespace, backend) is None
    }  # fmt: skip
    return tuple(sorted(found))


@query
def identities(db: Database, key: ServiceKey) -> tuple[str, ...]:
    """The SPIFFE identities that may answer for a service: those of its workloads that are in the mesh."""
    service = services.service(db, key)
    if service is None:
        return ()
    behind = {
        it.workload for port in service.ports for it in endpoints(db, key, port.name)
        if it.workload and it.workload.in_mesh
    }  # fmt: skip
    domains = facts.trust_domains(db)
    found = {
        str(Identity(domain, it.key.namespace, it.service_account)) for it in behind for domain in domains
    }
    return tuple(sorted(found))
