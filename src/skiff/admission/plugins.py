"""Which plug-ins does the cluster have, in which order, and of which kinds?"""

from __future__ import annotations

from skiff.admission.chain import Chain, Hooks
from skiff.admission.custom_rules import CustomRules
from skiff.apiserver import custom
from skiff.apiserver.registry import Registry


def chain(registry: Registry, hooks: Hooks | None = None) -> Chain:
    """All of them, about the objects of one registry."""
    custom_rules = CustomRules(registry.schema, lambda raw: custom.node(raw, root=True))
    return Chain(hooks, everywhere=[custom_rules])
