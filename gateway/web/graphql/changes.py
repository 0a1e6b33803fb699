"""The subscription `changes`: the feed of all changes, as they come."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, cast

import strawberry
from strawberry.types.unset import UNSET

from gateway.archive.changes import Edge, FeedChange, position_of
from gateway.archive.feed import FeedReader
from gateway.errors import GatewayError
from gateway.model.described import Model
from gateway.wakeups import Signal
from gateway.web.graphql.archive import ChangeFilterInput, wanted_of
from gateway.web.graphql.arguments import Account
from gateway.web.graphql.engine import Context
from gateway.web.graphql.errors import field_error
from gateway.web.graphql.selection import selected_paths
from gateway.web.graphql.shown import histories, shown
from gateway.web.graphql.types import Info
from gateway.web.rest import feed as rest
from gateway.web.rest.feed import model_of_change, newest
from gateway.web.rest.history import archive_for

AT_ONCE = 100
"""Changes that are read together."""

strawberry.pydantic.type(rest.ChangeEvent, description=rest.ChangeEvent.__doc__)
if TYPE_CHECKING:
    ChangeEvent = Model
else:  # Strawberry reads it as a type
    ChangeEvent = rest.ChangeEvent


async def changes(
    info: Info,
    filter: Annotated[  # noqa: A002 - its name in the schema
        ChangeFilterInput | None, strawberry.argument(description="Which changes; by default all.")
    ] = UNSET,
    after: Annotated[
        str | None,
        strawberry.argument(
            description="The `cursor` to go on from; `now`: only what comes. By default from the "
            "oldest change that is kept."
        ),
    ] = UNSET,
    account: Account = UNSET,
) -> AsyncGenerator[ChangeEvent, None]:
    """Each change that matches, in the order of all changes."""
    paths = selected_paths(info._raw_info, rest.RECORD)  # noqa: SLF001 - not public yet
    try:
        context = info.context.at(account)
        feed = archive_for(context.caller, context.archive).feed
        position = position_of(after) if after else Edge.OLDEST
        reader = FeedReader(wanted_of(filter), position, Signal())
        with feed.reading(reader):
            while not feed.ended:
                page = await feed.page(reader, AT_ONCE)
                for change in page.changes:
                    yield model_of_change(change, await _record(context, change, paths))
                if not page.changes:
                    await reader.signal.wait()
    except GatewayError as error:  # yielded, it is the error of one event
        yield cast("Model", field_error(error))


async def _record(context: Context, change: FeedChange, paths: set[str]) -> Model | None:
    """The record, if it is selected."""
    answer = newest(change, context.service) if paths else None
    if answer is None:
        return None
    (history,) = await histories(context, paths, [answer])
    return shown(answer, context.caller, history)
