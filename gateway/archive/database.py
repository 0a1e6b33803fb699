"""Opens the archive's database, SQLite or PostgreSQL, and brings its schema up to date.

All that differs between the two engines is here: how writers take turns, what makes a file private
and quick, and how trouble looks.
"""

import asyncio
import glob
import logging
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.archive.rows import ENTRY, Kept, by_key, entries_of, kept_in
from gateway.model.records import StatusKey

log = logging.getLogger(__name__)

MIGRATIONS: Final = Path(__file__).parent / "migrations"

LOCK: Final = 0x736D7363
"""The advisory lock of those who write to one PostgreSQL database: `smsc` in ASCII."""

BUSY: Final = 5.0
"""Seconds to wait for another process that writes to the same file."""

LONGEST_STATEMENT: Final = 60.0
"""Seconds for one statement in PostgreSQL: more than any needs that helps somebody."""

READERS: Final = 4
"""Connections that read at the same time."""

READER_BUSY: Final = 1.0
"""Seconds that a reader waits where another process keeps the whole file to itself."""

WRITERS: Final = 2
"""Connections that write: for what was learned, and for what is deleted beside it."""

GOODBYE: Final = 1.0
"""Seconds for connections in use to be given back, before all are closed."""

_TICK: Final = 0.01

MIGRATING: Final = 600.0
"""Seconds for a migration, one by another process included; one that takes longer hangs."""

_READ_ONLY: Final = "25006"
"""PostgreSQL's SQLSTATE of a write to a standby: one that was the primary when it was reached."""

_BROKEN: Final = {11, 26}
"""SQLite's result codes CORRUPT and NOTADB (https://sqlite.org/rescode.html); the extended ones
have them in their lowest byte."""

TROUBLE: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What a database that is away, locked, full or broken makes of a statement."""


class NewerSchemaError(Exception):
    """The database was written by a newer release; the message says so in one sentence."""


class Schema(Enum):
    """What a database has of our tables."""

    MISSING = "no tables yet"
    OLDER = "an older schema, which the next start brings up to date"
    CURRENT = "the schema of this release"


class Database(ABC):
    """A database of the archive. `name` shows in logs: it holds no password."""

    name: str
    era = 0
    """Counts the files that were set aside: what was read of one says nothing of the next."""
    _readers: AsyncEngine
    _writers: AsyncEngine

    def __init__(self) -> None:
        self._unwanted: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that reads, in one transaction."""
        async with self._connected(self._readers) as connection, connection.begin():
            yield connection

    async def find(self, keys: Sequence[StatusKey]) -> dict[StatusKey, Kept]:
        """What is kept of those of the keys of which something is."""
        async with self.reading() as connection:
            return await entries_of(connection, keys)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection that writes, in a transaction that no other writer's overlaps."""
        async with self._connected(self._writers) as connection, connection.begin():
            await self._take_turn(connection)
            yield connection

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection, given back in any case.

        SQLAlchemy loses one whose user is cancelled while it is set up: so it is set up beside the
        user, and what then is unwanted is given back.
        """
        connecting = asyncio.create_task(_connected(engine))
        try:
            connection = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            task = asyncio.create_task(_give_back(connecting))
            self._unwanted.add(task)
            task.add_done_callback(self._unwanted.discard)
            raise
        try:
            yield connection
        finally:
            await asyncio.shield(asyncio.create_task(connection.close()))

    async def migrate(self) -> None:
        """Bring the schema up to date; `NewerSchemaError` where it is beyond this release's."""
        async with asyncio.timeout(MIGRATING), self.writing() as connection:
            await self._take_time(connection)
            await connection.run_sync(_upgrade)

    async def schema(self) -> Schema:
        """What there is, found out without changing anything; `NewerSchemaError` as above."""
        async with self.reading() as connection:
            return await connection.run_sync(_look)

    async def try_writing(self) -> None:
        """Raise what keeps it from being written; nothing is changed."""
        async with self.writing():
            pass

    async def aclose(self) -> None:
        """Close all connections, as soon as nobody uses them or a second has passed."""
        pools: list[Any] = [self._readers.pool, self._writers.pool]
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                while self._unwanted or any(pool.checkedout() for pool in pools):  # noqa: ASYNC110 - no pool tells
                    await asyncio.sleep(_TICK)
        await self._readers.dispose()
        await self._writers.dispose()

    def is_broken(self, error: BaseException) -> bool:  # noqa: ARG002 - for a file
        """Is the file no database, or a damaged one? Then nothing but another file helps."""
        return False

    @abstractmethod
    async def _take_turn(self, connection: AsyncConnection) -> None:
        """Wait until no other writer is at work."""

    @abstractmethod
    async def _take_time(self, connection: AsyncConnection) -> None:
        """Let the transaction take as long as it has to."""

    @abstractmethod
    async def size(self) -> int:
        """Bytes on disk."""

    @abstractmethod
    async def tidy(self) -> None:
        """Leave no more on disk of rows that were deleted than the engine can't help.

        `TimeoutError` where somebody reads for so long that it has to be done again.
        """

    async def set_aside(self) -> str | None:
        """Where what can't be read any more was put, so that it begins anew; None: nowhere."""
        return None

    def put_aside(self) -> list[Path]:
        """What earlier was, and is still there."""
        return []


