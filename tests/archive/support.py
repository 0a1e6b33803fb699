"""Records to archive."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Executable, Select, create_engine, text

from gateway.archive.archive import Archive, open_database
from gateway.archive.database import Database
from gateway.model.freshness import CacheEntry
from gateway.model.records import HlrLookup, Message, Record, StatusKey
from gateway.smsc.normalise import normalise
from gateway.smsc.row import Row
from tests.support.gateway import settings

T0 = 1_768_471_200
"""2026-01-15T10:00:00Z"""
PHONE = "79990000001"


def key(id: int = 1, phone: str = PHONE) -> StatusKey:
    return StatusKey(phone, id)


def entry(
    of: StatusKey,
    status: int = 1,
    *,
    at: int = T0 + 20,
    kind: type[Record] = Message,
    **fields: Any,  # noqa: ANN401 - the provider's fields
) -> CacheEntry:
    """What the gateway knows after an answer of the provider at `at`."""
    row = {
        "status": str(status),
        "id": str(of.id),
        "phone": of.phone,
        "send_timestamp": str(T0),
        "last_timestamp": str(at - 5),
        **{name: str(value) for name, value in fields.items()},
    }
    found = normalise(Row(row), of, asked=kind, zone=settings().zone)
    assert found is not None
    record = replace(found.record, changed_at=datetime.fromtimestamp(at, UTC))
    return CacheEntry(record, at, at + 7200)


LOOKUP = HlrLookup


async def rows_in(archive: Archive | Database, query: Executable) -> Sequence[Any]:
    """What a query finds."""
    return await archive.read(lambda connection: connection.execute(query).all())


async def value_in(archive: Archive | Database, query: Select[Any]) -> Any:  # noqa: ANN401 - any column's
    """The one value that it finds, or the first."""
    return await archive.read(lambda connection: connection.scalar(query))


async def run_in(database: Database, *statements: Executable) -> None:
    """Execute these in one transaction."""

    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await database.write(run)


@contextmanager
def elsewhere(url: str) -> Iterator[Connection]:
    """A transaction of another process, which is open all the time."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


async def set_revision(url: str, revision: str) -> None:
    """Have the database say that another release wrote it."""
    database = open_database(url)
    await run_in(
        database,
        text("UPDATE alembic_version SET version_num = :revision").bindparams(revision=revision),
    )
    await database.aclose()
