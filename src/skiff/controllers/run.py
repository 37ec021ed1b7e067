"""What keeps the cluster moving towards what was asked? All controllers, in one task group."""

from __future__ import annotations

import asyncio

from skiff.api import Api
from skiff.controllers import (
    autoscaler,
    certificates,
    claims,
    cron_job,
    daemon_set,
    deployment,
    disruption,
    endpoint_slice,
    endpoints,
    forgetting,
    garbage,
    job,
    lasting,
    namespace,
    node_lifecycle,
    pod_garbage,
    quota,
    replica_set,
    replication,
    scheduler,
    service_account,
    stateful_set,
    storage,
    taints,
)
from skiff.controllers.cluster import Cluster, ControllerSettings, Settings

__all__ = ["ControllerSettings", "Settings", "run_all"]

_CONTROLLERS = (
    namespace, service_account, scheduler, deployment, replica_set, stateful_set, daemon_set, job, endpoint_slice, claims,
    forgetting, garbage, disruption, lasting, storage, taints, certificates, quota, cron_job, replication, endpoints,
    node_lifecycle, autoscaler, pod_garbage,
)  # fmt: skip


async def run_all(api: Api, settings: Settings) -> None:
    """Run every controller until cancelled. What fails is logged and tried again; it stops no other."""
    cluster = Cluster(api, settings)
    controllers = [it.controller(cluster) for it in _CONTROLLERS]
    async with asyncio.TaskGroup() as tasks:
        cluster.informers.start(tasks)
        # Nobody acts on half a picture: an empty cache would create what exists already.
        await cluster.informers.wait()
        for it in controllers:
            tasks.create_task(it.run())
