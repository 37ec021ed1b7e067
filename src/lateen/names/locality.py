"""Where is it? Region, zone and sub-zone."""

from __future__ import annotations

from typing import NamedTuple


class Locality(NamedTuple):
    """A place; empty parts are unknown."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


NOWHERE = Locality()
