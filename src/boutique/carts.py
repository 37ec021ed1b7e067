"""Where do carts lie? In redis if there is an address, else in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Protocol

#: A forgotten cart does not stay for ever.
_KEEP_S = 24 * 3600
_CARTS_IN_MEMORY = 10_000
_TIMEOUT_S = 2.0
#: Within this a redis that is being replaced is waited for; callers wait a little longer.
_PATIENCE_S = 4.0
_CONNECTIONS = 16


class UnreachableError(Exception):
    """The store does not answer."""


class Carts(Protocol):
    """Quantities by product, by user."""

    async def add(self, user: str, product: str, quantity: int) -> None:
        """Put something in."""

    async def get(self, user: str) -> dict[str, int]:
        """All that is in it."""

    async def empty(self, user: str) -> None:
        """Take everything out."""


class MemoryCarts:
    """Carts of one process; the one untouched for longest goes first when there are too many."""

    def __init__(self) -> None:
        self._carts: OrderedDict[str, dict[str, int]] = OrderedDict()

    async def add(self, user: str, product: str, quantity: int) -> None:
        """Put something in."""
        cart = self._carts.setdefault(user, {})
        cart[product] = cart.get(product, 0) + quantity
        self._carts.move_to_end(user)
        if len(self._carts) > _CARTS_IN_MEMORY:
            self._carts.popitem(last=False)

    async def get(self, user: str) -> dict[str, int]:
        """All that is in it."""
        return dict(self._carts.get(user, {}))

    async def empty(self, user: str) -> None:
        """Take everything out."""
        self._carts.pop(user, None)


class RedisCarts:
    """A hash for each user, so that two additions at once both count."""

    def __init__(self, address: str) -> None:
        # Imported here: a cart service without redis starts in half the time.
        from redis import asyncio as redis
        from redis import exceptions
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialBackoff

        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            host, port = address, "6379"
        pool = redis.BlockingConnectionPool(
            host=host, port=int(port), protocol=2, decode_responses=True, max_connections=_CONNECTIONS,
            timeout=_TIMEOUT_S, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S,
            # A pooled connection may have died with the redis before this one, whose successor is still starting.
            retry=Retry(ExponentialBackoff(cap=0.25, base=0.05), 20),
        )  # fmt: skip
        self._redis: Any = redis.Redis(connection_pool=pool)
        self._trouble = (exceptions.RedisError, OSError, TimeoutError)

    async def add(self, user: str, product: str, quantity: int) -> None:
        """Put something in."""
        async with self._redis.pipeline(transaction=True) as both:
            both.hincrby(_key(user), product, quantity)
            both.expire(_key(user), _KEEP_S)
            await self._answer(both.execute())

    async def get(self, user: str) -> dict[str, int]:
        """All that is in it."""
        found = await self._answer(self._redis.hgetall(_key(user)))
        return {product: int(quantity) for product, quantity in found.items()}

    async def empty(self, user: str) -> None:
        """Take everything out."""
        await self._answer(self._redis.delete(_key(user)))

    async def _answer(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await call
        except self._trouble as trouble:
            raise UnreachableError(f"redis: {str(trouble) or 'no answer in time'}") from None


def _key(user: str) -> str:
    return f"cart:{user}"
