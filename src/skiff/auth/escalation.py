"""May somebody grant this? Only what they hold themselves, unless they may ``escalate`` the role or ``bind`` it.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

from skiff.api import Object
from skiff.auth.authenticate import User
from skiff.auth.authorize import Authorizer
from skiff.errors import ApiError, invalid, not_found
from skiff.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Kind

#: Told (new, old) before an object is stored, as ``skiff.apiserver.registry.Registry.stored`` has it.
Check = Callable[[Object | None, Object | None], Object | None]
_Rule = dict[str, Any]
_MOST_COMPARED = 100_000
#: Each is compared with the labels of every cluster role.
_MOST_SELECTORS = 100


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
    if len((new.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()) > _MOST_SELECTORS:
        said, where = (
            f"Too many: must have at most {_MOST_SELECTORS} items",
            "aggregationRule.clusterRoleSelectors",
        )
        raise invalid(kind.kind, kind.group, new["metadata"]["name"], [("FieldValueTooMany", said, where)])
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
    holds = _Holds(authorizer.rules(user, namespace))
    missing = [rule for rule in rules if not holds.all_of(rule)]
    if missing:
        raise ApiError(
            403, "Forbidden", f'{kind.resource} "{new["metadata"]["name"]}" is forbidden: user "{user.name}" '
            f"(groups={list(user.groups)}) is attempting to grant RBAC permissions not currently held:\n"
            + "\n".join(map(_shown, missing)),
        )  # fmt: skip


class _Holds:
    """Rules that are held, and whether they allow each single thing which another rule allows.

    A rule allows every verb of it on every resource of it in every group: too many to try one by one. Words which the
    same held rules know are alike, so one of each sort is tried. A set of held rules is a number with their bits.
    """

    def __init__(self, held: list[_Rule]) -> None:
        self._fields = {
            field: _bits(held, field) for field in ("verbs", "apiGroups", "resources", "nonResourceURLs")
        }
        self._named = _bits(held, "resourceNames")
        self._unnamed = sum(1 << n for n, it in enumerate(held) if not it.get("resourceNames"))
        self._globs = {it: bits for it, bits in self._fields["nonResourceURLs"].items() if it.endswith("*")}

    def all_of(self, rule: _Rule) -> bool:
        """Whether nothing that the rule allows is missing."""
        verbs = self._sorts("verbs", rule)
        if paths := rule.get("nonResourceURLs"):
            if len(paths) * len(self._globs) > _MOST_COMPARED:
                raise _too_many()
            if not _meet(verbs, {self._path(it) for it in paths}):
                return False
        names = {self._unnamed | self._named.get(it, 0) for it in rule.get("resourceNames") or ("",)}
        resources = {self._resource(it) for it in rule.get("resources") or ()}
        return _meet(verbs, self._sorts("apiGroups", rule), resources, names)

    def _sorts(self, field: str, rule: _Rule) -> set[int]:
        known = self._fields[field]
        return {known.get(it, 0) | known.get("*", 0) for it in rule.get(field) or ()}

    def _resource(self, full: str) -> int:
        known, (_, _, subresource) = self._fields["resources"], full.partition("/")
        every = known.get(f"*/{subresource}", 0) if subresource else 0
        return known.get(full, 0) | known.get("*", 0) | every

    def _path(self, path: str) -> int:
        found = self._fields["nonResourceURLs"].get(path, 0)
        for glob, bits in self._globs.items():
            found |= bits if path.startswith(glob[:-1]) else 0
        return found


def _bits(held: list[_Rule], field: str) -> dict[str, int]:
    made: dict[str, int] = {}
    for n, rule in enumerate(held):
        for it in rule.get(field) or ():
            made[it] = made.get(it, 0) | 1 << n
    return made


def _meet(*axes: set[int]) -> bool:
    """Whether each choice of one of each has a held rule in common."""
    if math.prod(map(len, axes)) > _MOST_COMPARED:
        raise _too_many()
    return all(functools.reduce(int.__and__, choice) for choice in itertools.product(*axes))


def _too_many() -> ApiError:
    return ApiError(
        403, "Forbidden", "the role allows too much at once to compare it with yours: split its rules"
    )


def _shown(rule: _Rule) -> str:
    words = {
        "APIGroups": "apiGroups", "Resources": "resources", "ResourceNames": "resourceNames",
        "NonResourceURLs": "nonResourceURLs", "Verbs": "verbs",
    }  # fmt: skip
    parts = [
        f"{word}:[{', '.join(map(repr, rule[field]))}]" for word, field in words.items() if rule.get(field)
    ]
    return "{" + ", ".join(parts).replace("'", '"') + "}"
