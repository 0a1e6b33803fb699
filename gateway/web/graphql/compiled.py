"""The compiled path: operations that only read records become projections of what is known.

What is taken, and why no more:

- queries whose fields at the top are `message`, `hlrLookup`, `status`, `statuses` and
  `__typename`, and the subscription `status`. `provider` and introspection are rare, and what a
  mutation costs is not its execution.
- arguments that are literals, or variables of the types those fields take. An input object with a
  variable inside is rare.
- callers that may see all the fields selected.
- variables whose values are already of their type: an id as string or integer, a phone as string.
  Anything else may be a mistake, and GraphQL's own coercion words that.

Everything below a record is a plain read: no resolver, no error, no null that spreads. So its bytes
are written once for each thing known (see `projection`). `@skip` and `@include` are decided while
compiling: each combination of the variables they use has a program of its own.

What is not taken goes through Strawberry; a test compares the two on generated operations.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol, cast

import orjson
from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    IntValueNode,
    ListValueNode,
    NonNullTypeNode,
    NullValueNode,
    ObjectValueNode,
    OperationType,
    StringValueNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    print_ast,
    visit,
)
from pydantic import BaseModel

from gateway.callers.model import Caller, Scope, hidden_fields
from gateway.detail import level_for
from gateway.errors import GatewayError, InvalidArgument
from gateway.freshness import Answer
from gateway.records import HlrLookup, Message, Record, StatusKey, StatusRecord
from gateway.service import StatusService, Want
from gateway.watch import Watches
from gateway.web.graphql.arguments import Key, key_of, seconds, valid
from gateway.web.graphql.documents import Operation
from gateway.web.graphql.errors import field_error, response
from gateway.web.graphql.selection import Selection, record_paths
from gateway.web.problems import Problem, outcome_of, problem_of
from gateway.web.projection import Pick, Picks, Projection, inner_model, to_json

PROGRAMS = 16
"""Programs kept for one operation: four variables that switch parts of it on and off."""

SPELLINGS = 20_000
"""Spellings of keys remembered, so that a dashboard's hundred need no parsing each time."""

_SCOPES = {Scope.STATUS_READ, Scope.CONTENT_READ, Scope.IDENTITY_READ}
_INT32 = range(-(2**31), 2**31)
_KINDS: dict[str, type[Record] | None] = {
    "message": Message,
    "hlrLookup": HlrLookup,
    "status": None,
}


class NotTaken(Exception):
    """This operation, or these variables, are Strawberry's."""


class Result(NamedTuple):
    """What became of one field at the top. `spoils`: its null leaves no data at all."""

    key: bytes
    value: bytes
    error: GraphQLError | None = None
    spoils: bool = False


class Call(Protocol):
    """A field at the top with its arguments."""

    async def run(self, service: StatusService, caller: str) -> Result: ...


def body(results: Iterable[Result]) -> bytes:
    """The whole response. Of several fields that leave no data, the first one's error is told."""
    results = list(results)
    spoiling = [result.error for result in results if result.error and result.spoils]
    errors = [result.error for result in results if result.error and not result.spoils]
    if spoiling:
        return response(b"null", [*errors, *spoiling[:1]])
    members = b",".join([result.key + result.value for result in results])
    return response(b"{" + members + b"}", errors)


