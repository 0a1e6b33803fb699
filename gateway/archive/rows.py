"""What a row of the archive's tables holds of a cache entry, and of a change of its state."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    column,
    insert,
    select,
    text,
    update,
)

from gateway.archive.account import ACCOUNT
from gateway.archive.codec import pack, unpack
from gateway.archive.names import LONGEST
from gateway.archive.states import Source, number_of
from gateway.archive.tables import COUNTERS, RECORDS
from gateway.model.freshness import CacheEntry
from gateway.model.records import HlrLookup, Record, StatusKey

One = TypeVar("One")


class Kept(NamedTuple):
    """A row of `records`: its number, and its entry; None: this release can't read it."""

    no: int
    entry: CacheEntry | None


def entries_of(connection: Connection, keys: Iterable[StatusKey]) -> dict[StatusKey, Kept]:
    """What is kept of those of the keys of which something is."""
    rows = rows_of(connection, list(keys), *ENTRY)
    return kept_in(rows)


ENTRY: Final = (RECORDS.c.no, RECORDS.c.phone, RECORDS.c.id, RECORDS.c.entry)
"""The columns that `kept_in` reads."""


def kept_in(rows: Iterable[Any]) -> dict[StatusKey, Kept]:
    """What rows of the columns `ENTRY` hold."""
    return {StatusKey(phone, id_): Kept(no, readable(entry)) for no, phone, id_, entry in rows}


def readable(packed: bytes) -> CacheEntry | None:
    """The entry that was packed; None where it was by a newer release, or is damaged."""
    try:
        return unpack(packed)
    except ValueError:
        return None


def rows_of(
    connection: Connection, keys: Sequence[StatusKey], *columns: ColumnElement[Any]
) -> Sequence[Row[Any]]:
    """These columns of the records of these keys."""
    if not keys:
        return []
    found: Sequence[Row[Any]] = connection.execute(*by_key(keys, *columns)).all()
    return found


def by_key(
    keys: Sequence[StatusKey], *columns: ColumnElement[Any]
) -> tuple[Select[Any], dict[str, str | int | None]]:
    """The query of `rows_of`, and its values."""
    size = 1 << (len(keys) - 1).bit_length()
    values: dict[str, str | int | None] = {}
    for place in range(size):
        key = keys[place] if place < len(keys) else None
        values[f"phone{place}"] = None if key is None else key.phone
        values[f"id{place}"] = None if key is None else key.id
    return keyed(size, *columns), values


@lru_cache
def keyed(size: int, *columns: ColumnElement[Any]) -> Select[Any]:
    """The query of `rows_of` for so many keys.

    It is a join, for so either engine looks each key up in the index: a list of pairs SQLite
    compares with every record.
    """
    wanted, table = _wanted(size).c, RECORDS.c
    same = (table.account == ACCOUNT, table.phone == wanted.column1, table.id == wanted.column2)
    return select(*columns).join_from(_wanted(size), RECORDS, and_(*same))


@lru_cache
def _wanted(size: int) -> CTE:
    """So many keys to be given; as text, for SQLAlchemy writes that anew for each other size only.

    The columns of `VALUES` have the names that both engines give them.
    """
    first = "(CAST(:phone0 AS TEXT), CAST(:id0 AS BIGINT))"
    others = [f"(:phone{place}, :id{place})" for place in range(1, size)]
    values = text("VALUES " + ", ".join([first, *others])).bindparams(
        bindparam("phone0", type_=Text), bindparam("id0", type_=BigInteger)
    )
    return values.columns(column("column1", Text), column("column2", BigInteger)).cte("wanted")


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


def batches(keys: Sequence[One], size: int) -> Iterable[Sequence[One]]:
    """The keys, or rows, so many at a time: a statement takes a bounded number of values."""
    return (keys[first : first + size] for first in range(0, len(keys), size))


def take_numbers(connection: Connection, table: str, count: int) -> int:
    """The last number given before to a row of a table; so many behind it are taken."""
    of_table = COUNTERS.c.name == table
    last = connection.scalar(select(COUNTERS.c.last).where(of_table))
    if last is None:
        connection.execute(insert(COUNTERS).values(name=table, last=count))
    elif count:
        connection.execute(update(COUNTERS).where(of_table).values(last=last + count))
    return last or 0
