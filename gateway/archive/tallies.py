"""Tallies: how many records have each value of each dimension, and with which outcome.

They are what a summary of everything adds up, in place of a million records. Whoever writes or
deletes records keeps them right in the same transaction, by a `Tally`.
"""

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
)

from gateway.archive.account import ACCOUNT, account, own, own_counter
from gateway.archive.states import STATES
from gateway.archive.tables import COUNTERS, RECORDS, TALLIES
from gateway.model.records import MessageState, StateGroup

SEEN: Final = "seen"
"""The counter that is the latest `seen_at` of all records."""

HOUR: Final = 3600
"""Seconds."""


class Dimension(IntEnum):
    """By what records are counted. A value is a number; 0: not known."""

    STATE = 0
    SOURCE = 1
    HOUR = 2
    """Of sending, in hours since 1970."""
    ERROR = 3
    OPERATOR = 4
    COUNTRY = 5
    SENDER = 6


class Outcome(IntEnum):
    """What became of a record; an outcome of 0 or more is the seconds that its delivery took."""

    DELIVERED = -1
    """It arrived, and how long that took is not known, or not counted in this dimension."""
    FAILED = -2
    OPEN = -3


def _states_of(group: StateGroup) -> list[int]:
    return [number for number, stored in STATES.items() if stored.group is group]


_DELIVERED: Final = _states_of(StateGroup.DELIVERED)
_FAILED: Final = _states_of(StateGroup.FAILED)
_TIMED: Final = [n for n, stored in STATES.items() if stored.state is MessageState.DELIVERED]
_OUTCOMES: Final = dict.fromkeys(STATES, Outcome.OPEN) | {
    **dict.fromkeys(_DELIVERED, Outcome.DELIVERED),
    **dict.fromkeys(_FAILED, Outcome.FAILED),
}


class Counted(NamedTuple):
    """What is counted of a record: columns of `records`."""

    state: int
    source: int
    sent_at: int
    last_status_at: int
    error: int | None
    operator: int | None
    country: int | None
    sender: int | None
    seen_at: int


COLUMNS: Final = tuple(RECORDS.c[name] for name in Counted._fields)

Cell = tuple[int, int, int]
"""A dimension, its value, and an outcome."""


