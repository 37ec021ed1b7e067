"""What does server-side apply make of an object, and who owns which field afterwards? Pure functions.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, NamedTuple

from skiff.api import Object
from skiff.errors import ApiError
from skiff.patch.managed_fields import (
    MISSING,
    SELF,
    Path,
    key_of,
    leaves,
    owned,
    tree,
    without,
)  # fmt: skip
from skiff.schema.node import ANYTHING, SchemaNode
from skiff.schema.walk import hashed

#: Conflicts that are told one by one.
_MOST_TOLD = 1_000


class Owner(NamedTuple):
    """Who owns fields: a manager by one way of writing, to the object or one subresource."""

    manager: str
    operation: str
    subresource: str


class Holding(NamedTuple):
    """An entry of ``managedFields``."""

    fields: frozenset[Path]
    api_version: str
    time: str


def holdings(obj: Object | None) -> dict[Owner, Holding]:
    """The entries of an object."""
    found: dict[Owner, Holding] = {}
    for it in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
        owner = Owner(it.get("manager", ""), it.get("operation", "Update"), it.get("subresource", ""))
        paths = frozenset(leaves(it.get("fieldsV1") or {}))
        found[owner] = Holding(paths, it.get("apiVersion", ""), it.get("time", ""))
    return found


def _noted(obj: Object, held: dict[Owner, Holding]) -> Object:
    entries = []
    for owner, it in held.items():
        if not it.fields:
            continue
        entry = {
            "manager": owner.manager, "operation": owner.operation, "apiVersion": it.api_version, "time": it.time,
            "fieldsType": "FieldsV1", "fieldsV1": tree(iter(sorted(it.fields))),
        }  # fmt: skip
        entries.append({**entry, "subresource": owner.subresource} if owner.subresource else entry)
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


def server_side_apply(live: Object | None, applied: Object, **options: Any) -> Object:
    """The object after ``manager`` applied its wishes, in one go: see ``in_steps``."""
    steps = in_steps(live, applied, **options)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            made: Object = done.value
            return made


def in_steps(
    live: Object | None, applied: Object, *, manager: str, force: bool, schema: SchemaNode, now: str, subresource: str = "",
    api_version: str,
) -> Generator[None, None, Object]:  # fmt: skip
    """The object after ``manager`` applied its wishes. 409 with one cause per field that another manager set otherwise.
    It yields where others may have their turn: a large object takes a second in all."""
    if (applied.get("metadata") or {}).get("managedFields"):
        raise ApiError(400, "BadRequest", "metadata.managedFields must be nil")
    mine = Owner(manager, "Apply", subresource)
    wanted = owned(applied, schema)
    paths = frozenset(wanted)
    yield
    if live is None:
        return _noted(applied, {mine: Holding(paths, api_version, now)})
    held = holdings(live)
    order = list(held)
    before = held.pop(mine, Holding(frozenset(), api_version, now))
    yield
    disputed = _disputed(owned(live, schema), wanted, held)
    if disputed and not force:
        raise _conflict(live, disputed)
    yield
    made = _merged(live, applied, schema)
    yield
    kept = frozenset[Path]().union(*(it.fields for it in held.values())) | paths
    made = _given_up(made, before.fields - kept, kept, schema)
    yield
    for owner, taken in disputed.items():
        held[owner] = held[owner]._replace(fields=held[owner].fields - taken)
    same = before.fields == paths and before.api_version == api_version
    held[mine] = before if same else Holding(paths, api_version, now)
    # In a steady order: applying the same again changes not a byte.
    return _noted(made, {**{owner: held[owner] for owner in order if owner in held}, mine: held[mine]})


def _given_up(obj: Object, gone: frozenset[Path], kept: frozenset[Path], schema: SchemaNode) -> Object:
    """Without what nobody wants any more. An item of a list goes as a whole, with defaults that nobody owns; one of
    which somebody else owns a part stays, and keeps its key."""
    items = {path[:-1] for path in gone if path[-1] == SELF}
    free = items - {path[:n] for path in kept for n in range(1, len(path) + 1)} if items else items
    parts = {
        path for path in gone
        if path[-1] != SELF and not _is_key(path) and not any(path[:n] in free for n in range(1, len(path) + 1))
    }  # fmt: skip
    left: Object = without(obj, free | parts, schema)
    return left


def _is_key(path: Path) -> bool:
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    try:
        keys = json.loads(path[-2][2:])
    except ValueError:  # clients may write what they like
        return False
    return isinstance(keys, dict) and path[-1][2:] in keys


def _disputed(
    present: dict[Path, Any], wanted: dict[Path, Any], held: dict[Owner, Holding]
) -> dict[Owner, frozenset[Path]]:
    changed = {path for path, it in wanted.items() if path[-1] != SELF and present.get(path, MISSING) != it}
    found = {owner: frozenset(it.fields & changed) for owner, it in held.items()}
    return {owner: it for owner, it in found.items() if it}


def _conflict(live: Object, disputed: dict[Owner, frozenset[Path]]) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict", "field": _written(path),
            "message": f'conflict with "{owner.manager}"'
            + (f' with subresource "{owner.subresource}"' if owner.subresource else "")
            + f" using {live.get('apiVersion')}",
        }
        for owner, paths in disputed.items() for path in sorted(paths)
    ]  # fmt: skip
    said = "; ".join(f"{it['message']}: {it['field']}" for it in causes[:_MOST_TOLD])
    plural = "conflicts" if len(causes) > 1 else "conflict"
    return ApiError(
        409, "Conflict", f"Apply failed with {len(causes)} {plural}: {said}", {"causes": causes[:_MOST_TOLD]}
    )


def _written(path: Path) -> str:
    return "".join(f".{it[2:]}" if it.startswith("f:") else f"[{it[2:].strip('{}')}]" for it in path)


def _merged(live: Any, applied: Any, node: SchemaNode) -> Any:
    if isinstance(live, dict) and isinstance(applied, dict) and node.map_type != "atomic":
        made = dict(live)
        for name, value in applied.items():
            if value is not None:
                child = node.child(name) or ANYTHING
                made[name] = _merged(live[name], value, child) if name in live else value
        return made
    if isinstance(live, list) and isinstance(applied, list) and node.list_type == "map":
        return _merged_items(live, applied, node)
    if isinstance(live, list) and isinstance(applied, list) and node.list_type == "set":
        present = set(map(hashed, live))
        return [*live, *(it for it in applied if hashed(it) not in present)]
    return applied


def _merged_items(live: list[Any], applied: list[Any], node: SchemaNode) -> list[Any]:
    inside = node.items or ANYTHING
    if not all(isinstance(it, dict) for it in (*live, *applied)):
        return applied  # not what its schema says, as its validation will tell
    wishes = {key_of(it, node): it for it in applied}
    made = [
        _merged(it, wishes.pop(key), inside) if (key := key_of(it, node)) in wishes else it for it in live
    ]
    return [*made, *wishes.values()]


def track(
    old: Object | None, new: Object, *, manager: str, operation: str = "Update", schema: SchemaNode, now: str,
    subresource: str = "", api_version: str,
) -> Object:  # fmt: skip
    """The object with a note of who wrote what was changed by a plain write."""
    if old is not None and new == old:
        return new
    said = new["metadata"].get("managedFields")
    held = holdings(new if said is not None else old)
    if said is not None and said != ((old or {}).get("metadata") or {}).get("managedFields"):
        return _noted(
            new, held
        )  # the writer changes the notes themselves, as kubectl does when it moves to apply
    before, present = owned(old or {}, schema), owned(new, schema)
    changed = frozenset(path for path, value in present.items() if before.get(path, MISSING) != value)
    mine = Owner(manager, operation, subresource)
    gone = before.keys() - present.keys()
    after: dict[Owner, Holding] = {}
    for owner, it in held.items():
        left = it.fields - gone if owner == mine else it.fields - gone - changed
        after[owner] = it._replace(fields=left)
    if changed:
        own = after.get(mine, Holding(frozenset(), api_version, now))
        after[mine] = Holding(own.fields | changed, api_version, now)
    return _noted(new, after)
