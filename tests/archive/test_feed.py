"""The feed tells each change once, in one order, whoever writes and however far its reader is."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import text

from gateway.archive import changes
from gateway.archive import feed as feed_module
from gateway.archive.archive import Archive, forget_before, open_database
from gateway.archive.changes import (
    Edge,
    FeedChange,
    FeedPage,
    FeedPosition,
    cursor_of,
    matcher,
    position_of,
    read_page,
)
from gateway.archive.feed import Feed, FeedReader
from gateway.archive.filters import RecordFilter, read_filter
from gateway.archive.names import Names
from gateway.archive.postgres import LOCK
from gateway.errors import CursorExpired, InvalidArgument
from gateway.wakeups import Signal
from tests.archive.support import T0, entry, key, run_in
from tests.support.clock import FakeClock, settle
from tests.support.postgres import Postgres
from tests.support.size import PATIENCE

pytestmark = pytest.mark.anyio

ALL = RecordFilter()


async def fill(archive: Archive, count: int = 6) -> None:
    """Messages of three numbers that are sent, and then delivered or not."""
    for number in range(count):
        of = key(number + 1, f"7999000000{number % 3}")
        archive.record(of, entry(of, 0, sender_id=f"SHOP{number % 2}", at=T0 + number))
    await archive.flush()
    for number in range(count):
        of = key(number + 1, f"7999000000{number % 3}")
        status, err = (1, 0) if number % 2 else (20, (1, 254, 77)[number % 3])
        known = entry(
            of,
            status,
            at=T0 + 60 + number,
            err=err,
            sender_id=f"SHOP{number % 2}",
            operator=f"OP{number % 2}",
        )
        archive.record(of, known)
    await archive.flush()


async def pages(
    archive: Archive, wanted: RecordFilter = ALL, *, limit: int = 5
) -> list[FeedChange]:
    """All that is told to who goes on from page to page."""
    told: list[FeedChange] = []
    after: FeedPosition | Edge = Edge.OLDEST
    while True:
        page = await archive.read(read_page, archive.names, wanted, after, limit)
        told += page.changes
        after = page.next
        if page.is_end:
            return told


async def test_pages_tell_each_change_once_and_in_order(archive: Archive) -> None:
    await fill(archive)
    told = await pages(archive)
    numbers = [one.position.no for one in told]
    assert numbers == sorted(set(numbers))
    assert len(told) == 12
    of_first = [one.change.state.value for one in told if one.key.id == 1]
    assert of_first == ["SENT", "UNDELIVERABLE"]
    assert told[6].change.error is not None
    assert told[6].change.error.provider_code == 1
    entry_now = told[0].entry
    assert entry_now is not None
    assert entry_now.record is not None
    assert entry_now.record.is_final  # the record is told as it is now


FILTERS: dict[str, tuple[dict[str, list[str]], Callable[[FeedChange], bool]]] = {
    "phone": ({"phone": ["79990000001"]}, lambda one: one.key.phone == "79990000001"),
    "state": ({"state": ["SENT"]}, lambda one: one.change.state.value == "SENT"),
    "group": ({"stateGroup": ["FAILED"]}, lambda one: one.change.state.value == "UNDELIVERABLE"),
    "final": ({"isFinal": ["false"]}, lambda one: not one.change.is_final),
    "kind": ({"kind": ["HlrLookup"]}, lambda _: False),
    "error": (
        {"errorCode": ["UNKNOWN_SUBSCRIBER"]},
        lambda one: one.change.error is not None and one.change.error.provider_code == 1,
    ),
    "unmapped": (
        {"errorCode": ["UNMAPPED"]},
        lambda one: one.change.error is not None and one.change.error.provider_code == 77,
    ),
    "sender": ({"sender": ["SHOP1"]}, lambda one: one.key.id % 2 == 0),
    "operator": ({"operator": ["OP0,OP2"]}, lambda one: one.key.id % 2 == 1),
    "nobody": ({"operator": ["nobody"]}, lambda _: False),
    "a NUL": ({"sender": ["SHOP\0"]}, lambda _: False),
    "two": (
        {"sender": ["SHOP1"], "state": ["DELIVERED"]},
        lambda one: one.key.id % 2 == 0 and one.change.is_final,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_says_the_same_in_the_database_and_in_memory(
    archive: Archive, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SPAN", 3)  # so that pages end where few match
    await fill(archive)
    given, matches = FILTERS[name]
    wanted = read_filter(given)
    every = await pages(archive)
    expected = [one for one in every if matches(one)]
    assert await pages(archive, wanted) == expected
    assert [one for one in every if matcher(wanted)(one)] == expected


async def test_a_cursor_is_of_one_database(archive: Archive) -> None:
    await fill(archive)
    page = await archive.read(read_page, archive.names, ALL, Edge.NOW)
    assert page == FeedPage([], page.next, is_end=True)
    assert position_of(cursor_of(page.next)) == page.next
    for wrong in (page.next._replace(epoch=page.next.epoch + 1), page.next._replace(no=13)):
        with pytest.raises(CursorExpired):
            await archive.read(read_page, archive.names, ALL, wrong)


@pytest.mark.parametrize("cursor", ["", "x", "fHx8", "é", "fDF8Mg", "a" * 500, "fDF8LTE"])
def test_what_is_no_cursor_is_told_so(cursor: str) -> None:
    if cursor == "fDF8Mg":  # `|1|2`
        assert position_of(cursor) == FeedPosition(1, 2)
        return
    with pytest.raises(InvalidArgument, match="after must be"):
        position_of(cursor)


async def test_a_cursor_behind_which_changes_were_too_old_has_expired(archive: Archive) -> None:
    await fill(archive)
    every = await pages(archive)
    assert await forget_before(archive.database, T0 + 63) == 3
    last_gone = every[8].position
    with pytest.raises(CursorExpired):
        await archive.read(read_page, archive.names, ALL, last_gone._replace(no=last_gone.no - 1))
    page = await archive.read(read_page, archive.names, ALL, last_gone)
    assert page.changes == [one for one in every[9:] if one.key.id > 3]
    assert (await archive.read(read_page, archive.names, ALL, Edge.OLDEST)).changes == page.changes


async def until(is_so: Callable[[], bool], clock: FakeClock | None = None) -> None:
    """Wait for what other threads and the database do; with a clock, time passes meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            if clock is not None:
                await clock.advance(feed_module.KEPT)
            await asyncio.sleep(0.01)


