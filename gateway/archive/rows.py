"""What a row of the archive's tables holds of a cache entry, and of a change of its state."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.archive.codec import pack, unpack
from gateway.archive.names import LONGEST
from gateway.archive.states import Source, number_of
from gateway.archive.tables import RECORDS
from gateway.model.freshness import CacheEntry
from gateway.model.records import HlrLookup, Record, StatusKey

ACCOUNT: Final = ""
"""The account of all rows, while there is one."""


class Kept(NamedTuple):
    """A row of `records`: its number, and its entry; None: this release can't read it."""

    no: int
    entry: CacheEntry | None


async def entries_of(
    connection: AsyncConnection, keys: Iterable[StatusKey]
) -> dict[StatusKey, Kept]:
    """What is kept of those of the keys of which something is."""
    pairs = [(key.phone, key.id) for key in keys]
    return kept_in(await connection.execute(ENTRIES, {"pairs": pairs})) if pairs else {}


ENTRIES: Final = select(RECORDS.c.no, RECORDS.c.phone, RECORDS.c.id, RECORDS.c.entry).where(
    RECORDS.c.account == ACCOUNT,
    tuple_(RECORDS.c.phone, RECORDS.c.id).in_(bindparam("pairs", expanding=True)),
)
"""The rows of the keys `pairs`; made once, for it is read for every miss."""


def kept_in(rows: Iterable[Any]) -> dict[StatusKey, Kept]:
    """What rows that `ENTRIES` gave hold."""
    return {StatusKey(phone, id_): Kept(no, readable(entry)) for no, phone, id_, entry in rows}


def readable(packed: bytes) -> CacheEntry | None:
    """The entry that was packed; None where it was by a newer release, or is damaged."""
    try:
        return unpack(packed)
    except ValueError:
        return None


class Change(NamedTuple):
    """A change of a record's state: the record in its new state, and how it was learned."""

    record: Record
    source: Source


def words_of(record: Record) -> list[str]:
    """The words of a record that are kept as numbers."""
    words = [record.sender, _operator(record), _country(record), record.provider_status.text]
    if record.error is not None:
        words.append(record.error.code)
    return [clean(word) for word in words if word]


def clean(word: str) -> str:
    """A word as it is kept: PostgreSQL takes no NUL in a text."""
    if len(word) <= LONGEST and "\0" not in word:
        return word
    return word.replace("\0", "")[:LONGEST]


def record_values(
    entry: CacheEntry, source: Source, numbers: Mapping[str, int], *, content: bool
) -> dict[str, Any]:
    """The columns of `records` that may change."""
    record = entry.record
    assert record is not None  # noqa: S101 - only records are kept
    error = None if record.error is None else record.error.code
    return {
        "state": number_of(record),
        "error": _number(error, numbers),
        "operator": _number(_operator(record), numbers),
        "country": _number(_country(record), numbers),
        "sender": _number(record.sender, numbers),
        "changed_at": seconds(record.changed_at) or int(entry.observed_at),
        "sent_at": seconds(record.sent_at),
        "last_status_at": seconds(record.last_status_time),
        "seen_at": int(entry.observed_at),
        "source": source,
        "entry": pack(entry, content=content),
    }


def change_values(change: Change, numbers: Mapping[str, int]) -> dict[str, Any]:
    """The columns of `changes`, but for its number and its record's."""
    record, source = change
    return {
        "at": seconds(record.changed_at),
        "state": number_of(record),
        "status": record.provider_status.code,
        "status_text": _number(record.provider_status.text, numbers),
        "provider_error": None if record.error is None else record.error.provider_code,
        "source": source,
        "last_status_at": seconds(record.last_status_time),
    }


def seconds(time: datetime | None) -> int:
    """Since 1970; 0: not told."""
    return 0 if time is None else max(0, int(time.timestamp()))


def _number(word: str | None, numbers: Mapping[str, int]) -> int | None:
    return numbers.get(clean(word)) if word else None


def _operator(record: Record) -> str | None:
    if isinstance(record, HlrLookup) and record.home_network is not None:
        return record.home_network.name
    return None if record.subscriber is None else record.subscriber.operator


def _country(record: Record) -> str | None:
    if isinstance(record, HlrLookup) and record.home_network is not None:
        return record.home_network.country
    return None if record.subscriber is None else record.subscriber.country


def batches(keys: Sequence[StatusKey], size: int) -> Iterable[Sequence[StatusKey]]:
    """The keys, so many at a time: a statement takes a bounded number of values."""
    return (keys[first : first + size] for first in range(0, len(keys), size))
