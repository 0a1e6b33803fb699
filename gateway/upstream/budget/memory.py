"""The budget of one process: exact sliding windows and concurrency slots (places).

The provider counts a request when it arrives, which is some time between our sending it and its
end. So a request counts from the moment it is sent until a whole window after it *ended*: then no
sliding window of the provider can hold more than the limit, whatever the network's delays.

The limits belong to the login, so others of the company may spend them too. A refusal (the
provider's 9) where we saw room says so; what it says exactly is a guess, made in `refused`.
"""

import math
from bisect import insort
from collections.abc import Callable, Iterable

from gateway.errors import Limit
from gateway.model.records import DetailLevel, StatusKey
from gateway.upstream.budget.journal import Journal, Spent
from gateway.upstream.budget.port import Full, Lease, Limits, Sharing

AT_ONCE = 1.0
"""Seconds: single requests for different messages that are refused within so little time were
hardly all asked too often; rather somebody else's requests are under way."""

ELSEWHERE = 10.0
"""Seconds for which somebody else is taken to hold a place at the provider."""


class _Window:
    """At most `limit` requests in any `length` seconds.

    `elsewhere`: the moments until which requests of other processes count at most.
    """

    __slots__ = ("_ended", "_length", "_limit", "_under_way", "elsewhere")

    def __init__(self, limit: int, length: float) -> None:
        self._limit = limit
        self._length = length
        self._under_way = 0
        self._ended: list[float] = []
        self.elsewhere: list[float] = []

    def left(self, now: float) -> int:
        """How many more requests there is room for."""
        self._forget(now)
        return max(0, self._limit - self._taken)

    def free_at(self, now: float, left: int = 1) -> float | None:
        """When there is room for `left` requests; None: once a request under way has ended."""
        over = self._taken - self._limit + left - 1
        if not 0 <= over < len(self._ended) + len(self.elsewhere):
            return None
        gone = [at + self._length for at in self._ended]
        # What counts for longer than a window is under way, and may end at any moment.
        gone += (at for at in self.elsewhere if at <= now + self._length)
        return sorted(gone)[over] if over < len(gone) else None

    def begin(self) -> None:
        self._under_way += 1

    def end(self, at: float | None) -> None:
        """The request ended at `at`; None: it never reached the provider."""
        self._under_way -= 1
        if at is not None:
            self.count(at)

    def count(self, ended_at: float) -> None:
        """A request that nobody began here: of an earlier process, or somebody else's."""
        insort(self._ended, ended_at)  # one that lingers ends later than those after it

    def preview(self, ends_at: float) -> "_Window":
        """A copy, in which all that is under way ends at that moment."""
        copy = _Window(self._limit, self._length)
        elsewhere = [min(until - self._length, ends_at) for until in self.elsewhere]
        copy._ended = sorted([*self._ended, *elsewhere, *[ends_at] * self._under_way])
        return copy

    def is_empty(self, now: float) -> bool:
        """Could it be forgotten?"""
        self._forget(now)
        return not self._taken

    @property
    def _taken(self) -> int:
        return self._under_way + len(self._ended) + len(self.elsewhere)

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0] + self._length <= now:
            del self._ended[0]
        if self.elsewhere:
            self.elsewhere = [until for until in self.elsewhere if until > now]


