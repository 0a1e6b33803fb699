"""Computes the size of an introspection query's response before it is executed.

Such a question is one of the few whose answer can be much larger than itself: lists of types hold
lists of fields, which hold types again. The schema is known, so nothing has to be guessed.
"""

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLSchema,
    StringValueNode,
    get_named_type,
    introspection_types,
)

CHARACTERS = 64
"""Characters of a text that weigh as much as one more value: to write them takes as long."""


class Asked(NamedTuple):
    """Objects that a selection is asked of, all of one type of the introspection system."""

    type: GraphQLObjectType
    objects: list[Any]


class Introspection:
    """The answers to questions about one schema, as graphql-core's own resolvers give them.

    `largest` is the weight of the largest honest question.
    """

    def __init__(self, schema: GraphQLSchema) -> None:
        self.largest = math.inf
        self._schema = schema
        self._info = SimpleNamespace(schema=schema)

    def root(self, field: FieldNode) -> Asked | None:
        """What a field of the query type asks about; None: nothing about the schema.

        A type whose name is in a variable counts as if it were each of them.
        """
        if field.name.value == "__schema":
            return _asked("__Schema", [self._schema])
        if field.name.value != "__type":
            return None
        types = self._schema.type_map
        for argument in field.arguments or ():
            if isinstance(argument.value, StringValueNode):
                named = types.get(argument.value.value)
                return _asked("__Type", [] if named is None else [named])
        return _asked("__Type", types.values())

    def below(self, field: FieldNode, asked: Asked) -> tuple[int, Asked | None]:
        """A field's weight on these objects, and the objects its sub-selection applies to.

        Each value weighs one, a text a little more.
        """
        definition = asked.type.fields.get(field.name.value)
        if definition is None or definition.resolve is None:
            return len(asked.objects), None  # `__typename`, or a mistake that validation tells
        given = {"includeDeprecated": True} if "includeDeprecated" in definition.args else {}
        values = []
        for one in asked.objects:
            value = definition.resolve(one, self._info, **given)
            if value is None or isinstance(value, str):
                values.append(value)
            elif isinstance(value, Iterable):
                values.extend(value)
            else:
                values.append(value)
        weight = sum(1 + len(v) // CHARACTERS if isinstance(v, str) else 1 for v in values)
        kind = get_named_type(definition.type)
        if not isinstance(kind, GraphQLObjectType):
            return weight, None
        return weight, Asked(kind, [value for value in values if value is not None])


def _asked(name: str, objects: Iterable[Any]) -> Asked:
    kind = introspection_types[name]
    assert isinstance(kind, GraphQLObjectType)  # noqa: S101 - as the specification has them
    return Asked(kind, list(objects))
