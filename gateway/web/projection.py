"""Writes the selected fields of a record as JSON, once for each record and selection.

A projection is written once for each thing known and kept for a while (`_Kept`); a later hit joins
what is there. The few values that differ from answer to answer, all of them about
freshness, are holes that each answer fills. REST and compiled GraphQL operations share this.

What was written has a tag (RFC 9110, section 8.8.3): it changes with whatever the projection shows,
but for what ages by itself.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from gateway.model.freshness import Answer, CacheEntry
from gateway.model.records import StaleReason, Value, shown_fields

KEPT = 6
"""Projections kept of one record: what dashboards, services and people ask for side by side. Of a
final record one takes two places, for settled answers and for others."""

KEPT_RECORDS = 8_192
"""Records of which projections are kept: from so many to twice as many, those last asked for. Each
takes some 1.5 KB; to write one anew takes tens of microseconds."""

_JSON = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


class Pick(NamedTuple):
    """One member of a JSON object: `key`, and where its value comes from.

    `name` is the attribute of the value around it; None: the value around it itself. `below` are
    the members of its own, None for a leaf. `constant`: the value, already JSON.
    """

    key: str
    name: str | None = None
    below: "Picks | None" = None
    constant: bytes | None = None


Picks = Sequence[Pick]

_Hole = Callable[[Answer], bytes]
Reader = Callable[[Any], dict[str, object]]


class Tag(NamedTuple):
    """Names what a projection shows of a record.

    `state` leaves out how it is known: it stays the same while the provider tells the same.
    `staleness` and `observation` name the rest, and are empty where that is not shown.
    """

    state: bytes
    staleness: bytes
    observation: bytes

    @property
    def value(self) -> bytes:
        """As an entity tag without quotes."""
        return self.state + self.staleness + self.observation

    @property
    def event(self) -> bytes:
        """The same for what is told when it changes, and not whenever it is seen again."""
        return self.state + self.staleness


def state_in(tag: bytes) -> bytes:
    """The `state` of an entity tag."""
    return tag[:_STATE_LENGTH]


class _Written(NamedTuple):
    """An object's first piece, then each hole with the piece behind it.

    `tag` is that of an answer that is not stale, `value` the same in one piece; `tells_stale`: a
    stale answer has another.
    """

    first: bytes
    rest: tuple[tuple[_Hole, bytes], ...]
    tag: Tag
    value: bytes
    tells_stale: bool


def to_json(value: object) -> bytes:
    """A value of the contract: times are RFC 3339 in UTC, to the second."""
    return orjson.dumps(value, option=_JSON)


def _hole(value_of: Callable[[Answer], object]) -> _Hole:
    return lambda answer: to_json(value_of(answer))


_HOLES: dict[str, _Hole] = {
    "source": _hole(lambda answer: answer.source),
    "age_seconds": lambda answer: b"%d" % answer.age_seconds,
    "stale": lambda answer: b"true" if answer.stale else b"false",
    "stale_reason": _hole(lambda answer: answer.stale_reason),
    "next_refresh_at": _hole(lambda answer: answer.next_refresh_at),
}
"""The fields of `Freshness` that belong to the answer, by attribute."""

_AGE = "age_seconds"
"""The only hole of a settled answer."""

_STALE_HOLES = frozenset({"stale", "stale_reason"})
"""Those that a tag tells: they do not age by themselves."""

_STALENESS: dict[StaleReason | None, bytes] = {
    None: b".stale",
    StaleReason.RATE_LIMITED: b".limited",
    StaleReason.UPSTREAM_UNAVAILABLE: b".unavailable",
    StaleReason.UPSTREAM_BLOCKED: b".blocked",
}
"""What a stale answer's tag tells of that."""

_STATE_LENGTH = 12
"""Hexadecimal digits: enough to tell one record's states apart."""

_OBSERVATION = frozenset({"observed_at", "expires_at"})
"""Those that belong to what is known, and to its observation alone."""


