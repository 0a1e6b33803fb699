"""What a database does to its users; none of it fails a request, blocks one, or ends the writer.

Each test has a real engine in a real trouble. Time is moved by the test, but for what the engines
themselves wait for.
"""

import asyncio
import gc
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, event, func, select, text, update

from gateway.archive import archive as archive_module
from gateway.archive import lookups
from gateway.archive import names as names_module
from gateway.archive import postgres as postgres_module
from gateway.archive import sqlite as sqlite_module
from gateway.archive import writer as writer_module
from gateway.archive.archive import Archive, open_database
from gateway.archive.database import Database, NewerSchemaError
from gateway.archive.filters import RecordFilter
from gateway.archive.listing import Order
from gateway.archive.postgres import LOCK, PostgresDatabase
from gateway.archive.report import ArchiveState
from gateway.archive.sqlite import SqliteDatabase
from gateway.archive.states import Source
from gateway.archive.tables import CHANGES, RECORDS
from gateway.errors import Overloaded
from gateway.model.freshness import CacheEntry
from gateway.model.records import StatusKey
from tests.archive.support import T0, elsewhere, entry, key, rows_in, run_in, set_revision, value_in
from tests.support.clock import FakeClock
from tests.support.gateway import Setup, running
from tests.support.postgres import Postgres
from tests.support.size import PATIENCE

pytestmark = pytest.mark.anyio

LISTED = RecordFilter()


async def soon(clock: FakeClock, condition: Callable[[], bool], step: float = 0.1) -> None:
    """Move time until it is so. Engines take time of their own, which no clock of ours moves."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await clock.advance(step)
            await asyncio.sleep(0.005)


def is_on(archive: Archive) -> Callable[[], bool]:
    return lambda: archive.state is ArchiveState.ON


def is_lost(archive: Archive) -> Callable[[], bool]:
    return lambda: archive.state is ArchiveState.LOST


def is_written(archive: Archive) -> Callable[[], bool]:
    """All that was recorded is kept."""
    return lambda: archive.state is ArchiveState.ON and not archive.report().queue


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What operators are told, and are to look at."""
    own = [one for one in caplog.records if one.name.startswith("gateway")]
    return [one.getMessage() for one in own if one.levelno >= logging.WARNING]


@asynccontextmanager
async def opened(database: Database | str) -> AsyncIterator[tuple[Archive, FakeClock]]:
    """An archive that writes by itself, and its time."""
    clock = FakeClock()
    database = open_database(database) if isinstance(database, str) else database
    archive = Archive(database, clock, content=False, days=0)
    opening = asyncio.create_task(archive.open())
    await soon(clock, opening.done)
    try:
        await opening
        yield archive, clock
    finally:
        await archive.aclose()


async def kept(url: str) -> set[int]:
    """The ids that are in a database, as whoever opens it next finds them."""
    fresh = open_database(url)
    found = {id_ for (id_,) in await rows_in(fresh, select(RECORDS.c.id))}
    await fresh.aclose()
    return found


