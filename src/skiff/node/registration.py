"""What does the node say about itself? The Node object with its conditions, and the Lease that shows that it lives."""

from __future__ import annotations

import asyncio
import platform
from datetime import UTC, datetime
from pathlib import Path

from skiff.api import Api
from skiff.errors import ApiError
from skiff.kinds import LEASES, NODES
from skiff.log import Log
from skiff.names import NODE_IP
from skiff.node.statuses import stamp
from skiff.settings import Settings

_log = Log()

_HEARTBEAT_S = 20.0


async def keep_registered(api: Api, settings: Settings, size: tuple[int, int]) -> None:
    """Until cancelled. ``size`` is (CPUs, MiB)."""
    while True:
        try:
            await _register(api, settings, size)
            await _beat(api, settings)
        except ApiError as refused:
            _log.warning("the node could not say that it lives", reason=refused.message)
        await asyncio.sleep(_HEARTBEAT_S)


async def _register(api: Api, settings: Settings, size: tuple[int, int]) -> None:
    name = settings.node_name
    labels = {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/control-plane": "",
    }  # fmt: skip
    try:
        node = await api.get(NODES, "", name)
    except ApiError:
        node = await api.create(NODES, {"metadata": {"name": name, "labels": labels}, "spec": {}})
    held = {it["type"]: it for it in (node.get("status") or {}).get("conditions") or ()}
    conditions = []
    for kind, good, reason, message in (
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ):
        before = held.get(kind) or {}
        since = before["lastTransitionTime"] if before.get("status") == good else stamp()
        conditions.append({
            "type": kind, "status": good, "reason": reason, "message": message, "lastHeartbeatTime": stamp(),
            "lastTransitionTime": since,
        })  # fmt: skip
    cpus, memory = size
    room = {"cpu": str(cpus), "memory": f"{memory}Mi", "pods": "250"}
    status = {
        "capacity": room, "allocatable": room, "conditions": conditions, "nodeInfo": _info(),
        "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    }  # fmt: skip
    await api.patch(NODES, "", name, {"status": status}, subresource="status")


async def _beat(api: Api, settings: Settings) -> None:
    name, now = settings.node_name, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
    try:
        await api.patch(LEASES, "kube-node-lease", name, {"spec": spec})
    except ApiError:
        await api.create(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec})


def _info() -> dict[str, str]:
    machine = Path("/etc/machine-id")
    name = (
        platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        if Path("/etc/os-release").exists()
        else "Linux"
    )
    return {
        "kubeletVersion": "v1.37.0+skiff", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
        "kernelVersion": platform.release(), "osImage": name, "containerRuntimeVersion": "skiff://0.1.0",
        "machineID": machine.read_text().strip() if machine.exists() else "", "systemUUID": "", "bootID": "",
    }  # fmt: skip
