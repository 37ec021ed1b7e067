"""Has an Envoy what the control plane means it to have? Two config dumps, compared by the versions of their resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lateen.cli.envoy_dump import Config, section

#: What istioctl calls the types; where a dump keeps them.
_TYPES = (
    ("Clusters", "ClustersConfigDump", "dynamic_active_clusters", "cluster"),
    ("Listeners", "ListenersConfigDump", "dynamic_listeners", "listener"),
    ("Routes", "RoutesConfigDump", "dynamic_route_configs", "route_config"),
)
_SHOWN = 10


def compared(meant: Config, had: Config) -> list[str]:
    """Lines as of ``istioctl proxy-status POD``: ``Clusters Match``, or what differs."""
    lines = []
    for name, kind, part, field in _TYPES:
        wanted, found = (
            _versions(section(meant, kind), part, field),
            _versions(section(had, kind), part, field),
        )
        # Envoy has the routes that some listener of it asked for, not all that it could have.
        compared_names = set(found) if name == "Routes" else {*wanted, *found}
        different = sorted(it for it in compared_names if wanted.get(it) != found.get(it))
        if not different:
            lines.append(f"{name} Match{_loaded(section(had, kind), part) if name == 'Routes' else ''}")
            continue
        lines.append(f"{name} Don't Match")
        lines += _differences(different, wanted, found)
    return lines


def _differences(names: list[str], wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for it in names[:_SHOWN]:
        if it not in found:
            yield f"  - {it}: Envoy does not have it"
        elif it not in wanted:
            yield f"  + {it}: the control plane does not mean it to have this"
        else:
            yield f"  ~ {it}: Envoy has version {found[it]}, the control plane {wanted[it]}"
    if len(names) > _SHOWN:
        yield f"  and {len(names) - _SHOWN} more"


def _versions(dump: Mapping[str, Any], part: str, field: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for it in dump.get(part, ()):
        state = it.get("active_state", it)
        if field in state:
            found[str(state[field].get("name", ""))] = str(state.get("version_info", ""))
    return found


def _loaded(dump: Mapping[str, Any], part: str) -> str:
    moments = [str(it["last_updated"]) for it in dump.get(part, ()) if "last_updated" in it]
    return f" (RDS last loaded at {max(moments)})" if moments else ""
