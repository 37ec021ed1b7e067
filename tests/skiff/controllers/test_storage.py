"""Does a claim get its volume, and does what it keeps stay as long as it should?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plane import NODE, Plane, template

from skiff.api import Object
from skiff.kinds import NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from skiff.node.claimed import claimed
from skiff.node.environment import CannotStartError
from skiff.node.volumes import plain_directory

pytestmark = [pytest.mark.finding("issue 7 part 5"), pytest.mark.finding("skiff 3")]
ONCE = ["ReadWriteOnce"]


def wish(size: str = "1Gi", **more: Any) -> Object:
    return {"accessModes": ONCE, "resources": {"requests": {"storage": size}}, **more}


def claim(it: Plane, name: str) -> Object:
    return it.get(PERSISTENT_VOLUME_CLAIMS, name) or {}


def phase(it: Plane, name: str) -> str:
    return str((claim(it, name).get("status") or {}).get("phase"))


async def bound(it: Plane, name: str) -> Object:
    def told() -> bool:
        """To all: a node sees what is committed."""
        found = it.registry.store.read(PERSISTENT_VOLUME_CLAIMS.storage, "default", name) or {}
        return (found.get("status") or {}).get("phase") == "Bound"

    await it.until(told, f"{name} is bound")
    return it.get(PERSISTENT_VOLUMES, claim(it, name)["spec"]["volumeName"]) or {}


async def volume(it: Plane, name: str, size: str = "1Gi", **more: Any) -> Object:
    spec = {"accessModes": ONCE, "capacity": {"storage": size}, "hostPath": {"path": f"/data/{name}"}, **more}
    return await it.make(PERSISTENT_VOLUMES, name, spec=spec)


async def test_a_claim_of_the_usual_class_gets_a_folder_which_goes_with_it(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.make(PERSISTENT_VOLUME_CLAIMS, "c", spec=wish())
        found = await bound(it, "c")
        assert claim(it, "c")["spec"]["storageClassName"] == "standard"
        name = f"pvc-{claim(it, 'c')['metadata']['uid']}"
        assert found["metadata"]["name"] == name
        assert found["spec"]["claimRef"]["name"] == "c"
        await it.until(
            lambda: (it.get(PERSISTENT_VOLUMES, name) or {}).get("status") == {"phase": "Bound"}, "told"
        )
        pod = await it.make(PODS, "p", spec=template(
            "p", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])["spec"])  # fmt: skip
        assert await claimed(it.api, pod, pod["spec"]["volumes"][0], tmp_path) == tmp_path / "claims" / name
        await it.api.patch(PERSISTENT_VOLUME_CLAIMS, "default", "c", {"spec": wish("2Gi")})
        await it.until(lambda: claim(it, "c")["status"]["capacity"] == {"storage": "2Gi"}, "it grows")
        await it.api.delete(PERSISTENT_VOLUMES, "", name)
        await it.api.delete(PERSISTENT_VOLUME_CLAIMS, "default", "c")
        assert claim(it, "c"), "a pod uses it"
        assert it.get(PERSISTENT_VOLUMES, name), "a claim has it"
        await it.gone(pod)
        await it.until(lambda: not claim(it, "c") and not it.get(PERSISTENT_VOLUMES, name), "both go")


async def test_a_claim_finds_the_smallest_volume_that_fits_and_leaves_it_behind(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await volume(it, "big", "9Gi", storageClassName="manual")
        await volume(it, "fits", "3Gi", storageClassName="manual")
        await volume(it, "small", "1Gi", storageClassName="manual")
        await volume(it, "other", "3Gi")
        await it.make(PERSISTENT_VOLUME_CLAIMS, "c", spec=wish("2Gi", storageClassName="manual"))
        assert (await bound(it, "c"))["metadata"]["name"] == "fits"
        assert claim(it, "c")["status"]["capacity"] == {"storage": "3Gi"}
        await it.make(
            PERSISTENT_VOLUME_CLAIMS, "d", spec=wish("2Gi", storageClassName="manual", volumeName="fits")
        )
        await it.until(
            lambda: "already bound to a different claim" in "".join(it.events("FailedBinding")), "told"
        )
        await it.api.delete(PERSISTENT_VOLUME_CLAIMS, "default", "c")
        await it.until(
            lambda: (it.get(PERSISTENT_VOLUMES, "fits") or {})["status"]["phase"] == "Released", "it stays"
        )
        assert phase(it, "d") == "Pending", "what somebody left in there is nobody else's"
        await it.make(PERSISTENT_VOLUME_CLAIMS, "e", spec=wish("2Gi", storageClassName="manual"))
        assert (await bound(it, "e"))["metadata"]["name"] == "big"


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        ({"storageClassName": "nope"}, "ProvisioningFailed", 'storageclass.storage.k8s.io "nope" not found'),
        ({"storageClassName": "cloud"}, "ExternalProvisioning", "external provisioner 'example.com/cloud'"),
        ({"storageClassName": ""}, "FailedBinding", "no persistent volumes available for this claim"),
        ({"storageClassName": "late"}, "WaitForFirstConsumer", "waiting for first consumer"),
        ({"volumeMode": "Block"}, "ProvisioningFailed", "volumeMode Block gets no volume"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}, "ProvisioningFailed", "dataSource is not supported"),
    ],
)  # fmt: skip
async def test_why_a_claim_waits(tmp_path: Path, spec: Object, reason: str, said: str) -> None:
    async with Plane(tmp_path) as it:
        await it.make(STORAGE_CLASSES, "cloud", provisioner="example.com/cloud")
        await it.make(
            STORAGE_CLASSES,
            "late",
            provisioner="skiff.local/folder",
            volumeBindingMode="WaitForFirstConsumer",
        )
        await it.make(PERSISTENT_VOLUME_CLAIMS, "c", spec=wish(**spec))
        await it.until(lambda: said in "".join(it.events(reason)), "the event")
        assert phase(it, "c") == "Pending"
        if reason == "WaitForFirstConsumer":
            await it.node()
            volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
            await it.make(PODS, "p", spec=template("p", volumes=volumes)["spec"])
            await bound(it, "c")
            await it.until(lambda: (it.get(PODS, "p") or {})["spec"].get("nodeName"), "and its pod runs")


async def test_a_pod_brings_claims_of_its_own(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        await it.node()
        volumes = [
            {
                "name": "v",
                "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": wish()}},
            }
        ]
        pod = await it.make(PODS, "p", spec=template("p", volumes=volumes)["spec"])
        await bound(it, "p-v")
        await it.until(lambda: (it.get(PODS, "p") or {})["spec"].get("nodeName"), "it runs")
        assert claim(it, "p-v")["metadata"]["labels"] == {"a": "b"}
        assert (await claimed(it.api, pod, volumes[0], tmp_path)).is_dir()
        await it.gone(pod)
        await it.until(lambda: not claim(it, "p-v") and not it.all(PERSISTENT_VOLUMES, ""), "all of it goes")
        await it.make(PERSISTENT_VOLUME_CLAIMS, "q-v", spec=wish())
        await it.make(PODS, "q", spec=template("q", volumes=volumes)["spec"])
        await it.until(
            lambda: "was not created for pod" in "".join(it.events("FailedBinding")), "somebody else's"
        )


async def test_where_the_files_of_a_volume_lie(tmp_path: Path) -> None:
    async with Plane(tmp_path) as it:
        (tmp_path / "here").mkdir()
        ours = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
        here = {"required": {"nodeSelectorTerms": [{"matchExpressions": [ours]}]}}
        for name, source in (
            ("host", {"hostPath": {"path": str(tmp_path / "here")}}),
            ("local", {"hostPath": None, "local": {"path": str(tmp_path / "here")}, "nodeAffinity": here}),
            ("nfs", {"hostPath": None, "nfs": {"server": "a", "path": "/"}}),
        ):
            await volume(it, name, **source)
            await it.make(PERSISTENT_VOLUME_CLAIMS, name, spec=wish(storageClassName="", volumeName=name))
            await bound(it, name)
        await it.make(PERSISTENT_VOLUME_CLAIMS, "none", spec=wish(storageClassName=""))

        async def where(name: str) -> Path:
            entry = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
            pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"volumes": [entry]}}
            return await claimed(it.api, pod, entry, tmp_path)

        assert await where("host") == await where("local") == tmp_path / "here"
        with pytest.raises(CannotStartError, match="no volumes of the sort nfs"):
            await where("nfs")
        with pytest.raises(CannotStartError, match="is not bound"):
            await where("none")
        # A claim of an earlier version keeps what it has.
        (tmp_path / "claims" / "default_old").mkdir(parents=True)
        (tmp_path / "claims" / "default_old" / "file").write_text("kept")
        await it.make(PERSISTENT_VOLUME_CLAIMS, "old", spec=wish())
        await bound(it, "old")
        assert (await where("old") / "file").read_text() == "kept"


@pytest.mark.finding("skiff 2")
@pytest.mark.finding("skiff input 4")
async def test_what_a_cluster_needs_comes_back(tmp_path: Path) -> None:
    from skiff.kinds import CONFIG_MAPS, ENDPOINT_SLICES, ENDPOINTS, SERVICE_ACCOUNTS, SERVICES

    async with Plane(tmp_path) as it:
        before = await it.until(lambda: it.get(SERVICES, "kubernetes"), "it is committed")
        for kind, name in (
            (SERVICES, "kubernetes"), (ENDPOINT_SLICES, "kubernetes"), (ENDPOINTS, "kubernetes"), (SERVICE_ACCOUNTS, "default"), (CONFIG_MAPS, "kube-root-ca.crt"),
        ):  # fmt: skip
            await it.until(lambda kind=kind, name=name: it.get(kind, name), "it is there")
            await it.api.delete(kind, "default", name)
            await it.until(lambda kind=kind, name=name: it.get(kind, name), "it is back")
        assert (it.get(SERVICES, "kubernetes") or {})["spec"] == before["spec"]


@pytest.mark.finding("issue 7 redteam")
async def test_a_claim_that_only_says_so_has_no_volume(tmp_path: Path) -> None:
    """The volume says whose it is: a claim that names another one's, and is told Bound, gets nothing of it."""
    async with Plane(tmp_path) as it:
        await it.make(NAMESPACES, "other")
        await it.make(PERSISTENT_VOLUME_CLAIMS, "owner", spec=wish())
        theirs = (await bound(it, "owner"))["metadata"]["name"]
        await it.make(PERSISTENT_VOLUME_CLAIMS, "thief", "other", spec=wish(volumeName=theirs))
        told = {"status": {"phase": "Bound"}}
        await it.api.patch(PERSISTENT_VOLUME_CLAIMS, "other", "thief", told, subresource="status")
        entry = {"name": "v", "persistentVolumeClaim": {"claimName": "thief"}}
        pod = {"metadata": {"name": "p", "namespace": "other"}, "spec": {"volumes": [entry]}}
        with pytest.raises(CannotStartError, match="not bound to"):
            await claimed(it.api, pod, entry, tmp_path)


@pytest.mark.finding("issue 7 redteam")
def test_a_path_of_the_host_is_of_the_sort_that_was_named(tmp_path: Path) -> None:
    """Also sockets and devices: what expects one is not started with something else."""
    (tmp_path / "file").touch()
    sorts = {
        "Directory": "/", "DirectoryOrCreate": "/", "File": str(tmp_path / "file"), "FileOrCreate": str(tmp_path / "new"),
        "CharDevice": "/dev/null", "": "/dev/null",
    }  # fmt: skip
    for sort, path in sorts.items():
        assert plain_directory(tmp_path, {"hostPath": {"path": path, "type": sort}}, None) == Path(path)
    wrong = {
        "Socket": str(tmp_path / "file"), "CharDevice": str(tmp_path / "file"), "BlockDevice": "/dev/null", "File": "/",
        "FileOrCreate": str(tmp_path), "Directory": str(tmp_path / "file"), "": "/nowhere",
    }  # fmt: skip
    for sort, path in wrong.items():
        with pytest.raises(CannotStartError, match="type check failed"):
            plain_directory(tmp_path, {"hostPath": {"path": path, "type": sort}}, None)
