"""What lies in a pod's volumes? Directories on the host, filled from objects, replaced as a whole when those change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from skiff.node.environment import CannotStartError, Found, field_value, object_data, resource_value

#: (audience, seconds) -> token of the pod's service account.
Token = Callable[[str, int], Awaitable[str]]
#: What lies on the host must be of the sort that a hostPath volume names.
_SORTS: dict[str, Callable[[Path], bool]] = {
    "Directory": Path.is_dir, "DirectoryOrCreate": Path.is_dir, "File": Path.is_file, "FileOrCreate": Path.is_file,
    "Socket": Path.is_socket, "CharDevice": Path.is_char_device, "BlockDevice": Path.is_block_device,
}  # fmt: skip
_Files = dict[str, tuple[bytes, int]]


async def volume_files(
    pod: dict[str, Any], volume: dict[str, Any], found: Found, token: Token
) -> _Files | None:
    """Relative path -> (content, mode) of a volume made from objects; None for other sorts of volume."""
    sources: list[dict[str, Any]]
    if "projected" in volume:
        sources, mode = volume["projected"].get("sources") or [], volume["projected"].get("defaultMode")
    elif "configMap" in volume:
        sources, mode = [volume], volume["configMap"].get("defaultMode")
    elif "secret" in volume:
        secret = volume["secret"]
        sources, mode = [{"secret": secret | {"name": secret.get("secretName")}}], secret.get("defaultMode")
    elif "downwardAPI" in volume:
        sources, mode = [volume], volume["downwardAPI"].get("defaultMode")
    else:
        return None
    files: _Files = {}
    for source in sources:
        files |= await _source(pod, source, found, token, mode or 0o644)
    return files


async def _source(
    pod: dict[str, Any], source: dict[str, Any], found: Found, token: Token, mode: int
) -> _Files:
    if ref := source.get("serviceAccountToken"):
        text = await token(ref.get("audience") or "", ref.get("expirationSeconds") or 3600)
        return {ref["path"]: (text.encode(), mode)}
    if ref := source.get("downwardAPI"):
        files: _Files = {}
        for item in ref.get("items") or []:
            if "fieldRef" in item:
                text = field_value(pod, item["fieldRef"]["fieldPath"])
            else:
                text = resource_value(pod, pod["spec"]["containers"][0], item["resourceFieldRef"], {})
            files[item["path"]] = (text.encode(), item.get("mode") or mode)
        return files
    for key, secret, objects in (("configMap", False, found.config_maps), ("secret", True, found.secrets)):
        if (ref := source.get(key)) is None:
            continue
        obj = objects.get(ref.get("name", ""))
        if obj is None:
            if ref.get("optional"):
                return {}
            raise CannotStartError(f'{key.lower()} "{ref.get("name", "")}" not found')
        data = object_data(obj, secret=secret)
        if not ref.get("items"):
            return {name: (content, mode) for name, content in data.items()}
        return {
            item["path"]: (data[item["key"]], item.get("mode") or mode)
            for item in ref["items"]
            if item["key"] in data
        }
    return {}


def write_files(directory: Path, files: _Files, group: int | None) -> None:
    """Fill or refill the volume: readers see all the old files or all the new ones."""
    current = directory / "..data"
    old = str(current.readlink()) if current.is_symlink() else ""
    number = int(old.rpartition("_")[2] or 0) + 1 if old else 1
    fresh = directory / f"..data_{number}"
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    shutil.rmtree(fresh, ignore_errors=True)  # made by halves, by a daemon that was killed
    fresh.mkdir()
    fresh.chmod(0o755)
    for path, (content, mode) in files.items():
        target = fresh / path
        if not target.resolve().is_relative_to(fresh.resolve()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode | (0o440 if group is not None else 0))
        if group is not None:
            os.chown(target, -1, group)
    link = directory / "..data_next"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(current)
    tops = {path.split("/")[0] for path in files}
    for top in tops:
        if not (directory / top).is_symlink():
            (directory / top).symlink_to(f"..data/{top}")
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)


def plain_directory(directory: Path, volume: dict[str, Any], group: int | None) -> Path:
    """The host directory of an emptyDir or hostPath volume; CannotStartError when the host has none."""
    if host := volume.get("hostPath"):
        path, kind = Path(host["path"]), host.get("type") or ""
        if kind == "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        elif kind == "FileOrCreate":
            path.touch()
        if not path.exists() or not _SORTS.get(kind, Path.exists)(path):
            raise CannotStartError(f"hostPath type check failed: {path} is not a {kind or 'path'}")
        return path
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o2777 if group is not None else 0o777)
    if group is not None:
        os.chown(directory, -1, group)
    return directory
