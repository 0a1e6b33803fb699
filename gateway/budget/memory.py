"""The budget of one process: exact sliding windows and a number of places.

The provider counts a request when it arrives, which is some time between our sending it and its
end. So a request counts from the moment it is sent until a whole window after it *ended*: then no
sliding window of the provider can hold more than the limit, whatever the network's delays.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import Limit
from gateway.records import StatusKey


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows (its page, error 9). `window` is in seconds."""

    per_message: int = 5
    mass: int = 1
    concurrency: int = 4
    window: float = 60.0


class Full(NamedTuple):
    """No room: which limit stands in the way, and when there is room, where that can be told."""

    limit: Limit
    until: float | None


class _Window:
    """At most `limit` requests in any `length` seconds."""

    __slots__ = ("_ended", "_length", "_limit", "_under_way")

    def __init__(self, limit: int, length: float) -> None:
        self._limit = limit
        self._length = length
        self._under_way = 0
        self._ended: list[float] = []

    def full(self, now: float) -> tuple[bool, float | None]:
        """Is there no room, and until when; None: until a request under way has ended."""
        self._forget(now)
        over = self._under_way + len(self._ended) - self._limit
        if over < 0:
            return False, None
        if over < len(self._ended):
            return True, self._ended[over] + self._length
        return True, None

    def begin(self) -> None:
        self._under_way += 1

    def end(self, at: float | None) -> None:
        """The request ended at `at`; None: it never reached the provider."""
        self._under_way -= 1
        if at is not None:
            insort(self._ended, at)  # one that lingers ends later than those after it

    def fill(self, now: float) -> None:
        """The provider says it is full, though we did not know."""
        self._forget(now)
        for _ in range(self._limit - len(self._ended)):
            insort(self._ended, now)

    def is_empty(self, now: float) -> bool:
        self._forget(now)
        return not self._under_way and not self._ended

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0] + self._length <= now:
            del self._ended[0]


class Lease:
    """The room that one request takes; end it exactly once."""

    def __init__(self, budget: "MemoryBudget", keys: tuple[StatusKey, ...], *, mass: bool) -> None:
        self._budget = budget
        self.keys = keys
        self.mass = mass

    def end(self, *, linger: float = 0.0) -> None:
        """The request is over; its place stays taken for `linger` seconds more.

        After a time-out the provider may still be busy with it.
        """
        self._budget._end(self, linger)  # noqa: SLF001 - two halves of one thing

    def refund(self) -> None:
        """The request never reached the provider."""
        self._budget._end(self, None)  # noqa: SLF001 - as above


class MemoryBudget:
    """What may be sent now. Times are those of `monotonic`, in seconds."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self.limits = limits
        self._monotonic = monotonic
        self._mass = _Window(limits.mass, limits.window)
        self._messages: dict[StatusKey, _Window] = {}
        self._taken = 0
        self._lingering: deque[float] = deque()

    def message_full(self, key: StatusKey) -> Full | None:
        """Is there no room for one more request about this message?"""
        window = self._messages.get(key)
        full, until = window.full(self._monotonic()) if window else (False, None)
        return Full(Limit.PER_MESSAGE, until) if full else None

    def mass_full(self) -> Full | None:
        """Is there no room for a mass request?"""
        if not self.limits.mass:
            return Full(Limit.MASS, None)
        full, until = self._mass.full(self._monotonic())
        return Full(Limit.MASS, until) if full else None

    def places(self) -> int:
        """How many more requests may be under way at the same time."""
        now = self._monotonic()
        while self._lingering and self._lingering[0] <= now:
            self._lingering.popleft()
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
        return Lease(self, wanted, mass=mass)

    def refused(self, keys: Iterable[StatusKey], *, mass: bool) -> float:
        """The provider answered 9 where we saw room: somebody else spends the login's limits.

        Which limit it was is a guess: of a mass request the mass limit, of a single one the
        message's. Returns the seconds until there is room again.
        """
        now = self._monotonic()
        if mass:
            self._mass.fill(now)
        else:
            for key in keys:
                self._window(key).fill(now)
        return self.limits.window

    def _end(self, lease: Lease, linger: float | None) -> None:
        now = self._monotonic()
        self._taken -= 1
        if linger:
            self._lingering.append(now + linger)
        at = None if linger is None else now + linger
        if lease.mass:
            self._mass.end(at)
        for key in lease.keys:
            self._window(key).end(at)

    def _window(self, key: StatusKey) -> _Window:
        """The message's window, moved behind all others: the first are the longest unused."""
        window = self._messages.pop(key, None)
        if window is None:
            window = _Window(self.limits.per_message, self.limits.window)
        self._messages[key] = window
        return window

    def _prune(self) -> None:
        """Forget messages whose window is empty; each call forgets all that the last left."""
        now = self._monotonic()
        empty = []
        for key, window in self._messages.items():
            if not window.is_empty(now):
                break
            empty.append(key)
        for key in empty:
            del self._messages[key]
