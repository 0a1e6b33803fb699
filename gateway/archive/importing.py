"""Brings records of elsewhere into the archive: JSON lines, as `smsc-gateway decode` writes them.

A record comes in as one that was learned at its own time, so what is kept and newer stays, and what
was brought in before changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import orjson
from msgspec.structs import replace
from sqlalchemy import Connection

from gateway.archive.database import Database
from gateway.archive.names import Names
from gateway.archive.rows import entries_of
from gateway.archive.states import Source
from gateway.archive.writer import Pending, write
from gateway.errors import GatewayError
from gateway.model.freshness import CacheEntry, fresh_for
from gateway.model.records import (
    DetailLevel,
    FreshnessSource,
    HlrLookup,
    Message,
    MessageType,
    Record,
    RecordId,
    StatusKey,
)

FUTURE: Final = 86_400.0
"""Seconds: a time further ahead than any time zone explains is a mistake, and would stay for ever
the newest."""


class Learned(NamedTuple):
    """What was known of a key from some moment on, and how it was learned."""

    key: StatusKey
    entry: CacheEntry
    source: Source = Source.IMPORTED

    @property
    def at(self) -> float:
        return self.entry.observed_at


def read_line(line: bytes, now: float) -> Learned | None:
    """The record of a line; None: it tells of a problem, and holds none.

    Raises `ValueError`, with a reason that repeats no phone and no text.
    """
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    if isinstance(told, dict) and "problem" in told:
        return None
    for name in ("id", "phone"):
        named = told.get(name) if isinstance(told, dict) else None
        if not isinstance(named, str):
            raise ValueError(f"it has no {name}")  # noqa: TRY004 - one kind for all that is wrong
    try:
        record = msgspec.convert(told, Message | HlrLookup)
        key = StatusKey.parse(id=record.id, phone=record.phone)
    except msgspec.ValidationError as error:
        raise ValueError(f"it is no record as `decode` writes it: {error}") from None
    except GatewayError as error:
        raise ValueError((error.detail or error.title).rstrip(".")) from None
    return Learned(key, _entry_of(record, key, now))


def _entry_of(record: Record, key: StatusKey, now: float) -> CacheEntry:
    times = (record.changed_at, record.last_status_time, record.sent_at)
    if any(time is not None and time.tzinfo is None for time in times):
        raise ValueError("its times have no zone")
    at = next((time.timestamp() for time in times if time is not None), now)
    if at > now + FUTURE:
        raise ValueError("it is of the future")
    at = float(int(min(max(at, 0.0), now)))
    return replace(
        learned_at(at, replace(record, id=RecordId(str(key.id)), phone=key.phone)),
        certain=_shows_kind(record),
        detail=_detail_of(record),
        content=record.text is not None,
    )


def learned_at(at: float, record: Record, *, is_pushed: bool = False) -> CacheEntry:
    """What is known when the provider told all of a record at that moment."""
    record = replace(record, changed_at=datetime.fromtimestamp(int(at), UTC))
    source = FreshnessSource.CALLBACK if is_pushed else FreshnessSource.CACHE
    return CacheEntry(record, at, at + fresh_for(record, at), source=source)


def _shows_kind(record: Record) -> bool:
    """Did the answer itself tell what it is about?"""
    if isinstance(record, HlrLookup):
        return any((record.imsi, record.msc, record.home_network))
    return record.type is not MessageType.UNKNOWN


def _detail_of(record: Record) -> DetailLevel:
    """The level of detail that an answer with these fields had at least."""
    if record.subscriber is not None:
        return DetailLevel.FULL
    return DetailLevel.BASIC if record.sent_at is None else DetailLevel.STANDARD


async def bring_in(
    database: Database, names: Names, learned: Iterable[Learned], *, content: bool
) -> None:
    """Write these in one transaction, of each key the oldest first."""
    batch = sorted(learned, key=lambda one: one.at)
    await database.write(_bring_in, names, batch, content=content)


def _bring_in(
    connection: Connection, names: Names, batch: Sequence[Learned], *, content: bool
) -> None:
    keys = {one.key for one in batch}
    spelled = keys | {key.respelled for key in keys if key.respelled is not None}
    places = _places(batch, entries_of(connection, spelled))
    pending: dict[StatusKey, Pending] = {}
    for one in batch:
        key = places[one.key]
        assert one.entry.record is not None  # noqa: S101 - only records are brought in
        named = replace(one.entry, record=replace(one.entry.record, phone=key.phone))
        pending.setdefault(key, Pending(one.at)).steps.append((named, one.source))
    write(connection, names, pending, content=content)


def _places(batch: Sequence[Learned], kept: "Iterable[StatusKey]") -> dict[StatusKey, StatusKey]:
    """Where each key is kept: under the spelling that is there already, of both its own."""
    there = set(kept)
    places: dict[StatusKey, StatusKey] = {}
    for key, _, _ in batch:
        respelled = key.respelled
        is_other = key not in there and respelled is not None and respelled in there
        place = respelled if is_other and respelled is not None else key
        places[key] = place
        there.add(place)
    return places
