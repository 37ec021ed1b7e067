"""Which workload does a pod belong to? What made it, seen through ReplicaSets and Jobs to what users wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

#: A CronJob names its Jobs by the minute of their start.
_SCHEDULED = re.compile(r"(.+)-\d{8,11}")


class Owner(NamedTuple):
    """A workload: its name, and what it is."""

    name: str
    version: str  # apps/v1
    plural: str

    def url(self, namespace: str) -> str:
        """As ``ISTIO_META_OWNER`` has it."""
        return f"kubernetes://apis/{self.version}/namespaces/{namespace}/{self.plural}/{self.name}"


def owner_of(metadata: Mapping[str, Any]) -> Owner:
    """From the metadata of a pod. One that nobody owns is its own workload."""
    found = next((it for it in metadata.get("ownerReferences") or () if it.get("controller")), None)
    if found is None:
        return Owner(
            str(metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")), "v1", "pods"
        )
    name, kind, version = str(found["name"]), str(found["kind"]), str(found["apiVersion"])
    suffix = f"-{(metadata.get('labels') or {}).get('pod-template-hash')}"
    if kind == "ReplicaSet" and name.endswith(suffix):
        return Owner(name.removesuffix(suffix), version, "deployments")
    if kind == "Job" and (scheduled := _SCHEDULED.fullmatch(name)):
        return Owner(scheduled[1], version, "cronjobs")
    return Owner(name, version, kind.lower() + "s")
