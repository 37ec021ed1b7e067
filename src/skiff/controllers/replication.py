"""ReplicationControllers: what ReplicaSets were called before. The same controller brings them about."""

from __future__ import annotations

from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.replica_set import controller_of_kind
from skiff.kinds import REPLICATION_CONTROLLERS


def controller(cluster: Cluster) -> Controller:
    """See ``replica_set``."""
    return controller_of_kind(cluster, REPLICATION_CONTROLLERS)
