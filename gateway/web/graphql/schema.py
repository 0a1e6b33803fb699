"""The GraphQL schema: the records' classes, and the queries that give them."""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import strawberry
from graphql import GraphQLError, lexicographic_sort_schema, print_schema
from starlette.requests import Request
from strawberry.extensions import (
    MaskErrors,
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.types.scalar import DEFAULT_SCALAR_REGISTRY
from strawberry.types import ExecutionContext
from strawberry.types.unset import UNSET

from gateway import link, records
from gateway.breaker import BreakerState
from gateway.detail import level_for
from gateway.errors import GatewayError, InvalidArgument
from gateway.freshness import Answer
from gateway.records import HlrLookup, Message, Record, StatusKey, StatusRecord, key_or_error
from gateway.service import StatusService, Want
from gateway.web.graphql.selection import selected_paths
from gateway.web.problems import Outcome, Problem, extensions_of, outcome_of, problem_of
from gateway.web.state import State, caller_of

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Context:
    """What the resolvers work with."""

    request: Request[State]

    @property
    def service(self) -> StatusService:
        return self.request.state["service"]


Info = strawberry.Info[Context, None]


def _register_enum(enum: type[records.DescribedEnum]) -> None:
    strawberry.enum(enum, description=enum.__doc__)
    definition: Any = enum.__strawberry_definition__  # type: ignore[attr-defined] # just set
    for value, member in zip(definition.values, enum, strict=True):
        value.description = member.description


def _register_records() -> None:
    """Make the records GraphQL types; their docstrings are the descriptions."""
    for found in vars(records).values():
        if not isinstance(found, type) or found.__module__ != records.__name__:
            continue
        if issubclass(found, records.DescribedEnum) and found is not records.DescribedEnum:
            _register_enum(found)
    _register_enum(BreakerState)
    strawberry.pydantic.interface(StatusRecord, description=StatusRecord.__doc__)
    for model in (
        records.ProviderStatus,
        records.DeliveryError,
        records.Money,
        records.Subscriber,
        records.Network,
        records.Roaming,
        records.Porting,
        records.SmppState,
        records.Freshness,
        Message,
        HlrLookup,
        Problem,
        link.MassBudget,
        link.PlacesBudget,
        link.MessageBudget,
        link.Budgets,
        link.Queue,
        link.BreakerReport,
        link.Counters,
        link.Ages,
    ):
        strawberry.pydantic.type(model, description=model.__doc__)
    strawberry.pydantic.type(link.LinkState, name="Provider", description=link.LinkState.__doc__)


_register_records()


strawberry.enum(Outcome, description=Outcome.__doc__)


@strawberry.type(description="One item's result; a bad item never spoils the others.")
class StatusResult:
    """One item's result; a bad item never spoils the others."""

    id: strawberry.ID = strawberry.field(description="The id, as asked.")
    phone: str = strawberry.field(
        description="The phone: digits without `+`, or as asked where it is not valid."
    )
    outcome: Outcome = strawberry.field(description="Which of `record` and `problem` is there.")
    record: StatusRecord | None = strawberry.field(description="The record, when FOUND.")
    problem: Problem | None = strawberry.field(description="What kept it from being found.")


@strawberry.input(
    name="StatusKey", description="What names a message or lookup: the id alone is not enough."
)
class StatusKeyInput:
    """What names a message or lookup: the id alone is not enough."""

    id: strawberry.ID = strawberry.field(description="The id the provider gave, in decimal.")
    phone: str = strawberry.field(description="The number or e-mail address it was sent to.")


async def _one(
    info: Info, id_: str, phone: str, max_age: int | None, kind: type[Record] | None
) -> Record:
    try:
        key = StatusKey.parse(id=id_, phone=phone)
        detail = level_for(selected_paths(info._raw_info), kind)  # noqa: SLF001 - not public yet
        want = Want(detail, kind, _age(max_age), caller=caller_of(info.context.request))
        return (await info.context.service.get(key, want)).as_record()
    except GatewayError as error:
        raise _graphql_error(error) from error


def _age(max_age: int | None) -> float | None:
    if not isinstance(max_age, int):
        return None
    if max_age < 0:
        raise InvalidArgument("maxAge must be a number of seconds, 0 or more.")
    return max_age


def _graphql_error(error: GatewayError) -> GraphQLError:
    return GraphQLError(error.detail or error.title, extensions=extensions_of(error))


def _result(
    item: StatusKeyInput, key: StatusKey | GatewayError, found: Answer | GatewayError
) -> StatusResult:
    named = (str(key.id), key.phone) if isinstance(key, StatusKey) else (item.id, item.phone)
    return StatusResult(
        id=strawberry.ID(named[0]),
        phone=named[1],
        outcome=outcome_of(found),
        record=None if isinstance(found, GatewayError) else found.as_record(),
        problem=problem_of(found) if isinstance(found, GatewayError) else None,
    )


async def _many(info: Info, items: list[StatusKeyInput], max_age: int | None) -> list[StatusResult]:
    detail = level_for(selected_paths(info._raw_info, "record"))  # noqa: SLF001 - as above
    want = Want(detail, None, _age(max_age), caller=caller_of(info.context.request))
    keys = [key_or_error(item.id, item.phone) for item in items]
    found = await info.context.service.get_many(keys, want)
    return [_result(*one) for one in zip(items, keys, found, strict=True)]


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
    ) -> Message | None:
        record = await _one(info, id, phone, max_age, Message)
        return record if isinstance(record, Message) else None

    @strawberry.field(description="One HLR lookup. A message is a `KIND_MISMATCH` here.")
    async def hlr_lookup(
        self,
        info: Info,
        id: _Id,
        phone: _Phone,
        max_age: _MaxAge = UNSET,
    ) -> HlrLookup | None:
        record = await _one(info, id, phone, max_age, HlrLookup)
        return record if isinstance(record, HlrLookup) else None

    @strawberry.field(description="One record, whichever kind it is.")
    async def status(
        self,
        info: Info,
        id: _Id,
        phone: _Phone,
        max_age: _MaxAge = UNSET,
    ) -> StatusRecord | None:
        return await _one(info, id, phone, max_age, None)

    @strawberry.field(description="Many records, in the order of the items; at most 1,000.")
    async def statuses(
        self,
        info: Info,
        items: Annotated[
            list[StatusKeyInput], strawberry.argument(description="The messages and lookups.")
        ],
        max_age: _MaxAge = UNSET,
    ) -> list[StatusResult]:
        try:
            return await _many(info, items, max_age)
        except GatewayError as error:
            raise _graphql_error(error) from error

    @strawberry.field(description="The link to the provider: what may be asked, and how it goes.")
    def provider(self, info: Info) -> link.LinkState:
        return info.context.service.link()


