"""What do customers do all day? ``USERS`` of them look, choose and buy at ``FRONTEND_ADDR``, each at a person's pace."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from boutique import logs, rpc, settings
from boutique.catalog import WARES

_CURRENCIES = ("EUR", "USD", "JPY", "CAD", "GBP", "TRY")
_CARDS = ("4432801561520454", "4111111111111111", "4012888888881881")
_CITIES = ("Haven", "Westport", "Lee", "Ankerside")
_MOST_USERS = 500
_REQUEST_S = 15.0
#: What was begun when the generator is told to stop may be finished: Kubernetes gives it 5 s.
_GRACE_S = 3.5
#: Latencies kept for one report; more than these users can cause.
_KEPT = 5000


@dataclass
class Tally:
    """What was asked and what came of it, since the last report and since the start."""

    requests: int = 0
    errors: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    all_requests: int = 0
    all_errors: int = 0

    def count(self, seconds: float, problem: str) -> None:
        """One request; ``problem`` is empty if it went well."""
        self.requests, self.all_requests = self.requests + 1, self.all_requests + 1
        if len(self.seconds) < _KEPT:
            self.seconds.append(seconds)
        if problem:
            self.errors, self.all_errors = self.errors + 1, self.all_errors + 1
            self.reasons[problem] += 1

    def report(self, users: int) -> None:
        """One line; then counting starts anew."""
        ordered = sorted(self.seconds) or [0.0]
        logs.say(
            "warning" if self.errors else "info", "load", users=users, requests=self.requests, errors=self.errors,
            p50_ms=_ms(ordered, 0.5), p99_ms=_ms(ordered, 0.99), all_requests=self.all_requests,
            all_errors=self.all_errors, **({"reasons": dict(self.reasons.most_common(3))} if self.errors else {}),
        )  # fmt: skip
        self.requests, self.errors = 0, 0
        self.reasons.clear()
        self.seconds.clear()


class Customer:
    """One of them, with cookies of its own."""

    def __init__(self, address: str, connector: aiohttp.TCPConnector, tally: Tally) -> None:
        self._address, self._tally = address, tally
        # unsafe: the shop may be an IP address, for which cookies are otherwise not kept.
        self._session = aiohttp.ClientSession(
            connector=connector, connector_owner=False, cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=_REQUEST_S), headers={"User-Agent": "boutique-loadgenerator"},
        )  # fmt: skip

    async def close(self) -> None:
        """Leave."""
        await self._session.close()

    async def index(self) -> None:
        """Look at the front page."""
        await self._ask("GET", "/")

    async def set_currency(self) -> None:
        """Choose a currency."""
        await self._ask("POST", "/setCurrency", {"currency_code": random.choice(_CURRENCIES)})

    async def browse_product(self) -> None:
        """Look at a product."""
        await self._ask("GET", f"/product/{random.choice(WARES).id}")

    async def view_cart(self) -> None:
        """Look into the cart."""
        await self._ask("GET", "/cart")

    async def add_to_cart(self) -> None:
        """Look at a product and put some into the cart."""
        chosen = random.choice(WARES).id
        await self._ask("GET", f"/product/{chosen}")
        await self._ask("POST", "/cart", {"product_id": chosen, "quantity": str(random.randint(1, 10))})

    async def checkout(self) -> None:
        """Buy what is in the cart, and something more so that it is not empty."""
        await self.add_to_cart()
        year = time.gmtime().tm_year
        await self._ask("POST", "/cart/checkout", {
            "email": f"customer{random.randrange(1000)}@example.com",
            "street_address": f"{random.randint(1, 99)} Quay Street", "zip_code": str(random.randint(10000, 99999)),
            "city": random.choice(_CITIES), "state": "CA", "country": "United States",
            "credit_card_number": random.choice(_CARDS),
            "credit_card_expiration_month": str(random.randint(1, 12)),
            "credit_card_expiration_year": str(year + random.randint(1, 5)),
            "credit_card_cvv": str(random.randint(100, 999)),
        })  # fmt: skip

    async def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> None:
        """One request, with what it is redirected to; counted, never raised."""
        begun, problem = time.monotonic(), ""
        try:
            async with self._session.request(method, self._address + path, data=form) as response:
                await response.read()
                if response.status >= 400:
                    problem = f"{method} {_shape(path)}: {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as failed:
            problem = f"{method} {_shape(path)}: {type(failed).__name__}"
        self._tally.count(time.monotonic() - begun, problem)


Act = Callable[[Customer], Awaitable[None]]
#: How often each is done, in parts of the whole.
ACTS: dict[Act, int] = {
    Customer.index: 1,
    Customer.set_currency: 2,
    Customer.browse_product: 10,
    Customer.add_to_cart: 2,
    Customer.view_cart: 3,
    Customer.checkout: 1,
}


def main() -> None:
    """Run until SIGTERM."""
    asyncio.run(_generate())


async def _generate() -> None:
    address = settings.text("FRONTEND_ADDR")
    if not address:
        logs.say("error", "the environment has no FRONTEND_ADDR: set it to host:port of the shop")
        raise SystemExit(2)
    url = address if address.startswith(("http://", "https://")) else f"http://{address}"
    users = min(int(settings.number("USERS", 10, least=1)), _MOST_USERS)
    rate = settings.number("RATE", 1, least=0.01)
    wait = _wait_s()
    logs.say("info", "starting", shop=url, users=users, new_users_per_second=rate, wait_seconds=wait)
    stop, tally = rpc.stop_signal(), Tally()
    connector = aiohttp.TCPConnector(limit=users, ttl_dns_cache=10)
    every_s = settings.number("REPORT_SECONDS", 10, least=0.1)
    async with asyncio.TaskGroup() as group:
        crowd = [
            group.create_task(_live(Customer(url.rstrip("/"), connector, tally), number / rate, wait, stop))
            for number in range(users)
        ]
        while not await _stopped_within(stop, every_s):
            tally.report(users)
        _, late = await asyncio.wait(crowd, timeout=_GRACE_S)
        for it in late:
            it.cancel()
    await connector.close()
    tally.report(users)
    logs.say("info", "stopped", requests=tally.all_requests, errors=tally.all_errors)


async def _live(customer: Customer, arrives_s: float, wait: tuple[float, float], stop: asyncio.Event) -> None:
    """Arrive, then act and think in turn until the end; what was begun is finished."""
    acts, weights = list(ACTS), list(ACTS.values())
    try:
        if await _stopped_within(stop, arrives_s):
            return
        await customer.index()
        while not await _stopped_within(stop, random.uniform(*wait)):
            await random.choices(acts, weights)[0](customer)
    finally:
        await customer.close()


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _wait_s() -> tuple[float, float]:
    """Between two acts a customer thinks for one to ten seconds, unless told otherwise."""
    least = settings.number("WAIT_SECONDS_LEAST", 1)
    return least, max(least, settings.number("WAIT_SECONDS_MOST", 10))


def _shape(path: str) -> str:
    return "/product/ID" if path.startswith("/product/") else path


def _ms(ordered: list[float], q: float) -> int:
    return round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))])


if __name__ == "__main__":
    main()
