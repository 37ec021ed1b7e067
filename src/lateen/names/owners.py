"""The workload a pod belongs to: what made it, seen through ReplicaSets and Jobs to what users wrote."""

from __future__ import annotations

import re
from typing import NamedTuple

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


def workload(kind: str, name: str, version: str, template_hash: str) -> Owner:
    """What is behind a pod's controller; ``template_hash`` is the pod's label ``pod-template-hash``."""
    suffix = f"-{template_hash}"
    if kind == "ReplicaSet" and template_hash and name.endswith(suffix):
        return Owner(name.removesuffix(suffix), version, "deployments")
    if kind == "Job" and (scheduled := _SCHEDULED.fullmatch(name)):
        return Owner(scheduled[1], version, "cronjobs")
    return Owner(name, version, kind.lower() + "s")
