"""Writing what is there already is no change, for every kind: defaults, admission and ownership say the same a second time."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from good_objects import GOOD

from skiff.kinds import BUILT_IN, COMPUTED, PODS, REVIEWS, Kind

if TYPE_CHECKING:
    from .conftest import Served

pytestmark = pytest.mark.finding("issue 7 part 5")
#: The events of either group are one kind, and a certificate is asked for with a real request.
OTHERS = {"Event", "CertificateSigningRequest"}


def test_there_is_a_good_object_of_every_kind() -> None:
    written = [it for it in BUILT_IN if it not in COMPUTED | REVIEWS and it.kind not in OTHERS]
    assert [str(it) for it in written if it not in GOOD] == []


@pytest.mark.parametrize("kind", GOOD, ids=str)
def test_the_same_again_is_no_change(served: Served, kind: Kind) -> None:
    given = copy.deepcopy(GOOD[kind])
    namespace = "default" if kind.namespaced else ""
    made = served.made(kind, copy.deepcopy(given))
    version = made["metadata"]["resourceVersion"]

    def same(how: str, stored: dict[str, Any]) -> None:
        assert stored["metadata"]["resourceVersion"] == version, (how, made, stored)

    # What a controller does that read it, and what `kubectl replace` does.
    same("as it was read", _put(served, kind, namespace, copy.deepcopy(made)))
    if kind is not PODS:  # a pod got a volume with its token, and cannot lose it
        same("as it was written", _put(served, kind, namespace, copy.deepcopy(given)))


@pytest.mark.parametrize("kind", GOOD, ids=str)
def test_applied_twice_is_no_change(served: Served, kind: Kind) -> None:
    given = {"apiVersion": kind.api_version, "kind": kind.kind, **GOOD[kind]}
    namespace, name = "default" if kind.namespaced else "", given["metadata"]["name"]

    def apply() -> dict[str, Any]:
        stored, _ = served.run(
            served.apply(kind, namespace, name, copy.deepcopy(given), manager="me", force=False)
        )
        return dict(stored)

    first, second = apply(), apply()
    assert first == second


@pytest.mark.parametrize("kind", GOOD, ids=str)
def test_who_moves_to_server_side_apply_changes_nothing(served: Served, kind: Kind) -> None:
    """`kubectl apply`, later with --server-side: it gives all that it owned to the new manager, in the form that Go writes."""
    given = {"apiVersion": kind.api_version, "kind": kind.kind, **copy.deepcopy(GOOD[kind])}
    namespace, name = "default" if kind.namespaced else "", given["metadata"]["name"]
    made = served.run(
        served.create(kind, namespace, copy.deepcopy(given), manager="kubectl-client-side-apply")
    )

    def apply() -> dict[str, Any]:
        wishes = copy.deepcopy(given)
        return dict(served.run(served.apply(kind, namespace, name, wishes, manager="kubectl", force=True))[0])

    moved = copy.deepcopy(apply())
    for entry in moved["metadata"].get("managedFields", []):
        entry |= {"manager": "kubectl", "operation": "Apply", "fieldsV1": _as_go_writes(entry["fieldsV1"])}
    _put(
        served,
        kind,
        namespace,
        {**moved, "metadata": {**moved["metadata"], "managedFields": moved["metadata"]["managedFields"][:1]}},
    )
    assert _plain(apply()) == _plain(made)


def _as_go_writes(fields: dict[str, Any]) -> dict[str, Any]:
    """Of an item of which nothing else is owned, the point is left out."""
    return {} if [*fields] == ["."] else {key: _as_go_writes(inside) for key, inside in fields.items()}


def _plain(obj: dict[str, Any]) -> dict[str, Any]:
    ours = ("managedFields", "resourceVersion")
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key not in ours}}


def _put(served: Served, kind: Kind, namespace: str, obj: dict[str, Any]) -> dict[str, Any]:
    return dict(served.run(served.update(kind, namespace, obj["metadata"]["name"], obj)))
