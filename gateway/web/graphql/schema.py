"""The GraphQL schema (Strawberry): types made from the records; query, mutation, subscription."""

import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, cast

import strawberry
from graphql import GraphQLSchema, lexicographic_sort_schema, print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.types.scalar import DEFAULT_SCALAR_REGISTRY
from strawberry.types.unset import UNSET

from gateway.callers.model import Caller, Scope, require
from gateway.errors import GatewayError
from gateway.model import records
from gateway.model.described import (
    HlrLookupModel,
    MessageModel,
    Model,
    RecordModel,
)
from gateway.model.detail import level_for, wants_content
from gateway.model.freshness import Answer
from gateway.model.records import HlrLookup, Message, Record, StatusKey
from gateway.service import StatusQuery
from gateway.upstream import status as link
from gateway.upstream.forecast import Forecast
from gateway.watch import Following, check_until
from gateway.web.graphql.archive import RecordConnection, RecordSummary, record_summary
from gateway.web.graphql.archive import records as list_records
from gateway.web.graphql.arguments import Account, key_of, seconds, valid
from gateway.web.graphql.changes import ChangeEvent
from gateway.web.graphql.changes import changes as list_changes
from gateway.web.graphql.errors import field_error
from gateway.web.graphql.selection import selected_paths
from gateway.web.graphql.shown import History, histories, shown
from gateway.web.graphql.types import Info
from gateway.web.http.problems import Outcome, Problem, outcome_of, problem_of
from gateway.web.rest.deletion import delete


@strawberry.type(description="One item's result; a bad item never spoils the others.")
class StatusResult:
    """One item's result; a bad item never spoils the others."""

    id: strawberry.ID = strawberry.field(description="The id, as asked.")
    phone: str = strawberry.field(
        description="The phone: digits without `+`, or as asked where it is not valid."
    )
    outcome: Outcome = strawberry.field(description="Which of `record` and `problem` is there.")
    record: RecordModel | None = strawberry.field(description="The record, when FOUND.")
    problem: Problem | None = strawberry.field(description="What kept it from being found.")


@strawberry.input(
    name="StatusKey", description="What names a message or lookup: the id alone is not enough."
)
class StatusKeyInput:
    """What names a message or lookup: the id alone is not enough."""

    id: strawberry.ID = strawberry.field(description="The id the provider gave, in decimal.")
    phone: str = strawberry.field(description="The number or e-mail address it was sent to.")


async def _one(
    info: Info,
    id_: str,
    phone: str,
    kind: type[Record] | None,
    *,
    max_age: int | None,
    account: str | None,
) -> Model:
    try:
        context = info.context.at(account)
        require(context.caller, Scope.STATUS_READ)
        key = valid(key_of(id_, phone))
        paths = selected_paths(info._raw_info)  # noqa: SLF001 - not public yet
        want = StatusQuery(
            level_for(paths, kind),
            kind,
            seconds(max_age),
            caller=context.who,
            content=wants_content(paths),
        )
        answer = await context.service.get(key, want)
        (history,) = await histories(context, paths, [answer])
        return shown(answer, context.caller, history)
    except GatewayError as error:
        raise field_error(error) from error


def _result(
    item: StatusKeyInput,
    key: StatusKey | GatewayError,
    found: Answer | GatewayError,
    history: History,
    caller: Caller,
) -> StatusResult:
    named = (str(key.id), key.phone) if isinstance(key, StatusKey) else (item.id, item.phone)
    return StatusResult(
        id=strawberry.ID(named[0]),
        phone=named[1],
        outcome=outcome_of(found),
        record=None if isinstance(found, GatewayError) else shown(found, caller, history),
        problem=problem_of(found) if isinstance(found, GatewayError) else None,
    )