class CompiledOperation:
    """The programs of one operation; raises `NotTaken` when it has none."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._names = names_in(operation.document.node)
        self._variables = [_Variable.of(node) for node in operation.node.variable_definitions or ()]
        self._flags = [one.name for one in self._variables if one.type == "Boolean"]
        self._programs: dict[tuple[bool, ...], list[_Root]] = {}

    def is_shown_to(self, caller: Caller) -> bool:
        """May the caller see all the fields selected? Else some are errors."""
        return caller.scopes >= _SCOPES or (
            Scope.STATUS_READ in caller.scopes and self._names.isdisjoint(hidden_fields(caller))
        )

    def bind(self, given: Mapping[str, Any]) -> list[Call]:
        """The fields to run, with the variables of a request."""
        values: dict[str, Any] = {}
        for variable in self._variables:
            variable.read(given, values)
        flags = tuple([values[name] for name in self._flags])
        program = self._programs.get(flags)
        if program is None:
            if len(self._programs) >= PROGRAMS:
                self._programs.clear()
            program = self._programs[flags] = _compile(self._operation, values)
        return [root.bind(values) for root in program]


def names_in(document: DocumentNode) -> set[str]:
    """The names of all fields that are selected anywhere in a document."""
    names: set[str] = set()

    class Collector(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            names.add(node.name.value)

    visit(document, Collector())
    return names


async def run(calls: Sequence[Call], service: StatusService, caller: str) -> bytes:
    """Run the fields side by side. Once there can be no data, the others are not waited for."""
    if len(calls) == 1:
        result = await calls[0].run(service, caller)
        if result.error is None:
            return b'{"data":{' + result.key + result.value + b"}}"
        return body([result])
    tasks = [asyncio.ensure_future(call.run(service, caller)) for call in calls]
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(task.result().spoils for task in done):
                break
    finally:
        for task in waiting:
            task.cancel()
    return body([task.result() for task in tasks if task not in waiting])


class _Variable(NamedTuple):
    """A declared variable of a type that the fields take."""

    name: str
    type: str
    required: bool
    default: object

    @classmethod
    def of(cls, node: VariableDefinitionNode) -> "_Variable":
        required = isinstance(node.type, NonNullTypeNode)
        type_ = print_ast(node.type).removesuffix("!")
        if type_ not in _IS_PLAIN:
            raise NotTaken
        default = None if node.default_value is None else _literal(node.default_value)
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
        values[self.name] = _items(value) if self.type == _KEYS else value


_KEYS = "[StatusKey!]"
_IS_PLAIN: dict[str, Callable[[Any], bool]] = {
    "ID": lambda value: type(value) is str or type(value) is int,
    "String": lambda value: type(value) is str,
    "Int": lambda value: value is None or (type(value) is int and value in _INT32),
    "Boolean": lambda value: type(value) is bool,
    _KEYS: lambda value: type(value) is list,  # see `_items`
}
"""By type, whether a value given needs no coercion. Null is only taken where the field takes it."""


class _Items(NamedTuple):
    """The items of a list as they were given, and the keys they name."""

    given: list[dict[str, Any]]
    keys: list[Key]


def _items(given: object) -> _Items:
    """Each item must have an id and a phone of their types, and nothing else."""
    if not isinstance(given, list):
        raise NotTaken
    try:
        keys = [_plain_key(item["id"], item["phone"]) for item in given]
    except (KeyError, TypeError):
        raise NotTaken from None
    if None in keys or sum(map(len, given)) != 2 * len(given):
        raise NotTaken
    return _Items(given, cast("list[Key]", keys))


@lru_cache(maxsize=SPELLINGS, typed=True)
def _plain_key(id_: object, phone: object) -> Key | None:
    """The key or what is wrong with it; None: not even of the arguments' types."""
    if type(phone) is not str or (type(id_) is not str and type(id_) is not int):
        return None
    return key_of(id_, phone)


def _literal(node: ValueNode) -> object:
    """A literal as JSON would have it."""
    if isinstance(node, IntValueNode):
        return int(node.value)
    if isinstance(node, StringValueNode | BooleanValueNode):
        return node.value
    if isinstance(node, NullValueNode):
        return None
    if isinstance(node, ListValueNode):
        return [_literal(value) for value in node.values]
    if isinstance(node, ObjectValueNode):
        return {field.name.value: _literal(field.value) for field in node.fields}
    raise NotTaken


