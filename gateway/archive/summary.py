"""Counts, shares and delivery times of the records that match a filter."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    case,
    func,
    literal,
    not_,
    select,
    union_all,
)

from gateway.archive.account import ACCOUNT
from gateway.archive.filters import RecordFilter
from gateway.archive.history import moment
from gateway.archive.listing import Numbered, numbered, where
from gateway.archive.names import Names
from gateway.archive.states import STATES, Source
from gateway.archive.tables import RECORDS
from gateway.archive.tallies import (
    HOUR,
    Dimension,
    Outcome,
    all_cells,
    cells,
    counted,
    last_seen,
    timed_hours,
)
from gateway.model.described import Model
from gateway.model.records import MessageState

LARGEST: Final = 50
"""Operators, countries and senders that are told by name; the rest are one."""

OTHER: Final = "other"

SLOW: Final = (30, 60, 300, 900)
"""Seconds beyond which deliveries are counted: half a minute, one, five and fifteen."""


class DeliverySeconds(Model):
    """Seconds from `sentAt` to `lastStatusTime` of messages that are DELIVERED; exact."""

    count: int
    """Messages of which both times are known."""
    p50: int | None = None
    """Half of them took at most so long; null without any."""
    p90: int | None = None
    """Nine of ten took at most so long."""
    p99: int | None = None
    """Ninety-nine of a hundred took at most so long."""
    over: dict[str, float]
    """The share, from 0 to 1, that took longer than 30, 60, 300 and 900 seconds."""


class StateCount(Model):
    """Records in one state."""

    state: str
    """A message's state, or a lookup's."""
    count: int
    """Records in it."""


class Group(Model):
    """Records that have one value in common."""

    count: int
    """How many there are."""
    delivered: int
    """Messages among them that arrived."""
    failed: int
    """Messages among them that did not, and will not."""
    delivery_seconds: DeliverySeconds
    """How long deliveries took."""


class ErrorCount(Group):
    """Records with one delivery error."""

    error_code: str | None = None
    """The error's code; null: there is none."""


class OperatorCount(Group):
    """Records of numbers that one operator serves."""

    operator: str | None = None
    """Its name; null: not known. `other`: all beyond the fifty largest."""


class CountryCount(Group):
    """Records of numbers of one country."""

    country: str | None = None
    """Its name; null: not known. `other`: all beyond the fifty largest."""


class SenderCount(Group):
    """Messages that were sent under one name."""

    sender: str | None = None
    """The name; null: not known. `other`: all beyond the fifty largest."""


class Coverage(Model):
    """What the summary rests on: what was never asked for or pushed is not in it."""

    first_seen_at: datetime | None = None
    """When the first of these records was first seen; null without any."""
    last_seen_at: datetime | None = None
    """When the last one was last seen."""
    pushed: int
    """Records whose state the provider pushed."""
    asked: int
    """Records whose state was asked for."""
    imported: int
    """Records whose state was imported."""


class HourCount(Model):
    """Messages and lookups that were sent within one hour."""

    hour: datetime
    """Its beginning, UTC."""
    sent: int
    """Those that were sent in it."""
    delivered: int
    """Messages among them that arrived, until now."""
    failed: int
    """Messages among them that did not, and will not."""


class HourDelivery(Model):
    """How long deliveries took, of the messages that were sent within one hour."""

    hour: datetime
    """Its beginning, UTC."""
    delivery_seconds: DeliverySeconds
    """How long they took."""


class DeliveryTimes(Model):
    """How long deliveries took by the hour of sending, for the records that match a filter."""

    per_hour: list[HourDelivery]
    """The earliest hour first; an hour without a delivery is not in it."""


class RecordSummary(Model):
    """Counts of the records that match a filter."""

    total: int
    """Records."""
    by_state: list[StateCount]
    """By state, the most frequent first."""
    by_error_code: list[ErrorCount]
    """By delivery error, the most frequent first."""
    by_operator: list[OperatorCount]
    """By operator, the largest first."""
    by_country: list[CountryCount]
    """By country, the largest first."""
    by_sender: list[SenderCount]
    """By sender, the largest first."""
    delivery_seconds: DeliverySeconds
    """How long deliveries took."""
    coverage: Coverage
    """What all of this rests on."""
    per_hour: list[HourCount]
    """By the hour of sending, the earliest first."""


LAST: Final = -1
"""In place of the values of those that are told as one."""


class _Named(NamedTuple):
    """A dimension whose values are numbers of names."""

    name: str
    model: type[Group]


