"""Lists of records, page by page: each filter and order is served by an index (see `tables`).

A page is found by the position of the one before it (keyset), so the ten-thousandth costs what the
first does. Of a filter with several values each is walked by itself, and the walks are merged.
"""

import base64
import binascii
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, func, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.archive.filters import RecordFilter
from gateway.archive.names import Names
from gateway.archive.rows import ACCOUNT, readable
from gateway.archive.tables import RECORDS
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


class Listed(NamedTuple):
    """A record of a list, and its place in it."""

    no: int
    position: Position
    entry: CacheEntry


def cursor_of(order: Order, position: Position) -> str:
    """What callers are given to go on from there."""
    text = f"{ACCOUNT}|{order}|{position.time}|{position.no}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position_of(cursor: str, order: Order) -> Position:
    """The position of a cursor that was given for this order; `InvalidArgument` for any other."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, b"-_", validate=True).decode()
        account, ordered_by, time, no = text.split("|")
        if account != ACCOUNT or ordered_by != order or not (time + no).isascii():
            raise ValueError  # noqa: TRY301 - one sentence for all that is wrong
        return Position(_number(time), _number(no))
    except (ValueError, binascii.Error):
        raise InvalidArgument(
            "cursor must be the `next` of an earlier page of the same order."
        ) from None


def _number(text: str) -> int:
    if not text.isdigit() or len(text) > len(str(2**63)) - 1:
        raise ValueError
    return int(text)


class Numbered(NamedTuple):
    """A filter as conditions: for each column, the values of which it is to have one."""

    any_of: dict[str, list[Any]]
    within: list[ColumnElement[bool]]


async def numbered(
    connection: AsyncConnection, names: Names, wanted: RecordFilter
) -> Numbered | None:
    """The conditions of a filter; None: nothing can match it."""
    words = {
        "error": wanted.errors,
        "operator": wanted.operators,
        "sender": wanted.senders,
    }
    asked = {word for those in words.values() for word in those or ()}
    known = await names.numbers(connection, asked)
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
    return Numbered(any_of, _bounds(wanted))


def _bounds(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """The conditions on times."""
    table = RECORDS.c
    within: list[ColumnElement[bool]] = []
    if wanted.sent_after is not None:
        within.append(table.sent_at >= wanted.sent_after)
    if wanted.sent_before is not None:
        within += [table.sent_at < wanted.sent_before, table.sent_at > 0]
    if wanted.changed_after is not None:
        within.append(table.changed_at >= wanted.changed_after)
    if wanted.changed_before is not None:
        within.append(table.changed_at < wanted.changed_before)
    return within


async def page(
    connection: AsyncConnection,
    names: Names,
    wanted: RecordFilter,
    order: Order,
    *,
    after: Position | None,
    limit: int,
) -> list[Listed]:
    """Up to `limit` records, in their order, behind a position."""
    conditions = await numbered(connection, names, wanted)
    if conditions is None:
        return []
    found: list[Listed] = []
    while len(found) < limit:
        wanting = limit - len(found)
        query = page_query(conditions, order, after=after, limit=wanting)
        rows = (await connection.execute(query)).all()
        for no, time, packed in rows:
            after = Position(time, no)
            if (entry := readable(packed)) is not None:
                found.append(Listed(no, after, entry))
        if len(rows) < wanting:
            break
    return found


def page_query(
    conditions: Numbered, order: Order, *, after: Position | None, limit: int
) -> Select[Any]:
    """The query of a page: its rows are found in one index, and only then read."""
    any_of = dict(conditions.any_of)
    led_by = next((column for column in _LEADERS if column in any_of), None)
    values = any_of.pop(led_by) if led_by else [None]
    within = [*conditions.within, *(RECORDS.c[name].in_(those) for name, those in any_of.items())]
    time, no = order.column.label("time"), RECORDS.c.no
    if after is not None:
        place = tuple_(order.column, no)
        here = tuple_(literal(after.time), literal(after.no))
        within.append(place < here if order.is_descending else place > here)
    walks = []
    for value in values:
        walk = select(no, time).where(RECORDS.c.account == ACCOUNT, *within)
        if led_by:
            walk = walk.where(RECORDS.c[led_by] == value)
        walks.append(walk.order_by(*_directed(order, order.column, no)).limit(limit).subquery())
    found = walks[0] if len(walks) == 1 else union_all(*map(select, walks)).subquery()
    some = select(found).order_by(*_directed(order, found.c.time, found.c.no)).limit(limit)
    chosen = some.subquery()
    return (
        select(chosen.c.no, chosen.c.time, RECORDS.c.entry)
        .join_from(chosen, RECORDS, RECORDS.c.no == chosen.c.no)
        .order_by(*_directed(order, chosen.c.time, chosen.c.no))
    )


_LEADERS: Final = ("id", "phone", "error", "operator", "sender", "state")
"""By which of several filters the records are walked: the first usually leaves the fewest."""


def _directed(order: Order, *columns: ColumnElement[Any]) -> Sequence[ColumnElement[Any]]:
    return [column.desc() if order.is_descending else column.asc() for column in columns]


async def count(connection: AsyncConnection, names: Names, wanted: RecordFilter) -> int:
    """How many records match."""
    conditions = await numbered(connection, names, wanted)
    if conditions is None:
        return 0
    query = select(func.count()).select_from(RECORDS).where(*where(conditions))
    return int(await connection.scalar(query) or 0)


def where(conditions: Numbered) -> list[ColumnElement[bool]]:
    """The conditions as one list."""
    several = [RECORDS.c[name].in_(values) for name, values in conditions.any_of.items()]
    return [RECORDS.c.account == ACCOUNT, *several, *conditions.within]
