"""What can be asked on the command line? istioctl's verbs; each group of verbs has a file of its own.

Commands import what they need when they run, so that ``lateen --help`` is instant.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

import typer

from lateen.cli import alias, install, kube_inject, problems, proxy_config, proxy_status, shop, version
from lateen.cli.examples import epilog

#: The exit code of what Ctrl-C ended: 128 and the signal's number.
INTERRUPTED = 130
_PROBLEMS = '"lateen problems" shows what the control plane found wrong'
_STATUS = '"lateen proxy-status" shows whom the control plane serves'
#: istioctl's verbs that are not here yet, or not under this name: what answers the same question.
_INSTEAD = {
    **dict.fromkeys(("analyze", "validate", "x", "experimental", "bug-report"), _PROBLEMS),
    **dict.fromkeys(
        ("precheck", "verify-install"), '"lateen version" and "lateen proxy-status" tell what runs'
    ),
    **dict.fromkeys(("dashboard", "admin"), '"kubectl port-forward" leads to every port of a pod'),
    **dict.fromkeys(("create-remote-secret", "remote-clusters", "waypoint", "ztunnel-config"), _STATUS),
    "upgrade": '"lateen install" of a newer release upgrades what is there',
    "tag": '"lateen install --revision" installs a revision of its own',
    "completion": '"lateen --install-completion" sets it up',
    "options": '"lateen VERB -h" lists the options of each verb',
    "log": '"kubectl exec POD -c istio-proxy -- pilot-agent request POST /logging?level=debug" sets levels',
    "ecds": _STATUS,
    "rootca-compare": '"lateen proxy-config secret" shows the roots of a proxy',
}

app = typer.Typer(
    name="lateen",
    help="Install, inspect and understand a Lateen service mesh. The API is Istio's.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
manifest = typer.Typer(help="Manifests of an installation.", no_args_is_help=True)


def _add(verb: str, panel: str, run: Callable[..., None], *, under: typer.Typer = app) -> None:
    under.command(verb.rpartition(" ")[2], rich_help_panel=panel or None, epilog=epilog(verb))(run)


_add("install", "Install", install.install)
_add("uninstall", "Install", install.uninstall)
_add("manifest generate", "", install.generate, under=manifest)
app.add_typer(manifest, name="manifest", rich_help_panel="Install")
_add("kube-inject", "Install", kube_inject.kube_inject)
_add("proxy-status", "Inspect", proxy_status.proxy_status)
app.command("ps", hidden=True, epilog=epilog("proxy-status"))(proxy_status.proxy_status)
app.add_typer(proxy_config.app, name="proxy-config", rich_help_panel="Inspect")
app.add_typer(proxy_config.app, name="pc", hidden=True)
_add("problems", "Inspect", problems.problems)
_add("version", "Inspect", version.version)
_add("demo", "Try", shop.demo)
_add("alias", "Try", alias.alias)


def main() -> None:
    """Run a command. A user's mistake ends with one line on stderr and exit code 1, or 64 for wrong usage."""
    try:
        code = app(hoisted(sys.argv[1:]), standalone_mode=False)  # what a command raised as Exit is returned
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as problem:  # noqa: BLE001  # the one place where everything ends up
        sys.exit(_explained(problem))
    if code == INTERRUPTED:  # typer makes this of Ctrl-C
        print("interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


#: istioctl takes these anywhere.
_EVERYWHERE = frozenset({"-n", "--namespace", "-i", "--istioNamespace", "-c", "--kubeconfig", "--context"})
_GROUPS = frozenset({"proxy-config", "pc", "manifest"})


def hoisted(argv: Sequence[str]) -> list[str]:
    """The command line with the options that stand before a verb behind it, where they are known."""
    verb: list[str] = []
    options: list[str] = []
    rest = list(argv)
    while rest and not (verb and verb[-1] not in _GROUPS):
        word = rest.pop(0)
        if word in _EVERYWHERE:
            options += [word, *rest[:1]]
            del rest[:1]
        elif word.partition("=")[0] in _EVERYWHERE:
            options.append(word)
        elif word.startswith("-"):
            return list(argv)  # -h, or nothing that we know
        else:
            verb.append(word)
    return [*verb, *options, *rest]


def _explained(problem: Exception) -> int:
    """Say what went wrong in one line; only bugs deserve a traceback."""
    # typer carries click inside and does not export UsageError; its name is the contract.
    if any(it.__name__ == "UsageError" for it in type(problem).__mro__):
        if hint := missing_verb(str(problem)):
            print(f"Error: {hint}", file=sys.stderr)
        else:
            problem.show()  # type: ignore[attr-defined]
        return 64
    from lateen.cli.connect import user_facing

    if (said := user_facing(problem)) is not None:
        print(f"Error: {said}", file=sys.stderr)
        return 1
    raise problem


def missing_verb(said: str) -> str:
    """What to type in place of a verb of istioctl that is not here yet; empty for other mistakes."""
    found = re.search(r"No such command '(.+?)'", said)
    if found and found[1] in _INSTEAD:
        return f'istioctl\'s "{found[1]}" is not here yet; {_INSTEAD[found[1]]}.'
    return ""


if __name__ == "__main__":
    main()
