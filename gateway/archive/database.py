"""What the archive asks of a database, which is SQLite's or PostgreSQL's, and its schema.

All that differs between the two engines is in `sqlite` and `postgres`: how writers take turns, what
makes a file private and quick, and how trouble looks.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.archive.account import acting_for

Given = ParamSpec("Given")
Result = TypeVar("Result")

MIGRATIONS: Final = Path(__file__).parent / "migrations"

BUSY: Final = 5.0
"""Seconds to wait for another process that writes, or for a server to be reached."""

LONGEST_STATEMENT: Final = 60.0
"""Seconds for one statement in PostgreSQL: more than any needs that helps somebody."""

READERS: Final = 4
"""Connections that read at the same time."""

GOODBYE: Final = 1.0
"""Seconds for connections in use to be given back, before all are closed."""

_TICK: Final = 0.01

MIGRATING: Final = 600.0
"""Seconds for a migration, one by another process included; one that takes longer hangs."""

TROUBLE: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What a database that is away, locked, full or broken makes of a statement."""


class NewerSchemaError(Exception):
    """The database was written by a newer release; the message says so in one sentence."""


class Lead(Protocol):
    """What only one process among those that share a database has, until it ends or loses it."""

    async def holds(self) -> bool:
        """Is it still ours?"""
        ...

    async def aclose(self) -> None:
        """Leave it to another process."""
        ...


class Schema(Enum):
    """What a database has of our tables."""

    MISSING = "no tables yet"
    OLDER = "an older schema, which the next start brings up to date"
    CURRENT = "the schema of this release"


class Database(ABC):
    """A database of the archive. `name` shows in logs: it holds no password.

    What is asked of it is a function of a connection: where that runs, and how it is waited for, is
    the engine's.
    """

    name: str
    account = ""
    """Whose rows it is asked about, where it serves several accounts at the provider."""
    era = 0
    """Counts the files that were set aside: what was read of one says nothing of the next."""

    @abstractmethod
    async def read(
        self,
        query: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """What a query finds, in one transaction."""

    @abstractmethod
    async def write(
        self,
        change: Callable[Concatenate[Connection, Given], Result],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Result:
        """Make a change, in a transaction that no other writer's overlaps.

        One whose caller is cancelled may still be made.
        """

    async def listen(self, heard: Callable[[], None]) -> None:  # noqa: B027 - for a server
        """Call `heard` when any process has written, until it is cancelled; raises `TROUBLE`.

        It returns at once where there is no way to hear of others.
        """

    @abstractmethod
    async def try_lead(self) -> "Lead | None":
        """Be the one process that does what only one may do; None: another one is it."""

    @abstractmethod
    async def migrate(self) -> None:
        """Bring the schema up to date; `NewerSchemaError` where it is beyond this release's."""

    async def schema(self) -> Schema:
        """What there is, found out without changing anything; `NewerSchemaError` as above."""
        return await self.read(look)

    async def try_writing(self) -> None:
        """Raise what keeps it from being written; nothing is changed."""
        await self.write(lambda _: None)

    async def aclose(self) -> None:
        """Close all connections, as soon as nobody uses them or a second has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                while self._in_use():  # noqa: ASYNC110 - no pool tells
                    await asyncio.sleep(_TICK)
        await self._dispose()

    def is_broken(self, error: BaseException) -> bool:  # noqa: ARG002 - for a file
        """Is the file no database, or a damaged one? Then nothing but another file helps."""
        return False

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

    def _own(
        self, work: Callable[Concatenate[Connection, Given], Result]
    ) -> Callable[Concatenate[Connection, Given], Result]:
        """The same work, about the rows of the account."""

        def of_account(
            connection: Connection, /, *args: Given.args, **kwargs: Given.kwargs
        ) -> Result:
            with acting_for(self.account):
                return work(connection, *args, **kwargs)

        return of_account

    @abstractmethod
    def _in_use(self) -> bool:
        """Does anybody use a connection?"""

    @abstractmethod
    async def _dispose(self) -> None:
        """Close all connections."""


def upgrade(connection: Connection) -> None:
    """Bring the schema up to date."""
    if look(connection) is not Schema.CURRENT:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def look(connection: Connection) -> Schema:
    """Which schema is there; `NewerSchemaError` for one beyond this release's."""
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
