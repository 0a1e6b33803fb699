"""What the archive holds, for who runs it: rows, bytes, times and states."""

from datetime import datetime

from sqlalchemy import func, select

from gateway.archive.database import Database
from gateway.archive.history import moment
from gateway.archive.states import STATES
from gateway.archive.tables import CHANGES, RECORDS
from gateway.model.described import Model


class KindCount(Model):
    """Records of one kind that are in one state."""

    kind: str
    """`Message` or `HlrLookup`."""
    state: str
    """The state."""
    count: int
    """How many there are."""


class ArchiveStats(Model):
    """What is kept, and where."""

    database: str
    """Where it is, without a password."""
    records: int
    """The newest record of each message and lookup."""
    changes: int
    """The changes of their states."""
    bytes: int
    """What it takes on disk."""
    oldest: datetime | None = None
    """When the record that did not change for longest last did; null without any."""
    newest: datetime | None = None
    """When the one that changed last did."""
    states: list[KindCount]
    """By kind and state, the most frequent first."""


async def stats_of(database: Database) -> ArchiveStats:
    """What a database of this release's schema holds."""
    table = RECORDS.c
    by_state = select(
        table.state, func.count(), func.min(table.changed_at), func.max(table.changed_at)
    ).group_by(table.state)
    rows, changes = await database.read(
        lambda connection: (
            connection.execute(by_state).all(),
            connection.scalar(select(func.count()).select_from(CHANGES)),
        )
    )
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    return ArchiveStats(
        database=database.name,
        records=sum(row[1] for row in rows),
        changes=changes or 0,
        bytes=await database.size(),
        oldest=moment(min(row[2] for row in rows)) if rows else None,
        newest=moment(max(row[3] for row in rows)) if rows else None,
        states=[
            KindCount(kind=STATES[state].kind.kind, state=STATES[state].state, count=count)
            for state, count, _, _ in ordered
        ],
    )
