"""``lateen proxy-status``: has every proxy what the control plane sent?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lateen.cli.connect import Context, IstioNamespace, Kubeconfig, with_cluster
from lateen.cli.output import Format, Output, show

if TYPE_CHECKING:
    from lateen.kube.client import KubeClient

COLUMNS = ("NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION")
TYPES = {"CDS": "cluster", "LDS": "listener", "EDS": "endpoint", "RDS": "route", "ECDS": "extensionconfig"}


def proxy_status(
    pod: Annotated[str, typer.Argument(help="Only this proxy: NAME[.NAMESPACE].")] = "",
    output: Output = Format.TABLE,
    istio_namespace: IstioNamespace = "istio-system",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """SYNCED: acknowledged. STALE: sent and not yet acknowledged. NOT SENT: not subscribed. ERROR: refused by Envoy."""
    found = with_cluster(kubeconfig, context, lambda client: _syncz(client, istio_namespace))
    if pod:
        name = pod.removeprefix("pod/")
        found = [it for it in found if it["proxy"] == name or it["proxy"].partition(".")[0] == name]
        if not found:
            from lateen.cli.connect import CommandError

            raise CommandError(f'no proxy "{pod}" is connected; "lateen proxy-status" lists those that are')
    show(COLUMNS, [row(it) for it in sorted(found, key=lambda it: str(it["proxy"]))], found, output)


async def _syncz(client: KubeClient, namespace: str) -> list[dict[str, Any]]:
    from lateen.cli.control_planes import every

    found = []
    async for plane in every(client, namespace):
        found += [{**it, "istiod": plane.pod} for it in await plane.json("/debug/syncz")]
    return found


def row(it: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table from one entry of ``/debug/syncz``."""
    return (
        str(it["proxy"]),
        str(it.get("cluster_id", "")),
        *(_state(it, kind) for kind in TYPES.values()),
        str(it["istiod"]),
        str(it.get("proxy_version") or it.get("istio_version", "")),
    )


def _state(it: dict[str, Any], kind: str) -> str:
    status = str(it.get(f"{kind}_status") or "NOT SENT")
    age = it.get(f"{kind}_age_s")
    return f"{status} ({_age(float(age))})" if age is not None and status != "NOT SENT" else status


def _age(seconds: float) -> str:
    """As kubectl writes ages: 12s, 5m, 3h, 2d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"
