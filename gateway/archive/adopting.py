"""Gives an account what was kept before there were several: the rows without a name."""

from typing import Final

from sqlalchemy import Connection, Select, Table, literal, select, update

from gateway.archive.account import account, own
from gateway.archive.changes import FORGOTTEN
from gateway.archive.tables import COUNTERS, DELIVERIES, FOLLOWS, RECORDS, TALLIES, WEBHOOKS
from gateway.archive.tallies import SEEN

_TABLES: Final = (RECORDS, TALLIES, WEBHOOKS, DELIVERIES, FOLLOWS)


class OccupiedError(Exception):
    """The account has rows of its own already."""


def adopt(connection: Connection) -> int:
    """Give them to the account, all in one transaction; how many records there were.

    Raises `OccupiedError`: which of two records of a message is the newer is not for SQL to tell.
    """
    name = account()
    if any(connection.scalar(_first(table, name)) for table in _TABLES):
        raise OccupiedError
    records = 0
    for table in _TABLES:
        moved = connection.execute(update(table).where(table.c.account == "").values(account=name))
        records = moved.rowcount if table is RECORDS else records
    for counter in (SEEN, FORGOTTEN):
        renamed = update(COUNTERS).where(COUNTERS.c.name == counter).values(name=own(counter))
        connection.execute(renamed)
    return records


def _first(table: Table, name: str) -> Select[int]:
    return select(literal(1)).select_from(table).where(table.c.account == name).limit(1)
