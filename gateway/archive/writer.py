"""Writes behind the answers: what was learned waits here, the newest of each key, for its batch.

Who learns something never waits for the database. While that is away, what was learned meanwhile
waits in bounded memory, and is written when it is back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from gateway.archive.account import account
from gateway.archive.database import TROUBLE, Database, NewerSchemaError
from gateway.archive.following import forget_keys
from gateway.archive.names import Names
from gateway.archive.report import ArchiveState
from gateway.archive.rows import (
    Change,
    Kept,
    change_values,
    entries_of,
    record_values,
    rows_of,
    take_numbers,
    words_of,
)
from gateway.archive.states import Source
from gateway.archive.tables import CHANGES, RECORDS
from gateway.archive.tallies import COLUMNS, Counted, Tally, delete_records
from gateway.clock import Clock
from gateway.model.freshness import CacheEntry
from gateway.model.merge import combine, same_state
from gateway.model.records import StatusKey
from gateway.observability.logs import without_numbers

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

SLOW: Final = 10.0
"""Seconds for one transaction; a database that needs longer counts as away. A batch takes tenths
of one, and another process that writes to the same file is waited for five."""

AGAIN: Final = 0.2
"""Seconds before another try at the end, when there are few."""

TOLD: Final = 60.0
"""Seconds between two warnings that something could not be read though the database is there."""


class RefusedError(Exception):
    """The database is there, and does not take what was to be written."""


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

    def __init__(
        self,
        database: Database,
        names: Names,
        clock: Clock,
        *,
        content: bool,
        on_written: Callable[[], None],
    ) -> None:
        self._database = database
        self._names = names
        self._clock = clock
        self._content = content
        self._on_written = on_written
        self._pending: dict[StatusKey, Pending] = {}
        self._writing: dict[StatusKey, Pending] = {}
        self._awake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._is_ready = False
        self._tries = 0
        self._suspicion: tuple[Exception, int] | None = None
        self._told_at = -TOLD
        self.state = ArchiveState.LOST
        self.errors = 0
        """Transactions that failed since the start."""
        self.lost = 0
        """Keys that were dropped: too many waited, or the database refuses them."""

    async def start(self, seconds: float) -> None:
        """Begin to write what waits; ready, or after the first try, or after so many seconds.

        Raises `NewerSchemaError` if the first try does.
        """
        self._opened = opened = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await opened

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
        steps = self.steps(key)
        return steps[-1][0] if steps else None

    def steps(self, key: StatusKey) -> list[tuple[CacheEntry, Source]]:
        """What waits to be written of a key, oldest first; nothing from before it was erased."""
        writing, pending = self._writing.get(key), self._pending.get(key)
        if writing is None or pending is None or pending.erased:
            last = pending or writing
            return [] if last is None else last.steps
        return [*writing.steps, *pending.steps]

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

    async def flush(self) -> None:
        """Write all that waits now; raises what keeps it from that."""
        await self._ready()
        while self._pending or self._writing:
            await self._write_batch()

    def suspect(self, error: Exception, era: int) -> None:
        """A reader met trouble in this era of the database: look whether that is away."""
        is_news = not self._tries or self._database.is_broken(error)
        if is_news and self._suspicion is None and era == self._database.era:
            self._suspicion = error, era
            self._awake.set()

    async def aclose(self, seconds: float) -> None:
        """Write what waits, within so many seconds; again and again, while something does."""
        end = asyncio.get_running_loop().time() + seconds
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=seconds)
        trouble: BaseException | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while self.queue:
                    try:
                        await self.flush()
                    except Exception as error:  # noqa: BLE001 - the process ends anyway
                        trouble = error
                        await self._renew(error)
                        await asyncio.sleep(AGAIN)
        if self.queue:
            why = "there was no time" if trouble is None else short(trouble)
            log.warning("%d records could not be archived: %s", self.queue, why)

    def _place(self, key: StatusKey) -> Pending:
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= MOST:
                del self._pending[next(iter(self._pending))]
                self.lost += 1
            pending = self._pending[key] = Pending(self._clock.monotonic())
        return pending

    async def _run(self) -> None:
        """It never ends by itself: a task that ended would be as bad as a database that is away."""
        while True:
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 - as above
                await self._fail(error)
            else:
                self._recover()

    async def _step(self) -> None:
        await self._ready()
        self._tell_opened(None)
        if not self._writing and not self._tries:
            await self._awake.wait()
            if self._suspicion is None and len(self._pending) < BATCH:
                await self._clock.sleep(GATHER)
        await self._look()
        await self._write_batch()

    async def _ready(self) -> None:
        """Open the database; raises what stands in the way, `NewerSchemaError` among it."""
        async with self._turn:
            if not self._is_ready:
                await self._database.migrate()
                self._is_ready = True
                self.state = ArchiveState.ON

    async def _look(self) -> None:
        """See whether the database is there, where somebody doubts it."""
        error, era = self._suspicion or (None, 0)
        self._suspicion = None
        if era != self._database.era:
            error = None  # it was put aside meanwhile
        if error is not None and self._database.is_broken(error):
            raise error
        if error is not None or self._tries:
            async with asyncio.timeout(SLOW):
                await self._database.try_writing()
        now = self._clock.monotonic()
        if error is not None and now - self._told_at >= TOLD:
            self._told_at = now
            log.warning("something in the archive could not be read: %s", short(error))

    async def _write_batch(self) -> None:
        async with self._turn:
            if not self._writing:
                self._awake.clear()
                for key in list(islice(self._pending, BATCH)):
                    self._writing[key] = self._pending.pop(key)
                if self._pending or self._suspicion is not None:
                    self._awake.set()
            if self._writing:
                await self._write(list(self._writing))

    async def _write(self, keys: list[StatusKey]) -> None:
        """Write these of the batch; what can't be written is searched for, and dropped."""
        refused: list[RefusedError] = []
        todo = [keys]
        try:
            while todo:
                some = todo.pop()
                try:
                    await self._write_once({key: self._writing[key] for key in some})
                except RefusedError as error:
                    if len(some) > 1:
                        half = len(some) // 2
                        todo += [some[half:], some[:half]]
                        continue
                    refused.append(error)
                for key in some:
                    del self._writing[key]
        finally:
            if refused:
                self.errors += 1
                self.lost += len(refused)
                log.error(
                    "%d records can't be archived, and were dropped: %s",
                    len(refused),
                    refused[0],
                )

    async def _write_once(self, batch: dict[StatusKey, Pending]) -> None:
        async with asyncio.timeout(SLOW):
            await self._database.write(_write_all, self._names, batch, content=self._content)
        self._on_written()

    async def _fail(self, error: Exception) -> None:
        """One warning, however long it lasts, and another try later."""
        self.errors += 1
        self.state = ArchiveState.LOST
        if self._suspicion is not None and not self._database.is_broken(self._suspicion[0]):
            self._suspicion = None
        where = await self._renew(error)
        is_first, pause = not self._tries, PAUSES[min(self._tries, len(PAUSES) - 1)]
        self._tries += 1
        if where is not None:
            log.warning("the archive could not be read; it was put aside as %s", where)
            pause = 0.0 if is_first else pause
        elif is_first:
            if not isinstance(error, NewerSchemaError):
                log.warning("the archive is away, and is tried again: %s", short(error))
            elif self._opened is None or self._opened.done():  # else it stops the start
                log.error("%s", error)
        self._tell_opened(error if isinstance(error, NewerSchemaError) else None)
        await self._clock.sleep(pause)

    async def _renew(self, error: BaseException) -> str | None:
        """Begin anew with a file, where the one that was there is broken; where that is now."""
        self._names.forget()  # of a database that takes another's place some may never have been
        if not self._database.is_broken(error):
            return None
        self._is_ready = False
        try:
            return await self._database.set_aside()
        except Exception as another:  # noqa: BLE001 - it is tried again with the next failure
            log.debug("the archive could not begin anew: %s", short(another))
            if isinstance(error, Exception):
                self._suspicion = error, self._database.era
            return None

    def _recover(self) -> None:
        if self._tries:
            log.info("the archive is back; %d records wait for it", self.queue)
        self._tries = 0
        self.state = ArchiveState.ON

    def _tell_opened(self, error: NewerSchemaError | None) -> None:
        if self._opened is not None and not self._opened.done():
            if error is None:
                self._opened.set_result(None)
            else:
                self._opened.set_exception(error)