def same(some: list[FeedChange], others: list[FeedChange]) -> bool:
    """The same changes, though of their records more may be known by now."""
    return [one[:4] for one in some] == [one[:4] for one in others]


class Live:
    """A feed with its readers."""

    def __init__(self, archive: Archive, clock: FakeClock) -> None:
        self.archive = archive
        self.clock = clock
        self.queries = 0
        self.feed = Feed(archive.database, clock, self._read)

    async def _read(self, wanted: RecordFilter, after: FeedPosition | Edge, limit: int) -> FeedPage:
        self.queries += 1
        return await self.archive.read(read_page, self.archive.names, wanted, after, limit)

    async def read(
        self, wanted: RecordFilter, count: int, after: FeedPosition | Edge = Edge.NOW
    ) -> list[FeedChange]:
        """The next so many changes, as a stream gets them."""
        reader, told = FeedReader(wanted, after, Signal()), list[FeedChange]()
        with self.feed.reading(reader):
            while len(told) < count:
                page = await self.feed.page(reader, 4)
                told += page.changes
                if not page.changes:
                    await reader.signal.wait()
        return told

    async def ready(self) -> None:
        """Until what comes is kept in memory."""
        await until(lambda: self.feed._kept_to is not None)  # noqa: SLF001
        await settle()


async def test_a_thousand_that_wait_cost_no_query_each(archive: Archive) -> None:
    clock = FakeClock()
    live = Live(archive, clock)
    wanted = read_filter({"phone": ["79990000001"]})
    tasks = [asyncio.create_task(live.read(wanted, 4)) for _ in range(500)]
    tasks += [asyncio.create_task(live.read(ALL, 12)) for _ in range(500)]
    await live.ready()
    await until(lambda: all(isinstance(r.position, FeedPosition) for r in live.feed._readers))  # noqa: SLF001
    await settle()
    before = live.queries
    async with asyncio.timeout(PATIENCE):
        await fill(archive)
        live.feed.written()
        told = await asyncio.gather(*tasks)
    assert before < 20
    assert live.queries - before < 20
    every = await pages(archive)
    of_number = [one for one in every if one.key.phone == "79990000001"]
    assert all(same(one, every) for one in told[500:])
    assert all(same(one, of_number) for one in told[:500])
    await live.feed.aclose()


