"""Reads variables and literals that need no coercion; the rest is left to graphql-core.

Whether a value is a mistake, and how that is told, is for GraphQL's own coercion.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FieldNode,
    IntValueNode,
    ListValueNode,
    NonNullTypeNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    print_ast,
)

from gateway.memo import CACHES, keep
from gateway.model.records import MessageState
from gateway.web.graphql.arguments import Key, key_of

SPELLINGS = 20_000
"""Spellings of keys remembered, so that a dashboard's hundred need no parsing each time."""

MAX_DIGITS = 20
"""Of a literal that is read as a number: no argument takes more, and Python reads no more than
4,300."""

LONGEST_SPELLING = 64
"""Characters of an id or phone, or bits of an id, that are remembered."""

_INT32 = range(-(2**31), 2**31)


class NotTaken(Exception):
    """Raised for operations or variables that can't be compiled: Strawberry executes them."""


class Variable(NamedTuple):
    """A declared variable of a type that the fields take."""

    name: str
    type: str
    required: bool
    default: object

    @classmethod
    def of(cls, node: VariableDefinitionNode) -> "Variable":
        required = isinstance(node.type, NonNullTypeNode)
        type_ = print_ast(node.type).removesuffix("!")
        if type_ not in _IS_PLAIN:
            raise NotTaken
        default = None if node.default_value is None else literal(node.default_value)
        return cls(node.variable.name.value, type_, required, default)

    def read(self, given: Mapping[str, Any], values: dict[str, Any]) -> None:
        if self.name in given:
            value = given[self.name]
            if not _IS_PLAIN[self.type](value):
                raise NotTaken
        elif self.default is None and self.required:
            raise NotTaken
        else:
            value = self.default
        values[self.name] = items_of(value) if self.type == _KEYS else value


_KEYS = "[StatusKey!]"
_IS_PLAIN: dict[str, Callable[[Any], bool]] = {
    "ID": lambda value: type(value) is str or type(value) is int,
    "String": lambda value: type(value) is str,
    "Int": lambda value: value is None or (type(value) is int and value in _INT32),
    "Boolean": lambda value: type(value) is bool,
    "MessageState": lambda value: (
        value is None or (type(value) is str and value in MessageState.__members__)
    ),
    _KEYS: lambda value: type(value) is list,  # see `items_of`
}
"""By type, whether a value given needs no coercion. Null is only taken where the field takes it."""


class Items(NamedTuple):
    """The items of a list as they were given, and the keys they name."""

    given: list[dict[str, Any]]
    keys: list[Key]


def items_of(given: object) -> Items:
    """Each item must have an id and a phone of their types, and nothing else."""
    if not isinstance(given, list):
        raise NotTaken
    try:
        keys = [
            _kept((item["id"], item["phone"])) or plain_key(item["id"], item["phone"])
            for item in given
        ]
    except (KeyError, TypeError):
        raise NotTaken from None
    if None in keys or sum(map(len, given)) != 2 * len(given):
        raise NotTaken
    return Items(given, cast("list[Key]", keys))


def plain_key(id_: object, phone: object) -> Key | None:
    """The key or what is wrong with it; None: not even of the arguments' types."""
    if type(phone) is not str or (type(id_) is not str and type(id_) is not int):
        return None
    if isinstance(id_, int):
        if id_.bit_length() > LONGEST_SPELLING:
            return key_of(id_, phone)
        id_ = str(id_)
    key = _kept((id_, phone))
    if key is None:
        key = key_of(id_, phone)
        if len(id_) <= LONGEST_SPELLING and len(phone) <= LONGEST_SPELLING:
            keep(_KEYS_KEPT, (id_, phone), key, SPELLINGS)
    return key


_KEYS_KEPT: dict[tuple[object, object], Key] = {}
"""By an id that is a string and its phone: `True` and `1.0` would be found where `1` was kept."""
CACHES.append(_KEYS_KEPT)
_kept = _KEYS_KEPT.get


def literal(node: ValueNode) -> object:
    """A literal as JSON would have it."""
    if isinstance(node, IntValueNode):
        if len(node.value) > MAX_DIGITS:
            raise NotTaken
        return int(node.value)
    if isinstance(node, StringValueNode | BooleanValueNode | EnumValueNode):
        return node.value
    if isinstance(node, NullValueNode):
        return None
    if isinstance(node, ListValueNode):
        return [literal(value) for value in node.values]
    if isinstance(node, ObjectValueNode):
        return {field.name.value: literal(field.value) for field in node.fields}
    raise NotTaken


class Argument(NamedTuple):
    """A literal, or the variable that has the value."""

    value: object
    variable: str | None = None

    def of(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any value of an argument
        return self.value if self.variable is None else values[self.variable]


def arguments_of(node: FieldNode) -> dict[str, Argument]:
    arguments = {}
    for given in node.arguments or ():
        name = given.name.value
        if isinstance(given.value, VariableNode):
            arguments[name] = Argument(None, given.value.name.value)
        else:
            value = literal(given.value)
            arguments[name] = Argument(items_of(value) if name == "items" else value)
    return arguments
