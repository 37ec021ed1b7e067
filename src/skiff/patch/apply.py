"""What does server-side apply make of an object, and who owns which field afterwards? Pure functions.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, NamedTuple

from skiff.api import Object
from skiff.errors import ApiError
from skiff.patch import last_applied
from skiff.patch.managed_fields import (
    MISSING,
    SELF,
    Fields,
    Path,
    all_of,
    key_of,
    leaves,
    owned,
    tree,
    without,
)  # fmt: skip
from skiff.schema.node import ANYTHING, SchemaNode
from skiff.schema.walk import hashed

APPLY, UPDATE = "Apply", "Update"
#: As many have entries of their own as the real server gives them.
MOST_WRITERS = 10
#: Conflicts that are told one by one.
MOST_TOLD = 1_000
#: Who owns what was there before anybody was noted; and what the oldest of many writers wrote.
_EARLIER, _ANCIENT = "before-first-apply", "ancient-changes"


class Owner(NamedTuple):
    """Who owns fields: a manager by one way of writing, to the object or one subresource."""

    manager: str
    operation: str
    subresource: str
    version: str = (
        ""  # of an Update: the API version that was written. An applier has one set, whatever the version
    )


class Holding(NamedTuple):
    """An entry of ``managedFields``."""

    fields: frozenset[Path]
    api_version: str
    time: str


def holdings(obj: Object | None) -> dict[Owner, Holding]:
    """The entries of an object."""
    found: dict[Owner, Holding] = {}
    for it in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
        if not isinstance(it, dict):
            continue
        said = {
            name: str(it.get(name) or "")
            for name in ("manager", "operation", "subresource", "apiVersion", "time")
        }
        owner = _owner(said["manager"], said["operation"] or UPDATE, said["subresource"], said["apiVersion"])
        fields = it.get("fieldsV1")
        paths = frozenset(leaves(fields if isinstance(fields, dict) else {}))
        found[owner] = Holding(paths, said["apiVersion"], said["time"])
    return found


def _owner(manager: str, operation: str, subresource: str, version: str) -> Owner:
    return Owner(manager, operation, subresource, version if operation == UPDATE else "")


def _rank(item: tuple[Owner, Holding]) -> tuple[str, ...]:
    """The real server's order: appliers first, the oldest of each first."""
    owner, it = item
    return (owner.operation, it.time, owner.manager, it.api_version, owner.subresource)


def _noted(obj: Object, held: dict[Owner, Holding]) -> Object:
    return _with_notes(
        obj,
        [
            _entry(owner, it.api_version, it.time, tree(iter(sorted(it.fields))))
            for owner, it in sorted(((owner, it) for owner, it in held.items() if it.fields), key=_rank)
        ],
    )  # fmt: skip


def _entry(owner: Owner, api_version: str, time: str, fields: Fields) -> Object:
    entry = {
        "manager": owner.manager, "operation": owner.operation, "apiVersion": api_version, "time": time,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }  # fmt: skip
    return {**entry, "subresource": owner.subresource} if owner.subresource else entry


def _with_notes(obj: Object, entries: list[Object]) -> Object:
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
    mine = _owner(manager, APPLY, subresource, api_version)
    wanted = owned(applied, schema)
    paths = frozenset(wanted)
    yield
    if live is None:
        return _noted(applied, {mine: Holding(paths, api_version, now)})
    present = owned(live, schema)
    held = holdings(live) or (_unowned(live, present, now) if paths else {})
    before = held.pop(mine, Holding(frozenset(), api_version, now))
    yield
    disputed = _disputed(present, wanted, held)
    if disputed and not force:
        allowed = (
            last_applied.still_so(live, schema) if manager == last_applied.KUBECTL else frozenset[Path]()
        )
        against = {owner: left for owner, it in disputed.items() if (left := it - allowed)}
        if against:
            raise _conflict({owner: (held[owner].api_version, it) for owner, it in against.items()})
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
    if manager == last_applied.KUBECTL and not subresource:
        made = last_applied.renewed(made, applied)
    return _noted(made, held)


