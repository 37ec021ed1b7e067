"""Services and policies that miss the pods they are meant for."""

from __future__ import annotations

from collections.abc import Iterator

from lateen.api.core import Service
from lateen.api.security import PeerAuthentication
from lateen.api.validate.finding import Finding, warning
from lateen.incremental import Database
from lateen.names import labels
from lateen.names.keys import ObjectKey
from lateen.names.ports import Protocol
from lateen.policy.problems import destinations, selection, spelling
from lateen.registry import services

#: What Kubernetes runs for itself is no business of users of the mesh.
_KUBERNETES = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def in_service(db: Database, key: ObjectKey) -> Iterator[Finding]:
    """Ports that lead to a port which no container has. A number needs no declaration; a name does."""
    written, service = db.get(Service, key), services.of_object(db, key)
    if written is None or service is None or not service.selector or key.namespace in _KUBERNETES:
        return
    for at, port in enumerate(service.ports):
        if port.target.isdigit() or port.protocol is Protocol.UDP:
            continue
        has = selection.port_names(db, key.namespace, service.selector)
        if port.target not in has and not destinations.has_no_pods(db, service):
            nearly = spelling.near(port.target, spelling.known(sorted(has)))
            advice = (
                f": did you mean {nearly}?"
                if nearly
                else f"; they have {destinations.listed(sorted(has)) or 'none'}"
            )
            yield Finding(
                f"spec.ports[{at}].targetPort",
                f'no container of the pods has a port named "{port.target}", so requests to port {port.number} fail{advice}',
            )


def in_peer_authentication(db: Database, key: ObjectKey) -> Iterator[Finding]:
    """A selector that selects no pod of its namespace."""
    it = db.get(PeerAuthentication, key)
    selector = labels.of(it.spec.selector.match_labels) if it and it.spec.selector else labels.NONE
    if selector and not selection.selected(db, key.namespace, selector):
        advice = selection.advice(db, key.namespace, selector)
        said = f"no pod of namespace {key.namespace} has these labels ({labels.text(selector)})"
        yield warning("spec.selector.matchLabels", f"{said}, so this has no effect{advice}")
