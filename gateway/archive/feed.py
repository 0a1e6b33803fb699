"""The feed of changes as they come: who waits is woken, and none of them asks the database.

While anybody reads, the newest changes are kept in memory. They are read once for all readers: when
this process has written, when the database tells that another one has, and every second.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gateway.archive.changes import (
    Edge,
    FeedChange,
    FeedPage,
    FeedPosition,
    matcher,
)
from gateway.archive.database import TROUBLE, Database
from gateway.archive.filters import RecordFilter
from gateway.clock import Clock
from gateway.errors import CursorExpired, GatewayError
from gateway.model.records import StatusKey
from gateway.wakeups import Signal, Wakeups

LOOK: Final = 1.0
"""Seconds after which the database is looked at in any case, while anybody reads."""

KEPT: Final = 60.0
"""Seconds for which changes are kept in memory; readers that are further behind read pages."""

AT_ONCE: Final = 200
"""Changes that are read at a time, for all readers: to find whom they are for takes a while."""

BACK: Final = 1000
"""Changes of before that are kept in memory from the first: who comes again is not far behind."""

MATCHED_AT_ONCE: Final = 100
"""Readers that are compared with them in one turn of the event loop."""

ALL: Final = RecordFilter()

ReadPage = Callable[[RecordFilter, FeedPosition | Edge, int], Awaitable[FeedPage]]


class FeedReader:
    """Who reads the feed: what he wants, where he is, and the signal by which he is woken."""

    __slots__ = ("matches", "position", "signal", "wanted")

    def __init__(self, wanted: RecordFilter, after: FeedPosition | Edge, signal: Signal) -> None:
        self.wanted = wanted
        self.matches = matcher(wanted)
        self.position = after
        self.signal = signal

    def wants_any(self, changes: list[FeedChange]) -> bool:
        """Is there one among them that he was not told yet?"""
        at = -1 if isinstance(self.position, Edge) else self.position.no
        return any(one.position.no > at and self.matches(one) for one in changes)


class Feed:
    """The feed of one process; `read` gives a page of what is kept."""

    def __init__(self, database: Database, clock: Clock, read: ReadPage) -> None:
        self.wakeups = Wakeups(clock)
        self.ended = False
        """The gateway is about to stop: who reads is told nothing more."""
        self._database = database
        self._clock = clock
        self._read = read
        self._readers: dict[FeedReader, None] = {}
        self._kept: list[FeedChange] = []
        self._kept_from: FeedPosition | None = None
        """What is kept in memory begins behind this; None: it is not known where."""
        self._kept_to: FeedPosition | None = None
        self._times: deque[tuple[float, FeedPosition]] = deque()
        """When what is kept was read, and up to which position."""
        self._begun = asyncio.Event()
        """Was it tried to keep something, since somebody reads?"""
        self._signal = Signal()
        self._tasks: list[asyncio.Task[None]] = []

    @contextmanager
    def reading(self, reader: FeedReader) -> Iterator[None]:
        """Wake the reader whenever there may be news for him."""
        self._readers[reader] = None
        if not self._tasks:
            self._tasks = [asyncio.create_task(run()) for run in (self._run, self._listen)]
        elif len(self._readers) == 1:
            self._signal.set()  # nothing was kept while nobody read
        try:
            yield
        finally:
            del self._readers[reader]

    async def page(self, reader: FeedReader, limit: int) -> FeedPage:
        """The next changes for a reader, who is then behind them; without any: there are none yet.

        Raises `CursorExpired`, and `Overloaded` where the database is away.
        """
        if reader in self._readers:
            await self._begun.wait()
        while True:
            page = self._kept_page(reader, limit)
            if page is None:
                page = await self._read(reader.wanted, reader.position, limit)
            reader.position = page.next
            if page.changes or page.is_end:
                return page

    def written(self) -> None:
        """Something was written."""
        self._signal.set()

    def forget(self, key: StatusKey) -> None:
        """Tell nothing more of what was deleted."""
        self._kept = [one for one in self._kept if one.key != key]

    def end(self) -> None:
        """End all reading: the gateway is about to stop."""
        self.ended = True
        self.wakeups.wake(*[reader.signal for reader in self._readers])

    async def aclose(self) -> None:
        """End all reading, and look no more."""
        self.end()
        self.wakeups.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _kept_page(self, reader: FeedReader, limit: int) -> FeedPage | None:
        """A page from memory, if that reaches back far enough."""
        after, start, end = reader.position, self._kept_from, self._kept_to
        if start is None or end is None:
            return None
        if after is Edge.NOW:
            return FeedPage([], end, is_end=True)
        if isinstance(after, Edge) or after._replace(no=end.no) != end:
            return None
        if not start.no <= after.no <= end.no:
            return None
        first = bisect_right(self._kept, after.no, key=lambda one: one.position.no)
        changes: list[FeedChange] = []
        for one in self._kept[first:]:
            if reader.matches(one):
                changes.append(one)
                if len(changes) == limit:
                    return FeedPage(changes, one.position, is_end=False)
        return FeedPage(changes, end, is_end=True)

    async def _run(self) -> None:
        while True:
            if self._readers:
                with suppress(GatewayError):  # it is told to whoever reads a page
                    await self._catch_up()
                self._begun.set()
                self._forget_old()
            else:
                self._begin_anew()
            self.wakeups.wake_at(self._signal, self._clock.monotonic() + LOOK)
            await self._signal.wait()

    async def _listen(self) -> None:
        """Hear of what other processes write."""
        while True:
            try:
                await self._database.listen(self._signal.set)
            except TROUBLE:
                await self._clock.sleep(LOOK)
            else:
                return

    async def _catch_up(self) -> None:
        """Keep what has come since the last time, and wake those whom it is for."""
        while True:
            if self._kept_to is None:
                self._kept_from = self._kept_to = await self._start()
                self.wakeups.wake(*[reader.signal for reader in self._readers])
            try:
                page = await self._read(ALL, self._kept_to, AT_ONCE)
            except CursorExpired:  # it is another database now, or an earlier state of it
                self._begin_anew()
                continue
            self._kept_to = page.next
            if page.changes:
                self._kept += page.changes
                self._times.append((self._clock.monotonic(), page.next))
                await self._tell(page.changes)
            if page.is_end:
                return

    async def _start(self) -> FeedPosition:
        """Where to begin: some way before the end."""
        end = (await self._read(ALL, Edge.NOW, 1)).next
        start = end._replace(no=max(0, end.no - BACK))
        try:
            await self._read(ALL, start, 1)
        except CursorExpired:
            return end
        return start

    async def _tell(self, changes: list[FeedChange]) -> None:
        readers = list(self._readers)
        for first in range(0, len(readers), MATCHED_AT_ONCE):
            some = readers[first : first + MATCHED_AT_ONCE]
            self.wakeups.wake(*[one.signal for one in some if one.wants_any(changes)])
            await asyncio.sleep(0)

    def _forget_old(self) -> None:
        before = self._clock.monotonic() - KEPT
        while self._times and self._times[0][0] <= before:
            _, self._kept_from = self._times.popleft()
        if self._kept_from is not None:
            start = self._kept_from.no
            del self._kept[: bisect_right(self._kept, start, key=lambda one: one.position.no)]

    def _begin_anew(self) -> None:
        self._kept, self._kept_from, self._kept_to = [], None, None
        self._begun.clear()
        self._times.clear()
