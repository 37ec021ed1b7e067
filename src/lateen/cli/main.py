"""What can be asked on the command line? istioctl's verbs; each group of verbs has a file of its own.

Commands import what they need when they run, so that ``lateen --help`` is instant.
"""

from __future__ import annotations

import sys

import typer

from lateen.cli import install, kube_inject, proxy_config, proxy_status, shop, version

#: The exit code of what Ctrl-C ended: 128 and the signal's number.
INTERRUPTED = 130

app = typer.Typer(
    name="lateen",
    help="Install, inspect and understand a Lateen service mesh. The API is Istio's.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
manifest = typer.Typer(help="Manifests of an installation.", no_args_is_help=True)

app.command("install", rich_help_panel="Install")(install.install)
app.command("uninstall", rich_help_panel="Install")(install.uninstall)
manifest.command("generate")(install.generate)
app.add_typer(manifest, name="manifest", rich_help_panel="Install")
app.command("kube-inject", rich_help_panel="Install")(kube_inject.kube_inject)
app.command("proxy-status", rich_help_panel="Inspect")(proxy_status.proxy_status)
app.command("ps", hidden=True)(proxy_status.proxy_status)
app.add_typer(proxy_config.app, name="proxy-config", rich_help_panel="Inspect")
app.add_typer(proxy_config.app, name="pc", hidden=True)
app.command("version", rich_help_panel="Inspect")(version.version)
app.command("demo", rich_help_panel="Try")(shop.demo)


def main() -> None:
    """Run a command. A user's mistake ends with one line on stderr and exit code 1, or 64 for wrong usage."""
    try:
        code = app(standalone_mode=False)  # what a command raised as Exit is returned
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as problem:  # noqa: BLE001  # the one place where everything ends up
        sys.exit(_explained(problem))
    if code == INTERRUPTED:  # typer makes this of Ctrl-C
        print("interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _explained(problem: Exception) -> int:
    """Say what went wrong in one line; only bugs deserve a traceback."""
    # typer carries click inside and does not export UsageError; its name is the contract.
    if any(it.__name__ == "UsageError" for it in type(problem).__mro__):
        problem.show()  # type: ignore[attr-defined]
        return 64
    from lateen.cli.connect import user_facing

    if (said := user_facing(problem)) is not None:
        print(f"Error: {said}", file=sys.stderr)
        return 1
    raise problem


if __name__ == "__main__":
    main()
