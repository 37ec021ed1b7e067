"""The ports on which the mesh listens towards pods: who may ask there, and what. ``docs/security/ports.md`` shows it.

``tests/mesh/test_ports.py`` compares it with the sockets of a running mesh: a port that is not listed here is a fault.
"""

from __future__ import annotations

from typing import NamedTuple


class Port(NamedTuple):
    """A listening port of a pod."""

    number: int
    program: str
    #: Reached from other pods, or only from within its own.
    reach: str
    who: str
    what: str
    #: Whether it may be closed, by settings or because nobody needs it.
    optional: bool = False


POD, LOOPBACK = "any pod", "its own pod"
ANYBODY = "anybody"

_PROXY = (
    Port(15000, "Envoy", LOOPBACK, "every process of the pod",
         "Envoy's admin interface, without profiles, heap dumps, taps and runtime changes"),
    Port(15020, "agent", POD, "anybody; orders (`/quitquitquit`, `/drain`, `/rotate`) from 127.0.0.1 alone",
         "`/healthz/ready`, `/metrics`, `/stats/prometheus`; the application's probes under `/app-health/` and "
         "`/app-lifecycle/`, with `user-agent` and `accept` of the asker"),
    Port(15021, "Envoy", POD, ANYBODY, "`GET` and `HEAD /healthz/ready`"),
    Port(15090, "Envoy", POD, ANYBODY, "`GET /stats/prometheus`"),
)  # fmt: skip

SIDECAR = (
    *_PROXY,
    Port(15001, "Envoy", POD, "the pod's own processes, by capture", "what they send; called directly it leads nowhere"),
    Port(15006, "Envoy", POD, "as PeerAuthentication says, by capture",
         "what is sent to the application; called directly it leads nowhere"),
)  # fmt: skip

#: Besides the ports that its Gateway objects open.
GATEWAY = _PROXY

CONTROL_PLANE = (
    Port(0, "istiod", LOOPBACK, "istiod's own front, which ends TLS; the number is chosen at the start", "xDS and CA"),
    Port(8080, "istiod", POD, ANYBODY, "`/ready` and `/live`; `/debug/` from 127.0.0.1 alone"),
    Port(15010, "istiod", POD, "anybody, in the clear", "xDS; closed but in the profile `demo`", optional=True),
    Port(15012, "istiod", POD, "xDS: certificates of the mesh; CA: tokens of service accounts", "xDS and CA, by TLS"),
    Port(15014, "istiod", POD, ANYBODY, "`/metrics`, `/version`; `/debug/` from 127.0.0.1 alone"),
    Port(15017, "istiod", POD, "the API server; anybody who speaks TLS is answered, within bounds", "admission reviews"),
)  # fmt: skip

TABLES = {
    "A pod with a sidecar": SIDECAR,
    "A gateway's pod": GATEWAY,
    "The control plane's pod": CONTROL_PLANE,
}


def page() -> str:
    """The tables as Markdown."""
    lines = [
        "# Which ports listen, and who may ask what?",
        "",
        "Made of `lateen.names.listening`; `tests/mesh/test_ports.py` compares it with a running mesh.",
        "An application's own ports are guarded by PeerAuthentication; a gateway's by what its Gateway objects open.",
        "For a port that should not be reached at all, write a NetworkPolicy.",
    ]
    for title, ports in TABLES.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| port | program | reached from | who may ask | what |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {it.number} | {it.program} | {it.reach} | {it.who} | {it.what} |" for it in sorted(ports)
        ]
    return "\n".join([*lines, ""])