async def _many(
    info: Info, items: list[StatusKeyInput], max_age: int | None, account: str | None
) -> list[StatusResult]:
    paths = selected_paths(info._raw_info, "record")  # noqa: SLF001 - as above
    context = info.context.at(account)
    require(context.caller, Scope.STATUS_READ)
    want = StatusQuery(
        level_for(paths),
        None,
        seconds(max_age),
        caller=context.who,
        content=wants_content(paths),
    )
    keys = [key_of(item.id, item.phone) for item in items]
    found = await context.service.get_many(keys, want)
    told = await histories(context, paths, found)
    return [_result(*one, context.caller) for one in zip(items, keys, found, told, strict=True)]


_Id = Annotated[
    strawberry.ID, strawberry.argument(description="The id the provider gave, in decimal.")
]
_Phone = Annotated[
    str, strawberry.argument(description="The number or e-mail address it was sent to.")
]
_MaxAge = Annotated[
    int | None,
    strawberry.argument(
        description="Oldest answer that will do, in seconds; by default, one that is still fresh."
    ),
]

_Until = Annotated[
    records.MessageState | None,
    strawberry.argument(
        description="Go on after DELIVERED until this state (READ or CLICKED), a failure, or a "
        "day; by default a message is followed until it is final."
    ),
]


@strawberry.type(description="What can be asked.")
class Query:
    """What can be asked."""

    @strawberry.field(description="One message. An HLR lookup is a `KIND_MISMATCH` here.")
    async def message(
        self,
        info: Info,
        id: _Id,
        phone: _Phone,
        max_age: _MaxAge = UNSET,
        account: Account = UNSET,
    ) -> MessageModel | None:
        return await _one(info, id, phone, Message, max_age=max_age, account=account)

    @strawberry.field(description="One HLR lookup. A message is a `KIND_MISMATCH` here.")
    async def hlr_lookup(
        self,
        info: Info,
        id: _Id,
        phone: _Phone,
        max_age: _MaxAge = UNSET,
        account: Account = UNSET,
    ) -> HlrLookupModel | None:
        return await _one(info, id, phone, HlrLookup, max_age=max_age, account=account)

    @strawberry.field(description="One record, whichever kind it is.")
    async def status(
        self,
        info: Info,
        id: _Id,
        phone: _Phone,
        max_age: _MaxAge = UNSET,
        account: Account = UNSET,
    ) -> RecordModel | None:
        return await _one(info, id, phone, None, max_age=max_age, account=account)

    @strawberry.field(description="Many records, in the order of the items; at most 1,000.")
    async def statuses(
        self,
        info: Info,
        items: Annotated[
            list[StatusKeyInput], strawberry.argument(description="The messages and lookups.")
        ],
        max_age: _MaxAge = UNSET,
        account: Account = UNSET,
    ) -> list[StatusResult]:
        try:
            return await _many(info, items, max_age, account)
        except GatewayError as error:
            raise field_error(error) from error

    @strawberry.field(
        description="What `statuses` would cost now, and when all would be known; the provider is "
        "not asked. An item that is not valid costs nothing."
    )
    async def forecast(
        self,
        info: Info,
        items: Annotated[
            list[StatusKeyInput], strawberry.argument(description="The messages and lookups.")
        ],
        max_age: _MaxAge = UNSET,
        detail: Annotated[
            records.DetailLevel,
            strawberry.argument(description="The detail that would be selected."),
        ] = records.DetailLevel.FULL,
        account: Account = UNSET,
    ) -> Forecast:
        try:
            context = info.context.at(account)
            require(context.caller, Scope.STATUS_READ)
            query = StatusQuery(detail, None, seconds(max_age), caller=context.who)
            return await context.service.forecast([key_of(i.id, i.phone) for i in items], query)
        except GatewayError as error:
            raise field_error(error) from error

    records: RecordConnection = strawberry.field(
        resolver=list_records,
        description="Records that are kept, page by page; the provider is never asked. Needs the "
        "scope `record:list`.",
    )
    record_summary: RecordSummary = strawberry.field(
        resolver=record_summary,
        description="Counts and delivery times of the records that are kept. Needs the scope "
        "`record:list`.",
    )

    @strawberry.field(description="The link to the provider: what may be asked, and how it goes.")
    def provider(self, info: Info, account: Account = UNSET) -> link.LinkState:
        try:
            context = info.context.at(account)
            require(context.caller, Scope.PROVIDER_READ)
        except GatewayError as error:
            raise field_error(error) from error
        return context.service.link()


