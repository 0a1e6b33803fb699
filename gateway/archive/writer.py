"""Writes behind the answers: what was learned waits here, the newest of each key, for its batch.

Who learns something never waits for the database. While that is away, what was learned meanwhile
waits in bounded memory, and is written when it is back.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.archive.database import Database, is_broken
from gateway.archive.names import Names
from gateway.archive.report import ArchiveState
from gateway.archive.rows import (
    ACCOUNT,
    Change,
    Kept,
    change_values,
    entries_of,
    record_values,
    rows_of,
    words_of,
)
from gateway.archive.states import Source
from gateway.archive.tables import CHANGES, COUNTERS, RECORDS
from gateway.archive.tallies import COLUMNS, Counted, Tally, delete_records
from gateway.clock import Clock
from gateway.model.freshness import CacheEntry
from gateway.model.merge import combine, same_state
from gateway.model.records import StatusKey

log = logging.getLogger(__name__)

BATCH: Final = 500
"""Keys that are written in one transaction."""

GATHER: Final = 0.05
"""Seconds that the first of a batch waits for others."""

MOST: Final = 100_000
"""Keys that wait at the most; beyond that the oldest are lost, and counted."""

STEPS: Final = 16
"""States of one key that wait; beyond that the oldest of them leaves no change."""

PAUSES: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds before another try, the first time and later; the last one again and again."""

TROUBLE: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What a database that is away, locked, full or broken makes of a statement."""


@dataclass(slots=True)
class Pending:
    """What is to be written of one key: the states it went through, each with its newest entry.

    `erased`: what was kept before goes first.
    """

    since: float
    steps: list[tuple[CacheEntry, Source]] = field(default_factory=list)
    erased: bool = False


class Writer:
    """Brings to the database what `add` and `erase` are told."""

    def __init__(self, database: Database, names: Names, clock: Clock, *, content: bool) -> None:
        self._database = database
        self._names = names
        self._clock = clock
        self._content = content
        self._pending: dict[StatusKey, Pending] = {}
        self._writing: dict[StatusKey, Pending] = {}
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_ready = False
        self._tries = 0
        self.state = ArchiveState.LOST
        self.errors = 0
        """Transactions that failed since the start."""
        self.lost = 0
        """Keys that were dropped, for too many waited."""

    def start(self) -> None:
        """Begin to write what waits."""
        self._task = asyncio.create_task(self._run())

    def add(self, key: StatusKey, entry: CacheEntry, source: Source) -> None:
        """Have an entry written soon; its record is newer than any that was added before."""
        pending = self._place(key)
        steps = pending.steps
        if steps and same_state(steps[-1][0].record, entry.record):
            steps[-1] = (entry, steps[-1][1])
        else:
            steps.append((entry, source))
            del steps[:-STEPS]
        self._awake.set()

    def erase(self, key: StatusKey) -> None:
        """Have all of a key deleted soon, what waits included."""
        pending = self._place(key)
        pending.steps.clear()
        pending.erased = True
        self._awake.set()

    def get(self, key: StatusKey) -> CacheEntry | None:
        """The newest entry that waits to be written."""
        for waiting in (self._pending, self._writing):
            pending = waiting.get(key)
            if pending is not None and pending.steps:
                return pending.steps[-1][0]
        return None

    def steps(self, key: StatusKey) -> list[tuple[CacheEntry, Source]]:
        """What waits to be written of a key, oldest first."""
        both = [self._writing.get(key), self._pending.get(key)]
        return [step for pending in both if pending is not None for step in pending.steps]

    def is_erased(self, key: StatusKey) -> bool:
        """Is it about to be deleted?"""
        return any(
            (pending := waiting.get(key)) is not None and pending.erased
            for waiting in (self._pending, self._writing)
        )

    @property
    def queue(self) -> int:
        """Keys that wait to be written."""
        return len(self._pending) + len(self._writing)

    @property
    def lag(self) -> float:
        """Seconds that the oldest of them has waited."""
        waiting = self._writing or self._pending
        oldest = next(iter(waiting.values()), None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest.since

    async def ready(self) -> None:
        """Open the database; raises what stands in the way, `NewerSchemaError` among it."""
        if not self._is_ready:
            await self._database.migrate()
            self._is_ready = True
            self.state = ArchiveState.ON

    async def flush(self) -> None:
        """Write all that waits now; raises what keeps it from that."""
        await self.ready()
        while self._pending or self._writing:
            await self._write_batch()

    async def aclose(self, seconds: float) -> None:
        """Write what waits, within so many seconds."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        try:
            async with asyncio.timeout(seconds):
                await self.flush()
        except Exception as error:  # noqa: BLE001 - the process ends anyway
            if self.queue:
                log.warning("%d records could not be archived: %s", self.queue, short(error))

    def _place(self, key: StatusKey) -> Pending:
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= MOST:
                del self._pending[next(iter(self._pending))]
                self.lost += 1
            pending = self._pending[key] = Pending(self._clock.monotonic())
        return pending

    async def _run(self) -> None:
        while True:
            try:
                await self.ready()
                if not self._writing:
                    await self._awake.wait()
                    if len(self._pending) < BATCH:
                        await self._clock.sleep(GATHER)
                await self._write_batch()
            except TROUBLE as error:
                await self._fail(error)
            else:
                self._recover()

    async def _write_batch(self) -> None:
        if not self._writing:
            self._writing = self._pending
            self._pending = {}
            self._awake.clear()
            for key in list(self._writing)[BATCH:]:
                self._pending[key] = self._writing.pop(key)
            if self._pending:
                self._awake.set()
        if self._writing:
            async with self._database.writing() as connection:
                await write(connection, self._names, self._writing, content=self._content)
        self._writing = {}

    async def _fail(self, error: BaseException) -> None:
        """One warning, however long it lasts, and another try later."""
        self.errors += 1
        if is_broken(error):
            where = await self._database.set_aside()
            self._names.forget()
            self._is_ready = False
            log.warning("the archive could not be read; it was put aside as %s", where)
            return
        if self.state is not ArchiveState.LOST or not self._tries:
            log.warning("the archive is away, and is tried again: %s", short(error))
        self.state = ArchiveState.LOST
        pause = PAUSES[min(self._tries, len(PAUSES) - 1)]
        self._tries += 1
        await self._clock.sleep(pause)

    def _recover(self) -> None:
        if self._tries:
            log.info("the archive is back; %d records wait for it", self.queue)
        self._tries = 0
        self.state = ArchiveState.ON


