"""The numbers that stand for states and sources in the tables, and what follows from a state.

A state is numbered together with its kind: `kind`, `state`, `stateGroup` and `isFinal` all follow
from the number, so one index serves filters by any of them. Numbers are never changed or reused.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from gateway.model.records import (
    FreshnessSource,
    HlrLookup,
    LookupState,
    Message,
    MessageState,
    Record,
    StateGroup,
)


class StoredState(NamedTuple):
    """A state of one kind of record. `group` is None for lookups, which have none."""

    kind: type[Record]
    state: MessageState | LookupState
    group: StateGroup | None
    is_final: bool


def _message(state: MessageState, group: StateGroup) -> StoredState:
    return StoredState(Message, state, group, group in {StateGroup.DELIVERED, StateGroup.FAILED})


def _lookup(state: LookupState) -> StoredState:
    pending = {LookupState.PENDING, LookupState.UNKNOWN}
    return StoredState(HlrLookup, state, None, state not in pending)


STATES: Final[dict[int, StoredState]] = {
    1: _message(MessageState.QUEUED, StateGroup.PENDING),
    2: _message(MessageState.PAUSED, StateGroup.PENDING),
    3: _message(MessageState.SENT, StateGroup.PENDING),
    4: _message(MessageState.DELIVERED, StateGroup.DELIVERED),
    5: _message(MessageState.READ, StateGroup.DELIVERED),
    6: _message(MessageState.CLICKED, StateGroup.DELIVERED),
    7: _message(MessageState.EXPIRED, StateGroup.FAILED),
    8: _message(MessageState.UNDELIVERABLE, StateGroup.FAILED),
    9: _message(MessageState.REJECTED, StateGroup.FAILED),
    10: _message(MessageState.UNKNOWN, StateGroup.UNKNOWN),
    21: _lookup(LookupState.PENDING),
    22: _lookup(LookupState.COMPLETED),
    23: _lookup(LookupState.EXPIRED),
    24: _lookup(LookupState.FAILED),
    25: _lookup(LookupState.UNKNOWN),
}

_NUMBERS: Final = {(stored.kind, stored.state): number for number, stored in STATES.items()}


def number_of(record: Record) -> int:
    """The number of a record's state."""
    return _NUMBERS[type(record), record.state]


class Source(IntEnum):
    """How a state was learned."""

    ASKED = 0
    PUSHED = 1
    IMPORTED = 2

    @property
    def shown(self) -> FreshnessSource:
        """What callers are told."""
        return _SHOWN[self]


_SHOWN = {
    Source.ASKED: FreshnessSource.LIVE,
    Source.PUSHED: FreshnessSource.CALLBACK,
    Source.IMPORTED: FreshnessSource.CACHE,
}
