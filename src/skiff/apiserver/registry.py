"""What happens to an object on its way into the store? Checks, admission, defaults, numbers; the same for HTTP and inside."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from skiff.api import Object
from skiff.apiserver import checks, effects, ending, pod_parts, signing
from skiff.apiserver.allocation import Addresses
from skiff.apiserver.builtin import with_defaults, with_job_labels
from skiff.apiserver.context import breathe, in_turns
from skiff.errors import ApiError, already_exists, conflict, invalid, not_found
from skiff.kinds import BUILT_IN, CERTIFICATE_SIGNING_REQUESTS, JOBS, NAMESPACES, PODS, SERVICES, Kind
from skiff.schema.node import ANYTHING, SchemaNode
from skiff.schema.pack import Schemas
from skiff.schema.walk import apply_defaults
from skiff.store.store import Store

#: Letters of generated names: none that look alike, no vowels that would make words.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
#: What others change meanwhile is tried again so often.
_TRIES = 5
#: Metadata that a client may name and never change.
_OURS = (
    "uid", "creationTimestamp", "resourceVersion", "namespace", "generation", "deletionTimestamp",
    "deletionGracePeriodSeconds",
)  # fmt: skip


class Admission(Protocol):
    """Who may change or refuse a request before it is stored (webhooks)."""

    async def mutate(
        self, kind: Kind, operation: str, subresource: str, obj: Object, old: Object | None
    ) -> Object: ...
    async def validate(
        self, kind: Kind, operation: str, subresource: str, obj: Object | None, old: Object | None
    ) -> None: ...


class Registry:
    """All kinds and the one way in which their objects change."""

    def __init__(
        self, store: Store, admission: Admission | None = None, *, clock: Callable[[], datetime] | None = None,
        schemas: Schemas | None = None, addresses: Addresses | None = None,
    ) -> None:  # fmt: skip
        self.store = store
        self.admission = admission
        self.schemas = schemas
        #: Told (new, old) of an object of a kind before it is stored: it may refuse, or answer what is stored instead.
        self.stored: dict[Kind, Callable[[Object | None, Object | None], Object | None]] = {}
        #: How watchers are shown an object, where that is not as it is stored.
        self.shown: Callable[[Object], Object] | None = None
        self._addresses = addresses
        self._clock = clock or (lambda: datetime.now(UTC))
        self.kinds: dict[tuple[str, str, str], Kind] = {
            (it.group, it.version, it.plural): it for it in BUILT_IN
        }

    def now(self, later_s: int = 0) -> str:
        """The time as Kubernetes writes it, or that in so many seconds."""
        try:
            moment = self._clock() + timedelta(seconds=later_s) if later_s else self._clock()
        except OverflowError:
            return "9999-12-31T23:59:59Z"
        return moment.isoformat(timespec="seconds")[:19] + "Z"

    def schema(self, kind: Kind) -> SchemaNode:
        """What objects of this kind may contain."""
        return self.schemas.for_kind(kind) if self.schemas else ANYTHING

    def read(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object as it is committed, for who only looks; 404 when it is not there."""
        found = self.store.read(kind.storage, namespace, name)
        if found is None:
            raise not_found(kind.plural, kind.group, name)
        return found

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object in its newest state, to build on; 404 when it is not there."""
        found = self.store.get(kind.storage, namespace, name)
        if found is None:
            raise not_found(kind.plural, kind.group, name)
        return found

    async def create(
        self, kind: Kind, namespace: str, obj: Object, *, dry_run: bool = False, manager: str = ""
    ) -> Object:
        """Store a new object. ``manager`` is who its fields belong to; "" keeps what the object says of that."""
        metadata, since = self._named(kind, namespace, obj), self.store.revision
        name = metadata["name"]
        self._require_namespace(kind, metadata.get("namespace", ""))
        if self.store.get(kind.storage, metadata.get("namespace", ""), name):
            raise already_exists(kind.plural, kind.group, name)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.now()}
        for field in ("resourceVersion", "deletionTimestamp", "selfLink"):
            metadata.pop(field, None)
        if "spec" in obj:
            metadata["generation"] = 1
        made: Object = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        if kind is NAMESPACES:
            _name_namespace(made)
            made["spec"] = {"finalizers": ["kubernetes"]}
            made["status"] = {"phase": "Active"}
        elif "status" in kind.subresources:
            made.pop("status", None)
            if not kind.custom:  # as Go writes a struct, with its zeros: clients count on there being one
                status = self.schema(kind).child("status")
                made["status"] = dict.fromkeys(status.required, 0) if status else {}
        await breathe()
        # What the client wrote is its own, and the usual; not what admission and the cluster itself add.
        made = self._owned(kind, None, self._completed(kind, made), manager, "")
        await breathe()
        if self.admission:
            mutated = await self.admission.mutate(kind, "CREATE", "", made, None)
            made = made if mutated is made else self._completed(kind, mutated)
            await breathe()
        made = self._prepared(kind, made, None)
        self._checked(kind, made, None)
        await breathe()
        if self.admission:
            await self.admission.validate(kind, "CREATE", "", made, None)
        if self.store.get(kind.storage, metadata.get("namespace", ""), name):  # somebody was quicker
            raise already_exists(kind.plural, kind.group, name)
        if self.store.revision != since:  # its namespace may be ending by now, its addresses another one's
            self._require_namespace(kind, metadata.get("namespace", ""))
            self._addressed(kind, made, None)
        effects.tell(kind, made, None, self.schema(kind))
        return made if dry_run else self._put(kind, made, None)

    async def apply(
        self, kind: Kind, namespace: str, name: str, applied: Object, *, manager: str, force: bool, subresource: str = "",
        dry_run: bool = False, may_create: Callable[[], object] = lambda: None,
    ) -> tuple[Object, bool]:  # fmt: skip
        """Server-side apply: (the object, whether it is new). 409 when a field belongs to somebody else.

        ``may_create`` is asked before something new comes of it, and raises.
        """
        from skiff.patch.apply import in_steps  # ownership of fields: only for those who ask for it

        applied = pod_parts.applied_part(kind, applied, subresource)
        for _ in range(_TRIES):
            await breathe()
            live = self.store.get(kind.storage, namespace, name)
            if live is None and subresource:
                raise not_found(kind.plural, kind.group, name)
            metadata = {**(applied.get("metadata") or {}), "name": name}
            if kind.namespaced:
                metadata["namespace"] = namespace
            steps = in_steps(
                live, {**applied, "metadata": metadata}, manager=manager, force=force, schema=self.schema(kind), now=self.now(),
                subresource=subresource, api_version=kind.api_version,
            )  # fmt: skip
            merged = await in_turns(steps)
            try:
                if live is None:
                    may_create()
                    return await self.create(kind, namespace, merged, dry_run=dry_run), True
                made = await self.update(
                    kind,
                    namespace,
                    name,
                    merged,
                    subresource=subresource,
                    dry_run=dry_run,
                    notes=merged["metadata"].get("managedFields"),
                )
                return made, False
            except ApiError as refused:
                if refused.reason not in ("Conflict", "AlreadyExists") or "resourceVersion" in metadata:
                    raise
        raise conflict(kind.plural, kind.group, name)

    def _owned(self, kind: Kind, old: Object | None, made: Object, manager: str, subresource: str) -> Object:
        """With a note in ``managedFields`` of who wrote what; nothing to note for writes from inside the daemon."""
        if not manager:
            return made
        from skiff.patch.apply import track

        return track(
            old, made, manager=manager, schema=self.schema(kind), now=self.now(), subresource=subresource,
            api_version=kind.api_version,
        )  # fmt: skip

    def _completed(self, kind: Kind, obj: Object) -> Object:
        """With the defaults of its kind."""
        made = with_defaults(kind, obj)
        return apply_defaults(made, self.schemas.for_kind(kind)) if self.schemas else made

    def _prepared(self, kind: Kind, made: Object, old: Object | None) -> Object:
        """With what only the cluster can say: a Job's own labels, a Service's addresses."""
        if kind is JOBS:
            return with_job_labels(made)
        return self._addressed(kind, made, old)

    def _addressed(self, kind: Kind, made: Object, old: Object | None) -> Object:
        """A Service with its addresses; 422 when another one has them."""
        if kind is not SERVICES or not self._addresses:
            return made
        name, namespace = made["metadata"]["name"], made["metadata"].get("namespace", "")
        others = [
            it for it in self.store.all(kind.storage)
            if (it["metadata"]["name"], it["metadata"]["namespace"]) != (name, namespace)
        ]  # fmt: skip
        return self._addresses.give(made, old, others)

    def _checked(self, kind: Kind, obj: Object, old: Object | None) -> None:
        of_metadata = self.schemas.for_kind(NAMESPACES).child("metadata") if self.schemas else None
        checks.check(kind, obj, old, self.schema(kind), of_metadata)

    def _put(self, kind: Kind, obj: Object, old: Object | None) -> Object:
        if told := self.stored.get(kind):
            obj = told(obj, old) or obj
        return self.store.put(kind.storage, obj)

    def _remove(self, kind: Kind, namespace: str, name: str, old: Object) -> Object:
        if told := self.stored.get(kind):
            told(None, old)
        return self.store.remove(kind.storage, namespace, name) or old

    async def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        obj: Object,
        *,
        subresource: str = "",
        dry_run: bool = False,
        manager: str = "",
        by_way_of: str = "",
        notes: list[Object] | None = None,
    ) -> Object:
        """Replace an object, or only its status. 409 when the given resourceVersion is not the stored one."""
        # ``by_way_of`` is a subresource that is only noted as the way of a write: scale. ``notes`` are the managedFields of
        # an apply, which a status cannot bring along otherwise.
        old, since = self.get(kind, namespace, name), self.store.revision
        given = obj.get("metadata") or {}
        # "0" is as good as none: whatever is there now.
        if given.get("resourceVersion", "0") not in ("", "0", None, old["metadata"]["resourceVersion"]):
            raise conflict(kind.plural, kind.group, name)
        if given.get("uid") and given["uid"] != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {old['metadata']['uid']}"
            raise conflict(kind.plural, kind.group, name, why)
        checks.check_identity(kind, obj, old)
        await breathe()
        made = self._replaced(kind, old, obj, subresource)
        await breathe()
        made = self._owned(kind, old, made, manager, subresource or by_way_of)
        if notes is not None:
            made = {**made, "metadata": {**made["metadata"], "managedFields": notes}}
        await breathe()
        if self.admission:
            mutated = await self.admission.mutate(kind, "UPDATE", subresource, made, old)
            made = made if mutated is made else self._replaced(kind, old, mutated, subresource)
            await breathe()
        self._checked(kind, made, old)
        await breathe()
        if self.admission:
            await self.admission.validate(kind, "UPDATE", subresource, made, old)
        if self.get(kind, namespace, name) is not old:
            raise conflict(kind.plural, kind.group, name)
        if self.store.revision != since and not subresource:
            self._addressed(kind, made, old)
        if subresource in ("", *pod_parts.PARTS):
            effects.tell(kind, made, old, self.schema(kind))
        if made == old or dry_run:
            return made  # nothing changed: no new revision, no event
        if (
            made["metadata"].get("deletionTimestamp")
            and not ending.finalizers(made)
            and not ending.graceful(kind, made)
        ):
            self.store.put(kind.storage, made)
            return self._remove(kind, namespace, name, made)
        return self._put(kind, made, old)

    def _replaced(self, kind: Kind, old: Object, obj: Object, subresource: str) -> Object:
        kept = {key: old["metadata"][key] for key in _OURS if key in old["metadata"]}
        if kind is CERTIFICATE_SIGNING_REQUESTS and subresource:
            return signing.replaced(old, obj, subresource)
        if kind is PODS and subresource in pod_parts.PARTS:
            return self._grown(old, self._completed(kind, pod_parts.replaced(old, obj, subresource)))
        if subresource in ("status", "finalize"):
            part = "status" if subresource == "status" else "spec"
            changed = {**old, part: obj[part]} if part in obj else {k: v for k, v in old.items() if k != part}
            return changed
        given = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in _OURS}
        metadata = {k: v for k, v in {**given, **kept}.items() if v is not None}
        metadata["name"] = old["metadata"]["name"]
        made: Object = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        if "status" in kind.subresources:
            made.pop("status", None)
            if "status" in old:
                made["status"] = old["status"]
        if kind is NAMESPACES:  # what it waits for changes by "finalize" only
            _name_namespace(made)
            made["spec"] = old.get("spec", {})
        made = self._prepared(kind, self._completed(kind, made), old)
        if kind is PODS:
            pod_parts.require_settled(made, old)
        return self._grown(old, made)

    def _grown(self, old: Object, made: Object) -> Object:
        """With the next generation, when something is wanted that was not."""
        if "generation" in old["metadata"] and _spec(made) != _spec(old):
            generation = old["metadata"]["generation"] + 1
            return {**made, "metadata": {**made["metadata"], "generation": generation}}
        return made

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", version: str = "", propagation: str = "Background",
        grace_seconds: int | None = None, dry_run: bool = False,
    ) -> Object:  # fmt: skip
        """Remove an object, or mark it when somebody must act before: finalizers, a pod's node, a namespace's contents.

        ``uid`` and ``version`` are preconditions: 409 when it is another one, or has changed.
        """
        for _ in range(_TRIES):
            old = self.get(kind, namespace, name)
            checks.check_deletion(kind, name)
            checks.check_expected(kind, old, uid, version)
            if self.admission:
                await self.admission.validate(kind, "DELETE", "", None, old)
            if dry_run:
                return old
            if self.store.get(kind.storage, namespace, name) is old:
                return self._delete(kind, old, propagation, grace_seconds)
            # It changed while others were asked: they judge what is there now.
        raise conflict(kind.plural, kind.group, name)

    def _delete(self, kind: Kind, old: Object, propagation: str, grace_seconds: int | None) -> Object:
        marked = ending.marked(kind, old, propagation, grace_seconds, self.now)
        if marked is None:
            return self._remove(kind, old["metadata"].get("namespace", ""), old["metadata"]["name"], old)
        return marked if marked == old else self.store.put(kind.storage, marked)

    def _named(self, kind: Kind, namespace: str, obj: Object) -> dict[str, Any]:
        metadata: dict[str, Any] = dict(obj.get("metadata") or {})
        if not metadata.get("name"):
            prefix = metadata.get("generateName", "")
            if not prefix:
                cause = (
                    "FieldValueRequired",
                    "Required value: name or generateName is required",
                    "metadata.name",
                )
                raise invalid(kind.kind, kind.group, "", [cause])
            metadata["name"] = prefix[:58] + "".join(secrets.choice(ALPHABET) for _ in range(5))
        if kind.namespaced:
            given = metadata.get("namespace") or namespace
            if namespace and given != namespace:
                raise ApiError(
                    400,
                    "BadRequest",
                    "the namespace of the provided object does not match the namespace sent on the request: "
                    f"{given} is not {namespace}",
                )
            metadata["namespace"] = given
        else:
            metadata.pop("namespace", None)
        return metadata

    def _require_namespace(self, kind: Kind, namespace: str) -> None:
        if not kind.namespaced:
            return
        found = self.store.get(NAMESPACES.storage, "", namespace)
        if found is None:
            raise not_found("namespaces", "", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"namespace {namespace} is being terminated"
            said = f"{kind.resource} is forbidden: unable to create new content in namespace {namespace}"
            said += " because it is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace"}
            raise ApiError(403, "Forbidden", said, {"causes": [cause]})


def _name_namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}


def _spec(obj: Object) -> Object:
    return {
        key: value for key, value in obj.items() if key not in ("metadata", "status", "kind", "apiVersion")
    }
