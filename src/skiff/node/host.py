"""What does a pod need of its node?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from skiff.api import Api, Object
from skiff.net.namespace import NodeNetwork
from skiff.settings import Settings


class Host(Protocol):
    """What a pod needs of its node."""

    api: Api
    settings: Settings
    network: NodeNetwork
    setting_up: asyncio.Semaphore
    token: Callable[[str, str, dict[str, Any]], Awaitable[str]]
    leaving: bool

    async def withdrawn(self, ip: str) -> None: ...
    def services(self) -> dict[tuple[str, str], Object]: ...
    def whole(self) -> dict[str, str]: ...
