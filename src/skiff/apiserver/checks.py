"""May an object be stored as it is? Its schema, Kubernetes' rules, its size; and what may not be deleted."""

from __future__ import annotations

import msgspec

from skiff import validation
from skiff.api import Object
from skiff.apiserver.builtin import with_defaults
from skiff.errors import ApiError, conflict, invalid
from skiff.kinds import NAMESPACES, Kind
from skiff.schema.node import SchemaNode
from skiff.schema.walk import Problem, validate
from skiff.validation import metadata

#: As etcd's default: https://etcd.io/docs/latest/dev-guide/limit/. A body may have twice that, for what is not stored.
MOST_BYTES = 3 * 1024 * 1024 // 2
#: They hold what the cluster itself needs. ``kube-node-lease`` may go, in Kubernetes too; it comes back (``skiff.bootstrap``).
IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


def check(
    kind: Kind, obj: Object, old: Object | None, schema: SchemaNode, of_metadata: SchemaNode | None
) -> None:
    """422 or 413 when an object may not replace ``old``. ``of_metadata`` is None where schemas are not known at all."""
    fresh = [it for it in obj if old is None or obj[it] is not old.get(it)]
    causes: list[Problem]
    if fresh == ["status"]:  # most writes are of this sort, and the rest was looked at before
        status = schema.child("status")
        causes = validate(obj["status"], status, "status") if status else []
    else:
        causes = validate(obj, schema)
        if kind.custom and of_metadata:  # a definition says nothing of it
            causes += validate(obj["metadata"], of_metadata, "metadata")
        if not causes:
            causes = _rules(kind, obj, old) if of_metadata else list(metadata.broken(kind, obj, old))
    if causes:
        raise invalid(kind.kind, kind.group, obj["metadata"]["name"], causes[: validation.MOST_TOLD])
    try:
        size = len(msgspec.json.encode(obj))
    except (
        UnicodeEncodeError,
        OverflowError,
    ) as wrong:  # YAML can write half a character, and numbers without end
        raise ApiError(400, "BadRequest", f"the object cannot be stored: {wrong}") from wrong
    if size > MOST_BYTES:
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MOST_BYTES}")


def _rules(kind: Kind, obj: Object, old: Object | None) -> list[Problem]:
    causes = validation.broken(kind, obj, old)
    if causes and old is not None:  # a default of today may be all that is new in an object of yesterday
        causes = validation.broken(kind, obj, with_defaults(kind, old))
    return causes


def check_identity(kind: Kind, obj: Object, old: Object) -> None:
    """400 or 422 when a write means another object, or says when this one began or ends."""
    given = obj.get("metadata") or {}
    for field, what in (("name", "the name"), ("namespace", "the namespace")):
        said, own = given.get(field), old["metadata"].get(field, "")
        if said and said != own and (own or field == "name"):
            where = "the name on the URL" if field == "name" else "the namespace sent on the request"
            raise ApiError(
                400,
                "BadRequest",
                f"{what} of the provided object does not match {where}: {said} is not {own}",
            )
    if causes := list(metadata.identity(given, old["metadata"])):
        raise invalid(kind.kind, kind.group, old["metadata"]["name"], causes)


def check_deletion(kind: Kind, name: str) -> None:
    """403 for the namespaces that a cluster cannot be without."""
    if kind is NAMESPACES and name in IMMORTAL:
        said = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        raise ApiError(403, "Forbidden", said, {"name": name, "kind": "namespaces"})


def check_expected(kind: Kind, old: Object, uid: str, version: str) -> None:
    """409 when an object is not the one that a caller saw, or not as they saw it; "" is no matter which."""
    metadata = old["metadata"]
    if uid and uid != metadata["uid"]:
        why = f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']})"
        raise conflict(
            kind.plural,
            kind.group,
            metadata["name"],
            f"{why}. The object might have been deleted and then recreated",
        )
    if version and version != metadata["resourceVersion"]:
        why = f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
        why += f"({metadata['resourceVersion']}). The object might have been modified"
        raise conflict(kind.plural, kind.group, metadata["name"], why)
