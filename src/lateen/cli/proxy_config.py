"""``lateen proxy-config``: what one Envoy really has, read from its own admin interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lateen.cli import envoy_dump as dump
from lateen.cli import envoy_listeners, envoy_routes
from lateen.cli.connect import (
    CommandError,
    Context,
    Kubeconfig,
    Namespace,
    with_cluster,
)
from lateen.cli.examples import epilog
from lateen.cli.output import Format, Output, show, table
from lateen.cli.pods import complete_pod, sidecar_pod

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

app = typer.Typer(
    help="What one Envoy has: clusters, listeners, routes, endpoints, secrets.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Verb = TypeVar("Verb", bound=Callable[..., None])
Pod = Annotated[
    str,
    typer.Argument(help="[pod/]NAME[.NAMESPACE] or deployment/NAME; not needed with --file.", autocompletion=complete_pod),
]  # fmt: skip
File = Annotated[str, typer.Option("--file", "-f", help="Read an Envoy config dump from this file instead.")]
AdminPort = Annotated[int, typer.Option("--proxy-admin-port", help="Envoy's admin port.")]

_DUMP, _HOSTS = "/config_dump?include_eds", "/clusters?format=json"


def _verb(name: str, *others: str) -> Callable[[Verb], Verb]:
    """A verb with its examples, and istioctl's other names for it, which help does not list."""

    def added(run: Verb) -> Verb:
        for it in (name, *others):
            app.command(it, hidden=it != name, epilog=epilog(f"proxy-config {name}"))(run)
        return run

    return added