@pytest.fixture
def address(server: Postgres) -> Any:  # noqa: ANN401 - an iterator of addresses
    with server.database() as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "archive.db"


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no trouble of the database."""
    for name, of in (("PATIENCE", lookups), ("LAST_CHANCE", archive_module)):
        monkeypatch.setattr(of, name, PATIENCE)
    monkeypatch.setattr(writer_module, "SLOW", PATIENCE)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch, _patient: None) -> None:
    """There is nothing to wait for."""
    monkeypatch.setattr(archive_module, "START", 1.0)
    monkeypatch.setattr(archive_module, "LAST_CHANCE", 1.0)
    for engine in (sqlite_module, postgres_module):
        monkeypatch.setattr(engine, "BUSY", 0.2)
    monkeypatch.setattr(sqlite_module, "READER_BUSY", 0.1)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, hurried: None) -> None:
    """Nor is there in a server that says nothing."""
    assert hurried is None
    monkeypatch.setattr(writer_module, "SLOW", 5.0)
    monkeypatch.setattr(lookups, "PATIENCE", 0.5)


# Away: at the start, in the middle, for good, silent


async def test_it_is_away_at_the_start(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.kill()
    try:
        async with opened(address) as (archive, clock):
            archive.record(key(), entry(key()))
            assert archive.state is ArchiveState.LOST
            assert await archive.look_up([key(), key(2)]) == {key(): entry(key())}
            await clock.advance(30)
            server.start()
            await soon(clock, is_written(archive))
            assert await kept(address) == {1}
    finally:
        server.start()
    (warning,) = warnings(caplog)
    assert warning.startswith("the archive is away, and is tried again: OperationalError")


async def test_it_goes_away_again_and_again_and_each_time_is_told_once(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(address) as (archive, clock):
        for number in (1, 2):
            with server.away():
                archive.record(key(number), entry(key(number)))
                await soon(clock, is_lost(archive))
                for _ in range(3):
                    with pytest.raises(Overloaded):
                        await archive.count(LISTED)
                    await archive.look_up([key(77)])
                    await clock.advance(5)
            await soon(clock, is_written(archive))
            assert len(warnings(caplog)) == number
    assert await kept(address) == {1, 2}


async def test_readers_alone_notice_that_it_is_away_and_that_it_is_back(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(address) as (archive, clock):
        with server.away():
            assert await archive.look_up([key()]) == {}
            await soon(clock, is_lost(archive))
        await soon(clock, is_on(archive))
    assert len(warnings(caplog)) == 1


async def test_a_server_that_has_become_a_standby_is_left(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = address.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1]
    beside = address.replace(name, "postgres")
    standby = f'ALTER DATABASE "{name}" SET default_transaction_read_only = '
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - our own
    async with opened(address) as (archive, clock):
        await soon(clock, lambda: archive.report().rows is not None)
        server.execute(beside, f"{standby} on")
        server.execute(beside, end)
        archive.record(key(), entry(key()))
        await soon(clock, is_lost(archive))
        await soon(clock, lambda: archive.report().errors > 3)
        # A connection that is there stays what it was; only a new one is to the primary.
        server.execute(beside, f"{standby} off")
        await soon(clock, is_written(archive))
    assert await kept(address) == {1}
    (warning,) = warnings(caplog)
    assert "read-only transaction" in warning


@pytest.mark.usefixtures("silent")
async def test_a_server_that_says_nothing_keeps_nobody_waiting(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(address) as (archive, clock):
        archive.record(key(1), entry(key(1)))
        await soon(clock, is_written(archive))
        with server.frozen():
            async with asyncio.timeout(PATIENCE):
                assert await archive.look_up([key(1)]) == {}
            archive.record(key(2), entry(key(2)))
            await soon(clock, is_lost(archive))
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(Overloaded):
                    await archive.list_page(LISTED, Order.CHANGED_DESC, after=None, limit=9)
        await soon(clock, is_written(archive))
        assert set(await archive.look_up([key(1), key(2)])) == {key(1), key(2)}
    assert len(warnings(caplog)) == 1
    assert not [one for one in caplog.records if one.name == "psycopg"]  # it waited for no answer
    assert await kept(address) == {1, 2}


async def test_names_are_learned_anew_where_an_earlier_state_of_the_database_comes_back(
    server: Postgres, address: str
) -> None:
    async with opened(address) as (archive, clock):
        await soon(clock, lambda: archive.report().rows is not None)
        archive.record(key(1), entry(key(1), 1, sender_id="SHOP"))
        await soon(clock, is_written(archive))
        archive.record(key(3), entry(key(3), 1, sender_id="SHOP"))  # who writes it again knows it
        await soon(clock, is_written(archive))
        with server.away():
            archive.record(key(2), entry(key(2), 1, sender_id="SHOP"))
            await soon(clock, is_lost(archive))
        server.execute(address, "TRUNCATE records, changes, names, counters, deliveries")
        await soon(clock, is_written(archive))
    sender = "SELECT name FROM names JOIN records ON sender = names.no WHERE id = 2"
    assert server.execute(address, sender) == [("SHOP",)]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("trouble", ["away", "frozen"])
async def test_the_end_does_not_wait_for_what_is_away(
    server: Postgres, address: str, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server.away() if trouble == "away" else server.frozen():
        async with asyncio.timeout(PATIENCE):
            async with opened(address) as (archive, _):
                for number in range(3):
                    archive.record(key(number), entry(key(number)))
    assert "3 records could not be archived" in warnings(caplog)[-1]


@pytest.mark.usefixtures("hurried")
async def test_the_end_in_the_middle_of_a_transaction_that_hangs(
    server: Postgres, address: str
) -> None:
    async with opened(address) as (archive, clock):
        with server.frozen():
            archive.record(key(), entry(key()))
            await clock.advance(1)
            async with asyncio.timeout(PATIENCE):
                await archive.aclose()
            assert archive.report().queue == 1


async def test_what_could_not_be_written_before_is_written_at_the_end(
    server: Postgres, address: str
) -> None:
    async with opened(address) as (archive, clock):
        with server.away():
            archive.record(key(), entry(key()))
            await soon(clock, is_lost(archive))
    assert await kept(address) == {1}


async def test_no_more_waits_than_there_is_room_for(
    server: Postgres, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MOST", 10)
    monkeypatch.setattr(writer_module, "BATCH", 1)
    async with opened(address) as (archive, clock):
        with server.away():
            archive.record(key(1), entry(key(1)))
            await soon(clock, is_lost(archive))
            for number in range(2, 32):
                archive.record(key(number), entry(key(number)))
            assert (archive.report().queue, archive.report().lost) == (11, 20)
            assert archive.report().lag_seconds > 0
        await soon(clock, is_written(archive))
    assert await kept(address) == {1, *range(22, 32)}


async def test_the_gateway_answers_while_it_is_away(server: Postgres, address: str) -> None:
    async with running(ARCHIVE_URL=address) as setup:
        archive = setup.state["archive"]
        assert archive is not None
        await told(setup, archive, 1, "79990000001")
        with server.away():
            await told(setup, archive, 100, "79990000100")
            await soon(setup.clock, is_lost(archive))
            assert (await setup.client.get("/v1/provider")).json()["archive"] == "LOST"
            assert (await setup.message(1, "79990000001")).status_code == 200
            assert (await setup.client.get("/v1/records")).status_code == 503
            assert (await setup.client.get("/readyz")).status_code == 200
        await soon(setup.clock, is_written(archive))
        assert (await setup.client.get("/v1/provider")).json()["archive"] == "ON"
        assert len((await setup.client.get("/v1/records")).json()["records"]) == 2


async def told(setup: Setup, archive: Archive, id: int, phone: str) -> None:
    asking = asyncio.create_task(setup.message(id, phone))
    await soon(setup.clock, asking.done)
    assert asking.result().status_code == 200
    assert archive.report().lost == 0


# Full, locked, broken


async def test_a_disk_that_is_full(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = 0

    def limit(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {pages or 2**30}")
        cursor.close()

    database = SqliteDatabase(file)
    event.listen(database._writers, "connect", limit)  # noqa: SLF001
    many = range(1, 2000)
    async with opened(database) as (archive, clock):
        pages = 1  # fewer than there are: SQLite takes it as no more than there are
        database._writers.dispose()  # noqa: SLF001 - a new connection has the limit
        for number in many:
            archive.record(key(number), entry(key(number)))
        await soon(clock, is_lost(archive))
        await soon(clock, lambda: archive.report().errors > 3)
        pages = 0
        database._writers.dispose()  # noqa: SLF001 - as above
        await soon(clock, is_written(archive))
    assert await kept(url_of(file)) == set(many)
    (warning,) = warnings(caplog)
    assert "database or disk is full" in warning


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_a_file_that_another_process_has_locked(
    file: Path, begin: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(url_of(file)) as (archive, clock):
        archive.record(key(1), entry(key(1)))
        await soon(clock, is_written(archive))
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(begin)
            assert set(await archive.look_up([key(1)])) == {key(1)}
            archive.record(key(2), entry(key(2)))
            await soon(clock, is_lost(archive))
            await clock.advance(30)
            other.execute("ROLLBACK")
        await soon(clock, is_written(archive))
    assert await kept(url_of(file)) == {1, 2}
    (warning,) = warnings(caplog)
    assert "database is locked" in warning


@pytest.mark.usefixtures("hurried")
async def test_a_file_that_another_process_has_all_to_itself(file: Path) -> None:
    async with opened(url_of(file)) as (archive, clock):
        archive.record(key(1), entry(key(1)))
        await soon(clock, is_written(archive))
        await archive.database.aclose()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            assert await archive.look_up([key(1)]) == {}
            await soon(clock, is_lost(archive))
        await soon(clock, is_on(archive))
        assert set(await archive.look_up([key(1)])) == {key(1)}


async def test_readers_do_not_wait_for_a_long_transaction(url: str) -> None:
    async with opened(url) as (archive, clock):
        archive.record(key(1), entry(key(1)))
        await soon(clock, is_written(archive))
        with elsewhere(url) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            connection.execute(update(RECORDS).values(source=Source.IMPORTED))
            archive.record(key(2), entry(key(2)))
            await clock.advance(1)
            assert set(await archive.look_up([key(1), key(2)])) == {key(1), key(2)}
            assert await archive.count(LISTED) == 1
        await soon(clock, is_written(archive))


def not_a_database(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def spoil(file: Path) -> None:
    """Overwrite all of a database, as a disk that fails would."""
    with file.open("r+b") as opened_file:
        opened_file.write(b"\x5a" * file.stat().st_size)


async def test_a_broken_file_at_the_start(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    not_a_database(file)
    async with opened(url_of(file)) as (archive, clock):
        await soon(clock, is_on(archive))
        archive.record(key(), entry(key()))
        await soon(clock, is_written(archive))
    assert await kept(url_of(file)) == {1}
    (aside,) = file.parent.glob("archive.db.broken-*")
    assert aside.read_bytes() == b"no database" * 1000
    assert warnings(caplog) == [f"the archive could not be read; it was put aside as {aside.name}"]


@pytest.mark.parametrize("noticed_by", ["reader", "writer", "sweeper"])
async def test_a_file_that_breaks_in_the_middle(
    file: Path, noticed_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(url_of(file)) as (archive, clock):
        archive.record(key(1), entry(key(1)))
        await soon(clock, is_written(archive))
        await archive.database.tidy()
        await archive.database.aclose()
        spoil(file)
        match noticed_by:
            case "reader":
                assert await archive.look_up([key(1)]) == {}
            case "writer":
                archive.record(key(2), entry(key(2)))
            case _:
                await clock.advance(60)
        await soon(clock, lambda: bool(list(file.parent.glob("archive.db.broken-*"))))
        archive.record(key(2), entry(key(2)))
        await soon(clock, is_written(archive))
    assert await kept(url_of(file)) == {2}
    assert len(warnings(caplog)) == 1


async def test_a_broken_file_is_put_aside_once_by_all_who_use_it(file: Path) -> None:
    async with opened(url_of(file)) as (one, clock), opened(url_of(file)) as (other, time):
        for archive in (one, other):
            await archive.database.aclose()
        spoil(file)
        one.record(key(1), entry(key(1)))
        await soon(clock, is_written(one))
        with suppress(Overloaded):
            await other.count(LISTED)
        other._writer.suspect(_broken(), era=0)  # noqa: SLF001
        other.record(key(2), entry(key(2)))
        await soon(time, is_written(other))
    assert await kept(url_of(file)) == {1, 2}
    assert len(list(file.parent.glob("archive.db.broken-*"))) == 1


def _broken() -> sqlite3.DatabaseError:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(b"no database" * 1000)
        with pytest.raises(sqlite3.DatabaseError) as caught:
            connection.execute("SELECT * FROM sqlite_schema")
    return caught.value


async def test_what_breaks_twice_within_a_second_is_put_aside_twice(file: Path) -> None:
    for _ in range(2):
        not_a_database(file)
        async with opened(url_of(file)) as (archive, clock):
            await soon(clock, is_on(archive))
    assert len(list(file.parent.glob("archive.db.broken-*"))) == 2


class Immovable(SqliteDatabase):
    """A broken file that can't be renamed at first."""

    stuck = True

    def _rename(self) -> str | None:
        if self.stuck:
            raise PermissionError(13, "Permission denied")
        return super()._rename()


