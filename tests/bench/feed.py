"""The feed of changes: pages, and ten thousand readers that wait for the next change.

In one process, in a loop. `FEED_READERS` in the environment sets another number of them.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.archive.archive import Archive, open_database
from gateway.archive.changes import Edge, FeedPage, FeedPosition, read_page
from gateway.archive.feed import Feed, FeedReader
from gateway.archive.filters import RecordFilter
from gateway.clock import Clock
from gateway.wakeups import Signal
from tests.archive.support import T0, entry, key
from tests.bench.harness import Row, print_table
from tests.bench.memory import resident
from tests.support.postgres import postgres

READERS: Final = int(os.environ.get("FEED_READERS", "10000"))
CHANGES: Final = 20_000
ROUNDS: Final = 20

HEAD: Final = Row("work", "engine", "", "", "", "goal")


class Counting(Feed):
    """Counts the pages that are read of the database."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.queries = 0
        super().__init__(archive.database, Clock(), self._read_one)

    async def _read_one(
        self, wanted: RecordFilter, after: FeedPosition | Edge, limit: int
    ) -> FeedPage:
        self.queries += 1
        return await self.archive.read(read_page, self.archive.names, wanted, after, limit)


def main() -> None:
    """Measure both engines, and print a table."""
    print_table([HEAD, *asyncio.run(_rows())])


async def _rows() -> list[Row]:
    made: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres() as server,
        server.database() as address,
    ):
        file = f"sqlite:///{Path(folder) / 'archive.db'}"
        for engine, url in (("SQLite", file), ("PostgreSQL", address)):
            async with _opened(url) as archive:
                made += await _pages(archive, engine)
                made += await _waiting(archive, engine)
    return made


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Archive]:
    archive = Archive(open_database(url), Clock(), content=False, days=0)
    await archive.open()
    for number in range(CHANGES):
        of = key(number + 1)
        archive.record(of, entry(of, 0, at=T0 + number))
    await archive.flush()
    yield archive
    await archive.aclose()


async def _pages(archive: Archive, engine: str) -> list[Row]:
    after: FeedPosition | Edge = Edge.OLDEST
    times = []
    while True:
        start = time.perf_counter()
        page = await archive.read(read_page, archive.names, RecordFilter(), after, 100)
        times.append((time.perf_counter() - start) * 1000)
        after = page.next
        if page.is_end:
            break
    times.sort()
    return [
        Row("a page of 100 changes, ms p50", engine, "", f"{times[len(times) // 2]:.2f}", "", ""),
        Row("changes read a second", engine, "", f"{CHANGES / sum(times) * 1000:,.0f}", "", ""),
    ]


async def _waiting(archive: Archive, engine: str) -> list[Row]:
    """How long a change takes from when it is learned to the first and to the last who waits."""
    feed, before = Counting(archive), resident()
    told: list[float] = []

    async def read() -> None:
        reader = FeedReader(RecordFilter(), Edge.NOW, Signal())
        with feed.reading(reader):
            while True:
                if (await feed.page(reader, 100)).changes:
                    told.append(time.perf_counter())
                else:
                    await reader.signal.wait()

    tasks = [asyncio.create_task(read()) for _ in range(READERS)]
    await asyncio.sleep(3)
    memory, queries = resident() - before, feed.queries
    first, last = [], []
    for number in range(ROUNDS):
        told.clear()
        of = key(CHANGES + number + 1)
        start = time.perf_counter()
        archive.record(of, entry(of, 0))
        await archive.flush()
        feed.written()
        while len(told) < READERS:  # noqa: ASYNC110 - each of them would have to tell
            await asyncio.sleep(0.001)
        first.append((told[0] - start) * 1000)
        last.append((told[-1] - start) * 1000)
    asked = (feed.queries - queries) / ROUNDS
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await feed.aclose()
    who = f"{READERS:,} wait"
    median = ROUNDS // 2
    return [
        Row(f"{who}: bytes each", engine, "", f"{memory / READERS:,.0f}", "", ""),
        Row(f"{who}: pages read for one change", engine, "", f"{asked:.1f}", "", "not one each"),
        Row(f"{who}: first told, ms", engine, "", f"{sorted(first)[median]:.0f}", "", ""),
        Row(f"{who}: last told, ms", engine, "", f"{sorted(last)[median]:.0f}", "", ""),
    ]
