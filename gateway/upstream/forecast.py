"""What would become of some keys if a caller asked for them now: a dry run, which asks nothing.

The planner is run forward on a copy of the budget, by a clock of its own, as if each request took
as long as the last ones did. What it can't know is left out: who else will come, what fails, and
which numbers the provider knows by their other spelling. Times are monotonic seconds.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.errors import Limit
from gateway.model.described import Model
from gateway.model.records import StatusKey
from gateway.upstream.board import Board
from gateway.upstream.breaker import PROBE_AGAIN, Breaker
from gateway.upstream.budget.port import Budget, Lease
from gateway.upstream.cost import Served
from gateway.upstream.planner import FetchRequest, Pace, plan
from gateway.upstream.throughput import Throughput

if TYPE_CHECKING:
    from gateway.upstream.budget.port import Full


RIVALS: Final = 1000
"""Keys of others that are looked at, the first in line: each step plans for all of them."""


class Forecast(Model):
    """What it would cost to ask for these now, and when all of them would be known."""

    requests: int
    """Requests to the provider that would carry them within the patience of a caller."""
    mass: int
    """Those of them that are mass requests."""
    served: Served
    """How they would be answered; those for which there is neither room nor an older record are in
    none of the numbers."""
    all_known_by: datetime | None = None
    """When the last of them would be, to a caller who comes again when told; null: nothing needs to
    be asked, or as things stand nothing can be."""


class Outlook(NamedTuple):
    """What would become of keys that have to be asked for."""

    answered_at: Mapping[StatusKey, float]
    """When each would be answered that there is room for within a caller's patience."""
    requests: int
    """Requests that would carry them."""
    mass: int
    """Those of them that are mass requests."""
    all_known_at: float | None
    """When the last would be, if its caller comes again when told; None: never as things stand."""


NOTHING: Final = Outlook({}, 0, 0, None)


async def foresee(
    wanted: Sequence[FetchRequest],
    board: Board[Any],
    budget: Budget,
    breaker: Breaker,
    throughput: Throughput,
    *,
    now: float,
    pace: Pace,
    mass_max_ids: int,
    most_waiting: int,
) -> Outlook:
    """Foresee what becomes of these fetch requests of one caller."""
    takes = throughput.takes
    requests: set[Lease] = set()
    answered_at: dict[StatusKey, float] = {}
    for fetch in wanted:
        flight = board.sent(fetch.key)
        if flight is not None and flight.fetch.detail.covers(fetch.detail):
            answered_at[fetch.key] = now + takes
            requests |= set() if flight.request is None else {flight.request}
    new = [fetch for fetch in wanted if fetch.key not in answered_at]
    waiting = [flight.fetch for flight in board.waiting.values()]
    probe_at, refusal = breaker.probe_at, breaker.refusal(now)
    room = most_waiting - len(waiting)
    waiting = waiting[:RIVALS]
    if probe_at is not None:  # one request goes alone, if any, and all others are turned away
        room, waiting = (1 if refusal is None else 0), []
    rehearsal = _Rehearsal(
        new[:room],
        waiting,
        lambda time: budget.preview([fetch.key for fetch in (*waiting, *new)], time, takes),
        now,
        takes=takes,
        pace=pace,
        mass_max_ids=mass_max_ids,
    )
    for _ in iter(rehearsal.step, False):
        await asyncio.sleep(0)  # others have their turn
    requests |= rehearsal.requests
    answered_at |= rehearsal.answered_at
    if probe_at is not None:
        resumed_at = now + takes if refusal is None else max(probe_at, now + PROBE_AGAIN) + takes
        rehearsal.now = max(rehearsal.now, resumed_at)
    comes_again = 0
    moments = [*answered_at.values()]
    for fetch in new:
        full = rehearsal.turned_away.get(fetch.key)
        if full is not None and full.limit is Limit.PER_MESSAGE:
            under_way = now + takes + budget.limits.window
            moments.append((full.until or under_way) + takes)
        elif fetch.key not in answered_at:
            comes_again += 1
    if comes_again:
        ahead = max(0, board.callers - rehearsal.others_sent)  # they are turned away before
        seconds = throughput.seconds_for_turned_away(
            ahead + comes_again, rehearsal.budget, rehearsal.now
        )
        moments.append(rehearsal.now + seconds)
    mass = sum(request.mass for request in requests)
    return Outlook(answered_at, len(requests), mass, max(moments, default=None))


class _Rehearsal:
    """The planner at work on fetch requests that nobody has made yet, among those that wait."""

    def __init__(
        self,
        wanted: Iterable[FetchRequest],
        waiting: Iterable[FetchRequest],
        preview: Callable[[Callable[[], float]], Budget],
        now: float,
        *,
        takes: float,
        pace: Pace,
        mass_max_ids: int,
    ) -> None:
        self.now = now
        self.answered_at: dict[StatusKey, float] = {}
        self.turned_away: dict[StatusKey, Full] = {}
        """Those of the wanted that the limits leave no room, each with the limit in its way."""
        self.requests: set[Lease] = set()
        self.others_sent = 0
        """Keys of others that would be asked for meanwhile."""
        self.budget = preview(lambda: self.now)
        self._waiting = {fetch.key: fetch for fetch in waiting}
        self._waiting |= {fetch.key: fetch for fetch in wanted}
        self._open = {fetch.key for fetch in wanted}
        self._takes = takes
        self._served = dict(pace.served)
        self._turns = count(math.ceil(max(self._served.values(), default=0.0)) + 1)
        self._pace = pace._replace(served=self._served)
        self._mass_max_ids = mass_max_ids
        self._ends: list[tuple[float, int, Lease]] = []

    def step(self) -> bool:
        """Go on to the next moment at which something may be sent; False: all is decided."""
        decided = plan(
            self._waiting.values(),
            self.budget,
            self.now,
            mass_max_ids=self._mass_max_ids,
            pace=self._pace,
        )
        for key, full in decided.refusals:
            del self._waiting[key]
            if key in self._open:
                self._open.discard(key)
                self.turned_away[key] = full
        for ask in decided.asks:
            lease = self.budget.take(ask.keys, mass=ask.mass)
            if isinstance(lease, Lease):
                self._send(lease)
        next_end = self._ends[0][0] if self._ends else math.inf
        if not self._open or min(decided.wake_at, next_end) == math.inf:
            return False
        if self.now < decided.wake_at <= next_end:  # at a tie a deadline is over first
            self.now = decided.wake_at
        elif next_end < math.inf:
            self.now, _, lease = heapq.heappop(self._ends)
            lease.end()
        else:
            return False
        return True

    def _send(self, lease: Lease) -> None:
        ends_at = self.now + self._takes
        heapq.heappush(self._ends, (ends_at, next(self._turns), lease))
        if not self._open.isdisjoint(lease.keys):
            self.requests.add(lease)
        for key in lease.keys:
            self._served[self._waiting.pop(key).caller] = next(self._turns)
            if key in self._open:
                self._open.discard(key)
                self.answered_at[key] = ends_at
            else:
                self.others_sent += 1
