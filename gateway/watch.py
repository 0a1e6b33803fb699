"""Watching: one shared poll a message, planned with everything else, for all who are to be told.

The first answer of a stream is a caller's, and comes as soon as any caller's would; what follows is
the watcher's. Whoever reads slowly gets the newest state, not a backlog. Trouble is told as well:
readers learn that what they have is stale, or, when nothing is known yet, why.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidArgument, NotFound
from gateway.freshness import Answer, Known, stale_reason, watch_for
from gateway.merge import MESSAGE_RANK
from gateway.planner import Want as Planned
from gateway.planner import Why
from gateway.records import (
    DetailLevel,
    FreshnessSource,
    Message,
    MessageState,
    Record,
    StateGroup,
    StatusKey,
)
from gateway.service import StatusService, Want

AGAIN = 15.0
"""Seconds after which a failed poll is repeated where the failure does not say when."""

GIVE_UP = 4
"""Answers "not found" in a row after which it is not waited for any longer: more than a minute.
Right after a message was sent the provider may not know it yet."""

UNTIL_STATES = (MessageState.DELIVERED, MessageState.READ, MessageState.CLICKED)
"""States that a message can be followed to; at the first of them following ends by itself."""

LONGEST = 86_400.0
"""Seconds for which a delivered message is followed on: most that are ever read are read by then.
"""

BEYOND_DELIVERY = 600.0
"""Most seconds between two polls of a delivered message that is followed on."""


class Following(NamedTuple):
    """What a reader wants to be told of: no less than this level, up to this state.

    `caller` is for whom the first answer is asked. Without `until` the first final state ends it.
    """

    detail: DetailLevel
    caller: str = ""
    until: MessageState | None = None


def check_until(until: str | None) -> MessageState | None:
    """The state to follow a message to; raises `InvalidArgument` for one that ends nothing."""
    if until is None:
        return None
    if until not in UNTIL_STATES:
        raise InvalidArgument(f"until must be one of {', '.join(UNTIL_STATES)}.")
    return MessageState[until]


@dataclass(eq=False, slots=True)
class _Watch:
    """The readers of one message, and the task that polls for them."""

    readers: dict[asyncio.Event, Following] = field(default_factory=dict)
    poll: asyncio.Task[None] | None = None
    trouble: GatewayError | None = None

    @property
    def detail(self) -> DetailLevel:
        return max((reader.detail for reader in self.readers.values()), key=attrgetter("all"))

    def tell(self, trouble: GatewayError | None) -> None:
        self.trouble = trouble
        for news in self.readers:
            news.set()


class Watches:
    """All that is watched."""

    def __init__(self, service: StatusService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._watches: dict[StatusKey, _Watch] = {}
        self.ended = False
        """The gateway is about to stop: who follows is told nothing more."""
        service.notify(self._learned)

    async def follow(
        self, key: StatusKey, reader: Following
    ) -> AsyncGenerator[Answer | GatewayError, None]:
        """What is known: at once, if that is detailed enough, and at each change, to the last one.

        What the provider pushed is told at once, and its details when they are known.
        An error says why nothing is known yet; more may follow it.
        """
        await self._service.recall([key])
        news = asyncio.Event()
        watch = self._watches.setdefault(key.canonical, _Watch())
        is_more = not watch.readers or not watch.detail.covers(reader.detail)
        watch.readers[news] = reader
        if is_more:
            if watch.poll is not None:
                watch.poll.cancel()
            watch.poll = asyncio.create_task(self._poll(key, watch))
        before, told = self._service.peek(key), None
        first = asyncio.create_task(self._ask_first(key, reader, watch))
        until = math.inf if reader.until is None else self._clock.time() + LONGEST
        try:
            while not self.ended and self._clock.time() < until:
                known = self._service.peek(key)
                live = known is not before
                event = self._event(key, known, watch.trouble, reader.detail, live=live)
                if event is not None:
                    if (tells := _tells(event)) != told:
                        told = tells
                        yield event
                    if _is_last(known, reader, self._clock.time()):
                        return
                await news.wait()
                news.clear()
        finally:
            first.cancel()
            del watch.readers[news]
            if not watch.readers and watch.poll is not None:
                watch.poll.cancel()
                del self._watches[key.canonical]

    def latest(self, key: StatusKey, detail: DetailLevel) -> Answer | GatewayError | None:
        """What those who follow a message know now; None: nothing yet."""
        watch = self._watches.get(key.canonical)
        trouble = None if watch is None else watch.trouble
        return self._event(key, self._service.peek(key), trouble, detail, live=False)

    def is_over(self, key: StatusKey, reader: Following) -> bool:
        """Would following end with what is known already?"""
        return _is_last(self._service.peek(key), reader, self._clock.time())

    def end(self) -> None:
        """End all following: the gateway is about to stop."""
        self.ended = True
        for watch in self._watches.values():
            watch.tell(watch.trouble)

    async def aclose(self) -> None:
        """End all following, and stop polling."""
        self.end()
        polls = [watch.poll for watch in self._watches.values() if watch.poll is not None]
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    def _event(
        self,
        key: StatusKey,
        known: Known | None,
        trouble: GatewayError | None,
        detail: DetailLevel,
        *,
        live: bool,
    ) -> Answer | GatewayError | None:
        if known is None:
            return trouble
        if known.record is None:
            if self._service.may_be_respelled(key, known):
                return trouble  # the number's other spelling is going to be asked for
            return NotFound("The provider knows no message with this id and phone.")
        if trouble is None and not _is_told(known, detail):
            return None
        return Answer(
            known,
            self._clock.time(),
            live,
            self._service.next_at(key, known),
            stale=trouble is not None,
            stale_reason=None if trouble is None else stale_reason(trouble),
        ).named(key)

    async def _ask_first(self, key: StatusKey, reader: Following, watch: _Watch) -> None:
        """Where nothing can be told yet, ask as a caller does, before any watcher's turn comes."""
        known = self._service.peek(key)
        if known is not None and (known.record is None or _is_whole(known, reader.detail)):
            return
        try:
            await self._service.get(key, Want(reader.detail, caller=reader.caller))
        except NotFound:
            return  # whoever follows was told when that was learned
        except GatewayError as error:
            self._tell_trouble(watch, error)

    async def _poll(self, key: StatusKey, watch: _Watch) -> None:
        """Want the message again and again, as often as its age deserves, until all have left."""
        known = self._service.peek(key)
        due = self._clock.monotonic()
        if known and (not known.record or known.detail.covers(watch.detail)):
            due = self._due(known)
        while not self._service.is_closed:
            try:
                known = await self._service.poll(self._want(key, watch, due))
            except GatewayError as error:
                self._tell_trouble(watch, error)
                wait = AGAIN if error.retry_after is None else error.retry_after
                due = self._clock.monotonic() + max(wait, 1.0)
            else:
                due = self._due(known)

    @staticmethod
    def _tell_trouble(watch: _Watch, error: GatewayError) -> None:
        if watch.trouble is None or watch.trouble.code != error.code:
            watch.tell(error)

    def _want(self, key: StatusKey, watch: _Watch, due: float) -> Planned:
        known = self._service.peek(key)
        seen, caller = -math.inf, ""
        if known is not None and _is_told(known, watch.detail):
            seen = self._monotonic(known.observed_at)
        else:  # the first answer is still a caller's, after he has waited for `MAX_WAIT` as well
            caller = next(iter(watch.readers.values())).caller
        return Planned(
            self._service.resolve(key),
            watch.detail,
            Why.WATCHER,
            caller=caller,
            due=due,
            seen=seen,
            wanted=len(watch.readers),
        )

    def _due(self, known: Known) -> float:
        """When to ask again."""
        record = known.record
        pause = AGAIN if record is None else watch_for(record, known.observed_at)
        if record is not None and record.is_final:
            pause = min(pause, BEYOND_DELIVERY)
        return self._monotonic(known.observed_at) + pause

    def _monotonic(self, moment: float) -> float:
        return moment - self._clock.time() + self._clock.monotonic()

    def _learned(self, key: StatusKey) -> None:
        if (watch := self._watches.get(key.canonical)) is not None:
            watch.tell(None)


