"""What does a pod bring into its containers? Its volumes, kept fresh, and the files every container has."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from skiff.api import Api, Object
from skiff.errors import ApiError
from skiff.kinds import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from skiff.net.kernel import KernelRefusedError, run
from skiff.node.beneath import LeadsOutError, make_beneath
from skiff.node.claimed import claimed
from skiff.node.environment import CannotStartError, Found, expand
from skiff.node.leftovers import unmount
from skiff.node.root import Mount
from skiff.node.volumes import plain_directory, volume_files, write_files
from skiff.quantities import parse

_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCOUNT_VOLUME = "kube-api-access"
#: Volumes made of objects are looked at so often; tokens are renewed at half their life.
_REFRESH_S = 5.0
_TOKEN_SHARE = 0.5
_WHOLE_DAY_S = 24 * 3600.0
#: Of the files of /proc, those that tools show in another way, as container runtimes allow it.
_TOLD_BY_OTHERS = frozenset(f"/proc/{it}" for it in (
    "cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "sys/kernel/ns_last_pid", "uptime",
))  # fmt: skip

#: (namespace, service account, options) -> token.
IssueToken = Callable[[str, str, dict[str, Any]], Awaitable[str]]


class Mounts:
    """The volumes of one pod. ``pod`` is asked for at every use: labels and annotations change."""

    def __init__(
        self, api: Api, issue: IssueToken, folder: Path, home: Path, pod: Callable[[], Object]
    ) -> None:
        self._api, self._issue, self._folder, self._home, self._pod = api, issue, folder, home, pod
        self._tokens: dict[tuple[str, int], tuple[str, float]] = {}
        self._files: dict[str, Any] = {}
        self._memory: list[Path] = []
        self._volumes: list[Object] = []
        self._claimed: dict[str, Path] = {}

    async def fill(self) -> None:
        """Make the volumes, or bring those made of objects up to date. CannotStartError names what is missing."""
        pod = self._pod()
        self._volumes = await self._all(pod)
        for volume in self._volumes:
            if ("persistentVolumeClaim" in volume or "ephemeral" in volume) and volume[
                "name"
            ] not in self._claimed:
                self._claimed[volume["name"]] = await claimed(self._api, pod, volume, self._home)
        found = await self.found()
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        for volume in self._volumes:
            directory = self._directory(volume["name"])
            files = await volume_files(pod, volume, found, self._token)
            if files is not None:
                if self._files.get(volume["name"]) != files:
                    write_files(directory, files, group)
                    self._files[volume["name"]] = files
            elif "hostPath" in volume or not self._there(directory, volume):
                await self._plain(directory, volume, group)

    async def fill_at_last(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Until everything is there; ``tell`` hears what is missing, once."""
        told = ""
        while True:
            try:
                return await self.fill()
            except (CannotStartError, ApiError, KernelRefusedError, OSError) as missing:
                if str(missing) != told:
                    told = str(missing)
                    await tell(f"MountVolume.SetUp failed: {told}")
                await asyncio.sleep(0.5)

    def _there(self, directory: Path, volume: Object) -> bool:
        """Of a volume in memory the place may be there and nothing in it: after a restart of the machine."""
        if not _in_memory(volume):
            return directory.exists()
        if directory not in self._memory and directory.is_mount():
            self._memory.append(directory)  # an earlier daemon's
        return directory in self._memory

    async def _plain(self, directory: Path, volume: Object, group: int | None) -> None:
        if _in_memory(volume):
            directory.mkdir(parents=True, exist_ok=True)
            limit = volume["emptyDir"].get("sizeLimit")
            size = f"size={int(parse(str(limit)))}" if limit else "size=50%"
            await run("mount", "-t", "tmpfs", "-o", f"{size},nosuid,nodev", "tmpfs", str(directory))
            self._memory.append(directory)
        elif unknown := set(volume) - {"name", "emptyDir", "hostPath", "persistentVolumeClaim", "ephemeral"}:
            sort = ", ".join(sorted(unknown))
            raise CannotStartError(f'volume "{volume["name"]}": skiff has no volumes of the sort {sort}')
        plain_directory(directory, volume, group)

    async def keep_fresh(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            if self._files:
                with contextlib.suppress(CannotStartError, ApiError, KernelRefusedError, OSError):
                    await self.fill()

    async def clear(self) -> None:
        """Take away what is more than files."""
        if any(_in_memory(it) for it in self._pod()["spec"].get("volumes") or ()):
            await unmount(self._folder)
        for it in self._memory:
            shutil.rmtree(it, ignore_errors=True)
        self._memory.clear()

    def _directory(self, name: str) -> Path:
        volume = next((it for it in self._volumes if it["name"] == name), None)
        if volume is None:
            raise CannotStartError(f'volumeMounts: the pod has no volume "{name}"')
        if host := volume.get("hostPath"):
            return Path(host["path"])
        if name in self._claimed:
            return self._claimed[name]
        return self._folder / "volumes" / name

    async def _all(self, pod: Object) -> list[Object]:
        volumes = list(pod["spec"].get("volumes") or ())
        wanted = pod["spec"].get("automountServiceAccountToken")
        if wanted is None:
            account = await self._api.get(
                SERVICE_ACCOUNTS,
                pod["metadata"]["namespace"],
                pod["spec"].get("serviceAccountName") or "default",
            )
            wanted = account.get("automountServiceAccountToken") is not False
        if wanted:
            place = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
            sources = [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [place]}},
            ]
            volumes.append({"name": _ACCOUNT_VOLUME, "projected": {"sources": sources, "defaultMode": 0o644}})
        return volumes

    async def _token(self, audience: str, seconds: int) -> str:
        token, until = self._tokens.get((audience, seconds), ("", 0.0))
        if time.monotonic() >= until:
            metadata = self._pod()["metadata"]
            account = self._pod()["spec"].get("serviceAccountName") or "default"
            options = {"audience": audience, "expires_s": seconds, "pod": (metadata["name"], metadata["uid"])}
            token = await self._issue(metadata["namespace"], account, options)
            lasts = min(seconds * _TOKEN_SHARE, _WHOLE_DAY_S)
            self._tokens[audience, seconds] = (token, time.monotonic() + lasts)
        return token

    async def found(self) -> Found:
        """The objects that the pod's containers and volumes may refer to."""
        namespace = self._pod()["metadata"]["namespace"]
        maps = await self._api.list(CONFIG_MAPS, namespace)
        secrets = await self._api.list(SECRETS, namespace)
        return Found(
            {it["metadata"]["name"]: it for it in maps}, {it["metadata"]["name"]: it for it in secrets}
        )

    # --- one container -------------------------------------------------------------------------

    def of_container(self, spec: Object, env: dict[str, str]) -> list[Mount]:
        """What is mounted where in one container."""
        etc = self._folder / "etc"
        mounts = [
            Mount(etc / name, f"/etc/{name}", read_only=False)
            for name in ("resolv.conf", "hosts", "hostname")
        ]
        note = spec.get("terminationMessagePath") or "/dev/termination-log"
        _require_outside(note)
        mounts.append(Mount(self._fresh_note(spec["name"]), note, read_only=False))
        asked = spec.get("volumeMounts") or []
        written = {
            it["name"] for it in self._volumes
            if {"emptyDir", "hostPath", "persistentVolumeClaim", "ephemeral"} & set(it)
        }  # fmt: skip
        for it in asked:
            source = self._directory(it["name"])
            sub = it.get("subPath") or (expand(it["subPathExpr"], env) if it.get("subPathExpr") else "")
            if sub:
                _make_sub_path(source, sub)
            _require_outside(it["mountPath"])
            read_only = bool(it.get("readOnly")) or it["name"] not in written
            mounts.append(Mount(source, it["mountPath"], read_only, sub))
        ours = any(it["name"] == _ACCOUNT_VOLUME for it in self._volumes)
        if ours and not any(it["mountPath"].rstrip("/") == _ACCOUNT_FOLDER for it in asked):
            mounts.append(Mount(self._directory(_ACCOUNT_VOLUME), _ACCOUNT_FOLDER, read_only=True))
        return mounts

    def _fresh_note(self, container: str) -> Path:
        note = self._folder / "termination" / container
        note.parent.mkdir(exist_ok=True)
        note.unlink(missing_ok=True)
        note.touch()
        note.chmod(0o666)
        return note


def _in_memory(volume: Object) -> bool:
    return (volume.get("emptyDir") or {}).get("medium") == "Memory"


def _require_outside(path: str) -> None:
    """Nothing is put over what the kernel tells: programs believe it. CannotStartError in the words of container runtimes."""
    place = os.path.normpath("/" + path.lstrip("/"))
    if (place == "/proc" or place.startswith("/proc/")) and place not in _TOLD_BY_OTHERS:
        raise CannotStartError(
            f'error mounting to rootfs at "{path}": "{place}" cannot be mounted because it is inside /proc'
        )


def _make_sub_path(source: Path, sub: str) -> None:
    """A place inside a volume, made when it is missing; CannotStartError when it lies outside.

    Whether it still lies there when it is mounted is asked again then: see ``launch``.
    """
    volume = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(make_beneath(volume, sub, source.stat().st_mode & 0o7777))
    except LeadsOutError as wrong:
        raise CannotStartError(f'subPath "{sub}" leads out of its volume') from wrong
    except OSError as wrong:
        raise CannotStartError(f'failed to prepare subPath "{sub}": {wrong.strerror}') from wrong
    finally:
        os.close(volume)
