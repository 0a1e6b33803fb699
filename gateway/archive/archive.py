"""`Archive`: what the rest of the gateway knows of the archive: look up, record, erase, read.

It is opened once, at the start, and closed at the end, when all that waits is written.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Concatenate, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, select, union, update
from sqlalchemy.engine import make_url

from gateway.archive.account import ACCOUNT, own
from gateway.archive.changes import FORGOTTEN, Edge, FeedPage, FeedPosition, read_page
from gateway.archive.database import (
    BUSY,
    LONGEST_STATEMENT,
    TROUBLE,
    Database,
    Given,
    Result,
)
from gateway.archive.feed import Feed
from gateway.archive.filters import RecordFilter
from gateway.archive.following import forget_phones
from gateway.archive.history import change_in, histories
from gateway.archive.listing import Listed, Order, Position, count, page
from gateway.archive.lookups import AT_ONCE, LookUps
from gateway.archive.names import Names
from gateway.archive.postgres import PostgresDatabase
from gateway.archive.report import ArchiveReport, ArchiveState
from gateway.archive.rows import Kept, batches, entries_of
from gateway.archive.sqlite import SqliteDatabase
from gateway.archive.states import Source
from gateway.archive.summary import DeliveryTimes, RecordSummary, delivery_times, summarise
from gateway.archive.tables import CHANGES, COUNTERS, FOLLOWS, RECORDS, TALLIES
from gateway.archive.tallies import count_all, delete_records, forget_empty
from gateway.archive.writer import Writer, advanced, short
from gateway.clock import Clock
from gateway.errors import Overloaded
from gateway.model.freshness import CacheEntry
from gateway.model.records import FreshnessSource, StateChange, StatusKey, other_spelling

log = logging.getLogger(__name__)

START: Final = 10.0
"""Seconds that the start waits for the database; it may be away, or another process migrate it."""

LAST_CHANCE: Final = 5.0
"""Seconds for all that waits to be written, at the end."""

GOODBYE: Final = 3.0
"""Seconds for connections to be closed, then."""

DAY: Final = 24 * 3600.0
SWEEP: Final = 60.0
"""Seconds between two looks for what is too old."""
STEP: Final = 500
"""Records that are deleted at a time, so that nobody waits for it."""


class Archive:
    """The archive of one process; a database may serve several.

    `days` after its last change a record goes; 0: never. `content`: keep texts and comments too.
    """

    def __init__(self, database: Database, clock: Clock, *, content: bool, days: int) -> None:
        self.database = database
        self.names = Names()
        self._clock = clock
        self._days = days
        self.feed = Feed(database, clock, self._changes)
        self._writer = Writer(
            database, self.names, clock, content=content, on_written=self.feed.written
        )
        self._look_ups = LookUps(database)
        self._sweeper: asyncio.Task[None] | None = None
        self._rows: int | None = None

    async def open(self) -> None:
        """Begin. A database that is away is tried again later; `NewerSchemaError` is raised."""
        await self._writer.start(START)
        self._sweeper = asyncio.create_task(self._sweep())

    async def aclose(self) -> None:
        """Write what waits, and close."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper}, timeout=GOODBYE)
        await self.feed.aclose()
        self._look_ups.close()
        await self._writer.aclose(LAST_CHANCE)
        with suppress(*TROUBLE):
            async with asyncio.timeout(GOODBYE):
                await self.database.aclose()

    def record(self, key: StatusKey, entry: CacheEntry) -> None:
        """Keep what was learned; it is written soon."""
        is_pushed = entry.source is FreshnessSource.CALLBACK
        self._writer.add(key, entry, Source.PUSHED if is_pushed else Source.ASKED)

    def erase(self, key: StatusKey) -> None:
        """Delete what is kept of a key, soon."""
        self._writer.erase(key)
        self.feed.forget(key)

    async def look_up(self, keys: Sequence[StatusKey]) -> Mapping[StatusKey, CacheEntry]:
        """What is kept of those of the keys of which something is; nothing, where it is away."""
        found = {key: entry for key in keys if (entry := self._writer.get(key)) is not None}
        missing = [key for key in keys if key not in found and not self._writer.is_erased(key)]
        if missing and self.state is ArchiveState.ON:
            era = self.database.era
            try:
                kept = await self._look_ups.find(missing)
                found |= {key: one.entry for key, one in kept.items() if one.entry}
            except Exception as error:  # noqa: BLE001 - whatever it is, the provider can be asked
                self._writer.suspect(error, era)
        return found

    async def histories(self, keys: Sequence[StatusKey]) -> dict[StatusKey, list[StateChange]]:
        """The changes of each key, oldest first, those included that wait to be written.

        Raises `Overloaded` where the database is away.
        """
        kept, written = await self.read(_kept_histories, self.names, keys)
        told: dict[StatusKey, list[StateChange]] = {}
        for key in keys:
            is_kept = key in kept and not self._writer.is_erased(key)
            told[key] = list(written[kept[key].no]) if is_kept else []
            if steps := self._writer.steps(key):
                _, _, changes = advanced(kept[key] if is_kept else None, steps)
                told[key] += [change_in(one.record, one.source) for one in changes]
        return told

    async def list_page(
        self, wanted: RecordFilter, order: Order, *, after: Position | None, limit: int
    ) -> list[Listed]:
        """Up to `limit` records in their order; `Overloaded` where the database is away."""
        return await self.read(page, self.names, wanted, order, after=after, limit=limit)

    async def count(self, wanted: RecordFilter) -> int:
        """How many records match; `Overloaded` where the database is away."""
        return await self.read(count, self.names, wanted)

    async def summary(self, wanted: RecordFilter) -> RecordSummary:
        """Counts and times of the records that match; `Overloaded` as above."""
        return await self.read(summarise, self.names, wanted)

    async def delivery_times(self, wanted: RecordFilter) -> DeliveryTimes:
        """How long deliveries took, by the hour of sending; `Overloaded` as above."""
        return await self.read(delivery_times, self.names, wanted)

    async def _changes(
        self, wanted: RecordFilter, after: FeedPosition | Edge, limit: int
    ) -> FeedPage:
        return await self.read(read_page, self.names, wanted, after, limit)

    async def read(
        self,
        query: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """What a query finds; `Overloaded` where the database is away."""
        era = self.database.era
        limit = LONGEST_STATEMENT if self.state is ArchiveState.ON else BUSY
        try:
            async with asyncio.timeout(limit):
                return await self.database.read(query, *args, **kwargs)
        except TROUBLE as error:
            self._writer.suspect(error, era)
            raise Overloaded("The archive's database is away; try again.", retry_after=5) from None

    async def write(
        self,
        change: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Make a change beside those of what was learned; `Overloaded` as above."""
        era = self.database.era
        try:
            async with asyncio.timeout(LONGEST_STATEMENT):
                return await self.database.write(change, *args, **kwargs)
        except TROUBLE as error:
            self._writer.suspect(error, era)
            raise Overloaded("The archive's database is away; try again.", retry_after=5) from None

    async def flush(self) -> None:
        """Write all that waits, now."""
        await self._writer.flush()

    @property
    def state(self) -> ArchiveState:
        return self._writer.state

    def report(self) -> ArchiveReport:
        """How it is doing."""
        writer = self._writer
        return ArchiveReport(
            queue=writer.queue,
            lag_seconds=round(writer.lag, 3),
            rows=self._rows,
            errors=writer.errors,
            lost=writer.lost,
        )

    async def _sweep(self) -> None:
        """Delete what is too old, in small steps, and count what is left."""
        while True:
            era = self.database.era
            try:
                if self.state is ArchiveState.ON:
                    before = int(self._clock.time() - self._days * DAY)
                    while self._days and await forget_before(self.database, before):
                        await self._clock.sleep(0)
                    self._rows = await self.database.read(count_all)
            except Exception as error:  # noqa: BLE001 - the next look is to come in any case
                log.debug("the archive could not be swept: %s", short(error))
                self._writer.suspect(error, era)
            await self._clock.sleep(SWEEP)


def _kept_histories(
    connection: Connection, names: Names, keys: Sequence[StatusKey]
) -> tuple[dict[StatusKey, Kept], dict[int, list[StateChange]]]:
    """What is kept of these keys, and the changes of each record by its number."""
    kept: dict[StatusKey, Kept] = {}
    for some in batches(keys, AT_ONCE):
        kept |= entries_of(connection, some)
    return kept, histories(connection, names, [one.no for one in kept.values()])


async def forget_before(database: Database, time: int) -> int:
    """Delete some of the records that last changed before a time; how many there were."""
    table = RECORDS.c
    old = (
        select(table.no)
        .where(table.account == ACCOUNT, table.changed_at < time)
        .order_by(table.changed_at)
        .limit(STEP)
    )

    def forget(connection: Connection) -> int:
        numbers = connection.scalars(old).all()
        if numbers:
            _note_forgotten(connection, numbers)
            delete_records(connection, table.no.in_(numbers))
            forget_empty(connection)
        return len(numbers)

    return await database.write(forget)


def _note_forgotten(connection: Connection, records: Sequence[int]) -> None:
    """Keep which changes go with these records: who reads the feed from before has missed some."""
    last = connection.scalar(
        select(func.max(CHANGES.c.no)).where(CHANGES.c.record.in_(list(records)))
    )
    name = own(FORGOTTEN)
    counter = COUNTERS.c.name == name
    before = connection.scalar(select(COUNTERS.c.last).where(counter))
    if before is None:
        connection.execute(insert(COUNTERS).values(name=name, last=last or 0))
    elif last is not None and last > before:
        connection.execute(update(COUNTERS).where(counter).values(last=last))


def accounts_in(connection: Connection) -> list[str]:
    """The accounts of which anything is kept."""
    found = union(select(TALLIES.c.account), select(FOLLOWS.c.account))
    return sorted(connection.scalars(found))


class Rows(NamedTuple):
    """How much is kept."""

    records: int
    changes: int


def count_phones(connection: Connection, phones: Iterable[str]) -> Rows:
    """How much is kept of these numbers, in exactly these spellings."""
    those = _of_phones(phones)
    records = select(func.count()).select_from(RECORDS).where(*those)
    changes = select(func.count()).select_from(CHANGES).join(RECORDS).where(*those)
    return Rows(
        connection.scalar(records) or 0,
        connection.scalar(changes) or 0,
    )


async def erase_phones(database: Database, phones: Iterable[str]) -> Rows:
    """Delete all records of these numbers, and what the disk has left of them; how much it was.

    Where the latter fails, the records are gone all the same.
    """
    erased = await database.write(_erase_phones, list(phones))
    await database.tidy()
    return erased


def _erase_phones(connection: Connection, phones: Sequence[str]) -> Rows:
    erased = count_phones(connection, phones)
    forget_phones(connection, phones)
    delete_records(connection, *_of_phones(phones))
    forget_empty(connection)
    return erased


def spellings_of(connection: Connection, phone: str) -> list[str]:
    """A number as it may be kept: a Russian one has two prefixes, an address any case."""
    other = other_spelling(phone)
    spellings = {phone} if other is None else {phone, other}
    if "@" in phone:
        same = func.lower(RECORDS.c.phone) == phone.lower()
        found = select(RECORDS.c.phone).where(RECORDS.c.account == ACCOUNT, same).distinct()
        spellings |= set(connection.scalars(found))
    return sorted(spellings)


def _of_phones(phones: Iterable[str]) -> tuple[ColumnElement[bool], ...]:
    return RECORDS.c.account == ACCOUNT, RECORDS.c.phone.in_(list(phones))


def open_database(url: str, account: str = "") -> Database:
    """The database of an address: `sqlite:///path` or `postgresql://…`; `ValueError` else.

    What is asked of it is about the rows of the account.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        return PostgresDatabase(url, account)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return SqliteDatabase(Path(parsed.database), account)
    raise ValueError
