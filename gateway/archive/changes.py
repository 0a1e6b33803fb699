"""The order of all changes, read page by page: what the feed tells.

A page begins behind a position and ends at another, which the next one begins behind. So whoever
goes on from the last position sees each change once, in the order in which they were learned.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    cast,
    false,
    or_,
    select,
)

from gateway.archive.account import ACCOUNT, account, is_place_here, own
from gateway.archive.cursors import decoded, encoded
from gateway.archive.filters import RecordFilter
from gateway.archive.history import change_of
from gateway.archive.names import Names
from gateway.archive.rows import clean, readable
from gateway.archive.tables import CHANGES, COUNTERS, RECORDS
from gateway.errors import CursorExpired, InvalidArgument
from gateway.model.freshness import CacheEntry
from gateway.model.records import DeliveryErrorCode, StateChange, StatusKey
from gateway.smsc import codes

MOST: Final = 1000
"""Changes of one page."""

SPAN: Final = 50_000
"""Changes that are looked through for one page: where a filter leaves few of them, a page ends with
fewer than it may have."""

FORGOTTEN: Final = "forgotten"
"""The counter that is the number of the last change that was too old to be kept."""

FILTERS: Final = frozenset(
    {"phone", "kind", "state", "stateGroup", "isFinal", "errorCode", "operator", "sender"}
)
"""The names of the filters that a feed may have."""


class Edge(Enum):
    """Where a reader without a cursor begins."""

    OLDEST = "oldest"
    """Before the oldest change that is kept."""
    NOW = "now"
    """Behind the newest."""


class FeedPosition(NamedTuple):
    """Behind the change with this number; `epoch` names the database that gave it."""

    epoch: int
    no: int
    account: str = ""


class FeedChange(NamedTuple):
    """A change of a state, and what it may be filtered by."""

    position: FeedPosition
    record: int
    """The number of its record."""
    key: StatusKey
    change: StateChange
    state: int
    """The number of its state, by which kind, group and finality are known as well."""
    operator: str | None
    sender: str | None
    packed: bytes

    @property
    def entry(self) -> CacheEntry | None:
        """The record as it was kept when this was read; None where that can't be read."""
        return readable(self.packed)


class FeedPage(NamedTuple):
    """Changes, and the position to go on from; `is_end`: there was nothing behind it."""

    changes: list[FeedChange]
    next: FeedPosition
    is_end: bool


def cursor_of(position: FeedPosition) -> str:
    """What callers are given to go on from there."""
    return encoded(position.account, position.epoch, position.no)


def position_of(cursor: str) -> FeedPosition | Edge:
    """The position of a cursor, or of `now`; `InvalidArgument` for what is none."""
    if cursor == Edge.NOW.value:
        return Edge.NOW
    try:
        account_, epoch, no = decoded(cursor)
        if not (epoch.isdigit() and no.isdigit() and len(epoch + no) < LONGEST):
            raise ValueError  # noqa: TRY301 - one sentence for all that is wrong
        return FeedPosition(int(epoch), int(no), account_)
    except ValueError:
        raise InvalidArgument(
            "after must be `now`, or the cursor of a change or of an earlier page."
        ) from None


LONGEST: Final = 40
"""Digits of what a cursor holds."""


def read_page(
    connection: Connection,
    names: Names,
    wanted: RecordFilter,
    after: FeedPosition | Edge,
    limit: int = MOST,
) -> FeedPage:
    """The next changes that match; raises `CursorExpired` where some before them are gone."""
    counters = select(COUNTERS.c.name, COUNTERS.c.last)
    told = dict(iter(connection.execute(counters)))
    epoch, last, forgotten = told["epoch"], told.get("changes", 0), told.get(own(FORGOTTEN), 0)
    if isinstance(after, Edge):
        after = FeedPosition(epoch, forgotten if after is Edge.OLDEST else last, account())
    if not is_place_here(after.account):
        raise InvalidArgument("after is a cursor of another account.")
    if after.epoch != epoch or not forgotten <= after.no <= last:
        raise CursorExpired
    end = last if wanted.phones is not None else min(last, after.no + SPAN)
    query = page_query(connection, names, wanted, range(after.no, end), limit)
    rows = connection.execute(query).all()
    changes = changes_of(connection, names, epoch, rows)
    at = rows[-1].no if len(rows) == limit else end
    return FeedPage(changes, FeedPosition(epoch, at, account()), at >= last)


