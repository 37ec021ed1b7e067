"""``lateen install``, ``uninstall`` and ``manifest generate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Self

import typer

from lateen.cli.connect import Context, Kubeconfig, with_cluster

if TYPE_CHECKING:
    from lateen.install.values import Installation
    from lateen.kube.client import KubeClient

Profile = Annotated[str, typer.Option("--profile", help="default, demo or minimal.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", help="path=value, e.g. meshConfig.accessLogFile=/dev/stdout; may be repeated."
    ),
]
Revision = Annotated[
    str, typer.Option("--revision", "-r", help="Revision name, for a control plane beside another.")
]
Yes = Annotated[bool, typer.Option("--skip-confirmation", "-y", help="Do not ask.")]

MARKS = {"Istio core": "⛵️", "Istiod": "🧠", "Ingress gateways": "🛬"}


def install(
    profile: Profile = "default",
    settings: Settings = None,
    revision: Revision = "",
    yes: Yes = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until every component is ready.")
    ] = True,
    readiness_timeout: Annotated[
        int, typer.Option("--readiness-timeout", help="Seconds to wait at most.")
    ] = 300,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Install the mesh into the cluster, or bring an installation up to date. A second run changes nothing."""
    chosen = _told(_chosen(profile, settings, revision))
    if not yes:
        typer.confirm(
            f"This will install the Lateen {chosen.profile} profile into the cluster. Proceed?", abort=True
        )

    async def run(client: KubeClient) -> None:
        from lateen.install import apply

        with Progress("installed") as progress:
            await apply.install(client, chosen, wait_s=readiness_timeout if wait else 0, report=progress.step)

    with_cluster(kubeconfig, context, run)
    typer.echo("✔ Installation complete")


def uninstall(
    profile: Profile = "default",
    settings: Settings = None,
    revision: Revision = "",
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove the CRDs with all objects, and the namespace.")
    ] = False,
    yes: Yes = False,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Remove the mesh. Workloads keep running; namespace labels stay; their pods lose the sidecar on restart."""
    chosen = _chosen(profile, settings, revision)
    if not yes:
        what = (
            "the mesh, its CRDs and all Istio objects" if purge else "the mesh's control plane and gateways"
        )
        typer.confirm(f"This will remove {what}. Proceed?", abort=True)

    async def run(client: KubeClient) -> None:
        from lateen.install import apply

        with Progress("removed") as progress:
            await apply.uninstall(client, chosen, purge=purge, report=progress.step)

    with_cluster(kubeconfig, context, run)
    typer.echo("✔ Uninstall complete")


def generate(profile: Profile = "default", settings: Settings = None, revision: Revision = "") -> None:
    """Print the manifests that ``install`` would apply."""
    import yaml

    from lateen.install.manifests import components

    objects = [
        obj
        for component in components(_told(_chosen(profile, settings, revision)))
        for obj in component.objects
    ]
    typer.echo(yaml.safe_dump_all(objects, sort_keys=False), nl=False)


def _chosen(profile: str, settings: list[str] | None, revision: str) -> Installation:
    from lateen.install.values import installation

    return installation(profile, [*(settings or []), *([f"revision={revision}"] if revision else [])])


def _told(it: Installation) -> Installation:
    """Say what of it has no effect."""
    for said in it.told:
        typer.echo(f"warning: {said}", err=True)
    return it


class Progress:
    """One line a component: it spins on a terminal, and is printed once elsewhere."""

    def __init__(self, done: str) -> None:
        self._done, self._terminal, self._shown = done, sys.stdout.isatty(), ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._clear()

    def step(self, component: str, what: str, detail: str) -> None:
        """Called for every step of ``lateen.install.apply``."""
        if what == "done":
            self._clear()
            typer.echo(f"✔ {component} {self._done} {MARKS.get(component, '')}".rstrip())
        elif what == "warning":
            self._clear()
            typer.echo(f"Warning: {component}: {detail}", err=True)
        elif self._terminal:
            self._clear()
            self._shown = f"- {component}: {what} {detail}"
            sys.stdout.write(self._shown)
            sys.stdout.flush()

    def _clear(self) -> None:
        if self._terminal and self._shown:
            sys.stdout.write("\r\x1b[2K")
            sys.stdout.flush()
        self._shown = ""
