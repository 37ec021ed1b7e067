"""What does kubectl show of nodes, events, rights and storage? The cells after NAME."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from skiff.api import Object
from skiff.apiserver.cells import NONE, UNSET, age, born, duration, join, selector


def node(it: Object, now: datetime) -> list[Any]:
    """Nodes."""
    status = it.get("status") or {}
    held = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    states = ["Ready" if held.get("Ready") == "True" else "NotReady" if "Ready" in held else "Unknown"]
    if (it.get("spec") or {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(k.removeprefix(prefix) for k in it["metadata"].get("labels") or {} if k.startswith(prefix))
    known, at = status.get("nodeInfo") or {}, {a["type"]: a["address"] for a in status.get("addresses") or ()}
    return [
        ",".join(states), join(roles), born(it, now), known.get("kubeletVersion", ""), at.get("InternalIP", NONE),
        at.get("ExternalIP", NONE), known.get("osImage") or "<unknown>", known.get("kernelVersion") or "<unknown>",
        known.get("containerRuntimeVersion") or "<unknown>",
    ]  # fmt: skip


def event(it: Object, now: datetime) -> list[Any]:
    """Events of both groups."""
    about = it.get("involvedObject") or it.get("regarding") or {}
    series, came = it.get("series") or {}, it.get("eventTime")
    first = it.get("firstTimestamp") or it.get("deprecatedFirstTimestamp") or came
    last = (
        series.get("lastObservedTime") or it.get("lastTimestamp") or it.get("deprecatedLastTimestamp") or came
    )
    source = it.get("source") or it.get("deprecatedSource") or {}
    teller = ", ".join(
        filter(None, (source.get("component") or it.get("reportingComponent"), source.get("host")))
    )
    return [
        age(last, now), it.get("type", ""), it.get("reason", ""), f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""), teller, (it.get("message") or it.get("note") or "").strip(), age(first, now),
        series.get("count") or it.get("count") or it.get("deprecatedCount") or 1, it["metadata"]["name"],
    ]  # fmt: skip


def binding(it: Object, now: datetime) -> list[Any]:
    """RoleBindings and ClusterRoleBindings."""
    role, subjects = it.get("roleRef") or {}, it.get("subjects") or ()
    shown = [
        ", ".join(f"{s['namespace']}/{s['name']}" if "namespace" in s else s["name"] for s in subjects if s["kind"] == kind)
        for kind in ("User", "Group", "ServiceAccount")
    ]  # fmt: skip
    return [f"{role.get('kind', '')}/{role.get('name', '')}", born(it, now), *shown]


def admission_policy(it: Object, now: datetime) -> list[Any]:
    """ValidatingAdmissionPolicies."""
    spec = it.get("spec") or {}
    held = spec.get("paramKind")
    kind = f"{held.get('apiVersion', '')}/{held.get('kind', '')}" if held else UNSET
    return [len(spec.get("validations") or ()), kind, born(it, now)]


def policy_binding(it: Object, now: datetime) -> list[Any]:
    """ValidatingAdmissionPolicyBindings."""
    spec = it.get("spec") or {}
    held = spec.get("paramRef") or {}
    parameter = f"{held.get('namespace') or '*'}/{held['name']}" if held.get("name") else UNSET
    if parameter == UNSET and held.get("selector") is not None:
        parameter = selector(held["selector"])
    return [spec.get("policyName", ""), parameter, born(it, now)]


def quota(it: Object, now: datetime) -> list[Any]:
    """ResourceQuotas."""
    status = it.get("status") or {}
    hard, used = status.get("hard") or (it.get("spec") or {}).get("hard") or {}, status.get("used") or {}
    shown = {name: f"{name}: {used.get(name, 0)}/{most}" for name, most in sorted(hard.items())}
    limits = [text for name, text in shown.items() if name.startswith("limits.")]
    return [
        ", ".join(text for text in shown.values() if text not in limits),
        ", ".join(limits),
        born(it, now),
    ]


def _modes(it: Object) -> str:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    return ",".join(short.get(m, m) for m in (it.get("spec") or {}).get("accessModes") or ())


def volume(it: Object, now: datetime) -> list[Any]:
    """PersistentVolumes."""
    spec, status = it.get("spec") or {}, it.get("status") or {}
    claim = spec.get("claimRef") or {}
    return [
        (spec.get("capacity") or {}).get("storage", ""), _modes(it), spec.get("persistentVolumeReclaimPolicy", ""),
        status.get("phase", ""), f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
        spec.get("storageClassName", ""), spec.get("volumeAttributesClassName") or UNSET, status.get("reason", ""),
        born(it, now), spec.get("volumeMode") or UNSET,
    ]  # fmt: skip


def claim(it: Object, now: datetime) -> list[Any]:
    """PersistentVolumeClaims."""
    spec, status = it.get("spec") or {}, it.get("status") or {}
    phase = "Terminating" if it["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        phase, spec.get("volumeName", ""), (status.get("capacity") or {}).get("storage", ""), _modes(it),
        spec.get("storageClassName", ""), spec.get("volumeAttributesClassName") or UNSET, born(it, now),
        spec.get("volumeMode") or UNSET,
    ]  # fmt: skip


def storage_class(it: Object, now: datetime) -> list[Any]:
    """StorageClasses."""
    return [
        it.get("provisioner", ""), it.get("reclaimPolicy", "Delete"), it.get("volumeBindingMode", "Immediate"),
        str(bool(it.get("allowVolumeExpansion"))).lower(), born(it, now),
    ]  # fmt: skip


def revision(it: Object, now: datetime) -> list[Any]:
    """ControllerRevisions."""
    owner = next((o for o in it["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    group = owner["apiVersion"].rpartition("/")[0] if owner else ""
    shown = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}" if owner else NONE
    return [shown, it.get("revision", 0), born(it, now)]


def scale(it: Object, now: datetime) -> list[Any]:
    """Scales."""
    return [
        (it.get("spec") or {}).get("replicas", 0),
        (it.get("status") or {}).get("replicas", 0),
        born(it, now),
    ]


def created(it: Object, _: datetime) -> list[Any]:
    """Kinds of which only the time of creation is shown."""
    since = it["metadata"].get("creationTimestamp")
    return [
        datetime.fromisoformat(since).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if since else "<unknown>"
    ]


def only_age(it: Object, now: datetime) -> list[Any]:
    """The cells of a kind of which nothing else is known."""
    return [born(it, now)]


def signing_request(it: Object, now: datetime) -> list[Any]:
    """CertificateSigningRequests."""
    spec, status = it.get("spec") or {}, it.get("status") or {}
    decided = [c["type"] for c in status.get("conditions") or () if c["type"] in ("Approved", "Denied")]
    failed = [c["type"] for c in status.get("conditions") or () if c["type"] == "Failed"]
    issued = ["Issued"] if status.get("certificate") else []
    lasts = spec.get("expirationSeconds")
    return [
        born(it, now), spec.get("signerName") or NONE, spec.get("username", ""),
        NONE if lasts is None else duration(lasts), ",".join([*(decided or ["Pending"]), *failed, *issued]),
    ]  # fmt: skip


def component(it: Object, _: datetime) -> list[Any]:
    """ComponentStatuses."""
    held: Object = next((c for c in it.get("conditions") or () if c["type"] == "Healthy"), {})
    status = {"True": "Healthy", "False": "Unhealthy"}.get(held.get("status", ""), "Unknown")
    return [status, held.get("message", ""), held.get("error", "")]


def pod_metrics(it: Object, _: datetime) -> list[Any]:
    """PodMetrics: all containers together."""
    usages = [c["usage"] for c in it.get("containers") or ()]
    cpu, memory = sum(int(u["cpu"][:-1]) for u in usages), sum(int(u["memory"][:-2]) for u in usages)
    return [f"{cpu}n", f"{memory}Ki", it.get("window", "")]


def node_metrics(it: Object, _: datetime) -> list[Any]:
    """NodeMetrics."""
    usage = it.get("usage") or {}
    return [usage.get("cpu", ""), usage.get("memory", ""), it.get("window", "")]