def _is_unexpected(error: GraphQLError) -> bool:
    """A fault of ours: neither the caller's mistake nor an error of the tree."""
    original = error.original_error
    return original is not None and not isinstance(original, GraphQLError)


class _Schema(strawberry.Schema):
    def process_errors(
        self,
        errors: list[GraphQLError],
        execution_context: ExecutionContext | None = None,  # noqa: ARG002 - the base's own
    ) -> None:
        """Log faults of ours; expected errors are the caller's news, not the operator's."""
        for error in errors:
            if _is_unexpected(error):
                log.error("a GraphQL field failed", exc_info=error.original_error)


def _utc(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_DATE_TIME = strawberry.scalar(
    name="DateTime",
    description="A moment in UTC (RFC 3339), such as `2023-11-14T22:13:20Z`.",
    serialize=_utc,
    parse_value=dt.datetime.fromisoformat,
)


def _extensions() -> list[Callable[[], SchemaExtension]]:
    return [
        lambda: MaxTokensLimiter(max_token_count=10_000),
        lambda: MaskErrors(should_mask_error=_is_unexpected),
        ParserCache,
        ValidationCache,
    ]


schema = _Schema(
    Query,
    types=[Message, HlrLookup],
    extensions=_extensions(),
    config=StrawberryConfig(
        scalar_map={
            dt.datetime: _DATE_TIME,
            records.RecordId: DEFAULT_SCALAR_REGISTRY[strawberry.ID],
        }
    ),
)


def sdl() -> str:
    """The schema in GraphQL's own language, sorted, so that a change is a small difference."""
    return print_schema(lexicographic_sort_schema(schema._schema)) + "\n"  # noqa: SLF001