_NAMED: Final = {
    Dimension.ERROR: _Named("error_code", ErrorCount),
    Dimension.OPERATOR: _Named("operator", OperatorCount),
    Dimension.COUNTRY: _Named("country", CountryCount),
    Dimension.SENDER: _Named("sender", SenderCount),
}
_CUT: Final = (Dimension.OPERATOR, Dimension.COUNTRY, Dimension.SENDER)
"""Dimensions of which the largest are told, and the rest as one."""


def summarise(connection: Connection, names: Names, wanted: RecordFilter) -> RecordSummary:
    """The summary of the records that match."""
    conditions = numbered(connection, names, wanted)
    if conditions is None:
        return _EMPTY
    found: dict[int, dict[int, Row[Any]]] = {dimension: {} for dimension in Dimension}
    for row in connection.execute(summary_query(conditions)):
        found[row.dimension][row.value] = row
    if not found[Dimension.STATE]:
        return _EMPTY
    words = names.names(
        connection,
        {value for dimension in _NAMED for value in found[dimension] if value > 0},
    )
    words[LAST] = OTHER
    states = {STATES[number].state.value: 0 for number in found[Dimension.STATE]}
    for number, row in found[Dimension.STATE].items():
        states[STATES[number].state.value] += row.records
    sources = dict.fromkeys(Source, 0) | {
        Source(number): row.records for number, row in found[Dimension.SOURCE].items()
    }
    some = next(iter(found[Dimension.STATE].values()))
    return RecordSummary(
        total=sum(states.values()),
        by_state=[
            StateCount(state=state, count=count)
            for state, count in sorted(states.items(), key=lambda one: (-one[1], one[0]))
        ],
        by_error_code=_groups(found, Dimension.ERROR, words),
        by_operator=_groups(found, Dimension.OPERATOR, words),
        by_country=_groups(found, Dimension.COUNTRY, words),
        by_sender=_groups(found, Dimension.SENDER, words),
        delivery_seconds=_delivery_seconds(found[Dimension.STATE].get(_DELIVERED)),
        coverage=Coverage(
            first_seen_at=moment(some.first_seen_at),
            last_seen_at=moment(some.last_seen_at),
            pushed=sources[Source.PUSHED],
            asked=sources[Source.ASKED],
            imported=sources[Source.IMPORTED],
        ),
        per_hour=[
            HourCount(
                hour=moment(number * HOUR),
                sent=row.records,
                delivered=row.delivered,
                failed=row.failed,
            )
            for number, row in sorted(found[Dimension.HOUR].items())
            if number
        ],
    )


def delivery_times(connection: Connection, names: Names, wanted: RecordFilter) -> DeliveryTimes:
    """How long deliveries took, by the hour of sending.

    Not a part of the summary, which would take a third longer: no tally has them.
    """
    conditions = numbered(connection, names, wanted)
    if conditions is None:
        return DeliveryTimes(per_hour=[])
    found = timed_hours(counted(where(conditions)).subquery()).cte("cells")
    values, times = _counts(found).cte("counts"), _times(found).cte("times")
    query = (
        select(*values.c, *[times.c[name] for name in _PERCENTILES.values()])
        .join_from(values, times, values.c.value == times.c.value)
        .order_by(values.c.value)
    )
    return DeliveryTimes(
        per_hour=[
            HourDelivery(hour=moment(row.value * HOUR), delivery_seconds=_delivery_seconds(row))
            for row in connection.execute(query)
        ]
    )


def summary_query(conditions: Numbered) -> Select[Any]:
    """The query of a summary: a row for each value of each dimension that is told.

    The cells of the records that match are counted now, or, of all records, as they are kept.
    """
    if conditions.any_of or conditions.within:
        some = counted(where(conditions)).cte("some")
        found = cells(some).cte("cells")
        return _told(
            lambda: found,
            first=select(func.min(some.c.first_seen_at)),
            last=select(func.max(some.c.seen_at)),
        )
    return _told(
        lambda: all_cells().subquery(),
        first=select(func.min(RECORDS.c.first_seen_at)).where(RECORDS.c.account == ACCOUNT),
        last=last_seen(),
    )


def _told(cells: Callable[[], FromClause], *, first: Select[Any], last: Select[Any]) -> Select[Any]:
    """Counts and times of each value of the cells; those of small values as one.

    `cells` gives them anew for each use: read twice in the order of their key, those that are kept
    need no memory. `first` and `last`: when these records were seen.
    """
    values = _counts(cells()).cte("counts")
    of = values.c
    is_small = and_(of.dimension.in_(_CUT), of.place > LARGEST)
    small = select(of.dimension, of.value).where(is_small).cte("small")
    sums = [func.sum(of[name]).label(name) for name in _SUMS]
    told = union_all(
        select(of.dimension, of.value, *[of[name] for name in _SUMS]).where(not_(is_small)),
        select(of.dimension, literal(LAST), *sums).where(is_small).group_by(of.dimension),
    ).cte("told")
    times = union_all(_times(cells()), _times(_merged(small, cells()))).cte("times")
    same = and_(times.c.dimension == told.c.dimension, times.c.value == told.c.value)
    return select(
        *told.c,
        *[times.c[name] for name in _PERCENTILES.values()],
        first.scalar_subquery().label("first_seen_at"),
        last.scalar_subquery().label("last_seen_at"),
    ).join_from(told, times, same, isouter=True)


