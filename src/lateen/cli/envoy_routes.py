"""Which request goes where? The route configurations of a config dump, as istioctl shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lateen.cli.envoy_dump import Config, Row, config_reference, section
from lateen.cli.envoy_listeners import path_of

ROUTE_COLUMNS = ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE")
_SHOWN_DOMAINS = 2


def routes(config: Config) -> list[Mapping[str, Any]]:
    """All route configurations: ports in order, then the others by name."""
    dump = section(config, "RoutesConfigDump")
    found = [
        it["route_config"]
        for part in ("dynamic_route_configs", "static_route_configs")
        for it in dump.get(part, ())
        if "route_config" in it
    ]
    return sorted(found, key=lambda it: _order(str(it.get("name", ""))))


def _order(name: str) -> tuple[int, int, str]:
    return (0, int(name), "") if name.isdigit() else (1, 0, name)


def route_rows(configuration: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each route of each virtual host."""
    name = str(configuration.get("name", ""))
    for host in configuration.get("virtual_hosts", ()):
        domains = _domains([str(it) for it in host.get("domains", ())])
        for it in host.get("routes", ()):
            rule = config_reference(it)
            if not any(action in it for action in ("route", "redirect", "non_forwarding_action")):
                rule = "404" if it.get("direct_response", {}).get("status", 404) == 404 else rule
            yield (name, str(host.get("name", "")), domains, path_of(it.get("match", {})), rule)


def _domains(domains: Sequence[str]) -> str:
    """The shortest forms of the names, two of them; ports and long forms of what is shown go without saying."""
    bare = [it for it in domains if ":" not in it] or list(domains)
    known = set(bare)
    short = [it for it in bare if not _is_long_form(it, known)]
    shown = ", ".join(short[:_SHOWN_DOMAINS])
    return f"{shown} + {len(short) - _SHOWN_DOMAINS} more..." if len(short) > _SHOWN_DOMAINS else shown


def _is_long_form(name: str, known: set[str]) -> bool:
    return any(
        name.endswith(suffix) and name.removesuffix(suffix) in known
        for suffix in (".svc.cluster.local", ".svc")
    )
