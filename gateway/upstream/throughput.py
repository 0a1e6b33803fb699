"""Counts provider requests, estimates latency, and computes `Retry-After` for callers."""

import math
from dataclasses import dataclass, field

from gateway.errors import Limit, Overloaded, RateLimited
from gateway.histogram import Histogram
from gateway.model.records import StatusKey
from gateway.upstream.backlog import Backlog, Capacity
from gateway.upstream.budget.port import Budget, Full

UNTRIED = 1.0
"""Seconds that a request is taken to last before the first one was answered."""

BUSY_MEMORY = 60.0
"""Seconds over which it is averaged how many places are taken."""

LEAST_PLACES = 0.1
"""What is followed gets at least so much of a place, for it has a turn in any case."""

TYPICAL = 0.25
"""Seconds that a request to the provider takes, for a forecast before the first was answered."""

MANY = 100
"""Requests that make a mean which a few slow ones do not move."""

DURATIONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds that a request to the provider takes; its time-out by default is one of them."""

_LIMIT_SENTENCES = {
    Limit.PER_MESSAGE: "This message was asked for as often as the provider allows in a minute.",
    Limit.MASS: "A mass request was sent less than a minute ago.",
    Limit.CONCURRENCY: "All requests that the provider allows at the same time are under way.",
    Limit.UNKNOWN: "The provider's limits allow no request now.",
}


@dataclass(slots=True)
class Tally:
    """What was asked since the start: how long singles and mass requests took, in seconds."""

    single: Histogram = field(default_factory=lambda: Histogram(DURATIONS))
    mass: Histogram = field(default_factory=lambda: Histogram(DURATIONS))
    carried: int = 0
    failures: int = 0


class Throughput:
    """Counts requests, estimates how long the next takes, and tells callers when to come again."""

    def __init__(self, budget: Budget, *, max_wait: float, mass_max_ids: int) -> None:
        self.tally = Tally()
        self.in_flight = 0
        """Requests under way."""
        self.latency = 0.0
        """How long a request usually takes, in seconds: RFC 6298's smoothed time."""
        self._deviation = 0.0
        self._mean = 0.0
        """The same over more requests, for what is told of hundreds of them."""
        self._answered = 0
        self._budget = budget
        self._max_wait = max_wait
        self._mass_max_ids = mass_max_ids
        self._backlog = Backlog()
        self._busy = 0.0
        self._busy_at = 0.0

    def start_by(self, since: float) -> float:
        """The last moment to send what a caller waits for, to have the answer in time."""
        nearly_always = self.latency + 4 * self._deviation
        return since + self._max_wait - min(nearly_always, self._max_wait / 2)

    def ended(self, keys: int, seconds: float, *, mass: bool, failed: bool) -> None:
        """Count a request that was sent."""
        (self.tally.mass if mass else self.tally.single).add(seconds)
        self.tally.carried += keys
        self.tally.failures += failed
        if not failed:
            self._took(seconds)

    def returned(self, key: StatusKey) -> None:
        """Remove a key from the backlog: its caller has retried."""
        self._backlog.returned(key)

    def rate_limited(
        self, full: Full, now: float, *, provider_code: int | None = None
    ) -> RateLimited:
        """The `RateLimited` error for a limit that is reached."""
        wait = None if full.until is None else max(0.0, full.until - now)
        sentence = _LIMIT_SENTENCES[full.limit]
        return RateLimited(
            sentence, limit=full.limit, retry_after=wait, provider_code=provider_code
        )

    def turned_away(self, full: Full, key: StatusKey, now: float, waiting: int) -> RateLimited:
        """`rate_limited` for a turned-away key; for CONCURRENCY, with its turn in the backlog.

        `waiting` is how many other keys wait for a request.
        """
        if full.limit is Limit.CONCURRENCY:
            turn = now + self._turn(key, now, waiting)
            full = full._replace(until=turn if full.until is None else max(turn, full.until))
        return self.rate_limited(full, now)

    def overloaded(self, key: StatusKey, now: float, waiting: int) -> Overloaded:
        """What to tell a caller where too many wait already."""
        wait = self._turn(key, now, waiting)
        return Overloaded("The gateway has too many requests waiting.", retry_after=wait)

    def seconds_for_all(self, keys: int, now: float, *, kept_places: int) -> float:
        """Seconds until so many keys have been asked for that get what nobody else needs.

        `kept_places` are left for callers, and what they and others took lately they will take.
        """
        if not keys:
            return 0.0
        places = self._budget.limits.concurrency - kept_places - self.busy(now)
        capacity = self._capacity(max(places, LEAST_PLACES), self.takes, self._budget, now)
        return capacity.seconds_for(keys) + self.takes

    def seconds_for_turned_away(self, keys: int, budget: Budget, now: float) -> float:
        """Seconds until so many that were turned away are answered, if each comes in its turn.

        `budget` as it will be then.
        """
        capacity = self._capacity(self._budget.limits.concurrency, self.takes, budget, now)
        return capacity.seconds_for(self._backlog.ahead(now) + keys) + self.takes

    @property
    def takes(self) -> float:
        """How long a request takes, for what is told of many."""
        return self._mean or TYPICAL

    def took_place(self, seconds: float, now: float) -> None:
        """A request that was not for what is followed held a place for so long."""
        self._busy = self.busy(now) + seconds / BUSY_MEMORY
        self._busy_at = now

    def busy(self, now: float) -> float:
        """Places that requests of this kind have held lately, on average."""
        return self._busy * math.exp((self._busy_at - now) / BUSY_MEMORY)

    def _took(self, seconds: float) -> None:
        self._answered += 1
        self._mean += (seconds - self._mean) / min(self._answered, MANY)
        if not self.latency:
            self.latency, self._deviation = seconds, seconds / 2
            return
        self._deviation += (abs(self.latency - seconds) - self._deviation) / 4
        self.latency += (seconds - self.latency) / 8

    def _turn(self, key: StatusKey, now: float, waiting: int) -> float:
        """Seconds until there will be room for a key that is turned away."""
        places = max(1, self._budget.places() + self.in_flight)
        capacity = self._capacity(places, self.latency or UNTRIED, self._budget, now)
        return self._backlog.turn_away(key, now, waiting=waiting, capacity=capacity)

    def _capacity(self, places: float, takes: float, budget: Budget, now: float) -> Capacity:
        """What so many places let through from now on."""
        limits = budget.limits
        return Capacity(
            rate=places / takes,
            mass_in=_mass_in(budget, now, takes) if limits.mass else math.inf,
            mass_ids=self._mass_max_ids,
            window=limits.window,
        )


def _mass_in(budget: Budget, now: float, takes: float) -> float:
    """Seconds until the next mass request may go; one under way has a window behind it."""
    full = budget.mass_full()
    if full is None:
        return 0.0
    under_way = takes + budget.limits.window
    return under_way if full.until is None else max(0.0, full.until - now)
