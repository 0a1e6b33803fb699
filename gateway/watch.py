"""Watching: one shared poll a message, planned with everything else, for all who are to be told.

Whoever reads slowly gets the newest state, not a backlog.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.errors import GatewayError, Overloaded
from gateway.freshness import Known, watch_for
from gateway.planner import Want as Planned
from gateway.planner import Why
from gateway.records import DetailLevel, StatusKey
from gateway.service import StatusService

AGAIN = 15.0
"""Seconds after which a failed poll is repeated where the failure does not say when."""


@dataclass(eq=False, slots=True)
class _Watch:
    """The readers of one message, and the task that polls for them."""

    readers: dict[asyncio.Event, DetailLevel] = field(default_factory=dict)
    poll: asyncio.Task[None] | None = None

    @property
    def detail(self) -> DetailLevel:
        return max(self.readers.values(), key=lambda level: level.all)


class Watches:
    """All that is watched."""

    def __init__(self, service: StatusService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._watches: dict[StatusKey, _Watch] = {}
        service.notify(self._learned)

    async def follow(self, key: StatusKey, detail: DetailLevel) -> AsyncIterator[Known]:
        """What is known: at once, if anything is, and at each change.

        Ends when the state is final or the message is deleted.
        """
        news = asyncio.Event()
        watch = self._watches.setdefault(key, _Watch())
        is_more = not watch.readers or not watch.detail.covers(detail)
        watch.readers[news] = detail
        if is_more:
            if watch.poll is not None:
                watch.poll.cancel()
            watch.poll = asyncio.create_task(self._poll(key, watch))
        try:
            told = None
            while True:
                known = self._service.peek(key)
                if known is not None and known.record is not None:
                    state = known.record.model_copy(update={"freshness": None})
                    if state != told:
                        told = state
                        yield known
                    if known.record.is_final:
                        return
                elif known is not None and known.deleted and self._is_fresh(known):
                    return
                await news.wait()
                news.clear()
        finally:
            del watch.readers[news]
            if not watch.readers and watch.poll is not None:
                watch.poll.cancel()
                del self._watches[key]

    async def aclose(self) -> None:
        """Stop polling; who still reads is told nothing more."""
        polls = [watch.poll for watch in self._watches.values() if watch.poll is not None]
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    async def _poll(self, key: StatusKey, watch: _Watch) -> None:
        """Want the message again and again, as often as its age deserves, until all have left."""
        known = self._service.peek(key)
        due = self._clock.monotonic()
        if known and (not known.record or known.record.freshness.detail.covers(watch.detail)):
            due = self._due(known)
        while True:
            try:
                known = await self._service.poll(self._want(key, watch, due))
            except Overloaded:
                return  # shutting down
            except GatewayError as error:
                wait = AGAIN if error.retry_after is None else error.retry_after
                due = self._clock.monotonic() + max(wait, 1.0)
            else:
                due = self._due(known)

    def _want(self, key: StatusKey, watch: _Watch, due: float) -> Planned:
        known = self._service.peek(key)
        seen = self._monotonic(known.observed_at) if known is not None else -math.inf
        readers = len(watch.readers)
        return Planned(key, watch.detail, Why.WATCHER, due=due, seen=seen, wanted=readers)

    def _due(self, known: Known) -> float:
        """When to ask again."""
        record = known.record
        pause = AGAIN if record is None else watch_for(record, known.observed_at)
        return self._monotonic(known.observed_at) + pause

    def _is_fresh(self, known: Known) -> bool:
        """Later the same id may have been sent again."""
        return self._clock.time() < known.fresh_until

    def _monotonic(self, moment: float) -> float:
        return moment - self._clock.time() + self._clock.monotonic()

    def _learned(self, key: StatusKey) -> None:
        watch = self._watches.get(key)
        for news in watch.readers if watch is not None else ():
            news.set()