async def test_another_process_is_heard_of(url: str) -> None:
    clock = FakeClock()
    ours, other = (Archive(open_database(url), clock, content=False, days=0) for _ in range(2))
    await ours.flush()
    await other.flush()
    live = Live(ours, clock)
    task = asyncio.create_task(live.read(ALL, 12))
    await live.ready()
    await fill(other)
    await until(task.done, clock if url.startswith("sqlite") else None)  # no file tells of it
    assert same(await task, await pages(other))
    await live.feed.aclose()
    await ours.aclose()
    await other.aclose()


async def test_a_server_that_was_killed_is_heard_again(server: Postgres) -> None:
    with server.database() as address:
        clock = FakeClock()
        ours, other = (
            Archive(open_database(address), clock, content=False, days=0) for _ in range(2)
        )
        await ours.flush()
        live = Live(ours, clock)
        task = asyncio.create_task(live.read(ALL, 12))
        await live.ready()
        with server.away():
            await clock.advance(feed_module.LOOK)

        def is_heard() -> bool:
            told = server.execute(
                address, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
            return bool(told)

        await until(is_heard, clock)
        await fill(other)
        await until(task.done)  # no time passes: it was heard of
        assert same(await task, await pages(other))
        await live.feed.aclose()
        await ours.aclose()
        await other.aclose()


async def test_what_was_erased_or_is_old_is_not_kept_in_memory(archive: Archive) -> None:
    clock = FakeClock()
    live = Live(archive, clock)
    waiting = asyncio.create_task(live.read(ALL, 1000))
    await live.ready()
    await fill(archive)
    live.feed.written()
    await until(lambda: len(live.feed._kept) == 12)  # noqa: SLF001
    live.feed.forget(key(1, "79990000000"))
    start = live.feed._kept_from  # noqa: SLF001
    assert start is not None
    told = await live.read(ALL, 10, start)
    assert {one.key.id for one in told} == {2, 3, 4, 5, 6}
    await until(lambda: not live.feed._kept, clock)  # noqa: SLF001
    assert len(await live.read(ALL, 12, start)) == 12  # it was in memory alone that it was erased
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await live.feed.aclose()


async def test_nobody_sees_a_later_change_before_an_earlier_one(server: Postgres) -> None:
    """Of a writer that is slow to commit nothing is passed over.

    Without the lock, the second writer would commit a higher number first, and a reader would go
    on behind it.
    """
    with server.database() as address:
        first, second = (
            Archive(open_database(address), FakeClock(), content=False, days=0) for _ in range(2)
        )
        await first.flush()
        await second.flush()
        with psycopg.connect(address) as slow:
            slow.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            slow.execute("UPDATE counters SET last = last + 0 WHERE name = 'epoch'")
            of = key(1)
            second.record(of, entry(of))
            writing = asyncio.create_task(second.flush())
            await asyncio.sleep(0.2)
            page = await first.read(read_page, Names(), ALL, Edge.OLDEST)
            assert page.changes == []
            assert not writing.done()
            slow.commit()
        await writing
        told = await first.read(read_page, Names(), ALL, page.next)
        assert [one.key for one in told.changes] == [of]
        await first.aclose()
        await second.aclose()


async def test_an_earlier_state_of_the_database_is_told(archive: Archive) -> None:
    """After a restore numbers are given again: who is further on has to begin anew."""
    await fill(archive)
    live = Live(archive, FakeClock())
    reader = FeedReader(ALL, Edge.NOW, Signal())
    await live.feed.page(reader, 1)
    await run_in(archive.database, text("UPDATE counters SET last = 5 WHERE name = 'changes'"))
    with pytest.raises(CursorExpired):
        await live.feed.page(reader, 1)
    await live.feed.aclose()
