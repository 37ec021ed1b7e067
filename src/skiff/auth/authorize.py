"""May they? Role-based access control, and the roles every cluster has.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from skiff.api import Object
from skiff.auth.authenticate import AUTHENTICATED, MASTERS, User
from skiff.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Kind
from skiff.objects import matches

_API = "rbac.authorization.k8s.io"
_ACCOUNT = "system:serviceaccount:"
_KINDS = (CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS, CLUSTER_ROLES, ROLES)
#: Callers, by namespaces, whose rules are kept in mind; and how long their names may be: anybody can think of many.
_MOST_KNOWN, _LONGEST_KNOWN = 1000, 1000
_Subjects = tuple[frozenset[str], frozenset[str]]
#: So many subjects are looked at one by one; and bindings with more of them whose sets are kept.
_FEW, _MOST_SORTED = 8, 5000
_COLLECTING = {"admin": ("admin", "edit", "view"), "edit": ("edit", "view"), "view": ("view",)}


class Authorizer:
    """Asks the stored roles and bindings, each time anew when it is not told by ``version`` whether they are still the same.

    ``find`` is one object by (kind, namespace, name): without it, bindings times roles would be looked at. ``within`` is
    those of a namespace: what others have in theirs should cost nobody else time.
    """

    def __init__(
        self, list_objects: Callable[[Kind], Iterable[Object]], find: Callable[[Kind, str, str], Object | None],
        within: Callable[[Kind, str], Iterable[Object]] | None = None, version: Callable[[Kind], int] | None = None,
    ) -> None:  # fmt: skip
        self._list, self._find, self._within, self._version = list_objects, find, within, version
        self._known: dict[tuple[str, tuple[str, ...], str], list[dict[str, Any]]] = {}
        self._known_at: tuple[int, ...] = ()
        #: The many subjects of bindings as they are now, by (namespace, name): a stored object never changes.
        self._many: dict[tuple[str, str], tuple[Object, _Subjects]] = {}

    def allowed(
        self, user: User, verb: str, *, group: str, resource: str, subresource: str = "", namespace: str = "", name: str = "",
        path: str = "",
    ) -> tuple[bool, str]:  # fmt: skip
        """(whether, the reason of a refusal). ``path`` is for requests that are about no resource."""
        if MASTERS in user.groups:
            return True, ""
        for rule in self._rules(user, namespace):
            if path and not resource:
                if covers_path(rule, verb, path):
                    return True, ""
            elif covers(rule, verb, group, resource, subresource, name):
                return True, ""
        return False, ""

    def rules(self, user: User, namespace: str) -> list[dict[str, Any]]:
        """All rules that hold for a user in a namespace."""
        if MASTERS in user.groups:
            return [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]
        return list(self._rules(user, namespace))

    def _rules(self, user: User, namespace: str) -> Iterable[dict[str, Any]]:
        if self._version is None:
            return self._found(user, namespace)
        now = tuple(map(self._version, _KINDS))
        if now != self._known_at or len(self._known) > _MOST_KNOWN:
            self._known, self._known_at = {}, now
        key = (user.name, user.groups, namespace)
        if (known := self._known.get(key)) is None:
            known = list(self._found(user, namespace))
            if len(user.name) + len(namespace) + sum(map(len, user.groups)) <= _LONGEST_KNOWN:
                self._known[key] = known
        return known

    def _found(self, user: User, namespace: str) -> Iterator[dict[str, Any]]:
        groups = frozenset(user.groups)
        for binding in self._list(CLUSTER_ROLE_BINDINGS):
            if self._names(binding, user, groups, ""):
                yield from self.granted(binding) or ()
        for binding in self._bindings(namespace) if namespace else ():
            if self._names(binding, user, groups, namespace):
                yield from self.granted(binding) or ()

    def _bindings(self, namespace: str) -> Iterable[Object]:
        if self._within:
            return self._within(ROLE_BINDINGS, namespace)
        return [it for it in self._list(ROLE_BINDINGS) if it["metadata"]["namespace"] == namespace]

    def _names(self, binding: Object, user: User, groups: frozenset[str], namespace: str) -> bool:
        subjects = binding.get("subjects") or ()
        if len(subjects) <= _FEW:
            return any(_is(subject, user, groups, namespace) for subject in subjects)
        key = (namespace, binding["metadata"]["name"])
        known = self._many.get(key)
        if known is None or known[0] is not binding:
            if len(self._many) >= _MOST_SORTED:
                self._many.clear()
            known = self._many[key] = (binding, _sorted_out(subjects, namespace))
        users, named = known[1]
        return user.name in users or not groups.isdisjoint(named)

    def granted(self, binding: Object) -> list[dict[str, Any]] | None:
        """The rules of the role that a binding names; None when there is no such role."""
        reference, namespace = binding.get("roleRef") or {}, binding["metadata"].get("namespace", "")
        local = reference.get("kind") == "Role"
        kind, where = (ROLES, namespace) if local else (CLUSTER_ROLES, "")
        role = self._find(kind, where, reference.get("name", ""))
        return None if role is None else self.rules_of(role)

    def rules_of(self, role: Object) -> list[dict[str, Any]]:
        """A role's own rules and those it collects."""
        return [*(role.get("rules") or ()), *self._aggregated(role)]

    def _aggregated(self, role: Object) -> Iterator[dict[str, Any]]:
        """The rules of the cluster roles that a role collects by their labels."""
        selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
        for other in self._list(CLUSTER_ROLES) if selectors else ():
            labels = other["metadata"].get("labels")
            if other is not role and any(matches(it, labels) for it in selectors):
                yield from other.get("rules") or ()


