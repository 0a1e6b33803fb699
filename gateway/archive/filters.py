"""What lists, summaries and exports are restricted to, as callers name it.

A filter is read once, from strings: the query of a URL, or the arguments of a GraphQL field.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from gateway.archive.states import STATES
from gateway.errors import InvalidArgument, shortened
from gateway.model.records import (
    MAX_ID,
    DeliveryErrorCode,
    HlrLookup,
    LookupState,
    Message,
    MessageState,
    StateGroup,
    other_spelling,
    parse_phone,
)

T = TypeVar("T")

MOST_VALUES: Final = 100
"""Values of one filter: each is looked for by itself."""


class RecordFilter(NamedTuple):
    """Which records are meant; None: any. All that are given must hold.

    `states` are numbers of `states.STATES`, for kind, state, group and finality together. Times are
    whole seconds since 1970: from each `…_after` on, and before each `…_before`.
    """

    phones: tuple[str, ...] | None = None
    ids: tuple[int, ...] | None = None
    states: frozenset[int] | None = None
    errors: tuple[str, ...] | None = None
    operators: tuple[str, ...] | None = None
    senders: tuple[str, ...] | None = None
    sent_after: int | None = None
    sent_before: int | None = None
    changed_after: int | None = None
    changed_before: int | None = None
    follow: int | None = None
    """The number of a follow: only its keys."""


def read_filter(given: Mapping[str, Sequence[str]], *, splits: bool = True) -> RecordFilter:
    """Read the filters among what is given by name; what else there is, is others' to read.

    `splits`: each text is a comma list. Raises `InvalidArgument` naming the filter.
    """
    if splits:
        given = {
            name: [one for text in texts for one in text.split(",")]
            for name, texts in given.items()
        }
    phones = _values(given, "phone", _phone)
    return RecordFilter(
        phones=None if phones is None else _unique(_spelled(phones)),
        ids=_values(given, "id", _id),
        states=_states(given),
        errors=_values(given, "errorCode", _one_of(DeliveryErrorCode)),
        operators=_values(given, "operator", str),
        senders=_values(given, "sender", str),
        sent_after=_moment(given, "sentAfter"),
        sent_before=_moment(given, "sentBefore"),
        changed_after=_moment(given, "changedAfter"),
        changed_before=_moment(given, "changedBefore"),
    )


NAMES: Final = frozenset(
    {
        *("phone", "id", "kind", "state", "stateGroup", "isFinal", "errorCode", "operator"),
        *("sender", "sentAfter", "sentBefore", "changedAfter", "changedBefore"),
    }
)
"""The filters, as callers name them."""


def _states(given: Mapping[str, Sequence[str]]) -> frozenset[int] | None:
    """The numbers of the states that all of these filters leave; None: they leave all."""
    kinds = _values(given, "kind", _one_of([Message.kind, HlrLookup.kind]))
    states = _values(given, "state", _one_of([*MessageState, *LookupState]))
    groups = _values(given, "stateGroup", _one_of(StateGroup))
    final = _values(given, "isFinal", _one_of(["true", "false"]))
    if kinds is states is groups is final is None:
        return None
    return frozenset(
        number
        for number, stored in STATES.items()
        if (kinds is None or stored.kind.kind in kinds)
        and (states is None or stored.state in states)
        and (groups is None or stored.group in groups)
        and (final is None or str(stored.is_final).lower() in final)
    )


def _values(
    given: Mapping[str, Sequence[str]], name: str, read: Callable[[str], T]
) -> tuple[T, ...] | None:
    """Any of the values."""
    if name not in given:
        return None
    values = [value.strip() for value in given[name]]
    if len(values) > MOST_VALUES:
        raise InvalidArgument(f"{name} may have at most {MOST_VALUES} values.")
    if not all(values):
        raise InvalidArgument(f"{name} must have a value.")
    try:
        return _unique(map(read, values))
    except ValueError as error:
        raise InvalidArgument(f"{name} {error}") from None


def _unique(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def _phone(text: str) -> str:
    return parse_phone(text)


def _spelled(phones: Iterable[str]) -> Iterable[str]:
    """Each number as it is given, and in its other spelling: both name the same messages."""
    for phone in phones:
        yield phone
        other = other_spelling(phone)
        if other is not None:
            yield other


def _id(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) <= MAX_ID:
        raise ValueError(f"must be a decimal number from 1 to {MAX_ID}.")
    return int(text)


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    known = list(dict.fromkeys(map(str, names)))

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"must not be {shortened(text)!r}; there are {', '.join(known)}.")
        return text

    return read


def _moment(given: Mapping[str, Sequence[str]], name: str) -> int | None:
    """A time in whole seconds: what is kept has no finer ones, so both bounds are rounded up."""
    if name not in given:
        return None
    texts = given[name]
    try:
        (text,) = texts
        time = datetime.fromisoformat(text.replace(" ", "+"))  # a `+` that was not encoded
        if time.tzinfo is None or len(text) < LONGEST_DATE:
            raise ValueError  # noqa: TRY301 - one sentence for all that is wrong
        return math.ceil(time.astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"{name} must be one time with its zone, such as 2026-01-15T10:00:00Z (RFC 3339)."
        ) from None


LONGEST_DATE: Final = 11
"""Characters of a date with something behind it."""
