"""Which of a pod's traffic goes through its proxy? The command line of Istio's init container, as rules of nftables.

The rules are one table, replaced as a whole: applied twice they are the same. dataplane.md, section 1, says why each is there.
"""

from __future__ import annotations

import argparse
import ipaddress
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lateen.envoy import wellknown

TABLE = "istio_proxy_nat"
_DNS_PORT = 53


class CaptureError(ValueError):
    """The rules cannot be made or applied; the message says which option or what nft said."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What is captured. ``None`` where all is meant; an empty tuple is nothing."""

    outbound_port: int = wellknown.OUTBOUND_PORT
    inbound_port: int = wellknown.INBOUND_PORT
    tunnel_port: int = 15008
    users: tuple[int, ...] = (1337,)
    groups: tuple[int, ...] = (1337,)
    inbound_ports: tuple[int, ...] | None = None
    inbound_excluded: tuple[int, ...] = ()
    outbound_ranges: tuple[str, ...] | None = None
    outbound_ranges_excluded: tuple[str, ...] = ()
    outbound_ports: tuple[int, ...] = ()
    outbound_excluded: tuple[int, ...] = ()
    interfaces_excluded: tuple[str, ...] = ()
    #: Behind which there are virtual machines: what comes from there is going out of the pod.
    interfaces_virtual: tuple[str, ...] = ()


def main(arguments: Sequence[str]) -> int:
    """``istio-iptables OPTIONS``: the exit code."""
    options = _parser().parse_args(arguments)
    try:
        text = removal() if options.cleanup_only else ruleset(capture(options))
        if options.dry_run:
            print(text)
        else:
            apply(text)
    except CaptureError as wrong:
        print(f"istio-iptables: {wrong}", file=sys.stderr)
        return 1
    return 0


def apply(text: str) -> None:
    """Hand the rules to the kernel, all or none."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        raise CaptureError("the program nft (package nftables) is not in this image") from None
    except subprocess.TimeoutExpired:
        raise CaptureError("nft did not end within 30 s") from None
    if done.returncode:
        hint = ": the container needs the capability NET_ADMIN" if "not permitted" in done.stderr else ""
        raise CaptureError(f"nft refused the rules{hint}: {done.stderr.strip()}")


def removal() -> str:
    """The commands that end all capture; no error when there is none."""
    return f"table ip {TABLE}\ndelete table ip {TABLE}\n"


def ruleset(it: Capture) -> str:
    """The commands for nft: the old table, if any, goes and the new one comes in one transaction."""
    chains = [
        ("inbound", "prerouting", list(_inbound(it))),
        ("outbound", "output", list(_outbound(it))),
    ]
    lines = [f"table ip {TABLE} {{"]
    if it.interfaces_virtual:
        lines += ["  chain virtual {", *(f"    {rule}" for rule in _virtual(it)), "  }"]
    for name, hook, rules in chains:
        lines += [f"  chain {name} {{", f"    type nat hook {hook} priority -100; policy accept;"]
        lines += [f"    {rule}" for rule in rules]
        lines += ["  }"]
    return removal() + "\n".join([*lines, "}", ""])


def _inbound(it: Capture) -> Iterator[str]:
    yield "meta l4proto != tcp return"
    if it.interfaces_excluded:
        yield f"iifname {_quoted(it.interfaces_excluded)} return"
    if it.interfaces_virtual:
        yield f"iifname {_quoted(it.interfaces_virtual)} goto virtual"
    yield f"tcp dport {_set((it.tunnel_port, *it.inbound_excluded))} return"
    if it.inbound_ports is None:
        yield f"meta l4proto tcp redirect to :{it.inbound_port}"
    elif it.inbound_ports:
        yield f"tcp dport {_set(it.inbound_ports)} redirect to :{it.inbound_port}"


def _outbound(it: Capture) -> Iterator[str]:
    yield "meta l4proto != tcp return"
    if it.interfaces_excluded:
        yield f"oifname {_quoted(it.interfaces_excluded)} return"
    if it.outbound_excluded:
        yield f"tcp dport {_set(it.outbound_excluded)} return"
    # From the proxy to its own application.
    yield f'oifname "lo" ip saddr {wellknown.INBOUND_SOURCE} return'
    for kind, owners in (("skuid", it.users), ("skgid", it.groups)):
        if not owners:
            continue
        # The application called its own service: from the proxy it comes back in by the inbound side.
        kept = _set((_DNS_PORT, it.tunnel_port))
        yield (
            f'oifname "lo" ip daddr != 127.0.0.1 meta {kind} {_set(owners)} tcp dport != {kept} '
            f"redirect to :{it.inbound_port}"
        )
        # The application called itself directly.
        yield f'oifname "lo" meta {kind} != {_set(owners)} return'
        yield f"meta {kind} {_set(owners)} return"
    yield from _destinations(it)


def _virtual(it: Capture) -> Iterator[str]:
    """What a virtual machine sends has passed no socket here: it has no owner, and is never the proxy's."""
    if it.outbound_excluded:
        yield f"tcp dport {_set(it.outbound_excluded)} return"
    yield from _destinations(it)


def _destinations(it: Capture) -> Iterator[str]:
    yield "ip daddr 127.0.0.1 return"
    if it.outbound_ranges_excluded:
        yield f"ip daddr {{ {', '.join(it.outbound_ranges_excluded)} }} return"
    if it.outbound_ports:
        yield f"tcp dport {_set(it.outbound_ports)} redirect to :{it.outbound_port}"
    if it.outbound_ranges is None:
        yield f"meta l4proto tcp redirect to :{it.outbound_port}"
    elif it.outbound_ranges:
        ranges = ", ".join(it.outbound_ranges)
        yield f"ip daddr {{ {ranges} }} meta l4proto tcp redirect to :{it.outbound_port}"


