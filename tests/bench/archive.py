"""The archive with a million records and three million changes, on SQLite and on PostgreSQL.

In one process, in a loop. Beside a page stands the bare query: the same statement by the driver
alone, and its entries unpacked. `ARCHIVE_RECORDS` in the environment sets another size.
"""

import asyncio
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from msgspec.structs import replace
from sqlalchemy import Select, func, make_url, select

from gateway.archive.archive import Archive, open_database
from gateway.archive.codec import unpack
from gateway.archive.filters import RecordFilter
from gateway.archive.listing import Order, Position, numbered, page, page_query, where
from gateway.archive.names import Names
from gateway.archive.tables import RECORDS
from gateway.clock import Clock
from gateway.model.freshness import CacheEntry
from gateway.model.records import FreshnessSource, StatusKey
from gateway.web.rest.listing import _lines, _pages, read_list
from tests.archive.support import T0, entry
from tests.bench.harness import Row, print_table
from tests.support.archived import DAYS, ERRORS, MAILING, OPERATORS, SENDERS, WATCHED, fill
from tests.support.postgres import postgres

COUNT: Final = int(os.environ.get("ARCHIVE_RECORDS", "1000000"))
LIMIT: Final = 50
"""Records of a page."""
DEEP: Final = 10_000
"""The other page that is read, or the last one."""
ROUNDS: Final = 60
PUSHES: Final = 10_000
KEYS: Final = 1000

HEAD: Final = Row("work", "engine", "bare ms", "ms p50 / p99", "ratio", "goal")

_DAY: Final = 86_400
_MIDDLE: Final = T0 - DAYS * _DAY // 2

FILTERS: Final = {
    "all": RecordFilter(),
    "phone": RecordFilter(phones=(WATCHED,)),
    "id": RecordFilter(ids=(MAILING,)),
    "kind": RecordFilter(states=frozenset({21, 22, 23, 24, 25})),
    "state": RecordFilter(states=frozenset({4})),
    "stateGroup": RecordFilter(states=frozenset({7, 8, 9})),
    "isFinal": RecordFilter(states=frozenset({4, 5, 6, 7, 8, 9, 22, 23, 24})),
    "errorCode": RecordFilter(errors=(ERRORS[0],)),
    "operator": RecordFilter(operators=(OPERATORS[2],)),
    "sender": RecordFilter(senders=(SENDERS[2],)),
    "sentAfter": RecordFilter(sent_after=_MIDDLE),
    "sentBefore": RecordFilter(sent_before=_MIDDLE),
    "changedAfter": RecordFilter(changed_after=_MIDDLE),
    "changedBefore": RecordFilter(changed_before=_MIDDLE),
}


class Took(NamedTuple):
    """Milliseconds of each round."""

    times: Sequence[float]

    def at(self, percent: int) -> float:
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

    def __str__(self) -> str:
        return f"{self.at(50):,.2f} / {self.at(99):,.2f}"


class Bare:
    """The driver alone."""

    def __init__(self, url: str) -> None:
        self._dialect = make_url(url).get_dialect()()
        path = url.removeprefix("sqlite:///")
        self._connection: Any = (
            sqlite3.connect(path)
            if url.startswith("sqlite")
            else psycopg.connect(url, autocommit=True)
        )

    def all(self, query: Select[Any] | str) -> list[Any]:
        text = query
        if not isinstance(query, str):
            literal = {"literal_binds": True}
            text = str(query.compile(dialect=self._dialect, compile_kwargs=literal))
        return list(self._connection.execute(text).fetchall())

    def took(self, query: Select[Any]) -> Took:
        literal = {"literal_binds": True}
        text = str(query.compile(dialect=self._dialect, compile_kwargs=literal))

        def once() -> None:
            for row in self._connection.execute(text).fetchall():
                unpack(row[2])

        return Took([_ms(once) for _ in range(ROUNDS)])

    def close(self) -> None:
        self._connection.close()


def _ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


async def _took(work: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> Took:
    times = []
    await work()
    for _ in range(rounds):
        start = time.perf_counter()
        await work()
        times.append((time.perf_counter() - start) * 1000)
    return Took(times)


@contextmanager
def _engines() -> Iterator[dict[str, str]]:
    """The address of an empty database of each engine."""
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres() as server,
        server.database() as address,
    ):
        yield {"SQLite": f"sqlite:///{Path(folder) / 'archive.db'}", "PostgreSQL": address}


