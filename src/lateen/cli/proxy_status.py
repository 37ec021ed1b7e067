"""``lateen proxy-status``: has every proxy what the control plane sent?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lateen.cli import problems
from lateen.cli.connect import (
    CommandError,
    Context,
    IstioNamespace,
    Kubeconfig,
    Namespace,
    with_cluster,
)
from lateen.cli.output import Format, Output, show
from lateen.cli.pods import complete_pod, pod_reference, sidecar_pod

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

COLUMNS = ("NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION")
TYPES = {"CDS": "cluster", "LDS": "listener", "EDS": "endpoint", "RDS": "route", "ECDS": "extensionconfig"}
Entry = dict[str, Any]


def proxy_status(
    pod: Annotated[
        str,
        typer.Argument(
            help="Only this proxy, compared with what it should have: NAME[.NAMESPACE] or deploy/NAME.",
            autocompletion=complete_pod,
        ),
    ] = "",
    output: Output = Format.TABLE,
    namespace: Namespace = "",
    everywhere: problems.Everywhere = False,
    istio_namespace: IstioNamespace = "istio-system",
    admin_port: Annotated[int, typer.Option("--proxy-admin-port", help="Envoy's admin port.")] = 15000,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:  # fmt: skip
    """SYNCED: acknowledged. STALE: sent and not yet acknowledged. NOT SENT: not subscribed. ERROR: refused by Envoy."""

    async def read(client: KubeClient) -> tuple[list[Entry], list[str], str]:
        found = await _syncz(client, istio_namespace)
        if not pod:
            wanted = [
                it for it in found if everywhere or not namespace or it["proxy"].endswith(f".{namespace}")
            ]
            return wanted, [], footnote(await problems.told(client, istio_namespace))
        it = await entry_of(client, found, pod, namespace)
        return (
            [it],
            [] if it.get("generator") else await _compared(client, it, istio_namespace, admin_port),
            "",
        )

    found, comparison, foot = with_cluster(kubeconfig, context, read)
    found.sort(key=lambda it: (str(it["proxy"]), str(it["istiod"])))
    show(COLUMNS, [row(it) for it in found], found, output)
    if comparison and output in (Format.TABLE, Format.SHORT):
        typer.echo("\n" + "\n".join(comparison))
    if foot and output in (Format.TABLE, Format.SHORT):
        typer.echo(foot, err=True)  # not among the rows, which scripts cut


def footnote(told: list[Entry]) -> str:
    """How many problems ``lateen problems`` would show; empty for none. A synced proxy does not have what was left out."""
    errors = sum(it["severity"] == "Error" for it in told)
    counted = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((errors, "error"), (len(told) - errors, "warning"))
        if count
    ]
    return f'{" and ".join(counted)} in what was applied: "lateen problems" lists them' if counted else ""


async def entry_of(client: KubeClient, found: list[Entry], pod: str, namespace: str) -> Entry:
    """The proxy that is meant; for a pod that never connects, CommandError says why."""
    try:
        return chosen(found, await _named(client, pod, namespace), namespace)
    except UnknownProxyError:
        _, where, name = pod_reference(pod, namespace)
        if await client.get(f"/api/v1/namespaces/{where or client.connection.namespace}/pods/{name}"):
            await sidecar_pod(client, pod, namespace)
        raise


async def _named(client: KubeClient, pod: str, namespace: str) -> str:
    """A workload's living pod by name; what names a pod itself stays, since its proxy may be of another cluster."""
    if pod_reference(pod, namespace)[0] in ("pod", "pods", "po"):
        return pod
    where, name = await sidecar_pod(client, pod, namespace)
    return f"{name}.{where}"


class UnknownProxyError(CommandError):
    """No control plane knows this proxy."""


def chosen(found: list[Entry], pod: str, namespace: str) -> Entry:
    """The proxy that is meant; CommandError when none is, or more than one."""
    _, where, name = pod_reference(pod, namespace)
    meant = [it for it in found if it["proxy"] == f"{name}.{where}" or (not where and _pod(it) == name)]
    # Two control planes may know one proxy for a moment: it has moved from one to the other.
    names = sorted({str(it["proxy"]) for it in meant})
    if len(names) == 1:
        return meant[0]
    if names:
        raise CommandError(f'"{pod}" may be {" or ".join(names)}: name one with its namespace')
    near = sorted({str(it["proxy"]) for it in found if str(it["proxy"]).startswith(name)})
    hint = f"did you mean {', '.join(near[:5])}?" if near else '"lateen proxy-status" lists those that are'
    raise UnknownProxyError(f'no proxy "{pod}" is connected; {hint}')


def _pod(it: Entry) -> str:
    return str(it["proxy"]).rpartition(".")[0]


async def _syncz(client: KubeClient, namespace: str) -> list[Entry]:
    from lateen.cli.control_planes import ControlPlane, asked

    async def one(plane: ControlPlane) -> list[Entry]:
        return [{**it, "istiod": plane.pod} for it in await plane.json("/debug/syncz")]

    return [it for found in await asked(client, namespace, one) for it in found]


async def _compared(client: KubeClient, it: Entry, istio_namespace: str, port: int) -> list[str]:
    from lateen.cli.comparison import compared
    from lateen.cli.control_planes import ControlPlane
    from lateen.cli.proxy_config import admin_page

    plane = ControlPlane(client, istio_namespace, str(it["istiod"]))
    meant = await plane.json(f"/debug/config_dump?proxyID={it['proxy']}")
    namespace = str(it["proxy"]).rpartition(".")[2]
    return compared(meant, await admin_page(client, namespace, _pod(it), port))


def row(it: Entry) -> tuple[str, ...]:
    """One line of the table from one entry of ``/debug/syncz``."""
    return (
        str(it["proxy"]),
        str(it.get("cluster_id", "")),
        *(_state(it, kind) for kind in TYPES.values()),
        str(it["istiod"]),
        str(it.get("proxy_version") or it.get("istio_version", "")),
    )


def _state(it: Entry, kind: str) -> str:
    status = str(it.get(f"{kind}_status") or "NOT SENT")
    age = it.get(f"{kind}_age_s")
    return f"{status} ({_age(float(age))})" if age is not None and status != "NOT SENT" else status


def _age(seconds: float) -> str:
    """As kubectl writes ages: 12s, 5m, 3h, 2d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"
