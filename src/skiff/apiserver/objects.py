"""How are objects read and written over HTTP? Lists, single objects, and the four kinds of patch."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from skiff import kinds
from skiff.apiserver import access as access_rules
from skiff.apiserver import context, selectors, tables
from skiff.apiserver.bodies import body, checked, encoded, object_of, sent
from skiff.apiserver.registry import Registry
from skiff.apiserver.watching import watch
from skiff.errors import ApiError, invalid
from skiff.kinds import Kind
from skiff.patch import json_patch, merge_patch, strategic_merge_patch
from skiff.patch.restore import mismatch
from skiff.queries import number, truth
from skiff.schema import pack

NOT_ALLOWED = "the server does not allow this method on the requested resource"
APPLY = "application/apply-patch+yaml"
#: Built-in kinds whose objects are replaced with their resourceVersion only, as those of all custom kinds.
_CONDITIONAL = frozenset(
    {
        kinds.CUSTOM_RESOURCE_DEFINITIONS, kinds.LEASES, kinds.MUTATING_WEBHOOKS, kinds.POD_DISRUPTION_BUDGETS,
        kinds.VALIDATING_POLICIES, kinds.VALIDATING_POLICY_BINDINGS, kinds.VALIDATING_WEBHOOKS,
    }
)  # fmt: skip
#: So much of a bad patch is told back.
_SHOWN = 1000
#: Bytes of a manager's name.
_MANAGER = 128


async def many(request: web.Request, registry: Registry, kind: Kind, namespace: str) -> web.StreamResponse:
    """A collection."""
    dry = request.query.get("dryRun") == "All"
    match request.method:
        case "GET" if truth(request, "watch"):
            return await watch(request, registry, kind, namespace)
        case "GET":
            return _listed(request, registry, kind, namespace)
        case "POST":
            made = await registry.create(
                kind, namespace, await object_of(request, registry, kind), dry_run=dry, manager=writer(request)
            )  # fmt: skip
            return answer(request, kind, made, 201)
        case "DELETE":
            chosen = selected(request, kind, registry.store.all(kind.storage, namespace))
            options = await _deletion(request, registry)
            for it in chosen:
                await _delete_if_there(registry, kind, it, options)
            return encoded(_list_of(kind, chosen, {"resourceVersion": str(registry.store.revision)}))
    raise ApiError(405, "MethodNotAllowed", NOT_ALLOWED)


def _listed(request: web.Request, registry: Registry, kind: Kind, namespace: str) -> web.Response:
    found = selected(request, kind, registry.store.read_all(kind.storage, namespace))
    return collection(request, kind, found, registry.store.committed)


def collection(request: web.Request, kind: Kind, found: list[Any], revision: int) -> web.Response:
    """Objects as a list or as rows, or the part of them that is asked for."""
    found, metadata = _page(request, found, revision)
    if as_table(request):
        shown = tables.table(kind, found, include=request.query.get("includeObject", "Metadata"))
        shown["metadata"] = metadata
    else:
        shown = _list_of(kind, found, metadata)
    return web.Response(body=msgspec.json.encode(shown), content_type="application/json")


def _page(request: web.Request, found: list[Any], revision: int) -> tuple[list[Any], dict[str, Any]]:
    """A part of the list and where the next begins. All pages carry the first one's revision: a watch misses nothing."""
    size, token = number(request, "limit") or 0, request.query.get("continue", "")
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if token:
        try:
            raw = base64.urlsafe_b64decode(token)
            since, *after = msgspec.json.decode(raw, type=tuple[str, str, str])
        except (ValueError, msgspec.DecodeError) as wrong:
            raise ApiError(400, "BadRequest", f"continue key is not valid: {wrong}") from wrong
        metadata["resourceVersion"] = since
        found = [it for it in found if _place(it) > after]
    if size and len(found) > size:
        metadata["remainingItemCount"] = len(found) - size
        found = found[:size]
        encoded = msgspec.json.encode([metadata["resourceVersion"], *_place(found[-1])])
        metadata["continue"] = base64.urlsafe_b64encode(encoded).decode()
    return found, metadata


def _place(it: Any) -> list[str]:
    return [it["metadata"].get("namespace", ""), it["metadata"]["name"]]


