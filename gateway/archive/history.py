"""The changes of a record's state, oldest first."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from gateway.archive.names import Names
from gateway.archive.states import STATES, Source
from gateway.archive.tables import CHANGES
from gateway.model.records import Message, ProviderStatus, Record, RecordState, StateChange
from gateway.smsc import codes


def histories(
    connection: Connection, names: Names, records: Iterable[int]
) -> dict[int, list[StateChange]]:
    """The changes of each of these records, by its number."""
    found: dict[int, list[StateChange]] = {number: [] for number in records}
    if not found:
        return found
    query = select(CHANGES).where(CHANGES.c.record.in_(list(found))).order_by(CHANGES.c.no)
    rows = connection.execute(query).all()
    words = names.names(connection, {row.status_text for row in rows if row.status_text})
    for row in rows:
        found[row.record].append(change_of(row, words))
    return found


def change_in(record: Record, source: Source) -> StateChange:
    """The change that brought a record to its state."""
    at = record.changed_at
    assert at is not None  # noqa: S101 - whoever learned it has set it
    return StateChange(
        at=at,
        state=RecordState[record.state.name],
        state_group=record.state_group if isinstance(record, Message) else None,
        is_final=record.is_final,
        provider_status=record.provider_status,
        error=record.error,
        source=source.shown,
        last_status_time=record.last_status_time,
    )


def change_of(row: Row[Any], words: Mapping[int, str]) -> StateChange:
    """A row of `changes` as callers see it."""
    stored = STATES[row.state]
    name = codes.STATUSES.get(row.status, codes.UNKNOWN_STATUS).name
    text = None if row.status_text is None else words[row.status_text]
    error = None if row.provider_error is None else codes.delivery_error(row.provider_error)
    return StateChange(
        at=moment(row.at),
        state=RecordState[stored.state.name],
        state_group=stored.group,
        is_final=stored.is_final,
        provider_status=ProviderStatus(code=row.status, name=name, text=text),
        error=error,
        source=Source(row.source).shown,
        last_status_time=moment(row.last_status_at) if row.last_status_at else None,
    )


def moment(seconds: int) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC)
