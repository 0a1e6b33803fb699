"""Registers the records, and the models around them, as types of the GraphQL schema."""

from typing import TYPE_CHECKING, Any

import strawberry

from gateway.archive.listing import Order
from gateway.archive.report import ArchiveReport, ArchiveState
from gateway.model import records
from gateway.model.described import RecordModel, twin
from gateway.model.records import HlrLookup, Message, StatusRecord
from gateway.upstream import status as link
from gateway.upstream.breaker import BreakerState
from gateway.upstream.budget.port import Sharing
from gateway.upstream.cost import Served
from gateway.upstream.forecast import Forecast
from gateway.web.graphql.engine import Context
from gateway.web.http.problems import Outcome, Problem

if TYPE_CHECKING:
    from gateway.model.described import Model


def _register_enum(enum: type[records.DescribedEnum]) -> None:
    strawberry.enum(enum, description=enum.__doc__)
    definition: Any = enum.__strawberry_definition__  # type: ignore[attr-defined] # just set
    for value, member in zip(definition.values, enum, strict=True):
        value.description = member.description


_ORDERS = {
    Order.CHANGED_DESC: "The latest change first",
    Order.CHANGED_ASC: "The earliest change first",
    Order.SENT_DESC: "The last sent first",
    Order.SENT_ASC: "The first sent first",
}


def _register_records() -> None:
    """Make the records GraphQL types; their docstrings are the descriptions."""
    for found in vars(records).values():
        if not isinstance(found, type) or found.__module__ != records.__name__:
            continue
        if issubclass(found, records.DescribedEnum) and found is not records.DescribedEnum:
            _register_enum(found)
    strawberry.enum(Order, name="RecordOrder", description="What a list is ordered by.")
    definition: Any = Order.__strawberry_definition__  # type: ignore[attr-defined] # just set
    for value, member in zip(definition.values, Order, strict=True):
        value.description = _ORDERS[member]
    _register_enum(BreakerState)
    _register_enum(Sharing)
    _register_enum(ArchiveState)
    strawberry.pydantic.interface(RecordModel, description=StatusRecord.__doc__)
    lean = (
        records.ProviderStatus,
        records.DeliveryError,
        records.Money,
        records.Subscriber,
        records.Network,
        records.Roaming,
        records.Porting,
        records.SmppState,
        records.Freshness,
        records.StateChange,
        Message,
        HlrLookup,
    )
    models: tuple[type[Model], ...] = (
        *map(twin, lean),
        Problem,
        link.MassBudget,
        link.PlacesBudget,
        link.MessageBudget,
        link.Budgets,
        link.Queue,
        link.BreakerReport,
        link.Counters,
        link.Ages,
        ArchiveReport,
        Served,
        Forecast,
    )
    for model in models:
        strawberry.pydantic.type(model, description=model.__doc__)
    strawberry.pydantic.type(link.LinkState, name="Provider", description=link.LinkState.__doc__)


_register_records()


strawberry.enum(Outcome, description=Outcome.__doc__)

Info = strawberry.Info[Context, None]
"""What a resolver is given besides its arguments."""
