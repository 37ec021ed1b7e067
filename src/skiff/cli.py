"""What can be asked on the command line? ``skiff start``, ``stop``, ``restart``, ``status``, ``delete``, ``images``.

The daemon outlives the terminal; commands find it by the file that holds its process id and start time.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Annotated, Any

import typer

from skiff import kubeconfig, lifecycle
from skiff.settings import PORT, Settings

app = typer.Typer(
    name="skiff", help="A Kubernetes for one machine, without containers.", no_args_is_help=True,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

Json = Annotated[str, typer.Option("-o", "--output", help="table or json.")]


@app.command()
def start(
    cpus: Annotated[int, typer.Option(help="CPUs the node says it has; 0: what the machine has.")] = 0,
    memory: Annotated[
        str, typer.Option(help="Memory of the node: 8192 (MiB) or 8g; 0: the machine's.")
    ] = "0",
    port: Annotated[int, typer.Option(help="Port of the API server on 127.0.0.1.")] = PORT,
    realistic: Annotated[
        bool,
        typer.Option(
            "--realistic",
            envvar="SKIFF_REALISTIC",
            help="Be as slow, late and unreliable as a busy cluster: to test controllers.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(envvar="SKIFF_SEED", help="What --realistic draws its chances from.")
    ] = 1,
) -> None:
    """Start the cluster, or find it running; returns when the node is Ready."""
    settings = replace(
        Settings(),
        cpus=cpus,
        memory_mib=_mebibytes(memory),
        api_port=port,
        realistic=seed if realistic else None,
    )
    for said in lifecycle.start(settings):
        typer.echo(said)


@app.command()
def stop() -> None:
    """End every process of the cluster. Objects stay; ``skiff start`` brings them and their pods back."""
    settings = Settings()
    typer.echo("ending all pods" + (" and the daemon" if lifecycle.running(settings) else ""))
    typer.echo("stopped" if lifecycle.stop(settings) else "not running")


@app.command()
def restart() -> None:
    """Another daemon instead of the one that runs, such as after an upgrade. No pod is touched."""
    for said in lifecycle.restart(Settings()):
        typer.echo(said)


@app.command()
def status(output: Json = "table") -> None:
    """Is it running? Exit code 3 when it is not."""
    found: dict[str, Any] = lifecycle.status(Settings())
    if output == "json":
        typer.echo(json.dumps(found, indent=2))
    else:
        for key, value in found.items():
            typer.echo(f"{key + ':':<12}{value}")
    if found["daemon"] != "Running":
        raise typer.Exit(3)


@app.command()
def delete() -> None:
    """Stop, and remove every object, file, network namespace, link and rule."""
    settings = Settings()
    lifecycle.delete(settings)
    typer.echo(f"deleted {settings.home}, its namespaces, links and rules")


images = typer.Typer(
    help="Which images can run here, and as what; docs/guide/images.md tells the format.",
    invoke_without_command=True,
)
app.add_typer(images, name="images")


@images.callback()
def images_begin(context: typer.Context, output: Json = "table") -> None:
    """Which images can run here, and as what; docs/guide/images.md tells the format."""
    if context.invoked_subcommand is None:
        images_list(output)


@images.command("list")
def images_list(output: Json = "table") -> None:
    """The table, your own lines first."""
    from skiff.node.images import rows  # yaml: only here

    found = rows(Settings().home)
    if output == "json":
        typer.echo(json.dumps([{"image": image, "command": command} for image, command in found], indent=2))
        return
    width = max(len(image) for image, _ in found) + 2
    typer.echo(f"{'IMAGE':<{width}}COMMAND")
    for image, command in found:
        typer.echo(f"{image:<{width}}{command}")


@images.command("add")
def images_add(
    image: Annotated[str, typer.Argument(help="The image as pods name it, or a glob.")],
    program: Annotated[list[str], typer.Argument(help="The program and its arguments, after `--`.")],
    path: Annotated[
        list[str] | None, typer.Option(help="A folder that it needs; may be given again.")
    ] = None,
) -> None:
    """Let an image stand for a program of this machine."""
    from skiff.node.images import NAME, add

    typer.echo(f"{Settings().home / NAME}: {add(Settings().home, image, program, path or [])}")


@images.command("remove")
def images_remove(image: Annotated[str, typer.Argument(help="As it is written in the table.")]) -> None:
    """Take a line of your own away."""
    from skiff.node.images import NAME, remove

    if not remove(Settings().home, image):
        typer.echo(f"Error: {Settings().home / NAME} has no line for {image}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{Settings().home / NAME}: the line for {image} is gone")


def _mebibytes(text: str) -> int:
    units = {"g": 1024, "gi": 1024, "gib": 1024, "gb": 1024, "m": 1, "mi": 1, "mib": 1, "mb": 1, "": 1}
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text[len(number) :].lower()
    if not number.isdigit() or unit not in units:
        raise typer.BadParameter(
            f'"{text}" is no amount of memory: write 8192 (MiB) or 8g', param_hint="--memory"
        )
    return int(number) * units[unit]


def main() -> None:
    """Run a command; a user's mistake ends with one line."""
    try:
        code = app(standalone_mode=False)  # what a command raised as Exit is returned
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except (lifecycle.LifecycleError, kubeconfig.ConfigError) as wrong:
        typer.echo(f"Error: {wrong}", err=True)
        sys.exit(1)
    except Exception as problem:
        if type(problem).__name__ == "ImagesError":  # known to who has imported yaml
            typer.echo(f"Error: {problem}", err=True)
            sys.exit(1)
        if any(it.__name__ == "UsageError" for it in type(problem).__mro__):
            problem.show()  # type: ignore[attr-defined]  # typer carries click inside and does not export its errors
            sys.exit(64)
        raise
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
