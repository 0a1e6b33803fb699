"""`StatusService`: the one door for REST, GraphQL and whatever comes next."""

import asyncio
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

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
    Forwarded,
    Known,
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
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.demand import Interest
from gateway.upstream.dispatcher import Dispatcher, Provider
from gateway.upstream.planner import Why
from gateway.upstream.status import LinkState, Served, describe

MAX_ITEMS = 1000
"""Keys in one call."""

RESPELL_AGAIN = 60.0
"""Seconds after which a message that is still not found is asked for by its number's other spelling
again: right after it was sent the provider may know it by neither."""


class Want(NamedTuple):
    """What a caller wants to know: the level, the kind (None: either), and how old it may be.

    `max_age` is in seconds, None: as long as the record counts as fresh. `only_cached`: never ask
    the provider. `caller` tells callers apart, who take turns where they have to wait. `slack`: so
    many seconds beyond its freshness a record will do; negative: so many must be left of it.
    `stale_if_error`: so many seconds beyond its freshness a record may stand in for an answer that
    can't be had (RFC 5861, section 4); 0: never, None: whatever its age.
    """

    detail: DetailLevel = DetailLevel.FULL
    kind: type[Record] | None = None
    max_age: float | None = None
    only_cached: bool = False
    caller: str = ""
    slack: float = 0.0
    stale_if_error: float | None = None


class Basis(Struct, frozen=True, gc=False):
    """What an answer that is kept was made of: it holds until then, if nothing is learned before.

    `until` is in seconds since 1970.
    """

    keys: Sequence[StatusKey]
    known: Sequence[Known]
    until: float


