"""The fields of a record that a caller asked for and may see."""

from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from gateway.callers.model import hidden_error
from gateway.model.detail import CONTENT, level_for, parse_fields, wants_content
from gateway.model.records import DetailLevel, HlrLookup, Message, Record
from gateway.web.projection import Pick, Picks, Projection, pick_all, reader, to_json

KINDS: tuple[type[Record], ...] = (Message, HlrLookup)

HISTORY = "history"
"""The member that is only there where `fields` names it."""

HIDDEN = "hiddenFields"
"""The member that tells which fields are null because of the caller's scopes."""

SHAPES = 256
"""Shapes kept: the sets of fields that the programs of one house ask for."""

_ALWAYS = ("kind", "id", "phone")


class FieldSet(NamedTuple):
    """What to ask the provider for, and how to show it: a record alone, or as one of many.

    `content`: texts or comments are shown; `history`: the changes of its state are, too.
    """

    detail: DetailLevel
    content: bool
    history: bool
    alone: Projection
    found: Projection


def shape_of(
    kinds: tuple[type[Record], ...], fields: tuple[str, ...] | None, hidden: frozenset[str]
) -> FieldSet:
    """The `FieldSet` for records of these kinds, restricted to `fields` if given.

    `hidden` are the fields that the caller may not see. Raises `InvalidArgument` for a field that
    is none, `Forbidden` for one that is hidden and named all the same.
    """
    if fields is None:
        return _shape(kinds, None, hidden)
    wanted = parse_fields((name.strip() for name in fields), kinds)
    for name in sorted(wanted & hidden):
        raise hidden_error(name)
    return _shape(kinds, wanted, hidden)


@lru_cache(maxsize=SHAPES)
def _shape(
    kinds: tuple[type[Record], ...], wanted: frozenset[str] | None, hidden: frozenset[str]
) -> FieldSet:
    picks = {kind.__name__: _picks(kind, wanted, hidden) for kind in kinds}
    asked = kinds[0] if len(kinds) == 1 else None
    return FieldSet(
        DetailLevel.FULL if wanted is None else level_for(wanted, asked),
        wants_content(CONTENT - hidden if wanted is None else wanted),
        wanted is not None and HISTORY in wanted,
        Projection(picks),
        Projection({name: _found(record) for name, record in picks.items()}),
    )


def _picks(kind: type[Record], wanted: frozenset[str] | None, hidden: frozenset[str]) -> Picks:
    picks = [Pick("kind", constant=to_json(kind.kind))]
    every = pick_all(kind)
    if wanted is not None:
        paths = wanted.union(_ALWAYS)
        return [*picks, *(chosen for pick in every for chosen in _chosen(pick, paths))]
    unseen = [pick.key for pick in every if pick.name in hidden]
    picks += [Pick(one.key, constant=b"null") if one.key in unseen else one for one in every]
    if unseen:
        picks.append(Pick(HIDDEN, constant=to_json(unseen)))
    return picks


def _chosen(pick: Pick, paths: frozenset[str]) -> list[Pick]:
    """The field, or those of its own that are wanted."""
    if pick.key in paths:
        return [pick]
    inner = [one for one in pick.below or () if f"{pick.key}.{one.key}" in paths]
    return [pick._replace(below=inner)] if inner else []


def _found(record: Picks) -> Picks:
    """A result of the batch that was found is written from its record, which is inside."""
    return [
        Pick("id", "id"),
        Pick("phone", "phone"),
        Pick("outcome", constant=b'"FOUND"'),
        Pick("record", below=record),
        Pick("problem", constant=b"null"),
    ]


def without_freshness(record: Record) -> dict[str, Any]:
    """A record as it is shown where nobody knows when it was observed or learned."""
    unknown = {"freshness", "changed_at"}
    picks = [pick for pick in pick_all(type(record)) if pick.name not in unknown]
    shown: dict[str, Any] = orjson.loads(to_json(reader(picks)(record)))
    return {"kind": record.kind, **shown}
