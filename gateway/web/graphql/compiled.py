"""Compiles operations that only read records, to run without graphql-core's executor.

What is taken, and why no more:

- queries whose fields at the top are `message`, `hlrLookup`, `status`, `statuses` and
  `__typename`, and the subscription `status`. `provider` and introspection are rare, and what a
  mutation costs is not its execution.
- arguments that are literals, or variables of the types those fields take. An input object with a
  variable inside is rare, and so is a field that names another account than the request.
- callers that may see all the fields selected.
- variables whose values are already of their type (see `plain`). Anything else may be a mistake,
  and GraphQL's own coercion words that.

Everything below a record is a plain read: no resolver, no error, no null that spreads. So its bytes
are written once for each thing known (see `picks` and `projection`). `@skip` and `@include` are
decided while compiling: each combination of the variables they use has a program of its own.

What is not taken goes through Strawberry; a test compares the two on generated operations.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

import orjson
from graphql import FieldNode, GraphQLError, OperationType

from gateway.callers.model import Caller, Scope, hidden_fields
from gateway.errors import GatewayError, InvalidArgument
from gateway.model.detail import level_for, wants_content
from gateway.model.freshness import Answer
from gateway.model.records import HlrLookup, Message, MessageState, Record, StatusKey
from gateway.service import Basis, StatusQuery, StatusService
from gateway.wakeups import Signal
from gateway.watch import Content, Following, Watches, check_until
from gateway.web.graphql.arguments import Key, seconds, valid
from gateway.web.graphql.documents import Operation
from gateway.web.graphql.errors import field_error, response
from gateway.web.graphql.picks import found_picks, names_in, picks_of, record_picks
from gateway.web.graphql.plain import Items, NotTaken, Variable, arguments_of, plain_key
from gateway.web.graphql.program import Call, Known, Result
from gateway.web.graphql.selection import Selection, record_paths
from gateway.web.http.problems import Problem, outcome_of, problem_of
from gateway.web.projection import Projection, reader, to_json

_ALWAYS = Basis((), (), math.inf)

PROGRAMS = 16
"""Programs kept for one operation: four variables that switch parts of it on and off."""

_KINDS: dict[str, type[Record] | None] = {
    "message": Message,
    "hlrLookup": HlrLookup,
    "status": None,
}


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
        self._variables = [Variable.of(node) for node in operation.node.variable_definitions or ()]
        self._flags = [one.name for one in self._variables if one.type == "Boolean"]
        self._programs: dict[tuple[bool, ...], list[_Root]] = {}
        self._is_shown: dict[frozenset[Scope], bool] = {}
        """By the scopes of callers, of which there are 32 sets."""

    def is_shown_to(self, caller: Caller) -> bool:
        """May the caller see all the fields selected? Else some are errors."""
        is_shown = self._is_shown.get(caller.scopes)
        if is_shown is None:
            may_read = Scope.STATUS_READ in caller.scopes
            is_shown = may_read and self._names.isdisjoint(hidden_fields(caller))
            self._is_shown[caller.scopes] = is_shown
        return is_shown

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


def run_now(calls: Sequence[Call], service: StatusService) -> Known | None:
    """The whole response, if it is one field's that need not be waited for."""
    if len(calls) != 1:
        return None
    try:
        member = calls[0].now(service)
    except Exception:  # noqa: BLE001 - `run` tells what is wrong
        return None
    return None if member is None else Known(b'{"data":{' + member.json + b"}}", member.basis)


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

    def now(self, _: StatusService) -> Known:
        return Known(self.result.key + self.result.value, _ALWAYS)

    async def run(self, _: StatusService, __: str) -> Result:
        return self.result


class _Field:
    """A field at the top: its name in the response, and how its errors are told."""

    def __init__(self, key: str, nodes: Sequence[FieldNode], *, spoils: bool) -> None:
        self.spoils = spoils
        self.key = orjson.dumps(key) + b":"
        self.nodes = list({id(node): node for node in nodes}.values())
        self.path = [key]
        self.arguments = arguments_of(nodes[0])
        if "account" in self.arguments:
            raise NotTaken

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
        paths = record_paths(selection.paths(nodes))
        self.detail, self.content = level_for(paths, kind), wants_content(paths)
        self.projection = Projection(record_picks(nodes, selection, kind))

    def bind(self, values: Mapping[str, Any]) -> "OneCall | Wrong":
        id_, phone = (self.arguments[name].of(values) for name in ("id", "phone"))
        key = plain_key(id_, phone)
        if key is None:
            raise NotTaken
        max_age, until = (self.arguments.get(name) for name in ("maxAge", "until"))
        try:
            named = valid(key)
            age = seconds(max_age and max_age.of(values))
            last = check_until(until and until.of(values))
            return OneCall(
                self, named, StatusQuery(self.detail, self.kind, age, content=self.content), last
            )
        except InvalidArgument as error:
            return Wrong(self, error)


