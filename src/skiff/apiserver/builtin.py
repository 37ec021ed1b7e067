"""What does the API server add to an object that leaves things out? The defaults of the built-in kinds.

They are part of the API: kubectl and controllers rely on them. Source: the "defaults to" sentences of the API reference,
https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from collections.abc import Callable

from skiff import kinds
from skiff.api import Object
from skiff.apiserver.defaults import network, others, pods, workloads
from skiff.kinds import Kind
from skiff.objects import copied

_COMPLETE: dict[Kind, Callable[[Object], None]] = {
    kinds.PODS: pods.pod, kinds.DEPLOYMENTS: workloads.deployment, kinds.REPLICA_SETS: workloads.replica_set,
    kinds.STATEFUL_SETS: workloads.stateful_set, kinds.DAEMON_SETS: workloads.daemon_set, kinds.JOBS: workloads.job,
    kinds.CRON_JOBS: workloads.cron_job, kinds.REPLICATION_CONTROLLERS: workloads.replication_controller,
    kinds.HORIZONTAL_POD_AUTOSCALERS: workloads.autoscaler, kinds.SERVICES: network.service,
    kinds.ENDPOINTS: network.endpoints, kinds.ENDPOINT_SLICES: network.endpoint_slice,
    kinds.INGRESS_CLASSES: network.ingress_class, kinds.NETWORK_POLICIES: network.network_policy,
    kinds.SECRETS: others.secret, kinds.ROLE_BINDINGS: others.binding, kinds.CLUSTER_ROLE_BINDINGS: others.binding,
    kinds.MUTATING_WEBHOOKS: others.webhooks, kinds.VALIDATING_WEBHOOKS: others.webhooks,
    kinds.CUSTOM_RESOURCE_DEFINITIONS: others.definition, kinds.PERSISTENT_VOLUME_CLAIMS: others.claim,
    kinds.PERSISTENT_VOLUMES: others.volume, kinds.STORAGE_CLASSES: others.storage_class,
    kinds.PRIORITY_CLASSES: others.priority_class, kinds.LIMIT_RANGES: others.limit_range,
    kinds.POD_TEMPLATES: workloads.templated,
}  # fmt: skip


def with_defaults(kind: Kind, obj: Object) -> Object:
    """The object with every default filled in. The input is not changed."""
    complete = _COMPLETE.get(kind)
    if complete is None:
        return obj
    made: Object = copied(obj)
    complete(made)
    return made


def with_job_labels(job: Object) -> Object:
    """A Job whose selector and template name its uid, so that no other Job's pods are its own."""
    made: Object = copied(job)
    workloads.name_pods(made)
    return made
