"""What must hold of an object beside its schema? Kubernetes' own validation, group by group, in its words.

Each module answers for some kinds: ``check(new, old)`` yields what is wrong; ``old`` is what is replaced, None for a new object.
Objects come here when they fit their schema; lists and maps in them may still hold null.
The rules: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from skiff import kinds
from skiff.api import Object
from skiff.kinds import Kind
from skiff.schema.walk import Problem
from skiff.validation import (
    admission,
    autoscaling,
    batch,
    cluster,
    configuration,
    endpoints,
    metadata,
    network,
    pod_changes,
    pods,
    policy,
    rbac,
    services,
    storage,
    workloads,
)  # fmt: skip

#: Nobody reads more, and an object of a megabyte could have a hundred thousand.
MOST_TOLD = 100

_Check = Callable[[Object, Object | None], Iterator[Problem]]
_CHECKS: dict[Kind, _Check] = {
    kinds.PODS: pods.broken, kinds.SERVICES: services.broken, kinds.ENDPOINTS: endpoints.endpoints,
    kinds.ENDPOINT_SLICES: endpoints.endpoint_slice, kinds.CONFIG_MAPS: configuration.config_map,
    kinds.SECRETS: configuration.secret, kinds.SERVICE_ACCOUNTS: configuration.service_account,
    kinds.DEPLOYMENTS: workloads.deployment, kinds.REPLICA_SETS: workloads.replica_set,
    kinds.DAEMON_SETS: workloads.daemon_set, kinds.STATEFUL_SETS: workloads.stateful_set,
    kinds.POD_TEMPLATES: workloads.pod_template, kinds.CONTROLLER_REVISIONS: workloads.controller_revision,
    kinds.REPLICATION_CONTROLLERS: workloads.replication_controller, kinds.JOBS: batch.job, kinds.CRON_JOBS: batch.cron_job,
    kinds.HORIZONTAL_POD_AUTOSCALERS: autoscaling.autoscaler, kinds.POD_DISRUPTION_BUDGETS: policy.disruption_budget,
    kinds.PRIORITY_CLASSES: policy.priority_class, kinds.RESOURCE_QUOTAS: policy.resource_quota,
    kinds.LIMIT_RANGES: policy.limit_range, kinds.INGRESSES: network.ingress, kinds.INGRESS_CLASSES: network.ingress_class,
    kinds.NETWORK_POLICIES: network.network_policy, kinds.PERSISTENT_VOLUMES: storage.volume,
    kinds.PERSISTENT_VOLUME_CLAIMS: storage.claim, kinds.STORAGE_CLASSES: storage.storage_class, kinds.ROLES: rbac.role,
    kinds.CLUSTER_ROLES: rbac.cluster_role, kinds.ROLE_BINDINGS: rbac.role_binding,
    kinds.CLUSTER_ROLE_BINDINGS: rbac.cluster_role_binding, kinds.MUTATING_WEBHOOKS: admission.mutating,
    kinds.VALIDATING_WEBHOOKS: admission.validating, kinds.CUSTOM_RESOURCE_DEFINITIONS: admission.definition,
    kinds.LEASES: admission.lease, kinds.NAMESPACES: cluster.namespace, kinds.NODES: cluster.node,
    kinds.EVENTS: cluster.event, kinds.EVENTS_V1: cluster.event,
}  # fmt: skip


def broken(kind: Kind, new: Object, old: Object | None) -> list[Problem]:
    """What is wrong with an object that fits its schema, at most ``MOST_TOLD`` faults.

    What was stored wrong before a rule existed never stands in the way of another change, so that status, labels and
    finalizers of old objects stay free.
    """
    found = list(islice(_problems(kind, new, old), MOST_TOLD))
    if found and old is not None:
        known = set(islice(_problems(kind, old, None), 10 * MOST_TOLD))  # as if it were made today
        found = [it for it in found if it not in known]
    return found


def _problems(kind: Kind, new: Object, old: Object | None) -> Iterator[Problem]:
    yield from metadata.broken(kind, new, old)
    if old is not None and _rest(new) == _rest(old):
        return
    if check := _CHECKS.get(kind):
        yield from check(new, old)
    if kind is kinds.PODS and old is not None:
        yield from pod_changes.changed(new, old)


def _rest(obj: Object) -> Object:
    return {name: it for name, it in obj.items() if name not in ("metadata", "status", "apiVersion", "kind")}


__all__ = ["MOST_TOLD", "broken"]
