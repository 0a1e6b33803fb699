"""Counts, shares and delivery times of the records that match a filter."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.archive.filters import RecordFilter
from gateway.archive.history import moment
from gateway.archive.listing import numbered, where
from gateway.archive.names import Names
from gateway.archive.states import STATES, Source
from gateway.archive.tables import RECORDS
from gateway.model.described import Model
from gateway.model.records import MessageState, StateGroup

LARGEST: Final = 50
"""Operators, countries and senders that are told by name; the rest are one."""

OTHER: Final = "other"

SLOW: Final = (30, 60, 300, 900)
"""Seconds beyond which deliveries are counted: half a minute, one, five and fifteen."""

_HOUR: Final = 3600


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
    """Messages that were sent within one hour."""

    hour: datetime
    """Its beginning, UTC."""
    sent: int
    """Messages sent in it."""
    delivered: int
    """Those of them that arrived, until now."""
    failed: int
    """Those of them that did not, and will not."""


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
    """By the hour in which messages were sent, the earliest first."""


def _codes_of(group: StateGroup) -> list[int]:
    return [number for number, stored in STATES.items() if stored.group is group]


_R: Final = RECORDS.c
_DELIVERED: Final = _R.state.in_(_codes_of(StateGroup.DELIVERED))
_FAILED: Final = _R.state.in_(_codes_of(StateGroup.FAILED))
_COUNTS: Final = (
    func.count().label("count"),
    func.sum(case((_DELIVERED, 1), else_=0)).label("delivered"),
    func.sum(case((_FAILED, 1), else_=0)).label("failed"),
)
_IS_TIMED: Final = and_(
    _R.state.in_([n for n, stored in STATES.items() if stored.state is MessageState.DELIVERED]),
    _R.sent_at > 0,
    _R.last_status_at >= _R.sent_at,
)
_TOOK: Final = (_R.last_status_at - _R.sent_at).label("took")


class _Dimension(NamedTuple):
    column: ColumnElement[Any]
    name: str
    model: type[Group]
    largest: int | None


_DIMENSIONS: Final = {
    "by_error_code": _Dimension(_R.error, "error_code", ErrorCount, None),
    "by_operator": _Dimension(_R.operator, "operator", OperatorCount, LARGEST),
    "by_country": _Dimension(_R.country, "country", CountryCount, LARGEST),
    "by_sender": _Dimension(_R.sender, "sender", SenderCount, LARGEST),
}


async def summarise(
    connection: AsyncConnection, names: Names, wanted: RecordFilter
) -> RecordSummary:
    """The summary of the records that match."""
    conditions = await numbered(connection, names, wanted)
    if conditions is None:
        return _EMPTY
    those = where(conditions)
    states = select(
        _R.state,
        _R.source,
        func.count(),
        func.min(_R.first_seen_at),
        func.max(_R.seen_at),
    )
    by_state: dict[str, int] = {}
    by_source = dict.fromkeys(Source, 0)
    firsts, lasts = [], []
    for state, source, count, first, last in await connection.execute(
        states.where(*those).group_by(_R.state, _R.source)
    ):
        name = STATES[state].state.value
        by_state[name] = by_state.get(name, 0) + count
        by_source[Source(source)] += count
        firsts.append(first)
        lasts.append(last)
    groups = {
        name: await _groups(connection, names, those, dimension)
        for name, dimension in _DIMENSIONS.items()
    }
    times = await connection.execute(
        select(_TOOK, func.count()).where(*those, _IS_TIMED).group_by(_TOOK).order_by(_TOOK)
    )
    return RecordSummary(
        total=sum(by_state.values()),
        by_state=[
            StateCount(state=state, count=count)
            for state, count in sorted(by_state.items(), key=lambda one: (-one[1], one[0]))
        ],
        **groups,
        delivery_seconds=delivery_seconds(times.all()),
        coverage=Coverage(
            first_seen_at=moment(min(firsts)) if firsts else None,
            last_seen_at=moment(max(lasts)) if lasts else None,
            pushed=by_source[Source.PUSHED],
            asked=by_source[Source.ASKED],
            imported=by_source[Source.IMPORTED],
        ),
        per_hour=await _per_hour(connection, those),
    )


async def _groups(
    connection: AsyncConnection,
    names: Names,
    those: list[ColumnElement[bool]],
    dimension: _Dimension,
) -> list[Any]:
    """The records by one column, the largest group first."""
    column = dimension.column
    counted = await connection.execute(
        select(column, *_COUNTS)
        .where(*those)
        .group_by(column)
        .order_by(func.count().desc(), column)
    )
    rows = counted.all()
    timed = await connection.execute(
        select(column, _TOOK, func.count())
        .where(*those, _IS_TIMED)
        .group_by(column, _TOOK)
        .order_by(column, _TOOK)
    )
    times: dict[int | None, list[tuple[int, int]]] = {}
    for value, took, count in timed:
        times.setdefault(value, []).append((took, count))
    words = await names.names(connection, [row[0] for row in rows if row[0] is not None])
    cut = len(rows) if dimension.largest is None else dimension.largest
    told = [
        _group(dimension, None if row[0] is None else words[row[0]], [row], times)
        for row in rows[:cut]
    ]
    if rows[cut:]:
        told.append(_group(dimension, OTHER, rows[cut:], times))
    return told


def _group(
    dimension: _Dimension,
    name: str | None,
    rows: Iterable[tuple[Any, ...]],
    times: Mapping[int | None, list[tuple[int, int]]],
) -> Group:
    rows = list(rows)
    merged: dict[int, int] = {}
    for row in rows:
        for took, count in times.get(row[0], ()):
            merged[took] = merged.get(took, 0) + count
    return dimension.model(
        **{dimension.name: name},
        count=sum(row[1] for row in rows),
        delivered=sum(row[2] for row in rows),
        failed=sum(row[3] for row in rows),
        delivery_seconds=delivery_seconds(sorted(merged.items())),
    )


def delivery_seconds(times: Iterable[tuple[int, int]]) -> DeliverySeconds:
    """From how many messages took how many seconds, the shortest first."""
    counts = list(times)
    total = sum(count for _, count in counts)
    over = {
        str(slow): round(sum(n for took, n in counts if took > slow) / total, 4) if total else 0.0
        for slow in SLOW
    }
    return DeliverySeconds(
        count=total,
        p50=_percentile(counts, total, 50),
        p90=_percentile(counts, total, 90),
        p99=_percentile(counts, total, 99),
        over=over,
    )


def _percentile(counts: list[tuple[int, int]], total: int, percent: int) -> int | None:
    """The least value that so many of a hundred do not exceed (nearest rank)."""
    rank, seen = -(-total * percent // 100), 0
    for took, count in counts:
        seen += count
        if seen >= rank:
            return took
    return None


async def _per_hour(
    connection: AsyncConnection, those: list[ColumnElement[bool]]
) -> list[HourCount]:
    hour = (_R.sent_at // _HOUR).label("hour")
    rows = await connection.execute(
        select(hour, *_COUNTS).where(*those, _R.sent_at > 0).group_by(hour).order_by(hour)
    )
    return [
        HourCount(hour=moment(number * _HOUR), sent=sent, delivered=delivered, failed=failed)
        for number, sent, delivered, failed in rows
    ]


_EMPTY: Final = RecordSummary(
    total=0,
    by_state=[],
    by_error_code=[],
    by_operator=[],
    by_country=[],
    by_sender=[],
    delivery_seconds=delivery_seconds(()),
    coverage=Coverage(pushed=0, asked=0, imported=0),
    per_hour=[],
)
