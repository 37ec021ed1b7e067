"""How does the object of a pod that has ended go away? The node removes it, and nobody else would."""

from __future__ import annotations

import asyncio

from skiff.api import Api
from skiff.errors import ApiError
from skiff.kinds import PODS
from skiff.log import Log

_log = Log()

#: What the API refuses for now is asked for again after so long.
AGAIN_S = 1.0


async def remove(api: Api, namespace: str, name: str, uid: str) -> None:
    """Until it is gone: while nothing can be written, or a webhook refuses, it would be ending for ever."""
    while True:
        try:
            return await api.delete(PODS, namespace, name, uid=uid, grace_seconds=0)
        except ApiError as refused:
            if refused.code in (404, 409):
                return None
            _log.warning(
                "an ended pod could not be removed", pod=f"{namespace}/{name}", reason=refused.message
            )
            await asyncio.sleep(AGAIN_S)
