"""The record cache: merges the provider's answers and pushes, and updates from other replicas.

Records come from answers of the provider, from its pushes, and from other replicas. Each is merged
with the one that is there, so that a record only moves forward, and watchers are notified.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from gateway.archive.report import ArchiveReport, ArchiveState
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.model.freshness import MISSING_SHORTEST, CacheEntry, fresh_for, missing_for
from gateway.model.merge import Observed, combine, merge
from gateway.model.records import DetailLevel, FreshnessSource, Message, Record, StatusKey
from gateway.smsc.normalise import Found, normalise
from gateway.smsc.push import Push, is_ahead
from gateway.smsc.row import Row
from gateway.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

FUTURE = 86_400.0
"""Seconds: a pushed time further ahead than any time zone explains is not believed."""


class Pushed(StrEnum):
    """What became of a push.

    ACCEPTED: it moved the record. DUPLICATE: a repetition, or overtaken by a newer state.
    IGNORED: it says nothing of a message's state.
    """

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are read: the account's time zone and currency."""

    zone: tzinfo
    currency: str | None = None


class Archive(Protocol):
    """What is kept durably. Neither `record` nor `erase` waits for a disk."""

    def record(self, key: StatusKey, entry: CacheEntry) -> None:
        """Keep what was learned."""
        ...

    def erase(self, key: StatusKey) -> None:
        """Delete what is kept of a key."""
        ...

    async def look_up(self, keys: Sequence[StatusKey]) -> Mapping[StatusKey, CacheEntry]:
        """The entries of those of the keys that have one; never raises."""
        ...

    @property
    def state(self) -> ArchiveState:
        """Is what is recorded kept?"""
        ...

    def report(self) -> ArchiveReport:
        """How it is doing."""
        ...


class RecordCache:
    """Merges what comes in, and calls `on_change` with each key whose record was touched."""

    def __init__(
        self, store: MemoryStore, clock: Clock, reading: Reading, archive: Archive | None = None
    ) -> None:
        self.on_change: Callable[[StatusKey], None] | None = None
        self._store = store
        self._clock = clock
        self._reading = reading
        self.archive = archive
        self.holds = store.holds
        """Is this still what is known of these keys: the very same, for nothing was merged?"""

    def __len__(self) -> int:
        return len(self._store)

    def get(self, key: StatusKey) -> CacheEntry | None:
        """What is known of a key, fresh or not."""
        return self._store.get(key)

    def get_settled(
        self,
        keys: Iterable[StatusKey | GatewayError],
        detail: DetailLevel,
        now: float,
        *,
        content: bool,
    ) -> list[CacheEntry] | None:
        """The entries of the keys, if each is final, fresh and told in such detail."""
        return self._store.get_settled(keys, detail, now, content=content)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:
        """Load keys that are missing here from the replicas' store and the archive; False: none.

        A number is looked for in both its spellings.
        """
        if not self._store.is_shared and self.archive is None:
            return False
        spelled = [one for key in keys for one in (key, key.respelled) if one is not None]
        is_found = self._store.is_shared and await self._store.recall(spelled)
        missing = [key for key in spelled if self._store.get(key) is None]
        if missing and self.archive is not None:
            for key, entry in (await self.archive.look_up(missing)).items():
                if self._store.get(key) is None:
                    self._store.keep(key, entry)
                    self._changed(key)
            # What came meanwhile need not be asked for again either.
            is_found = is_found or any(self._store.get(key) is not None for key in missing)
        return is_found

    def load(self, entries: Iterable[CacheEntry]) -> int:
        """Load what the archive has of records that are missing here; how many there were."""
        loaded = 0
        for entry in entries:
            if entry.record is not None and self._store.get(key := entry.record.key) is None:
                self._store.keep(key, entry)
                self._changed(key)
                loaded += 1
        return loaded

    async def forget(self, keys: Iterable[StatusKey]) -> None:
        """Forget what is known of these keys, in either spelling, here and in other processes."""
        spelled = [one for key in keys for one in (key, key.respelled) if one is not None]
        await self._store.forget(spelled)

    @property
    def most(self) -> int:
        """How many records are known at a time."""
        return self._store.most

    def merge_answer(
        self, key: StatusKey, row: Row, detail: DetailLevel, kind: type[Record] | None
    ) -> CacheEntry:
        """Merge a row answered at level `detail`; `kind` is the kind that the caller expected."""
        now = self._clock.time()
        before = self._store.get(key)
        if before is not None and before.deleted and now < before.fresh_until:
            return before  # asked before it was deleted
        found = normalise(
            row,
            key,
            asked=certain_kind(before) or kind,
            zone=self._reading.zone,
            currency=self._reading.currency,
        )
        entry = _missing(before, now) if found is None else _joined(before, found, detail, now)
        self._put(key, entry)
        return entry

    def merge_push(self, key: StatusKey, push: Push) -> Pushed:
        """Merge a status that the provider pushed.

        Only what `is_ahead` of the record changes anything; a repetition is no observation either.
        So an old push that somebody sends again neither moves a record back nor makes it look
        fresh. (Of a message that is not known it can't be told from a new one.) The signature
        covers id, phone and status alone: the kind a push shows is believed only while no answer
        of the provider has shown another, and with a status that moves the record. The level of
        detail stays what it was: a change of state leaves most details as they are, and a final one
        is to need no more requests.
        """
        before, now = self._store.get(key), self._clock.time()
        if before is not None and before.deleted:
            return Pushed.IGNORED
        record = None if before is None else before.record
        detail = DetailLevel.BASIC if before is None or record is None else before.detail
        found = normalise(
            push.row,
            key,
            asked=None if record is None else type(record),
            zone=self._reading.zone,
            currency=self._reading.currency,
            believes=certain_kind(before) is None,
        )
        if found is None:
            return Pushed.IGNORED
        found = _without_future(found, now)._replace(certain=False)
        if record is not None and not is_ahead(record, found.record):
            return Pushed.DUPLICATE
        joined = _joined(before, found, detail, now, moved=True)
        self._put(key, replace(joined, source=FreshnessSource.CALLBACK))
        return Pushed.ACCEPTED

    def merge_update(self, key: StatusKey, news: CacheEntry) -> CacheEntry | None:
        """Merge what another replica knows; None: the message was deleted meanwhile."""
        before = self._store.get(key)
        if before is not None and before.deleted and self._clock.time() < before.fresh_until:
            return None
        entry = news if before is None else combine(before, news)
        self._store.keep(key, entry)
        self._changed(key)
        return entry

    def mark_deleted(self, key: StatusKey) -> None:
        """The message was deleted at the provider: for a while it counts as not found."""
        now = self._clock.time()
        self._put(key, CacheEntry(None, now, now + MISSING_SHORTEST, misses=1, deleted=True))

    def _put(self, key: StatusKey, entry: CacheEntry) -> None:
        self._store.put(key, entry)
        if self.archive is not None:
            if entry.record is not None:
                self.archive.record(key, entry)
            elif entry.deleted:
                self.archive.erase(key)
        self._changed(key)

    def _changed(self, key: StatusKey) -> None:
        if self.on_change is not None:
            self.on_change(key)


