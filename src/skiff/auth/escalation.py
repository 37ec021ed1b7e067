"""May somebody grant this? Only what they hold themselves, unless they may ``escalate`` the role or ``bind`` it.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from skiff.api import Object
from skiff.auth.authenticate import User
from skiff.auth.authorize import Authorizer, covers, covers_path
from skiff.errors import ApiError, not_found
from skiff.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Kind

#: Told (new, old) before an object is stored, as ``skiff.apiserver.registry.Registry.stored`` has it.
Check = Callable[[Object | None, Object | None], Object | None]
_Rule = dict[str, Any]


def checks(authorizer: Authorizer, who: Callable[[], User | None]) -> dict[Kind, Check]:
    """For each kind that grants something, what refuses it with a 403. ``who`` is None inside the daemon."""

    def check_of(kind: Kind) -> Check:
        def check(new: Object | None, old: Object | None) -> Object | None:
            user = who()
            if new is not None and user is not None:
                _require(authorizer, user, kind, new, old)
            return None

        return check

    return {kind: check_of(kind) for kind in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)}


def _require(authorizer: Authorizer, user: User, kind: Kind, new: Object, old: Object | None) -> None:
    namespace = new["metadata"].get("namespace", "")
    granting = ("rules", "aggregationRule") if kind in (ROLES, CLUSTER_ROLES) else ("roleRef", "subjects")
    if old is not None and all(new.get(part) == old.get(part) for part in granting):
        return
    rules: list[_Rule] | None
    if kind in (ROLES, CLUSTER_ROLES):
        rules, verb, target, name = authorizer.rules_of(new), "escalate", kind, new["metadata"]["name"]
    else:
        reference = new.get("roleRef") or {}
        rules, verb, name = authorizer.granted(new), "bind", reference.get("name", "")
        target = ROLES if reference.get("kind") == "Role" else CLUSTER_ROLES
    may, _ = authorizer.allowed(
        user, verb, group=target.group, resource=target.plural, namespace=namespace, name=name
    )
    if may:
        return
    if rules is None:  # it may be made later, by somebody who does not know who waits for it
        raise not_found(target.plural, target.group, name)
    held = authorizer.rules(user, namespace)
    missing = [rule for rule in rules if not _held(rule, held)]
    if missing:
        raise ApiError(
            403, "Forbidden", f'{kind.resource} "{new["metadata"]["name"]}" is forbidden: user "{user.name}" '
            f"(groups={list(user.groups)}) is attempting to grant RBAC permissions not currently held:\n"
            + "\n".join(map(_shown, missing)),
        )  # fmt: skip


def _held(rule: _Rule, held: list[_Rule]) -> bool:
    """Whether the rules that are held allow each single thing which a rule allows."""
    verbs, names = rule.get("verbs") or (), rule.get("resourceNames") or ("",)
    for verb, path in itertools.product(verbs, rule.get("nonResourceURLs") or ()):
        if not any(covers_path(it, verb, path) for it in held):
            return False
    groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
    for verb, group, resource, name in itertools.product(verbs, groups, resources, names):
        plural, _, subresource = resource.partition("/")
        if not any(covers(it, verb, group, plural, subresource, name) for it in held):
            return False
    return True


def _shown(rule: _Rule) -> str:
    words = {
        "APIGroups": "apiGroups", "Resources": "resources", "ResourceNames": "resourceNames",
        "NonResourceURLs": "nonResourceURLs", "Verbs": "verbs",
    }  # fmt: skip
    parts = [
        f"{word}:[{', '.join(map(repr, rule[field]))}]" for word, field in words.items() if rule.get(field)
    ]
    return "{" + ", ".join(parts).replace("'", '"') + "}"
