"""What runs in the image ``lateen/proxy``? The pod agent; composition only. Its commands are those of Istio's.

Each command imports what it needs: the agent that lives must stay small.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

_USAGE = """usage: node_agent COMMAND
  proxy sidecar|router [OPTIONS]    run Envoy: certificate, bootstrap, health, metrics, drain
  istio-iptables [OPTIONS]          capture the pod's traffic (init container)
  wait [--timeoutSeconds N]         until the proxy is ready
  request METHOD PATH [--debug-port PORT]   ask Envoy's admin interface, or the agent (15020)
  version
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry of the image."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(words: list[str]) -> int:
    match words:
        case ["proxy", *rest]:
            return _proxy(rest)
        case ["istio-iptables", *rest]:
            from lateen.agent import capture

            return capture.main(rest)
        case ["wait", *rest]:
            from lateen.agent import commands

            return commands.wait(rest)
        case ["request", *rest]:
            from lateen.agent import commands

            return commands.request(rest)
        case ["version", *_]:
            from lateen import __version__

            print(__version__)
            return 0
        case ["help" | "--help" | "-h", *_]:
            print(_USAGE, end="")
            return 0
        case _:
            print(_USAGE, end="", file=sys.stderr)
            return 2


def _proxy(words: Sequence[str]) -> int:
    import asyncio

    from lateen.agent import log, settings
    from lateen.agent.supervisor import Supervisor

    kind, options = _options(words)
    log.start(options.get("log_output_level", ""))
    labels, annotations = (
        path.read_text() if (path := Path(settings.POD_INFO) / name).exists() else ""
        for name in ("labels", "annotations")
    )
    try:
        it = settings.from_environment(kind, options.get("domain", ""), os.environ, labels, annotations)
    except settings.SettingsError as wrong:
        print(f"the agent cannot start: {wrong}", file=sys.stderr)
        return 2
    level = options.get("proxyLogLevel", "warning")
    component_levels = options.get("proxyComponentLogLevel", "misc:error")

    async def live() -> int:
        return await Supervisor(it, envoy_level=level, component_levels=component_levels).live()

    return asyncio.run(live())


def _options(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    """(kind, options) of ``sidecar --domain D --proxyLogLevel=L``; options that are not known do no harm."""
    kind, found, rest = "", dict[str, str](), list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            kind = kind or word
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        found[name] = value
    return kind, found


if __name__ == "__main__":
    main()
