"""Which advertisement suits what the customer looks at?"""

from __future__ import annotations

import random
from typing import Any

from boutique import catalog, rpc
from boutique.pb import demo_pb2

_AT_MOST = 2
_TEXTS = {
    "OLJCESPC7Z": "Glare Shades: see the rocks first. Ten percent off.",
    "66VCHSJNUP": "The Harbour Jersey is back in stock, in both blues.",
    "1YMWWN1N4O": "Never late for your watch: buy one, the second strap is free.",
    "L9ECAV7KIM": "Deck Shoes: dry feet or your money back.",
    "2ZYFJ3GM2N": "Wet again? The Salt-proof Dryer helps.",
    "0PUK6V6EV0": "Light that hangs level: Lantern Holder.",
    "9SIQT8TOJO": "Three Ration Jars for the price of two.",
    "6E92ZMYYFZ": "Coffee on deck: Captain's Mug.",
}


def main() -> None:
    """Serve until SIGTERM."""
    rpc.run("AdService", {"GetAds": get_ads}, 9555)


async def get_ads(request: Any) -> Any:
    """Advertisements for the categories that were named; any if none fits."""
    wanted = set(request.context_keys)
    fitting = [it.id for it in catalog.WARES if it.id in _TEXTS and wanted.intersection(it.categories)]
    chosen = fitting or list(_TEXTS)
    ads = [
        demo_pb2.Ad(redirect_url=f"/product/{it}", text=_TEXTS[it])
        for it in random.sample(chosen, min(_AT_MOST, len(chosen)))
    ]
    return demo_pb2.AdResponse(ads=ads)


if __name__ == "__main__":
    main()
