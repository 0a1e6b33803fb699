"""Subscriptions to messages: all subscribers of a message share one poll.

The first answer of a stream is a caller's, and comes as soon as any caller's would; what follows is
the watcher's. Whoever reads slowly gets the newest state, not a backlog. Trouble is told as well:
readers learn that what they have is stale, or, when nothing is known yet, why.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidArgument, NotFound
from gateway.model.freshness import Answer, CacheEntry, stale_reason, watch_for
from gateway.model.merge import MESSAGE_RANK
from gateway.model.records import (
    DetailLevel,
    FreshnessSource,
    Message,
    MessageState,
    Record,
    StateGroup,
    StatusKey,
)
from gateway.service import StatusQuery, StatusService
from gateway.upstream.planner import FetchRequest, Why
from gateway.wakeups import Signal, Wakeups

T = TypeVar("T")
How = TypeVar("How", bound=Hashable)

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
    """What a subscriber follows: the least detail level, and the state at which it ends.

    `caller` is for whom the first answer is asked. Without `until` the first final state ends it.
    `content`: texts and comments are wanted too.
    """

    detail: DetailLevel
    caller: str = ""
    until: MessageState | None = None
    content: bool = True


def check_until(until: str | None) -> MessageState | None:
    """The state to follow a message to; raises `InvalidArgument` for one that ends nothing."""
    if until is None:
        return None
    if until not in UNTIL_STATES:
        raise InvalidArgument(f"until must be one of {', '.join(UNTIL_STATES)}.")
    return MessageState[until]


Content: TypeAlias = Answer | GatewayError
"""What is told: the record, stale where there is trouble; or why there is none."""


class Event:
    """One event of a message, made and serialised once for all its subscribers."""

    __slots__ = ("_written", "content", "news")

    def __init__(self, content: Content) -> None:
        self.content = content
        self.news: object = (
            content.code
            if isinstance(content, GatewayError)
            else (content.record, content.stale_reason)
        )
        """Equal in events that tell the same."""
        self._written: dict[tuple[object, Hashable], Any] = {}

    def once(self, write: Callable[[Content, How], T], how: How) -> T:
        """What `write` makes of the content: the same object for all who want it written so."""
        key = write, how
        if key not in self._written:
            self._written[key] = write(self.content, how)
        written: T = self._written[key]
        return written


class _Moment(NamedTuple):
    """What events are made of, and those made of it so far; it lasts a second, as ages do.

    Events differ by the spelling of the number, and by whether they are `live`: to those who were
    there before it was known.
    """

    entry: CacheEntry | None
    trouble: GatewayError | None
    second: int
    events: dict[tuple[str, bool], Event]


@dataclass(eq=False, slots=True)
class _Subscription:
    """One who follows a message."""

    key: StatusKey
    following: Following
    signal: Signal
    ends_at: float
    before: CacheEntry | None
    """What was known when it came."""


@dataclass(eq=False, slots=True)
class _Watch:
    """The subscriptions to one message, and the task that polls for them."""

    detail: DetailLevel
    """What is polled for: no less than any of them wants."""
    subscriptions: dict[_Subscription, None] = field(default_factory=dict)
    poll: asyncio.Task[None] | None = None
    trouble: GatewayError | None = None
    told: CacheEntry | None = None
    """What was known when all of them were woken last."""
    moment: _Moment | None = None


class Watches:
    """All that is watched."""

    def __init__(self, service: StatusService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._watches: dict[StatusKey, _Watch] = {}
        self.wakeups = Wakeups(clock)
        """Wakes subscribers, and whatever else waits together with them."""
        self.ended = False
        """The gateway is about to stop: who follows is told nothing more."""
        service.notify(self._on_change)

    async def follow(self, key: StatusKey, following: Following) -> AsyncGenerator[Content, None]:
        """Yield the record at once, if it is detailed enough, and after each change.

        What the provider pushed is told at once, and its details when they are known.
        An error says why nothing is known yet; more may follow it.
        """
        async with aclosing(self.events(key, following, Signal())) as events:
            async for event in events:
                if event is not None:
                    yield event.content

    async def events(
        self, key: StatusKey, following: Following, signal: Signal
    ) -> AsyncGenerator[Event | None, None]:
        """As `follow`, but `Event`s; None when woken by `signal` with nothing new."""
        entry = self._service.peek(key)
        if entry is None and await self._service.recall([key]):
            entry = self._service.peek(key)
        now = self._clock.time()
        ends_at = math.inf if following.until is None else now + LONGEST
        subscription = _Subscription(key, following, signal, ends_at, entry)
        watch = self._join(subscription)
        first: asyncio.Task[None] | None = None
        if not _is_answered(entry, following):
            first = asyncio.create_task(self._ask_first(subscription, watch))
        news: object = None
        try:
            while not self.ended and now < ends_at:
                event = self._event(watch, subscription, entry, int(now))
                is_last = event is not None and _is_last(entry, following, now)
                if event is not None and event.news == news:
                    event = None
                if event is not None:
                    news = event.news
                if event is not None or not is_last:
                    yield event
                if is_last:
                    return
                del event  # what was written of it need not be kept
                await signal.wait()
                now, entry = self._clock.time(), self._service.peek(key)
        finally:
            if first is not None:
                first.cancel()
            self._leave(subscription, watch)

    def latest(self, key: StatusKey, detail: DetailLevel) -> Content | None:
        """What those who follow a message know now; None: nothing yet."""
        watch = self._watches.get(key.canonical)
        trouble = None if watch is None else watch.trouble
        return self._content(key, self._service.peek(key), trouble, detail, live=False)

    def is_over(self, key: StatusKey, following: Following) -> bool:
        """Would following end with what is known already?"""
        return _is_last(self._service.peek(key), following, self._clock.time())

    def end(self) -> None:
        """End all following: the gateway is about to stop."""
        self.ended = True
        for watch in self._watches.values():
            self._wake(watch)

    async def aclose(self) -> None:
        """End all following, and stop polling."""
        self.end()
        self.wakeups.close()
        polls = [watch.poll for watch in self._watches.values() if watch.poll is not None]
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)

    def _join(self, subscription: _Subscription) -> _Watch:
        key, detail = subscription.key, subscription.following.detail
        watch = self._watches.get(key.canonical)
        if watch is None:
            watch = self._watches[key.canonical] = _Watch(detail)
        is_more = not watch.subscriptions or not watch.detail.covers(detail)
        watch.subscriptions[subscription] = None
        if is_more:
            watch.detail = _least_detail(watch)
            if watch.poll is not None:
                watch.poll.cancel()
            watch.poll = asyncio.create_task(self._poll(key, watch))
        return watch

    def _leave(self, subscription: _Subscription, watch: _Watch) -> None:
        del watch.subscriptions[subscription]
        if not watch.subscriptions and watch.poll is not None:
            watch.poll.cancel()
            del self._watches[subscription.key.canonical]

    def _event(
        self, watch: _Watch, subscription: _Subscription, entry: CacheEntry | None, second: int
    ) -> Event | None:
        """The event for a subscription, made unless another one has had it; None: nothing yet."""
        moment = watch.moment
        if moment is None or not (
            moment.entry is entry and moment.trouble is watch.trouble and moment.second == second
        ):
            moment = watch.moment = _Moment(entry, watch.trouble, second, {})
        key, detail = subscription.key, subscription.following.detail
        if entry is not None and watch.trouble is None and not _is_told(entry, detail):
            return None
        live = entry is not subscription.before
        event = moment.events.get((key.phone, live))
        if event is None:
            content = self._content(key, entry, watch.trouble, detail, live=live)
            if content is None:
                return None
            event = moment.events[key.phone, live] = Event(content)
        return event

    def _content(
        self,
        key: StatusKey,
        entry: CacheEntry | None,
        trouble: GatewayError | None,
        detail: DetailLevel,
        *,
        live: bool,
    ) -> Content | None:
        if entry is None:
            return trouble
        if entry.record is None:
            if self._service.may_be_respelled(key, entry):
                return trouble  # the number's other spelling is going to be asked for
            return NotFound("The provider knows no message with this id and phone.")
        if trouble is None and not _is_told(entry, detail):
            return None
        return Answer(
            entry,
            self._clock.time(),
            live,
            self._service.next_at(key, entry),
            stale=trouble is not None,
            stale_reason=None if trouble is None else stale_reason(trouble),
        ).named(key)

    async def _ask_first(self, subscription: _Subscription, watch: _Watch) -> None:
        """Ask as a caller does, before any watcher's turn comes."""
        key, following = subscription.key, subscription.following
        if _is_answered(self._service.peek(key), following):
            return
        try:
            await self._service.get(
                key,
                StatusQuery(following.detail, caller=following.caller, content=following.content),
            )
        except NotFound:
            return  # whoever follows was told when that was learned
        except GatewayError as error:
            self._tell_trouble(watch, error)

    async def _poll(self, key: StatusKey, watch: _Watch) -> None:
        """Want the message again and again, as often as its age deserves, until all have left."""
        entry = self._service.peek(key)
        due = self._clock.monotonic()
        if entry and (not entry.record or entry.detail.covers(watch.detail)):
            due = self._due(entry)
        while not self._service.is_closed:
            try:
                entry = await self._service.poll(self._fetch_request(key, watch, due))
            except GatewayError as error:
                self._tell_trouble(watch, error)
                wait = AGAIN if error.retry_after is None else error.retry_after
                due = self._clock.monotonic() + max(wait, 1.0)
            else:
                due = self._due(entry)

    def _tell_trouble(self, watch: _Watch, error: GatewayError) -> None:
        if watch.trouble is None or watch.trouble.code != error.code:
            watch.trouble = error
            self._wake(watch)

    def _fetch_request(self, key: StatusKey, watch: _Watch, due: float) -> FetchRequest:
        entry = self._service.peek(key)
        watch.detail = _least_detail(watch)  # who wanted more may have left
        seen, caller = -math.inf, ""
        if entry is not None and _is_told(entry, watch.detail):
            seen = self._monotonic(entry.observed_at)
        else:  # the first answer is still a caller's, after he has waited for `MAX_WAIT` as well
            caller = next(iter(watch.subscriptions)).following.caller
        return FetchRequest(
            self._service.resolve(key),
            watch.detail,
            Why.WATCHER,
            caller=caller,
            due=due,
            seen=seen,
            wanted=len(watch.subscriptions),
        )

    def _due(self, entry: CacheEntry) -> float:
        """When to ask again."""
        return self._monotonic(entry.observed_at) + pause_after(entry)

    def _monotonic(self, moment: float) -> float:
        return moment - self._clock.time() + self._clock.monotonic()

    def _on_change(self, key: StatusKey) -> None:
        watch = self._watches.get(key.canonical)
        if watch is None:
            return
        entry, told, was_well = self._service.peek(key), watch.told, watch.trouble is None
        watch.told, watch.trouble = entry, None
        if was_well and _tells_nothing_new(entry, told):
            now = self._clock.time()
            over = [one.signal for one in watch.subscriptions if one.ends_at <= now]
            self.wakeups.wake(*over)
        else:
            self._wake(watch)

    def _wake(self, watch: _Watch) -> None:
        self.wakeups.wake(*[subscription.signal for subscription in watch.subscriptions])


