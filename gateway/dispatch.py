"""One flight a key for all who want it, sent as the planner decides.

A want that comes joins the flight of its key, or starts one. Flights wait for the end of the
current turn of the event loop, and a few milliseconds more when others are coming, so that
everything wanted at the same moment is planned together. A flight belongs to nobody: the caller
who began it may leave, and its failure is an answer like any other, given to those who waited and
to nobody after them.
"""

import asyncio
import heapq
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Generic, Protocol, TypeVar

from gateway.backlog import Backlog, Capacity
from gateway.breaker import Breaker, BreakerState
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
from gateway.flight import Flight, Waiter, joined
from gateway.planner import Ask, Pace, Want, Why, fill_up, hopeless, plan
from gateway.records import DetailLevel, Record, StatusKey
from gateway.smsc.row import Row

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K")
V = TypeVar("V")

MAX_WAITING = 10_000
"""Keys that callers may wait for at a time; beyond that a caller is told so at once. Ten full
batches."""

GATHER = 0.003
"""Seconds to wait for more when wants come so close behind each other; a first one never waits."""

BAD_KEYS = 10_000
"""Keys remembered as refused by the provider, each of which would spoil a mass request."""

CALLERS = 10_000
"""Callers remembered, so that they take turns."""

UNTRIED = 1.0
"""Seconds that a request is taken to last before the first one was answered."""

RETAKE = 0.02
"""Seconds until room is tried for again that another process took first."""

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

    async def delete(self, key: StatusKey) -> None:
        """Delete a message; raises a `GatewayError`, `DeleteRefused` among them."""
        ...


@dataclass(slots=True)
class Tally:
    """What was asked since the start. `seconds` is the time all requests took together."""

    singles: int = 0
    mass: int = 0
    carried: int = 0
    seconds: float = 0.0
    failures: int = 0

    @property
    def requests(self) -> int:
        return self.singles + self.mass


@dataclass(eq=False, slots=True)
class _Deletion:
    """A message to delete, who waits for it, and what to call once it is gone."""

    key: StatusKey
    waiter: Waiter[None]
    deleted: Callable[[StatusKey], None]


class _Usual:
    """How long a request usually takes: RFC 6298's smoothed time and deviation, in seconds."""

    def __init__(self) -> None:
        self.smoothed = 0.0
        self._deviation = 0.0

    def took(self, seconds: float) -> None:
        if not self.smoothed:
            self.smoothed, self._deviation = seconds, seconds / 2
            return
        self._deviation += (abs(self.smoothed - seconds) - self._deviation) / 4
        self.smoothed += (seconds - self.smoothed) / 8

    @property
    def at_most(self) -> float:
        """What nearly all stay under."""
        return self.smoothed + 4 * self._deviation


