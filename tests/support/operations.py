"""Random GraphQL operations over the gateway's schema, valid nearly always, odd now and then."""

import random
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)

KEYS = [
    ("1", "79990000001"),
    ("1", "+7 (999) 000-00-01"),
    ("2", "79990000001"),
    ("3", "79990000003"),
    ("100", "79990000100"),
    ("404", "79990000001"),
    ("0", "79990000001"),
    ("1", "call me"),
]
"""A message, one spelled otherwise, a lookup, a failed one, a live one; and what is wrong."""

HUGE = "9" * 4301
"""One digit more than Python reads as a number."""

_ODD: list[Any] = [None, True, 1.5, "", [], {}, "1", 1, -1, 2**40, ["1"]]


@dataclass
class Generated:
    """An operation and the variables to run it with."""

    text: str
    variables: dict[str, Any]


@dataclass
class Generator:
    """Makes one operation; `random` decides everything."""

    schema: GraphQLSchema
    random: random.Random
    declared: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)

    def operation(self) -> Generated:
        roots = [self._root() for _ in range(self.random.choice([1, 1, 1, 2, 3]))]
        if self._rarely():
            roots.append("__typename")
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.declared.items())
        head = f"query Q({declared})" if declared else "query Q"
        text = f"{head} {{\n  {' '.join(roots)}\n}}\n{' '.join(self.fragments)}"
        for name in list(self.values):
            if self._very_rarely():
                self.values[name] = self.random.choice(_ODD)
            elif self._very_rarely():
                del self.values[name]
        if self._rarely():
            self.values["unknown"] = 1
        return Generated(text, self.values)

    def _root(self) -> str:
        name = self.random.choice(["message", "message", "hlrLookup", "status", "statuses"])
        if self._very_rarely():
            return "provider { inFlight budgets { windowSeconds } }"
        arguments = self._items() if name == "statuses" else self._key()
        if self._rarely():
            age = self._value("Int", self.random.choice([0, 60, 10**6, -1]))
            arguments += f", maxAge: {HUGE if self._very_rarely() else age}"
        assert self.schema.query_type is not None
        type_ = get_named_type(self.schema.query_type.fields[name].type)
        chosen = f"{name}({arguments}){self._directive()} {self._selection(type_, 0)}"
        return f"{self._alias()}{chosen}"

    def _key(self) -> str:
        id_, phone = self.random.choice(KEYS)
        id_ = HUGE if self._very_rarely() else self._value("ID!", id_)
        return f"id: {id_}, phone: {self._value('String!', phone)}"

    def _items(self) -> str:
        items = self.random.choices(KEYS, k=self.random.randint(0, 4))
        if self.random.random() < 0.5:
            value: list[dict[str, Any]] = [{"id": id_, "phone": phone} for id_, phone in items]
            for item in value:
                if self._very_rarely():
                    item[self.random.choice(["id", "phone", "more"])] = self.random.choice(_ODD)
            return f"items: {self._variable('[StatusKey!]!', value)}"
        told = (
            f"{{id: {self._literal(id_)}, phone: {self._literal(phone)}}}" for id_, phone in items
        )
        return f"items: [{', '.join(told)}]"

    def _value(self, type_: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
        if self.random.random() < 0.5:
            return self._variable(type_, value)
        return self._literal(value)

    def _variable(self, type_: str, value: Any) -> str:  # noqa: ANN401 - as above
        name = f"v{len(self.declared)}"
        default = ""
        if type_ in {"ID!", "String!"} and self._rarely():
            type_, default = type_.removesuffix("!"), f" = {self._literal(value)}"
        self.declared[name] = type_ + default
        if not default or self.random.random() < 0.5:
            is_number = type_.startswith("ID") and value.isdigit() and self.random.random() < 0.5
            self.values[name] = int(value) if is_number else value
        return f"${name}"

    def _literal(self, value: Any) -> str:  # noqa: ANN401 - as above
        if isinstance(value, str) and not (value.isdigit() and value != "0" and len(value) < 9):
            return f'"{value}"'
        return str(value)

    def _directive(self) -> str:
        if not self._rarely():
            return ""
        name, told = self.random.choice(["skip", "include"]), self.random.choice([True, False])
        value = self._variable("Boolean!", told) if self._rarely() else str(told).lower()
        return f" @{name}(if: {value})"

    def _alias(self) -> str:
        return f"a{self.random.randint(0, 30)}: " if self._rarely() else ""

    def _selection(self, type_: Any, depth: int) -> str:  # noqa: ANN401 - any named type
        chosen = [
            self._member(type_, depth) for _ in range(self.random.randint(1, max(1, 5 - depth)))
        ]
        return f"{{ {' '.join(chosen)} }}"

    def _member(self, type_: Any, depth: int) -> str:  # noqa: ANN401 - as above
        if depth < 4 and self.random.random() < 0.15:
            return self._fragment(type_, depth)
        if self._rarely():
            return f"{self._alias()}__typename{self._directive()}"
        name, definition = self.random.choice(list(type_.fields.items()))
        inner = get_named_type(definition.type)
        below = "" if is_leaf_type(inner) else f" {self._selection(inner, depth + 1)}"
        return f"{self._alias()}{name}{self._directive()}{below}"

    def _fragment(self, type_: Any, depth: int) -> str:  # noqa: ANN401 - as above
        on = self.random.choice(self._overlapping(type_))
        selection = self._selection(on, depth + 1)
        if self.random.random() < 0.4:
            name = f"F{len(self.fragments)}"
            self.fragments.append(f"fragment {name} on {on.name} {selection}")
            again = f" ...{name}" if self._rarely() else ""
            return f"...{name}{self._directive()}{again}"
        condition = "" if on is type_ and self._rarely() else f" on {on.name}"
        return f"...{condition}{self._directive()} {selection}"

    def _overlapping(self, type_: Any) -> list[Any]:  # noqa: ANN401 - as above
        if isinstance(type_, GraphQLInterfaceType):
            return [type_, *self.schema.get_possible_types(type_)]
        assert isinstance(type_, GraphQLObjectType)
        return [type_, *type_.interfaces]

    def _rarely(self) -> bool:
        return self.random.random() < 0.2

    def _very_rarely(self) -> bool:
        return self.random.random() < 0.03
