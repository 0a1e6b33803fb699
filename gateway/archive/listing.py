"""Lists of records, page by page: each filter and order is served by an index (see `tables`).

A page is found by the position of the one before it (keyset), so the ten-thousandth costs what the
first does. Of a filter with several values each is walked by itself, and the walks are merged.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    cast,
    func,
    select,
    tuple_,
    union_all,
)

from gateway.archive.account import ACCOUNT, account, is_place_here
from gateway.archive.cursors import decoded, encoded
from gateway.archive.filters import RecordFilter
from gateway.archive.names import Names
from gateway.archive.rows import readable
from gateway.archive.tables import FOLLOWED, RECORDS
from gateway.archive.tallies import count_all
from gateway.errors import InvalidArgument
from gateway.model.freshness import CacheEntry

MOST: Final = 1000
"""Records of one page."""


class Order(StrEnum):
    """What a list is ordered by; `-`: the latest first."""

    CHANGED_DESC = "-changedAt"
    CHANGED_ASC = "changedAt"
    SENT_DESC = "-sentAt"
    SENT_ASC = "sentAt"

    @property
    def column(self) -> ColumnElement[int]:
        return RECORDS.c["changed_at" if "changedAt" in self else "sent_at"]

    @property
    def is_descending(self) -> bool:
        return self.startswith("-")


class Position(NamedTuple):
    """A place in a list: behind the record with this time and number."""

    time: int
    no: int
    account: str = ""


class Listed(NamedTuple):
    """A record of a list, and its place in it."""

    no: int
    position: Position
    entry: CacheEntry


def cursor_of(order: Order, position: Position) -> str:
    """What callers are given to go on from there."""
    return encoded(position.account, order, position.time, position.no)


def position_of(cursor: str, order: Order) -> Position:
    """The position of a cursor that was given for this order; `InvalidArgument` for any other."""
    try:
        account_, ordered_by, time, no = decoded(cursor)
        if ordered_by != order:
            raise ValueError  # noqa: TRY301 - one sentence for all that is wrong
        return Position(_number(time), _number(no), account_)
    except ValueError:
        raise InvalidArgument(
            "cursor must be the `next` of an earlier page of the same order."
        ) from None


def _number(text: str) -> int:
    if not text.isdigit() or len(text) > len(str(2**63)) - 1:
        raise ValueError
    return int(text)


class Range(NamedTuple):
    """Times from the first on, and before the second; None: no bound."""

    low: int | None
    high: int | None


class Numbered(NamedTuple):
    """A filter as conditions: of each column the values it is to have one of, or the range."""

    any_of: dict[str, list[Any]]
    within: dict[str, Range]
    follow: int | None = None
    """Of a follow: those whose keys it has."""


def numbered(connection: Connection, names: Names, wanted: RecordFilter) -> Numbered | None:
    """The conditions of a filter; None: nothing can match it."""
    words = {
        "error": wanted.errors,
        "operator": wanted.operators,
        "sender": wanted.senders,
    }
    asked = {word for those in words.values() for word in those or ()}
    known = names.numbers(connection, asked)
    any_of: dict[str, list[Any]] = {}
    for column, values in (("id", wanted.ids), ("phone", wanted.phones)):
        if values is not None:
            any_of[column] = list(values)
    for column, those in words.items():
        if those is not None:
            any_of[column] = [known[word] for word in those if word in known]
    if wanted.states is not None:
        any_of["state"] = sorted(wanted.states)
    if not all(any_of.values()):
        return None
    return Numbered(any_of, _bounds(wanted), wanted.follow)


def _bounds(wanted: RecordFilter) -> dict[str, Range]:
    """The ranges of times."""
    sent_after = wanted.sent_after
    if wanted.sent_before is not None:
        sent_after = max(sent_after or 0, 1)  # 0: not told
    ranges = {
        "sent_at": Range(sent_after, wanted.sent_before),
        "changed_at": Range(wanted.changed_after, wanted.changed_before),
    }
    return {column: bounds for column, bounds in ranges.items() if bounds != (None, None)}


def page(
    connection: Connection,
    names: Names,
    wanted: RecordFilter,
    order: Order,
    *,
    after: Position | None,
    limit: int,
) -> list[Listed]:
    """Up to `limit` records, in their order, behind a position."""
    if after is not None and not is_place_here(after.account):
        raise InvalidArgument("cursor is of another account.")
    conditions = numbered(connection, names, wanted)
    if conditions is None:
        return []
    is_few = conditions.follow is not None or _are_few(connection, conditions, order)
    found: list[Listed] = []
    while len(found) < limit:
        wanting = limit - len(found)
        query = page_query(conditions, order, after=after, limit=wanting, is_few=is_few)
        rows = connection.execute(*query).all()
        for no, time, packed in rows:
            after = Position(time, no, account())
            if (entry := readable(packed)) is not None:
                found.append(Listed(no, after, entry))
        if len(rows) < wanting:
            break
    return found


FEW: Final = 20_000
"""Records whose times are sorted in ten milliseconds."""


def _are_few(connection: Connection, conditions: Numbered, order: Order) -> bool:
    """Does the other time than the one that a list is ordered by leave so few that they are sorted?

    It is asked only where no other filter leaves few of them.
    """
    others = {name: one for name, one in conditions.within.items() if name != order.column.name}
    if conditions.any_of or not others:
        return False
    some = select(RECORDS.c.no).where(*where(Numbered({}, others))).limit(FEW + 1).subquery()
    return int(connection.scalar(select(func.count()).select_from(some)) or 0) <= FEW


def page_query(
    conditions: Numbered,
    order: Order,
    *,
    after: Position | None,
    limit: int,
    is_few: bool = False,
) -> tuple[Select[Any], dict[str, Any]]:
    """The query of a page, and the values in it: rows are found in one index, and only then read.

    That is the index of the order, for it has both times: it is walked from the place of the page,
    past what the other time excludes. `is_few`: the other time leaves few, which are sorted.
    """
    any_of = dict(conditions.any_of)
    led_by = next((column for column in _LEADERS if column in any_of), None)
    leaders = any_of.pop(led_by) if led_by else []
    within, after = _closest(conditions.within, order, after)
    values = {"limit": limit, **any_of}
    values |= {f"leader{place}": leader for place, leader in enumerate(leaders)}
    for name, (low, high) in within.items():
        values |= {f"{name}_from": low, f"{name}_until": high}
    if after is not None:
        values |= {"time_after": after.time, "no_after": after.no}
    values["follow"] = conditions.follow
    values = {name: value for name, value in values.items() if value is not None}
    shape = _Shape(order, led_by, len(leaders), tuple(any_of), frozenset(values), is_few=is_few)
    make = _kept_statement if len(leaders) <= FEW_LEADERS else _statement
    return make(shape), values


class _Shape(NamedTuple):
    """What makes the statement of one page another than that of the next one."""

    order: Order
    led_by: str | None
    """The column of the filter whose values are walked one by one."""
    leaders: int
    """How many values that has."""
    any_of: tuple[str, ...]
    """The columns of other filters."""
    given: frozenset[str]
    """The names of all values."""
    is_few: bool


def _statement(shape: _Shape) -> Select[Any]:
    order = shape.order
    no, time = RECORDS.c.no, order.column + 0 if shape.is_few else order.column
    within: list[ColumnElement[bool]] = [RECORDS.c.account == ACCOUNT]
    within += [RECORDS.c[name].in_(bindparam(name, expanding=True)) for name in shape.any_of]
    if "follow" in shape.given:
        within.append(no.in_(_followed(_bound("follow"))))
    for column in (RECORDS.c.sent_at, RECORDS.c.changed_at):
        is_led = shape.is_few or shape.led_by is not None
        is_own = column.name == order.column.name
        compared = time if is_own else column if is_led else _aside(column)
        if (low := f"{column.name}_from") in shape.given:
            within.append(compared >= _bound(low))
        if (high := f"{column.name}_until") in shape.given:
            within.append(compared < _bound(high))
    if "no_after" in shape.given:
        place, here = tuple_(time, no), tuple_(_bound("time_after"), _bound("no_after"))
        within.append(place < here if order.is_descending else place > here)
    walks = []
    for leader in range(shape.leaders if shape.led_by else 1):
        walk = select(no, time.label("time")).where(*within)
        if shape.led_by:
            column = RECORDS.c[shape.led_by]
            walk = walk.where(column == bindparam(f"leader{leader}", type_=column.type))
        walk = walk.order_by(*_directed(order, time, no))
        walks.append(walk.limit(_bound("limit")).subquery())
    found = walks[0] if len(walks) == 1 else union_all(*map(select, walks)).subquery()
    some = select(found).order_by(*_directed(order, found.c.time, found.c.no))
    chosen = some.limit(_bound("limit")).subquery()
    return (
        select(chosen.c.no, chosen.c.time, RECORDS.c.entry)
        .join_from(chosen, RECORDS, RECORDS.c.no == chosen.c.no)
        .order_by(*_directed(order, chosen.c.time, chosen.c.no))
    )


def _followed(follow: BindParameter[int]) -> Select[tuple[int]]:
    """The numbers of the records of a follow's keys."""
    is_key = and_(
        RECORDS.c.account == ACCOUNT,
        RECORDS.c.phone == FOLLOWED.c.phone,
        RECORDS.c.id == FOLLOWED.c.id,
    )
    return (
        select(RECORDS.c.no).join_from(FOLLOWED, RECORDS, is_key).where(FOLLOWED.c.follow == follow)
    )