def changes_of(
    connection: Connection, names: Names, epoch: int, rows: Sequence[Row[Any]]
) -> list[FeedChange]:
    """The changes in the rows of a `page_query`."""
    words = names.names(
        connection,
        {no for row in rows for no in (row.status_text, row.operator, row.sender) if no},
    )
    return [
        FeedChange(
            FeedPosition(epoch, row.no, account()),
            row.record,
            StatusKey(row.phone, row.id),
            change_of(row, words),
            row.state,
            words.get(row.operator),
            words.get(row.sender),
            row.entry,
        )
        for row in rows
    ]


def by_number(connection: Connection, names: Names, numbers: Iterable[int]) -> list[FeedChange]:
    """These changes, in their order."""
    query = (
        select(*CHANGES.c, *[RECORDS.c[name] for name in _OF_RECORD])
        .join_from(CHANGES, RECORDS)
        .where(CHANGES.c.no.in_(list(numbers)))
        .order_by(CHANGES.c.no)
    )
    epoch = connection.scalar(select(COUNTERS.c.last).where(COUNTERS.c.name == "epoch"))
    return changes_of(connection, names, epoch or 0, connection.execute(query).all())


def page_query(
    connection: Connection, names: Names, wanted: RecordFilter, within: range, limit: int
) -> Select[Any]:
    """The changes behind a range's start, up to its stop, that match.

    They are walked by number, but those of given phones are found by these.
    """
    some = select(CHANGES).where(
        CHANGES.c.no > within.start, CHANGES.c.no <= within.stop, *_of_change(wanted)
    )
    of_record = _of_record(connection, names, wanted)
    if not of_record:  # their place is known before any record is read
        some = some.order_by(CHANGES.c.no).limit(limit)
    changes = some.subquery()
    own_rows: ColumnElement[str] = RECORDS.c.account
    if wanted.phones is None:  # else SQLite would begin at all records of the account
        own_rows = cast(own_rows, Text)
    return (
        select(*changes.c, *[RECORDS.c[name] for name in _OF_RECORD])
        .join_from(changes, RECORDS, RECORDS.c.no == changes.c.record)
        .where(own_rows == ACCOUNT, *of_record)
        .order_by(changes.c.no)
        .limit(limit)
    )


_OF_RECORD: Final = ("phone", "id", "operator", "sender", "entry")


def _of_change(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """What `matcher` says of the changes, in SQL."""
    found: list[ColumnElement[bool]] = []
    if wanted.states is not None:
        found.append(CHANGES.c.state.in_(sorted(wanted.states)))
    if wanted.errors is not None:
        found.append(or_(false(), *map(_is_error, wanted.errors)))
    return found


def _of_record(
    connection: Connection, names: Names, wanted: RecordFilter
) -> list[ColumnElement[bool]]:
    """What it says of their records."""
    found: list[ColumnElement[bool]] = []
    if wanted.phones is not None:
        found.append(RECORDS.c.phone.in_(wanted.phones))
    for column, words in (
        (RECORDS.c.operator, wanted.operators),
        (RECORDS.c.sender, wanted.senders),
    ):
        if words is not None:
            found.append(column.in_(names.numbers(connection, words).values()))
    return found


def _is_error(code: str) -> ColumnElement[bool]:
    number = CHANGES.c.provider_error
    if code == DeliveryErrorCode.UNMAPPED:
        return and_(number.is_not(None), number.not_in(codes.REASONS))
    return number.in_([one for one, reason in codes.REASONS.items() if reason.code == code])


def matcher(wanted: RecordFilter) -> Callable[[FeedChange], bool]:
    """Does a change match? For those that wait, so that none of them asks the database."""
    tests: list[Callable[[FeedChange], bool]] = []

    def test(values: Collection[Any] | None, value_of: Callable[[FeedChange], object]) -> None:
        if values is not None:
            among = frozenset(values)
            tests.append(lambda change: value_of(change) in among)

    test(wanted.phones, lambda one: one.key.phone)
    test(wanted.states, lambda one: one.state)
    test(wanted.errors, lambda one: None if one.change.error is None else one.change.error.code)
    test(_kept(wanted.operators), lambda one: one.operator)
    test(_kept(wanted.senders), lambda one: one.sender)
    return lambda change: all(test(change) for test in tests)


def _kept(words: Sequence[str] | None) -> Sequence[str] | None:
    """These as they are kept, which is not longer."""
    return None if words is None else [clean(word) for word in words if "\0" not in word]
