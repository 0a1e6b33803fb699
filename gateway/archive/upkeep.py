"""What an operator does with all records that match a filter."""

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select, update

from gateway.archive.codec import pack
from gateway.archive.filters import RecordFilter
from gateway.archive.listing import numbered, where
from gateway.archive.names import Names
from gateway.archive.rows import readable
from gateway.archive.tables import RECORDS
from gateway.model.freshness import serves_stale, spent
from gateway.model.records import StatusKey


def keys_of(
    connection: Connection, names: Names, wanted: RecordFilter, at_most: int
) -> list[StatusKey]:
    """The keys of the records that match, in no order."""
    conditions = numbered(connection, names, wanted)
    if conditions is None:
        return []
    query = select(RECORDS.c.phone, RECORDS.c.id).where(*where(conditions)).limit(at_most)
    return [StatusKey(phone, id_) for phone, id_ in connection.execute(query)]


def spend(connection: Connection, numbers: Collection[int], now: float) -> None:
    """Have the records with these numbers answer nobody any more before they are asked for anew."""
    query = select(RECORDS.c.no, RECORDS.c.entry).where(RECORDS.c.no.in_(list(numbers)))
    rows = []
    for no, packed in connection.execute(query):
        entry = readable(packed)
        if entry is not None and serves_stale(entry, now):
            rows.append({"of": no, "spent": pack(spent(entry, now), content=True)})
    if rows:
        changed = update(RECORDS).where(RECORDS.c.no == bindparam("of"))
        connection.execute(changed.values(entry=bindparam("spent")), rows)