def _sorted_out(subjects: Iterable[dict[str, Any]], namespace: str) -> _Subjects:
    """(names of users, names of groups). An account is a user, too."""
    users, groups = set(), set()
    for it in subjects:
        name = it.get("name") or ""
        if it.get("kind") == "User":
            users.add(name)
        elif it.get("kind") == "Group":
            groups.add(name)
        elif it.get("kind") == "ServiceAccount":
            users.add(f"{_ACCOUNT}{it.get('namespace') or namespace}:{name}")
    return frozenset(users), frozenset(groups)


def _is(subject: dict[str, Any], user: User, groups: frozenset[str], namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject.get("name") == user.name)
        case "Group":
            return subject.get("name") in groups
        case "ServiceAccount":
            return user.name == f"{_ACCOUNT}{subject.get('namespace') or namespace}:{subject.get('name')}"
    return False


def covers(rule: dict[str, Any], verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
    """Whether a rule allows this of a resource."""
    full = f"{resource}/{subresource}" if subresource else resource
    resources = rule.get("resources") or ()
    names = rule.get("resourceNames") or ()
    return (
        _among(verb, rule.get("verbs"))
        and _among(group, rule.get("apiGroups"))
        and (_among(full, resources) or (bool(subresource) and f"*/{subresource}" in resources))
        and (not names or name in names)
    )


def covers_path(rule: dict[str, Any], verb: str, path: str) -> bool:
    """Whether a rule allows this of a path that is no resource."""
    return _among(verb, rule.get("verbs")) and any(
        it == path or (it.endswith("*") and path.startswith(it[:-1]))
        for it in rule.get("nonResourceURLs") or ()
    )


def _among(word: str, listed: Iterable[str] | None) -> bool:
    return bool(listed) and (word in listed or "*" in listed)  # type: ignore[operator]  # truth narrows it


def bootstrap_objects() -> list[tuple[Kind, Object]]:
    """The roles and bindings every cluster has."""
    paths = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"]
    health = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
    reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
    found: dict[str, tuple[list[dict[str, Any]], str]] = {
        "cluster-admin": ([{**_rule(["*"], ["*"]), "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}], MASTERS),
        **{name: (rules, "") for name, rules in _of_namespaces().items()},
        "system:discovery": ([{"nonResourceURLs": [*paths, *health], "verbs": ["get"]}], AUTHENTICATED),
        "system:basic-user": (
            [
                {**_rule(reviews, ["authorization.k8s.io"]), "verbs": ["create"]},
                {**_rule(["selfsubjectreviews"], ["authentication.k8s.io"]), "verbs": ["create"]},
            ],
            AUTHENTICATED,
        ),
        "system:public-info-viewer": ([{"nonResourceURLs": health, "verbs": ["get"]}], "system:unauthenticated"),
        "system:monitoring": ([{"nonResourceURLs": ["/metrics", *health], "verbs": ["get"]}], "system:monitoring"),
        "system:auth-delegator": (
            [
                {**_rule(["tokenreviews"], ["authentication.k8s.io"]), "verbs": ["create"]},
                {**_rule(["subjectaccessreviews"], ["authorization.k8s.io"]), "verbs": ["create"]},
            ],
            "",
        ),
    }  # fmt: skip
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    made: list[tuple[Kind, Object]] = []
    for name, (rules, group) in found.items():
        role = {"metadata": {"name": name, "labels": labels}, "rules": rules}
        if name in _COLLECTING:  # what users label so becomes part of it
            wanted = [{"matchLabels": {f"{_API}/aggregate-to-{it}": "true"}} for it in _COLLECTING[name]]
            role["aggregationRule"] = {"clusterRoleSelectors": wanted}
        made.append((CLUSTER_ROLES, role))
        if group:
            subjects = [{"kind": "Group", "name": group, "apiGroup": _API}]
            reference = {"apiGroup": _API, "kind": "ClusterRole", "name": name}
            binding = {
                "metadata": {"name": name, "labels": labels},
                "roleRef": reference,
                "subjects": subjects,
            }
            made.append((CLUSTER_ROLE_BINDINGS, binding))
    return made


def _of_namespaces() -> dict[str, list[dict[str, Any]]]:
    """The roles that are meant to be bound in a namespace."""
    read, write = ["get", "list", "watch"], ["create", "delete", "deletecollection", "patch", "update"]
    # Whoever edits a namespace writes neither what the system says (status, quotas), nor addresses that others believe
    # (endpoints: CVE-2021-25740).
    seen = [
        _rule([
            "pods", "pods/log", "pods/status", "services", "services/status", "endpoints", "configmaps", "serviceaccounts",
            "events", "persistentvolumeclaims", "persistentvolumeclaims/status", "limitranges", "resourcequotas",
            "resourcequotas/status", "replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status",
        ], [""]),
        _rule(["*"], ["apps", "batch", "autoscaling", "policy", "networking.k8s.io", "discovery.k8s.io"]),
        _rule(["pods", "nodes"], ["metrics.k8s.io"]),
    ]  # fmt: skip
    reached = ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"]
    hidden = [_rule(["secrets", *reached], [""])]
    edited = [
        _rule([
            "pods", "pods/eviction", "services", "configmaps", "serviceaccounts", "serviceaccounts/token", "events",
            "persistentvolumeclaims", "replicationcontrollers", "replicationcontrollers/scale",
        ], [""]),
        _rule([
            "daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
            "statefulsets/scale",
        ], ["apps"]),
        _rule(["cronjobs", "jobs"], ["batch"]), _rule(["horizontalpodautoscalers"], ["autoscaling"]),
        _rule(["poddisruptionbudgets"], ["policy"]), _rule(["ingresses", "networkpolicies"], ["networking.k8s.io"]),
        *hidden,
    ]  # fmt: skip
    roles = _rule(["roles", "rolebindings"], [_API])
    return {
        "admin": [*_may(read, *seen, *hidden, roles), *_may(write, *edited, roles)],
        "edit": [*_may(read, *seen, *hidden), *_may(write, *edited)],
        "view": _may(read, *seen),
    }


def _may(verbs: list[str], *rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**it, "verbs": verbs} for it in rules]


def _rule(resources: list[str], groups: list[str]) -> dict[str, Any]:
    return {"apiGroups": groups, "resources": resources}
