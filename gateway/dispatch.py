"""One flight a key for all callers, sent as the planner decides.

A want that comes joins the flight of its key, or starts one. Flights wait for the end of the
current turn of the event loop, so that everything wanted at the same moment is planned together.
A flight belongs to nobody: the caller who began it may leave, and its failure is an answer like
any other, given to those who waited and to nobody after them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from gateway.budget.memory import Full, Lease, MemoryBudget
from gateway.clock import Clock
from gateway.errors import (
    GatewayError,
    InvalidArgument,
    Limit,
    Overloaded,
    RateLimited,
    TransportFailed,
    UpstreamBadAnswer,
    UpstreamTimeout,
)
from gateway.planner import Ask, Want, plan
from gateway.records import DetailLevel, Record, StatusKey
from gateway.smsc.row import Row

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAITING = 10_000
"""Keys that may wait at a time; beyond that a caller is told so at once. Ten full batches."""

_LIMIT_SENTENCES = {
    Limit.PER_MESSAGE: "This message was asked for as often as the provider allows in a minute.",
    Limit.MASS: "A mass request was sent less than a minute ago.",
    Limit.CONCURRENCY: "All requests that the provider allows at the same time are under way.",
    Limit.UNKNOWN: "The provider's limits allow no request now.",
}


class Provider(Protocol):
    """Whoever can be asked; knows nothing of limits."""

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        """The row of each key that was answered; raises a `GatewayError`."""
        ...


@dataclass(slots=True)
class _Flight(Generic[T]):
    """A question about one key, waiting or under way."""

    want: Want
    result: asyncio.Future[T | GatewayError] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, result: T | GatewayError) -> None:
        if not self.result.done():
            self.result.set_result(result)


class Dispatcher(Generic[T]):
    """Turns wants into requests within the limits.

    `learn` is given each answered row with the want it was asked for, and makes of it what the
    callers get; it may raise a `GatewayError`.
    """

    def __init__(
        self,
        provider: Provider,
        budget: MemoryBudget,
        clock: Clock,
        *,
        learn: Callable[[Want, Row], T],
        mass_max_ids: int,
        max_wait: float,
        linger: float,
    ) -> None:
        self._provider = provider
        self._budget = budget
        self._clock = clock
        self._learn = learn
        self._mass_max_ids = mass_max_ids
        self._max_wait = max_wait
        self._linger = linger
        self._waiting: dict[StatusKey, _Flight[T]] = {}
        self._under_way: dict[StatusKey, _Flight[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._pump_is_due = False
        self._closed = False

    async def ask(self, key: StatusKey, detail: DetailLevel, kind: type[Record] | None) -> T:
        """The answer for a key at the level, or at a higher one; raises a `GatewayError`."""
        result = await asyncio.shield(self._flight(key, detail, kind).result)
        if isinstance(result, GatewayError):
            raise result.with_traceback(None)
        return result

    async def aclose(self) -> None:
        """Give up what waits; let what is under way end."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        for flight in self._waiting.values():
            flight.settle(Overloaded("The gateway is shutting down."))
        self._waiting.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _flight(self, key: StatusKey, detail: DetailLevel, kind: type[Record] | None) -> _Flight[T]:
        under_way = self._under_way.get(key)
        if under_way is not None and under_way.want.detail.covers(detail):
            return under_way
        flight = self._waiting.get(key)
        if flight is not None:
            if not flight.want.detail.covers(detail):
                flight.want = replace(flight.want, detail=detail)
            return flight
        if self._closed or len(self._waiting) >= MAX_WAITING:
            reason = "is shutting down" if self._closed else "has too many requests waiting"
            raise Overloaded(f"The gateway {reason}.", retry_after=1)
        deadline = self._clock.monotonic() + self._max_wait
        flight = _Flight[T](Want(key, detail, deadline, kind))
        self._waiting[key] = flight
        self._pump_soon()
        return flight

    def _pump_soon(self) -> None:
        if not self._pump_is_due:
            self._pump_is_due = True
            # Two turns: a caller's fields run as tasks of their own, which start in the next one.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._pump)

    def _pump(self) -> None:
        """Send what may be sent now, give up what can't be, and look again when that changes."""
        self._pump_is_due = False
        now = self._clock.monotonic()
        wants = [flight.want for flight in self._waiting.values()]
        decided = plan(wants, self._budget, now, mass_max_ids=self._mass_max_ids)
        for key, full in decided.refusals:
            self._waiting.pop(key).settle(_refusal(full, now))
        for ask in decided.asks:
            lease = self._budget.take(ask.keys, mass=ask.mass)
            if isinstance(lease, Lease):
                self._send(ask, lease)
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if self._waiting and decided.wake_at is not None:
            self._alarm = asyncio.create_task(self._wake(decided.wake_at - now))

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(max(0.0, seconds))
        self._alarm = None
        self._pump()

    def _send(self, ask: Ask, lease: Lease) -> None:
        flights = [self._waiting.pop(key) for key in ask.keys]
        for flight in flights:
            flight.want = replace(flight.want, detail=ask.detail)
            self._under_way[flight.want.key] = flight
        task = asyncio.create_task(self._fly(ask, lease, flights))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self, ask: Ask, lease: Lease, flights: list[_Flight[T]]) -> None:
        failure: GatewayError | None = None
        rows: dict[StatusKey, Row] = {}
        try:
            rows = dict(await self._provider.ask(ask.keys, ask.detail))
        except GatewayError as error:
            failure = error
        except Exception:
            log.exception("a request to the provider failed in an unforeseen way")
            failure = UpstreamBadAnswer("The provider's answer could not be used.")
        self._end(lease, failure)
        if isinstance(failure, RateLimited):
            failure.retry_after = self._budget.refused(ask.keys, mass=ask.mass)
        for flight in flights:
            key = flight.want.key
            if self._under_way.get(key) is flight:
                del self._under_way[key]
            spoilt = ask.mass and isinstance(failure, InvalidArgument | RateLimited)
            if spoilt and not self._closed and key not in self._waiting:
                # One bad pair, or a mass request of somebody else's, spoils the whole list for the
                # provider. For our callers each key still has its own single request.
                flight.want = replace(flight.want, alone=True)
                self._waiting[key] = flight
            else:
                flight.settle(failure or self._learned(flight.want, rows.get(key)))
        self._pump_soon()

    def _end(self, lease: Lease, failure: GatewayError | None) -> None:
        if isinstance(failure, TransportFailed) and not failure.sent:
            lease.refund()
        else:
            lease.end(linger=self._linger if isinstance(failure, UpstreamTimeout) else 0.0)

    def _learned(self, want: Want, row: Row | None) -> T | GatewayError:
        if row is None:
            return UpstreamBadAnswer("The provider's answer leaves this message out.")
        try:
            return self._learn(want, row)
        except GatewayError as error:
            return error
        except Exception:
            # Whoever waits must hear something, and so must those who wait for the other rows.
            log.exception("an answer of the provider could not be used")
            return UpstreamBadAnswer("The provider's answer could not be used.")


def _refusal(full: Full, now: float) -> RateLimited:
    wait = None if full.until is None else max(0.0, full.until - now)
    if full.limit is Limit.CONCURRENCY and wait is None:
        wait = 1.0
    return RateLimited(_LIMIT_SENTENCES[full.limit], limit=full.limit, retry_after=wait)
