"""`Dispatcher`: sends what the planner decides; concurrent requests for a key share one flight.

A fetch request joins the flight of its key, or starts one. Flights wait for the end of the current
turn of the event loop, and a few milliseconds more when others are coming, so that everything that
is requested at the same moment is planned together. A flight belongs to nobody: the caller who
began it may leave, and its failure is an answer like any other, given to those who waited and to
nobody after them.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Generic, Protocol, TypeVar

from gateway.clock import Clock
from gateway.errors import (
    GatewayError,
    InvalidArgument,
    Limit,
    Overloaded,
    RateLimited,
    UpstreamBadAnswer,
    UpstreamTimeout,
)
from gateway.model.records import DetailLevel, Record, StatusKey
from gateway.smsc.row import Row
from gateway.upstream.alarm import Alarm
from gateway.upstream.board import Board
from gateway.upstream.breaker import Breaker, BreakerState
from gateway.upstream.budget.port import Budget, Full, Lease, Sharing
from gateway.upstream.deletions import Deletions
from gateway.upstream.flight import Flight, Waiter, answer_of
from gateway.upstream.forecast import NOTHING, Outlook, foresee
from gateway.upstream.inflight import InFlight, outcome_of
from gateway.upstream.planner import (
    FOLLOW_TURN,
    KEPT_PLACES,
    Ask,
    FetchRequest,
    Pace,
    Why,
    fill_up,
    hopeless,
    plan,
)
from gateway.upstream.throughput import Throughput

log = logging.getLogger(__name__)

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
K = TypeVar("K")
V = TypeVar("V")

MAX_WAITING = 10_000
"""Keys that callers may wait for at a time; beyond that a caller is told so at once. Ten full
batches."""

GATHER = 0.003
"""Seconds to wait for more when fetch requests come so close together; a first one never waits."""

REFUSED_KEYS = 10_000
"""Keys remembered as refused by the provider, each of which would spoil a mass request."""

CALLERS = 10_000
"""Callers remembered, so that they take turns."""


class Provider(Protocol):
    """Whoever can be asked; knows nothing of limits."""

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        """The row of each key that was answered; raises a `GatewayError`."""
        ...

    async def delete(self, key: StatusKey) -> None:
        """Delete a message; raises a `GatewayError`, `DeleteRefused` among them."""
        ...


class Followed(Protocol[T_contra]):
    """Keys that are followed in bulk: too many for a flight of each to wait here."""

    def due(
        self, now: float, at_most: int, is_free: Callable[[StatusKey], bool]
    ) -> list[FetchRequest]:
        """Those to be asked for first, at this moment, of those that may be asked for."""
        ...

    def next_due(self) -> float:
        """When the next is due, which may be long ago; never: infinity."""
        ...

    def sent(self, key: StatusKey) -> None:
        """A request goes out for a key, which may be none of them."""
        ...

    def answered(
        self, key: StatusKey, result: T_contra | GatewayError | None, *, mass: bool
    ) -> None:
        """It was answered; None: it was not sent after all. `mass`: together with others."""
        ...


class Dispatcher(Generic[T]):
    """Turns fetch requests into requests to the provider, within its limits.

    `merge` is given each answered row with its fetch request, and makes of it what the
    callers get; it may raise a `GatewayError`. `riders` tells what will be wanted next, most
    urgent first: a mass request that goes anyway takes it along.
    """

    def __init__(
        self,
        provider: Provider,
        budget: Budget,
        breaker: Breaker,
        clock: Clock,
        *,
        merge: Callable[[FetchRequest, Row], T],
        riders: Callable[[], Iterable[FetchRequest]],
        mass_max_ids: int,
        max_wait: float,
        linger: float,
    ) -> None:
        self._provider = provider
        self._budget = budget
        self._breaker = breaker
        self._clock = clock
        self._merge = merge
        self._riders = riders
        self._mass_max_ids = mass_max_ids
        self._max_wait = max_wait
        self.throughput = Throughput(budget, max_wait=max_wait, mass_max_ids=mass_max_ids)
        self.is_closed = False
        self._board = Board[T]()
        self._alarm = alarm = Alarm(clock, self._pump)
        self._in_flight = InFlight(budget, breaker, clock, self.throughput, alarm, linger=linger)
        self._deletions = Deletions(
            provider, budget, breaker, self.throughput, self._in_flight, alarm
        )
        self._refused_keys: dict[StatusKey, None] = {}
        self._served: dict[str, int] = {}
        self._order = count()
        self._callers_mass_at = -math.inf
        self.followed: Followed[T] | None = None
        self._offered: dict[StatusKey, FetchRequest] = {}
        """Followed keys that may be sent in this turn."""
        self._followed_at = -math.inf
        self._arrived_at = -math.inf

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

        `caller` and `turn` keep the queue fair (see `FetchRequest`). Who has an older record to
        fall back on is not kept waiting longer than `max_wait` by a slow answer either. It is
        counted from `since`, by default now.
        """
        now = self._clock.monotonic()
        since = now if since is None else since
        waiter = Waiter[T](
            start_by=self.throughput.start_by(since),
            patience=since + self._max_wait if has_fallback else math.inf,
        )
        flight = self._board.sent(key)
        if flight is None or not flight.fetch.detail.covers(detail):
            fetch = FetchRequest(key, detail, Why.CALLER, waiter.start_by, caller, turn, kind=kind)
            flight = self._join(fetch, now)
        flight.join(waiter)
        if waiter.patience < math.inf:
            self._alarm.set(waiter.patience)
        try:
            return answer_of(await waiter.result)
        except asyncio.CancelledError:
            self._board.leave(key, waiter)
            raise

    async def watch(self, fetch: FetchRequest) -> T:
        """The answer to a fetch request of the background's, once there was room for it.

        Raises a `GatewayError`; whoever watches then decides when to retry.
        """
        flight = self._stand_by(fetch)
        waiter = Waiter[T](math.inf, math.inf)
        flight.watchers.append(waiter)
        try:
            return answer_of(await waiter.result)
        except asyncio.CancelledError:
            flight.watchers = [other for other in flight.watchers if other is not waiter]
            if not flight.watchers:
                flight.background = None
                self._board.forget_if_unwanted(flight)
            raise

    def renew(self, fetch: FetchRequest) -> None:
        """Queue a background refresh; its answer goes to `merge` alone."""
        if len(self._board.waiting) < MAX_WAITING and not self._breaker.refusal(
            self._clock.monotonic()
        ):
            self._stand_by(fetch)

    async def delete(self, key: StatusKey, deleted: Callable[[StatusKey], None]) -> None:
        """Have the provider delete a message, once there is room; raises a `GatewayError`.

        `deleted` is called when it did, even if the caller has left.
        """
        now = self._clock.monotonic()
        if self.is_closed:
            raise Overloaded("The gateway is shutting down.", retry_after=1)
        if refusal := self._breaker.refusal(now):
            raise refusal
        if len(self._deletions) >= MAX_WAITING:
            raise self._overloaded(key, now)
        await self._deletions.delete(key, self.throughput.start_by(now), deleted)

    def drop(self, key: StatusKey) -> None:
        """Do not ask for a key that nobody waits for; what is under way goes on."""
        flight = self._board.queued(key)
        if flight is not None and not flight.watchers:
            flight.background = None
            self._board.forget_if_unwanted(flight)

    def answered(self, key: StatusKey, detail: DetailLevel, value: T) -> None:
        """Give another process's answer to the flights of a key that it is detailed enough for."""
        for flight in list(self._board.of(key)):
            if detail.covers(flight.fetch.detail):
                self._board.settle(flight, value)

    def look_again(self) -> None:
        """Other processes have taken or left room."""
        is_followed = self.followed is not None
        if self._board.waiting or self._board.all_elsewhere() or self._deletions or is_followed:
            self._alarm.soon()

    def planned_at(self, key: StatusKey) -> float | None:
        """When this key is going to be asked for, if that is planned."""
        later = self._board.later(key)
        if later is not None:
            return later.fetch.due
        return self._clock.monotonic() if self._board.has(key) else None

    def seconds_for_followed(self, keys: int) -> float:
        """Seconds until so many followed keys have been asked for."""
        kept = min(KEPT_PLACES, self._budget.limits.concurrency - 1)
        return self.throughput.seconds_for_all(keys, self._clock.monotonic(), kept_places=kept)

    async def forecast(
        self, keys: Iterable[StatusKey], detail: DetailLevel, caller: str
    ) -> Outlook:
        """What would become of these keys if a caller asked for them now; nothing is begun."""
        if self.is_closed or self._budget.sharing is Sharing.LOST:
            return NOTHING
        now = self._clock.monotonic()
        start_by = self.throughput.start_by(now)
        wanted = [
            FetchRequest(
                key, detail, Why.CALLER, start_by, caller, turn, alone=key in self._refused_keys
            )
            for turn, key in enumerate(keys)
        ]
        return await foresee(
            wanted,
            self._board,
            self._budget,
            self._breaker,
            self.throughput,
            now=now,
            pace=Pace(self.throughput.latency, self._callers_mass_at, self._served),
            mass_max_ids=self._mass_max_ids,
            most_waiting=MAX_WAITING,
        )

    def standing(self) -> tuple[int, int]:
        """Queue lengths: keys and deletions that callers wait for, and background keys."""
        return self._board.callers + len(self._deletions), self._board.background

    async def aclose(self) -> None:
        """Give up what waits; let what is under way end."""
        self.is_closed = True
        self._alarm.stop()
        for flight in self._board.clear():
            flight.settle(Overloaded("The gateway is shutting down."))
        self._deletions.close()
        await self._in_flight.aclose()

    def _join(self, fetch: FetchRequest, now: float) -> Flight[T]:
        """The flight that is to answer a caller; raises what makes that impossible."""
        key = fetch.key
        if self.is_closed:
            raise Overloaded("The gateway is shutting down.", retry_after=1)
        if refusal := self._breaker.refusal(now):
            raise refusal
        is_asked = self._budget.answered_elsewhere(key, fetch.detail)
        if not is_asked and (full := hopeless(fetch, self._budget, now)):
            raise self.throughput.rate_limited(full, now)
        flight = self._board.waiting.get(key)
        if flight is None:
            if len(self._board.waiting) >= MAX_WAITING:
                raise self._overloaded(key, now)
            self.throughput.returned(key)
            flight = self._board.later(key) or Flight[T](fetch)
            self._board.wait(flight)
        flight.raise_to(fetch.detail)
        if not flight.callers:
            alone = flight.fetch.alone or key in self._refused_keys
            flight.fetch = replace(fetch, detail=flight.fetch.detail, alone=alone)
            self._arrived(now, fetch.deadline)
        elif fetch.turn < flight.fetch.turn:
            flight.fetch = replace(flight.fetch, caller=fetch.caller, turn=fetch.turn)
        return flight

    def _stand_by(self, fetch: FetchRequest) -> Flight[T]:
        """The flight that is to answer a fetch request of the background's."""
        flight = self._board.sent(fetch.key)
        if flight is not None and flight.fetch.detail.covers(fetch.detail):
            return flight
        flight = self._board.queued(fetch.key)
        if flight is None:
            if self.is_closed:
                raise Overloaded("The gateway is shutting down.")
            flight = Flight[T](fetch)
            self._schedule(flight, fetch)
        elif flight.background is not None and fetch.due < flight.background.due:
            if not flight.callers:
                flight.fetch = replace(fetch, detail=flight.fetch.detail)
            self._schedule(flight, fetch)
        flight.background = fetch
        is_refused = fetch.key in self._refused_keys
        flight.fetch = replace(flight.fetch, alone=flight.fetch.alone or is_refused)
        flight.raise_to(fetch.detail)
        return flight

    def _schedule(self, flight: Flight[T], fetch: FetchRequest) -> None:
        self._board.wait_until_due(flight, fetch)
        if fetch.due <= self._clock.monotonic():
            self._alarm.soon()
        else:
            self._alarm.set(fetch.due)

    def _arrived(self, now: float, deadline: float) -> None:
        """A new fetch request: plan soon, or together with those close behind it."""
        before, self._arrived_at = self._arrived_at, now
        if not self._budget.places():
            # Nothing can go out now; what ends next looks at the queue anyway.
            self._alarm.set(min(deadline, self._budget.place_free_at() or math.inf))
        elif self._board.is_asking and now - before <= GATHER and not self._budget.mass_full():
            self._alarm.set(now + GATHER)
        else:
            self._alarm.soon()

    def _pump(self) -> None:
        """Send what may be sent now, give up what can't be, and look again when that changes."""
        now = self._clock.monotonic()
        self._tell_the_impatient(now)
        self._bring_due(now)
        self._leave_to_others()
        if self._deletions:
            self._deletions.send(now, self._board.callers)
        if self._breaker.refusal(now) is None:
            self._send_planned(now)
        if refusal := self._breaker.refusal(now):
            for flight in self._board.waiting.values():
                flight.settle(refusal)
            self._board.waiting.clear()
        if self.followed is not None:
            next_due = self.followed.next_due()
            self._alarm.set(next_due if next_due > now else now + FOLLOW_TURN)

    def _send_planned(self, now: float) -> None:
        self._offered = self._due_of_followed(now)
        decided = plan(
            chain(
                [flight.fetch for flight in self._board.waiting.values()], self._offered.values()
            ),
            self._budget,
            now,
            mass_max_ids=self._mass_max_ids,
            pace=Pace(
                self.throughput.latency, self._callers_mass_at, self._served, self._followed_at
            ),
        )
        waiting = self._board.callers - len(decided.refusals)
        for key, full in decided.refusals:
            self._refuse(key, full, now, waiting)
        asks = decided.asks
        if asks and self._breaker.state(now) is BreakerState.HALF_OPEN:
            asks = [Ask(asks[0].keys[:1], asks[0].detail)]
        for ask in asks:
            self._send(self._filled(ask) if ask.mass else ask, now)
        self._alarm.set(decided.wake_at)
        if self._board.waiting:
            self._alarm.set(self._budget.changes_at())
            if any(flight.callers for flight in self._board.waiting.values()):
                self._budget.queue_up()

    def _due_of_followed(self, now: float) -> dict[StatusKey, FetchRequest]:
        """No more of them than one turn could send."""
        if self.followed is None or not self._budget.places():
            return {}
        at_most = self._budget.places() if self._budget.mass_full() else self._mass_max_ids
        fetches = self.followed.due(now, at_most, self._may_be_followed)
        return {
            fetch.key: replace(fetch, alone=fetch.alone or fetch.key in self._refused_keys)
            for fetch in fetches
        }

    def _may_be_followed(self, key: StatusKey) -> bool:
        return not self._board.has(key) and self._budget.message_full(key, keep=1) is None

    def _tell_the_impatient(self, now: float) -> None:
        """Who can fall back on an older record has waited long enough for a slow answer."""
        for flight in self._board.all_sent():
            if not flight.callers:
                continue
            for waiter in flight.drop(lambda waiter: waiter.patience <= now):
                waiter.settle(UpstreamTimeout("The provider is slow to answer."))
            if flight.callers:
                self._alarm.set(min(waiter.patience for waiter in flight.callers))

    def _bring_due(self, now: float) -> None:
        self._board.bring_due(now)
        if (next_due := self._board.next_due) is not None:
            self._alarm.set(next_due)

    def _leave_to_others(self) -> None:
        """Do not ask what another process asks already; ask again what it got no answer to."""
        answered = self._budget.answered_elsewhere
        for flight in self._board.all_elsewhere():
            if answered(flight.fetch.key, flight.fetch.detail) is None:
                self._board.land(flight)
                if flight.is_wanted:
                    self._board.wait(flight)
        for key, flight in list(self._board.waiting.items()):
            if not self._board.is_under_way(key) and answered(key, flight.fetch.detail):
                self._board.leave_to_others(key)
        for flight in self._board.all_elsewhere():
            until = answered(flight.fetch.key, flight.fetch.detail)
            self._alarm.set(math.inf if until is None else until)

    def _refuse(self, key: StatusKey, full: Full, now: float, waiting: int) -> None:
        """Tell the callers whose deadline the limit outlasts; the others go on waiting.

        `waiting` is how many other keys callers wait for.
        """
        flight = self._board.waiting[key]
        opens_at = -math.inf if full.until is None else full.until
        left = flight.drop(lambda waiter: waiter.start_by <= now or opens_at > waiter.start_by)
        if left:
            refusal = self.throughput.turned_away(full, key, now, waiting)
            for waiter in left:
                waiter.settle(refusal)
        self._board.forget_if_unwanted(flight)
        if flight.is_wanted:
            self._alarm.set(max(flight.fetch.deadline, now))

    def _filled(self, mass: Ask) -> Ask:
        """The mass request with what else it has room for, which then waits to be sent as well."""
        room = self._mass_max_ids - len(mass.keys)
        if room <= 0:
            return mass
        riders = [
            rider
            for rider in chain(self._board.soonest(room), self._riders(), self._offered.values())
            if not self._board.has(rider.key) and rider.key not in self._refused_keys
        ]
        filled = fill_up(mass, riders, self._budget, mass_max_ids=self._mass_max_ids)
        fetches = {rider.key: rider for rider in reversed(riders)}
        for key in filled.keys[len(mass.keys) :]:
            self._board.take_along(fetches[key])
        return filled

    def _send(self, ask: Ask, now: float) -> None:
        lease = self._budget.take(ask.keys, mass=ask.mass)
        if not isinstance(lease, Lease):
            return
        for key in ask.keys:
            if key not in self._board.waiting:
                self._board.take_along(self._offered[key])
            if key in self._offered:
                self._followed_at = now
            if self.followed is not None:
                self.followed.sent(key)
        flights = [self._board.send(key) for key in ask.keys]
        for flight in flights:
            flight.fetch = replace(flight.fetch, detail=ask.detail)
            _remember(self._served, flight.fetch.caller, next(self._order), at_most=CALLERS)
        if ask.mass and any(flight.callers for flight in flights):
            self._callers_mass_at = now
        self._in_flight.start(self._fly(ask, lease, flights, self._breaker.begin(now)))

    async def _fly(self, ask: Ask, lease: Lease, flights: list[Flight[T]], began: float) -> None:
        confirmed = await self._in_flight.confirm(lease, ask.detail)
        if confirmed is not True:
            self._in_flight.withdraw(lease, began)
            self._put_back(flights, confirmed or None)
            self._tell_followed(ask, dict.fromkeys(ask.keys))
            return
        for flight in flights:
            flight.carry(lease)
        answer = await outcome_of(self._provider.ask(ask.keys, ask.detail))
        rows, failure = ({}, answer) if isinstance(answer, GatewayError) else (answer, None)
        # Learned before the request is told to have ended: else other processes would ask as well.
        merged = {
            key: self._merged(flight.fetch, rows.get(key))
            for key, flight in zip(ask.keys, flights, strict=True)
            if failure is None
        }
        if isinstance(failure, InvalidArgument) and not ask.mass:
            _remember(self._refused_keys, ask.keys[0], None, at_most=REFUSED_KEYS)
        failure = self._in_flight.ended(lease, began, failure)
        if any(flight.fetch.why is not Why.FOLLOW for flight in flights):
            now = self._clock.monotonic()
            self.throughput.took_place(now - began, now)
        for key, flight in zip(ask.keys, flights, strict=True):
            self._board.land(flight)
            if failure is not None and self._goes_again(ask, flight, failure):
                self._board.wait(flight)
            else:
                flight.settle(failure or merged[key])
        self._tell_followed(ask, dict.fromkeys(ask.keys, failure) if failure else merged)

    def _tell_followed(
        self, ask: Ask, results: Mapping[StatusKey, T | GatewayError | None]
    ) -> None:
        if self.followed is not None:
            for key, result in results.items():
                self.followed.answered(key, result, mass=ask.mass)

    def _put_back(self, flights: Iterable[Flight[T]], failure: GatewayError | None) -> None:
        """The request was not sent: have its flights wait again, or tell what is wrong."""
        for flight in flights:
            self._board.land(flight)
            if failure is not None or self.is_closed:
                flight.settle(failure or Overloaded("The gateway is shutting down."))
            elif flight.is_wanted:
                self._board.wait(flight)

    def _goes_again(self, ask: Ask, flight: Flight[T], failure: GatewayError) -> bool:
        """May a single request, or a later one, still answer this key's callers?

        One bad pair, or a mass request of somebody else's, spoils the whole list for the provider.
        For our callers each key still has its own single request. A place that somebody else took
        is waited for.
        """
        if self.is_closed or flight.fetch.key in self._board.waiting or not flight.callers:
            return False
        if ask.mass and isinstance(failure, InvalidArgument):
            flight.fetch = replace(flight.fetch, alone=True)
            return True
        return isinstance(failure, RateLimited) and (ask.mass or failure.limit is Limit.CONCURRENCY)

    def _merged(self, fetch: FetchRequest, row: Row | None) -> T | GatewayError:
        if row is None:
            return UpstreamBadAnswer("The provider's answer leaves this message out.")
        try:
            return self._merge(fetch, row)
        except GatewayError as error:
            return error
        except Exception:
            # Whoever waits must hear something, and so must those who wait for the other rows.
            log.exception("an answer of the provider could not be used")
            return UpstreamBadAnswer("The provider's answer could not be used.")

    def _overloaded(self, key: StatusKey, now: float) -> Overloaded:
        return self.throughput.overloaded(key, now, self._board.callers + len(self._deletions))


def _remember(memory: dict[K, V], key: K, value: V, *, at_most: int) -> None:
    """The newest come last, and push out the oldest."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > at_most:
        del memory[next(iter(memory))]