class StatusService:
    """Gives records: from what is known while it is fresh, else from the provider."""

    def __init__(
        self,
        provider: Provider,
        budget: MemoryBudget,
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
        self._clock = clock
        self._interest = Interest()
        self._served = Served()
        self._dispatcher = Dispatcher[Known](
            provider,
            budget,
            self._breaker,
            clock,
            learn=self._merge_answer,
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

    async def get(self, key: StatusKey, want: Want, *, turn: int = 0) -> Answer:
        """The answer for a key; `turn` counts the keys of one call.

        Raises `NotFound`, `KindMismatch`, `NotCached`, or what kept the provider from answering
        when no older record can stand in.
        """
        return self.get_now(key, want) or await self.get_later(key, want, turn)

    def get_now(self, key: StatusKey, want: Want) -> Answer | None:
        """The answer, if there is one that need not be waited for; raises as `get` does."""
        known = self._cache.get(key)
        now = self._clock.time()
        if known is not None and _is_plain_hit(known, want, now):
            self._served.hit(now - known.observed_at)
            return Answer(known, now)
        if known is None or known.record is None:
            other, _ = self._find(key)
            if other is not key:
                answer = self.get_now(other, want)
                return None if answer is None else answer.named(key)
        if known is None or known.record is None or not known.record.is_final:
            self._interest.note(key, want.detail, self._clock.monotonic())
        if known is None or (known.record is None and self.may_be_respelled(key, known)):
            return None
        is_fresh = self._answers(known, want, now)
        if not is_fresh and (want.only_cached or not self._answers(known, want, now, stale=True)):
            return None
        self._served.hit(now - known.observed_at)
        if not is_fresh:
            self._renew(key, known, want.detail)
        answer = self._answer(key, known, want, live=False)
        return answer if is_fresh and now < known.fresh_until else replace(answer, stale=True)

    def holds(self, basis: Basis) -> bool:
        """Is what was answered still the answer? Then each of its records counts as a hit."""
        now = self._clock.time()
        if now >= basis.until or not self._cache.holds(basis.keys, basis.known):
            return False
        self._served.hits_of([now - one.observed_at for one in basis.known])
        return True

    async def get_later(self, key: StatusKey, want: Want, turn: int = 0) -> Answer:
        """The answer of the provider; what to call, and what it raises, where `get_now` has none.

        What is known stands in for it, if there is anything.
        """
        if await self.recall([key]) and (answer := self.get_now(key, want)) is not None:
            return answer
        return await self._ask(key, want, turn)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:
        """Learn what other processes know of keys that are not known here; False: nothing."""
        return await self._cache.recall(keys)

    def resolve(self, key: StatusKey) -> StatusKey:
        """The key under which a message is known or asked for: as it is spelled, or respelled.

        A Russian or Kazakh number written `8…` and the same written `7…` name one record. While
        nothing is known of either, the spelling given is the one to ask by.
        """
        return self._find(key)[0]

    def _find(self, key: StatusKey) -> tuple[StatusKey, Known | None]:
        """`resolve` a key, and what is known under it."""
        known = self._cache.get(key)
        if known is not None and known.record is not None:
            return key, known
        other = key.respelled
        if other is None:
            return key, known
        there = self._cache.get(other)
        if there is not None and there.record is not None:
            return other, there
        planned_at = self._dispatcher.planned_at
        is_asked = planned_at(other) is not None and planned_at(key) is None
        return (other, there) if is_asked else (key, known)

    async def _ask(self, named: StatusKey, want: Want, turn: int) -> Answer:
        if want.only_cached:
            raise NotCached("Nothing fresh enough is cached for this message.")
        key, known = self._find(named)
        forwarded = _why(known, want, self._clock.time())
        try:
            key, fetched = await self._fetch_either(key, want, known, turn)
            self._served.miss(0.0)
            answer = self._answer(key, fetched, want, live=True)
            return replace(answer.named(named), forwarded=forwarded)
        except (NotFound, KindMismatch):
            raise
        except GatewayError as error:
            known, now = self._cache.get(key), self._clock.time()
            if known is None or known.record is None or not _stands_in(known, want, now):
                self._served.failed += 1
                raise
            self._served.miss(now - known.observed_at)
            again = None if error.retry_after is None else now + error.retry_after
            return Answer(
                known,
                now,
                next_at=again,
                stale=True,
                stale_reason=stale_reason(error),
                forwarded=forwarded,
            ).named(named)

    async def get_many(
        self, keys: Sequence[StatusKey | GatewayError], want: Want
    ) -> Sequence[Answer | GatewayError]:
        """The answer for each key or what went wrong, in the order of the keys.

        A key that could not be read is an error already, and stays it. More than `MAX_ITEMS` are
        an `InvalidArgument`.
        """
        if len(keys) > MAX_ITEMS:
            raise InvalidArgument(f"items may hold at most {MAX_ITEMS}; there are {len(keys)}.")
        settled = self.get_settled(keys, want)
        if settled is None:
            return await self._get_each(keys, want)
        known, now = settled
        return [Answer(one, now) for one in known]

    async def _get_each(
        self, keys: Sequence[StatusKey | GatewayError], want: Want
    ) -> list[Answer | GatewayError]:
        async def later(turn: int, key: StatusKey) -> Answer | GatewayError:
            try:
                return await self._ask(key, want, turn)
            except GatewayError as error:
                return error

        found: dict[StatusKey, Answer | GatewayError] = {}

        def look(keys: Iterable[StatusKey]) -> list[StatusKey]:
            """Those of the keys that there is no answer to yet."""
            missing = []
            for key in keys:
                try:
                    answer = self.get_now(key, want)
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

    def get_settled(
        self, keys: Sequence[StatusKey | GatewayError], want: Want
    ) -> tuple[Sequence[Known], float] | None:
        """What is known of the keys, and the time, if all is final, fresh and in detail.

        That is what dashboards mostly ask for. Each is an answer to a caller, and counted so.
        """
        is_usual = want.max_age is None and want.slack >= 0 and want.kind is None
        readable = [key for key in keys if isinstance(key, StatusKey)]
        if not is_usual or len(readable) != len(keys) or len(keys) > MAX_ITEMS:
            return None
        now = self._clock.time()
        found = self._cache.get_settled(readable, want.detail, now)
        if found is None:
            return None
        self._served.hits_of([now - known.observed_at for known in found])
        return found, now

    async def poll(self, want: planner.Want) -> Known:
        """The provider's answer to a watcher, once it is due and there is room; for `watch`.

        What the provider does not know is asked for by the number's other spelling as well.
        """
        known = await self._dispatcher.watch(want)
        other = want.key.respelled
        if other is None or known.record is not None or not self.may_be_respelled(want.key, known):
            return known
        there = await self._dispatcher.watch(dataclasses.replace(want, key=other))
        return known if there.record is None else there

    async def delete(self, key: StatusKey) -> None:
        """Have the provider delete a message; for a while it then counts as not found.

        Raises `DeleteRefused`, `KindMismatch` (a lookup can't be deleted), or what kept the
        provider from answering.
        """
        await self.recall([key])
        key = self.resolve(key)
        known = self._cache.get(key)
        if known is not None and known.certain and isinstance(known.record, HlrLookup):
            raise KindMismatch(f"{key.id} is an HLR lookup, which can't be deleted.")
        await self._dispatcher.delete(key, self._deleted)

    async def receive(self, push: Push) -> Pushed:
        """`ingest` a push, after other replicas were asked for what is not known here."""
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

    def apply_update(self, key: StatusKey, update: Known, is_new: bool) -> None:  # noqa: FBT001 - a callback
        """Merge a record received from another replica.

        `is_new`: it was learned just now, so it is for those who wait for an answer, too.
        """
        known = self._cache.merge_update(key, update)
        if known is None:
            return
        self._drop_if_over(key)
        if is_new and update.source is not FreshnessSource.CALLBACK:
            level = DetailLevel.FULL if known.record is None else known.detail
            self._dispatcher.answered(key, level, known)

    def look_again(self) -> None:
        """Other processes have taken or left room within the provider's limits."""
        self._dispatcher.look_again()

    def notify(self, on_change: Callable[[StatusKey], None]) -> None:
        """Call this whenever a record was touched, however that came."""
        self._cache.on_change = on_change

    def peek(self, key: StatusKey) -> Known | None:
        """What is known, fresh or not, under either spelling of the number; nobody is asked."""
        return self._find(key)[1]

    def link(self) -> LinkState:
        """The state of the link to the provider."""
        return describe(
            budget=self._budget,
            breaker=self._breaker,
            clock=self._clock,
            throughput=self._dispatcher.throughput,
            queue=self._dispatcher.standing(),
            served=self._served,
            records=len(self._cache),
        )

    def may_be_respelled(self, key: StatusKey, missing: Known) -> bool:
        """Is a message that was not found to be asked for by its number's other spelling?"""
        other = key.respelled
        if other is None or missing.deleted:
            return False
        there = self._cache.get(other)
        return there is None or missing.observed_at - there.observed_at >= RESPELL_AGAIN

    def _observed_at(self, key: StatusKey) -> float:
        known = self._cache.get(key)
        return known.observed_at if known is not None else 0.0

    def _answers(self, known: Known, want: Want, now: float, *, stale: bool = False) -> bool:
        """Is this fresh, detailed and certain enough to answer without waiting?

        With `stale` it need not be fresh, if its kind of news may be a little late.
        """
        if known.certain and known.record is not None and not _fits(known.record, want):
            return True  # a kind never changes
        may_be_late = stale and want.slack >= 0 and serves_stale(known, now)
        if now >= known.fresh_until + want.slack and not may_be_late:
            return False
        if want.max_age is not None and now - known.observed_at > want.max_age:
            return False
        if known.record is None:
            return True
        return _fits(known.record, want) and known.detail.covers(want.detail)

    def _answer(self, key: StatusKey, known: Known, want: Want, *, live: bool) -> Answer:
        if known.record is None:
            raise NotFound
        if not _fits(known.record, want):
            raise mismatch(known.record)
        return Answer(known, self._clock.time(), live, self.next_at(key, known))

    def next_at(self, key: StatusKey, known: Known) -> float | None:
        """When the provider will be asked again, or at the earliest could be, for a next caller."""
        if known.record is None or known.record.is_final:
            return None
        ahead = self._clock.time() - self._clock.monotonic()
        planned = self._dispatcher.planned_at(key)
        moment = known.fresh_until if planned is None else planned + ahead
        free_at = self._budget.message_free_at(key)
        return moment if free_at is None else max(moment, free_at + ahead)

    async def _fetch_either(
        self, key: StatusKey, want: Want, known: Known | None, turn: int
    ) -> tuple[StatusKey, Known]:
        """Ask by the number as it is spelled; if it is not found so, once by its other spelling.

        The second request comes after all first ones of the call, and within the same `MAX_WAIT`:
        where the limits leave it no room, the message counts as not found.
        """
        since, now = self._clock.monotonic(), self._clock.time()
        if known is None or known.record is not None or not self._answers(known, want, now):
            known = await self._fetch(key, want, known, turn, since)
        other = key.respelled
        if other is None or known.record is not None or not self.may_be_respelled(key, known):
            return key, known
        try:
            there = await self._fetch(other, want, self._cache.get(other), turn + MAX_ITEMS, since)
        except (LimitReached, Overloaded):
            return key, known
        return (key, known) if there.record is None else (other, there)

    async def _fetch(
        self, key: StatusKey, want: Want, known: Known | None, turn: int, since: float
    ) -> Known:
        async def ask(detail: DetailLevel) -> Known:
            return await self._dispatcher.ask(
                key,
                detail,
                want.kind,
                caller=want.caller,
                turn=turn,
                since=since,
                has_fallback=known is not None and _stands_in(known, want, self._clock.time()),
            )

        detail = want.detail
        if known is not None and known.record is not None and not _fits(known.record, want):
            detail = at_least_standard(detail)
        fetched = await ask(detail)
        if fetched.record is None or fetched.certain or _fits(fetched.record, want):
            return fetched
        return await ask(at_least_standard(detail))

    def _renew(self, key: StatusKey, known: Known, detail: DetailLevel) -> None:
        self._dispatcher.renew(self._refresh(key, known, detail, wanted=1))

    def _refresh(
        self, key: StatusKey, known: Known, detail: DetailLevel, *, wanted: int
    ) -> planner.Want:
        now = self._clock.monotonic()
        seen = now - (self._clock.time() - known.observed_at)
        kind = certain_kind(known)
        return planner.Want(key, detail, Why.REFRESH, due=now, seen=seen, wanted=wanted, kind=kind)

    def _riders(self) -> Iterable[planner.Want]:
        """What was asked for lately and may have changed: a mass request may take it along."""
        now, monotonic = self._clock.time(), self._clock.monotonic()
        riders = []
        for key, detail, wanted in self._interest.recent(monotonic):
            known = self._cache.get(key)
            if known is None or known.record is None or known.record.is_final:
                continue
            if now - known.observed_at >= rule_for(known.record).shortest / 2:
                riders.append(self._refresh(key, known, detail, wanted=wanted))
        riders.sort(key=lambda want: planner.urgency(want, monotonic), reverse=True)
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
        known = self._cache.get(key)
        if known is not None and (known.deleted or (known.record and known.record.is_final)):
            self._dispatcher.drop(key)

    def _merge_answer(self, want: planner.Want, row: Row) -> Known:
        return self._cache.merge_answer(want.key, row, want.detail, want.kind)


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


def _is_plain_hit(known: Known, want: Want, now: float) -> bool:
    """The common case of all that `get_now` asks: final, fresh, in detail, of the kind."""
    record = known.record
    return (
        record is not None
        and record.is_final
        and now < known.fresh_until + min(want.slack, 0.0)
        and (want.kind is None or type(record) is want.kind)
        and known.detail.all >= want.detail.all
        and (want.max_age is None or now - known.observed_at <= want.max_age)
    )


def at_least_standard(detail: DetailLevel) -> DetailLevel:
    """The level itself, or the one that always shows the kind."""
    return detail if detail.covers(DetailLevel.STANDARD) else DetailLevel.STANDARD


def _why(known: Known | None, want: Want, now: float) -> Forwarded:
    """Why what is known does not answer."""
    if known is None or known.record is None:
        return Forwarded.MISS
    if now >= known.fresh_until:
        return Forwarded.STALE
    is_usual = want.max_age is None and not want.slack
    return Forwarded.MISS if is_usual else Forwarded.REQUEST


def _fits(record: Record, want: Want) -> bool:
    return want.kind is None or isinstance(record, want.kind)


def _stands_in(known: Known, want: Want, now: float) -> bool:
    """May an older record be the answer, where no newer one can be had?"""
    longest = math.inf if want.stale_if_error is None else want.stale_if_error
    is_young = longest > 0 and now - known.fresh_until <= longest
    return is_young and known.record is not None and _fits(known.record, want)