def _list_of(kind: Kind, found: list[Any], metadata: dict[str, Any]) -> dict[str, Any]:
    items = [{**it, "apiVersion": kind.api_version} for it in found] if kind.custom else found
    return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items}


async def one(
    request: web.Request, registry: Registry, kind: Kind, namespace: str, name: str, sub: str
) -> web.StreamResponse:
    """A single object, or a part of it that is written by itself: its status, say."""
    dry = request.query.get("dryRun") == "All"
    match request.method:
        case "GET":
            return answer(request, kind, registry.read(kind, namespace, name), 200)
        case "PUT":
            given = await object_of(request, registry, kind)
            _require_version(registry, kind, namespace, name, given)
            made = await registry.update(
                kind, namespace, name, given, subresource=sub, dry_run=dry, manager=writer(request),
            )  # fmt: skip
            return answer(request, kind, made, 200)
        case "PATCH":
            made, created = await patched(request, registry, kind, namespace, name, sub, dry=dry)
            return answer(request, kind, made, 201 if created else 200)
        case "DELETE" if not sub:  # a part of an object is not deleted, least of all with the whole
            options = await _deletion(request, registry)
            gone = await registry.delete(
                kind, namespace, name, uid=options.uid, version=options.version, propagation=options.propagation,
                grace_seconds=options.grace_seconds, dry_run=options.dry_run,
            )  # fmt: skip
            return answer(request, kind, gone, 200)
    raise ApiError(405, "MethodNotAllowed", NOT_ALLOWED)


def _require_version(registry: Registry, kind: Kind, namespace: str, name: str, given: Any) -> None:
    """Who replaces an object of these kinds says which one: nobody may undo what another has written meanwhile."""
    if not (kind.custom or kind in _CONDITIONAL):
        return
    registry.get(kind, namespace, name)
    if (given.get("metadata") or {}).get("resourceVersion") in (None, "", "0"):
        said = "Invalid value: 0x0: must be specified for an update"
        raise invalid(
            kind.plural, kind.group, name, [("FieldValueInvalid", said, "metadata.resourceVersion")]
        )


async def _delete_if_there(registry: Registry, kind: Kind, it: Any, options: _Deletion) -> None:
    try:
        await registry.delete(
            kind, it["metadata"].get("namespace", ""), it["metadata"]["name"], uid=options.uid, version=options.version,
            dry_run=options.dry_run, propagation=options.propagation, grace_seconds=options.grace_seconds,
        )  # fmt: skip
    except ApiError as refused:  # it went while others were deleted
        if refused.code != 404:
            raise
    await asyncio.sleep(0)  # so that watchers can keep up with what is deleted


class _Deletion(NamedTuple):
    """DeleteOptions, of the query or of the body."""

    uid: str
    version: str
    propagation: str
    grace_seconds: int | None
    dry_run: bool


async def _deletion(request: web.Request, registry: Registry) -> _Deletion:
    given = await sent(request, registry, pack.DELETE_OPTIONS) if request.can_read_body else {}
    query = request.query
    grace = query.get("gracePeriodSeconds", given.get("gracePeriodSeconds"))
    orphan = given.get("orphanDependents")  # before there was propagationPolicy
    usual = "Orphan" if orphan else "Background"
    try:
        seconds = None if grace is None else int(str(grace)[:20])
    except ValueError as wrong:
        raise ApiError(400, "BadRequest", f"gracePeriodSeconds is no number: {str(grace)[:100]!r}") from wrong
    propagation = query.get("propagationPolicy") or given.get("propagationPolicy") or usual
    dry_run = query.get("dryRun") == "All" or given.get("dryRun") == ["All"]
    context.DRY_RUN.set(dry_run)  # kubectl says it in the body
    bound = given.get("preconditions") or {}
    return _Deletion(
        bound.get("uid") or "", bound.get("resourceVersion") or "", propagation, seconds, dry_run
    )


