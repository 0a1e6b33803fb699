"""Delivers the changes that one address is to be told, in order for each message.

What comes from the feed is sent at once, up to ten at a time. What fails is parked in the archive
and tried again later; so are the later changes of the same message, while those of others overtake
it. The position in the feed is written after the answers: who dies in between sends some twice.
"""

import asyncio
import logging
import math
from collections import Counter, deque
from contextlib import aclosing, suppress
from typing import Final

from gateway.archive import outbox
from gateway.archive.archive import Archive
from gateway.archive.changes import Edge, FeedChange, FeedPosition, cursor_of
from gateway.archive.feed import FeedReader
from gateway.archive.outbox import Parked, Progress, Standing
from gateway.clock import Clock
from gateway.errors import CursorExpired, GatewayError
from gateway.wakeups import Signal
from gateway.webhooks.address import Address, Body
from gateway.webhooks.post import AT_ONCE, GONE, Outcome, Poster

log = logging.getLogger(__name__)

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR

PAUSES: Final = (
    5,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
"""Seconds to wait after each try that failed; after one more a change is given up."""

LONGEST_FAILURE: Final = 5 * DAY
"""Seconds of nothing but failures after which an address is switched off."""

PAGE: Final = 100
"""Changes that are read from the feed at a time."""

AHEAD: Final = 1000
"""Changes that may be read and not be done yet: so many may be sent twice after a crash."""

WRITE_EVERY: Final = 0.1
"""Seconds between two writes of what was done, while there is something to be done."""

LOOK: Final = 2.0
"""Seconds between two looks whether a replay was wanted, or the address switched on again."""

HOLD: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds between two tries with new changes, while an address takes nothing."""

UNSEEN: Final = 1000
"""Changes that are not for an address, after which its position is written all the same."""

FAREWELL: Final = 3.0
"""Seconds for requests under way to end, when all ends."""


class Delivery:
    """The delivery to one address, in the process that delivers. `counts` is of its tries."""

    def __init__(
        self,
        address: Address,
        archive: Archive,
        clock: Clock,
        body: Body,
        counts: Counter[tuple[str, str]],
    ) -> None:
        self.address = address
        self.archive = archive
        self.clock = clock
        self.body = body
        self.counts = counts

    async def run(self) -> None:
        """Deliver until it is cancelled, whatever happens to the database."""
        while True:
            try:
                standing = await self.archive.write(outbox.take, self.address.name)
                if standing.off_at is None:
                    await self._deliver(standing)
                else:
                    await self._until_changed(standing)
            except GatewayError:  # the database is away
                await self.clock.sleep(LOOK)

    async def _deliver(self, standing: Standing) -> None:
        """Deliver until the address is switched off, or stands elsewhere by somebody's will."""
        stuck = await self.archive.read(outbox.stuck_records, self.address.name)
        async with aclosing(Poster(self.address)) as poster:
            await _Run(self, standing, stuck, poster).until_over()

    async def _until_changed(self, standing: Standing) -> None:
        while True:
            await self.clock.sleep(LOOK)
            now = await self.archive.read(outbox.standing_of, self.address.name)
            if now is None or now.generation != standing.generation:
                return

    def count(self, result: str) -> None:
        self.counts[self.address.name, result] += 1


class _Run:
    """What is under way from one look at how the address stands to the next.

    A change of the feed is in `_undone` until it is delivered or parked: the position is what lies
    before the first of them. Of a record one change at a time is under way (`_busy`); later ones
    wait `_behind` it, and are parked if one is parked already (`_stuck`).
    """

    def __init__(self, of: Delivery, standing: Standing, stuck: set[int], poster: Poster) -> None:
        self._of = of
        self._name = of.address.name
        self._archive = of.archive
        self._feed = of.archive.feed
        self._clock = of.clock
        self._poster = poster
        self._generation = standing.generation
        self._signal = Signal()
        self._reader = FeedReader(of.address.wanted, standing.position, self._signal)
        self._undone: dict[int, None] = {}
        self._queue: deque[FeedChange] = deque()
        self._flying: set[asyncio.Task[None]] = set()
        self._busy: set[int] = set()
        self._behind: dict[int, deque[FeedChange]] = {}
        self._stuck = stuck
        self._retrying: set[int] = set()
        """Parked changes that are under way, or whose end is not written yet."""
        self._due_at = -math.inf
        """When a parked change is to be tried again, in seconds since 1970."""
        self._written_to = standing.position.no
        self._progress = Progress()
        self._has_progress = asyncio.Event()
        self._failing_since = standing.failing_since
        self._failures = 0
        """In a row."""
        self._holds = 0
        self._held_until = -math.inf
        self._is_over = False

    async def until_over(self) -> None:
        """Deliver, until the address is switched off or somebody else has written how it stands."""
        tasks = [asyncio.create_task(run()) for run in (self._write, self._look)]
        try:
            with self._feed.reading(self._reader):
                while not self._is_over:
                    try:
                        await self._start_some()
                    except CursorExpired:
                        log.warning(
                            "webhook %s: changes were forgotten before it was told them", self._name
                        )
                        self._reader.position = Edge.OLDEST
                        continue
                    except GatewayError:
                        self._wake_in(LOOK)
                    await self._signal.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()

    async def _end(self) -> None:
        """Let what is under way end, and write what came of it."""
        if self._flying:
            _, late = await asyncio.wait(self._flying, timeout=FAREWELL)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._write_progress()

    async def _start_some(self) -> None:
        await self._start_retries()
        while self._may_begin():
            change = await self._next()
            if change is None:
                break
            if change.record in self._busy:
                self._behind.setdefault(change.record, deque()).append(change)
            elif change.record in self._stuck:
                self._park(change)
            else:
                self._start(change, 0)
        self._set_alarm()

    async def _start_retries(self) -> None:
        now, room = self._clock.time(), AT_ONCE - len(self._flying)
        if now < self._due_at or not room:
            return
        self._due_at = math.inf  # what is written meanwhile may be due sooner
        try:
            found = await self._archive.read(
                outbox.due,
                self._archive.names,
                self._name,
                int(now),
                without=frozenset(self._retrying),
                limit=room,
            )
        except GatewayError:
            self._due_at = now
            raise
        if found.next_at is not None:
            self._due_at = min(self._due_at, found.next_at)
        for change, tries in found.changes:
            self._retrying.add(change.position.no)
            self._start(change, tries)

    def _may_begin(self) -> bool:
        """May a change be tried that was not tried yet? An address that is down gets but a few."""
        if self._failures < AT_ONCE:
            return len(self._flying) < AT_ONCE
        return not self._flying and self._clock.monotonic() >= self._held_until

    async def _next(self) -> FeedChange | None:
        if not self._queue and len(self._undone) < AHEAD:
            page = await self._feed.page(self._reader, PAGE)
            for change in page.changes:
                self._undone[change.position.no] = None
            self._queue.extend(page.changes)
            if not self._undone and page.next.no - self._written_to >= UNSEEN:
                self._has_progress.set()
        return self._queue.popleft() if self._queue else None

    def _set_alarm(self) -> None:
        moments = []
        if len(self._flying) < AT_ONCE and self._due_at < math.inf:
            moments.append(max(self._due_at - self._clock.time(), 0.0))
        if self._failures >= AT_ONCE and not self._flying:
            moments.append(max(self._held_until - self._clock.monotonic(), 0.0))
        if moments:
            self._wake_in(min(moments))

    def _wake_in(self, seconds: float) -> None:
        self._feed.wakeups.wake_at(self._signal, self._clock.monotonic() + seconds)

    def _start(self, change: FeedChange, tries: int) -> None:
        self._busy.add(change.record)
        task = asyncio.create_task(self._send(change, tries))
        self._flying.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        self._signal.set()

    async def _send(self, change: FeedChange, tries: int) -> None:
        id_ = cursor_of(change.position)
        try:
            body = self._of.body(change, self._of.address.entry.client)
            outcome = await self._poster.post(id_, body)
        except Exception as error:
            log.exception("webhook %s: a change could not be sent", self._name)
            outcome = Outcome(None, type(error).__name__)
        self._busy.discard(change.record)
        if outcome.is_delivered:
            self._delivered(change, tries)
        else:
            self._failed(change, tries, outcome)
        self._has_progress.set()

    def _delivered(self, change: FeedChange, tries: int) -> None:
        self._of.count("delivered")
        self._done(change)
        if tries or change.position.no in self._retrying:
            self._progress.delivered.add(change.position.no)
            self._progress.touched.add(change.record)
        self._progress.values |= {"last_success_at": int(self._clock.time()), "failing_since": None}
        if self._failing_since is not None:
            log.info("webhook %s takes changes again", self._name)
            self._failing_since = None
        self._failures = self._holds = 0
        if behind := self._behind.get(change.record):
            self._queue.appendleft(behind.popleft())
            if not behind:
                del self._behind[change.record]

    def _failed(self, change: FeedChange, tries: int, outcome: Outcome) -> None:
        now, reason = self._clock.time(), str(outcome)
        self._of.count("failed")
        self._failures += 1
        if self._failures >= AT_ONCE and not tries:
            pause = HOLD[min(self._holds, len(HOLD) - 1)]
            self._held_until = self._clock.monotonic() + pause
            self._holds += 1
        if self._failing_since is None:
            self._failing_since = int(now)
            log.warning("webhook %s fails: %s. It is tried again.", self._name, reason)
        self._progress.values |= {
            "last_error_at": int(now),
            "last_error": reason,
            "failing_since": self._failing_since,
        }
        if outcome.status == GONE:
            self._switch_off("it answered 410")
        elif now - self._failing_since >= LONGEST_FAILURE:
            self._switch_off("nothing but failures for five days")
        if tries < len(PAUSES):
            next_at = math.ceil(now + PAUSES[tries])
            self._park(change, tries + 1, next_at, reason)
        else:
            self._give_up(change, tries + 1, reason)

    def _switch_off(self, why: str) -> None:
        self._progress.values["off_at"] = int(self._clock.time())
        self._is_over = True
        log.warning(
            "webhook %s was switched off: %s. It goes on where it stands after a successful "
            "`smsc-gateway webhook test %s`.",
            self._name,
            why,
            self._name,
        )

    def _park(
        self,
        change: FeedChange,
        tries: int = 0,
        next_at: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Have it tried again, or wait behind an earlier one; and all that wait behind it."""
        no, record = change.position.no, change.record
        self._done(change)
        self._progress.parked[no] = Parked(no, record, tries, next_at, reason)
        self._progress.touched.add(record)
        self._stuck.add(record)
        self._has_progress.set()
        for later in self._behind.pop(record, ()):
            self._park(later)

    def _give_up(self, change: FeedChange, tries: int, reason: str) -> None:
        no = change.position.no
        self._of.count("given_up")
        self._progress.given_up[no] = Parked(no, change.record, tries, None, reason)
        self._progress.touched.add(change.record)
        log.warning("webhook %s: a change was given up after %d tries.", self._name, tries)

    def _done(self, change: FeedChange) -> None:
        self._undone.pop(change.position.no, None)

    async def _write(self) -> None:
        while True:
            await self._has_progress.wait()
            self._has_progress.clear()
            while self._progress or self._position() > self._written_to:
                try:
                    await self._write_progress()
                    break
                except GatewayError:
                    await self._clock.sleep(LOOK)
            await self._clock.sleep(WRITE_EVERY)

    async def _write_progress(self) -> None:
        progress, self._progress = self._progress, Progress()
        position = self._position()
        progress.position = position if position > self._written_to else None
        if not progress:
            return
        now = int(self._clock.time())
        try:
            written = await self._archive.write(
                outbox.write, self._name, self._generation, progress, now
            )
        except BaseException:
            self._progress = progress.before(self._progress)
            raise
        if written is None:
            self._is_over = True
            self._signal.set()
            return
        self._written_to = position
        self._retrying -= {*progress.parked, *progress.delivered, *progress.given_up}
        self._stuck -= written.free - self._progress.touched
        times = [one.next_at for one in progress.parked.values() if one.next_at is not None]
        self._due_at = min([self._due_at, *times, *([now] if written.released else [])])
        self._signal.set()

    def _position(self) -> int:
        """Behind this nothing is done yet."""
        if self._undone:
            return next(iter(self._undone)) - 1
        position = self._reader.position
        return position.no if isinstance(position, FeedPosition) else self._written_to

    async def _look(self) -> None:
        """Has somebody else written how it stands?"""
        while True:
            await self._clock.sleep(LOOK)
            with suppress(GatewayError):
                now = await self._archive.read(outbox.standing_of, self._name)
                if now is None or now.generation != self._generation:
                    self._is_over = True
                    self._signal.set()
