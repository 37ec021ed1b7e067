"""How is an object changed? JSON patch, merge patch and strategic merge patch; inputs are never changed."""

from skiff.patch.json_patch import json_patch
from skiff.patch.merge import merge_patch
from skiff.patch.strategic import strategic_merge_patch

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch"]
