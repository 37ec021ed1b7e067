"""``lateen kube-inject``: write the sidecar into manifests, for clusters and pipelines without the webhook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lateen.api import reading
from lateen.cli.connect import CommandError, Context, IstioNamespace, Kubeconfig, with_cluster

if TYPE_CHECKING:
    from lateen.injection.settings import Reading
    from lateen.kube.client import KubeClient

Filename = Annotated[str, typer.Option("--filename", "-f", help="Manifests, or - for standard input.")]
MeshConfigFile = Annotated[
    Path | None,
    typer.Option("--meshConfigFile", help="MeshConfig as YAML. With a file, no cluster is asked."),
]
ValuesFile = Annotated[
    Path | None, typer.Option("--valuesFile", help="Values of the injector, YAML or JSON.")
]
InjectConfigFile = Annotated[
    Path | None, typer.Option("--injectConfigFile", help="Policy and selectors of the injector, as YAML.")
]


def kube_inject(
    filename: Filename,
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write instead of standard output.")
    ] = "",
    mesh_config_file: MeshConfigFile = None,
    values_file: ValuesFile = None,
    inject_config_file: InjectConfigFile = None,
    revision: Annotated[str, typer.Option("--revision", "-r", help="Revision of the control plane.")] = "",
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Add the sidecar to every pod and pod template of some manifests; other objects stay as they are.

    Settings are those of the mesh in the cluster, or, when files are named, those of the files over an installation's.
    What has no effect or will surprise is told on standard error.
    """
    from lateen.cli import manifest_text
    from lateen.injection.annotations import InjectionError
    from lateen.injection.documents import inject_documents
    from lateen.injection.settings import SettingsError

    documents = _documents(filename)
    files = (mesh_config_file, values_file, inject_config_file)
    try:
        if any(files):
            settings, told = _offline(*files, revision)
        else:
            settings, told = with_cluster(
                kubeconfig, context, lambda it: _of_cluster(it, istio_namespace, revision)
            )
        for it in told:
            _warn(f"{it.path} {it.message}")
        made = list(inject_documents(documents, settings, _warn))
    except (InjectionError, SettingsError) as wrong:
        raise CommandError(str(wrong)) from wrong
    if not output:
        manifest_text.write(made, sys.stdout)
        return
    with Path(output).open("w", encoding="utf-8") as file:
        manifest_text.write(made, file)


def _warn(said: str) -> None:
    typer.echo(f"warning: {said}", err=True)


def _documents(filename: str) -> list[Any]:
    found = _read(sys.stdin.read() if filename == "-" else _text(Path(filename)), filename)
    for number, it in enumerate(found, 1):
        if not isinstance(it, dict) or "kind" not in it:
            raise CommandError(f"{filename}: document {number} is no object of Kubernetes: it has no kind")
    if not found:
        raise CommandError(f"{filename} holds no objects")
    return found


def _read(text: str, place: str) -> list[Any]:
    import yaml

    from lateen.cli import manifest_text

    try:
        return manifest_text.read(text)
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:
        raise CommandError(f"{place} is not YAML: {wrong}") from wrong


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as wrong:
        raise CommandError(f"{path} cannot be read: {wrong}") from wrong


async def _of_cluster(client: KubeClient, namespace: str, revision: str) -> Reading:
    from lateen.injection.settings import read

    suffix = f"-{revision}" if revision and revision != "default" else ""
    found = []
    for name in (f"istio-sidecar-injector{suffix}", f"istio{suffix}"):
        config_map = await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        if config_map is None:
            raise CommandError(
                f'ConfigMap {name} is not in namespace "{namespace}": is the mesh installed there (lateen install)? '
                "Name its namespace with -i, or settings with --valuesFile and --meshConfigFile"
            )
        found.append(reading.texts(config_map, "data"))
    return read(*found)


def _offline(mesh: Path | None, values: Path | None, inject: Path | None, revision: str) -> Reading:
    """What is in no file is as ``lateen install`` would have it."""
    import json

    from lateen.api import mesh_config
    from lateen.injection import values as helm
    from lateen.injection.settings import Reading, SettingsError, settings, with_config
    from lateen.install import manifests
    from lateen.install.values import installation, merged

    chosen = installation("default", [f"revision={revision}"] if revision else [])
    default = json.loads(manifests.injector_config_map(chosen)["data"]["values"])
    given = with_config(merged(default, _settings(values, "values")), _settings(inject, "config"))
    found = helm.read(given)
    read = mesh_config.read_document(merged(chosen.mesh_config, _settings(mesh, "mesh")))
    if read.config is None:
        wrong = read.problems[0]
        raise SettingsError(f"{mesh}: {wrong.path} {wrong.message}")
    told = [it._replace(path=f"{mesh}: {it.path}") for it in read.problems]
    told += [it._replace(path=f"{values or inject}: {it.path}") for it in found.told]
    return Reading(settings(found.values, read.config), tuple(told))


def _settings(path: Path | None, key: str) -> dict[str, Any]:
    """The settings in a file, which may also be the whole ConfigMap that has them under ``key``."""
    if path is None:
        return {}
    found = _read(_text(path), str(path))
    tree = found[0] if len(found) == 1 else None
    if isinstance(tree, dict) and tree.get("kind") == "ConfigMap":
        text = (tree.get("data") or {}).get(key)
        if not isinstance(text, str):
            raise CommandError(f"{path}: the ConfigMap has no data.{key}")
        inner = _read(text, f"{path}: data.{key}")
        tree = inner[0] if len(inner) == 1 else None
    if not isinstance(tree, dict):
        raise CommandError(f"{path} is no mapping of settings")
    return tree
