"""Executes operations: compiled where that is possible, else by Strawberry."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from graphql import ExecutionResult, GraphQLSchema, OperationType, execute, subscribe

from gateway.archive.archive import Archive
from gateway.callers.model import Caller
from gateway.errors import InvalidArgument
from gateway.service import StatusService
from gateway.upstream.cost import costing
from gateway.wakeups import Signal, interruptible
from gateway.watch import Watches
from gateway.web.graphql import compiled
from gateway.web.graphql.compiled import CompiledOperation, OneCall, Wrong
from gateway.web.graphql.documents import Documents, Operation
from gateway.web.graphql.errors import RequestRefused, response
from gateway.web.graphql.plain import NotTaken
from gateway.web.graphql.program import Call, Known, Program
from gateway.web.http.accounts import account_named, accounts_of
from gateway.web.http.state import AccountState


class GraphQLRequest(NamedTuple):
    """The request's parameters; it has a `query`, the hash of one, or both."""

    query: str | None
    digest: str | None = None
    variables: Mapping[str, Any] = {}
    operation_name: str | None = None
    wants_cost: bool = False


class Prepared(NamedTuple):
    """An operation that is ready to run, for anybody, again and again.

    `calls` are its fields when it is compiled to a `program`, None when it is Strawberry's.
    `wants_cost`: the answer tells what it cost, which it does at Strawberry's alone.
    """

    operation: Operation
    variables: Mapping[str, Any]
    program: Program | None = None
    calls: Sequence[Call] | None = None
    wants_cost: bool = False

    def calls_for(self, caller: Caller) -> Sequence[Call] | None:
        """The compiled fields, if the caller may see all that they show."""
        if self.program is None or not self.program.is_shown_to(caller):
            return None
        return self.calls


class Context(NamedTuple):
    """What operations work with; `who` tells callers apart where they take turns.

    `account` is that of `service`, `watches` and `archive`; None: none of `accounts` was chosen,
    and each field has to name one.
    """

    service: StatusService
    watches: Watches
    caller: Caller
    who: str
    archive: Archive | None = None
    account: str | None = ""
    accounts: Mapping[str, AccountState] = MappingProxyType({})

    def at(self, account: object = None) -> "Context":
        """The same for the account that a field names, by default the one that was chosen.

        Raises `InvalidArgument` where that is none, and `Forbidden` for one of others.
        """
        if not isinstance(account, str):
            if self.account is None:
                raise InvalidArgument(
                    "account must be named, by the argument or by X-Account: one of "
                    f"{', '.join(accounts_of(self.caller, self.accounts))}."
                )
            return self
        there = account_named(account, self.caller, self.accounts)
        return self._replace(
            service=there["service"],
            watches=there["watches"],
            archive=there["archive"],
            account=account,
        )


COMPILED, STRAWBERRY = "compiled", "strawberry"
"""What executes an operation, as it is counted."""