def _write_all(
    connection: Connection, names: Names, pending: dict[StatusKey, Pending], *, content: bool
) -> None:
    """`write`, and tell what is refused from what fails later, as the transaction is committed."""
    try:
        write(connection, names, pending, content=content)
    except Exception as error:
        if is_refusal(error):
            raise RefusedError(short(error)) from None
        raise


def write(
    connection: Connection,
    names: Names,
    pending: dict[StatusKey, Pending],
    *,
    content: bool,
) -> None:
    """Bring these keys up to date in one transaction, whose writer is alone."""
    erase_keys(connection, [key for key, one in pending.items() if one.erased])
    wanted = {key: one.steps for key, one in pending.items() if one.steps}
    kept = entries_of(connection, wanted)
    moved = {key: advanced(kept.get(key), steps) for key, steps in wanted.items()}
    numbers = names.number(connection, _words(moved.values()))
    rows = _Rows(
        last_record=take_numbers(connection, "records", len(moved) - len(kept)),
        last_change=take_numbers(
            connection, "changes", sum(len(changes) for _, _, changes in moved.values())
        ),
    )
    before = _counted(connection, [one.no for one in kept.values()])
    for key, (entry, source, changes) in moved.items():
        values = record_values(entry, source, numbers, content=content)
        if key in kept:
            no = kept[key].no
            rows.change(no, values, before[no], is_moved=bool(changes))
        else:
            no = rows.add(key, values)
        rows.tell(no, [change_values(change, numbers) for change in changes])
    rows.write(connection)


