"""Which plug-ins does the cluster have, in which order, and of which kinds?"""

from __future__ import annotations

from skiff.admission import limit_ranges, pod_security, policy_forms
from skiff.admission.chain import Chain, Hooks
from skiff.admission.custom_rules import CustomRules
from skiff.admission.identity import DefaultStorageClass, Priorities, ServiceAccounts
from skiff.admission.policies import Policies
from skiff.admission.quota import Quotas
from skiff.admission.request import Stored
from skiff.apiserver import custom
from skiff.apiserver.registry import Registry
from skiff.kinds import (
    LIMIT_RANGES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    PRIORITY_CLASSES,
    VALIDATING_POLICIES,
    VALIDATING_POLICY_BINDINGS,
)  # fmt: skip


def chain(registry: Registry, hooks: Hooks | None = None) -> Chain:
    """All of them, about the objects of one registry."""
    stored = Stored(registry.store)
    limits, priorities = limit_ranges.LimitRanges(stored), Priorities(stored)
    return Chain(
        hooks,
        mutators=[
            ([LIMIT_RANGES], limit_ranges.RangeDefaults()),
            ([VALIDATING_POLICIES, VALIDATING_POLICY_BINDINGS], policy_forms.PolicyDefaults()),
            ([PODS], limits),
            ([PODS], ServiceAccounts(stored)),
            ([PERSISTENT_VOLUME_CLAIMS], DefaultStorageClass(stored)),
            ([PODS], priorities),
        ],
        validators=[
            (policy_forms.KINDS, policy_forms.PolicyForms()),
            (limit_ranges.KINDS, limits),
            ([PRIORITY_CLASSES], priorities),
            (pod_security.KINDS, pod_security.PodSecurity(stored)),
        ],
        everywhere=[
            CustomRules(registry.schema, lambda raw: custom.node(raw, root=True)),
            Policies(stored, registry.kinds),
        ],
        last=Quotas(registry.store),
    )
