"""How does one pod live? Network, volumes, init containers in order, sidecars, containers, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from skiff.api import Api, Object
from skiff.errors import ApiError
from skiff.kinds import CONFIG_MAPS, PODS, SECRETS
from skiff.net.namespace import NODE, NODE_IP, NodeNetwork
from skiff.node import statuses
from skiff.node.container import Mount, Plan
from skiff.node.environment import (
    Found,
    MissingReferenceError,
    container_environment,
    expand,
    service_variables,
)
from skiff.node.images import Image
from skiff.node.running import Container, security
from skiff.node.volumes import plain_directory, volume_files, write_files
from skiff.settings import Settings

_log = structlog.get_logger("skiff.node")

_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
#: Volumes made of objects are looked at so often; tokens of an hour are renewed at half their life.
_REFRESH_S = 5.0
_TOKEN_SHARE = 0.5


class Host(Protocol):
    """What a pod needs of its node."""

    api: Api
    settings: Settings
    network: NodeNetwork
    setting_up: asyncio.Semaphore
    token: Callable[[str, str, dict[str, Any]], Awaitable[str]]

    def services(self) -> dict[tuple[str, str], Object]: ...
    def whole(self) -> dict[str, str]: ...


class PodWorker:
    """One pod from the moment it is bound to this node until it is gone."""

    def __init__(self, host: Host, pod: Object) -> None:
        self.host, self.pod, self.home = host, pod, host.settings.home
        metadata = pod["metadata"]
        self.namespace, self.name, self.uid = metadata["namespace"], metadata["name"], metadata["uid"]
        self.folder = host.settings.home / "pods" / f"{self.namespace}_{self.name}_{self.uid}"
        self.ip = self.netns = ""
        before = statuses.restarts(pod)
        self.inits = [
            Container(
                self, it, before.get(it["name"], 0), sidecar=it.get("restartPolicy") == "Always", init=True
            )
            for it in pod["spec"].get("initContainers") or ()
        ]
        self.mains = [Container(self, it, before.get(it["name"], 0)) for it in pod["spec"]["containers"]]
        self.initialized = self.over = False
        self._begun = (pod.get("status") or {}).get("startTime") or statuses.stamp()
        self._dirty, self._deleted = asyncio.Event(), asyncio.Event()
        self._tokens: dict[tuple[str, int], tuple[str, float]] = {}
        self._files: dict[str, Any] = {}

    # --- told from outside ---------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        """The object changed."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()

    def changed(self) -> None:
        """Something of the status is different."""
        self._dirty.set()

    async def event(self, kind: str, reason: str, message: str) -> None:
        await self.host.api.event(self.pod, kind, reason, message, source="kubelet")

    def container(self, name: str) -> Container:
        """By name; ApiError 404 when there is none."""
        found = next((it for it in (*self.mains, *self.inits) if it.name == name), None)
        if found is None:
            raise ApiError(404, "NotFound", f"container {name} not found in pod {self.name}")
        return found

    # --- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole life. Whatever goes wrong, everything of the pod is taken away at the end."""
        self.update(self.pod)
        works: list[asyncio.Task[Any]] = []
        loop = asyncio.get_running_loop()
        try:
            async with self.host.setting_up:
                await self._set_up()
            works = [loop.create_task(self._tell()), loop.create_task(self._keep_fresh())]
            life = loop.create_task(self._live())
            deleted = loop.create_task(self._deleted.wait())
            works += [life, deleted]
            await asyncio.wait([life, deleted], return_when=asyncio.FIRST_COMPLETED)
            if life.done() and not life.cancelled() and life.exception():
                _log.error(
                    "a pod could not live", pod=f"{self.namespace}/{self.name}", reason=repr(life.exception())
                )
            if not self._deleted.is_set():
                await self._deleted.wait()
            await self._end(float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        finally:
            for it in works:
                it.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await self._clear()
        await self._gone()

    async def _set_up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.pod["spec"].get("hostNetwork"):
            self.netns, self.ip = NODE, NODE_IP
        else:
            self.netns, self.ip = await self.host.network.add_pod(f"{self.namespace}/{self.name}")
        self._write_etc()
        # References to the pod's own address must find it.
        status = {
            **(self.pod.get("status") or {}),
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "hostIP": NODE_IP,
        }
        self.pod = {**self.pod, "status": status}

    def _write_etc(self) -> None:
        domain, etc = self.host.settings.cluster_domain, self.folder / "etc"
        etc.mkdir(exist_ok=True)
        search = f"{self.namespace}.svc.{domain} svc.{domain} {domain}"
        (etc / "resolv.conf").write_text(
            f"search {search}\nnameserver {self.host.settings.dns_ip}\noptions ndots:5\n"
        )
        hostname = self.pod["spec"].get("hostname") or self.name
        extra = "".join(
            f"{it['ip']}\t{' '.join(it.get('hostnames') or ())}\n"
            for it in self.pod["spec"].get("hostAliases") or ()
        )
        (etc / "hosts").write_text(f"127.0.0.1\tlocalhost\n{self.ip}\t{hostname}\n{extra}")
        (etc / "hostname").write_text(f"{hostname}\n")

    async def _live(self) -> None:
        await self._mount()
        async with asyncio.TaskGroup() as tasks:
            for it in self.inits:
                if it.sidecar:
                    tasks.create_task(it.live())
                    await it.launched.wait()
                elif await it.live() != 0:
                    self.over = True
                    self.changed()
                    return
                else:
                    it.ready = True
            self.initialized = True
            self.changed()
            lives = []
            for it in self.mains:
                lives.append(tasks.create_task(it.live()))
                if (it.spec.get("lifecycle") or {}).get("postStart"):
                    await it.launched.wait()
            await asyncio.gather(*lives)
            self.over = True  # by its restart policy; a pod that is meant to run for ever does not get here
            await self._stop_sidecars(time.monotonic() + 30)
            self.changed()

    async def _end(self, grace: float) -> None:
        self.changed()
        if self.initialized or self.inits:
            await self.event("Normal", "Killing", f"Stopping containers of pod {self.name}")
        end = time.monotonic() + grace
        await asyncio.gather(
            *(it.stop(grace) for it in (*self.mains, *(it for it in self.inits if not it.sidecar)))
        )
        await self._stop_sidecars(end)

    async def _stop_sidecars(self, end: float) -> None:
        """In reverse, after those they serve; within what is left of the grace, and two seconds at least."""
        for it in reversed([it for it in self.inits if it.sidecar]):
            await it.stop(max(end - time.monotonic(), 2.0))

    async def _clear(self) -> None:
        await asyncio.gather(*(it.stop(0) for it in (*self.mains, *self.inits)))
        if self.netns and self.netns != NODE:
            await self.host.network.remove_pod(self.netns, self.ip)

    async def _gone(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(ApiError):
            await self.host.api.delete(PODS, self.namespace, self.name, uid=self.uid, grace_seconds=0)

    # --- status --------------------------------------------------------------------------------

    async def _tell(self) -> None:
        self._dirty.set()
        while True:
            await self._dirty.wait()
            await asyncio.sleep(0.03)  # what happens together is told together
            self._dirty.clear()
            try:
                await self._write_status()
            except ApiError as refused:
                if refused.code != 404:
                    _log.warning("a status was refused", pod=self.name, reason=refused.message)

    async def _write_status(self) -> None:
        inits, mains = [it.status() for it in self.inits], [it.status() for it in self.mains]
        stored = await self.host.api.get(PODS, self.namespace, self.name)
        if stored["metadata"]["uid"] != self.uid:
            return
        if stored["metadata"].get("deletionTimestamp"):
            mains = [{**it, "ready": False} for it in mains]
        status: Object = {
            "phase": statuses.phase(self.pod, inits, mains, initialized=self.initialized), "hostIP": NODE_IP,
            "hostIPs": [{"ip": NODE_IP}], "podIP": self.ip, "podIPs": [{"ip": self.ip}], "startTime": self._begun,
            "containerStatuses": mains, "qosClass": statuses.quality(stored),
            "conditions": statuses.conditions(
                stored, mains, initialized=self.initialized, networked=bool(self.ip), over=self.over
            ),
        }  # fmt: skip
        if inits:
            status["initContainerStatuses"] = inits
        await self.host.api.patch(PODS, self.namespace, self.name, {"status": status}, subresource="status")

    # --- volumes -------------------------------------------------------------------------------

    async def _mount(self) -> None:
        told = ""
        while True:
            try:
                return await self._fill()
            except (MissingReferenceError, ApiError) as missing:
                if str(missing) != told:
                    told = str(missing)
                    await self.event("Warning", "FailedMount", f"MountVolume.SetUp failed: {told}")
                await asyncio.sleep(0.5)

    async def _fill(self) -> None:
        found = await self._found()
        group = (self.pod["spec"].get("securityContext") or {}).get("fsGroup")
        for volume in self._volumes():
            directory = self.folder / "volumes" / volume["name"]
            files = await volume_files(self.pod, volume, found, self._token)
            if files is None:
                if not directory.exists():
                    plain_directory(directory, volume, group)
            elif self._files.get(volume["name"]) != files:
                write_files(directory, files, group)
                self._files[volume["name"]] = files

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            if self._files:
                with contextlib.suppress(MissingReferenceError, ApiError):
                    await self._fill()

    def _volumes(self) -> list[Object]:
        volumes = list(self.pod["spec"].get("volumes") or ())
        if self.pod["spec"].get("automountServiceAccountToken", True) is not False:
            sources = [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                    }
                },
            ]
            volumes.append(
                {"name": "kube-api-access", "projected": {"sources": sources, "defaultMode": 0o644}}
            )
        return volumes

    async def _token(self, audience: str, seconds: int) -> str:
        token, until = self._tokens.get((audience, seconds), ("", 0.0))
        if time.monotonic() >= until:
            account = self.pod["spec"].get("serviceAccountName") or "default"
            options = {"audience": audience, "expires_s": seconds, "pod": (self.name, self.uid)}
            token = await self.host.token(self.namespace, account, options)
            self._tokens[audience, seconds] = (token, time.monotonic() + seconds * _TOKEN_SHARE)
        return token

    async def _found(self) -> Found:
        maps = await self.host.api.list(CONFIG_MAPS, self.namespace)
        secrets = await self.host.api.list(SECRETS, self.namespace)
        return Found(
            {it["metadata"]["name"]: it for it in maps}, {it["metadata"]["name"]: it for it in secrets}
        )

    # --- containers ----------------------------------------------------------------------------

    async def plan(self, spec: Object, image: Image) -> Plan:
        """Everything needed to start a container; MissingReferenceError when it refers to what is not there."""
        links = self.pod["spec"].get("enableServiceLinks", True)
        before = {
            **image.env, "HOSTNAME": self.name, "HOME": "/tmp" if security(self.pod, spec).get("runAsUser") else "/root",  # noqa: S108
            **service_variables(self.host.services(), self.namespace, links),
        }  # fmt: skip
        if image.applets:
            before["PATH"] = "/skiff/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        env = container_environment(self.pod, spec, await self._found(), before, self.host.whole())
        command = [expand(it, env) for it in spec.get("command") or ()]
        given = [expand(it, env) for it in spec.get("args") or ()]
        argv = [*command, *given] if command else [*image.entrypoint, *(given or image.args)]
        said = security(self.pod, spec)
        if image.user is not None:
            said.setdefault("runAsUser", image.user)
        return Plan(
            self.netns, self.pod["spec"].get("hostname") or self.name, argv, env, spec.get("workingDir") or "/",
            self._mounts(spec), said, image.applets, self.folder / "roots" / f"{spec['name']}",
        )  # fmt: skip

    def _mounts(self, spec: Object) -> list[Mount]:
        note = self.folder / "termination" / spec["name"]
        note.parent.mkdir(exist_ok=True)
        note.unlink(missing_ok=True)
        note.touch()
        note.chmod(0o666)
        etc = self.folder / "etc"
        mounts = [
            Mount(etc / name, f"/etc/{name}", read_only=False)
            for name in ("resolv.conf", "hosts", "hostname")
        ]
        mounts.append(
            Mount(note, spec.get("terminationMessagePath") or "/dev/termination-log", read_only=False)
        )
        asked = spec.get("volumeMounts") or []
        volumes = {it["name"]: it for it in self._volumes()}
        for it in asked:
            source = self.folder / "volumes" / it["name"]
            if host := (volumes.get(it["name"]) or {}).get("hostPath"):
                source = Path(host["path"])
            if sub := it.get("subPath"):
                source = source / sub
                if not source.exists():
                    source.mkdir(parents=True, exist_ok=True)
            made = "emptyDir" not in (volumes.get(it["name"]) or {}) and "hostPath" not in (
                volumes.get(it["name"]) or {}
            )
            mounts.append(Mount(source, it["mountPath"], read_only=bool(it.get("readOnly")) or made))
        if "kube-api-access" in volumes and not any(it["mountPath"] == _ACCOUNT_FOLDER for it in asked):
            mounts.append(Mount(self.folder / "volumes" / "kube-api-access", _ACCOUNT_FOLDER, read_only=True))
        return mounts
