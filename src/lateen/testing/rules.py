"""The shortest way to write the objects of tests."""

from __future__ import annotations

import textwrap

KINDS = {
    "VirtualService": "networking.istio.io/v1", "DestinationRule": "networking.istio.io/v1",
    "Gateway": "networking.istio.io/v1", "PeerAuthentication": "security.istio.io/v1",
}  # fmt: skip


def rule(kind: str, spec: str, *, name: str = "rule", namespace: str = "default") -> str:
    """An object of Istio from the YAML of its spec."""
    head = f"apiVersion: {KINDS[kind]}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n"
    return head + textwrap.indent(textwrap.dedent(spec), "  ")


def virtual_service(spec: str, *, host: str = "web", **named: str) -> str:
    """A VirtualService; ``spec`` goes on after ``hosts``."""
    return rule("VirtualService", f"hosts: [{host}]\n{textwrap.dedent(spec)}", **named)


def destination_rule(spec: str, *, host: str = "web", **named: str) -> str:
    """A DestinationRule; ``spec`` goes on after ``host``."""
    return rule("DestinationRule", f"host: {host}\n{textwrap.dedent(spec)}", **named)


def authentication(spec: str, **named: str) -> str:
    """A PeerAuthentication."""
    return rule("PeerAuthentication", spec, **named)


SUBSETS = destination_rule("""
    subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
""", name="subsets")  # fmt: skip
