"""`LinkState`, the report on the provider link: budgets, breaker, queue, counters."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.archive.report import ArchiveReport, ArchiveState
from gateway.clock import Clock
from gateway.histogram import Histogram
from gateway.model.described import Model
from gateway.upstream.breaker import Breaker, BreakerState
from gateway.upstream.budget.port import Budget, Sharing
from gateway.upstream.throughput import Throughput

LAST_ANSWERS = 1000
"""Answers whose ages are remembered."""

AGES = (1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0)
"""Seconds: from just asked to a day, for which a final answer is fresh; a live one is for at most
eleven minutes."""


class MassBudget(Model):
    """Mass requests, for the whole login."""

    limit: int
    """So many a window."""
    left: int
    """So many may go now."""
    free_at: datetime | None = None
    """When the next may go; null: now, or once the one under way has ended."""


class PlacesBudget(Model):
    """Requests at the same time, for the whole login."""

    limit: int
    """So many at a time."""
    left: int
    """So many more may go now."""


class MessageBudget(Model):
    """Requests about one message; each message has its own."""

    limit: int
    """So many a window."""
    spent_messages: int
    """Messages that have none left now."""


class Budgets(Model):
    """What is left of the provider's limits (its page, error 9)."""

    window_seconds: float
    """Length of the windows."""
    mass: MassBudget
    """Mass requests."""
    concurrency: PlacesBudget
    """Requests at the same time."""
    per_message: MessageBudget
    """Requests about one message."""


class Queue(Model):
    """Messages that wait to be asked for."""

    callers: int
    """Those that callers wait for now."""
    background: int
    """Those that are watched, or to be renewed when there is room."""


class BreakerReport(Model):
    """Whether the provider is asked at all."""

    state: BreakerState
    """Is it asked?"""
    reason: str | None = None
    """The code of the problem that opened it."""
    next_probe_at: datetime | None = None
    """When the next request may try."""


class Counters(Model):
    """Since the process began."""

    answers: int
    """Answers given to callers; that a message is not known is one."""
    hits: int
    """Those of them that needed no request."""
    hit_ratio: float | None = None
    """Hits of all answers; null before the first."""
    unanswered: int
    """Questions that ended with a problem of the provider or its limits."""
    requests: int
    """Requests to the provider."""
    singles: int
    """Those for one message."""
    mass: int
    """Those for many."""
    messages_carried: int
    """Messages they asked about, together."""
    failed: int
    """Requests that brought no usable answer."""
    request_seconds: float
    """Seconds they took, together."""
    requests_saved: float | None = None
    """Answers given for each request made; null before the first."""


class Ages(Model):
    """How old the last thousand answers were, in seconds; null before the first."""

    median: float | None = None
    """Half of them were younger."""
    p99: float | None = None
    """All but one in a hundred were younger."""


class LinkState(Model):
    """The state of the link to the provider."""

    budgets: Budgets
    """What may be asked now."""
    sharing: Sharing
    """Whether other processes spend these budgets as well."""
    archive: ArchiveState
    """Whether what is learned is kept."""
    archive_report: ArchiveReport | None = None
    """How the archive is doing; null where it is off."""
    in_flight: int
    """Requests that are under way."""
    queue: Queue
    """What waits to be asked."""
    breaker: BreakerReport
    """Whether anything is asked at all."""
    records: int
    """Messages and lookups that are remembered."""
    ages: Ages
    """How old the answers are."""
    counters: Counters
    """What was asked and answered."""


@dataclass(slots=True)
class HitCounters:
    """What callers got, in numbers.

    What is final grows old by right, so its ages are counted apart from those of the rest (`open`).
    """

    hits: int = 0
    misses: int = 0
    failed: int = 0
    ages: deque[float] = field(default_factory=lambda: deque(maxlen=LAST_ANSWERS))
    final: Histogram = field(default_factory=lambda: Histogram(AGES))
    open: Histogram = field(default_factory=lambda: Histogram(AGES))

    def hit(self, age: float, *, final: bool) -> None:
        self.hits += 1
        self.ages.append(age)
        (self.final if final else self.open).add(age)

    def settled(self, ages: Sequence[float]) -> None:
        """Hits of records that are final."""
        self.hits += len(ages)
        self.ages.extend(ages)
        self.final.add_all(ages)

    def miss(self, age: float, *, final: bool) -> None:
        self.misses += 1
        self.ages.append(age)
        (self.final if final else self.open).add(age)


class Histograms(NamedTuple):
    """What is told of the link as histograms, all in seconds."""

    open_ages: Histogram
    """How old answers were whose state may change."""
    final_ages: Histogram
    """How old those were that are final."""
    single: Histogram
    """How long requests for one message took."""
    mass: Histogram
    """How long mass requests took."""


def describe(
    *,
    budget: Budget,
    breaker: Breaker,
    clock: Clock,
    throughput: Throughput,
    queue: tuple[int, int],
    served: HitCounters,
    records: int,
    archive: ArchiveState,
    archive_report: ArchiveReport | None,
) -> LinkState:
    """Put together what the parts know."""
    ahead = clock.time() - clock.monotonic()
    limits = budget.limits
    reason = breaker.reason
    tally = throughput.tally
    singles, mass = tally.single.count, tally.mass.count
    answers = served.hits + served.misses
    mass_full = budget.mass_full()
    callers, background = queue
    return LinkState(
        budgets=Budgets(
            window_seconds=limits.window,
            mass=MassBudget(
                limit=limits.mass,
                left=budget.mass_left(),
                free_at=_moment(mass_full and mass_full.until, ahead),
            ),
            concurrency=PlacesBudget(limit=limits.concurrency, left=budget.places()),
            per_message=MessageBudget(
                limit=limits.per_message, spent_messages=budget.spent_messages()
            ),
        ),
        sharing=budget.sharing,
        in_flight=throughput.in_flight,
        queue=Queue(callers=callers, background=background),
        breaker=BreakerReport(
            state=breaker.state(clock.monotonic()),
            reason=None if reason is None else reason.code,
            next_probe_at=_moment(breaker.probe_at, ahead),
        ),
        records=records,
        archive=archive,
        archive_report=archive_report,
        ages=Ages(median=_quantile(served.ages, 0.5), p99=_quantile(served.ages, 0.99)),
        counters=Counters(
            answers=answers,
            hits=served.hits,
            hit_ratio=_ratio(served.hits, answers),
            unanswered=served.failed,
            requests=singles + mass,
            singles=singles,
            mass=mass,
            messages_carried=tally.carried,
            failed=tally.failures,
            request_seconds=round(tally.single.sum + tally.mass.sum, 3),
            requests_saved=_ratio(answers, singles + mass),
        ),
    )


def _moment(monotonic: float | None, ahead: float) -> datetime | None:
    return None if monotonic is None else datetime.fromtimestamp(int(monotonic + ahead), UTC)


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _quantile(values: deque[float], share: float) -> float | None:
    if not values:
        return None
    return round(sorted(values)[math.ceil(share * len(values)) - 1], 1)
