"""The fields of the GraphQL schema that read the archive: `records` and `recordSummary`.

Lists are connections by Relay's specification (https://relay.dev/graphql/connections.htm), of which
only the way forward is there.
"""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import strawberry
from pydantic import Field, create_model
from pydantic.alias_generators import to_camel
from strawberry.types.unset import UNSET

from gateway.archive import summary
from gateway.archive.archive import Archive
from gateway.archive.filters import RecordFilter, read_filter
from gateway.archive.listing import MOST, Listed, Order, cursor_of, position_of
from gateway.errors import GatewayError, InvalidArgument
from gateway.model.described import Model, RecordModel
from gateway.model.freshness import Answer
from gateway.model.records import DeliveryErrorCode, RecordKind, RecordState, StateGroup
from gateway.web.graphql.arguments import Account
from gateway.web.graphql.engine import Context
from gateway.web.graphql.errors import field_error
from gateway.web.graphql.selection import selected_paths
from gateway.web.graphql.shown import histories, shown
from gateway.web.graphql.types import Info
from gateway.web.rest.fields import HISTORY
from gateway.web.rest.history import archive_for
from gateway.web.rest.listing import DEFAULT_LIMIT


def _filter(description: str) -> Any:  # noqa: ANN401 - a field of any type
    return strawberry.field(default=UNSET, description=description)


@strawberry.input(
    name="ChangeFilter",
    description="Which changes are meant. All that are given must hold; of a list, any value.",
)
class ChangeFilterInput:
    """Which changes are meant."""

    phone: list[str] | None = _filter("Numbers or e-mail addresses, in any spelling.")
    kind: list[RecordKind] | None = _filter("Messages or lookups.")
    state: list[RecordState] | None = _filter("States of messages or lookups.")
    state_group: list[StateGroup] | None = _filter("Groups of message states.")
    is_final: bool | None = _filter("Is the delivery decided?")
    error_code: list[DeliveryErrorCode] | None = _filter("Delivery errors.")
    operator: list[str] | None = _filter("Names of operators, as the records have them.")
    sender: list[str] | None = _filter("Sender names.")


@strawberry.input(
    name="RecordFilter",
    description="Which records are meant. All that are given must hold; of a list, any value.",
)
class RecordFilterInput(ChangeFilterInput):
    """Which records are meant."""

    id: list[strawberry.ID] | None = _filter("Ids, in decimal.")
    sent_after: dt.datetime | None = _filter("Sent at this time or later.")
    sent_before: dt.datetime | None = _filter("Sent before this time.")
    changed_after: dt.datetime | None = _filter("Whose state was learned then or later.")
    changed_before: dt.datetime | None = _filter("Whose state was learned before this time.")


def wanted_of(given: ChangeFilterInput | None) -> RecordFilter:
    """The filter that an argument names; `InvalidArgument` names what is wrong with it."""
    if not given:
        return RecordFilter()
    texts: dict[str, list[str]] = {}
    for field in given.__strawberry_definition__.fields:  # type: ignore[attr-defined] # Strawberry's
        value = getattr(given, field.python_name)
        if value is not UNSET and value is not None:
            name = field.graphql_name or to_camel(field.python_name)
            texts[name] = [_text(one) for one in (value if isinstance(value, list) else [value])]
    return read_filter(texts, splits=False)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


@strawberry.type(description="A record of a list, and its place there.")
class RecordEdge:
    """A record of a list, and its place there."""

    cursor: str = strawberry.field(description="What `after` takes to go on behind it.")
    node: RecordModel = strawberry.field(description="The record.")


@strawberry.type(description="Where a page is in its list.")
class PageInfo:
    """Where a page is in its list."""

    has_next_page: bool = strawberry.field(description="Is there a page after this one?")
    has_previous_page: bool = strawberry.field(description="Is there a page before this one?")
    start_cursor: str | None = strawberry.field(description="The cursor of the first record.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last record.")


async def _total_count(root: strawberry.Parent["RecordConnection"]) -> int:
    try:
        return await root.archive.count(root.wanted)
    except GatewayError as error:
        raise field_error(error) from error


@strawberry.type(description="A page of records.")
class RecordConnection:
    """A page of records."""

    edges: list[RecordEdge] = strawberry.field(description="The records with their cursors.")
    nodes: list[RecordModel] = strawberry.field(description="The records.")
    page_info: PageInfo = strawberry.field(description="Where this page is.")
    archive: strawberry.Private[Archive]
    wanted: strawberry.Private[RecordFilter]

    total_count: int = strawberry.field(
        resolver=_total_count, description="How many records match; counted when it is selected."
    )