def certain_kind(entry: CacheEntry | None) -> type[Record] | None:
    """The kind of a record, where an answer of the provider has shown it."""
    return type(entry.record) if entry and entry.record and entry.certain else None


def _missing(before: CacheEntry | None, now: float) -> CacheEntry:
    """-3 after a known state archives it; else the silence is remembered, longer each time."""
    if before is None or before.record is None:
        misses = 1 if before is None else before.misses + 1
        return CacheEntry(None, now, now + missing_for(misses), misses=misses)
    record = before.record
    if isinstance(record, Message):
        record = replace(record, archived=True)
    until = now + fresh_for(record, now)
    return CacheEntry(
        record, now, until, before.certain, detail=before.detail, content=before.content
    )


def _joined(
    before: CacheEntry | None,
    found: Found,
    detail: DetailLevel,
    now: float,
    *,
    moved: bool | None = None,
) -> CacheEntry:
    """What is known and what was found of it at that level, at `now`; `moved` as for `merge`."""
    record = replace(found.record, changed_at=datetime.fromtimestamp(int(now), UTC))
    certain, content = found.certain, True
    if before and before.record and type(before.record) is type(record):
        older, newer = Observed(before.record, before.detail), Observed(record, detail)
        record, merged = merge(older, newer, moved=moved)
        certain = certain or before.certain
        content = before.content or (moved is None and detail.covers(DetailLevel.STANDARD))
        detail = merged
    return CacheEntry(
        record, now, now + fresh_for(record, now), certain, detail=detail, content=content
    )


def _without_future(found: Found, now: float) -> Found:
    """The signature does not cover the time; one far ahead would outlast all that follow."""
    latest = datetime.fromtimestamp(now + FUTURE, UTC)
    time = found.record.last_status_time
    if time is None or time <= latest:
        return found
    return found._replace(record=replace(found.record, last_status_time=None))
