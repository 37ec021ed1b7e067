"""``lateen proxy-config``: what one Envoy really has, read from its own admin interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lateen.cli import envoy_dump as dump
from lateen.cli.connect import CommandError, Context, Kubeconfig, Namespace, pod_reference, with_cluster
from lateen.cli.output import Format, Output, show, table

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

app = typer.Typer(
    help="What one Envoy has: clusters, listeners, routes, endpoints, secrets.", no_args_is_help=True
)

Pod = Annotated[str, typer.Argument(help="[pod/]NAME[.NAMESPACE]; not needed with --file.")]
File = Annotated[str, typer.Option("--file", "-f", help="Read an Envoy config dump from this file instead.")]
AdminPort = Annotated[int, typer.Option("--proxy-admin-port", help="Envoy's admin port.")]


@app.command("cluster")
@app.command("clusters", hidden=True)
@app.command("c", hidden=True)
def cluster(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    fqdn: Annotated[str, typer.Option(help="Only clusters of this hostname.")] = "",
    port: Annotated[int, typer.Option(help="Only clusters of this port.")] = 0,
    subset: Annotated[str, typer.Option(help="Only clusters of this subset.")] = "",
    direction: Annotated[str, typer.Option(help="inbound or outbound.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Clusters: where this proxy can send."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    found = [
        it for it in dump.clusters(config)
        if dump.cluster_matches(it, fqdn=fqdn, port=port, subset=subset, direction=direction)
    ]  # fmt: skip
    show(dump.CLUSTER_COLUMNS, [dump.cluster_row(it) for it in found], found, output)


@app.command("listener")
@app.command("listeners", hidden=True)
@app.command("l", hidden=True)
def listener(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    address: Annotated[str, typer.Option(help="Only listeners of this address.")] = "",
    port: Annotated[int, typer.Option(help="Only listeners of this port.")] = 0,
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Listeners: what this proxy captures, and where each match goes."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    found = [
        it for it in dump.listeners(config)
        if (not address or dump.address_of(it) == address) and (not port or dump.port_of(it) == port)
    ]  # fmt: skip
    show(dump.LISTENER_COLUMNS, [row for it in found for row in dump.listener_rows(it)], found, output)


@app.command("route")
@app.command("routes", hidden=True)
@app.command("r", hidden=True)
def route(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    name: Annotated[str, typer.Option(help="Only this route configuration.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Routes: which request goes to which cluster, and which VirtualService said so."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    found = [it for it in dump.routes(config) if not name or it.get("name") == name]
    show(dump.ROUTE_COLUMNS, [row for it in found for row in dump.route_rows(it)], found, output)


@app.command("endpoint")
@app.command("endpoints", hidden=True)
@app.command("ep", hidden=True)
def endpoint(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    cluster: Annotated[str, typer.Option(help="Only endpoints of this cluster.")] = "",
    address: Annotated[str, typer.Option(help="Only endpoints of this address.")] = "",
    port: Annotated[int, typer.Option(help="Only endpoints of this port.")] = 0,
    status: Annotated[str, typer.Option(help="healthy or unhealthy.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Endpoints: the addresses behind each cluster."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    rows = [
        it for it in dump.endpoint_rows(config)
        if (not cluster or it[3] == cluster) and (not address or it[0].rpartition(":")[0] == address)
        and (not port or it[0].rpartition(":")[2] == str(port)) and (not status or it[1].lower() == status.lower())
    ]  # fmt: skip
    document = [dict(zip(("endpoint", "status", "locality", "cluster"), it, strict=True)) for it in rows]
    show(dump.ENDPOINT_COLUMNS, rows, document, output)


@app.command("secret")
@app.command("secrets", hidden=True)
@app.command("s", hidden=True)
def secret(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Secrets: the certificates in use and how long they last."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    from lateen.cli.envoy_secrets import SECRET_COLUMNS, secret_rows

    show(SECRET_COLUMNS, secret_rows(config), dump.secrets(config), output)


@app.command("bootstrap")
@app.command("b", hidden=True)
def bootstrap(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.JSON, file: File = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Bootstrap: what Envoy was started with."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    found = dump.bootstrap(config)
    show(("FIELD", "VALUE"), [(key, json.dumps(value)) for key, value in found.items()], found, output)


@app.command("all")
@app.command("a", hidden=True)
def everything(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """All of the above, one table after the other."""
    config = _dump(pod, namespace, file, admin_port, kubeconfig, context)
    if output in (Format.JSON, Format.YAML):
        show((), (), config, output)
        return
    from lateen.cli.envoy_secrets import SECRET_COLUMNS, secret_rows

    parts: tuple[tuple[Sequence[str], Callable[[], Sequence[Sequence[str]]]], ...] = (
        (dump.CLUSTER_COLUMNS, lambda: [dump.cluster_row(it) for it in dump.clusters(config)]),
        (
            dump.LISTENER_COLUMNS,
            lambda: [row for it in dump.listeners(config) for row in dump.listener_rows(it)],
        ),
        (dump.ROUTE_COLUMNS, lambda: [row for it in dump.routes(config) for row in dump.route_rows(it)]),
        (dump.ENDPOINT_COLUMNS, lambda: dump.endpoint_rows(config)),
        (SECRET_COLUMNS, lambda: secret_rows(config)),
    )
    typer.echo("\n\n".join(table(columns, rows()) for columns, rows in parts))


def _dump(pod: str, namespace: str, file: str, port: int, kubeconfig: str, context: str) -> dump.Config:
    """The config dump of a pod's Envoy, or of a file."""
    if file:
        loaded: dump.Config = json.loads(Path(file).read_text())
        return loaded
    if not pod:
        raise CommandError(
            "name a pod, as in: lateen proxy-config cluster NAME -n NAMESPACE (or give --file)"
        )
    where, name = pod_reference(pod, namespace)

    async def read(client: KubeClient) -> Any:
        return json.loads(await client.pod_get(where, name, port, "/config_dump?include_eds"))

    found: dump.Config = with_cluster(kubeconfig, context, read)
    return found
