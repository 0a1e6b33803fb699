"""`StatusService`: the one door for REST, GraphQL and whatever comes next."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway import planner
from gateway.budget.memory import MemoryBudget
from gateway.clock import Clock
from gateway.dispatch import Dispatcher, Provider
from gateway.errors import GatewayError, InvalidArgument, KindMismatch, NotCached, NotFound
from gateway.freshness import (
    Known,
    at_observation,
    fresh_for,
    missing_for,
    present,
    present_stale,
)
from gateway.merge import merge
from gateway.records import DetailLevel, HlrLookup, Message, Record, StatusKey
from gateway.smsc.normalise import Found, normalise
from gateway.smsc.row import Row
from gateway.store.memory import MemoryStore

MAX_ITEMS = 1000
"""Keys in one call."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a caller wants to know: the level, the kind (None: either), and how old it may be.

    `max_age` is in seconds, None: as long as the record counts as fresh. `only_cached`: never ask
    the provider.
    """

    detail: DetailLevel = DetailLevel.FULL
    kind: type[Record] | None = None
    max_age: float | None = None
    only_cached: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are read: the account's time zone and currency."""

    zone: tzinfo
    currency: str | None = None


class StatusService:
    """Gives records: from what is known while it is fresh, else from the provider."""

    def __init__(
        self,
        provider: Provider,
        budget: MemoryBudget,
        store: MemoryStore,
        clock: Clock,
        *,
        reading: Reading,
        mass_max_ids: int,
        max_wait: float,
        linger: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._reading = reading
        self._dispatcher = Dispatcher[Known](
            provider,
            budget,
            clock,
            learn=self._learn,
            mass_max_ids=mass_max_ids,
            max_wait=max_wait,
            linger=linger,
        )

    async def aclose(self) -> None:
        await self._dispatcher.aclose()

    async def get(self, key: StatusKey, want: Want) -> Record:
        """The record for a key.

        Raises `NotFound`, `KindMismatch`, `NotCached`, or what kept the provider from answering
        when no older record can stand in.
        """
        known = self._store.get(key)
        if known is not None and self._answers(known, want):
            return self._shown(key, known, want, live=False)
        if want.only_cached:
            raise NotCached("Nothing fresh enough is cached for this message.")
        try:
            return self._shown(key, await self._fetch(key, want, known), want, live=True)
        except (NotFound, KindMismatch):
            raise
        except GatewayError as error:
            known = self._store.get(key)
            if known is None or known.record is None or not _fits(known.record, want):
                raise
            return present_stale(known, known.record, self._clock.time(), error)

    async def get_many(
        self, keys: Sequence[StatusKey | GatewayError], want: Want
    ) -> list[Record | GatewayError]:
        """The record for each key or what went wrong, in the order of the keys.

        A key that could not be read is an error already, and stays it. More than `MAX_ITEMS` are
        an `InvalidArgument`.
        """
        if len(keys) > MAX_ITEMS:
            raise InvalidArgument(f"items may hold at most {MAX_ITEMS}; there are {len(keys)}.")

        async def one(key: StatusKey) -> Record | GatewayError:
            try:
                return await self.get(key, want)
            except GatewayError as error:
                return error

        distinct = list(dict.fromkeys(key for key in keys if isinstance(key, StatusKey)))
        found = await asyncio.gather(*(one(key) for key in distinct))
        by_key = dict(zip(distinct, found, strict=True))
        return [by_key[key] if isinstance(key, StatusKey) else key for key in keys]

    def _answers(self, known: Known, want: Want) -> bool:
        """Is this fresh, detailed and certain enough to answer without asking?"""
        if known.certain and known.record is not None and not _fits(known.record, want):
            return True  # a kind never changes
        now = self._clock.time()
        if now >= known.fresh_until:
            return False
        if want.max_age is not None and now - known.observed_at > want.max_age:
            return False
        if known.record is None:
            return True
        return _fits(known.record, want) and known.record.freshness.detail.covers(want.detail)

    def _shown(self, key: StatusKey, known: Known, want: Want, *, live: bool) -> Record:
        if known.record is None:
            raise NotFound("The provider knows no message with this id and phone.")
        if not _fits(known.record, want):
            is_lookup = isinstance(known.record, HlrLookup)
            raise KindMismatch(
                f"{key.id} is an HLR lookup: ask /v1/hlr-lookups/{key.id}, or hlrLookup."
                if is_lookup
                else f"{key.id} is a message: ask /v1/messages/{key.id}, or message."
            )
        return present(known, known.record, self._clock.time(), live=live)

    async def _fetch(self, key: StatusKey, want: Want, known: Known | None) -> Known:
        detail = want.detail
        if known is not None and known.record is not None and not _fits(known.record, want):
            detail = _at_least_standard(detail)  # which always shows the kind
        fetched = await self._dispatcher.ask(key, detail, want.kind)
        if fetched.record is None or fetched.certain or _fits(fetched.record, want):
            return fetched
        return await self._dispatcher.ask(key, _at_least_standard(detail), want.kind)

    def _learn(self, want: planner.Want, row: Row) -> Known:
        """Join an answered row to what is known, and keep it."""
        now = self._clock.time()
        before = self._store.get(want.key)
        found = normalise(
            row,
            want.key,
            asked=_certain_kind(before) or want.kind,
            freshness=at_observation(now, want.detail),
            zone=self._reading.zone,
            currency=self._reading.currency,
        )
        known = _missing(before, now) if found is None else _joined(before, found, now)
        self._store.put(want.key, known)
        return known


def _at_least_standard(detail: DetailLevel) -> DetailLevel:
    return detail if detail.covers(DetailLevel.STANDARD) else DetailLevel.STANDARD


def _fits(record: Record, want: Want) -> bool:
    return want.kind is None or isinstance(record, want.kind)


def _certain_kind(known: Known | None) -> type[Record] | None:
    return type(known.record) if known and known.record and known.certain else None


def _missing(before: Known | None, now: float) -> Known:
    """-3 after a known state archives it; else the silence is remembered, longer each time."""
    if before is None or before.record is None:
        misses = 1 if before is None else before.misses + 1
        return Known(None, now, now + missing_for(misses), misses=misses)
    record = before.record
    if isinstance(record, Message):
        record = record.model_copy(update={"archived": True})
    return Known(record, now, now + fresh_for(record, now), before.certain)


def _joined(before: Known | None, found: Found, now: float) -> Known:
    record, certain = found
    if before and before.record and type(before.record) is type(record):
        record = merge(before.record, record)
        certain = certain or before.certain
    return Known(record, now, now + fresh_for(record, now), certain)