class _Kept:
    """What was written of the records that were asked for last, by the identity of what is known.

    Two generations: what is asked for again comes into the younger; when that is full, it is the
    older, and the older is forgotten.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[int, tuple[CacheEntry, dict[object, _Written]]] = {}
        self._old: dict[int, tuple[CacheEntry, dict[object, _Written]]] = {}

    def of(self, entry: CacheEntry) -> "dict[object, _Written]":
        """The projections of this; kept beside it, so that its identity is no other's."""
        pair = self._young.get(id(entry))
        return self._again(entry) if pair is None else pair[1]

    def _again(self, entry: CacheEntry) -> "dict[object, _Written]":
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        pair = self._young[id(entry)] = self._old.get(id(entry)) or (entry, {})
        return pair[1]


_KEPT = _Kept(KEPT_RECORDS)


class Projection:
    """What to write of a record, by the name of its class."""

    def __init__(self, picks: Mapping[str, Picks]) -> None:
        self._parts = {kind: _parts(of_kind) for kind, of_kind in picks.items()}
        self._unsettled = object()
        """The name under which what is written for answers that are not settled is kept."""

    def write(self, answer: Answer) -> bytes:
        """The answer as a JSON object."""
        written = self._of(answer)
        text = written.first
        for hole, piece in written.rest:
            text += hole(answer) + piece
        return text

    def write_once(self, answer: Answer) -> bytes:
        """The same for an answer that is one of very many: what is written is not kept."""
        writer = _Writer(answer)
        writer.put(answer.record, self._parts[type(answer.record).__name__])
        written = writer.done()
        text = written.first
        for hole, piece in written.rest:
            text += hole(answer) + piece
        return text

    def write_settled(self, entries: Iterable[CacheEntry], now: float) -> tuple[list[bytes], float]:
        """Settled answers with these as JSON, and the moment from which on they are others."""
        kept, written, until = _KEPT.of, [], math.inf
        for entry in entries:
            found = kept(entry).get(self) or self._write(Answer(entry, now))
            text, holds_until = found.first, entry.fresh_until
            if found.rest:
                answer = Answer(entry, now)
                holds_until = answer.until
                for hole, piece in found.rest:
                    text += hole(answer) + piece
            until = min(until, holds_until)
            written.append(text)
        return written, until

    def holds_until(self, answer: Answer) -> float:
        """The moment from which on `write` gives something else, if nothing is learned before."""
        return answer.until if self._of(answer).rest else answer.entry.fresh_until

    def tag(self, answer: Answer) -> Tag:
        """The tag of what `write` gives."""
        return _tag(self._of(answer), answer)

    def tagged(self, answer: Answer) -> tuple[bytes, bytes]:
        """The value of its tag, and the answer as a JSON object."""
        written = self._of(answer)
        text = written.first
        for hole, piece in written.rest:
            text += hole(answer) + piece
        return (_tag(written, answer).value if answer.stale else written.value), text

    def _of(self, answer: Answer) -> _Written:
        place = self if answer.is_settled else self._unsettled
        return _KEPT.of(answer.entry).get(place) or self._write(answer)

    def _write(self, answer: Answer) -> _Written:
        record = answer.record
        writer = _Writer(answer)
        writer.put(record, self._parts[type(record).__name__])
        kept = _KEPT.of(answer.entry)
        if len(kept) >= KEPT:
            kept.clear()
        written = kept[self if answer.is_settled else self._unsettled] = writer.done()
        return written


def _tag(written: _Written, answer: Answer) -> Tag:
    if answer.stale and written.tells_stale:
        return written.tag._replace(staleness=_STALENESS[answer.stale_reason])
    return written.tag


class _Part(NamedTuple):
    """Members of an object that are written together; `start` is the JSON before their values.

    One of three: `read` gives them from the value around them, as an object; `inner` is the one
    member that is a record around which more is told; `freshness` are the members of the freshness,
    each with the JSON before it.
    """

    start: bytes
    read: Reader | None = None
    inner: "Sequence[_Part] | None" = None
    freshness: Sequence[tuple[bytes, Pick]] = ()


def _parts(picks: Picks) -> list[_Part]:
    """How to write an object: what has no holes goes in runs, each by one call of the encoder."""
    parts: list[_Part] = []
    for kind, group in groupby(picks, _kind):
        if kind is _LEAF:
            parts.append(_Part(b"," if parts else b"{", read=reader(list(group))))
            continue
        for pick in group:
            start = (b"," if parts else b"{") + orjson.dumps(pick.key) + b":"
            below = pick.below or ()
            if kind is _RECORD:
                parts.append(_Part(start, inner=_parts(below)))
            else:
                starts = [b"{", *[b","] * len(below)]
                told = [
                    (sep + orjson.dumps(one.key) + b":", one)
                    for sep, one in zip(starts, below, strict=False)
                ]
                parts.append(_Part(start, freshness=told))
    return parts