FEW_LEADERS: Final = 8
"""Values of a filter with which a statement is kept; it grows with them."""

_kept_statement: Final = lru_cache(maxsize=256)(_statement)
"""To make one takes as long as the page does."""


def _bound(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


def _aside(time: ColumnElement[int]) -> ColumnElement[int]:
    """The same time, by which SQLite looks for no index; PostgreSQL sees through it."""
    return cast(time, BigInteger)


def _closest(
    within: Mapping[str, Range], order: Order, after: Position | None
) -> tuple[dict[str, Range], Position | None]:
    """The ranges and the position to go on from, but of two bounds at one end the closer one.

    SQLite would begin at either.
    """
    column = order.column.name
    low, high = within.get(column, Range(None, None))
    if after is None:
        return dict(within), None
    if order.is_descending:
        is_bound_closer = high is not None and high <= after.time
        rest = Range(low, None)
    else:
        is_bound_closer = low is not None and low > after.time
        rest = Range(None, high)
    return (dict(within), None) if is_bound_closer else ({**within, column: rest}, after)


def _in_range(time: ColumnElement[int], bounds: Range) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if bounds.low is not None:
        conditions.append(time >= bounds.low)
    if bounds.high is not None:
        conditions.append(time < bounds.high)
    return conditions


_LEADERS: Final = ("id", "phone", "error", "operator", "sender", "state")
"""By which of several filters the records are walked: the first usually leaves the fewest."""


def _directed(order: Order, *columns: ColumnElement[Any]) -> Sequence[ColumnElement[Any]]:
    return [column.desc() if order.is_descending else column.asc() for column in columns]


def count(connection: Connection, names: Names, wanted: RecordFilter) -> int:
    """How many records match."""
    conditions = numbered(connection, names, wanted)
    if conditions is None:
        return 0
    if not conditions.any_of and not conditions.within:
        return count_all(connection)
    query = select(func.count()).select_from(RECORDS).where(*where(conditions))
    return int(connection.scalar(query) or 0)


def where(conditions: Numbered) -> list[ColumnElement[bool]]:
    """The conditions as one list."""
    several = [RECORDS.c[name].in_(values) for name, values in conditions.any_of.items()]
    within = [
        condition
        for name, bounds in conditions.within.items()
        for condition in _in_range(RECORDS.c[name], bounds)
    ]
    return [RECORDS.c.account == ACCOUNT, *several, *within]
