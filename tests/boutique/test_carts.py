"""Do carts keep what is put into them, in memory and in a real redis?"""

from __future__ import annotations

import asyncio
import uuid

import pytest

from boutique.carts import Carts, MemoryCarts, RedisCarts, UnreachableError


@pytest.fixture(params=["memory", "redis"])
def carts(request: pytest.FixtureRequest) -> Carts:
    if request.param == "memory":
        return MemoryCarts()
    return RedisCarts(f"127.0.0.1:{request.getfixturevalue('redis_port')}")


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4()}"


async def test_a_cart_adds_up_and_is_emptied(carts: Carts, user: str) -> None:
    assert await carts.get(user) == {}
    await carts.add(user, "mug", 2)
    await carts.add(user, "jar", 1)
    await carts.add(user, "mug", 3)
    assert await carts.get(user) == {"mug": 5, "jar": 1}
    assert await carts.get(user + "'s neighbour") == {}
    await carts.empty(user)
    await carts.empty(user)
    assert await carts.get(user) == {}


async def test_no_addition_is_lost_when_many_happen_at_once(carts: Carts, user: str) -> None:
    await asyncio.gather(*(carts.add(user, "mug", 1) for _ in range(100)))
    assert await carts.get(user) == {"mug": 100}


async def test_a_name_is_no_key_of_somebody_else(carts: Carts, user: str) -> None:
    strange = f"{user}\n:*{'x' * 300}é"
    await carts.add(strange, "mug", 1)
    assert await carts.get(user) == {}
    assert await carts.get(strange) == {"mug": 1}


async def test_memory_forgets_the_cart_that_was_untouched_longest() -> None:
    carts = MemoryCarts()
    for number in range(10_000):
        await carts.add(str(number), "mug", 1)
    await carts.add("0", "mug", 1)
    await carts.add("one more", "mug", 1)
    assert await carts.get("0") == {"mug": 2}
    assert await carts.get("1") == {}


@pytest.mark.usefixtures("redis_port")
async def test_a_redis_that_is_replaced_is_waited_for_and_one_that_is_gone_is_said() -> None:
    from shop_programs import free_port, redis_server

    port = free_port()
    carts = RedisCarts(f"127.0.0.1:{port}")
    with redis_server(port):
        await carts.add("somebody", "mug", 1)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(carts.get("somebody"))
        await asyncio.sleep(0.1)  # so that it meets the closed port first
        with redis_server(port):
            assert await asked == {}  # the new one knows nothing of the old one's carts, and answers
    with pytest.raises(UnreachableError, match="redis"):
        await carts.get("somebody")