class OneCall:
    """One record asked for, or followed."""

    __slots__ = ("field", "key", "query", "until")

    def __init__(
        self, field: _One, key: StatusKey, query: StatusQuery, until: MessageState | None
    ) -> None:
        self.field = field
        self.key = key
        self.query = query
        self.until = until

    def now(self, service: StatusService) -> Known | None:
        answer = service.get_now(self.key, self.query)
        if answer is None:
            return None
        projection, basis = self.field.projection, None
        if answer.is_settled:
            basis = Basis((self.key,), (answer.entry,), projection.holds_until(answer))
        return Known(self.field.key + projection.write(answer), basis)

    async def run(self, service: StatusService, caller: str) -> Result:
        field, key, query = self.field, self.key, self.query
        try:
            answer = service.get_now(key, query)
            if answer is None:
                answer = await service.get_later(key, query._replace(caller=caller))
            return Result(field.key, field.projection.write(answer))
        except Exception as error:  # noqa: BLE001 - a field's fault is masked and logged, and spares the others
            return field.failed(error)

    async def follow(
        self, watches: Watches, caller: str, signal: Signal
    ) -> AsyncGenerator[bytes | None, None]:
        """The response bodies; None where `signal`, which wakes it, was set by others."""
        following = Following(self.field.detail, caller, self.until, self.field.content)
        async with aclosing(watches.events(self.key, following, signal)) as events:
            async for event in events:
                yield None if event is None else event.once(_body_of, self.field)


def _body_of(content: Content, field: _One) -> bytes:
    if isinstance(content, GatewayError):
        return body([field.failed(content)])
    return body([Result(field.key, field.projection.write(content))])


class Wrong(NamedTuple):
    """One record whose arguments are wrong."""

    field: _One
    error: InvalidArgument

    def now(self, _: StatusService) -> None:
        """Always None: `run` gives the error."""

    async def run(self, _: StatusService, __: str) -> Result:
        return self.field.failed(self.error)

    async def follow(self, _: Watches, __: str, ___: Signal) -> AsyncGenerator[bytes | None, None]:
        yield body([self.field.failed(self.error)])


class _Many(_Field):
    """`statuses`."""

    def __init__(self, key: str, nodes: Sequence[FieldNode], selection: Selection) -> None:
        super().__init__(key, nodes, spoils=True)
        paths = record_paths(selection.paths(nodes), "record")
        self.detail, self.content = level_for(paths), wants_content(paths)
        members = selection.collect(nodes, {"StatusResult"})
        self.found = Projection(
            {kind.__name__: found_picks(members, selection, kind) for kind in (Message, HlrLookup)}
        )
        self.unfound = [
            (
                name,
                source,
                reader(picks_of(group, selection, Problem)) if source == "problem" else None,
            )
            for name, group in members.items()
            for source in [group[0].name.value]
        ]

    def bind(self, values: Mapping[str, Any]) -> "ManyCall":
        items: Items = self.arguments["items"].of(values)
        max_age = self.arguments.get("maxAge")
        return ManyCall(self, items, max_age and max_age.of(values))


class ManyCall:
    """Many records asked for."""

    __slots__ = ("field", "items", "max_age")

    def __init__(self, field: _Many, items: Items, max_age: int | None) -> None:
        self.field = field
        self.items = items
        self.max_age = max_age

    def now(self, service: StatusService) -> Known | None:
        if self.max_age is not None:
            return None
        query = StatusQuery(self.field.detail, content=self.field.content)
        settled = service.get_settled(self.items.keys, query)
        if settled is None:
            return None
        entries, now = settled
        results, until = self.field.found.write_settled(entries, now)
        member = self.field.key + b"[" + b",".join(results) + b"]"
        return Known(member, Basis(self.items.keys, entries, until))

    async def run(self, service: StatusService, caller: str) -> Result:
        field = self.field
        try:
            query = StatusQuery(
                field.detail, None, seconds(self.max_age), caller=caller, content=field.content
            )
            outcomes = await service.get_many(self.items.keys, query)
            results = self._written(outcomes)
        except Exception as error:  # noqa: BLE001 - as for one
            return field.failed(error)
        return Result(field.key, b"[" + b",".join(results) + b"]")

    def _written(self, outcomes: Sequence[Answer | GatewayError]) -> list[bytes]:
        write = self.field.found.write
        return [
            write(outcome) if isinstance(outcome, Answer) else self._unfound(item, key, outcome)
            for item, key, outcome in zip(*self.items, outcomes, strict=True)
        ]

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
                name: told[source] if read is None else read(problem)
                for name, source, read in self.field.unfound
            }
        )
