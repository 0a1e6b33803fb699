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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

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
    _readers: AsyncEngine
    _writers: AsyncEngine

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection that reads, in one transaction."""
        async with self._readers.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection that writes, in a transaction that no other writer's overlaps."""
        async with self._writers.begin() as connection:
            await self._take_turn(connection)
            yield connection

    async def migrate(self) -> None:
        """Bring the schema up to date; `NewerSchemaError` where it is beyond this release's."""
        async with self.writing() as connection:
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
        """Close all connections."""
        await self._readers.dispose()
        if self._writers is not self._readers:
            await self._writers.dispose()

    @abstractmethod
    async def _take_turn(self, connection: AsyncConnection) -> None:
        """Wait until no other writer is at work."""

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
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        place = URL.create(
            "postgresql", host=parsed.host, port=parsed.port, database=parsed.database
        )
        self.name = place.render_as_string()
        self._readers = self._writers = create_async_engine(
            parsed,
            pool_size=READERS + 1,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=BUSY,
            connect_args={
                "connect_timeout": int(BUSY),
                "options": f"-c statement_timeout={LONGEST_STATEMENT:.0f}s",
            },
        )

    async def _take_turn(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})

    async def size(self) -> int:
        async with self.reading() as connection:
            tables = ("records", "changes", "names", "counters")
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
        self._path = path
        self.name = f"sqlite:///{path}"
        self._open()

    def _open(self) -> None:
        url = f"sqlite+aiosqlite:///{self._path}"
        connect = {"timeout": BUSY}
        self._writers = create_async_engine(url, pool_size=1, max_overflow=0, connect_args=connect)
        self._readers = create_async_engine(
            url, pool_size=READERS, max_overflow=0, pool_timeout=BUSY, connect_args=connect
        )
        for engine, begin in ((self._writers, "BEGIN IMMEDIATE"), (self._readers, "BEGIN")):
            event.listen(engine.sync_engine, "connect", _set_up)
            event.listen(engine.sync_engine, "begin", _beginning_by(begin))

    async def migrate(self) -> None:
        await asyncio.to_thread(self._create)
        await super().migrate()

    def _create(self) -> None:
        """Make the file, so that it and its journals are nobody else's to read."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))

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

    async def set_aside(self) -> str | None:
        await self.aclose()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        for file in self._files():
            with suppress(FileNotFoundError):
                file.rename(file.with_name(f"{file.name}.broken-{stamp}"))
        self._open()
        return f"{self._path.name}.broken-{stamp}"

    def put_aside(self) -> list[Path]:
        return sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}*.broken-*"))


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


def _beginning_by(statement: str) -> Any:  # noqa: ANN401 - SQLAlchemy's listener
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin


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


def is_broken(error: BaseException) -> bool:
    """Is the file itself no database, or a damaged one? Then nothing but another file helps."""
    words = str(error.orig) if isinstance(error, DBAPIError) else ""
    return "malformed" in words or "not a database" in words
