"""The archive in a file of this machine, SQLite's."""

import asyncio
import glob
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Concatenate, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from gateway.archive.database import (
    BUSY,
    MIGRATING,
    READERS,
    Database,
    Given,
    Lead,
    Result,
    Schema,
    upgrade,
)

READER_BUSY: Final = 1.0
"""Seconds that a reader waits where another process keeps the whole file to itself."""

_LOCKED: Final = 5
"""Likewise BUSY."""

_TICK: Final = 0.02

_BROKEN: Final = {11, 26}
"""SQLite's result codes CORRUPT and NOTADB (https://sqlite.org/rescode.html); the extended ones
have them in their lowest byte."""


class SqliteDatabase(Database):
    """A file of this machine, readable by its owner alone.

    Its functions run in threads, each in one trip: a trip for each statement, as an asynchronous
    driver makes it, costs several times what the statement does.
    """

    def __init__(self, path: Path, account: str = "") -> None:
        self.account = account
        self._path = path
        self.name = f"sqlite:///{path}"
        self._opened: tuple[int, int] | None = None
        self._busy = BUSY
        self._reading = ThreadPoolExecutor(READERS, "archive-reader")
        self._writing = ThreadPoolExecutor(1, "archive-writer")
        self._readers = self._engine(READERS, READER_BUSY, _begin)
        self._writers = self._engine(1, BUSY, self._begin_writing)

    def _engine(self, size: int, busy: float, begin: Callable[[Connection], None]) -> Engine:
        engine = create_engine(
            f"sqlite:///{self._path}",
            pool_size=size,
            max_overflow=0,
            connect_args={"timeout": busy},
        )
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", begin)
        return engine

    async def read(
        self,
        query: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        doing = partial(_run, self._readers, self._own(query), *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._reading, doing)

    async def write(
        self,
        change: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        doing = partial(_run, self._writers, self._own(change), *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._writing, doing)

    async def try_lead(self) -> Lead | None:
        return await asyncio.to_thread(self._try_lead)

    def _try_lead(self) -> Lead | None:
        """By a lock on a file beside it, which the system takes back when the process has ended."""
        descriptor = os.open(self._beside(self._path, "lead"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            import fcntl  # noqa: PLC0415 - Windows has none, and then every process leads

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            return None
        return _Lead(descriptor)

    async def migrate(self) -> None:
        await asyncio.to_thread(self._create)
        self._busy = MIGRATING  # another process may be at it
        try:
            await self.write(upgrade)
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
        await asyncio.to_thread(self._tidy)

    def _tidy(self) -> None:
        engine = create_engine(
            f"sqlite:///{self._path}",
            connect_args={"timeout": BUSY},
            isolation_level="AUTOCOMMIT",
        )
        event.listen(engine, "connect", _set_up)
        try:
            with engine.connect() as connection:
                run = connection.exec_driver_sql
                run("PRAGMA temp_store = FILE")  # for it may be larger than the memory
                run("VACUUM")
                is_busy = run("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
        finally:
            engine.dispose()
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

    def _in_use(self) -> bool:
        pools: list[Any] = [self._readers.pool, self._writers.pool]
        return any(pool.checkedout() for pool in pools)

    async def _dispose(self) -> None:
        for engine in (self._readers, self._writers):
            await asyncio.to_thread(engine.dispose)


class _Lead:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def holds(self) -> bool:
        return True

    async def aclose(self) -> None:
        os.close(self._descriptor)


def _run(engine: Engine, query: Callable[..., Result], *args: object, **kwargs: object) -> Result:
    with engine.begin() as connection:
        return query(connection, *args, **kwargs)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    """What tells a file from another one of its name."""
    return stat.st_dev, stat.st_ino


def _set_up(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
    """Each connection: transactions by our own `BEGIN`, quick and safe commits, real deletion."""
    connection.isolation_level = None
    cursor = connection.cursor()
    _keep_a_journal(connection, cursor)
    for pragma in (
        "synchronous = NORMAL",  # a crash of the machine may cost the last commits, never the file
        "secure_delete = ON",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}").fetchall()  # only that raises what fails
    cursor.close()


def _keep_a_journal(connection: Any, cursor: Any) -> None:  # noqa: ANN401 - as above
    """By WAL. While others open a new file as well SQLite waits for none of them, so we do."""
    end = time.monotonic() + BUSY
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL").fetchall()
        except connection.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != _LOCKED or time.monotonic() >= end:
                raise
            time.sleep(_TICK)
        else:
            return


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
