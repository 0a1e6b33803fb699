"""Merges two records of one message: the state only moves forward.

The state moves as one bundle (status, error, time …); it is taken over when it is further on, or
as far on and not older. Everything else is filled in field by field, so that a less detailed or
older answer never erases what is known.
"""

from datetime import datetime
from typing import NamedTuple

from msgspec.structs import asdict, replace

from gateway.model.freshness import CacheEntry
from gateway.model.records import (
    DetailLevel,
    HlrLookup,
    LookupState,
    Message,
    MessageState,
    MessageType,
    Network,
    Porting,
    PortingStatus,
    ProviderStatus,
    Reachability,
    Record,
    Roaming,
    RoamingStatus,
    Subscriber,
)

MESSAGE_RANK = {
    MessageState.QUEUED: 0,
    MessageState.PAUSED: 0,
    MessageState.SENT: 1,
    MessageState.UNKNOWN: 1,
    MessageState.EXPIRED: 2,
    MessageState.UNDELIVERABLE: 2,
    MessageState.REJECTED: 2,
    MessageState.DELIVERED: 3,
    MessageState.READ: 4,
    MessageState.CLICKED: 5,
}
"""How far a message is. A failure may turn out a delivery after all, never the other way."""

_LOOKUP_RANK = {
    LookupState.PENDING: 0,
    LookupState.UNKNOWN: 1,
    LookupState.EXPIRED: 2,
    LookupState.FAILED: 2,
    LookupState.COMPLETED: 3,
}

_STATE = ("state", "is_final", "error", "provider_status", "last_status_time")
_BUNDLES: dict[type[Record], tuple[str, ...]] = {
    Message: (*_STATE, "state_group", "rejection_reason", "smpp"),
    HlrLookup: (*_STATE, "reachability", "reachable"),
}
"""The fields that only make sense together: they are one record's or the other's, never mixed."""


class Observed(NamedTuple):
    """A record, and the level of detail up to which all its fields are known for its state."""

    record: Record
    detail: DetailLevel


def merge(before: Observed, after: Observed, *, moved: bool | None = None) -> Observed:
    """Join two records of one kind about one key; `after` was observed later.

    `moved` tells whether its state is the newer one, None: the states themselves tell. After a new
    state was seen with less detail, the level of what is known is less.
    """
    known, news = before.record, after.record
    moved = _is_newer(known, news) if moved is None else moved
    older, newer = (known, news) if moved else (news, known)
    same_status = known.provider_status.code == news.provider_status.code
    values: dict[str, object] = {}
    for name in news.__struct_fields__:
        if name == "changed_at":
            values[name] = _changed_at(known, news, newer)
        elif name not in _BUNDLES[type(news)]:
            values[name] = _filled(getattr(news, name), getattr(known, name))
        elif same_status:
            values[name] = _filled(getattr(newer, name), getattr(older, name))
        else:
            values[name] = getattr(newer, name)
    is_changed = moved and not same_status
    keeps_detail = is_changed or after.detail.covers(before.detail)
    return Observed(replace(news, **values), after.detail if keeps_detail else before.detail)


def combine(before: CacheEntry, news: CacheEntry) -> CacheEntry:
    """Join what two processes know of one key, or what one learned at two times."""
    if news.deleted:
        return news
    older, newer = sorted((before, news), key=lambda entry: entry.observed_at)
    if older.record is None or newer.record is None:
        return newer if newer.record is not None or older.record is None else older
    if type(older.record) is not type(newer.record):
        return older if older.certain and not newer.certain else newer
    record, detail = merge(
        Observed(older.record, older.detail), Observed(newer.record, newer.detail)
    )
    return replace(
        newer,
        record=record,
        detail=detail,
        certain=older.certain or newer.certain,
        content=older.content or newer.content,
    )


def same_state(one: Record | None, other: Record | None) -> bool:
    """Is their state the same? Times and details may differ."""
    if one is None or other is None:
        return one is other
    return type(one) is type(other) and _state_of(one) == _state_of(other)


def _state_of(record: Record) -> tuple[int, int | None]:
    error = record.error
    return record.provider_status.code, None if error is None else error.provider_code


def _changed_at(known: Record, news: Record, newer: Record) -> datetime | None:
    """When the state of the newer one was learned first."""
    if not same_state(known, news):
        return newer.changed_at
    times = [one.changed_at for one in (known, news) if one.changed_at is not None]
    return min(times, default=None)


def _is_newer(known: Record, news: Record) -> bool:
    """Further on wins; of two as far on, the one that is not older."""
    before, after = rank(known), rank(news)
    if before != after:
        return after > before
    if known.last_status_time is None or news.last_status_time is None:
        return True
    return news.last_status_time >= known.last_status_time


def rank(record: Record) -> int:
    """How far it is, among those of its kind."""
    if isinstance(record, Message):
        return MESSAGE_RANK[record.state]
    return _LOOKUP_RANK[record.state]


_SAYS_NOTHING: tuple[object, ...] = (
    None,
    MessageType.UNKNOWN,
    Reachability.UNDETERMINED,
    Porting(status=PortingStatus.UNKNOWN),
    Roaming(status=RoamingStatus.UNKNOWN),
)


def _filled(new: object, old: object) -> object:
    """`new` where it says something, else `old`; subscribers and networks field by field."""
    if new in _SAYS_NOTHING:
        return old
    if isinstance(new, Subscriber | Network | ProviderStatus) and isinstance(old, type(new)):
        gaps = {name: getattr(old, name) for name, value in asdict(new).items() if value is None}
        return replace(new, **gaps)
    return new
