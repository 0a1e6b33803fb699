"""What is kept of deliveries to webhooks: an outbox is the feed, and a position in it.

All that is written here is written by the one process that delivers, in steps: what is done up to a
position, what failed and is to be tried again, what was given up. See `tables.WEBHOOKS`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    func,
    insert,
    null,
    select,
    update,
)

from gateway.archive.account import ACCOUNT, account
from gateway.archive.changes import (
    FeedChange,
    FeedPosition,
    by_number,
    page_query,
)
from gateway.archive.filters import RecordFilter
from gateway.archive.names import Names
from gateway.archive.rows import batches
from gateway.archive.tables import CHANGES, COUNTERS, DELIVERIES, WEBHOOKS

MOST_COUNTED: Final = 10_000
"""Changes that are counted as not delivered yet; more are as bad."""

LISTED: Final = 100
"""Changes that were given up and are listed, the newest first."""

_AT_ONCE: Final = 500


class Standing(NamedTuple):
    """How a webhook stands; times in seconds since 1970, None: never, or not now."""

    generation: int
    position: FeedPosition
    failing_since: int | None
    last_success_at: int | None
    last_error_at: int | None
    last_error: str | None
    off_at: int | None


class Parked(NamedTuple):
    """A change that is to be tried again, or that waits behind one."""

    change: int
    record: int
    tries: int
    next_at: int | None
    error: str | None


class GivenUp(NamedTuple):
    """A change that was tried as often as one is."""

    position: FeedPosition
    at: int
    id: int
    given_up_at: int
    tries: int
    error: str | None


class Undelivered(NamedTuple):
    """What a webhook was not told yet, and what it will not be told."""

    waiting: int
    """No more than `MOST_COUNTED`."""
    oldest_at: int | None
    given_up: int
    latest_given_up: Sequence[GivenUp]


@dataclass(slots=True)
class Progress:
    """What came of some deliveries, to be written together."""

    position: int | None = None
    parked: dict[int, Parked] = field(default_factory=dict)
    """By the change, which was not parked before or was tried again."""
    delivered: set[int] = field(default_factory=set)
    """Parked changes that need no more tries."""
    given_up: dict[int, Parked] = field(default_factory=dict)
    """Those that get none."""
    touched: set[int] = field(default_factory=set)
    """The records of all these."""
    values: dict[str, object] = field(default_factory=dict)
    """Columns of `WEBHOOKS` that are others now."""

    def __bool__(self) -> bool:
        return bool(self.position is not None or self.touched or self.values)

    def before(self, later: "Progress") -> "Progress":
        """This, which was not written, and what came after it."""
        parked = {no: one for no, one in self.parked.items() if no not in later.delivered}
        return Progress(
            None,
            {no: one for no, one in parked.items() if no not in later.given_up} | later.parked,
            self.delivered | later.delivered,
            self.given_up | later.given_up,
            self.touched | later.touched,
            self.values | later.values,
        )


def register(connection: Connection, names: Iterable[str]) -> None:
    """Have these webhooks begin behind the newest change, those aside that are known already."""
    known = set(connection.scalars(select(WEBHOOKS.c.name).where(WEBHOOKS.c.account == ACCOUNT)))
    new = [name for name in names if name not in known]
    if new:
        last = _counter(connection, "changes")
        rows = [
            {"account": account(), "name": one, "generation": 0, "position": last} for one in new
        ]
        connection.execute(insert(WEBHOOKS), rows)


def take(connection: Connection, name: str) -> Standing:
    """Deliver from now on: whoever did it before can write no more."""
    _next_generation(connection, name)
    standing = standing_of(connection, name)
    assert standing is not None  # noqa: S101 - it was registered
    return standing


def standing_of(connection: Connection, name: str) -> Standing | None:
    """How a webhook stands; None: it is not known."""
    row = connection.execute(select(WEBHOOKS).where(_is(name))).one_or_none()
    if row is None:
        return None
    position = FeedPosition(_counter(connection, "epoch"), row.position, account())
    return Standing(
        row.generation,
        position,
        row.failing_since,
        row.last_success_at,
        row.last_error_at,
        row.last_error,
        row.off_at,
    )


def stuck_records(connection: Connection, name: str) -> set[int]:
    """The records of which a change waits for another try: later ones have to wait behind it."""
    query = select(DELIVERIES.c.record).where(_of(name), _waits()).distinct()
    return set(connection.scalars(query))


class Due(NamedTuple):
    """Changes to be tried again, each with the number of tries so far; and when more are due."""

    changes: Sequence[tuple[FeedChange, int]]
    next_at: int | None


def due(
    connection: Connection,
    names: Names,
    name: str,
    now: int,
    *,
    without: Collection[int],
    limit: int,
) -> Due:
    """What is to be tried again by now, of those changes that are not under way."""
    table = DELIVERIES.c
    query = (
        select(table.change, table.tries, table.next_at)
        .where(_of(name), table.next_at.is_not(None))
        .order_by(table.next_at, table.change)
        .limit(len(without) + limit + 1)
    )
    rows = [row for row in connection.execute(query) if row.change not in without]
    ready = {row.change: row.tries for row in rows if row.next_at <= now}
    chosen = dict(list(ready.items())[:limit])
    later = [row.next_at for row in rows if row.change not in chosen]
    found = by_number(connection, names, chosen) if chosen else []
    tries = [(one, chosen[one.position.no]) for one in found]
    return Due(tries, min(later, default=None))


class Written(NamedTuple):
    """What writing progress changed besides."""

    free: set[int]
    """Touched records none of whose changes wait any more."""
    released: bool
    """May a change be tried that waited behind another one?"""


def write(
    connection: Connection, name: str, generation: int, progress: Progress, now: int
) -> Written | None:
    """Write what was done; None: another process delivers by now, or a replay has begun."""
    values = dict(progress.values)
    if progress.position is not None:
        values["position"] = progress.position
    values["generation"] = generation
    table = WEBHOOKS.c
    is_ours = and_(_is(name), table.generation == generation)
    if not connection.execute(update(WEBHOOKS).where(is_ours).values(values)).rowcount:
        return None
    gone = [*progress.delivered, *progress.parked, *progress.given_up]
    for some in batches(gone, _AT_ONCE):
        connection.execute(delete(DELIVERIES).where(_of(name), DELIVERIES.c.change.in_(some)))
    rows = [
        {"account": account(), "webhook": name, "given_up_at": None, **one._asdict()}
        for one in progress.parked.values()
    ] + [
        {"account": account(), "webhook": name, "given_up_at": now, **one._asdict()}
        for one in progress.given_up.values()
    ]
    there = _existing(connection, [row["change"] for row in rows])
    if rows := [row for row in rows if row["change"] in there]:
        connection.execute(insert(DELIVERIES), rows)
    return _release(connection, name, progress.touched, now)


def _existing(connection: Connection, changes: Iterable[int]) -> set[int]:
    """Those of the changes that were not deleted meanwhile."""
    found: set[int] = set()
    for some in batches(list(changes), _AT_ONCE):
        found.update(connection.scalars(select(CHANGES.c.no).where(CHANGES.c.no.in_(some))))
    return found


def _release(connection: Connection, name: str, records: Collection[int], now: int) -> Written:
    """Of each record the first change that waits may be tried, and no other."""
    table = DELIVERIES.c
    first: dict[int, Any] = {}
    for some in batches(list(records), _AT_ONCE):
        query = (
            select(table.record, table.change, table.next_at)
            .where(_of(name), _waits(), table.record.in_(some))
            .order_by(table.record, table.change)
        )
        for row in connection.execute(query):
            first.setdefault(row.record, row)
    blocked = [row.change for row in first.values() if row.next_at is None]
    for some in batches(blocked, _AT_ONCE):
        released = and_(_of(name), table.change.in_(some))
        connection.execute(update(DELIVERIES).where(released).values(next_at=now))
    return Written(set(records) - first.keys(), bool(blocked))


class WebhookStanding(NamedTuple):
    """How a webhook stands, and what it was not told; None: nobody has begun to deliver to it."""

    standing: Standing | None
    left: Undelivered | None


def standings(
    connection: Connection, names: Names, wanted: Mapping[str, RecordFilter]
) -> dict[str, WebhookStanding]:
    """How each of these webhooks stands, which have these filters."""
    found: dict[str, WebhookStanding] = {}
    for name, filters in wanted.items():
        standing, left = standing_of(connection, name), None
        if standing is not None:
            left = undelivered(connection, names, name, filters, standing.position)
        found[name] = WebhookStanding(standing, left)
    return found


def undelivered(
    connection: Connection, names: Names, name: str, wanted: RecordFilter, position: FeedPosition
) -> Undelivered:
    """What a webhook with this filter still has to be told."""
    table = DELIVERIES.c
    parked = connection.execute(
        select(func.count(), func.min(CHANGES.c.at))
        .select_from(DELIVERIES)
        .join(CHANGES, CHANGES.c.no == table.change)
        .where(_of(name), _waits())
    ).one()
    last = _counter(connection, "changes")
    ahead = page_query(connection, names, wanted, range(position.no, last), MOST_COUNTED).subquery()
    coming = connection.execute(select(func.count(), func.min(ahead.c.at))).one()
    times = [at for at in (parked[1], coming[1]) if at is not None]
    rows = connection.execute(
        select(table.change, table.given_up_at, table.tries, table.error)
        .where(_of(name), table.given_up_at.is_not(None))
        .order_by(table.given_up_at.desc(), table.change.desc())
        .limit(LISTED)
    ).all()
    told = {one.position.no: one for one in by_number(connection, names, [row[0] for row in rows])}
    return Undelivered(
        min(parked[0] + coming[0], MOST_COUNTED),
        min(times, default=None),
        connection.scalar(
            select(func.count())
            .select_from(DELIVERIES)
            .where(_of(name), table.given_up_at.is_not(None))
        )
        or 0,
        [
            GivenUp(
                told[row.change].position,
                int(told[row.change].change.at.timestamp()),
                told[row.change].key.id,
                row.given_up_at,
                row.tries,
                row.error,
            )
            for row in rows
        ],
    )


def replay(connection: Connection, name: str, after: int) -> int | None:
    """Have all changes from this time on sent again; how many they are. None: it is not known.

    An address that was switched off is switched on.
    """
    standing = standing_of(connection, name)
    if standing is None:
        return None
    at_or_after = CHANGES.c.at >= after
    first = connection.scalar(select(func.min(CHANGES.c.no)).where(at_or_after))
    position = _counter(connection, "changes") if first is None else first - 1
    position = min(position, standing.position.no)
    _next_generation(connection, name)
    switch_on(connection, name)
    connection.execute(update(WEBHOOKS).where(_is(name)).values(position=position))
    connection.execute(delete(DELIVERIES).where(_of(name), DELIVERIES.c.change > position))
    ahead = select(func.count()).select_from(CHANGES).where(CHANGES.c.no > position)
    return connection.scalar(ahead) or 0


def switch_on(connection: Connection, name: str) -> bool:
    """Go on where it stood, if the address was switched off; was it?"""
    is_off = and_(_is(name), WEBHOOKS.c.off_at.is_not(None))
    _next_generation(connection, name, is_off)
    changed = connection.execute(
        update(WEBHOOKS).where(is_off).values(off_at=null(), failing_since=null())
    )
    return bool(changed.rowcount)


def _next_generation(
    connection: Connection, name: str, where: ColumnElement[bool] | None = None
) -> None:
    table = WEBHOOKS.c
    which = _is(name) if where is None else where
    connection.execute(update(WEBHOOKS).where(which).values(generation=table.generation + 1))


def _counter(connection: Connection, name: str) -> int:
    return connection.scalar(select(COUNTERS.c.last).where(COUNTERS.c.name == name)) or 0


def _is(name: str) -> ColumnElement[bool]:
    return and_(WEBHOOKS.c.account == ACCOUNT, WEBHOOKS.c.name == name)


def _of(name: str) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.account == ACCOUNT, DELIVERIES.c.webhook == name)


def _waits() -> ColumnElement[bool]:
    return DELIVERIES.c.given_up_at.is_(None)
