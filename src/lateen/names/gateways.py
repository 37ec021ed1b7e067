"""Which gateway does a name mean? Short names and full ones, as VirtualServices write them."""

from __future__ import annotations

#: The reserved name that stands for all sidecars.
MESH = "mesh"


def full(written: str, namespace: str) -> str:
    """A gateway as an object of ``namespace`` writes it, as ``namespace/name``; ``mesh`` stays.

    Istio still reads ``name.namespace`` with anything behind it, and ``./name``.
    """
    if written == MESH:
        return written
    owner, slash, name = written.partition("/")
    if slash:
        return f"{namespace}/{name}" if owner == "." else written
    name, dot, other = written.partition(".")
    return f"{other.partition('.')[0]}/{name}" if dot else f"{namespace}/{name}"
