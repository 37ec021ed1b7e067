"""``lateen kube-inject``: the sidecar, added to manifests on the way to kubectl."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def kube_inject(
    filename: Annotated[
        str, typer.Option("--filename", "-f", help="Manifests to inject; - is standard input.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Write here instead of standard output.")
    ] = "",
    profile: Annotated[str, typer.Option("--profile", help="default, demo or minimal.")] = "default",
    settings: Annotated[list[str] | None, typer.Option("--set", "-s", help="As for install.")] = None,
) -> None:
    """Add the sidecar to every workload of a manifest; everything else passes unchanged."""
    import yaml

    from lateen.injection.documents import inject_documents
    from lateen.injection.settings import settings_from_config_maps
    from lateen.install.manifests import injector_config_map, mesh_config_map
    from lateen.install.values import installation

    text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
    chosen = installation(profile, settings or [])
    injection = settings_from_config_maps(
        injector_config_map(chosen)["data"], mesh_config_map(chosen)["data"]
    )
    documents = [it for it in yaml.safe_load_all(text) if it]
    injected = yaml.safe_dump_all(inject_documents(documents, injection), sort_keys=False)
    if output:
        Path(output).write_text(injected)
    else:
        typer.echo(injected, nl=False)
