"""Wakes waiting tasks in small batches, so that a thousand of them do not hold the event loop.

A thousand tasks that wake in one turn of the event loop hold it for tens of milliseconds, and
everybody else waits.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count
from typing import TypeVar

from gateway.clock import Clock

T = TypeVar("T")

AT_ONCE = 32
"""Tasks that are woken in one turn of the event loop: each may write an event, and some 40 us of
work a task make that one or two milliseconds."""


class Signal:
    """An auto-reset event with one waiter: who waits goes on once, however often it was set.

    An `asyncio.Event` takes five times its memory, and lets others wait as well.
    """

    __slots__ = ("_future", "_is_set", "due", "is_queued", "planned")

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._is_set = False
        self.is_queued = False
        """Does it wait for its turn to be set?"""
        self.due = math.inf
        """When it is to be set, in monotonic seconds."""
        self.planned = math.inf
        """When the timer will look at it; not later than `due`."""

    def set(self) -> None:
        self._is_set = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Until it is set; at once, if it was set since the last wait."""
        if not self._is_set:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None
        self._is_set = False


class Wakeups:
    """Sets signals: as soon as it is their turn, or when their time has come.

    All share one timer: a sleeping task for each would take more than the rest of what waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: deque[Signal] = deque()
        self._is_waking = False
        """Were some of them set in this turn?"""
        self._times: list[tuple[float, int, Signal]] = []
        self._order = count()
        self._timer: asyncio.Task[None] | None = None

    def wake(self, *signals: Signal) -> None:
        """Set them, `AT_ONCE` in each turn of the event loop; the first of them now."""
        for signal in signals:
            if not signal.is_queued:
                signal.is_queued = True
                self._queue.append(signal)
        if not self._is_waking:
            self._wake_some()

    def wake_at(self, signal: Signal, moment: float) -> None:
        """Set it at this moment, in monotonic seconds, instead of the one named before.

        To put it off costs nothing: the timer finds out when it looks at it.
        """
        signal.due = moment
        if moment >= signal.planned:
            return
        self._plan(signal)
        if self._times[0][2] is signal:  # the timer, if there is one, sleeps for too long
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.create_task(self._keep_time())

    def close(self) -> None:
        """Set nothing any more when its time has come."""
        self._times.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _wake_some(self) -> None:
        self._is_waking = bool(self._queue)
        if not self._is_waking:
            return
        for _ in range(min(AT_ONCE, len(self._queue))):
            signal = self._queue.popleft()
            signal.is_queued = False
            signal.set()
        asyncio.get_running_loop().call_soon(self._wake_some)

    def _plan(self, signal: Signal) -> None:
        signal.planned = signal.due
        heapq.heappush(self._times, (signal.due, next(self._order), signal))

    async def _keep_time(self) -> None:
        while self._times:
            await self._clock.sleep(max(self._times[0][0] - self._clock.monotonic(), 0.0))
            self.wake(*self._take_due())
        self._timer = None

    def _take_due(self) -> list[Signal]:
        """Some of those whose time has come; the others are planned anew."""
        due: list[Signal] = []
        now = self._clock.monotonic()
        for _ in range(AT_ONCE):
            if not self._times or self._times[0][0] > now:
                break
            planned, _, signal = heapq.heappop(self._times)
            if planned != signal.planned:
                continue  # it has been planned for a sooner moment
            signal.planned = math.inf
            if signal.due <= now:
                signal.due = math.inf
                due.append(signal)
            elif signal.due < math.inf:
                self._plan(signal)
        return due


async def interruptible(
    events: AsyncGenerator[T, None], signal: Signal
) -> AsyncGenerator[T | None, None]:
    """The events, and None whenever the signal is set while they are waited for."""
    coming: asyncio.Future[T] | None = None
    async with aclosing(events):
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(events))
                    coming.add_done_callback(lambda _: signal.set())
                await signal.wait()
                if not coming.done():
                    yield None
                    continue
                try:
                    event, coming = coming.result(), None
                except StopAsyncIteration:
                    return
                yield event
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})
