"""Which workload does a pod belong to? Read from the metadata of a pod that is to be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lateen.names.owners import Owner, workload


def owner_of(metadata: Mapping[str, Any]) -> Owner:
    """The workload; a pod that nobody owns is its own."""
    found = next((it for it in metadata.get("ownerReferences") or () if it.get("controller")), None)
    if found is None:
        return Owner(
            str(metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")), "v1", "pods"
        )
    template_hash = str((metadata.get("labels") or {}).get("pod-template-hash") or "")
    return workload(str(found["kind"]), str(found["name"]), str(found["apiVersion"]), template_hash)