class PostgresDatabase(Database):
    """A PostgreSQL server, which replicas share."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        place = URL.create(
            "postgresql", host=parsed.host, port=parsed.port, database=parsed.database
        )
        self.name = place.render_as_string()
        options = (
            f"-c statement_timeout={LONGEST_STATEMENT:.0f}s "
            f"-c idle_in_transaction_session_timeout={LONGEST_STATEMENT:.0f}s"  # it holds the lock
        )
        self._readers, self._writers = (
            create_async_engine(
                parsed,
                pool_size=size,
                max_overflow=0,
                pool_pre_ping=True,
                pool_timeout=BUSY,
                connect_args={
                    "connect_timeout": ceil(BUSY),
                    "options": options,
                    "async_creator_fn": _connect,
                },
            )
            for size in (READERS, WRITERS)
        )
        event.listen(self._writers.sync_engine, "handle_error", _leave_standby)

    async def _take_turn(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})

    async def _take_time(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))

    async def size(self) -> int:
        async with self.reading() as connection:
            tables = ("records", "changes", "names", "counters", "tallies")
            query = " + ".join(f"pg_total_relation_size('{table}')" for table in tables)
            found = await connection.scalar(text(f"SELECT {query}"))
            return int(found or 0)

    async def tidy(self) -> None:
        """Vacuum: dead rows are no rows any more, and their place is used again."""
        async with self._writers.connect() as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM records, changes"))


class SqliteDatabase(Database):
    """A file of this machine, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.name = f"sqlite:///{path}"
        self._opened: tuple[int, int] | None = None
        self._busy = BUSY
        self._open()

    def _open(self) -> None:
        url = f"sqlite+aiosqlite:///{self._path}"
        self._readers, self._writers = (
            create_async_engine(
                url,
                pool_size=size,
                max_overflow=0,
                pool_timeout=BUSY,
                connect_args={"timeout": seconds},
            )
            for size, seconds in ((READERS, READER_BUSY), (1, BUSY))
        )
        for engine, begin in ((self._writers, self._begin_writing), (self._readers, _begin)):
            event.listen(engine.sync_engine, "connect", _set_up)
            event.listen(engine.sync_engine, "begin", begin)
        self._quick = create_engine(
            f"sqlite:///{self._path}",
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=BUSY,
            connect_args={"timeout": READER_BUSY},
            isolation_level="AUTOCOMMIT",
        )
        event.listen(self._quick, "connect", _set_up)

    async def find(self, keys: Sequence[StatusKey]) -> dict[StatusKey, Kept]:
        """In one trip to a thread: aiosqlite makes one for each call, which is most of a miss."""
        return await asyncio.to_thread(self._find, keys)

    def _find(self, keys: Sequence[StatusKey]) -> dict[StatusKey, Kept]:
        with self._quick.connect() as connection:
            return kept_in(connection.execute(*by_key(keys, *ENTRY)))

    async def aclose(self) -> None:
        await super().aclose()
        await asyncio.to_thread(self._quick.dispose)

    async def migrate(self) -> None:
        await asyncio.to_thread(self._create)
        self._busy = MIGRATING  # another process may be at it
        try:
            await super().migrate()
        finally:
            self._busy = BUSY

    def _begin_writing(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {self._busy * 1000:.0f}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _create(self) -> None:
        """Make the file, so that it and its journals are nobody else's to read."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            self._opened = _identity(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    async def schema(self) -> Schema:
        is_there = await asyncio.to_thread(self._path.exists)
        return await super().schema() if is_there else Schema.MISSING

    async def try_writing(self) -> None:
        if await asyncio.to_thread(self._path.exists):
            await super().try_writing()
        else:
            await asyncio.to_thread(self._try_folder)

    def _try_folder(self) -> None:
        """Before there is a file, its folder is what can be tried."""
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")

    async def _take_turn(self, connection: AsyncConnection) -> None:
        """`BEGIN IMMEDIATE` did."""

    async def _take_time(self, connection: AsyncConnection) -> None:
        """It does."""

    async def size(self) -> int:
        return await asyncio.to_thread(self._bytes)

    def _bytes(self) -> int:
        return sum(file.stat().st_size for file in self._files() if file.exists())

    def _files(self) -> list[Path]:
        return [self._path.with_name(self._path.name + end) for end in ("", "-wal", "-shm")]

    async def tidy(self) -> None:
        """Write the file anew, and empty its journal.

        `secure_delete` overwrites what is deleted, but not the copies that are left in a page when
        its rows were moved to another one (SQLite 3.40: of one number in eighty).
        """
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{self._path}",
            connect_args={"timeout": BUSY},
            isolation_level="AUTOCOMMIT",
        )
        event.listen(engine.sync_engine, "connect", _set_up)
        try:
            async with engine.connect() as connection:
                run = connection.exec_driver_sql
                await run("PRAGMA temp_store = FILE")  # for it may be larger than the memory
                await run("VACUUM")
                is_busy = (await run("PRAGMA wal_checkpoint(TRUNCATE)")).scalar_one()
        finally:
            await engine.dispose()
        if is_busy:
            raise TimeoutError(
                "what was deleted is still in the journal, for somebody reads it: do it again"
            )

    def is_broken(self, error: BaseException) -> bool:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _BROKEN

    async def set_aside(self) -> str | None:
        await self.aclose()
        where = await asyncio.to_thread(self._rename)
        self._open()
        self.era += 1
        return where

    def _rename(self) -> str | None:
        """Another process may have done it by now: the file that is there then is a good one."""
        with suppress(FileNotFoundError):
            if self._opened not in {None, _identity(self._path.stat())}:
                return None
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        names = (f"broken-{stamp}-{number}" for number in count(1))
        name = next(one for one in names if not self._beside(self._path, one).exists())
        for file in self._files():
            with suppress(FileNotFoundError):
                file.rename(self._beside(file, name))
        return self._beside(self._path, name).name

    def put_aside(self) -> list[Path]:
        return sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}*.broken-*"))

    @staticmethod
    def _beside(file: Path, name: str) -> Path:
        return file.with_name(f"{file.name}.{name}")


def _identity(stat: os.stat_result) -> tuple[int, int]:
    """What tells a file from another one of its name."""
    return stat.st_dev, stat.st_ino


async def _connected(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


async def _give_back(connecting: asyncio.Task[AsyncConnection]) -> None:
    """Close a connection that nobody waits for any more, once it is there."""
    await asyncio.wait({connecting}, timeout=BUSY)
    connecting.cancel()
    await asyncio.wait({connecting})
    if not connecting.cancelled() and connecting.exception() is None:
        with suppress(*TROUBLE):
            await connecting.result().close()


def _leave_standby(context: ExceptionContext) -> None:
    """After a failover the connections that are there lead to what is the standby now."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapted connection
    """Each connection: transactions by our own `BEGIN`, quick and safe commits, real deletion."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",  # a crash of the machine may cost the last commits, never the file
        "secure_delete = ON",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _upgrade(connection: Connection) -> None:
    if _look(connection) is not Schema.CURRENT:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _look(connection: Connection) -> Schema:
    scripts = ScriptDirectory.from_config(_config())
    present = MigrationContext.configure(connection).get_current_revision()
    if present is None:
        return Schema.MISSING
    try:
        scripts.get_revision(present)
    except CommandError:
        raise NewerSchemaError(
            f"The archive was written by a newer release (its schema is {present}): install "
            "that one, or name another database in GATEWAY_ARCHIVE_URL."
        ) from None
    return Schema.CURRENT if present == scripts.get_current_head() else Schema.OLDER


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


async def _connect(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - psycopg's own
    """A connection to PostgreSQL that whoever waits for it may leave at any time.

    psycopg asks the server to cancel what is under way, and waits ten seconds for that; one that
    says nothing any more would keep its callers, and the end of the process, waiting.
    """
    from psycopg import AsyncConnection as Connected  # noqa: PLC0415 - an extra
    from psycopg import waiting  # noqa: PLC0415 - an extra

    class Connection(Connected[Any]):
        async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as above
            try:
                return await waiting.wait_async(gen, self.pgconn.socket, interval, timeout)
            except asyncio.CancelledError:
                self.pgconn.finish()
                raise

    return await Connection.connect(*arguments, **options)
