"""How good is the plan? Minutes of load in virtual time, seeded, for this gateway and its peers.

The provider's rules are enforced by the simulator's own counter, which shares no code with the
gateway's budget. The gateway is the real service, dispatcher, planner and budget; only HTTP and the
formats are left out.

The peers: callers that poll for themselves, each well-behaved on its own (a refused poll is
repeated after a second, three times); and a caching proxy with a fixed lifetime of 15 seconds, one
request a key at a time and four together, which knows nothing of the other limits.

The bound is what no plan can beat. A message may be asked for five times a minute, so what is
known of it is 6 seconds old on average when it is seen every 12. All requests together bring at
most `4 / latency` messages a second as singles and `MASS_MAX_IDS` a minute by mass request; with n
messages to watch, each is seen every `max(12, n / rate)` seconds at best, and its age, evenly
spread between 0 and that, has half of it as its median.
"""

import asyncio
import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Protocol

from gateway.cache import Reading, RecordCache
from gateway.errors import GatewayError, Limit, RateLimited
from gateway.model.records import DetailLevel, Message, StatusKey
from gateway.service import StatusQuery, StatusService
from gateway.simulator import Limits
from gateway.smsc.row import Row
from gateway.store.memory import MemoryStore
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Limits as Budgeted
from gateway.watch import Following, Watches
from tests.bench.virtual import EPOCH, VirtualClock, run

SEED = 20261124
LATENCY = 0.25
MASS_MAX_IDS = 100
LIFETIME = 15.0
MAX_WAIT = 5.0

MINUTES = 10
SERVICES = 40
DASHBOARDS = 6
EXPLORERS = 12
RECONCILERS = 2

WATCHED = (20, 100, 300, 1000)


@dataclass(slots=True)
class Life:
    """What becomes of a message: handed over, and perhaps ended, so many seconds after `began`."""

    began: float
    handed_over: float
    ended: float
    status: int

    def at(self, now: float) -> int:
        age = now - self.began
        if age < self.handed_over:
            return -1
        return 0 if age < self.ended else self.status


class Provider:
    """Messages and the provider's rules."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.limits = Limits(lambda: asyncio.get_running_loop().time())
        self.lives: dict[StatusKey, Life] = {}
        self.requests = 0

    def send(self, *, forever: bool = False) -> StatusKey:
        """A new message: lognormal delivery; some fail, some never arrive."""
        key = StatusKey("79990000001", len(self.lives) + 1)
        fate = self.rng.random()
        ended = self.rng.lognormvariate(math.log(8), 1.3)
        if forever or fate < 0.06:
            ended = math.inf
        status = 20 if 0.06 <= fate < 0.1 else 1
        began = asyncio.get_running_loop().time()
        handed_over = self.rng.expovariate(0.5)
        self.lives[key] = Life(began, handed_over, handed_over + ended, status)
        return key

    async def delete(self, key: StatusKey) -> None:
        raise NotImplementedError(key)

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        del detail
        loop = asyncio.get_running_loop()
        self.requests += 1
        on_its_way = LATENCY * self.rng.lognormvariate(-0.125, 0.5) / 2
        await asyncio.sleep(on_its_way)
        refused = self.limits.admit(
            "login", [(key.phone, key.id) for key in keys], mass=len(keys) > 1
        )
        rows = {key: self._row(key, loop.time()) for key in keys}
        await asyncio.sleep(on_its_way)
        self.limits.leave("login")
        if refused:
            raise RateLimited(limit=Limit.UNKNOWN, provider_code=9)
        return rows

    def _row(self, key: StatusKey, now: float) -> Row:
        life = self.lives[key]
        fields = {"status": str(life.at(now)), "send_timestamp": str(int(EPOCH + life.began))}
        return Row({**fields, "type": "0"})


class Peer(Protocol):
    """Who answers callers: the moment each key was observed, None where it could not be told."""

    async def get(self, keys: Sequence[StatusKey], caller: str) -> list[float | None]: ...

    def is_final(self, key: StatusKey) -> bool: ...


class Gateway:
    """The real thing."""

    def __init__(self, provider: Provider) -> None:
        self.clock = VirtualClock()
        self.service = StatusService(
            provider,
            MemoryBudget(Budgeted(), self.clock.monotonic),
            RecordCache(MemoryStore(100_000), self.clock, Reading(UTC)),
            self.clock,
            mass_max_ids=MASS_MAX_IDS,
            max_wait=MAX_WAIT,
            linger=10,
        )
        self.watches = Watches(self.service, self.clock)

    async def get(self, keys: Sequence[StatusKey], caller: str) -> list[float | None]:
        want = StatusQuery(DetailLevel.BASIC, Message, caller=caller)
        answers = await self.service.get_many(list(keys), want)
        return [
            None if isinstance(answer, GatewayError) else self.observed_at(key)
            for key, answer in zip(keys, answers, strict=True)
        ]

    def observed_at(self, key: StatusKey) -> float | None:
        known = self.service.peek(key)
        return None if known is None else known.observed_at - EPOCH

    def is_final(self, key: StatusKey) -> bool:
        known = self.service.peek(key)
        return bool(known and known.record and known.record.is_final)

    async def watch(self, key: StatusKey) -> None:
        async for _ in self.watches.follow(key, Following(DetailLevel.BASIC)):
            pass


class Itself:
    """Each caller asks for himself: one message alone, several as lists."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.seen: dict[StatusKey, tuple[float, bool]] = {}

    async def get(self, keys: Sequence[StatusKey], caller: str) -> list[float | None]:
        del caller
        answers: list[float | None] = []
        for first in range(0, len(keys), MASS_MAX_IDS):
            answers += await self._chunk(keys[first : first + MASS_MAX_IDS])
        return answers

    async def _chunk(self, keys: Sequence[StatusKey]) -> list[float | None]:
        for _ in range(3):
            try:
                rows = await self.provider.ask(keys, DetailLevel.BASIC)
            except RateLimited:
                await asyncio.sleep(1)
                continue
            now = asyncio.get_running_loop().time()
            for key, row in rows.items():
                self.seen[key] = now, int(row.fields["status"]) > 0
            return [now] * len(keys)
        return [None] * len(keys)

    def observed_at(self, key: StatusKey) -> float | None:
        return self.seen[key][0] if key in self.seen else None

    def is_final(self, key: StatusKey) -> bool:
        return key in self.seen and self.seen[key][1]


