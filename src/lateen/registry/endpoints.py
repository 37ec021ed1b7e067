"""Where can a service be reached? Its ready endpoints, with the workloads behind them."""

from __future__ import annotations

from typing import NamedTuple

from lateen.api.core import EndpointSlice, SliceEndpoint
from lateen.incremental import Database, query
from lateen.names import labels
from lateen.names.identity import Identity
from lateen.names.keys import ObjectKey, ServiceKey
from lateen.names.labels import Labels
from lateen.names.locality import Locality
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
    for it in db.keys(facts.slices_of, (key.namespace, service.name)):
        slice_ = db.get(EndpointSlice, it)
        if slice_ is None or slice_.address_type != "IPv4":  # pods are called by IPv4 only
            continue
        numbers = [port.port for port in slice_.ports if port.name == port_name and port.port]
        for backend in slice_.endpoints:
            if is_ready(backend):
                for number in numbers:
                    # Slices may overlap while Kubernetes moves endpoints between them: the first by name counts.
                    found.setdefault((backend.addresses[0], number), _reached(db, key, backend, number))
    return tuple(found[it] for it in sorted(found))


def is_ready(backend: SliceEndpoint) -> bool:
    """Unknown means ready (EndpointConditions in the Kubernetes API); what terminates gets no new requests."""
    return backend.conditions.ready is not False and bool(backend.addresses)


def _reached(db: Database, key: ServiceKey, backend: SliceEndpoint, number: int) -> Endpoint:
    target = backend.target_ref
    pod = (
        ObjectKey(target.namespace or key.namespace, target.name) if target and target.kind == "Pod" else None
    )
    workload = workloads.of_pod(db, pod) if pod else None
    own = workload.labels if workload else labels.NONE
    return Endpoint(backend.addresses[0], number, Locality("", backend.zone), own, workload)


@query
def identities(db: Database, key: ServiceKey) -> tuple[str, ...]:
    """The SPIFFE identities that may answer for a service: those of its workloads that are in the mesh."""
    service = services.service(db, key)
    if service is None:
        return ()
    trust_domain = facts.mesh_config(db).trust_domain
    found = {
        str(Identity(trust_domain, it.workload.key.namespace, it.workload.service_account))
        for port in service.ports for it in endpoints(db, key, port.name) if it.workload and it.workload.in_mesh
    }  # fmt: skip
    return tuple(sorted(found))
