"""`StatusService`: the facade for status queries, polls, pushes and deletions."""

import asyncio
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gateway.archive.report import ArchiveState
from gateway.cache import Pushed, RecordCache, certain_kind
from gateway.clock import Clock
from gateway.errors import (
    GatewayError,
    InvalidArgument,
    KindMismatch,
    LimitReached,
    NotCached,
    NotFound,
    Overloaded,
)
from gateway.model.freshness import (
    Answer,
    CacheEntry,
    Forwarded,
    rule_for,
    serves_stale,
    stale_reason,
)
from gateway.model.records import (
    DetailLevel,
    FreshnessSource,
    HlrLookup,
    Record,
    StatusKey,
)
from gateway.smsc.push import Push, spellings, usual_spelling
from gateway.smsc.row import Row
from gateway.upstream import planner
from gateway.upstream.breaker import Breaker
from gateway.upstream.budget.port import Budget
from gateway.upstream.cost import Served
from gateway.upstream.demand import RecentDemand
from gateway.upstream.dispatcher import Dispatcher, Followed, Provider
from gateway.upstream.forecast import Forecast
from gateway.upstream.planner import Why
from gateway.upstream.status import Histograms, HitCounters, LinkState, describe

MAX_ITEMS = 1000
"""Keys in one call."""

RESPELL_AGAIN = 60.0
"""Seconds after which a message that is still not found is asked for by its number's other spelling
again: right after it was sent the provider may know it by neither."""


class StatusQuery(NamedTuple):
    """What a caller wants to know: the level, the kind (None: either), and how old it may be.

    `max_age` is in seconds, None: as long as the record counts as fresh. `only_cached`: never ask
    the provider. `caller` tells callers apart, who take turns where they have to wait. `slack`: so
    many seconds beyond its freshness a record will do; negative: so many must be left of it.
    `stale_if_error`: so many seconds beyond its freshness a record may stand in for an answer that
    can't be had (RFC 5861, section 4); 0: never, None: whatever its age. `content`: texts and
    comments are wanted too, where the level has them.
    """

    detail: DetailLevel = DetailLevel.FULL
    kind: type[Record] | None = None
    max_age: float | None = None
    only_cached: bool = False
    caller: str = ""
    slack: float = 0.0
    stale_if_error: float | None = None
    content: bool = True


class Basis(Struct, frozen=True, gc=False):
    """What an answer that is kept was made of: it holds until then, if nothing is learned before.

    `until` is in seconds since 1970.
    """

    keys: Sequence[StatusKey | GatewayError]
    entries: Sequence[CacheEntry]
    until: float


