"""How does a product look? Flat drawings of our own in one palette, 200 by 150 units."""

from __future__ import annotations

from html import escape

_SEA, _NAVY, _SAND, _CORAL, _WHITE, _WOOD, _SUN = (
    "#cfe3ea", "#17324d", "#efe3cc", "#d9573f", "#ffffff", "#9a6b43", "#e9b949",
)  # fmt: skip


def _draw(ground: str, *shapes: str) -> str:
    return f'<rect width="200" height="150" fill="{ground}"/>{"".join(shapes)}'


_DRAWINGS = {
    "OLJCESPC7Z": _draw(  # glasses
        _SAND,
        f'<path d="M22 58q78-16 156 0" fill="none" stroke="{_NAVY}" stroke-width="7" stroke-linecap="round"/>',
        f'<path d="M36 60h52q4 38-26 38t-26-38z" fill="{_NAVY}"/><path d="M112 60h52q4 38-26 38t-26-38z" fill="{_NAVY}"/>',
        f'<path d="M46 68l14 20M122 68l14 20" stroke="{_SEA}" stroke-width="5" stroke-linecap="round"/>',
        f'<path d="M20 122q15-10 30 0t30 0 30 0 30 0 30 0" fill="none" stroke="{_SEA}" stroke-width="6"/>',
    ),
    "66VCHSJNUP": _draw(  # jersey
        _SEA,
        f'<path d="M72 28l-36 18-16 46 24 8 8-20v46h96V80l8 20 24-8-16-46-36-18q-28 16-56 0z" fill="{_NAVY}"/>',
        f'<path d="M52 78h96v12H52zM52 102h96v12H52z" fill="{_WHITE}"/>',
        f'<path d="M72 28q28 16 56 0" fill="none" stroke="{_CORAL}" stroke-width="5"/>',
    ),
    "1YMWWN1N4O": _draw(  # watch
        _SAND,
        f'<path d="M82 8h36l4 34H78zM78 108h44l-4 34H82z" fill="{_WOOD}"/><circle cx="100" cy="75" r="42" fill="{_NAVY}"/>',
        f'<circle cx="100" cy="75" r="33" fill="{_WHITE}"/><path d="M100 75V52M100 75l17 11" stroke="{_NAVY}" stroke-width="5"/>',
        f'<path d="M100 45v5M100 100v5M70 75h5M125 75h5" stroke="{_CORAL}" stroke-width="4"/>',
    ),
    "L9ECAV7KIM": _draw(  # shoes
        _SEA,
        f'<path d="M28 92V58q18 14 34 4l40 26q44 2 66 14v8H28z" fill="{_WOOD}"/>',
        f'<path d="M24 108h148q6 0 6 7t-8 7H32q-8 0-8-8z" fill="{_WHITE}"/>',
        f'<path d="M70 68l-10 10M82 76l-10 10M94 84l-10 10" stroke="{_WHITE}" stroke-width="5" stroke-linecap="round"/>',
    ),
    "2ZYFJ3GM2N": _draw(  # dryer
        _SAND,
        f'<path d="M84 84h30l-8 50H84z" fill="{_NAVY}"/><path d="M52 34h66q32 0 32 28t-32 28H52z" fill="{_CORAL}"/>',
        f'<path d="M34 42h20v40H34z" fill="{_NAVY}"/><circle cx="118" cy="62" r="13" fill="{_WHITE}"/>',
        f'<path d="M24 50q-7 4-14 0M24 62q-7 4-14 0M24 74q-7 4-14 0" fill="none" stroke="{_NAVY}" stroke-width="4"/>',
    ),
    "0PUK6V6EV0": _draw(  # lantern
        _NAVY,
        f'<circle cx="100" cy="82" r="52" fill="{_SUN}" opacity=".22"/><path d="M100 10v20" stroke="{_SUN}" stroke-width="5"/>',
        f'<circle cx="100" cy="82" r="44" fill="none" stroke="{_SUN}" stroke-width="6"/>',
        f'<path d="M90 78h20v40H90z" fill="{_WHITE}"/><path d="M100 46q15 20 0 30-15-10 0-30z" fill="{_SUN}"/>',
    ),
    "LS4PSXUNUM": _draw(  # mills
        _SAND,
        f'<path d="M54 54h32l6 70H48zM114 54h32l6 70h-44z" fill="{_WHITE}"/><path d="M114 54h32l6 70h-44z" fill="{_NAVY}"/>',
        f'<circle cx="70" cy="40" r="15" fill="{_CORAL}"/><circle cx="130" cy="40" r="15" fill="{_CORAL}"/>',
        f'<path d="M24 100q76 26 152 0" fill="none" stroke="{_WOOD}" stroke-width="7" stroke-linecap="round"/>',
    ),
    "9SIQT8TOJO": _draw(  # jar
        _SEA,
        f'<rect x="62" y="44" width="76" height="90" rx="12" fill="{_WHITE}"/>',
        f'<rect x="56" y="24" width="88" height="26" rx="6" fill="{_WOOD}"/>',
        f'<circle cx="86" cy="112" r="13" fill="{_SUN}"/><circle cx="114" cy="112" r="13" fill="{_SUN}"/>',
        f'<circle cx="100" cy="90" r="13" fill="{_SUN}"/>',
    ),
    "6E92ZMYYFZ": _draw(  # mug
        _SAND,
        f'<path d="M134 62q34-4 30 24t-38 22" fill="none" stroke="{_NAVY}" stroke-width="10"/>',
        f'<path d="M50 42h88l10 88H40z" fill="{_NAVY}"/><path d="M50 42h88l1 9H49z" fill="{_WHITE}"/>',
        f'<path d="M94 64v40M82 72h24M74 92q4 16 20 16t20-16" fill="none" stroke="{_WHITE}" stroke-width="5"/>',
    ),
}
_PARCEL = _draw(
    _SEA,
    f'<path d="M50 50h100v78H50z" fill="{_WOOD}"/><path d="M92 50h16v78H92z" fill="{_SAND}"/>',
    f'<path d="M42 36h116v18H42z" fill="{_NAVY}"/>',
)


def inline(product: str, name: str) -> str:
    """A picture to stand in a page; an unknown product is a parcel. Without a name the words beside it say enough."""
    said = f'role="img" aria-label="{escape(name)}"' if name else 'aria-hidden="true"'
    return _picture(product, f'{said} class="picture"')


def file(product: str) -> str:
    """A picture as a file of its own."""
    return _picture(product, 'xmlns="http://www.w3.org/2000/svg"')


def _picture(product: str, attributes: str) -> str:
    return f'<svg viewBox="0 0 200 150" {attributes}>{_DRAWINGS.get(product, _PARCEL)}</svg>'
