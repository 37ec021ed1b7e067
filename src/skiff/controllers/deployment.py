"""Which ReplicaSets should a Deployment have, and how large may each be at this moment?"""

from __future__ import annotations

import hashlib
import json

from skiff import objects
from skiff.api import Object
from skiff.controllers import deployment_status
from skiff.controllers import pods as pod_questions
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from skiff.objects import controller_of, copied, key_of

_SOURCE = "deployment-controller"
_HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAX = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {REVISION, _DESIRED, _MAX, "kubectl.kubernetes.io/last-applied-configuration"}


def controller(cluster: Cluster) -> Controller:
    """Deployments, woken by their ReplicaSets and, for Recreate, by the pods of those."""

    async def reconcile(key: Key) -> float | None:
        found = cluster.informers[DEPLOYMENTS].get(*key)
        return None if found is None else await _reconcile(cluster, found)

    it = Controller("deployment", reconcile)
    it.follow(cluster, DEPLOYMENTS)
    it.follow_owned(cluster, REPLICA_SETS, DEPLOYMENTS)

    def pod_gone(old: Object | None, new: Object | None) -> None:
        owner = controller_of(old) if old is not None and new is None else None
        if old is None or owner is None or owner.get("kind") != "ReplicaSet":
            return
        replica_set = cluster.informers[REPLICA_SETS].get(old["metadata"]["namespace"], owner["name"])
        above = controller_of(replica_set) if replica_set is not None else None
        if above is not None:
            it.queue.add((old["metadata"]["namespace"], above["name"]))

    cluster.informers[PODS].listen(pod_gone)
    return it


async def _reconcile(cluster: Cluster, deployment: Object) -> float | None:
    sets = await _claimed(cluster, deployment)
    if deployment["metadata"].get("deletionTimestamp"):
        return await deployment_status.tell(cluster, deployment, _newest(deployment, sets), sets)
    new = _newest(deployment, sets)
    old = [it for it in sets if it is not new]
    strategy = deployment["spec"].get("strategy") or {}
    if deployment["spec"].get("paused"):
        await _proportion(cluster, deployment, new, old)
    elif strategy.get("type") == "Recreate":
        new = await _recreate(cluster, deployment, new, old)
    else:
        new = await _rolling(cluster, deployment, new, old)
    sets = cluster.informers[REPLICA_SETS].owned(deployment)
    deployment = cluster.informers[DEPLOYMENTS].get(*key_of(deployment)) or deployment
    if new is not None and deployment_status.complete(deployment, new, sets):
        await _forget(cluster, deployment, [it for it in sets if key_of(it) != key_of(new)])
    return await deployment_status.tell(cluster, deployment, new, sets)


async def _claimed(cluster: Cluster, deployment: Object) -> list[Object]:
    """The Deployment's ReplicaSets, orphans that fit adopted; the oldest first."""
    mine = []
    for it in cluster.informers[REPLICA_SETS].namespace(deployment["metadata"]["namespace"]):
        holder = controller_of(it)
        fits = objects.matches(deployment["spec"].get("selector"), it["metadata"].get("labels"))
        if holder is not None and holder.get("uid") == deployment["metadata"]["uid"]:
            mine.append(it)
        elif (
            holder is None
            and fits
            and not it["metadata"].get("deletionTimestamp")
            and await pod_questions.may_adopt(cluster, DEPLOYMENTS, deployment)
        ):
            others = it["metadata"].get("ownerReferences") or []
            reference = pod_questions.owner_reference(DEPLOYMENTS, deployment)
            mine.append(
                await cluster.patch(REPLICA_SETS, it, {"metadata": {"ownerReferences": [*others, reference]}})
            )
    return sorted(mine, key=lambda it: (it["metadata"].get("creationTimestamp", ""), it["metadata"]["name"]))


def _plain(template: Object) -> str:
    """A template as text, without the label that tells templates apart and without what is empty."""
    own = copied(template)
    meta = own.setdefault("metadata", {}) or {}
    (meta.get("labels") or {}).pop(_HASH, None)
    own["metadata"] = {name: value for name, value in meta.items() if value}
    return json.dumps(own, sort_keys=True)