async def patched(
    request: web.Request, registry: Registry, kind: Kind, namespace: str, name: str, sub: str, *, dry: bool
) -> tuple[Any, bool]:
    """(the object after the patch, whether it is new)."""
    patch = await body(request)
    if registry.store.is_large(kind.storage, namespace, name):
        context.LARGE.set(True)
    if request.content_type != APPLY and "force" in request.query:
        said = "Forbidden: may not be specified for non-apply patch"
        raise _bad_option(request, "force", said, "FieldValueForbidden")
    if request.content_type == APPLY:
        applied = checked(request, registry, kind, patch)
        return await registry.apply(
            kind, namespace, name, applied, manager=writer(request), force=truth(request, "force"), subresource=sub, dry_run=dry,
            may_create=request.get(access_rules.MAY_CREATE, lambda: None),
        )  # fmt: skip
    metadata = patch.get("metadata") if isinstance(patch, dict) else None
    bound = isinstance(metadata, dict) and "resourceVersion" in metadata
    for _ in range(
        5
    ):  # another writer may be quicker; a patch without resourceVersion means the newest state
        old = registry.get(kind, namespace, name)
        await context.breathe()
        made = changed(request.content_type, kind, old, patch, registry)
        await context.breathe()
        made = checked(request, registry, kind, made)
        try:
            found = await registry.update(
                kind, namespace, name, made, subresource=sub, dry_run=dry, manager=writer(request)
            )
            return found, False
        except ApiError as refused:
            if refused.code != 409 or bound:
                raise
            await asyncio.sleep(0)
    raise ApiError(
        409, "Conflict", f"{kind.resource} {name} changes faster than it can be patched: try again"
    )


def changed(form: str, kind: Kind, old: Any, patch: Any, registry: Registry) -> Any:
    """The object after a patch of one of the three forms that need nothing else."""
    match form:
        case "application/json-patch+json":
            return json_patch(old, patch)
        case "application/merge-patch+json":
            return merge_patch(old, patch)
        case "application/strategic-merge-patch+json" if not kind.custom:
            if said := mismatch(patch, registry.schema(kind)):
                shown = msgspec.json.encode(
                    msgspec.json.encode(patch)[:_SHOWN].decode(errors="ignore")
                ).decode()
                raise invalid("", "", "", [("FieldValueInvalid", f"Invalid value: {shown}: {said}", "patch")])
            return strategic_merge_patch(old, patch, registry.schema(kind))
    raise ApiError(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {form}")


def writer(request: web.Request) -> str:
    """Who the fields of a write belong to: the client's word, else its program's name."""
    given = request.query.get("fieldManager", "")
    if len(given.encode()) > _MANAGER:
        raise _bad_option(
            request, "fieldManager", f"Too long: may not be more than {_MANAGER} bytes", "FieldValueTooLong"
        )
    if not given.isprintable():
        said = (
            f"Invalid value: {msgspec.json.encode(given).decode()}: should only contain printable characters"
        )
        raise _bad_option(request, "fieldManager", said, "FieldValueInvalid")
    if given or request.content_type == APPLY:
        if not given:
            raise _bad_option(
                request, "fieldManager", "Required value: is required for apply patch", "FieldValueRequired"
            )
        return given
    agent = request.headers.get("User-Agent", "").split("/")[0].encode()[:_MANAGER].decode(errors="ignore")
    return "".join(it for it in agent if it.isprintable()) or "unknown"


def _bad_option(request: web.Request, field: str, said: str, reason: str) -> ApiError:
    word = {"POST": "Create", "PUT": "Update"}.get(request.method, "Patch")
    return invalid(f"{word}Options", "meta.k8s.io", "", [(reason, said, field)])


def answer(request: web.Request, kind: Kind, obj: Any, status: int) -> web.Response:
    """One object, or its row."""
    if as_table(request) and request.method == "GET":
        obj = tables.table(kind, [obj], include=request.query.get("includeObject", "Metadata"))
    elif kind.custom and obj.get("kind") == kind.kind:
        obj = {**obj, "apiVersion": kind.api_version}
    return web.Response(body=msgspec.json.encode(obj), content_type="application/json", status=status)


def selected(request: web.Request, kind: Kind, objects: list[Any]) -> list[Any]:
    """Those that pass the selectors of a request."""
    by_labels = selectors.by_labels(request.query.get("labelSelector", ""))
    by_fields = selectors.by_fields(request.query.get("fieldSelector", ""), kind)
    return [it for it in objects if by_labels(it) and by_fields(it)]


def as_table(request: web.Request) -> bool:
    """Whether kubectl asks for rows."""
    return "as=Table" in request.headers.get("Accept", "")
