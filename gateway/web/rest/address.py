"""Parses URLs: that of a record (id, phone, `fields`, `until`), and parameters of others."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from gateway.errors import InvalidArgument, shortened
from gateway.memo import LONGEST
from gateway.model.records import DetailLevel, Message, MessageState, Record, StatusKey
from gateway.service import StatusQuery
from gateway.watch import check_until
from gateway.web.projection import Projection
from gateway.web.rest.fields import shape_of

QUESTIONS = 8192
"""Addresses kept as they were read, unless they are long: those that dashboards ask for again and
again."""


class RecordUrl(NamedTuple):
    """A parsed record URL; `until` is the state to follow a message to."""

    key: StatusKey
    kind: type[Record]
    query: StatusQuery
    projection: Projection
    until: MessageState | None
    history: bool = False

    @property
    def detail(self) -> DetailLevel:
        return self.query.detail


def read_url(kind: type[Record], id_: str, query: bytes, hidden: frozenset[str]) -> RecordUrl:
    """Read an address; `hidden` are the fields that the caller may not see.

    Raises `InvalidArgument` naming what is wrong, and `Forbidden` for a hidden field that is named.
    """
    if len(id_) + len(query) <= LONGEST:
        return _question_kept(kind, id_, query, hidden)
    return _question(kind, id_, query, hidden)


def _question(kind: type[Record], id_: str, query: bytes, hidden: frozenset[str]) -> RecordUrl:
    given = parameters_of(query)
    key = StatusKey.parse(id=id_, phone=_one(given, "phone"))
    fields = given.get("fields")
    names = None if fields is None else tuple(",".join(fields).split(","))
    shape = shape_of((kind,), names, hidden)
    query_ = StatusQuery(shape.detail, kind, content=shape.content)
    return RecordUrl(key, kind, query_, shape.alone, _until(given, kind), shape.history)


_question_kept = lru_cache(maxsize=QUESTIONS)(_question)


def key_in(id_: str, query: bytes) -> StatusKey:
    """The key alone; raises `InvalidArgument`."""
    return StatusKey.parse(id=id_, phone=_one(parameters_of(query), "phone"))


def _until(given: dict[str, list[str]], kind: type[Record]) -> MessageState | None:
    if "until" not in given:
        return None
    if kind is not Message:
        raise InvalidArgument("until is for messages: an HLR lookup is followed to its result.")
    return check_until(_one(given, "until"))


def parameters_of(query: bytes) -> dict[str, list[str]]:
    """The parameters of a query by name, each as often as it was given."""
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    return given


def _one(given: dict[str, list[str]], name: str) -> str:
    values = given.get(name, ())
    if len(values) != 1:
        raise InvalidArgument(f"{name} must be given exactly once, in the query.")
    return values[0]


def check_names(given: Mapping[str, object], known: frozenset[str]) -> None:
    """Raise `InvalidArgument` for a parameter that is none of these."""
    if unknown := sorted(given.keys() - known):
        raise InvalidArgument(
            f"{shortened(unknown[0])!r} is not a parameter here; there are "
            f"{', '.join(sorted(known))}."
        )


def one_of(given: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The one value of a parameter; None: it is not there."""
    values = given.get(name)
    if values is None:
        return None
    if len(values) != 1:
        raise InvalidArgument(f"{name} must be given once.")
    return values[0]


def number(given: Mapping[str, Sequence[str]], name: str, within: range, default: int) -> int:
    """A parameter that is a number within a range."""
    text = one_of(given, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:9]) in within):
        raise InvalidArgument(f"{name} must be a number from {within[0]} to {within[-1]}.")
    return int(text)