_Moved = tuple[CacheEntry, Source, list[Change]]
"""The entry to keep of a key, how its state was learned, and the changes on the way there."""


def _words(moved: Iterable[_Moved]) -> set[str]:
    """All words of these that are kept as numbers."""
    records = [one.record for _, _, changes in moved for one in changes]
    records += [entry.record for entry, _, _ in moved if entry.record is not None]
    return {word for record in records for word in words_of(record)}


class _Rows:
    """The rows that one transaction writes, and what they change of the tallies."""

    def __init__(self, *, last_record: int, last_change: int) -> None:
        self._last_record = last_record
        self._last_change = last_change
        self._tally = Tally()
        self._inserted: list[dict[str, Any]] = []
        self._updated: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        self._told: list[dict[str, Any]] = []

    def add(self, key: StatusKey, values: dict[str, Any]) -> int:
        """A record that was not kept before; its number."""
        self._last_record += 1
        row = {"no": self._last_record, "account": account(), "phone": key.phone, "id": key.id}
        self._inserted.append({**row, "first_seen_at": values["seen_at"], **values})
        self._tally.add(_counted_of(values))
        return self._last_record

    def change(self, no: int, values: dict[str, Any], before: Counted, *, is_moved: bool) -> None:
        """A record that was kept; `is_moved`: its state is another."""
        if not is_moved:
            values["source"] = before.source
        self._tally.remove(before)
        self._tally.add(_counted_of(values))
        changed = _changed(values, before, is_moved=is_moved)
        self._updated.setdefault(tuple(changed), []).append({"no_": no, **changed})

    def tell(self, record: int, changes: Iterable[dict[str, Any]]) -> None:
        """Changes of a record, in their order."""
        for change in changes:
            self._last_change += 1
            self._told.append({"no": self._last_change, "record": record, **change})

    def write(self, connection: Connection) -> None:
        if self._inserted:
            connection.execute(insert(RECORDS), self._inserted)
        by_no = update(RECORDS).where(RECORDS.c.no == bindparam("no_"))
        for some in self._updated.values():
            connection.execute(by_no, some)
        if self._told:
            connection.execute(insert(CHANGES), self._told)
        self._tally.write(connection)


def _counted_of(values: dict[str, Any]) -> Counted:
    return Counted(*[values[name] for name in Counted._fields])


def _changed(values: dict[str, Any], before: Counted, *, is_moved: bool) -> dict[str, Any]:
    """Those of the columns that are others now: each that is written is written in its indexes."""
    same = {
        name for name, value in zip(before._fields, before, strict=True) if values[name] == value
    }
    if not is_moved:
        same.add("changed_at")
    return {name: value for name, value in values.items() if name not in same}


def _counted(connection: Connection, numbers: list[int]) -> dict[int, Counted]:
    """What is counted of each of these records, by its number."""
    if not numbers:
        return {}
    query = select(RECORDS.c.no, *COLUMNS).where(RECORDS.c.no.in_(numbers))
    return {no: Counted(*row) for no, *row in connection.execute(query)}


def advanced(kept: Kept | None, steps: Iterable[tuple[CacheEntry, Source]]) -> _Moved:
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


def erase_keys(connection: Connection, keys: Iterable[StatusKey]) -> None:
    """Delete these records and their changes."""
    keys = list(keys)
    rows = rows_of(connection, keys, RECORDS.c.no)
    if rows:
        delete_records(connection, RECORDS.c.no.in_([no for (no,) in rows]))
    if keys:
        forget_keys(connection, keys)


def is_refusal(error: Exception) -> bool:
    """Is it what was to be written that can't be, rather than the database that is away?"""
    if isinstance(error, TROUBLE):
        return isinstance(error, DataError | IntegrityError)
    return not isinstance(error, MemoryError)


def short(error: BaseException) -> str:
    """An error in one line that shows no statement, no value, and no number of anybody's.

    Only a driver is known to have values and names in the lines after the first.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    first = (str(cause).splitlines() or [""])[0] if isinstance(error, TROUBLE) else ""
    return f"{type(cause).__name__}: {without_numbers(first)}".removesuffix(": ")[:200]