_LEAF, _RECORD, _FRESHNESS = range(3)


def _kind(pick: Pick) -> int:
    if pick.name == "freshness":
        return _FRESHNESS
    return _RECORD if pick.name is None and pick.below is not None else _LEAF


class _Writer:
    """Writes what stays, leaving holes."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pieces: list[bytes] = []
        self._holes: list[_Hole] = []
        self._text: list[bytes] = []
        self._state: list[bytes] = []
        self._observation = b""
        self._tells_stale = False

    def put(self, value: Any, parts: Sequence[_Part]) -> None:  # noqa: ANN401 - any value of the contract
        """An object with these members."""
        for start, read, inner, freshness in parts:
            if read is not None:
                self._put_both(start + to_json(read(value))[1:-1])
                continue
            self._put_both(start)
            if inner is not None:
                self.put(value, inner)
            else:
                self._put_freshness(freshness)
        self._put_both(b"}" if parts else b"{}")

    def _put_freshness(self, members: Sequence[tuple[bytes, Pick]]) -> None:
        """How the record is known, which has the values that differ from answer to answer."""
        freshness, is_settled = self._answer.freshness, self._answer.is_settled
        for start, (_, name, _, constant) in members:
            if constant is not None or name is None:
                self._put_both(start + (constant or b"{}"))
            elif name == _AGE or (name in _HOLES and not is_settled):
                self._put_both(start)
                self._tells_stale |= name in _STALE_HOLES
                self._holes.append(_HOLES[name])
                self._cut()
            elif name in _HOLES or name in _OBSERVATION:
                self._put_both(start)
                told = to_json(getattr(freshness, name))
                if name in _OBSERVATION:
                    self._observation += told
                self._text.append(told)
            else:
                self._put_both(start + to_json(getattr(freshness, name)))
        self._put_both(b"}" if members else b"{}")

    def done(self) -> _Written:
        self._cut()
        observation = self._observation and b"-" + _digest(self._observation)
        tag = Tag(_digest(b"".join(self._state)), b"", observation)
        first, *pieces = self._pieces
        rest = tuple(zip(self._holes, pieces, strict=True))
        return _Written(first, rest, tag, tag.value, self._tells_stale)

    def _put_both(self, text: bytes) -> None:
        """This belongs to what the tag calls the state."""
        self._text.append(text)
        self._state.append(text)

    def _cut(self) -> None:
        """A piece ends here."""
        self._pieces.append(b"".join(self._text))
        self._text.clear()


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=_STATE_LENGTH // 2).hexdigest().encode()


def pick_all(kind: type[Value]) -> Picks:
    """Every field of a value under its outside name, inner ones too."""
    return tuple(
        Pick(field.alias, name, pick_all(field.inner) if field.inner else None)
        for name, field in shown_fields(kind).items()
        if name != "history"  # it is not the record's: see `archive`
    )


_ANY = "__class__"
"""An attribute that everything has, where a constant is shown."""


def reader(picks: Picks) -> Reader:
    """Reads the members picked of a value, as an object that `to_json` can write."""
    keys = [pick.key for pick in picks]
    names = [pick.name or _ANY for pick in picks]
    get = attrgetter(*names, _ANY, _ANY)  # at least two, else it gives no tuple
    nested = [
        (pick.key, _nested(pick))
        for pick in picks
        if pick.below is not None or pick.constant is not None
    ]

    def read(value: Any) -> dict[str, object]:  # noqa: ANN401 - as above
        told = dict(zip(keys, get(value), strict=False))
        for key, of in nested:
            told[key] = of(told[key])
        return told

    return read


def _nested(pick: Pick) -> Callable[[Any], object]:
    if pick.constant is not None:
        constant = orjson.Fragment(pick.constant)
        return lambda _: constant
    read = reader(pick.below or ())
    return lambda value: None if value is None else read(value)
