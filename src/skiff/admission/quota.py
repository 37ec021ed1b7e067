"""May a namespace have one more? ResourceQuotas, asked last: what passes is stored before anybody else is asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from skiff import quantities
from skiff.admission.pods import Amounts, amounts
from skiff.admission.request import Request, forbidden
from skiff.admission.usage import Account, Ledger, Storage
from skiff.api import Object
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICES
from skiff.store.history import Change
from skiff.store.store import Store

#: Resources that every container must speak of when a quota does.
_DEMANDED = {"cpu": "requests", "memory": "requests", "requests.cpu": "requests", "requests.memory": "requests",
             "limits.cpu": "limits", "limits.memory": "limits"}  # fmt: skip
_CHANGING = (SERVICES.storage, PERSISTENT_VOLUME_CLAIMS.storage)


class Quotas:
    """The last word on what is new, and on what asks for more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ledger = Ledger(self._listed, self._follow)
        store.listen(RESOURCE_QUOTAS.storage, self._quota)
        for it in store.all(RESOURCE_QUOTAS.storage):
            self.ledger.quota(it, None)

    def _listed(self, namespace: str, storage: Storage) -> list[Object]:
        return self._store.all(storage, namespace)

    def _follow(self, storage: Storage) -> None:
        if storage == RESOURCE_QUOTAS.storage:
            return  # told below, in the right order

        def told(change: Change) -> None:
            gone = change.type == "DELETED"
            self.ledger.changed(
                storage, None if gone else change.object, change.object if gone else change.previous
            )

        self._store.listen(storage, told)

    def _quota(self, change: Change) -> None:
        new = None if change.type == "DELETED" else change.object
        old = change.previous if new else change.object
        self.ledger.changed(
            RESOURCE_QUOTAS.storage, new, old
        )  # quotas count quotas, the new one among its own
        self.ledger.quota(new, old)

    def validate(self, request: Request) -> None:
        """403 when a quota would be exceeded."""
        new, storage = request.obj, request.kind.storage
        if new is None or request.subresource or (request.operation != "CREATE" and storage not in _CHANGING):
            return
        for account in sorted(
            self.ledger.of(request.namespace), key=lambda it: str(it.quota["metadata"]["name"])
        ):
            _check(request, account, new, storage)


def _check(request: Request, account: Account, new: Object, storage: Storage) -> None:
    moves = account.moved(new, request.old, storage)
    name = account.quota["metadata"]["name"]
    # Also where the pod moves no sum, because it says nothing at all.
    if storage == PODS.storage and account.covers(new, storage) and (missing := _missing(new, account)):
        raise forbidden(request, f"failed quota: {name}: must specify {missing}")
    zero = Decimal(0)
    over = sorted(
        it for it, more in moves.items() if more > 0 and account.used.get(it, zero) + more > account.hard[it]
    )
    if over:
        hard = account.quota["spec"]["hard"]
        used: Amounts = {it: account.used.get(it, zero) for it in over}
        said = f"exceeded quota: {name}, requested: {_listed(over, moves, hard)}, used: {_listed(over, used, hard)}"
        raise forbidden(request, f"{said}, limited: {_listed(over, account.hard, hard)}")


def _listed(names: list[str], values: Amounts, like: dict[str, Any]) -> str:
    return ",".join(f"{it}={quantities.show(values[it], like[it])}" for it in names)


def _missing(pod: Object, account: Account) -> str:
    """What containers say nothing about, and must."""
    spec = pod.get("spec") or {}
    whole = {what: amounts((spec.get("resources") or {}).get(what)) for what in ("requests", "limits")}
    found: dict[str, set[str]] = {}
    for part in ("containers", "initContainers"):
        for it in spec.get(part) or ():
            held = {what: amounts((it.get("resources") or {}).get(what)) for what in whole}
            for name, what in _DEMANDED.items():
                resource = name.rpartition(".")[2]
                if name in account.hard and resource not in held[what] and resource not in whole[what]:
                    found.setdefault(name, set()).add(it.get("name", ""))
    return "; ".join(f"{name} for: {','.join(sorted(found[name]))}" for name in sorted(found))