async def write(
    connection: AsyncConnection,
    names: Names,
    pending: dict[StatusKey, Pending],
    *,
    content: bool,
) -> None:
    """Bring these keys up to date in one transaction, whose writer is alone."""
    await erase_keys(connection, [key for key, one in pending.items() if one.erased])
    wanted = {key: one.steps for key, one in pending.items() if one.steps}
    kept = await entries_of(connection, wanted)
    moved = {key: advanced(kept.get(key), steps) for key, steps in wanted.items()}
    words = {
        word for _, _, changes in moved.values() for one in changes for word in words_of(one.record)
    }
    words |= {
        word for entry, _, _ in moved.values() if entry.record for word in words_of(entry.record)
    }
    numbers = await names.number(connection, words)
    new = [key for key in moved if key not in kept]
    last_record, last_change = await _take_numbers(
        connection, len(new), sum(len(changes) for _, _, changes in moved.values())
    )
    rows = {key: no for no, key in enumerate(new, last_record + 1)}
    before = await _counted(connection, [one.no for one in kept.values()])
    tally = Tally()
    inserted: list[dict[str, Any]] = []
    updated: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for key, (entry, source, changes) in moved.items():
        values = record_values(entry, source, numbers, content=content)
        if key in kept:
            no = kept[key].no
            if not changes:
                values["source"] = before[no].source
            tally.remove(before[no])
            updated.append({"no_": no, **values})
        else:
            no = rows[key]
            first = {"first_seen_at": values["seen_at"]}
            inserted.append(
                {"no": no, "account": ACCOUNT, "phone": key.phone, "id": key.id, **first, **values}
            )
        tally.add(Counted(*[values[name] for name in Counted._fields]))
        for change in changes:
            last_change += 1
            told.append({"no": last_change, "record": no, **change_values(change, numbers)})
    if inserted:
        await connection.execute(insert(RECORDS), inserted)
    if updated:
        by_no = update(RECORDS).where(RECORDS.c.no == bindparam("no_"))
        await connection.execute(by_no, updated)
    if told:
        await connection.execute(insert(CHANGES), told)
    await tally.write(connection)


async def _counted(connection: AsyncConnection, numbers: list[int]) -> dict[int, Counted]:
    """What is counted of each of these records, by its number."""
    if not numbers:
        return {}
    query = select(RECORDS.c.no, *COLUMNS).where(RECORDS.c.no.in_(numbers))
    return {no: Counted(*row) for no, *row in await connection.execute(query)}


def advanced(
    kept: Kept | None, steps: Iterable[tuple[CacheEntry, Source]]
) -> tuple[CacheEntry, Source, list[Change]]:
    """The entry to keep after these, how its state was learned, and the changes on the way."""
    entry = None if kept is None else kept.entry
    told_by, changes = Source.ASKED, []
    for seen, source in steps:
        before = entry
        entry = seen if before is None else combine(before, seen)
        if before is None or not same_state(before.record, entry.record):
            told_by = source
            assert entry.record is not None  # noqa: S101 - only records are added
            changes.append(Change(entry.record, source))
    assert entry is not None  # noqa: S101 - there is a step
    return entry, told_by, changes


async def _take_numbers(connection: AsyncConnection, records: int, changes: int) -> tuple[int, int]:
    """The last numbers given before; as many as are needed are taken behind them."""
    last = dict((await connection.execute(select(COUNTERS.c.name, COUNTERS.c.last))).all())
    for name, count in (("records", records), ("changes", changes)):
        if name not in last:
            await connection.execute(insert(COUNTERS).values(name=name, last=count))
        elif count:
            await connection.execute(
                update(COUNTERS).where(COUNTERS.c.name == name).values(last=last[name] + count)
            )
    return last.get("records", 0), last.get("changes", 0)


async def erase_keys(connection: AsyncConnection, keys: Iterable[StatusKey]) -> None:
    """Delete these records and their changes."""
    rows = await rows_of(connection, list(keys), RECORDS.c.no)
    if rows:
        await delete_records(connection, RECORDS.c.no.in_([no for (no,) in rows]))


def short(error: BaseException) -> str:
    """An error in one line that shows no statement and no values."""
    cause = getattr(error, "orig", None) or error
    first = (str(cause).splitlines() or [""])[0]
    return f"{type(cause).__name__}: {first}"[:200]