def _least_detail(watch: _Watch) -> DetailLevel:
    """The lowest level that is enough for all who follow."""
    levels = {subscription.following.detail for subscription in watch.subscriptions}
    return max(levels, key=attrgetter("all"))


def _tells_nothing_new(entry: CacheEntry | None, told: CacheEntry | None) -> bool:
    """Is it the same record, seen again? How often it was not found counts."""
    return (
        entry is not None
        and told is not None
        and entry.record is not None
        and (entry.record, entry.detail, entry.source) == (told.record, told.detail, told.source)
    )


def _is_answered(entry: CacheEntry | None, following: Following) -> bool:
    """Is there what a caller would be answered with?"""
    return entry is not None and (
        entry.record is None or _is_whole(entry, following.detail, content=following.content)
    )


def pause_after(entry: CacheEntry) -> float:
    """Seconds from when it was observed until who watches it wants to see it again."""
    record = entry.record
    if record is None:
        return AGAIN
    pause = watch_for(record, entry.observed_at)
    return min(pause, BEYOND_DELIVERY) if record.is_final else pause


def _is_last(entry: CacheEntry | None, following: Following, now: float) -> bool:
    if entry is None:
        return False
    if entry.record is None:
        return is_missing(entry, now)
    is_whole = _is_whole(entry, following.detail, content=following.content)
    return is_reached(entry.record, following.until) and is_whole


def is_missing(entry: CacheEntry, now: float) -> bool:
    """Does the provider not know it, for good?"""
    is_deleted = entry.deleted and now < entry.fresh_until  # later the id may be used again
    return is_deleted or entry.misses >= GIVE_UP


def is_reached(record: Record, until: MessageState | None) -> bool:
    """Is it in the state to which it is followed, or in one from which it can't come there?"""
    if until is None or not isinstance(record, Message) or record.archived:
        return record.is_final
    return record.is_final and (
        record.state_group is not StateGroup.DELIVERED
        or MESSAGE_RANK[record.state] >= MESSAGE_RANK[until]
    )


def _is_told(entry: CacheEntry, detail: DetailLevel) -> bool:
    """Is it told to who wants that level? What was pushed is, before its details are known."""
    is_pushed = entry.source is FreshnessSource.CALLBACK
    return entry.record is None or is_pushed or _is_whole(entry, detail, content=False)


def _is_whole(entry: CacheEntry, detail: DetailLevel, *, content: bool) -> bool:
    """Are all its details known that ever will be?"""
    is_archived = isinstance(entry.record, Message) and entry.record.archived
    return is_archived or entry.covers(detail, content=content)