class StatusService:
    """Gives records: from what is known while it is fresh, else from the provider."""

    def __init__(
        self,
        provider: Provider,
        budget: Budget,
        cache: RecordCache,
        clock: Clock,
        *,
        mass_max_ids: int,
        max_wait: float,
        linger: float,
    ) -> None:
        self._budget = budget
        self._breaker = Breaker()
        self._cache = cache
        self._notified: list[Callable[[StatusKey], None]] = []
        cache.on_change = self._changed
        self._clock = clock
        self._demand = RecentDemand()
        self._served = HitCounters()
        self._dispatcher = Dispatcher[CacheEntry](
            provider,
            budget,
            self._breaker,
            clock,
            merge=self._merge_answer,
            riders=self._riders,
            mass_max_ids=mass_max_ids,
            max_wait=max_wait,
            linger=linger,
        )

    async def aclose(self) -> None:
        await self._dispatcher.aclose()

    @property
    def is_closed(self) -> bool:
        """Is nothing asked any more?"""
        return self._dispatcher.is_closed

    async def get(self, key: StatusKey, query: StatusQuery, *, turn: int = 0) -> Answer:
        """The answer for a key; `turn` counts the keys of one call.

        Raises `NotFound`, `KindMismatch`, `NotCached`, or what kept the provider from answering
        when no older record can stand in.
        """
        return self.get_now(key, query) or await self.get_later(key, query, turn)

    def get_now(self, key: StatusKey, query: StatusQuery) -> Answer | None:
        """The answer, if there is one that need not be waited for; raises as `get` does."""
        entry = self._cache.get(key)
        now = self._clock.time()
        if entry is not None and _is_plain_hit(entry, query, now):
            self._served.hit(now - entry.observed_at, final=True)
            return Answer(entry, now)
        if entry is None or entry.record is None:
            other, _ = self._find(key)
            if other is not key:
                answer = self.get_now(other, query)
                return None if answer is None else answer.named(key)
        if entry is None or entry.record is None or not entry.record.is_final:
            self._demand.note(key, query.detail, self._clock.monotonic())
        if entry is None or (entry.record is None and self.may_be_respelled(key, entry)):
            return None
        is_fresh = self._answers(entry, query, now)
        if not is_fresh and (query.only_cached or not self._answers(entry, query, now, stale=True)):
            return None
        self._served.hit(now - entry.observed_at, final=_is_final(entry))
        if not is_fresh:
            self._renew(key, entry, query.detail)
        answer = self._answer(key, entry, query, live=False)
        return answer if is_fresh and now < entry.fresh_until else replace(answer, stale=True)

    def holds(self, basis: Basis) -> bool:
        """Is a kept answer still valid? If so, count a hit for each of its records."""
        now = self._clock.time()
        if now >= basis.until or not self._cache.holds(basis.keys, basis.entries):
            return False
        if len(basis.entries) == 1:
            self._served.hit(now - basis.entries[0].observed_at, final=True)
        else:
            self._served.settled([now - entry.observed_at for entry in basis.entries])
        return True

    async def get_later(self, key: StatusKey, query: StatusQuery, turn: int = 0) -> Answer:
        """The answer where `get_now` had none: from the shared store, else from the provider.

        What is known stands in for it, if there is anything.
        """
        if await self.recall([key]) and (answer := self.get_now(key, query)) is not None:
            return answer
        return await self._ask(key, query, turn)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:
        """Learn what other processes know of keys that are not known here; False: nothing."""
        return await self._cache.recall(keys)

    def load(self, entries: Iterable[CacheEntry]) -> int:
        """Know what the archive has of records that are not known here; how many there were."""
        return self._cache.load(entries)

    async def forget(self, keys: Iterable[StatusKey]) -> None:
        """Answer nobody by what is known of these keys; raises `Overloaded` as the store does."""
        await self._cache.forget(keys)

    @property
    def most_records(self) -> int:
        """How many records are known at a time."""
        return self._cache.most

    def resolve(self, key: StatusKey) -> StatusKey:
        """The key under which a message is known or asked for: as it is spelled, or respelled.

        A Russian or Kazakh number written `8…` and the same written `7…` name one record. While
        nothing is known of either, the spelling given is the one to ask by.
        """
        return self._find(key)[0]

    def _find(self, key: StatusKey) -> tuple[StatusKey, CacheEntry | None]:
        """`resolve` a key, and what is known under it."""
        entry = self._cache.get(key)
        if entry is not None and entry.record is not None:
            return key, entry
        other = key.respelled
        if other is None:
            return key, entry
        there = self._cache.get(other)
        if there is not None and there.record is not None:
            return other, there
        planned_at = self._dispatcher.planned_at
        is_asked = planned_at(other) is not None and planned_at(key) is None
        return (other, there) if is_asked else (key, entry)

    async def _ask(self, named: StatusKey, query: StatusQuery, turn: int) -> Answer:
        if query.only_cached:
            raise NotCached("Nothing fresh enough is cached for this message.")
        key, entry = self._find(named)
        forwarded = _why(entry, query, self._clock.time())
        try:
            key, fetched = await self._fetch_either(key, query, entry, turn)
            self._served.miss(0.0, final=_is_final(fetched))
            answer = self._answer(key, fetched, query, live=True)
            return replace(answer.named(named), forwarded=forwarded)
        except (NotFound, KindMismatch):
            raise
        except GatewayError as error:
            entry, now = self._cache.get(key), self._clock.time()
            if entry is None or entry.record is None or not _stands_in(entry, query, now):
                self._served.failed += 1
                raise
            self._served.miss(now - entry.observed_at, final=_is_final(entry))
            again = None if error.retry_after is None else now + error.retry_after
            return Answer(
                entry,
                now,
                next_at=again,
                stale=True,
                stale_reason=stale_reason(error),
                forwarded=forwarded,
            ).named(named)

    async def get_many(
        self, keys: Sequence[StatusKey | GatewayError], query: StatusQuery
    ) -> Sequence[Answer | GatewayError]:
        """The answer for each key or what went wrong, in the order of the keys.

        A key that could not be read is an error already, and stays it. More than `MAX_ITEMS` are
        an `InvalidArgument`.
        """
        _check_number(keys)
        settled = self.get_settled(keys, query)
        if settled is None:
            return await self._get_each(keys, query)
        entries, now = settled
        return [Answer(entry, now) for entry in entries]

    async def _get_each(
        self, keys: Sequence[StatusKey | GatewayError], query: StatusQuery
    ) -> list[Answer | GatewayError]:
        async def later(turn: int, key: StatusKey) -> Answer | GatewayError:
            try:
                return await self._ask(key, query, turn)
            except GatewayError as error:
                return error

        found: dict[StatusKey, Answer | GatewayError] = {}

        def look(keys: Iterable[StatusKey]) -> list[StatusKey]:
            """Those of the keys that there is no answer to yet."""
            missing = []
            for key in keys:
                try:
                    answer = self.get_now(key, query)
                except GatewayError as error:
                    found[key] = error
                else:
                    if answer is None:
                        missing.append(key)
                    else:
                        found[key] = answer
            return missing

        missing = look(dict.fromkeys(key for key in keys if isinstance(key, StatusKey)))
        if missing and await self.recall(missing):
            missing = look(missing)
        missing.sort(key=self._observed_at)  # what is unknown first, then the oldest
        waits = (later(turn, key) for turn, key in enumerate(missing))
        found.update(zip(missing, await asyncio.gather(*waits), strict=True))
        return [found[key] if isinstance(key, StatusKey) else key for key in keys]

    async def forecast(
        self, keys: Sequence[StatusKey | GatewayError], query: StatusQuery
    ) -> Forecast:
        """What `get_many` would cost now, and when all would be known; nothing is asked.

        A key that could not be read costs nothing. Raises `InvalidArgument` as `get_many` does.
        """
        _check_number(keys)
        named = [key for key in keys if isinstance(key, StatusKey)]
        await self.recall([key for key in dict.fromkeys(named) if self.peek(key) is None])
        now, monotonic = self._clock.time(), self._clock.monotonic()
        served: dict[StatusKey, str | None] = {}
        missing: dict[StatusKey, StatusKey] = {}
        for key in named:
            spelled, entry = self._find(key)
            if entry is not None and entry.record is None and self.may_be_respelled(spelled, entry):
                missing[key] = spelled.respelled or spelled
            elif entry is None or not self._answers(entry, query, now, stale=True):
                missing[key] = spelled
            else:
                served[key] = "cache" if now < entry.fresh_until else "stale"
        asked = sorted(dict.fromkeys(missing.values()), key=self._observed_at)
        outlook = await self._dispatcher.forecast(asked, query.detail, query.caller)
        for key, spelled in missing.items():
            served[key] = "live" if spelled in outlook.answered_at else self._fallback(key, query)
        told = Counter(how for key in named if (how := served[key]) is not None)
        known_at = outlook.all_known_at
        return Forecast(
            requests=outlook.requests,
            mass=outlook.mass,
            served=Served(**told),
            all_known_by=None
            if known_at is None
            else datetime.fromtimestamp(math.ceil(now + known_at - monotonic), UTC),
        )

    def _fallback(self, key: StatusKey, query: StatusQuery) -> str | None:
        entry = self.peek(key)
        stands_in = entry is not None and _stands_in(entry, query, self._clock.time())
        return "stale" if stands_in else None

    def get_settled(
        self, keys: Sequence[StatusKey | GatewayError], query: StatusQuery
    ) -> tuple[Sequence[CacheEntry], float] | None:
        """The cache entries of the keys, and now, if all are final, fresh and detailed enough.

        That is what dashboards mostly ask for. Each is an answer to a caller, and counted so.
        """
        is_usual = query.max_age is None and query.slack >= 0 and query.kind is None
        if not is_usual or len(keys) > MAX_ITEMS:
            return None
        now = self._clock.time()
        found = self._cache.get_settled(keys, query.detail, now, content=query.content)
        if found is None:
            return None
        self._served.settled([now - entry.observed_at for entry in found])
        return found, now

    async def poll(self, fetch: planner.FetchRequest) -> CacheEntry:
        """The provider's answer to a watcher, once it is due and there is room; for `watch`.

        What the provider does not know is asked for by the number's other spelling as well.
        """
        entry = await self._dispatcher.watch(fetch)
        other = fetch.key.respelled
        if other is None or entry.record is not None or not self.may_be_respelled(fetch.key, entry):
            return entry
        there = await self._dispatcher.watch(dataclasses.replace(fetch, key=other))
        return entry if there.record is None else there

    async def delete(self, key: StatusKey) -> None:
        """Have the provider delete a message; for a while it then counts as not found.

        Raises `DeleteRefused`, `KindMismatch` (a lookup can't be deleted), or what kept the
        provider from answering.
        """
        await self.recall([key])
        key = self.resolve(key)
        entry = self._cache.get(key)
        if entry is not None and entry.certain and isinstance(entry.record, HlrLookup):
            raise KindMismatch(f"{key.id} is an HLR lookup, which can't be deleted.")
        await self._dispatcher.delete(key, self._deleted)

    async def receive(self, push: Push) -> Pushed:
        """`ingest` a push; a message unknown here is first looked up in the shared store."""
        key = self._pushed_as(push.key)
        if key is None and await self.recall(_spellings(push.key)):
            key = self._pushed_as(push.key)
        return self._ingest(push, key)

    def ingest(self, push: Push) -> Pushed:
        """Merge a status that the provider pushed; what is final is asked for no more.

        A push reaches the record known by the number as pushed; if there is none, the one known by
        the same Russian number in another form (`8…` for `7…`).
        """
        return self._ingest(push, self._pushed_as(push.key))

    def _ingest(self, push: Push, known_as: StatusKey | None) -> Pushed:
        key = known_as or StatusKey(usual_spelling(push.key.phone), push.key.id)
        pushed = self._cache.merge_push(key, push)
        if pushed is Pushed.ACCEPTED:
            self._drop_if_over(key)
        return pushed

    def apply_update(self, key: StatusKey, update: CacheEntry, is_new: bool) -> None:  # noqa: FBT001 - a callback
        """Merge a record received from another replica.

        `is_new`: it was learned just now, so it is for those who wait for an answer, too.
        """
        entry = self._cache.merge_update(key, update)
        if entry is None:
            return
        self._drop_if_over(key)
        if is_new and update.source is not FreshnessSource.CALLBACK:
            level = DetailLevel.FULL if entry.record is None else entry.detail
            self._dispatcher.answered(key, level, entry)

    def look_again(self) -> None:
        """Other processes have taken or left room within the provider's limits."""
        self._dispatcher.look_again()

    def notify(self, on_change: Callable[[StatusKey], None]) -> Callable[[], None]:
        """Call it with the key of each cache entry written; what is returned ends that."""
        self._notified.append(on_change)
        return partial(self._notified.remove, on_change)

    def _changed(self, key: StatusKey) -> None:
        for on_change in self._notified:
            on_change(key)

    def follow(self, followed: Followed[CacheEntry] | None) -> None:
        """Ask for what is followed in bulk with what nobody else needs of the limits."""
        self._dispatcher.followed = followed
        self._dispatcher.look_again()

    def seconds_for_followed(self, keys: int) -> float:
        """Seconds until so many followed keys have been asked for, by the planner's arithmetic."""
        return self._dispatcher.seconds_for_followed(keys)

    def peek(self, key: StatusKey) -> CacheEntry | None:
        """What is known, fresh or not, under either spelling of the number; nobody is asked."""
        return self._find(key)[1]

    def now(self) -> float:
        """Seconds since 1970, for what is told of records."""
        return self._clock.time()

    def link(self) -> LinkState:
        """The state of the link to the provider."""
        archive = self._cache.archive
        return describe(
            budget=self._budget,
            breaker=self._breaker,
            clock=self._clock,
            throughput=self._dispatcher.throughput,
            queue=self._dispatcher.standing(),
            served=self._served,
            records=len(self._cache),
            archive=ArchiveState.OFF if archive is None else archive.state,
            archive_report=None if archive is None else archive.report(),
        )

    @property
    def histograms(self) -> Histograms:
        """How old the answers were, and how long the requests took."""
        served, tally = self._served, self._dispatcher.throughput.tally
        return Histograms(served.open, served.final, tally.single, tally.mass)

    def may_be_respelled(self, key: StatusKey, missing: CacheEntry) -> bool:
        """Is a message that was not found to be asked for by its number's other spelling?"""
        other = key.respelled
        if other is None or missing.deleted:
            return False
        there = self._cache.get(other)
        return there is None or missing.observed_at - there.observed_at >= RESPELL_AGAIN

    def _observed_at(self, key: StatusKey) -> float:
        entry = self._cache.get(key)
        return entry.observed_at if entry is not None else 0.0

    def _answers(
        self, entry: CacheEntry, query: StatusQuery, now: float, *, stale: bool = False
    ) -> bool:
        """Is this fresh, detailed and certain enough to answer without waiting?

        With `stale` it need not be fresh, if its kind of news may be a little late.
        """
        if entry.certain and entry.record is not None and not _fits(entry.record, query):
            return True  # a kind never changes
        may_be_late = stale and query.slack >= 0 and serves_stale(entry, now)
        if now >= entry.fresh_until + query.slack and not may_be_late:
            return False
        if query.max_age is not None and now - entry.observed_at > query.max_age:
            return False
        if entry.record is None:
            return True
        return _fits(entry.record, query) and entry.covers(query.detail, content=query.content)

    def _answer(
        self, key: StatusKey, entry: CacheEntry, query: StatusQuery, *, live: bool
    ) -> Answer:
        if entry.record is None:
            raise NotFound
        if not _fits(entry.record, query):
            raise mismatch(entry.record)
        return Answer(entry, self._clock.time(), live, self.next_at(key, entry))

    def next_at(self, key: StatusKey, entry: CacheEntry) -> float | None:
        """When the provider will be asked again, or at the earliest could be, for a next caller."""
        if entry.record is None or entry.record.is_final:
            return None
        ahead = self._clock.time() - self._clock.monotonic()
        planned = self._dispatcher.planned_at(key)
        moment = entry.fresh_until if planned is None else planned + ahead
        free_at = self._budget.message_free_at(key)
        return moment if free_at is None else max(moment, free_at + ahead)

    async def _fetch_either(
        self, key: StatusKey, query: StatusQuery, entry: CacheEntry | None, turn: int
    ) -> tuple[StatusKey, CacheEntry]:
        """Ask by the number as it is spelled; if it is not found so, once by its other spelling.

        The second request comes after all first ones of the call, and within the same `MAX_WAIT`:
        where the limits leave it no room, the message counts as not found.
        """
        since, now = self._clock.monotonic(), self._clock.time()
        if entry is None or entry.record is not None or not self._answers(entry, query, now):
            entry = await self._fetch(key, query, entry, turn, since)
        other = key.respelled
        if other is None or entry.record is not None or not self.may_be_respelled(key, entry):
            return key, entry
        try:
            there = await self._fetch(other, query, self._cache.get(other), turn + MAX_ITEMS, since)
        except (LimitReached, Overloaded):
            return key, entry
        return (key, entry) if there.record is None else (other, there)

    async def _fetch(
        self, key: StatusKey, query: StatusQuery, entry: CacheEntry | None, turn: int, since: float
    ) -> CacheEntry:
        async def ask(detail: DetailLevel) -> CacheEntry:
            return await self._dispatcher.ask(
                key,
                detail,
                query.kind,
                caller=query.caller,
                turn=turn,
                since=since,
                has_fallback=entry is not None and _stands_in(entry, query, self._clock.time()),
            )

        detail = query.detail
        if entry is not None and entry.record is not None and not _fits(entry.record, query):
            detail = at_least_standard(detail)
        fetched = await ask(detail)
        if fetched.record is None or fetched.certain or _fits(fetched.record, query):
            return fetched
        return await ask(at_least_standard(detail))

    def _renew(self, key: StatusKey, entry: CacheEntry, detail: DetailLevel) -> None:
        self._dispatcher.renew(self._refresh(key, entry, detail, wanted=1))

    def _refresh(
        self, key: StatusKey, entry: CacheEntry, detail: DetailLevel, *, wanted: int
    ) -> planner.FetchRequest:
        now = self._clock.monotonic()
        seen = now - (self._clock.time() - entry.observed_at)
        kind = certain_kind(entry)
        return planner.FetchRequest(
            key, detail, Why.REFRESH, due=now, seen=seen, wanted=wanted, kind=kind
        )

    def _riders(self) -> Iterable[planner.FetchRequest]:
        """What was asked for lately and may have changed: a mass request may take it along."""
        now, monotonic = self._clock.time(), self._clock.monotonic()
        riders = []
        for key, detail, wanted in self._demand.recent(monotonic):
            entry = self._cache.get(key)
            if entry is None or entry.record is None or entry.record.is_final:
                continue
            if now - entry.observed_at >= rule_for(entry.record).shortest / 2:
                riders.append(self._refresh(key, entry, detail, wanted=wanted))
        riders.sort(key=lambda fetch: planner.urgency(fetch, monotonic), reverse=True)
        return riders

    def _pushed_as(self, key: StatusKey) -> StatusKey | None:
        """The key by which a pushed message is known, or was asked for."""
        return next(filter(self._is_known, _spellings(key)), None)

    def _is_known(self, key: StatusKey) -> bool:
        """Is anything known of it, or was it asked for?"""
        is_asked = self._dispatcher.planned_at(key) is not None
        return is_asked or self._cache.get(key) is not None

    def _deleted(self, key: StatusKey) -> None:
        self._cache.mark_deleted(key)
        self._dispatcher.drop(key)

    def _drop_if_over(self, key: StatusKey) -> None:
        """Do not ask in the background for what is final or gone."""
        entry = self._cache.get(key)
        if entry is not None and (entry.deleted or (entry.record and entry.record.is_final)):
            self._dispatcher.drop(key)

    def _merge_answer(self, fetch: planner.FetchRequest, row: Row) -> CacheEntry:
        return self._cache.merge_answer(fetch.key, row, fetch.detail, fetch.kind)


