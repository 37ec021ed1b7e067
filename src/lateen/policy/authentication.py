"""Must connections to a workload be mutual TLS? PeerAuthentication of mesh, namespace, workload and port."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.api.security import MutualTLSMode, PeerAuthentication
from lateen.incremental import Database, query
from lateen.names import labels
from lateen.names.keys import ObjectKey
from lateen.names.labels import Labels
from lateen.registry import facts
from lateen.registry.workloads import Workload

UNSET = MutualTLSMode.UNSET


@query
def mode(db: Database, namespace: str, workload: Labels, port: int) -> MutualTLSMode:
    """Never UNSET: port before workload before namespace before mesh, and PERMISSIVE when nobody says.

    Of several policies of one level the oldest wins; ports are read from policies with a selector only
    (Istio: https://istio.io/latest/docs/reference/config/security/peer_authentication/).
    """
    own = _oldest(db, namespace, workload)
    if own is not None:
        at_port = own.spec.port_level_mtls.get(str(port))
        if at_port and at_port.mode is not UNSET:
            return at_port.mode
        if own.spec.mtls.mode is not UNSET:
            return own.spec.mtls.mode
    return of_namespace(db, namespace)


@query
def ports(db: Database, namespace: str, workload: Labels) -> tuple[int, ...]:
    """The ports about which the workload's own policy says something."""
    own = _oldest(db, namespace, workload)
    written = own.spec.port_level_mtls if own else {}
    return tuple(sorted(int(it) for it in written if it.isdigit()))


def takes_mutual_tls(db: Database, workload: Workload | None, port: int) -> bool:
    """Whether callers may use mutual TLS: there is a sidecar, and no policy forbids it."""
    if workload is None or not workload.in_mesh:
        return False
    return mode(db, workload.key.namespace, workload.labels, port) is not MutualTLSMode.DISABLE


@query
def of_namespace(db: Database, namespace: str) -> MutualTLSMode:
    """What holds for workloads without a policy of their own."""
    root = facts.mesh_config(db).root_namespace
    for it in dict.fromkeys((namespace, root)):
        found = _oldest(db, it, None)
        if found is not None and found.spec.mtls.mode is not UNSET:
            return found.spec.mtls.mode
    return MutualTLSMode.PERMISSIVE


def _oldest(db: Database, namespace: str, workload: Labels | None) -> PeerAuthentication | None:
    """The oldest policy with a selector for a workload, or (None) of those without a selector."""
    found = sorted(
        _candidates(db, namespace, workload),
        key=lambda it: (it.metadata.creation_timestamp, it.metadata.name),
    )
    return found[0] if found else None


def _candidates(db: Database, namespace: str, workload: Labels | None) -> Iterator[PeerAuthentication]:
    for key in db.keys(facts.peer_authentications_in, namespace):
        it = db.get(PeerAuthentication, ObjectKey(*key))
        if it is None:
            continue
        selector = labels.of(it.spec.selector.match_labels) if it.spec.selector else ()
        if workload is None:
            if not selector:
                yield it
        elif selector and labels.matches(selector, workload):
            yield it
