"""Which numbered pods should a StatefulSet have, one after the other, and which of them are of an old template?

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from skiff import objects
from skiff.api import Object
from skiff.controllers import pods as pod_questions
from skiff.controllers import retention, revisions
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from skiff.objects import copied, now

_SOURCE = "statefulset-controller"
_POD_NAME, _INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


def controller(cluster: Cluster) -> Controller:
    """StatefulSets, woken by their pods."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[STATEFUL_SETS].get(*key)
        return None if found is None else await _reconcile(cluster, found)

    it = Controller("statefulset", reconcile)
    it.follow(cluster, STATEFUL_SETS)
    it.follow_owned(cluster, PODS, STATEFUL_SETS)
    return it


async def _reconcile(cluster: Cluster, owner: Object) -> float | None:
    mine = await pod_questions.claimed(cluster, STATEFUL_SETS, owner)
    pods = {number: it for it in mine if (number := _number(owner, it)) is not None}
    if not owner["metadata"].get("deletionTimestamp"):
        await revisions.keep(cluster, STATEFUL_SETS, owner, revisions.name_of(owner))
        await retention.keep(cluster, owner, pods, _numbers(owner))
        await _bring(cluster, owner, pods)
    return await _tell(cluster, owner)


def _number(owner: Object, pod: Object) -> int | None:
    name, _, number = pod["metadata"]["name"].rpartition("-")
    return int(number) if name == owner["metadata"]["name"] and number.isdigit() else None


def _numbers(owner: Object) -> range:
    start = int((owner["spec"].get("ordinals") or {}).get("start", 0))
    return range(start, start + int(owner["spec"].get("replicas", 1)))


async def _bring(cluster: Cluster, owner: Object, pods: dict[int, Object]) -> None:
    """The next step: one at a time unless the pods may be managed in parallel."""
    wanted = _numbers(owner)
    parallel = owner["spec"].get("podManagementPolicy") == "Parallel"
    for pod in pods.values():
        if objects.finished(pod) and not pod["metadata"].get("deletionTimestamp"):
            await cluster.delete(PODS, pod)  # its place is taken until it is gone
    for number in wanted:
        held = pods.get(number)
        if held is None:
            await _create(cluster, owner, number)
        if (held is None or not _settled(owner, held)) and not parallel:
            return
    extra = sorted((it for it in pods if it not in wanted), reverse=True)
    for number in extra:
        if not pods[number]["metadata"].get("deletionTimestamp"):
            await pod_questions.delete_pods(cluster, owner, [pods[number]], _SOURCE)
        if not parallel:
            return
    if any(it not in pods for it in wanted):
        return  # those that were just made are not settled
    if not extra and (owner["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
        await _renew(cluster, owner, pods)


def _settled(owner: Object, pod: Object) -> bool:
    seconds = int(owner["spec"].get("minReadySeconds", 0))
    return objects.active(pod) and pod_questions.available_in(pod, seconds, now()) == 0.0


async def _renew(cluster: Cluster, owner: Object, pods: dict[int, Object]) -> None:
    """The last pods of an old template above the partition are replaced: so many at a time as may be missing."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    left = _may_miss(rolling.get("maxUnavailable"), int(owner["spec"].get("replicas", 1)))
    for number in sorted((it for it in pods if it >= int(rolling.get("partition", 0))), reverse=True):
        pod = pods[number]
        if (pod["metadata"].get("labels") or {}).get(revisions.LABEL) != revisions.name_of(owner):
            if not pod["metadata"].get("deletionTimestamp"):
                await pod_questions.delete_pods(cluster, owner, [pod], _SOURCE)
        elif _settled(owner, pod):
            continue
        left -= 1
        if left <= 0:
            return


def _may_miss(wish: int | str | None, replicas: int) -> int:
    """A number, or a percentage rounded down; one at least."""
    if isinstance(wish, str):
        share = wish.removesuffix("%")
        wish = int(share) * replicas // 100 if share.isascii() and share.isdigit() else 1
    return max(1, wish or 1)


async def _create(cluster: Cluster, owner: Object, number: int) -> None:
    name, namespace = f"{owner['metadata']['name']}-{number}", owner["metadata"]["namespace"]
    marks = {_POD_NAME: name, _INDEX: str(number), revisions.LABEL: revisions.name_of(owner)}
    pod = pod_questions.pod_of(STATEFUL_SETS, owner, owner["spec"].get("template") or {}, labels=marks)
    del pod["metadata"]["generateName"]
    pod["metadata"]["name"] = pod["spec"]["hostname"] = name
    if owner["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = owner["spec"]["serviceName"]
    volumes = {it["name"]: it for it in pod["spec"].get("volumes") or ()}
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        claim = f"{template['metadata']['name']}-{name}"
        volumes[template["metadata"]["name"]] = {
            "name": template["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim},
        }  # fmt: skip
        made = {**copied(template), "apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        made["metadata"] = {**made["metadata"], "name": claim, "namespace": namespace}
        if cluster.informers[PERSISTENT_VOLUME_CLAIMS].get(namespace, claim) is None:
            await _claim(cluster, made)
    if volumes:
        pod["spec"]["volumes"] = list(volumes.values())
    await pod_questions.create_pods(cluster, owner, [pod], _SOURCE)


async def _claim(cluster: Cluster, claim: Object) -> None:
    try:
        await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim)
    except ApiError as refused:
        if refused.reason != "AlreadyExists":  # claims outlive their pods
            raise


async def _tell(cluster: Cluster, owner: Object) -> float | None:
    living = [it for it in cluster.informers[PODS].owned(owner) if objects.active(it)]
    moment, seconds = now(), int(owner["spec"].get("minReadySeconds", 0))
    waits = [pod_questions.available_in(it, seconds, moment) for it in living]
    update = revisions.name_of(owner)
    updated = sum((it["metadata"].get("labels") or {}).get(revisions.LABEL) == update for it in living)
    done = updated == len(living) == int(owner["spec"].get("replicas", 1))
    current = update if done else (owner.get("status") or {}).get("currentRevision") or update
    status = {
        "replicas": len(living), "readyReplicas": sum(it is not None for it in waits),
        "availableReplicas": sum(it == 0.0 for it in waits), "updatedReplicas": updated,
        "currentReplicas": sum((it["metadata"].get("labels") or {}).get(revisions.LABEL) == current for it in living),
        "currentRevision": current, "updateRevision": update, "collisionCount": 0,
        "observedGeneration": owner["metadata"].get("generation", 1),
    }  # fmt: skip
    await cluster.status(STATEFUL_SETS, owner, status)
    later = [it for it in waits if it]
    return min(later) + 0.05 if later else None