class Proxy(Itself):
    """A cache of answers with a fixed lifetime in front of the provider."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self.places = asyncio.Semaphore(4)
        self.flights: dict[tuple[StatusKey, ...], asyncio.Task[list[float | None]]] = {}

    async def get(self, keys: Sequence[StatusKey], caller: str) -> list[float | None]:
        del caller
        cold = tuple(key for key in keys if not self._is_fresh(key))
        for first in range(0, len(cold), MASS_MAX_IDS):
            chunk = cold[first : first + MASS_MAX_IDS]
            flight = self.flights.get(chunk)
            if flight is None:
                flight = self.flights[chunk] = asyncio.create_task(self._fly(chunk))
            await flight
        return [self.seen[key][0] if self._is_fresh(key) else None for key in keys]

    async def _fly(self, keys: tuple[StatusKey, ...]) -> list[float | None]:
        async with self.places:
            answers = await self._chunk(keys)
        del self.flights[keys]
        return answers

    def _is_fresh(self, key: StatusKey) -> bool:
        now = asyncio.get_running_loop().time()
        return key in self.seen and now - self.seen[key][0] < LIFETIME


@dataclass(slots=True)
class Figures:
    """What callers got. Ages and waits in seconds; ages of messages not yet known to be final."""

    ages: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    asks: dict[StatusKey, list[float]] = field(default_factory=dict)

    async def ask(self, peer: Peer, keys: Sequence[StatusKey], caller: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        live = [key for key in keys if not peer.is_final(key)]
        answers = dict(zip(keys, await peer.get(keys, caller), strict=True))
        now = loop.time()
        self.waits.append(now - began)
        for key, observed_at in answers.items():
            if observed_at is None:
                self.refused += 1
                continue
            self.answered += 1
            if key in live:
                self.ages.append(now - observed_at)
        for key in live:
            self.asks.setdefault(key, []).append(began)


async def _mixed(peer: Peer, provider: Provider, rng: random.Random) -> Figures:
    """Services that follow what they send, dashboards, explorers, and those who reconcile."""
    figures = Figures()
    loop = asyncio.get_running_loop()
    end = MINUTES * 60.0

    async def service(number: int) -> None:
        while loop.time() < end:
            key = provider.send()
            until = loop.time() + 120
            while loop.time() < min(until, end) and not peer.is_final(key):
                await figures.ask(peer, [key], f"service {number}")
                await asyncio.sleep(4)
            await asyncio.sleep(rng.expovariate(1 / 10))

    async def regularly(name: str, pause: float, count: int, *, latest: bool) -> None:
        await asyncio.sleep(rng.uniform(0, pause))
        while loop.time() < end:
            known = list(provider.lives)
            keys = known[-count:] if latest else rng.sample(known, min(count, len(known)))
            if keys:
                await figures.ask(peer, keys, name)
            await asyncio.sleep(pause)

    await asyncio.gather(
        *(service(number) for number in range(SERVICES)),
        *(regularly(f"dashboard {n}", 10, 150, latest=True) for n in range(DASHBOARDS)),
        *(regularly(f"explorer {n}", 7, 1, latest=False) for n in range(EXPLORERS)),
        *(regularly(f"reconciler {n}", 90, 300, latest=False) for n in range(RECONCILERS)),
    )
    return figures


def _bound_of_answers(asks: Mapping[StatusKey, Sequence[float]]) -> Figures:
    """Every message by itself, under no rule but five a minute: seen anew every 12 seconds."""
    best = Figures()
    for moments in asks.values():
        seen = -math.inf
        for moment in sorted(moments):
            if moment - seen >= 12:
                seen = moment
                best.answered += 1
            best.ages.append(moment - seen)
    return best


async def _watched(peer: Gateway | Itself, provider: Provider, count: int) -> list[float]:
    """Ages of what is known of messages that stay on their way, sampled each second."""
    keys = [provider.send(forever=True) for _ in range(count)]

    async def poll(key: StatusKey) -> None:
        if isinstance(peer, Gateway):
            await peer.watch(key)
            return
        await asyncio.sleep(provider.rng.uniform(0, 12.5))
        while True:
            await peer.get([key], "")
            await asyncio.sleep(12.5)

    polls = [asyncio.create_task(poll(key)) for key in keys]
    ages = []
    loop = asyncio.get_running_loop()
    warm_up = 60 + 2 * count / (4 / LATENCY)
    while loop.time() < warm_up + 240:
        await asyncio.sleep(1)
        if loop.time() > warm_up:
            for key in keys:
                observed_at = peer.observed_at(key)
                ages.append(loop.time() - observed_at if observed_at is not None else loop.time())
    for task in polls:
        task.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    return ages


_PEERS: dict[str, type[Gateway | Itself]] = {
    "each for itself": Itself,
    "caching proxy": Proxy,
    "this gateway": Gateway,
}


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1]


def _print_mixed() -> None:
    print(
        f"{MINUTES} minutes: {SERVICES} services, {DASHBOARDS} dashboards of 150, {EXPLORERS} "
        f"explorers, {RECONCILERS} reconcilers of 300; provider latency {LATENCY} s"
    )
    print(
        f"  {'':<16}{'requests':>9}{'breaches':>9}{'answers':>9}{'refused':>9}"
        f"{'age p50':>9}{'age p99':>9}{'wait p50':>9}{'wait p99':>9}{'longest':>9}{'CPU s':>7}"
    )
    asks: dict[StatusKey, list[float]] = {}
    for name, make in _PEERS.items():

        async def main(make: type[Gateway | Itself] = make) -> tuple[Figures, Provider]:
            provider = Provider(random.Random(SEED))
            peer = make(provider)
            return await _mixed(peer, provider, random.Random(SEED + 1)), provider

        began = time.process_time()
        figures, provider = run(main())
        seconds = time.process_time() - began
        age, wait = _quantiles(figures.ages), _quantiles(figures.waits)
        share = figures.refused / (figures.refused + figures.answered)
        print(
            f"  {name:<16}{provider.requests:>9,}{provider.limits.refused.total():>9,}"
            f"{figures.answered:>9,}{share:>9.2%}{age[0]:>9.1f}{age[1]:>9.1f}"
            f"{wait[0]:>9.2f}{wait[1]:>9.2f}{max(figures.waits):>9.2f}{seconds:>7.1f}"
        )
        asks = figures.asks
    best = _bound_of_answers(asks)
    age = _quantiles(best.ages)
    print(f"  {'the bound':<16}{'':>36}{age[0]:>9.1f}{age[1]:>9.1f}   (no limit but five a minute)")


def _print_watched() -> None:
    print("messages on their way, watched: how old is what is known of them")
    print(
        f"  {'watched':<9}{'':<16}{'requests/min':>13}{'breaches':>9}"
        f"{'age p50':>9}{'age p99':>9}{'to bound':>9}"
    )
    for count in WATCHED:
        rate = 4 / LATENCY + (MASS_MAX_IDS - 1) / 60
        period = max(12.0, count / rate)
        for name, make in _PEERS.items():

            async def main(
                make: type[Gateway | Itself] = make, count: int = count
            ) -> tuple[list[float], Provider, float]:
                provider = Provider(random.Random(SEED))
                ages = await _watched(make(provider), provider, count)
                return ages, provider, asyncio.get_running_loop().time() / 60

            ages, provider, minutes = run(main())
            median, p99 = _quantiles(ages)
            print(
                f"  {count:<9}{name:<16}{provider.requests / minutes:>13,.0f}"
                f"{provider.limits.refused.total():>9,}{median:>9.1f}{p99:>9.1f}"
                f"{median / (period / 2):>9.2f}"
            )
        print(f"  {count:<9}{'the bound':<16}{'':>22}{period / 2:>9.1f}{period:>9.1f}{1:>9.2f}")


def main() -> None:
    _print_mixed()
    _print_watched()