def _check_number(keys: Sequence[object]) -> None:
    if len(keys) > MAX_ITEMS:
        raise InvalidArgument(f"items may hold at most {MAX_ITEMS}; there are {len(keys)}.")


def _spellings(key: StatusKey) -> list[StatusKey]:
    """The keys that a push may be about, the likeliest first."""
    return [StatusKey(phone, key.id) for phone in spellings(key.phone)]


def mismatch(record: Record) -> KindMismatch:
    """What to tell whoever wanted the other kind."""
    return KindMismatch(
        f"{record.id} is an HLR lookup: ask /v1/hlr-lookups/{record.id}, or hlrLookup."
        if isinstance(record, HlrLookup)
        else f"{record.id} is a message: ask /v1/messages/{record.id}, or message."
    )


def _is_final(entry: CacheEntry) -> bool:
    return entry.record is not None and entry.record.is_final


def _is_plain_hit(entry: CacheEntry, query: StatusQuery, now: float) -> bool:
    """The common case of all that `get_now` asks: final, fresh, in detail, of the kind."""
    record = entry.record
    return (
        record is not None
        and record.is_final
        and now < entry.fresh_until + min(query.slack, 0.0)
        and (query.kind is None or type(record) is query.kind)
        and entry.detail.all >= query.detail.all
        and (entry.content or entry.covers(query.detail, content=query.content))
        and (query.max_age is None or now - entry.observed_at <= query.max_age)
    )


def at_least_standard(detail: DetailLevel) -> DetailLevel:
    """The level itself, or the one that always shows the kind."""
    return detail if detail.covers(DetailLevel.STANDARD) else DetailLevel.STANDARD


def _why(entry: CacheEntry | None, query: StatusQuery, now: float) -> Forwarded:
    """Why what is known does not answer."""
    if entry is None or entry.record is None:
        return Forwarded.MISS
    if now >= entry.fresh_until:
        return Forwarded.STALE
    is_usual = query.max_age is None and not query.slack
    return Forwarded.MISS if is_usual else Forwarded.REQUEST


def _fits(record: Record, query: StatusQuery) -> bool:
    return query.kind is None or isinstance(record, query.kind)


def _stands_in(entry: CacheEntry, query: StatusQuery, now: float) -> bool:
    """May an older record be the answer, where no newer one can be had?"""
    longest = math.inf if query.stale_if_error is None else query.stale_if_error
    is_young = longest > 0 and now - entry.fresh_until <= longest
    return is_young and entry.record is not None and _fits(entry.record, query)