async def test_a_broken_file_that_can_not_be_put_aside(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    not_a_database(file)
    database = Immovable(file)
    async with opened(database) as (archive, clock):
        archive.record(key(), entry(key()))
        await clock.advance(30)
        assert archive.state is ArchiveState.LOST
        database.stuck = False
        await soon(clock, is_written(archive))
    assert await kept(url_of(file)) == {1}
    away, aside = warnings(caplog)
    assert away.startswith("the archive is away, and is tried again: DatabaseError: ")
    assert aside.startswith("the archive could not be read; it was put aside as ")
    assert database.era == 1


async def test_a_folder_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    async with opened(f"sqlite:///{tmp_path}/file/archive.db") as (archive, clock):
        archive.record(key(), entry(key()))
        await clock.advance(30)
        assert archive.state is ArchiveState.LOST
        (tmp_path / "file").unlink()
        await soon(clock, is_written(archive))
    assert len(warnings(caplog)) == 1


# Migrations


async def test_several_that_start_together_migrate_once(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    archives = [Archive(open_database(url), FakeClock(), content=False, days=0) for _ in range(5)]
    await asyncio.gather(*(archive.open() for archive in archives))
    assert {archive.state for archive in archives} == {ArchiveState.ON}
    assert {archive.report().errors for archive in archives} == {0}
    for archive in archives:
        await archive.aclose()
    assert warnings(caplog) == []


async def newer(url: str) -> None:
    database = open_database(url)
    await database.migrate()
    await database.aclose()
    await set_revision(url, "9999")


async def test_a_newer_schema_stops_the_start(url: str, caplog: pytest.LogCaptureFixture) -> None:
    await newer(url)
    with pytest.raises(NewerSchemaError, match=r"its schema is 9999"):
        async with opened(url):
            pass
    assert warnings(caplog) == []


async def test_a_newer_schema_behind_a_server_that_was_away_is_told_once(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    await newer(address)
    server.kill()
    try:
        async with opened(address) as (archive, clock):
            server.start()
            await soon(clock, lambda: archive.report().errors > 5)
            assert archive.state is ArchiveState.LOST
    finally:
        server.start()
    assert len(warnings(caplog)) == 1


# What is refused, and what nobody expects

FAR = 10**20
"""Beyond what a column holds, in either engine."""


def poison(of: str) -> tuple[StatusKey, CacheEntry]:
    """A record that no engine takes."""
    match of:
        case "phone":
            bad = key(2, "7999000\udc80")
            return bad, entry(key(2))
        case "id":
            return key(79990000002 * FAR), entry(key(2))
        case _:
            sound = entry(key(2))
            assert sound.record is not None
            status = replace(sound.record.provider_status, code=79990000002 * FAR)
            return key(2), replace(sound, record=replace(sound.record, provider_status=status))


@pytest.mark.parametrize("of", ["phone", "id", "status"])
async def test_what_is_refused_stands_in_nobodys_way(
    archive: Archive, of: str, caplog: pytest.LogCaptureFixture
) -> None:
    archive.record(key(1), entry(key(1)))
    archive.record(*poison(of))
    for number in range(3, 9):
        archive.record(key(number), entry(key(number)))
    await archive.flush()
    keys = [key(number) for number in (1, *range(3, 9))]
    assert set(await archive.look_up(keys)) == set(keys)
    assert await archive.count(LISTED) == len(keys)
    report = archive.report()
    assert (report.queue, report.errors, report.lost) == (0, 1, 1)
    (line,) = warnings(caplog)
    assert line.startswith("1 records can't be archived, and were dropped: ")
    assert "7999" not in line


async def test_many_that_are_refused_are_told_in_one_line(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        archive.record(key(number * FAR + FAR), entry(key(number)))
    archive.record(key(5), entry(key(5)))
    await archive.flush()
    assert (await archive.count(LISTED), archive.report().lost) == (1, 20)
    assert len(warnings(caplog)) == 1


async def test_the_row_of_a_newer_release_is_none(archive: Archive) -> None:
    for number in (1, 2, 3):
        archive.record(key(number), entry(key(number), 0))
    await archive.flush()
    strange = update(RECORDS).where(RECORDS.c.id == 2).values(entry=b"\xffanything")
    await run_in(archive.database, strange)
    assert set(await archive.look_up([key(1), key(2), key(3)])) == {key(1), key(3)}
    found = await archive.list_page(LISTED, Order.CHANGED_ASC, after=None, limit=2)
    assert [one.entry.record for one in found] == [entry(key(id_), 0).record for id_ in (1, 3)]
    archive.record(key(2), entry(key(2), 1))
    await archive.flush()
    assert set(await archive.look_up([key(1), key(2), key(3)])) == {key(1), key(2), key(3)}
    assert archive.report().lost == 0


class Surprising(SqliteDatabase):
    """Fails in a way that nobody foresaw."""

    surprises = 0

    async def write(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as its base has them
        if self.surprises:
            self.surprises -= 1
            raise RuntimeError("can't start new thread for 79990000001")
        return await super().write(*args, **kwargs)

    async def read(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as above
        if self.surprises:
            raise RuntimeError("can't start new thread for 79990000001")
        return await super().read(*args, **kwargs)


async def test_the_writer_outlives_what_nobody_foresaw(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Surprising(file)
    async with opened(database) as (archive, clock):
        database.surprises = 3
        assert await archive.look_up([key()]) == {}
        archive.record(key(), entry(key()))
        await soon(clock, is_lost(archive))
        await soon(clock, is_written(archive))
    assert await kept(url_of(file)) == {1}
    assert warnings(caplog) == ["the archive is away, and is tried again: RuntimeError"]


async def test_the_sweeper_outlives_it_too_and_all_is_written_at_the_end(file: Path) -> None:
    clock = FakeClock()
    archive = Archive(open_database(url_of(file)), clock, content=False, days=1)
    opening = asyncio.create_task(archive.open())
    await soon(clock, opening.done)
    clock.break_down()
    await clock.advance(120)
    archive.record(key(), entry(key()))
    await archive.aclose()
    assert await kept(url_of(file)) == {1}


async def test_whoever_is_cancelled_gives_the_connection_back(url: str) -> None:
    archive = Archive(open_database(url), FakeClock(), content=False, days=0)
    await archive.flush()
    database = archive.database
    for number in range(40):
        archive.record(key(number), entry(key(number)))
        for doing in (archive.flush(), archive.count(LISTED), archive.histories([key(1)])):
            task = asyncio.create_task(doing)
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
    await archive.flush()
    assert await archive.count(LISTED) == 40
    assert await value_in(database, select(func.count()).select_from(CHANGES)) == 40
    # It is given back beside who was cancelled: a busy machine may be at it still.
    await soon(FakeClock(), lambda: not database._in_use())  # noqa: SLF001
    await archive.aclose()


async def test_who_is_cancelled_is_told_so_whatever_the_driver_makes_of_it(address: str) -> None:
    database = PostgresDatabase(address)

    def query(_: Connection) -> None:
        assert task.cancel()
        raise AssertionError  # as psycopg does of a connection that is closed meanwhile

    task = asyncio.create_task(database.read(query))
    await asyncio.wait({task})
    assert task.cancelled()
    await database.aclose()


async def test_whoever_is_cancelled_while_a_connection_is_set_up_loses_none(address: str) -> None:
    database = PostgresDatabase(address)
    await database.migrate()
    task = asyncio.create_task(database.read(lambda _: None))
    engine = database._readers.sync_engine  # noqa: SLF001
    event.listen(engine, "connect", lambda *_: task.cancel(), insert=True)
    await asyncio.wait({task})
    assert task.cancelled()
    await database.aclose()
    gc.collect()  # it would warn of a connection that was never closed


async def test_names_that_are_forgotten_meanwhile_are_read_anew(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "MOST", 2)
    for number in range(1, 9):
        of = key(number)
        archive.record(of, entry(of, 1, sender_id=f"SHOP{number}"))
        await archive.flush()
        archive.record(of, entry(of, 2, at=T0 + 90, sender_id=f"SHOP{number}"))
    await archive.flush()
    assert (await archive.count(LISTED), archive.report().errors) == (8, 0)
    told = await archive.histories([key(number) for number in range(1, 9)])
    assert {len(changes) for changes in told.values()} == {2}


# What is told


async def test_no_password_and_no_number_is_told(
    server: Postgres, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = address.replace("postgres:", "79990000001:").replace("@", ":s3cret@", 1)
    if "s3cret" not in wrong or "79990000001" not in wrong:
        wrong = "postgresql://79990000001:s3cret@127.0.0.1:1/none"
    async with opened(wrong) as (archive, _):
        assert archive.state is ArchiveState.LOST
        assert "s3cret" not in archive.database.name
    assert server is not None
    told = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("gateway"))
    assert "the archive is away" in told
    assert "s3cret" not in caplog.text
    assert "7999" not in told


async def test_what_a_driver_adds_about_values_is_not_told(address: str) -> None:
    database = PostgresDatabase(address)
    await database.migrate()
    row = "INSERT INTO names VALUES (1, '79990000001'), (2, '79990000001')"
    with pytest.raises(Exception, match="79990000001") as caught:
        await run_in(database, text(row))
    await database.aclose()
    assert writer_module.short(caught.value) == (
        'UniqueViolation: duplicate key value violates unique constraint "names_name_key"'
    )