_OVER: Final = {slow: f"over_{slow}" for slow in SLOW}
_SUMS: Final = ("records", "delivered", "failed", "timed", *_OVER.values())
_PERCENTILES: Final = {percent: f"p{percent}" for percent in (50, 90, 99)}


def _counts(cells: FromClause) -> Select[Any]:
    """How many records have each value, and its place among the largest of its dimension."""
    cell = cells.c

    def counting(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((condition, cell.records), else_=0))

    size = func.sum(cell.records)
    by_size = (size.desc(), cell.value)
    return select(
        cell.dimension,
        cell.value,
        size.label("records"),
        counting(cell.outcome >= int(Outcome.DELIVERED)).label("delivered"),
        counting(cell.outcome == int(Outcome.FAILED)).label("failed"),
        counting(cell.outcome >= 0).label("timed"),
        *[counting(cell.outcome > slow).label(name) for slow, name in _OVER.items()],
        func.row_number().over(partition_by=cell.dimension, order_by=by_size).label("place"),
    ).group_by(cell.dimension, cell.value)


def _merged(small: FromClause, cells: FromClause) -> FromClause:
    """The timed cells of small values, as those of one value."""
    cell = cells.c
    same = and_(cell.dimension == small.c.dimension, cell.value == small.c.value)
    return (
        select(
            cell.dimension,
            literal(LAST).label("value"),
            cell.outcome,
            func.sum(cell.records).label("records"),
        )
        .join_from(small, cells, same)
        .where(cell.outcome >= 0)
        .group_by(cell.dimension, cell.outcome)
        .subquery()
    )


def _times(cells: FromClause) -> Select[Any]:
    """The seconds that shares of the deliveries of each value did not exceed (nearest rank)."""
    cell = cells.c
    by = (cell.dimension, cell.value)
    until = func.sum(cell.records).over(partition_by=by, order_by=cell.outcome)
    timed = func.sum(cell.records).over(partition_by=by)
    run = (
        select(*by, cell.outcome, until.label("until"), timed.label("timed"))
        .where(cell.outcome >= 0)
        .subquery()
    ).c

    def within(percent: int) -> ColumnElement[int]:
        return func.min(case((run.until * 100 >= run.timed * percent, run.outcome)))

    shares = [within(percent).label(name) for percent, name in _PERCENTILES.items()]
    return select(run.dimension, run.value, *shares).group_by(run.dimension, run.value)


def _groups(
    found: Mapping[int, Mapping[int, Row[Any]]], dimension: Dimension, words: Mapping[int, str]
) -> list[Any]:
    """The records by one dimension, the largest group first, the small ones last as one."""
    told = _NAMED[dimension]

    def rank(one: tuple[int, Row[Any]]) -> tuple[bool, int, int]:
        value, row = one
        return value == LAST, -row.records, value

    return [
        told.model(
            **{told.name: words.get(value)},
            count=row.records,
            delivered=row.delivered,
            failed=row.failed,
            delivery_seconds=_delivery_seconds(row),
        )
        for value, row in sorted(found[dimension].items(), key=rank)
    ]


def _delivery_seconds(row: Row[Any] | None) -> DeliverySeconds:
    count = 0 if row is None else int(row.timed)
    if row is None or not count:
        return DeliverySeconds(count=0, over=dict.fromkeys(map(str, SLOW), 0.0))
    return DeliverySeconds(
        count=count,
        p50=row.p50,
        p90=row.p90,
        p99=row.p99,
        over={str(slow): round(int(getattr(row, name)) / count, 4) for slow, name in _OVER.items()},
    )


_DELIVERED: Final = next(
    number for number, stored in STATES.items() if stored.state is MessageState.DELIVERED
)

_EMPTY: Final = RecordSummary(
    total=0,
    by_state=[],
    by_error_code=[],
    by_operator=[],
    by_country=[],
    by_sender=[],
    delivery_seconds=_delivery_seconds(None),
    coverage=Coverage(pushed=0, asked=0, imported=0),
    per_hour=[],
)
