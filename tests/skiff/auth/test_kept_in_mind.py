"""What is found out once about a caller is found out anew as soon as it may be different."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from skiff.api import Object
from skiff.auth.authenticate import User
from skiff.auth.authorize import Authorizer
from skiff.auth.pki import ClusterPki
from skiff.auth.tokens import Tokens
from skiff.errors import ApiError
from skiff.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, Kind
from skiff.store.store import Store

pytestmark = pytest.mark.finding("issue 7 part 9")

_API = "rbac.authorization.k8s.io"
_ANN = User("ann", ("staff",))


class Roles:
    """A store with roles, and how often it was asked for all of a kind."""

    def __init__(self) -> None:
        self.store, self.asked = Store(), 0
        self.authorizer = Authorizer(
            self._listed,
            lambda kind, *place: self.store.read(kind.storage, *place),
            version=lambda kind: self.store.version(kind.storage),
        )

    def _listed(self, kind: Kind) -> Iterable[Object]:
        self.asked += 1
        return self.store.read_all(kind.storage)

    def may(self, verb: str, user: User = _ANN) -> bool:
        return self.authorizer.allowed(user, verb, group="", resource="pods", namespace="a")[0]

    def role(self, *verbs: str) -> None:
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": list(verbs)}]
        self.store.put(CLUSTER_ROLES.storage, {"metadata": {"name": "r"}, "rules": rules})

    def bind(self, kind: str, name: str) -> None:
        reference = {"apiGroup": _API, "kind": "ClusterRole", "name": "r"}
        subjects = [{"kind": kind, "name": name}]
        self.store.put(
            CLUSTER_ROLE_BINDINGS.storage,
            {"metadata": {"name": "b"}, "roleRef": reference, "subjects": subjects},
        )


@pytest.fixture
def roles() -> Iterator[Roles]:
    made = Roles()
    yield made
    made.store.close()


def test_rules_are_looked_for_once(roles: Roles) -> None:
    roles.role("get")
    roles.bind("User", "ann")
    assert roles.may("get")
    asked = roles.asked
    roles.store.put(CONFIG_MAPS.storage, {"metadata": {"name": "other", "namespace": "a"}})
    assert roles.may("get")
    assert not roles.may("delete")
    assert roles.asked == asked
    assert not roles.may("get", User("bob"))


def test_every_change_of_roles_and_bindings_counts_at_once(roles: Roles) -> None:
    assert not roles.may("get")
    roles.role("get")
    roles.bind("Group", "staff")
    assert roles.may("get")
    roles.role("list")
    assert not roles.may("get")
    assert roles.may("list")
    roles.bind("Group", "others")
    assert not roles.may("list")
    roles.bind("Group", "staff")
    roles.store.remove(CLUSTER_ROLES.storage, "", "r")
    assert not roles.may("list")


def test_not_every_name_that_somebody_thinks_of_is_kept(roles: Roles) -> None:
    roles.role("get")
    roles.bind("Group", "staff")
    for number in range(5000):
        assert not roles.may("get", User(f"nobody-{number}"))
    assert not roles.may("get", User("n" * 100_000))
    kept = roles.authorizer._known  # that it is bounded is what this is about
    assert len(kept) <= 1001
    assert max(len(name) for name, _, _ in kept) < 1000


def test_a_token_that_was_good_ends_all_the_same(tmp_path: Path) -> None:
    now, there = [1000.0], {"ServiceAccount"}
    tokens = Tokens(
        ClusterPki.load_or_create(tmp_path), still_exists=lambda kind, *_: kind in there, clock=lambda: now[0]
    )
    token, _ = tokens.issue("a", "robot", expires_s=600, sa_uid="1")
    for _ in range(2):
        assert tokens.review(token).name == "system:serviceaccount:a:robot"
    there.clear()
    with pytest.raises(ApiError, match="does not exist any more"):
        tokens.review(token)
    there.add("ServiceAccount")
    assert tokens.review(token)
    with pytest.raises(ApiError, match="not one of this cluster"):
        tokens.review(token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"))
    now[0] = 1601.0
    with pytest.raises(ApiError, match="expired"):
        tokens.review(token)