def template_hash(deployment: Object) -> str:
    """The same template gives the same name, so that going back finds the set it once had."""
    collisions = (deployment.get("status") or {}).get("collisionCount", 0)
    text = _plain(deployment["spec"]["template"]) + (f"/{collisions}" if collisions else "")
    # Letters and digits Kubernetes allows here: no vowels, so no words.
    alphabet, number = "bcdfghjklmnpqrstvwxz2456789", int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
    return "".join(alphabet[number // len(alphabet) ** place % len(alphabet)] for place in range(10))


def _newest(deployment: Object, sets: list[Object]) -> Object | None:
    wanted = _plain(deployment["spec"]["template"])
    return next((it for it in sets if _plain(it["spec"].get("template") or {}) == wanted), None)


def revision(obj: Object) -> int:
    """The rollout's number, 0 before it has one."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _desired(deployment: Object) -> int:
    return int(deployment["spec"].get("replicas", 1))


def limits(deployment: Object) -> tuple[int, int]:
    """(surge, unavailable) in pods: the first rounds up, the second down, and never are both zero."""
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return (0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    desired = _desired(deployment)
    surge = _amount(rolling.get("maxSurge", "25%"), desired, 99)
    unavailable = _amount(rolling.get("maxUnavailable", "25%"), desired, 0)
    return (surge, min(desired, unavailable if surge or unavailable else 1))


def _amount(value: object, of: int, rounding: int) -> int:
    text = str(value)
    return (int(text[:-1]) * of + rounding) // 100 if text.endswith("%") else int(text)


async def _ensure_new(
    cluster: Cluster, deployment: Object, new: Object | None, old: list[Object], size: int
) -> Object:
    number = max([revision(it) for it in old], default=0) + 1
    if new is not None:
        number = max(number, revision(new))
    inherited = {
        name: value
        for name, value in (deployment["metadata"].get("annotations") or {}).items()
        if name not in _NOT_COPIED
    }
    notes = {**inherited, REVISION: str(number), **_notes(deployment)}
    if new is None:
        new = await _create_new(cluster, deployment, notes, size)
    elif not notes.items() <= (new["metadata"].get("annotations") or {}).items():
        new = await cluster.patch(REPLICA_SETS, new, {"metadata": {"annotations": notes}})
    if revision(deployment) != revision(new):
        await cluster.patch(
            DEPLOYMENTS, deployment, {"metadata": {"annotations": {REVISION: str(revision(new))}}}
        )
    return new


def _notes(deployment: Object) -> dict[str, str]:
    return {_DESIRED: str(_desired(deployment)), _MAX: str(_desired(deployment) + limits(deployment)[0])}


async def _create_new(cluster: Cluster, deployment: Object, notes: dict[str, str], size: int) -> Object:
    mark = template_hash(deployment)
    template = copied(deployment["spec"]["template"])
    meta = template.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), _HASH: mark}
    selector = copied(deployment["spec"].get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _HASH: mark}
    name = f"{deployment['metadata']['name']}-{mark}"
    wanted = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": deployment["metadata"]["namespace"], "labels": meta["labels"],
            "annotations": notes, "ownerReferences": [pod_questions.owner_reference(DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": size, "selector": selector, "template": template,
            "minReadySeconds": int(deployment["spec"].get("minReadySeconds", 0)),
        },
    }  # fmt: skip
    try:
        made = await cluster.create(REPLICA_SETS, wanted)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        held = await cluster.api.get(REPLICA_SETS, deployment["metadata"]["namespace"], name)
        owner = controller_of(held)
        ours = owner is not None and owner.get("uid") == deployment["metadata"]["uid"]
        if ours and _plain(held["spec"]["template"]) == _plain(template):
            return held
        count = (deployment.get("status") or {}).get("collisionCount", 0) + 1
        await cluster.status(DEPLOYMENTS, deployment, {"collisionCount": count})
        raise
    await cluster.event(
        deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}", _SOURCE
    )
    return made


async def _resize(cluster: Cluster, deployment: Object, replica_set: Object, size: int) -> Object:
    before = int(replica_set["spec"].get("replicas", 1))
    if before == size:
        return replica_set
    patch = {"spec": {"replicas": size}, "metadata": {"annotations": _notes(deployment)}}
    changed = await cluster.patch(REPLICA_SETS, replica_set, patch)
    way = "up" if size > before else "down"
    said = f"Scaled {way} replica set {replica_set['metadata']['name']} from {before} to {size}"
    await cluster.event(deployment, "Normal", "ScalingReplicaSet", said, _SOURCE)
    return changed


def size_of(replica_set: Object) -> int:
    return int(replica_set["spec"].get("replicas", 1))


def _available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas", 0))


async def _recreate(
    cluster: Cluster, deployment: Object, new: Object | None, old: list[Object]
) -> Object | None:
    for it in old:
        await _resize(cluster, deployment, it, 0)
    pods = cluster.informers[PODS]
    if any(not objects.finished(pod) for it in old for pod in pods.owned(it)):
        return new  # the last old pod must be gone before the first new one begins
    new = await _ensure_new(cluster, deployment, new, old, _desired(deployment))
    return await _resize(cluster, deployment, new, _desired(deployment))


async def _rolling(cluster: Cluster, deployment: Object, new: Object | None, old: list[Object]) -> Object:
    desired = _desired(deployment)
    surge, unavailable = limits(deployment)
    held = sum(size_of(it) for it in old)
    room = max(0, min(desired + surge - held, desired))
    new = await _ensure_new(cluster, deployment, new, old, room)
    grown = size_of(new)
    if grown > desired:
        new = await _resize(cluster, deployment, new, desired)
    elif grown < desired:
        new = await _resize(cluster, deployment, new, max(grown, min(desired, desired + surge - held)))
    if held:
        await _shrink(cluster, deployment, new, old, desired - unavailable)
    return new


async def _shrink(cluster: Cluster, deployment: Object, new: Object, old: list[Object], needed: int) -> None:
    """Take from the old sets what is not needed for availability, the never-available pods first."""
    total = size_of(new) + sum(size_of(it) for it in old)
    spare = total - needed - max(0, size_of(new) - _available(new))
    sizes = {key_of(it): size_of(it) for it in old}
    for it in old:
        broken = max(0, size_of(it) - _available(it))
        taken = min(broken, max(0, spare))
        sizes[key_of(it)] -= taken
        spare -= taken
    working = _available(new) + sum(min(sizes[key_of(it)], _available(it)) for it in old)
    spare = min(spare, working - needed)
    for it in old:
        taken = min(sizes[key_of(it)], max(0, spare))
        sizes[key_of(it)] -= taken
        spare -= taken
    for it in old:
        await _resize(cluster, deployment, it, sizes[key_of(it)])


async def _proportion(cluster: Cluster, deployment: Object, new: Object | None, old: list[Object]) -> None:
    """A paused Deployment still follows its size, the largest set taking the difference."""
    sets = [it for it in ([new] if new else []) + old if size_of(it)] or ([new] if new else [])
    if not sets:
        return
    known = {(it["metadata"].get("annotations") or {}).get(_DESIRED) for it in sets}
    if known == {str(_desired(deployment))}:
        return
    difference = (
        _desired(deployment) + (limits(deployment)[0] if len(sets) > 1 else 0) - sum(map(size_of, sets))
    )
    largest = max(sets, key=size_of)
    await _resize(cluster, deployment, largest, max(0, size_of(largest) + difference))


async def _forget(cluster: Cluster, deployment: Object, old: list[Object]) -> None:
    keep = int(deployment["spec"].get("revisionHistoryLimit", 10))
    idle = [
        it for it in old
        if size_of(it) == 0 and not (it.get("status") or {}).get("replicas") and not it["metadata"].get("deletionTimestamp")
    ]  # fmt: skip
    for it in sorted(idle, key=revision)[: max(0, len(idle) - keep)]:
        await cluster.delete(REPLICA_SETS, it)