class _Argument(NamedTuple):
    """A literal, or the variable that has the value."""

    value: object
    variable: str | None = None

    def of(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any value of an argument
        return self.value if self.variable is None else values[self.variable]


def _arguments(node: FieldNode) -> dict[str, _Argument]:
    arguments = {}
    for given in node.arguments or ():
        name = given.name.value
        if isinstance(given.value, VariableNode):
            arguments[name] = _Argument(None, given.value.name.value)
        else:
            value = _literal(given.value)
            arguments[name] = _Argument(_items(value) if name == "items" else value)
    return arguments


def _compile(operation: Operation, values: Mapping[str, Any]) -> "list[_Root]":
    selection = Selection(operation.document.fragments, values)
    name = "Subscription" if operation.type is OperationType.SUBSCRIPTION else "Query"
    grouped = selection.collect([operation.node], {name})
    return [_root(key, nodes, selection, name) for key, nodes in grouped.items()]


class _Root(Protocol):
    def bind(self, values: Mapping[str, Any]) -> Call: ...


def _root(key: str, nodes: list[FieldNode], selection: Selection, parent: str) -> _Root:
    name = nodes[0].name.value
    if name == "__typename":
        return _Constant(Result(orjson.dumps(key) + b":", orjson.dumps(parent)))
    if name in _KINDS:
        return _One(key, nodes, selection, _KINDS[name], spoils=parent == "Subscription")
    if name == "statuses":
        return _Many(key, nodes, selection)
    raise NotTaken


class _Constant(NamedTuple):
    result: Result

    def bind(self, _: Mapping[str, Any]) -> "_Constant":
        return self

    async def run(self, _: StatusService, __: str) -> Result:
        return self.result


class _Field:
    """A field at the top: its name in the response, and how its errors are told."""

    def __init__(self, key: str, nodes: Sequence[FieldNode], *, spoils: bool) -> None:
        self.spoils = spoils
        self.key = orjson.dumps(key) + b":"
        self.nodes = list({id(node): node for node in nodes}.values())
        self.path = [key]
        self.arguments = _arguments(nodes[0])

    def failed(self, error: Exception) -> Result:
        told = field_error(error) if isinstance(error, GatewayError) else error
        message, extensions = str(told), getattr(told, "extensions", None)
        located = GraphQLError(
            message,
            nodes=self.nodes,
            path=self.path,
            original_error=told,
            extensions=extensions,
        )
        return Result(self.key, b"null", located, self.spoils)


class _One(_Field):
    """`message`, `hlrLookup` or `status`."""

    def __init__(
        self,
        key: str,
        nodes: Sequence[FieldNode],
        selection: Selection,
        kind: type[Record] | None,
        *,
        spoils: bool,
    ) -> None:
        super().__init__(key, nodes, spoils=spoils)
        self.kind = kind
        self.detail = level_for(record_paths(selection.paths(nodes)), kind)
        self.projection = Projection(_record_picks(nodes, selection, kind))

    def bind(self, values: Mapping[str, Any]) -> "OneCall | Wrong":
        id_, phone = (self.arguments[name].of(values) for name in ("id", "phone"))
        key = _plain_key(id_, phone)
        if key is None:
            raise NotTaken
        max_age = self.arguments.get("maxAge")
        try:
            named = valid(key)
            age = seconds(max_age and max_age.of(values))
            return OneCall(self, named, Want(self.detail, self.kind, age))
        except InvalidArgument as error:
            return Wrong(self, error)


class OneCall(NamedTuple):
    """One record asked for, or followed."""

    field: _One
    key: StatusKey
    want: Want

    async def run(self, service: StatusService, caller: str) -> Result:
        field, key, want = self
        try:
            answer = service.get_now(key, want)
            if answer is None:
                answer = await service.get_later(key, want._replace(caller=caller))
            return Result(field.key, field.projection.write(answer))
        except Exception as error:  # noqa: BLE001 - a field's fault is masked and logged, and spares the others
            return field.failed(error)

    async def follow(self, watches: Watches) -> AsyncGenerator[Result, None]:
        field = self.field
        async with aclosing(watches.follow(self.key, field.detail)) as events:
            async for event in events:
                yield (
                    field.failed(event)
                    if isinstance(event, GatewayError)
                    else Result(field.key, field.projection.write(event))
                )


class Wrong(NamedTuple):
    """One record whose arguments are wrong."""

    field: _One
    error: InvalidArgument

    async def run(self, _: StatusService, __: str) -> Result:
        return self.field.failed(self.error)

    async def follow(self, _: Watches) -> AsyncGenerator[Result, None]:
        yield self.field.failed(self.error)


class _Many(_Field):
    """`statuses`."""

    def __init__(self, key: str, nodes: Sequence[FieldNode], selection: Selection) -> None:
        super().__init__(key, nodes, spoils=True)
        self.detail = level_for(record_paths(selection.paths(nodes), "record"))
        members = selection.collect(nodes, {"StatusResult"})
        self.found = Projection(
            {kind.__name__: _found_picks(members, selection, kind) for kind in (Message, HlrLookup)}
        )
        self.unfound = [
            (name, source, _picks(group, selection, Problem) if source == "problem" else ())
            for name, group in members.items()
            for source in [group[0].name.value]
        ]

    def bind(self, values: Mapping[str, Any]) -> "ManyCall":
        items: _Items = self.arguments["items"].of(values)
        max_age = self.arguments.get("maxAge")
        return ManyCall(self, items, max_age and max_age.of(values))


class ManyCall(NamedTuple):
    """Many records asked for."""

    field: _Many
    items: _Items
    max_age: int | None

    async def run(self, service: StatusService, caller: str) -> Result:
        field = self.field
        try:
            want = Want(field.detail, None, seconds(self.max_age), caller=caller)
            outcomes = await service.get_many(self.items.keys, want)
            write = field.found.write
            results = [
                write(outcome) if isinstance(outcome, Answer) else self._unfound(item, key, outcome)
                for item, key, outcome in zip(*self.items, outcomes, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - as for one
            return field.failed(error)
        return Result(field.key, b"[" + b",".join(results) + b"]")

    def _unfound(self, item: dict[str, Any], key: Key, error: GatewayError) -> bytes:
        """The result of an item that has no record."""
        told = {
            "__typename": "StatusResult",
            "id": str(item["id"]),
            "phone": item["phone"],
            "outcome": outcome_of(error),
            "record": None,
        }
        if isinstance(key, StatusKey):
            told |= {"id": str(key.id), "phone": key.phone}
        problem = problem_of(error)
        return to_json(
            {
                name: object_of(problem, picks) if source == "problem" else told[source]
                for name, source, picks in self.field.unfound
            }
        )


def object_of(value: BaseModel, picks: Picks) -> dict[str, object]:
    """The members picked of a flat value."""
    return {
        pick.key: getattr(value, pick.name) if pick.name else orjson.Fragment(pick.constant or b"")
        for pick in picks
    }


_RECORD_TYPES: dict[type[BaseModel], set[str]] = {
    kind: {kind.__name__, StatusRecord.__name__} for kind in (Message, HlrLookup)
}


def _record_picks(
    nodes: Iterable[FieldNode], selection: Selection, kind: type[Record] | None
) -> dict[str, Picks]:
    """What is selected of a record, by the kind it turns out to be."""
    kinds = (Message, HlrLookup) if kind is None else (kind,)
    return {one.__name__: _picks(nodes, selection, one) for one in kinds}


def _picks(
    nodes: Iterable[FieldNode], selection: Selection, model: type[BaseModel]
) -> tuple[Pick, ...]:
    return tuple(
        _pick(key, group, selection, model)
        for key, group in selection.collect(
            nodes, _RECORD_TYPES.get(model, {model.__name__})
        ).items()
    )


def _pick(
    key: str, nodes: Sequence[FieldNode], selection: Selection, model: type[BaseModel]
) -> Pick:
    name = nodes[0].name.value
    if name == "__typename":
        return Pick(key, constant=orjson.dumps(model.__name__))
    attribute, inner = _fields_of(model)[name]
    return Pick(key, attribute, _picks(nodes, selection, inner) if inner else None)


@cache
def _fields_of(model: type[BaseModel]) -> dict[str, tuple[str, type[BaseModel] | None]]:
    """By the name outside: the attribute, and the model of an inner object."""
    return {
        field.alias or name: (name, inner_model(field.annotation))
        for name, field in model.model_fields.items()
    }


def _found_picks(
    members: Mapping[str, Sequence[FieldNode]], selection: Selection, kind: type[Record]
) -> tuple[Pick, ...]:
    """A result that was found is written from its record, with the record itself inside."""
    picks = []
    for key, group in members.items():
        name = group[0].name.value
        if name == "record":
            picks.append(Pick(key, below=_picks(group, selection, kind)))
        elif name in _FOUND:
            picks.append(Pick(key, constant=_FOUND[name]))
        else:
            picks.append(Pick(key, name))
    return tuple(picks)


_FOUND = {"__typename": b'"StatusResult"', "outcome": b'"FOUND"', "problem": b"null"}
