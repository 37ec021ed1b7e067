"""What is for sale? Nine things for people who sail; the ids are those that load generators of the shop know."""

from __future__ import annotations

from typing import NamedTuple


class Ware(NamedTuple):
    """A product; the price in US cents."""

    id: str
    name: str
    description: str
    cents: int
    categories: tuple[str, ...]


WARES = (
    Ware("OLJCESPC7Z", "Glare Shades", "Polarised glasses that float when they go overboard. They will.", 1999,
         ("clothing", "deck")),
    Ware("66VCHSJNUP", "Harbour Jersey", "Ribbed cotton in two blues, cut wide so that it fits over a jacket.", 2450,
         ("clothing",)),
    Ware("1YMWWN1N4O", "Watch for the Watch", "Four hours a turn, a dial that glows, and a strap of old sailcloth.", 10990,
         ("clothing", "navigation")),
    Ware("L9ECAV7KIM", "Deck Shoes", "White soles, brown leather, laces that hold a bowline.", 8999,
         ("clothing", "deck")),
    Ware("2ZYFJ3GM2N", "Salt-proof Dryer", "A small hair dryer for twelve volts: dries hair, maps and matches.", 2495,
         ("cabin",)),
    Ware("0PUK6V6EV0", "Lantern Holder", "Brass ring for a candle or a lamp; hangs level in any swell.", 1899,
         ("cabin", "decor")),
    Ware("LS4PSXUNUM", "Salt and Pepper Gimbal", "Two mills that stand upright while the table does not.", 1849,
         ("galley",)),
    Ware("9SIQT8TOJO", "Bamboo Ration Jar", "Keeps ship's biscuit dry and the cook honest. Holds one litre.", 549,
         ("galley",)),
    Ware("6E92ZMYYFZ", "Captain's Mug", "Enamel, half a litre, broad at the foot so that it stays where it was put.", 899,
         ("galley", "cabin")),
)  # fmt: skip
BY_ID = {it.id: it for it in WARES}


def matching(query: str) -> list[Ware]:
    """Wares with the words in their name or description, whatever the case; none for an empty query."""
    wanted = query.casefold().split()
    if not wanted:
        return []
    return [it for it in WARES if all(word in f"{it.name} {it.description}".casefold() for word in wanted)]
