"""Does every namespace have what its pods take for granted: the default account and the CA certificate?"""

from __future__ import annotations

from skiff.api import Object
from skiff.controllers.cluster import Cluster, Controller
from skiff.controllers.queue import Key
from skiff.errors import ApiError
from skiff.kinds import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS

_ACCOUNT, _ROOTS = "default", "kube-root-ca.crt"


def controller(cluster: Cluster) -> Controller:
    """Namespaces, also woken when one of the two objects changes."""

    async def reconcile(key: Key) -> float | None:
        await _reconcile(cluster, key[1])
        return None

    it = Controller("serviceaccount", reconcile)
    it.follow(cluster, NAMESPACES)
    for kind, name in ((SERVICE_ACCOUNTS, _ACCOUNT), (CONFIG_MAPS, _ROOTS)):

        def changed(old: Object | None, new: Object | None, name: str = name) -> None:
            obj = new or old
            if obj is not None and obj["metadata"]["name"] == name:
                it.queue.add(("", obj["metadata"]["namespace"]))

        cluster.informers[kind].listen(changed)
    return it


async def _reconcile(cluster: Cluster, name: str) -> None:
    namespace = cluster.informers[NAMESPACES].get("", name)
    if namespace is None or namespace["metadata"].get("deletionTimestamp"):
        return
    if (namespace.get("status") or {}).get("phase") == "Terminating":
        return
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": _ACCOUNT, "namespace": name},
    }
    data = {"ca.crt": cluster.settings.ca_pem}
    roots = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _ROOTS, "namespace": name},
        "data": data,
    }
    for kind, obj in ((SERVICE_ACCOUNTS, account), (CONFIG_MAPS, roots)):
        if cluster.informers[kind].get(name, obj["metadata"]["name"]) is None:  # type: ignore[index]  # literal above
            try:
                await cluster.create(kind, obj)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
    held = cluster.informers[CONFIG_MAPS].get(name, _ROOTS)
    if held is not None and held.get("data") != data:
        await cluster.patch(CONFIG_MAPS, held, {"data": data})
