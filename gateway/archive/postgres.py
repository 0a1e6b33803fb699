"""The archive on a PostgreSQL server, which replicas share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from math import ceil
from typing import Any, Concatenate, Final

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.archive.database import (
    BUSY,
    LONGEST_STATEMENT,
    MIGRATING,
    READERS,
    TROUBLE,
    Database,
    Given,
    Lead,
    Result,
    upgrade,
)
from gateway.archive.tables import METADATA

LOCK: Final = 0x736D7363
"""The advisory lock of those who write to one database: `smsc` in ASCII."""

LEAD: Final = LOCK + 1
"""The advisory lock of the one process that has the lead."""

KEEP_ALIVE: Final = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"
)
"""The server's own look at whether we are still there: 15 seconds after a machine was lost, what it
locked is free."""

LISTENERS: Final = 1
"""Connections that hear of what others write."""

WRITERS: Final = 3
"""Connections that write: for what was learned, for what is deleted beside it, and for what was
delivered."""

CHANNEL: Final = "smsc_gateway"
"""What listeners are told on, as a transaction is committed."""

_POOLS: Final = ((READERS + LISTENERS, "REPEATABLE READ"), (WRITERS, "READ COMMITTED"))
"""Connections that read, each of one state of the database, and that write."""

_TAKE_TURN: Final = text(f"SELECT pg_advisory_xact_lock({LOCK}), pg_notify('{CHANNEL}', '')")

_READ_ONLY: Final = "25006"
"""The SQLSTATE of a write to a standby: one that was the primary when it was reached."""


class PostgresDatabase(Database):
    """A PostgreSQL server, which replicas share."""

    def __init__(self, url: str, account: str = "") -> None:
        self.account = account
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        place = URL.create(
            "postgresql", host=parsed.host, port=parsed.port, database=parsed.database
        )
        self.name = place.render_as_string()
        self._unwanted: set[asyncio.Task[None]] = set()
        options = (
            f"-c statement_timeout={LONGEST_STATEMENT:.0f}s "
            f"-c idle_in_transaction_session_timeout={LONGEST_STATEMENT:.0f}s "  # it holds the lock
            f"{KEEP_ALIVE}"
        )
        self._leaders = create_async_engine(
            parsed,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={
                "connect_timeout": ceil(BUSY),
                "options": options,
                "async_creator_fn": _connect,
            },
        )
        self._readers, self._writers = (
            create_async_engine(
                parsed,
                pool_size=size,
                max_overflow=0,
                pool_pre_ping=True,
                pool_timeout=BUSY,
                isolation_level=isolation,
                connect_args={
                    "connect_timeout": ceil(BUSY),
                    "options": options,
                    "async_creator_fn": _connect,
                },
            )
            for size, isolation in _POOLS
        )
        event.listen(self._writers.sync_engine, "handle_error", _leave_standby)

    async def read(
        self,
        query: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        with _cancelled_as_such():
            async with self._connected(self._readers) as connection, connection.begin():
                return await connection.run_sync(self._own(query), *args, **kwargs)

    async def write(
        self,
        change: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        with _cancelled_as_such():
            async with self._connected(self._writers) as connection, connection.begin():
                await connection.run_sync(_take_turn)
                return await connection.run_sync(self._own(change), *args, **kwargs)

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

    async def try_lead(self) -> Lead | None:
        with _cancelled_as_such():
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(self._connected(self._leaders))
                taken = await connection.scalar(text(f"SELECT pg_try_advisory_lock({LEAD})"))
                if not taken:
                    return None
                return _Lead(connection, stack.pop_all())

    async def migrate(self) -> None:
        async with asyncio.timeout(MIGRATING):
            await self.write(_upgrade)

    async def listen(self, heard: Callable[[], None]) -> None:
        from psycopg import Error  # noqa: PLC0415 - an extra

        async with self._readers.connect() as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text(f"LISTEN {CHANNEL}"))
            heard()
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                async for _ in driver.notifies():
                    heard()
            except Error as error:  # SQLAlchemy knows nothing of it
                raise ConnectionError(str(error)) from None
            finally:
                await connection.invalidate()

    async def size(self) -> int:
        tables = METADATA.tables
        query = " + ".join(f"pg_total_relation_size('{table}')" for table in tables)
        return await self.read(lambda connection: connection.scalar(text(f"SELECT {query}")) or 0)

    async def tidy(self) -> None:
        """Vacuum: dead rows are no rows any more, and their place is used again."""
        async with self._writers.connect() as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM records, changes"))

    def _in_use(self) -> bool:
        pools: list[Any] = [self._readers.pool, self._writers.pool]
        return bool(self._unwanted) or any(pool.checkedout() for pool in pools)

    async def _dispose(self) -> None:
        await self._readers.dispose()
        await self._writers.dispose()
        await self._leaders.dispose()


class _Lead:
    """The lead belongs to whose connection holds the lock: it ends with it."""

    def __init__(self, connection: AsyncConnection, stack: AsyncExitStack) -> None:
        self._connection = connection
        self._stack = stack

    async def holds(self) -> bool:
        try:
            async with asyncio.timeout(BUSY):
                await self._connection.execute(text("SELECT 1"))
        except TROUBLE:
            return False
        return True

    async def aclose(self) -> None:
        await self._stack.aclose()


@contextmanager
def _cancelled_as_such() -> Iterator[None]:
    """Of a cancellation that meets them in the middle, drivers make errors of other kinds."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except Exception:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise


def _take_turn(connection: Connection) -> None:
    """Wait until no other writer is at work, and have those who listen told at the end."""
    connection.execute(_TAKE_TURN)


def _upgrade(connection: Connection) -> None:
    connection.execute(text("SET LOCAL statement_timeout = 0"))  # it takes as long as it has to
    upgrade(connection)


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