def _unowned(live: Object, present: dict[Path, Any], now: str) -> dict[Owner, Holding]:
    """Of an object of which nobody noted who wrote it: all of it belongs to somebody else."""
    version = live.get("apiVersion", "")
    return {_owner(_EARLIER, UPDATE, "", version): Holding(frozenset(present), version, now)}


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


def _conflict(disputed: dict[Owner, tuple[str, frozenset[Path]]]) -> ApiError:
    """In the words of the real server, which kubectl prints. Each owner comes with its version and its fields."""
    causes: list[dict[str, str]] = []
    lines: list[str] = []
    count = sum(len(paths) for _, paths in disputed.values())
    for owner, (version, paths) in sorted(disputed.items()):
        name = _named(owner, version)
        fields = sorted(_written(it) for it in paths)[: MOST_TOLD - len(causes)]
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {name}", "field": it}
            for it in fields
        ]
        lines += [f"conflicts with {name}:", *(f"- {it}" for it in fields)] if fields else []
    if count == 1:
        said = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        said = f"Apply failed with {count} conflicts: " + "\n".join(lines)
    if count > len(causes):
        said += f"\n- and {count - len(causes)} more"
    return ApiError(409, "Conflict", said, {"causes": causes})


def _named(owner: Owner, version: str) -> str:
    name = json.dumps(owner.manager)
    if owner.subresource:
        name += f" with subresource {json.dumps(owner.subresource)}"
    return f"{name} using {version}" if owner.operation == UPDATE else name


def _written(path: Path) -> str:
    """``.spec.containers[name="app"].image``."""
    return "".join(map(_step, path))


def _step(it: str) -> str:
    form, text = it[:2], it[2:]
    if form == "k:":
        keys = json.loads(text)
        return f"[{','.join(f'{name}={json.dumps(value)}' for name, value in sorted(keys.items()))}]"
    return "" if it == SELF else f"[={text}]" if form == "v:" else f".{text}"


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
    # A writer may change the notes themselves, as kubectl does when it moves to apply; an empty entry alone resets them.
    # One that leaves them out, or cannot read them, does not lose them.
    said = new["metadata"].get("managedFields")
    held = holdings(new if said else old)
    if said == [{}]:
        return _noted(new, {})
    if old is None and not held:
        mine, fields = _owner(manager, operation, subresource, api_version), all_of(new, schema)
        return _with_notes(new, [_entry(mine, api_version, now, fields)] if fields else [])
    before, present = owned(old or {}, schema), owned(new, schema)
    changed = frozenset(path for path, value in present.items() if before.get(path, MISSING) != value)
    mine = _owner(manager, operation, subresource, api_version)
    gone = before.keys() - present.keys()
    after: dict[Owner, Holding] = {}
    for owner, it in held.items():
        left = it.fields - gone if owner == mine else it.fields - gone - changed
        after[owner] = it._replace(fields=left)
    if changed:
        own = after.get(mine, Holding(frozenset(), api_version, now))
        after[mine] = Holding(own.fields | changed, api_version, now)
    return _noted(new, _capped(after))


def _capped(held: dict[Owner, Holding]) -> dict[Owner, Holding]:
    """The oldest writers share one entry when there are many; appliers need theirs."""
    writers = sorted(
        (item for item in held.items() if item[0].operation == UPDATE and item[1].fields), key=_rank
    )
    if len(writers) <= MOST_WRITERS:
        return held
    made = dict(held)
    for owner, it in writers[: len(writers) - MOST_WRITERS + 1]:
        del made[owner]
        bucket = _owner(_ANCIENT, UPDATE, "", it.api_version)
        before = made.get(bucket, Holding(frozenset(), it.api_version, it.time))
        made[bucket] = Holding(before.fields | it.fields, it.api_version, max(before.time, it.time))
    return made