_Filter = Annotated[
    RecordFilterInput | None, strawberry.argument(description="Which records; by default all.")
]
_Order = Annotated[Order | None, strawberry.argument(description="What comes first.")]
_First = Annotated[
    int | None, strawberry.argument(description=f"How many records at the most, 1 to {MOST:,}.")
]
_After = Annotated[
    str | None, strawberry.argument(description="The `endCursor` of the page before this one.")
]


async def records(  # noqa: PLR0917 - Strawberry gives them by name
    info: Info,
    filter: _Filter = UNSET,  # noqa: A002 - its name in the schema
    order: _Order = Order.CHANGED_DESC,
    first: _First = DEFAULT_LIMIT,
    after: _After = UNSET,
    account: Account = UNSET,
) -> RecordConnection:
    """A page of the records that are kept."""
    try:
        context = info.context.at(account)
        archive = archive_for(context.caller, context.archive)
        wanted, order = wanted_of(filter), order or Order.CHANGED_DESC
        first = DEFAULT_LIMIT if first is None else first
        if not 1 <= first <= MOST:
            raise InvalidArgument(f"first must be a number from 1 to {MOST}.")
        position = position_of(after, order) if after else None
        listed = await archive.list_page(wanted, order, after=position, limit=first + 1)
        nodes = await _nodes(info, context, listed[:first])
    except GatewayError as error:
        raise field_error(error) from error
    cursors = [cursor_of(order, one.position) for one in listed[:first]]
    return RecordConnection(
        edges=[
            RecordEdge(cursor=cursor, node=node)
            for cursor, node in zip(cursors, nodes, strict=True)
        ],
        nodes=nodes,
        page_info=PageInfo(
            has_next_page=len(listed) > first,
            has_previous_page=position is not None,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        ),
        archive=archive,
        wanted=wanted,
    )


async def _nodes(info: Info, context: Context, listed: Sequence[Listed]) -> list[Model]:
    now = context.service.now()
    answers = [Answer(one.entry, now) for one in listed]
    below = selected_paths(info._raw_info, "nodes")  # noqa: SLF001 - not public yet
    if "node.history" in selected_paths(info._raw_info, "edges"):  # noqa: SLF001 - as above
        below.add(HISTORY)
    told = await histories(context, below, answers)
    return [shown(one, context.caller, history) for one, history in zip(answers, told, strict=True)]


class SlowShare(Model):
    """Deliveries that took longer than so many seconds."""

    seconds: int
    """They took longer than this."""
    share: float
    """Their share of all deliveries, from 0 to 1."""


def _twin(model: type[Model]) -> type[Model]:
    """A model as GraphQL can have it: no member of an object is a number there."""
    fields: dict[str, Any] = {
        name: (_typed(field.annotation), Field(..., description=field.description))
        for name, field in model.model_fields.items()
    }
    twin = create_model(model.__name__, __base__=Model, __doc__=model.__doc__, **fields)
    strawberry.pydantic.type(twin, description=model.__doc__)
    _TWINS[model] = twin
    return twin


_TWINS: dict[type[Model], type[Model]] = {}


def _typed(annotation: Any) -> Any:  # noqa: ANN401 - any annotation
    if get_origin(annotation) is dict:
        return list[SlowShare]
    if get_origin(annotation) is list:
        (item,) = get_args(annotation)
        return list[_typed(item)]  # type: ignore[misc] # a type made at run time
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _TWINS.get(annotation) or _twin(annotation)
    return annotation


def _value(value: Any) -> Any:  # noqa: ANN401 - any value of a model
    if isinstance(value, dict):
        return [SlowShare(seconds=int(name), share=share) for name, share in value.items()]
    if isinstance(value, list):
        return [_value(one) for one in value]
    if isinstance(value, Model):
        fields = {name: _value(getattr(value, name)) for name in type(value).model_fields}
        return _TWINS[type(value)].model_construct(**fields)
    return value


strawberry.pydantic.type(SlowShare, description=SlowShare.__doc__)
if TYPE_CHECKING:
    RecordSummary = Model
else:  # Strawberry reads it as a type
    RecordSummary = _twin(summary.RecordSummary)


async def record_summary(
    info: Info,
    filter: _Filter = UNSET,  # noqa: A002 - its name in the schema
    account: Account = UNSET,
) -> RecordSummary:
    """Counts and delivery times of the records that are kept."""
    try:
        context = info.context.at(account)
        archive = archive_for(context.caller, context.archive)
        told: RecordSummary = _value(await archive.summary(wanted_of(filter)))
    except GatewayError as error:
        raise field_error(error) from error
    return told