@strawberry.type(description="What can be changed.")
class Mutation:
    """What can be changed."""

    @strawberry.mutation(
        description="Delete a message at the provider; it can't be undone. True: it is gone. Needs "
        "the scope `message:delete`."
    )
    async def delete_message(
        self, info: Info, id: _Id, phone: _Phone, account: Account = UNSET
    ) -> bool:
        try:
            context = info.context.at(account)
            key = valid(key_of(id, phone))
            await delete(context.service, key, context.caller, context.who)
        except GatewayError as error:
            raise field_error(error) from error
        return True


@strawberry.type(description="What can be followed.")
class Subscription:
    """What can be followed."""

    @strawberry.subscription(
        description="One record: at once, and at each change, until it is final. A record that is "
        "stale, or an error, tells that nothing newer can be had at the moment."
    )
    async def status(
        self,
        info: Info,
        id: _Id,
        phone: _Phone,
        until: _Until = UNSET,
        account: Account = UNSET,
    ) -> AsyncGenerator[RecordModel, None]:
        caller = info.context.caller
        try:
            context = info.context.at(account)
            require(caller, Scope.STATUS_READ)
            key = valid(key_of(id, phone))
            last = check_until(until or None)
        except GatewayError as error:
            yield _event(error, caller)
            return
        paths = selected_paths(info._raw_info)  # noqa: SLF001 - as above
        reader = Following(level_for(paths), context.who, last, wants_content(paths))
        async with aclosing(context.watches.follow(key, reader)) as events:
            async for event in events:
                (history,) = await histories(context, paths, [event])
                yield _event(event, caller, history)

    changes: AsyncGenerator[ChangeEvent, None] = strawberry.subscription(
        resolver=list_changes,
        description="Each change of a state, of all messages and lookups, in the order in which "
        "they were learned: who goes on from the last `cursor` sees each exactly once. Needs the "
        "scope `record:list`.",
    )


def _event(event: Answer | GatewayError, caller: Caller, history: History = None) -> Model:
    """An exception that is yielded is the error of one event; raised, it would end the stream."""
    if isinstance(event, GatewayError):
        return cast("Model", field_error(event))
    return shown(event, caller, history)


def _utc(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_DATE_TIME = strawberry.scalar(
    name="DateTime",
    description="A moment in UTC (RFC 3339), such as `2023-11-14T22:13:20Z`.",
    serialize=_utc,
    parse_value=dt.datetime.fromisoformat,
)


def strawberry_schema(
    query: type = Query, scalars: Mapping[object, Any] | None = None
) -> strawberry.Schema:
    """The schema as Strawberry makes it."""
    return strawberry.Schema(
        query,
        mutation=Mutation,
        subscription=Subscription,
        types=[MessageModel, HlrLookupModel],
        config=StrawberryConfig(
            scalar_map={
                dt.datetime: _DATE_TIME,
                records.RecordId: DEFAULT_SCALAR_REGISTRY[strawberry.ID],
                **(scalars or {}),
            }
        ),
    )


def create_schema() -> GraphQLSchema:
    """The schema for graphql-core to execute: documents are parsed, checked and kept by us."""
    return strawberry_schema()._schema  # noqa: SLF001 - it has no public name


def sdl() -> str:
    """The schema in GraphQL's own language, sorted, so that a change is a small difference."""
    return print_schema(lexicographic_sort_schema(create_schema())) + "\n"