def cells_of(row: Counted) -> tuple[Cell, ...]:
    """In which cells a record is counted; `cells` says the same in SQL."""
    plain = timed = int(_OUTCOMES[row.state])
    took = row.last_status_at - row.sent_at
    if row.state in _TIMED and row.sent_at > 0 and took >= 0:
        timed = took
    return (
        (Dimension.STATE, row.state, timed),
        (Dimension.SOURCE, row.source, plain),
        (Dimension.HOUR, row.sent_at // HOUR, plain),
        (Dimension.ERROR, row.error or 0, timed),
        (Dimension.OPERATOR, row.operator or 0, timed),
        (Dimension.COUNTRY, row.country or 0, timed),
        (Dimension.SENDER, row.sender or 0, timed),
    )


def counted(where: Iterable[ColumnElement[bool]]) -> Select[Any]:
    """The records that match, with what is counted of them."""
    table = RECORDS.c
    took = table.last_status_at - table.sent_at
    plain = case(
        (table.state.in_(_DELIVERED), int(Outcome.DELIVERED)),
        (table.state.in_(_FAILED), int(Outcome.FAILED)),
        else_=int(Outcome.OPEN),
    )
    is_timed = and_(table.state.in_(_TIMED), table.sent_at > 0, took >= 0)
    return select(
        table.state.label("STATE"),
        table.source.label("SOURCE"),
        (table.sent_at // HOUR).label("HOUR"),
        func.coalesce(table.error, 0).label("ERROR"),
        func.coalesce(table.operator, 0).label("OPERATOR"),
        func.coalesce(table.country, 0).label("COUNTRY"),
        func.coalesce(table.sender, 0).label("SENDER"),
        plain.label("plain"),
        case((is_timed, took), else_=plain).label("timed"),
        table.first_seen_at,
        table.seen_at,
    ).where(*where)


def cells(rows: Any) -> CompoundSelect[Any]:  # noqa: ANN401 - a subquery or a CTE of `counted`
    """How many of these rows are in each cell."""
    parts = []
    for dimension in Dimension:
        is_plain = dimension in {Dimension.SOURCE, Dimension.HOUR}
        value = rows.c[dimension.name]
        outcome = rows.c["plain" if is_plain else "timed"]
        parts.append(
            select(
                literal(int(dimension)).label("dimension"),
                value.label("value"),
                outcome.label("outcome"),
                func.count().label("records"),
            ).group_by(value, outcome)
        )
    return union_all(*parts)


def timed_hours(rows: Any) -> Select[Any]:  # noqa: ANN401 - as above
    """How many of these rows were sent in each hour and took so many seconds to be delivered."""
    hour, took = rows.c[Dimension.HOUR.name], rows.c.timed
    return (
        select(
            literal(int(Dimension.HOUR)).label("dimension"),
            hour.label("value"),
            took.label("outcome"),
            func.count().label("records"),
        )
        .where(took >= 0)
        .group_by(hour, took)
    )


class Tally:
    """What a transaction changes in the tallies, gathered, and written at its end."""

    def __init__(self) -> None:
        self._changes: Counter[Cell] = Counter()
        self._seen = 0
        self._unseen = 0

    def add(self, row: Counted) -> None:
        """A record is there now."""
        for cell in cells_of(row):
            self._changes[cell] += 1
        self._seen = max(self._seen, row.seen_at)

    def remove(self, row: Counted) -> None:
        """A record is there no more, or no more as it was."""
        for cell in cells_of(row):
            self._changes[cell] -= 1
        self._unseen = max(self._unseen, row.seen_at)

    def write(self, connection: Connection) -> None:
        """Bring the tallies up to date; by who writes, alone."""
        rows = [
            {
                "account": account(),
                "dimension": dimension,
                "value": value,
                "outcome": outcome,
                "n": n,
            }
            for (dimension, value, outcome), n in sorted(self._changes.items())
            if n
        ]
        if rows:
            connection.execute(_ADD, rows)
        self._write_seen(connection)

    def _write_seen(self, connection: Connection) -> None:
        """Keep when a record was last seen; the latest of all is looked for where it went."""
        last = connection.scalar(last_seen())
        if self._seen < self._unseen and self._unseen >= (last or 0):
            newest = connection.scalar(select(func.max(RECORDS.c.seen_at)))
        else:
            newest = max(self._seen, last or 0)
        if newest == last:
            return
        connection.execute(delete(COUNTERS).where(COUNTERS.c.name == own_counter(SEEN)))
        if newest is not None:
            connection.execute(insert(COUNTERS).values(name=own(SEEN), last=newest))


def last_seen() -> Select[Any]:
    """When a record was last seen, of all that are there; no row without any."""
    return select(COUNTERS.c.last).where(COUNTERS.c.name == own_counter(SEEN))


def all_cells() -> Select[Any]:
    """The cells of all records, as `cells` has those of some."""
    table = TALLIES.c
    return select(
        table.dimension, table.value, table.outcome, table["count"].label("records")
    ).where(table.account == ACCOUNT, table["count"] > 0)


def count_all(connection: Connection) -> int:
    """How many records there are."""
    table = TALLIES.c
    of_one = (table.account == ACCOUNT, table.dimension == int(Dimension.SOURCE))
    return int(connection.scalar(select(func.sum(table["count"])).where(*of_one)) or 0)


def count_everywhere(connection: Connection) -> int:
    """How many records all accounts have together."""
    table = TALLIES.c
    of_one = table.dimension == int(Dimension.SOURCE)
    return int(connection.scalar(select(func.sum(table["count"])).where(of_one)) or 0)


def delete_records(connection: Connection, *where: ColumnElement[bool]) -> int:
    """Delete the records that match, and their changes; how many there were."""
    tally = Tally()
    rows = connection.execute(select(*COLUMNS).where(*where)).all()
    for row in rows:
        tally.remove(Counted(*row))
    if rows:
        connection.execute(delete(RECORDS).where(*where))
        tally.write(connection)
    return len(rows)


def forget_empty(connection: Connection) -> None:
    """Delete the cells in which nothing is counted any more."""
    connection.execute(delete(TALLIES).where(TALLIES.c["count"] == 0))


_ADD: Final = text(
    "INSERT INTO tallies (account, dimension, value, outcome, count) "
    "VALUES (:account, :dimension, :value, :outcome, :n) "
    "ON CONFLICT (account, dimension, value, outcome) "
    "DO UPDATE SET count = tallies.count + excluded.count"
)
"""The same words in SQLite and in PostgreSQL."""
