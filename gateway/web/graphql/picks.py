"""Converts GraphQL selection sets into the `Pick`s of a projection."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import orjson
from graphql import DocumentNode, FieldNode, Visitor, visit

from gateway.model.described import Model
from gateway.model.records import HlrLookup, Message, Record, StatusRecord, Value, shown_fields
from gateway.web.graphql.plain import NotTaken
from gateway.web.graphql.selection import Selection
from gateway.web.projection import Pick, Picks

Described = Value | Model


def names_in(document: DocumentNode) -> set[str]:
    """The names of all fields that are selected anywhere in a document."""
    names: set[str] = set()

    class Collector(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            names.add(node.name.value)

    visit(document, Collector())
    return names


_RECORD_TYPES: dict[type[Described], set[str]] = {
    kind: {kind.__name__, StatusRecord.__name__} for kind in (Message, HlrLookup)
}


def record_picks(
    nodes: Iterable[FieldNode], selection: Selection, kind: type[Record] | None
) -> dict[str, Picks]:
    """What is selected of a record, by the kind it turns out to be."""
    kinds = (Message, HlrLookup) if kind is None else (kind,)
    return {one.__name__: picks_of(nodes, selection, one) for one in kinds}


def picks_of(
    nodes: Iterable[FieldNode], selection: Selection, model: type[Described]
) -> tuple[Pick, ...]:
    return tuple(
        _pick(key, group, selection, model)
        for key, group in selection.collect(
            nodes, _RECORD_TYPES.get(model, {model.__name__})
        ).items()
    )


def _pick(
    key: str, nodes: Sequence[FieldNode], selection: Selection, model: type[Described]
) -> Pick:
    name = nodes[0].name.value
    if name == "__typename":
        return Pick(key, constant=orjson.dumps(model.__name__))
    if name == "history":
        raise NotTaken  # it is not the record's own
    attribute, inner = _fields_of(model)[name]
    return Pick(key, attribute, picks_of(nodes, selection, inner) if inner else None)


@cache
def _fields_of(model: type[Described]) -> dict[str, tuple[str, type[Described] | None]]:
    """By the name outside: the attribute, and the model of an inner object."""
    if issubclass(model, Model):
        return {field.alias or name: (name, None) for name, field in model.model_fields.items()}
    return {field.alias: (name, field.inner) for name, field in shown_fields(model).items()}


def found_picks(
    members: Mapping[str, Sequence[FieldNode]], selection: Selection, kind: type[Record]
) -> tuple[Pick, ...]:
    """A result that was found is written from its record, with the record itself inside."""
    picks = []
    for key, group in members.items():
        name = group[0].name.value
        if name == "record":
            picks.append(Pick(key, below=picks_of(group, selection, kind)))
        elif name in _FOUND:
            picks.append(Pick(key, constant=_FOUND[name]))
        else:
            picks.append(Pick(key, name))
    return tuple(picks)


_FOUND = {"__typename": b'"StatusResult"', "outcome": b'"FOUND"', "problem": b"null"}