class Engine:
    """Executes the operations of one schema. `compiles`: see `compiled`.

    `operations` counts them by type and by what executed them.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        *,
        compiles: bool = True,
        operations: Counter[tuple[str, str]] | None = None,
    ) -> None:
        self._schema = schema
        self._documents = documents
        self._compiles = compiles
        self._operations = Counter() if operations is None else operations

    def prepare(self, request: GraphQLRequest) -> Prepared:
        """Find the operation that is asked for, and all that does not depend on who asks.

        Raises `RequestRefused`.
        """
        document = self._documents.find(request.query, request.digest)
        operation = document.operation(request.operation_name)
        operation.check_cost(request.variables)
        if request.wants_cost and operation.type is not OperationType.SUBSCRIPTION:
            return Prepared(operation, request.variables, wants_cost=True)
        try:
            program = self._program(operation)
            return Prepared(operation, request.variables, program, program.bind(request.variables))
        except NotTaken:
            return Prepared(operation, request.variables)

    def execute_now(
        self, prepared: Prepared, service: StatusService, caller: Caller
    ) -> Known | None:
        """The response body if it can be made without waiting, else None."""
        calls = prepared.calls_for(caller)
        found = None if calls is None else compiled.run_now(calls, service)
        if found is not None:
            self.count_again(prepared)
        return found

    def count_again(self, prepared: Prepared) -> None:
        """Count an operation that was compiled, also where its last answer is sent again."""
        self._operations[prepared.operation.type_name, COMPILED] += 1

    def execute(self, prepared: Prepared, context: Context) -> Awaitable[bytes]:
        """The response body to a query or mutation; raises `RequestRefused`."""
        calls = self._calls_for(prepared, context)
        if calls is not None:
            return compiled.run(calls, context.service, context.who)
        if prepared.wants_cost:
            return self._execute_costing(prepared, context)
        return self._execute(prepared, context)

    async def _execute_costing(self, prepared: Prepared, context: Context) -> bytes:
        with costing() as cost:
            body = await self._execute(prepared, context)
        told = orjson.dumps({"cost": cost.report().model_dump(by_alias=True)})
        return body[:-1] + b',"extensions":' + told + b"}"

    async def _execute(self, prepared: Prepared, context: Context) -> bytes:
        result = execute(
            self._schema,
            prepared.operation.document.node,
            context_value=context,
            variable_values=dict(prepared.variables),
            operation_name=prepared.operation.name,
            hide_suggestions=not self._documents.tells_schema,
        )
        return self._body(result if isinstance(result, ExecutionResult) else await result)

    async def stream(
        self, prepared: Prepared, context: Context, signal: Signal
    ) -> AsyncGenerator[bytes | None, None]:
        """The response bodies to any operation, one after the other; raises `RequestRefused`.

        A change of what was not selected of a record is none. None: `signal`, which wakes it, was
        set by others, or there is nothing new.
        """
        told = b""
        is_feed = prepared.operation.is_feed
        async with aclosing(self._bodies(prepared, context, signal)) as bodies:
            async for body in bodies:
                if body is None or (body == told and not is_feed):
                    yield None
                else:
                    told = body
                    yield body

    def _bodies(
        self, prepared: Prepared, context: Context, signal: Signal
    ) -> AsyncGenerator[bytes | None, None]:
        if prepared.operation.type is not OperationType.SUBSCRIPTION:
            return interruptible(self._execute_once(prepared, context), signal)
        calls = self._calls_for(prepared, context)
        if calls is None:
            return interruptible(self._subscribe(prepared, context), signal)
        (call,) = calls
        assert isinstance(call, OneCall | Wrong)  # noqa: S101 - a subscription has one field, of a record
        return call.follow(context.watches, context.who, signal)

    async def _execute_once(
        self, prepared: Prepared, context: Context
    ) -> AsyncGenerator[bytes, None]:
        yield await self.execute(prepared, context)

    async def _subscribe(self, prepared: Prepared, context: Context) -> AsyncGenerator[bytes, None]:
        subscribed: Any = subscribe(
            self._schema,
            prepared.operation.document.node,
            context_value=context,
            variable_values=dict(prepared.variables),
            operation_name=prepared.operation.name,
            hide_suggestions=not self._documents.tells_schema,
        )
        results = await subscribed if isawaitable(subscribed) else subscribed
        if isinstance(results, ExecutionResult):
            yield self._body(results)
            return
        async with aclosing(results):
            async for result in results:
                yield self._body(result)

    def _calls_for(self, prepared: Prepared, context: Context) -> Sequence[Call] | None:
        calls = None if context.account is None else prepared.calls_for(context.caller)
        path = STRAWBERRY if calls is None else COMPILED
        self._operations[prepared.operation.type_name, path] += 1
        return calls

    def _program(self, operation: Operation) -> Program:
        """What an operation is compiled to; `NotTaken` where Strawberry executes it."""
        if not self._compiles or operation.type is OperationType.MUTATION:
            raise NotTaken
        if operation.program is None:
            operation.program = CompiledOperation(operation)
        return operation.program

    def _body(self, result: ExecutionResult) -> bytes:
        """An error without a path came before execution: of a variable, or the operation itself."""
        errors = self._documents.worded(result.errors or [])
        if result.data is None and errors and all(error.path is None for error in errors):
            raise RequestRefused(errors)
        return response(orjson.dumps(result.data), errors)