async def _pages_of(archive: Archive, bare: Bare, engine: str) -> list[Row]:
    """Two lines for each filter: the first page, and a late one; of all orders, by either time."""
    made = []
    names = Names()
    for name, wanted in FILTERS.items():
        axis = "sent" if name.startswith("sent") else "changed"
        for orders in _orders(name, axis):
            for deep in (False, True):
                took: list[float] = []
                alone: list[float] = []
                for order in orders:
                    after = _late(bare, order, await _conditions(archive, wanted)) if deep else None

                    async def read(
                        wanted: RecordFilter = wanted,
                        order: Order = order,
                        after: Position | None = after,
                    ) -> None:
                        await archive.read(page, names, wanted, order, after=after, limit=LIMIT + 1)

                    took += (await _took(read)).times
                    conditions = await _conditions(archive, wanted)
                    query, values = page_query(conditions, order, after=after, limit=LIMIT + 1)
                    alone += bare.took(query.params(values)).times
                label = f"page {'10,000' if deep else '1'} by {name}"
                if len(orders) < len(Order):
                    by = "its time" if axis in orders[0] else "the other time"
                    label += f", ordered by {by}"
                both = Took(took), Took(alone)
                ratio = both[0].at(50) / both[1].at(50)
                goal = "p99 <= 20 ms, <= 2 x"
                made.append(
                    Row(
                        label, engine, f"{both[1].at(50):.2f}", str(both[0]), f"{ratio:.1f} x", goal
                    )
                )
    return made


def _orders(name: str, axis: str) -> list[list[Order]]:
    if not name.endswith(("After", "Before")):
        return [list(Order)]
    own = [order for order in Order if axis in order]
    return [own, [order for order in Order if order not in own]]


async def _conditions(archive: Archive, wanted: RecordFilter) -> Any:  # noqa: ANN401 - `Numbered`, for something is known
    return await archive.read(numbered, archive.names, wanted)


def _late(bare: Bare, order: Order, conditions: Any) -> Position | None:  # noqa: ANN401 - as above
    """Where the ten-thousandth page begins, or the last one."""
    some = select(RECORDS.c.no, order.column).where(*where(conditions))
    rows = bare.all(select(func.count()).select_from(some.subquery()))
    offset = max(0, min(DEEP * LIMIT, rows[0][0] - LIMIT - 1))
    no, column = RECORDS.c.no, order.column
    sort = (column.desc(), no.desc()) if order.is_descending else (column, no)
    found = bare.all(some.order_by(*sort).offset(offset).limit(1))
    return Position(found[0][1], found[0][0]) if found else None


async def _summaries(archive: Archive, engine: str) -> list[Row]:
    day = {"after": _MIDDLE, "before": _MIDDLE + _DAY}
    week = {"after": _MIDDLE, "before": _MIDDLE + 7 * _DAY}
    asked = {
        "summary of all": (RecordFilter(), "<= 500 ms"),
        "summary of a day of sending": (
            RecordFilter(sent_after=day["after"], sent_before=day["before"]),
            "<= 50 ms",
        ),
        "summary of a day of changes": (
            RecordFilter(changed_after=day["after"], changed_before=day["before"]),
            "<= 50 ms",
        ),
        "summary of a week": (
            RecordFilter(sent_after=week["after"], sent_before=week["before"]),
            "",
        ),
        "summary of a sender": (RecordFilter(senders=(SENDERS[2],)), ""),
    }
    made = []
    for label, (wanted, goal) in asked.items():

        async def read(wanted: RecordFilter = wanted) -> None:
            await archive.summary(wanted)

        made.append(Row(label, engine, "", str(await _took(read, 15)), "", goal))
    return made


