"""Records to archive."""

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy import text

from gateway.archive.archive import open_database
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


async def set_revision(url: str, revision: str) -> None:
    """Have the database say that another release wrote it."""
    database = open_database(url)
    async with database.writing() as connection:
        await connection.execute(
            text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
        )
    await database.aclose()
