"""The changes of their state beside records that are shown, and who may see what is kept.

GraphQL uses this too.
"""

from collections.abc import Sequence

from gateway.archive.archive import Archive
from gateway.callers.model import Caller, Scope, require
from gateway.errors import ArchiveOff
from gateway.model.records import Record, StateChange, StatusKey
from gateway.web.projection import pick_all, reader, to_json

_READ = reader(pick_all(StateChange))


def archive_for(caller: Caller, archive: Archive | None) -> Archive:
    """The archive, for a caller who may list what is kept; else `Forbidden` or `ArchiveOff`."""
    require(caller, Scope.RECORD_LIST)
    if archive is None:
        raise ArchiveOff
    return archive


async def histories_of(archive: Archive, records: Sequence[Record]) -> list[list[StateChange]]:
    """The history of each record, in whichever spelling of its number it is kept."""
    found = await archive.histories([key for record in records for key in _spelled(record.key)])
    return [
        next((found[key] for key in _spelled(record.key) if found[key]), []) for record in records
    ]


def _spelled(key: StatusKey) -> list[StatusKey]:
    return [key] if key.respelled is None else [key, key.respelled]


def with_history(record: bytes, changes: Sequence[StateChange]) -> bytes:
    """A record's JSON with its history as the last member."""
    return record[:-1] + b',"history":' + to_json([_READ(one) for one in changes]) + b"}"
