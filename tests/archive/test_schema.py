"""The migrations make what `tables` says, on both engines."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from gateway.archive.database import Database
from gateway.archive.tables import METADATA

pytestmark = pytest.mark.anyio


async def test_migrations_and_tables_agree(database: Database) -> None:
    def differences(connection: Connection) -> object:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)

    assert await database.read(differences) == []
