"""Opens the archive's database, SQLite or PostgreSQL, and brings its schema up to date.

All that differs between the two engines is here: how writers take turns, what makes a file private
and quick, and how trouble looks.
"""

import asyncio
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
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
        """Leave nothing on disk of rows that were deleted."""

    async def set_aside(self) -> str | None:
        """Where what can't be read any more was put, so that it begins anew; None: nowhere."""
        return None


class PostgresDatabase(Database):
    """A PostgreSQL server, which replicas share."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        self.name = parsed.set(username=None, password=None, query={}).render_as_string()
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
            tables = ("records", "changes", "names", "counters", "tallies")
            query = " + ".join(f"pg_total_relation_size('{table}')" for table in tables)
            found = await connection.scalar(text(f"SELECT {query}"))
            return int(found or 0)

    async def tidy(self) -> None:
        """Vacuum: dead rows are overwritten, and given back where they are at the end."""
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

    async def _take_turn(self, connection: AsyncConnection) -> None:
        """`BEGIN IMMEDIATE` did."""

    async def size(self) -> int:
        return await asyncio.to_thread(self._bytes)

    def _bytes(self) -> int:
        return sum(file.stat().st_size for file in self._files() if file.exists())

    def _files(self) -> list[Path]:
        return [self._path.with_name(self._path.name + end) for end in ("", "-wal", "-shm")]

    async def tidy(self) -> None:
        """`secure_delete` has overwritten them in the file; what is left is in the journal."""
        async with self._writers.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None  # noqa: S101 - for mypy: it is connected
            await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def set_aside(self) -> str | None:
        await self.aclose()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        for file in self._files():
            with suppress(FileNotFoundError):
                file.rename(file.with_name(f"{file.name}.broken-{stamp}"))
        self._open()
        return f"{self._path.name}.broken-{stamp}"


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
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None:
        try:
            scripts.get_revision(present)
        except CommandError:
            raise NewerSchemaError(
                f"The archive was written by a newer release (its schema is {present}): install "
                "that one, or name another database in GATEWAY_ARCHIVE_URL."
            ) from None
    if present != scripts.get_current_head():
        command.upgrade(config, "head")


def is_broken(error: BaseException) -> bool:
    """Is the file itself no database, or a damaged one? Then nothing but another file helps."""
    words = str(error.orig) if isinstance(error, DBAPIError) else ""
    return "malformed" in words or "not a database" in words