class Dispatcher(Generic[T]):
    """Turns wants into requests within the limits.

    `learn` is given each answered row with the want it was asked for, and makes of it what the
    callers get; it may raise a `GatewayError`. `riders` tells what will be wanted next, most
    urgent first: a mass request that goes anyway takes it along. `in_flight` counts requests.
    """

    def __init__(
        self,
        provider: Provider,
        budget: MemoryBudget,
        breaker: Breaker,
        clock: Clock,
        *,
        learn: Callable[[Want, Row], T],
        riders: Callable[[], Iterable[Want]],
        mass_max_ids: int,
        max_wait: float,
        linger: float,
    ) -> None:
        self.tally = Tally()
        self.in_flight = 0
        self._provider = provider
        self._budget = budget
        self._breaker = breaker
        self._clock = clock
        self._learn = learn
        self._riders = riders
        self._mass_max_ids = mass_max_ids
        self._max_wait = max_wait
        self._linger = linger
        self._waiting: dict[StatusKey, Flight[T]] = {}
        self._later: dict[StatusKey, Flight[T]] = {}
        self._due: list[tuple[float, int, StatusKey]] = []
        self._order = count()
        self._under_way: dict[StatusKey, Flight[T]] = {}
        self._elsewhere: dict[StatusKey, Flight[T]] = {}
        self._deletions: list[_Deletion] = []
        self._bad: dict[StatusKey, None] = {}
        self._served: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._usual = _Usual()
        self._backlog = Backlog()
        self._callers_mass_at = -math.inf
        self._arrived_at = -math.inf
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._pump_is_due = False
        self.is_closed = False

    async def ask(
        self,
        key: StatusKey,
        detail: DetailLevel,
        kind: type[Record] | None,
        *,
        caller: str = "",
        turn: int = 0,
        since: float | None = None,
        has_fallback: bool = False,
    ) -> T:
        """The answer for a key at the level, or at a higher one; raises a `GatewayError`.

        `caller` and `turn` keep the queue fair (see the planner's `Want`). Who has an older record
        to fall back on is not kept waiting longer than `max_wait` by a slow answer either. It is
        counted from `since`, by default now.
        """
        now = self._clock.monotonic()
        since = now if since is None else since
        waiter = Waiter[T](
            start_by=self._start_by(since),
            patience=since + self._max_wait if has_fallback else math.inf,
        )
        flight = self._under_way.get(key)
        if flight is None or not flight.want.detail.covers(detail):
            want = Want(key, detail, Why.CALLER, waiter.start_by, caller, turn, kind=kind)
            flight = self._join(want, now)
        flight.callers.append(waiter)
        if waiter.patience < math.inf:
            self._wake_by(waiter.patience)
        try:
            return _told(await waiter.result)
        except asyncio.CancelledError:
            self._leave(key, waiter)
            raise

    async def watch(self, want: Want) -> T:
        """The answer to a want of the background's, once there was room for it.

        Raises a `GatewayError`; whoever watches then decides when to want it again.
        """
        flight = self._stand_by(want)
        waiter = Waiter[T](math.inf, math.inf)
        flight.watchers.append(waiter)
        try:
            return _told(await waiter.result)
        except asyncio.CancelledError:
            flight.watchers = [other for other in flight.watchers if other is not waiter]
            if not flight.watchers:
                flight.background = None
                self._forget_if_unwanted(flight)
            raise

    def renew(self, want: Want) -> None:
        """Ask when there is room, and tell nobody but `learn`."""
        if len(self._waiting) < MAX_WAITING and not self._breaker.refusal(self._clock.monotonic()):
            self._stand_by(want)

    async def delete(self, key: StatusKey, deleted: Callable[[StatusKey], None]) -> None:
        """Have the provider delete a message, once there is room; raises a `GatewayError`.

        `deleted` is called when it did, even if the caller has left. It counts for the limits like
        a question about the message: the provider's page does not say that it does not.
        """
        now = self._clock.monotonic()
        if self.is_closed:
            raise Overloaded("The gateway is shutting down.", retry_after=1)
        if refusal := self._breaker.refusal(now):
            raise refusal
        if len(self._deletions) >= MAX_WAITING:
            raise self._overloaded(key, now)
        deletion = _Deletion(key, Waiter[None](self._start_by(now), math.inf), deleted)
        self._deletions.append(deletion)
        self._pump_soon()
        try:
            _told(await deletion.waiter.result)
        except asyncio.CancelledError:
            if deletion in self._deletions:
                self._deletions.remove(deletion)
            raise

    def drop(self, key: StatusKey) -> None:
        """Do not ask for a key that nobody waits for; what is under way goes on."""
        for queue in (self._waiting, self._later):
            flight = queue.get(key)
            if flight is not None and not flight.watchers:
                flight.background = None
                self._forget_if_unwanted(flight)

    def answered(self, key: StatusKey, detail: DetailLevel, value: T) -> None:
        """Another process has the answer for a key, at the level: give it to who waits for it."""
        for queue in (self._waiting, self._later, self._elsewhere, self._under_way):
            flight = queue.get(key)
            if flight is not None and detail.covers(flight.want.detail):
                flight.settle(value)
                if queue is self._elsewhere:
                    self._landed(flight)
                if queue is not self._under_way:
                    del queue[key]

    def look_again(self) -> None:
        """Other processes have taken or left room."""
        if self._waiting or self._elsewhere or self._deletions:
            self._pump_soon()

    def planned_at(self, key: StatusKey) -> float | None:
        """When this key is going to be asked for, if that is planned."""
        later = self._later.get(key)
        if later is not None:
            return later.want.due
        is_near = key in self._waiting or key in self._under_way
        return self._clock.monotonic() if is_near else None

    def standing(self) -> tuple[int, int]:
        """How many keys wait for a request that callers want, and how many others."""
        callers = self._callers_waiting()
        background = len(self._waiting) - callers + len(self._later)
        return callers + len(self._deletions), background

    def _callers_waiting(self) -> int:
        return sum(bool(flight.callers) for flight in self._waiting.values())

    async def aclose(self) -> None:
        """Give up what waits; let what is under way end."""
        self.is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        held = (self._waiting, self._later, self._elsewhere)
        for flight in chain.from_iterable(queue.values() for queue in held):
            flight.settle(Overloaded("The gateway is shutting down."))
        for deletion in self._deletions:
            deletion.waiter.settle(Overloaded("The gateway is shutting down.", retry_after=1))
        self._waiting.clear()
        self._later.clear()
        self._deletions.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start_by(self, now: float) -> float:
        """The last moment to send what a caller waits for, to have the answer in time."""
        return now + self._max_wait - min(self._usual.at_most, self._max_wait / 2)

    def _join(self, want: Want, now: float) -> Flight[T]:
        """The flight that is to answer a caller's want; raises what makes that impossible."""
        key = want.key
        if self.is_closed:
            raise Overloaded("The gateway is shutting down.", retry_after=1)
        if refusal := self._breaker.refusal(now):
            raise refusal
        is_asked = self._budget.answered_elsewhere(key, want.detail)
        if not is_asked and (full := hopeless(want, self._budget, now)):
            raise self._refusal(full, now)
        flight = self._waiting.get(key)
        if flight is None:
            if len(self._waiting) >= MAX_WAITING:
                raise self._overloaded(key, now)
            self._backlog.returned(key)
            flight = self._later.pop(key, None) or Flight[T](want)
            self._waiting[key] = flight
        flight.raise_to(want.detail)
        if not flight.callers:
            alone = flight.want.alone or key in self._bad
            flight.want = replace(want, detail=flight.want.detail, alone=alone)
            self._arrived(now, want.deadline)
        elif want.turn < flight.want.turn:
            flight.want = replace(flight.want, caller=want.caller, turn=want.turn)
        return flight

    def _stand_by(self, want: Want) -> Flight[T]:
        """The flight that is to answer a want of the background's."""
        flight = self._under_way.get(want.key)
        if flight is not None and flight.want.detail.covers(want.detail):
            return flight
        flight = self._waiting.get(want.key) or self._later.get(want.key)
        if flight is None:
            if self.is_closed:
                raise Overloaded("The gateway is shutting down.")
            flight = self._later[want.key] = Flight[T](want)
            self._schedule(want)
        elif flight.background is not None and want.due < flight.background.due:
            if not flight.callers:
                flight.want = replace(want, detail=flight.want.detail)
            self._schedule(want)
        flight.background = want
        flight.want = replace(flight.want, alone=flight.want.alone or want.key in self._bad)
        flight.raise_to(want.detail)
        return flight

    def _schedule(self, want: Want) -> None:
        heapq.heappush(self._due, (want.due, next(self._order), want.key))
        if want.due <= self._clock.monotonic():
            self._pump_soon()
        else:
            self._wake_by(want.due)

    def _leave(self, key: StatusKey, waiter: Waiter[T]) -> None:
        """A caller is gone; what nobody wants any more is not asked for."""
        for queue in (self._waiting, self._elsewhere, self._under_way):
            flight = queue.get(key)
            if flight is not None:
                flight.drop(lambda other: other is waiter)
                self._forget_if_unwanted(flight)

    def _forget_if_unwanted(self, flight: Flight[T]) -> None:
        key = flight.want.key
        for queue in (self._waiting, self._later):
            if not flight.is_wanted and queue.get(key) is flight:
                del queue[key]

    def _arrived(self, now: float, deadline: float) -> None:
        """A new want: plan soon, or together with what is coming close behind it."""
        before, self._arrived_at = self._arrived_at, now
        if not self._budget.places():
            # Nothing can go out now; what ends next looks at the queue anyway.
            self._wake_by(min(deadline, self._budget.place_free_at() or math.inf))
        elif self._under_way and now - before <= GATHER and not self._budget.mass_full():
            self._wake_by(now + GATHER)
        else:
            self._pump_soon()

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
        self._tell_the_impatient(now)
        self._bring_due(now)
        self._leave_to_others()
        if self._deletions:
            self._send_deletions(now)
        if self._breaker.refusal(now) is None:
            self._send_planned(now)
        if refusal := self._breaker.refusal(now):
            for flight in self._waiting.values():
                flight.settle(refusal)
            self._waiting.clear()

    def _send_deletions(self, now: float) -> None:
        """Send what there is room for, and tell those for whom there will be none in time."""
        waiting, self._deletions = self._deletions, []
        for deletion in waiting:
            start_by = deletion.waiter.start_by
            if refusal := self._breaker.refusal(now):
                deletion.waiter.settle(refusal)
                continue
            room = self._budget.take([deletion.key], mass=False)
            if isinstance(room, Lease):
                self._begin(self._delete(deletion, room, self._breaker.begin(now)))
            elif start_by <= now or (room.until is not None and room.until > start_by):
                ahead = self._callers_waiting() + len(self._deletions)
                refusal = self._refusal(self._with_turn(room, deletion.key, now, ahead), now)
                deletion.waiter.settle(refusal)
            else:
                self._deletions.append(deletion)
                self._wake_by(start_by if room.until is None else room.until)

    def _send_planned(self, now: float) -> None:
        wants = [flight.want for flight in self._waiting.values()]
        decided = plan(
            wants,
            self._budget,
            now,
            mass_max_ids=self._mass_max_ids,
            pace=Pace(self._usual.smoothed, self._callers_mass_at, self._served),
        )
        waiting = self._callers_waiting() - len(decided.refusals)
        for key, full in decided.refusals:
            self._refuse(key, full, now, waiting)
        asks = decided.asks
        if asks and self._breaker.state(now) is BreakerState.HALF_OPEN:
            asks = [Ask(asks[0].keys[:1], asks[0].detail)]
        for ask in asks:
            self._send(self._filled(ask) if ask.mass else ask, now)
        self._wake_by(decided.wake_at)
        if self._waiting:
            self._wake_by(self._budget.changes_at())
            if any(flight.callers for flight in self._waiting.values()):
                self._budget.queue_up()

    def _tell_the_impatient(self, now: float) -> None:
        """Who can fall back on an older record has waited long enough for a slow answer."""
        for flight in chain(self._under_way.values(), self._elsewhere.values()):
            if not flight.callers:
                continue
            for waiter in flight.drop(lambda waiter: waiter.patience <= now):
                waiter.settle(UpstreamTimeout("The provider is slow to answer."))
            if flight.callers:
                self._wake_by(min(waiter.patience for waiter in flight.callers))

    def _bring_due(self, now: float) -> None:
        """Let the background's flights join the queue when their time has come."""
        while self._due and self._due[0][0] <= now:
            _, _, key = heapq.heappop(self._due)
            flight = self._later.get(key)
            if flight is not None and flight.want.due <= now:
                self._waiting[key] = self._later.pop(key)
        if self._due:
            self._wake_by(self._due[0][0])

    def _leave_to_others(self) -> None:
        """Do not ask what another process asks already; ask again what it got no answer to."""
        for key, flight in list(self._elsewhere.items()):
            if self._budget.answered_elsewhere(key, flight.want.detail) is None:
                del self._elsewhere[key]
                self._landed(flight)
                if flight.is_wanted:
                    self._waiting[key] = joined(flight, self._waiting.get(key))
        for key, flight in list(self._waiting.items()):
            held = self._elsewhere.get(key)
            is_asked = self._budget.answered_elsewhere(key, flight.want.detail)
            if is_asked and held is self._under_way.get(key):
                self._elsewhere[key] = self._under_way[key] = joined(flight, held)
                del self._waiting[key]
        for key, flight in self._elsewhere.items():
            self._wake_by(self._budget.answered_elsewhere(key, flight.want.detail) or math.inf)

    def _refuse(self, key: StatusKey, full: Full, now: float, waiting: int) -> None:
        """Tell the callers whose deadline the limit outlasts; the others go on waiting.

        `waiting` is how many other keys callers wait for.
        """
        flight = self._waiting[key]
        opens_at = -math.inf if full.until is None else full.until
        left = flight.drop(lambda waiter: waiter.start_by <= now or opens_at > waiter.start_by)
        if left:
            refusal = self._refusal(self._with_turn(full, key, now, waiting), now)
            for waiter in left:
                waiter.settle(refusal)
        self._forget_if_unwanted(flight)
        if flight.is_wanted:
            self._wake_by(max(flight.want.deadline, now))

    def _filled(self, mass: Ask) -> Ask:
        room = self._mass_max_ids - len(mass.keys)
        if room <= 0:
            return mass
        standing = (flight.want for flight in self._later.values())
        urgent = heapq.nsmallest(room, standing, key=lambda want: want.due)
        riders = [
            rider
            for rider in chain(urgent, self._riders())
            if rider.key not in self._under_way
            and rider.key not in self._waiting
            and rider.key not in self._bad
        ]
        filled = fill_up(mass, riders, self._budget, mass_max_ids=self._mass_max_ids)
        wants = {rider.key: rider for rider in reversed(riders)}
        for key in filled.keys[len(mass.keys) :]:
            later = self._later.pop(key, None)
            self._waiting[key] = Flight[T](wants[key]) if later is None else later
        return filled

    def _send(self, ask: Ask, now: float) -> None:
        lease = self._budget.take(ask.keys, mass=ask.mass)
        if not isinstance(lease, Lease):
            return
        flights = [self._waiting.pop(key) for key in ask.keys]
        for flight in flights:
            flight.want = replace(flight.want, detail=ask.detail)
            self._under_way[flight.want.key] = flight
            _remember(self._served, flight.want.caller, next(self._order), at_most=CALLERS)
        if ask.mass and any(flight.callers for flight in flights):
            self._callers_mass_at = now
        self._begin(self._fly(ask, lease, flights, self._breaker.begin(now)))

    def _begin(self, request: Coroutine[None, None, None]) -> None:
        self.in_flight += 1
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _delete(self, deletion: _Deletion, lease: Lease, began: float) -> None:
        key = deletion.key
        confirmed = await _outcome(self._budget.confirm(lease, None))
        if confirmed is not True:
            self._withdraw(lease, began)
            if isinstance(confirmed, GatewayError) or self.is_closed:
                deletion.waiter.settle(confirmed or Overloaded("The gateway is shutting down."))
            else:
                self._deletions.append(deletion)
            return
        outcome = await _outcome(self._provider.delete(key))
        failure = self._ended(Ask((key,), DetailLevel.BASIC), lease, began, outcome)
        if failure is None:
            deletion.deleted(key)
        deletion.waiter.settle(failure)
        self._pump_soon()

    async def _fly(self, ask: Ask, lease: Lease, flights: list[Flight[T]], began: float) -> None:
        confirmed = await _outcome(self._budget.confirm(lease, ask.detail))
        if confirmed is not True:
            self._withdraw(lease, began)
            self._put_back(flights, confirmed or None)
            return
        answer = await _outcome(self._provider.ask(ask.keys, ask.detail))
        rows, failure = ({}, answer) if isinstance(answer, GatewayError) else (answer, None)
        # Learned before the request is told to have ended: else other processes would ask as well.
        learned = {
            key: self._learned(flight.want, rows.get(key))
            for key, flight in zip(ask.keys, flights, strict=True)
            if failure is None
        }
        failure = self._ended(ask, lease, began, failure)
        for key, flight in zip(ask.keys, flights, strict=True):
            self._landed(flight)
            if failure is not None and self._goes_again(ask, flight, failure):
                self._waiting[key] = flight
            else:
                flight.settle(failure or learned[key])
        self._pump_soon()

    def _landed(self, flight: Flight[T]) -> None:
        if self._under_way.get(flight.want.key) is flight:
            del self._under_way[flight.want.key]

    def _withdraw(self, lease: Lease, began: float) -> None:
        """A request is not sent after all; what it was to ask is planned anew, a little later."""
        self.in_flight -= 1
        lease.refund()
        self._breaker.withdraw(began)
        self._wake_by(self._clock.monotonic() + RETAKE)

    def _put_back(self, flights: Iterable[Flight[T]], failure: GatewayError | None) -> None:
        for flight in flights:
            key = flight.want.key
            self._landed(flight)
            if failure is not None or self.is_closed:
                flight.settle(failure or Overloaded("The gateway is shutting down."))
            elif flight.is_wanted:
                self._waiting[key] = joined(flight, self._waiting.get(key))

    def _ended(
        self, ask: Ask, lease: Lease, began: float, failure: GatewayError | None
    ) -> GatewayError | None:
        """Account for a request; the failure comes back with what is known of its remedy."""
        now = self._clock.monotonic()
        self.in_flight -= 1
        if isinstance(failure, TransportFailed) and not failure.sent:
            lease.refund()
        else:
            lease.end(linger=self._linger if isinstance(failure, UpstreamTimeout) else 0.0)
        self._count(ask, failure, now - began)
        was_open = self._breaker.reason
        self._breaker.end(began, failure, now)
        if self._breaker.probe_at is not None and self._breaker.reason is failure:
            pause = self._breaker.probe_at - now
            log.warning("the provider is not asked for %.0f s: %s", pause, failure)
        elif was_open and self._breaker.reason is None:
            log.warning("the provider is asked again")
        if isinstance(failure, RateLimited):
            full = self._budget.refused(ask.keys, mass=ask.mass)
            failure = self._refusal(full, now, provider_code=failure.provider_code)
        elif isinstance(failure, InvalidArgument) and not ask.mass:
            _remember(self._bad, ask.keys[0], None, at_most=BAD_KEYS)
        elif failure is not None and type(failure) is type(self._breaker.reason):
            failure = self._breaker.refusal(now)
        return failure

    def _count(self, ask: Ask, failure: GatewayError | None, seconds: float) -> None:
        if ask.mass:
            self.tally.mass += 1
        else:
            self.tally.singles += 1
        self.tally.carried += len(ask.keys)
        self.tally.seconds += seconds
        if failure is None:
            self._usual.took(seconds)
        else:
            self.tally.failures += 1

    def _goes_again(self, ask: Ask, flight: Flight[T], failure: GatewayError) -> bool:
        """May a single request, or a later one, still answer this key's callers?

        One bad pair, or a mass request of somebody else's, spoils the whole list for the provider.
        For our callers each key still has its own single request. A place that somebody else took
        is waited for.
        """
        if self.is_closed or flight.want.key in self._waiting or not flight.callers:
            return False
        if ask.mass and isinstance(failure, InvalidArgument):
            flight.want = replace(flight.want, alone=True)
            return True
        return isinstance(failure, RateLimited) and (ask.mass or failure.limit is Limit.CONCURRENCY)

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

    def _refusal(self, full: Full, now: float, *, provider_code: int | None = None) -> RateLimited:
        wait = None if full.until is None else max(0.0, full.until - now)
        sentence = _LIMIT_SENTENCES[full.limit]
        return RateLimited(
            sentence, limit=full.limit, retry_after=wait, provider_code=provider_code
        )

    def _with_turn(self, full: Full, key: StatusKey, now: float, waiting: int) -> Full:
        """Where it was for want of a place: when the key's turn is going to come."""
        if full.limit is not Limit.CONCURRENCY:
            return full
        turn = now + self._turn_away(key, now, waiting)
        return full._replace(until=turn if full.until is None else max(turn, full.until))

    def _turn_away(self, key: StatusKey, now: float, waiting: int) -> float:
        """Seconds until there will be room for a key that is turned away."""
        takes, window = self._usual.smoothed or UNTRIED, self._budget.limits.window
        capacity = Capacity(
            rate=max(1, self._budget.places() + self.in_flight) / takes,
            mass_in=math.inf if not self._budget.limits.mass else self._mass_in(now, takes),
            mass_ids=self._mass_max_ids,
            window=window,
        )
        return self._backlog.turn_away(key, now, waiting=waiting, capacity=capacity)

    def _mass_in(self, now: float, takes: float) -> float:
        """Seconds until the next mass request may go; one under way has a window behind it."""
        full = self._budget.mass_full()
        if full is None:
            return 0.0
        under_way = takes + self._budget.limits.window
        return under_way if full.until is None else max(0.0, full.until - now)

    def _overloaded(self, key: StatusKey, now: float) -> Overloaded:
        wait = self._turn_away(key, now, self._callers_waiting() + len(self._deletions))
        return Overloaded("The gateway has too many requests waiting.", retry_after=wait)

    def _wake_by(self, moment: float) -> None:
        """Pump at that moment, if nothing else does so before."""
        if self.is_closed or moment >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = moment
        self._alarm = asyncio.create_task(self._wake(moment - self._clock.monotonic()))

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(max(0.0, seconds))
        self._alarm = None
        self._alarm_at = math.inf
        self._pump()


def _remember(memory: dict[K, V], key: K, value: V, *, at_most: int) -> None:
    """The newest come last, and push out the oldest."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > at_most:
        del memory[next(iter(memory))]


async def _outcome(request: Awaitable[R]) -> R | GatewayError:
    """What a request to the provider brought, whatever happened."""
    try:
        return await request
    except GatewayError as error:
        return error
    except Exception:
        log.exception("a request to the provider failed in an unforeseen way")
        return UpstreamBadAnswer("The provider's answer could not be used.")


def _told(result: T | GatewayError) -> T:
    if isinstance(result, GatewayError):
        raise result.with_traceback(None)
    return result