def _quoted(names: Sequence[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


def _set(numbers: Sequence[int]) -> str:
    return "{ " + ", ".join(map(str, dict.fromkeys(numbers))) + " }"


def capture(options: argparse.Namespace) -> Capture:
    """The options, understood; CaptureError."""
    if options.mode != "REDIRECT":
        raise CaptureError(f"-m {options.mode}: only REDIRECT is supported")
    everywhere = options.inbound_ports.strip() == "*"
    return Capture(
        outbound_port=_port("-p", options.outbound_port), inbound_port=_port("-z", options.inbound_port),
        tunnel_port=_port("-e", options.tunnel_port),
        users=_numbers("-u", options.users, 2**32 - 1), groups=_numbers("-g", options.groups, 2**32 - 1),
        inbound_ports=None if everywhere else _ports("-b", options.inbound_ports),
        inbound_excluded=_ports("-d", options.inbound_excluded),
        outbound_ranges=_ranges("-i", options.outbound_ranges),
        outbound_ranges_excluded=_ranges("-x", options.outbound_ranges_excluded) or (),
        outbound_ports=_ports("-q", options.outbound_ports), outbound_excluded=_ports("-o", options.outbound_excluded),
        interfaces_excluded=_interfaces("-c", options.interfaces_excluded),
        interfaces_virtual=_interfaces("-k", options.interfaces_virtual),
    )  # fmt: skip


def _listed(text: str) -> list[str]:
    return [it.strip() for it in text.split(",") if it.strip()]


def _port(option: str, text: str) -> int:
    found = _ports(option, text)
    if len(found) != 1:
        raise CaptureError(f'{option} "{text}" is not one port')
    return found[0]


def _ports(option: str, text: str) -> tuple[int, ...]:
    return _numbers(option, text, 65535)


def _numbers(option: str, text: str, largest: int) -> tuple[int, ...]:
    for it in _listed(text):
        if not it.isdigit() or not int(it) <= largest:
            raise CaptureError(f'{option} "{text}": "{it}" is not a number up to {largest}')
    return tuple(dict.fromkeys(int(it) for it in _listed(text)))


def _ranges(option: str, text: str) -> tuple[str, ...] | None:
    """Ranges without those within others, for a set of nft takes no overlaps; None for ``*``.

    Those of IPv6 say nothing: none of it is captured, in any range.
    """
    if text.strip() == "*":
        return None
    try:
        found = [ipaddress.ip_network(it, strict=False) for it in _listed(text)]
    except ValueError as wrong:
        raise CaptureError(f'{option} "{text}": {wrong}: ranges like 10.0.0.0/8 are expected') from wrong
    networks = [it for it in found if isinstance(it, ipaddress.IPv4Network)]
    return tuple(str(it) for it in ipaddress.collapse_addresses(networks))


def _interfaces(option: str, text: str) -> tuple[str, ...]:
    for it in _listed(text):
        if len(it) > 15 or not it.replace("-", "").replace(".", "").replace("_", "").isalnum():
            raise CaptureError(f'{option} "{text}": "{it}" is not the name of an interface')
    return tuple(_listed(text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "istio-iptables", description="Send a pod's traffic through its proxy.", allow_abbrev=False
    )
    for names, default, meaning in (
        ("-p --envoy-port", "15001", "port of the proxy for outbound traffic"),
        ("-z --inbound-capture-port", "15006", "port of the proxy for inbound traffic"),
        ("-e --inbound-tunnel-port", "15008", "port of tunnels; it is never captured"),
        ("-u --proxy-uid", "1337", "users whose traffic is the proxy's own"),
        ("-g --proxy-gid", "1337", "groups whose traffic is the proxy's own"),
        ("-m --istio-inbound-interception-mode", "REDIRECT", "how inbound traffic is captured"),
        ("-b --istio-inbound-ports", "*", "inbound ports to capture, or *"),
        ("-d --istio-local-exclude-ports", "", "inbound ports to leave alone"),
        ("-i --istio-service-cidr", "*", "outbound ranges to capture, or *"),
        ("-x --istio-service-exclude-cidr", "", "outbound ranges to leave alone"),
        ("-q --istio-outbound-ports", "", "outbound ports to capture wherever they are"),
        ("-o --istio-local-outbound-ports-exclude", "", "outbound ports to leave alone"),
        ("-c --istio-exclude-interfaces", "", "interfaces to leave alone"),
        (
            "-k --kube-virt-interfaces",
            "",
            "interfaces of virtual machines: what comes from there is outbound",
        ),
        ("--log_output_level", "", "accepted, there is no log"),
    ):
        parser.add_argument(
            *names.split(), default=default, help=meaning, dest=_DESTINATIONS[names.split()[0]]
        )
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the rules only")
    parser.add_argument("--cleanup-only", action="store_true", help="remove the rules")
    return parser


_DESTINATIONS = {
    "-p": "outbound_port", "-z": "inbound_port", "-e": "tunnel_port", "-u": "users", "-g": "groups", "-m": "mode",
    "-b": "inbound_ports", "-d": "inbound_excluded", "-i": "outbound_ranges", "-x": "outbound_ranges_excluded",
    "-q": "outbound_ports", "-o": "outbound_excluded", "-c": "interfaces_excluded", "-k": "interfaces_virtual",
    "--log_output_level": "log",
}  # fmt: skip