@_verb("cluster", "clusters", "c")
def cluster(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    fqdn: Annotated[str, typer.Option(help="Only clusters of this hostname, or a part of it.")] = "",
    port: Annotated[int, typer.Option(help="Only clusters of this port.")] = 0,
    subset: Annotated[str, typer.Option(help="Only clusters of this subset.")] = "",
    direction: Annotated[str, typer.Option(help="inbound or outbound.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Clusters: where this proxy can send."""
    if direction not in ("", "inbound", "outbound"):
        raise CommandError(f'--direction is "inbound" or "outbound", not "{direction}"')
    config = _read(pod, namespace, file, admin_port, kubeconfig, context)
    found = [
        it for it in dump.clusters(config)
        if dump.cluster_matches(it, fqdn=fqdn, port=port, subset=subset, direction=direction)
    ]  # fmt: skip
    show(dump.CLUSTER_COLUMNS, [dump.cluster_row(it) for it in found], found, output)


@_verb("listener", "listeners", "l")
def listener(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    address: Annotated[str, typer.Option(help="Only listeners of this address.")] = "",
    port: Annotated[int, typer.Option(help="Only listeners of this port.")] = 0,
    kind: Annotated[str, typer.Option("--type", help="Only HTTP, TCP, HTTP+TCP or UNKNOWN listeners.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Listeners: what this proxy captures, and where each match goes."""
    config = _read(pod, namespace, file, admin_port, kubeconfig, context)
    found = [
        it for it in envoy_listeners.listeners(config)
        if envoy_listeners.listener_matches(it, address=address, port=port, kind=kind)
    ]  # fmt: skip
    rows = [row for it in found for row in envoy_listeners.listener_rows(it)]
    show(envoy_listeners.LISTENER_COLUMNS, rows, found, output)


@_verb("route", "routes", "r")
def route(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    name: Annotated[str, typer.Option(help="Only this route configuration.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Routes: which request goes to which cluster, and which VirtualService said so."""
    config = _read(pod, namespace, file, admin_port, kubeconfig, context)
    found = [it for it in envoy_routes.routes(config) if not name or it.get("name") == name]
    rows = [row for it in found for row in envoy_routes.route_rows(it)]
    show(envoy_routes.ROUTE_COLUMNS, rows, found, output)


@_verb("endpoint", "endpoints", "ep")
def endpoint(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    cluster: Annotated[str, typer.Option(help="Only endpoints of this cluster.")] = "",
    address: Annotated[str, typer.Option(help="Only endpoints of this address.")] = "",
    port: Annotated[int, typer.Option(help="Only endpoints of this port.")] = 0,
    status: Annotated[str, typer.Option(help="healthy, unhealthy, draining, timeout or degraded.")] = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Endpoints: the addresses behind each cluster, and whether Envoy has ejected them."""
    # A running Envoy knows more than its dump: which hosts it found unhealthy. A file may hold either.
    config = _read(pod, namespace, file, admin_port, kubeconfig, context, _HOSTS)
    live = "cluster_statuses" in config
    passes = dump.endpoint_passes(cluster, address, port, status)
    found = [it for it in (dump.hosts(config) if live else dump.endpoints(config)) if passes(it[0])]
    document = [{"cluster": row[-1], **message} for row, message in found]
    show(dump.HOST_COLUMNS if live else dump.ENDPOINT_COLUMNS, [row for row, _ in found], document, output)


@_verb("secret", "secrets", "s")
def secret(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Secrets: the certificates in use and how long they last."""
    config = _read(pod, namespace, file, admin_port, kubeconfig, context)
    from lateen.cli.envoy_secrets import SECRET_COLUMNS, secret_rows

    show(SECRET_COLUMNS, secret_rows(config), dump.secrets(config), output)


@_verb("bootstrap", "b")
def bootstrap(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.JSON, file: File = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """Bootstrap: what Envoy was started with."""
    config = _read(pod, namespace, file, admin_port, kubeconfig, context)
    found = dump.bootstrap(config)
    show(("FIELD", "VALUE"), [(key, json.dumps(value)) for key, value in found.items()], found, output)


@_verb("all", "a")
def everything(
    pod: Pod = "", namespace: Namespace = "", output: Output = Format.TABLE, file: File = "",
    admin_port: AdminPort = 15000, kubeconfig: Kubeconfig = "", context: Context = "",
) -> None:  # fmt: skip
    """All of the above, one table after the other."""
    config = _read(pod, namespace, file, admin_port, kubeconfig, context)
    if output in (Format.JSON, Format.YAML):
        show((), (), config, output)
        return
    typer.echo("\n\n".join(table(columns, rows) for columns, rows in _tables(config) if rows))


def _tables(config: dump.Config) -> list[tuple[Sequence[str], Sequence[dump.Row]]]:
    from lateen.cli.envoy_secrets import SECRET_COLUMNS, secret_rows

    listeners, routes = envoy_listeners.listeners(config), envoy_routes.routes(config)
    return [
        (dump.CLUSTER_COLUMNS, [dump.cluster_row(it) for it in dump.clusters(config)]),
        (
            envoy_listeners.LISTENER_COLUMNS,
            [row for it in listeners for row in envoy_listeners.listener_rows(it)],
        ),
        (envoy_routes.ROUTE_COLUMNS, [row for it in routes for row in envoy_routes.route_rows(it)]),
        (dump.ENDPOINT_COLUMNS, [row for row, _ in dump.endpoints(config)]),
        (SECRET_COLUMNS, secret_rows(config)),
    ]


def _read(
    pod: str, namespace: str, file: str, port: int, kubeconfig: str, context: str, page: str = _DUMP
) -> dump.Config:
    """A page of a pod's Envoy, or a file that holds one."""
    if file:
        return parsed(Path(file).read_bytes(), file)
    if not pod:
        raise CommandError(
            "name a pod, as in: lateen proxy-config cluster NAME -n NAMESPACE (or give --file)"
        )

    found: dump.Config = with_cluster(
        kubeconfig, context, lambda client: sidecar_page(client, pod, namespace, port, page)
    )
    return found


async def sidecar_page(
    client: KubeClient, pod: str, namespace: str, port: int, page: str = _DUMP
) -> dump.Config:
    """A page of the pod that is meant; of the one that came in its place when it goes meanwhile."""
    where, name = await sidecar_pod(client, pod, namespace)
    try:
        return await admin_page(client, where, name, port, page)
    except Exception:
        if (now := await sidecar_pod(client, pod, namespace)) == (where, name):
            raise
    return await admin_page(client, *now, port, page)


async def admin_page(
    client: KubeClient, namespace: str, pod: str, port: int, page: str = _DUMP
) -> dump.Config:
    """A page of Envoy's admin interface, through a port-forward."""
    return parsed(await client.pod_get(namespace, pod, port, page), f"port {port} of pod {pod}")


def parsed(raw: bytes, source: str) -> dump.Config:
    """JSON of an Envoy; CommandError when it is none."""
    try:
        found: Any = json.loads(raw)
    except ValueError as wrong:
        raise CommandError(f"{source}: this is no JSON of an Envoy: {wrong}") from wrong
    if not isinstance(found, Mapping) or not ({"configs", "cluster_statuses"} & set(found)):
        raise CommandError(f"{source}: this is no config dump of an Envoy (as /config_dump shows it)")
    return found