class MemoryBudget:
    """A `Budget` that is spent by this process alone. Times are those of `monotonic`, in seconds.

    `journal` remembers what was spent, so that a restart does not spend it again.
    """

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float],
        journal: Journal | None = None,
    ) -> None:
        self.limits = limits
        self._monotonic = monotonic
        self._journal = journal or Journal()
        self._mass = _Window(limits.mass, limits.window)
        self._messages: dict[StatusKey, _Window] = {}
        self._taken = 0
        self._lingering: list[float] = []
        self._refusal: tuple[float, StatusKey] | None = None
        self._restored: dict[bytes, list[float]] = {}
        self._restored_until = 0.0
        self._restore()

    def message_left(self, key: StatusKey) -> int:
        """How many more requests there is room for about this message."""
        window = self._seen(key)
        return window.left(self._monotonic()) if window else self.limits.per_message

    def message_free_at(self, key: StatusKey, left: int = 1) -> float | None:
        """When there is room for so many about this message; None: now, or it can't be told."""
        window = self._seen(key)
        return window.free_at(self._monotonic(), left) if window else None

    def message_full(self, key: StatusKey, *, keep: int = 0) -> Full | None:
        """Is there no room for one more request about this message, with `keep` left over?"""
        if self.message_left(key) > keep:
            return None
        return Full(Limit.PER_MESSAGE, self.message_free_at(key, keep + 1))

    def spent_messages(self) -> int:
        """How many messages have no room left."""
        now = self._monotonic()
        return sum(not window.left(now) for window in self._messages.values())

    def mass_left(self) -> int:
        """How many mass requests there is room for."""
        return self._mass.left(self._monotonic())

    def mass_full(self) -> Full | None:
        """Is there no room for a mass request?"""
        now = self._monotonic()
        if self._mass.left(now):
            return None
        return Full(Limit.MASS, self._mass.free_at(now))

    def places(self) -> int:
        """How many more requests may be under way at the same time."""
        now = self._monotonic()
        while self._lingering and self._lingering[0] <= now:
            del self._lingering[0]
        return max(0, self.limits.concurrency - self._taken - len(self._lingering))

    def place_free_at(self) -> float | None:
        """When a lingering place is free again; None: when a request under way ends."""
        return self._lingering[0] if self._lingering else None

    def take(self, keys: Iterable[StatusKey], *, mass: bool) -> Lease | Full:
        """Take room for one request, all of it or nothing."""
        wanted = tuple(keys)
        if not self.places():
            return Full(Limit.CONCURRENCY, self.place_free_at())
        if mass and (full := self.mass_full()):
            return full
        for key in wanted:
            if full := self.message_full(key):
                return full
        self._prune()
        self._taken += 1
        if mass:
            self._mass.begin()
        for key in wanted:
            self._window(key).begin()
        names = [key.canonical for key in wanted]
        row = self._journal.sent(self._monotonic(), names, mass=mass)
        return Lease(self.end, wanted, mass=mass, row=row)

    async def confirm(self, lease: Lease, detail: DetailLevel | None) -> bool:  # noqa: ARG002
        """Always true: no other process takes room."""
        return True

    def answered_elsewhere(self, key: StatusKey, detail: DetailLevel) -> float | None:  # noqa: ARG002
        """Always None: no other process sends requests."""
        return None

    def changes_at(self) -> float:
        """Always infinite: no other process holds places."""
        return math.inf

    def queue_up(self) -> None:
        """There are no others in the queue."""

    @property
    def sharing(self) -> Sharing:
        return Sharing.ALONE

    def preview(
        self, keys: Iterable[StatusKey], monotonic: Callable[[], float], takes: float
    ) -> "MemoryBudget":
        """A copy to plan with, by a clock of its own, for these keys alone.

        What is under way ends in `takes` seconds there.
        """
        copy = MemoryBudget(self.limits, monotonic)
        ends_at = self._monotonic() + takes
        copy._mass = self._mass.preview(ends_at)
        for key in keys:
            if (window := self._seen(key)) is not None:
                copy._messages[key.canonical] = window.preview(ends_at)
        copy._lingering = sorted([*self._lingering, *[ends_at] * self._taken])
        return copy

    def hold_places(self, until: Iterable[float]) -> None:
        """Others hold so many places, each until that moment."""
        self._lingering = sorted([*self._lingering, *until])

    def refused(self, keys: Iterable[StatusKey], *, mass: bool) -> Full:
        """The provider answered 9 where we saw room: somebody else spends the login's limits.

        Which limit it was is a guess: of a mass request the mass limit, of a single one the
        message's, of several at once the places.
        """
        now = self._monotonic()
        if mass:
            self._fill(self._mass, (), now)
            return Full(Limit.MASS, now + self.limits.window)
        (key,) = keys
        before, self._refusal = self._refusal, (now, key)
        if before and before[1] != key and now - before[0] <= AT_ONCE:
            if len(self._lingering) < self.limits.concurrency - 1:  # one is always ours to try
                insort(self._lingering, now + ELSEWHERE)
            return Full(Limit.CONCURRENCY, now + ELSEWHERE)
        self._fill(self._window(key), (key,), now)
        return Full(Limit.PER_MESSAGE, now + self.limits.window)

    def _fill(self, window: _Window, keys: tuple[StatusKey, ...], now: float) -> None:
        for _ in range(window.left(now)):
            window.count(now)
            self._journal.ended(self._journal.sent(now, keys, mass=not keys), now)

    def end(self, lease: Lease, linger: float | None) -> None:
        """Close a lease; `linger`: see `Lease.end`, None: the request never left."""
        now = self._monotonic()
        self._taken -= 1
        if linger:
            insort(self._lingering, now + linger)
        at = None if linger is None else now + linger
        if lease.mass:
            self._mass.end(at)
        for key in lease.keys:
            self._window(key).end(at)
        self._journal.ended(lease.row, at)

    def _restore(self) -> None:
        """Take over what an earlier process spent; what it left under way counts until now.

        Such a request may still hold its place at the provider, for as long as it could linger.
        """
        now = self._monotonic()
        past = self._journal.open(now, self.limits.window)
        if past is None:
            self._mass.count(now)  # nobody knows: careful with what is scarcest
            return
        for spent in past:
            self._take_over(spent, now)
        self._restored_until = now + self.limits.window

    def _take_over(self, spent: Spent, now: float) -> None:
        ended_at = now if spent.ended_at is None else spent.ended_at
        if spent.ended_at is None and spent.lingers_until > now:
            insort(self._lingering, spent.lingers_until)
        if spent.mass:
            self._mass.count(ended_at)
        for name in spent.names:
            self._restored.setdefault(name, []).append(ended_at)

    def _seen(self, key: StatusKey) -> _Window | None:
        """The message's window, if it has one; the first to ask finds the earlier process's.

        Both spellings of a number count together: the provider may take them for the same.
        """
        key = key.canonical
        window = self._messages.get(key)
        if window is None and self._restored:
            ends = self._restored.pop(self._journal.name(key), None)
            if ends:
                window = self._messages[key] = self._new_window()
                for end in ends:
                    window.count(end)
        return window

    def _new_window(self) -> _Window:
        return _Window(self.limits.per_message, self.limits.window)

    def _window(self, key: StatusKey) -> _Window:
        """The message's window, moved behind all others: the first are the longest unused."""
        window = self._seen(key) or self._new_window()
        key = key.canonical
        self._messages.pop(key, None)
        self._messages[key] = window
        return window

    def _prune(self) -> None:
        """Forget messages whose window is empty; each call forgets all that the last left."""
        now = self._monotonic()
        if self._restored and now >= self._restored_until:
            self._restored.clear()
        empty = []
        for key, window in self._messages.items():
            if not window.is_empty(now):
                break
            empty.append(key)
        for key in empty:
            del self._messages[key]
