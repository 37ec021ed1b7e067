"""``lateen problems``: what the control plane found wrong with the objects of the mesh, and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lateen.cli.connect import Context, IstioNamespace, Kubeconfig, with_cluster
from lateen.cli.output import Format, Output, show

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

COLUMNS = ("SEVERITY", "OBJECT", "FIELD", "MESSAGE")
#: istioctl analyze ends with this code when it found errors.
FOUND = 79
Entry = dict[str, Any]

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Only objects of this namespace.")]
Everywhere = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="Objects of all namespaces: the default.")
]


def problems(
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    output: Output = Format.TABLE,
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Error: requests fail, or the object, or what is wrong in it, is left out. Warning: it is used without what has no effect.

    Exit code: 0 without errors, 79 with some, 1 when nobody could be asked.
    """
    found = with_cluster(kubeconfig, context, lambda client: told(client, istio_namespace))
    found = [it for it in found if everywhere or not namespace or it["namespace"] in (namespace, "")]
    if output in (Format.TABLE, Format.SHORT) and not found:
        typer.echo(
            f"No problems found{f' in namespace {namespace}' if namespace and not everywhere else ''}."
        )
        return
    show(COLUMNS, map(row, found), found, output)
    if any(it["severity"] == "Error" for it in found):
        raise typer.Exit(FOUND)


async def told(client: KubeClient, istio_namespace: str) -> list[Entry]:
    """The problems that the control planes know, errors first; a kind that cannot be read counts as one."""
    from lateen.cli.control_planes import asked

    found: dict[str, Entry] = {}
    for page in await asked(client, istio_namespace, lambda plane: plane.json("/debug/problems")):
        for it in page["objects"]:
            found.setdefault(repr(sorted(it.items())), it)
        for it in page["kinds"]:
            entry = {
                "kind": it["kind"],
                "namespace": "",
                "name": "*",
                "path": "",
                "message": it["message"],
                "severity": "Error",
            }
            found.setdefault(it["kind"], entry)
    return sorted(found.values(), key=_order)


def _order(it: Entry) -> tuple[bool, str, str, str, str]:
    return (it["severity"] != "Error", it["namespace"], it["kind"], it["name"], it["path"])


def row(it: Entry) -> tuple[str, ...]:
    """One line of the table."""
    name = f"{it['name']}.{it['namespace']}" if it["namespace"] else it["name"]
    return (str(it["severity"]), f"{it['kind']} {name}", str(it["path"]) or "-", str(it["message"]))
