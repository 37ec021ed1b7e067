"""``lateen version``: of this command, of the control plane, of the proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lateen import __version__
from lateen.cli.connect import CommandError, Context, IstioNamespace, Kubeconfig, user_facing, with_cluster
from lateen.cli.output import Format, Output, show

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient


def version(
    remote: Annotated[
        str, typer.Option("--remote", metavar="true|false", help="Ask the cluster too.")
    ] = "true",
    no_remote: Annotated[bool, typer.Option("--no-remote", help="The same as --remote=false.")] = False,
    short: Annotated[bool, typer.Option("--short", "-s", help="Only the client's number.")] = False,
    output: Output = Format.TABLE,
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Versions of the command, the control plane and the data plane."""
    if remote.lower() not in ("true", "false"):
        raise CommandError(f'--remote is "true" or "false", not "{remote}"')
    if short:
        typer.echo(__version__)
        return
    document: dict[str, Any] = {"clientVersion": {"version": __version__}}
    code = 0
    if remote.lower() == "true" and not no_remote:
        try:
            document |= with_cluster(kubeconfig, context, lambda client: _remote(client, istio_namespace))
        except Exception as problem:
            if (said := user_facing(problem)) is None:
                raise
            typer.echo(f"Warning: {said}", err=True)
            # Who has no cluster and named none wants the command's version; all else was asked for and failed.
            code = 0 if type(problem).__name__ == "NoClusterError" else 1
    if output in (Format.JSON, Format.YAML):
        show((), (), document, output)
    else:
        _show(document)
    if code:
        raise typer.Exit(code)


def _show(document: dict[str, Any]) -> None:
    typer.echo(f"client version: {__version__}")
    planes = document.get("meshVersion", [])
    for it in sorted({it["version"] for it in planes}):
        typer.echo(f"control plane version: {it}")
    counts: dict[str, int] = {}
    for it in document.get("dataPlaneVersion", []):
        counts[it["version"]] = counts.get(it["version"], 0) + 1
    if counts:
        said = ", ".join(
            f"{number} ({count} {'proxy' if count == 1 else 'proxies'})"
            for number, count in sorted(counts.items())
        )
        typer.echo(f"data plane version: {said}")
    elif planes:
        typer.echo("data plane version: none")


async def _remote(client: KubeClient, namespace: str) -> dict[str, Any]:
    from lateen.cli.control_planes import ControlPlane, asked

    async def one(plane: ControlPlane) -> tuple[dict[str, str], list[dict[str, str]]]:
        version = (await plane.text("/version")).strip()
        proxies = [
            {"id": it["proxy"], "version": it.get("proxy_version") or it.get("istio_version") or "unknown"}
            for it in await plane.json("/debug/syncz")
        ]
        return {"component": plane.pod, "version": version}, proxies

    found = await asked(client, namespace, one)
    return {
        "meshVersion": [version for version, _ in found],
        "dataPlaneVersion": [it for _, proxies in found for it in proxies],
    }