def _tells(event: Answer | GatewayError) -> object:
    """What makes two events the same news."""
    if isinstance(event, GatewayError):
        return event.code
    return event.record, event.stale_reason


def _is_last(known: Known | None, reader: Following, now: float) -> bool:
    if known is None:
        return False
    if known.record is None:
        is_deleted = known.deleted and now < known.fresh_until  # later the id may be used again
        return is_deleted or known.misses >= GIVE_UP
    return _is_reached(known.record, reader.until) and _is_whole(known, reader.detail)


def _is_reached(record: Record, until: MessageState | None) -> bool:
    if until is None or not isinstance(record, Message) or record.archived:
        return record.is_final
    return record.is_final and (
        record.state_group is not StateGroup.DELIVERED
        or MESSAGE_RANK[record.state] >= MESSAGE_RANK[until]
    )


def _is_told(known: Known, detail: DetailLevel) -> bool:
    """Is it told to who wants that level? What was pushed is, before its details are known."""
    is_pushed = known.source is FreshnessSource.CALLBACK
    return known.record is None or is_pushed or _is_whole(known, detail)


def _is_whole(known: Known, detail: DetailLevel) -> bool:
    """Are all its details known that ever will be?"""
    is_archived = isinstance(known.record, Message) and known.record.archived
    return is_archived or known.detail.covers(detail)
