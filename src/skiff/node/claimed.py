"""Where do the files of a claim lie? In the folder of the PersistentVolume that it is bound to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from skiff.api import Api, Object
from skiff.controllers.claims import used
from skiff.controllers.storage import provisioned
from skiff.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from skiff.node.environment import CannotStartError
from skiff.node.volumes import plain_directory


async def claimed(api: Api, pod: Object, volume: Object, home: Path) -> Path:
    """The folder of a pod's claim, made when it is one of ours; CannotStartError while there is none."""
    namespace = pod["metadata"]["namespace"]
    (name,) = used({**pod, "spec": {"volumes": [volume]}})
    claim = await api.get(PERSISTENT_VOLUME_CLAIMS, namespace, name)
    bound = claim["spec"].get("volumeName")
    if not bound or (claim.get("status") or {}).get("phase") != "Bound":
        raise CannotStartError(f'persistentvolumeclaim "{name}" is not bound')
    found = await api.get(PERSISTENT_VOLUMES, "", bound)
    spec = found["spec"]
    if (spec.get("claimRef") or {}).get("uid") != claim["metadata"][
        "uid"
    ]:  # what a claim says of itself is not enough
        raise CannotStartError(f'persistentvolume "{bound}" is not bound to persistentvolumeclaim "{name}"')
    if provisioned(found):
        _take_over(home / "claims" / f"{namespace}_{name}", folder(home, found))
        return plain_directory(folder(home, found), {}, None)
    if (host := spec.get("hostPath")) is not None:
        return plain_directory(home, {"hostPath": host}, None)
    if (local := spec.get("local")) is not None:
        return plain_directory(home, {"hostPath": {"path": local["path"], "type": "Directory"}}, None)
    sort = next((it for it in spec if isinstance(spec[it], dict) and it not in _NO_SOURCES), "unknown")
    raise CannotStartError(f'persistentvolume "{bound}": skiff has no volumes of the sort {sort}')


_NO_SOURCES = ("capacity", "claimRef", "nodeAffinity")


def folder(home: Path, volume: Object) -> Path:
    """Where a volume that was made for a claim lies, whatever it says itself: users may write that, too."""
    return home / "claims" / str(volume["metadata"]["name"])


def earlier(home: Path, claims: Iterable[Object]) -> set[Path]:
    """Where an earlier version kept what claims hold, until a pod uses it again."""
    return {home / "claims" / f"{it['metadata']['namespace']}_{it['metadata']['name']}" for it in claims}


def _take_over(before: Path, now: Path) -> None:
    """Claims of an earlier version lie under their own name."""
    if before.is_dir() and not now.exists():
        with contextlib.suppress(OSError):
            before.rename(now)