async def _export(archive: Archive, engine: str) -> list[Row]:
    """A tenth of all, as JSON lines."""
    before = T0 - DAYS * _DAY * 9 // 10
    asked = read_list({}, frozenset())._replace(
        wanted=RecordFilter(sent_before=before), order=Order.SENT_ASC
    )
    _forget_peak()
    base, start, rows = _resident("VmRSS"), time.perf_counter(), 0
    async for records in _pages(archive, asked, time.time):
        rows += len(records)
        _lines(records)
    rate = rows / (time.perf_counter() - start)
    more = (_resident("VmHWM") - base) / 1024
    return [
        Row(
            "export as JSON lines",
            engine,
            "",
            f"{rate:,.0f} rows/s, {more:.0f} MiB",
            "",
            ">= 20,000, <= 50",
        )
    ]


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _resident(name: str) -> int:
    """KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


async def _look_ups(archive: Archive, bare: Bare, engine: str) -> list[Row]:
    random_ = random.Random(1)
    numbers = sorted(random_.sample(range(1, COUNT + 1), min(KEYS, COUNT)))
    table = RECORDS.c
    rows = bare.all(select(table.phone, table.id).where(table.no.in_(numbers)))
    keys = [StatusKey(phone, id_) for phone, id_ in rows]
    took = await _took(lambda: archive.look_up(keys), 20)
    return [Row(f"look-up of {len(keys):,} keys", engine, "", str(took), "", "")]


async def _pushes(archive: Archive, engine: str) -> list[Row]:
    """New messages that are on their way, and then their deliveries."""
    made = []
    keys = [StatusKey("78880000000", number) for number in range(1, PUSHES + 1)]
    for label, status in (("new records", 0), ("pushes of a delivery", 1)):
        some = entry(
            keys[0],
            status,
            at=T0 + 60 + status,
            sender_id=SENDERS[0],
            country="Россия",
            operator=OPERATORS[0],
        )
        told = [_pushed(some, number) for number in range(100)]
        wall, cpu = time.perf_counter(), time.process_time()
        for number, key in enumerate(keys):
            archive.record(key, told[number % len(told)])
        await archive.flush()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rates = f"{PUSHES / wall:,.0f}/s, CPU {cpu / PUSHES * 1e6:,.0f} µs"
        made.append(Row(f"writer: {label}", engine, "", rates, "", ">= 2,000/s"))
    return made


def _pushed(some: CacheEntry, number: int) -> CacheEntry:
    """As it was pushed, with one of many texts."""
    assert some.record is not None
    return replace(
        some,
        source=FreshnessSource.CALLBACK,
        record=replace(some.record, sender=SENDERS[number % len(SENDERS)]),
    )


def _sizes(bare: Bare, engine: str) -> list[Row]:
    if engine == "SQLite":
        parts = dict(bare.all("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    else:
        parts = dict(
            bare.all(
                "SELECT relname, pg_relation_size(oid) FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
            )
        )
    records, changes = parts.pop("records"), parts.pop("changes")
    of_records = sum(size for name, size in parts.items() if name.startswith("records_"))
    of_changes = sum(size for name, size in parts.items() if "changes" in name)
    total = records + changes + sum(parts.values())
    sizes = {
        "in all": total,
        "records": records,
        "their indexes": of_records,
        "changes": changes,
        "their indexes ": of_changes,
        "the rest": total - records - changes - of_records - of_changes,
    }
    return [
        Row(
            f"bytes a record, {name}" if name == "in all" else f"  {name.strip()}",
            engine,
            "",
            f"{size / COUNT:,.0f}",
            "",
            "<= 700" if name == "in all" else "",
        )
        for name, size in sizes.items()
    ]


async def measure(engine: str, url: str) -> list[Row]:
    """Fill an empty database, and measure there."""
    database = open_database(url)
    await database.migrate()
    await asyncio.to_thread(fill, url, COUNT)
    archive = Archive(database, Clock(), content=False, days=0)
    await archive.flush()
    archive._writer.state = archive._writer.state.ON  # noqa: SLF001 - as `open` would
    bare = Bare(url)
    try:
        return [
            *_sizes(bare, engine),
            *await _pages_of(archive, bare, engine),
            *await _summaries(archive, engine),
            *await _export(archive, engine),
            *await _look_ups(archive, bare, engine),
            *await _pushes(archive, engine),
        ]
    finally:
        bare.close()
        await archive.aclose()


def main() -> None:
    rows = []
    with _engines() as engines:
        for engine, url in engines.items():
            rows.append(asyncio.run(measure(engine, url)))
    print_table([row for both in zip(*rows, strict=True) for row in both], HEAD)
