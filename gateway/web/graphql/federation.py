"""Apollo Federation 2: `Message` and `HlrLookup` as entities, for a supergraph to join.

https://www.apollographql.com/docs/graphos/schema-design/federated-schemas/reference/subgraph-spec

Strawberry's own federation resolves one reference after the other and marks the types for every
schema that has them; here all references of a request are planned together, as any list is.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, NewType

import strawberry
from graphql import GraphQLSchema, print_schema

from gateway.callers.model import Scope, require
from gateway.errors import GatewayError, InvalidArgument
from gateway.model.described import HlrLookupModel, MessageModel, Model
from gateway.model.detail import level_for, wants_content
from gateway.model.records import HlrLookup, Message, Record
from gateway.service import StatusQuery
from gateway.web.graphql.arguments import key_of
from gateway.web.graphql.errors import field_error
from gateway.web.graphql.schema import Query, strawberry_schema
from gateway.web.graphql.selection import selected_paths
from gateway.web.graphql.shown import histories, shown
from gateway.web.graphql.types import Info

if TYPE_CHECKING:
    from gateway.model.freshness import Answer
    from gateway.web.graphql.shown import History

KINDS: dict[str, type[Record]] = {"Message": Message, "HlrLookup": HlrLookup}

_LINK = """\
extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])

"""

_Any = NewType("_Any", object)
_Entity = Annotated[
    MessageModel | HlrLookupModel,
    strawberry.union("_Entity", description="What a supergraph can join."),
]


@strawberry.type(name="_Service", description="What a supergraph is composed from.")
class _Service:
    sdl: str = strawberry.field(description="The schema, with the keys of its entities.")


def federated_schema() -> GraphQLSchema:
    """The schema with the fields that a supergraph's router asks for."""
    sdl = _LINK + print_schema(strawberry_schema()._schema)  # noqa: SLF001 - as in `schema`
    for name in KINDS:
        head = f"type {name} implements StatusRecord"
        sdl = sdl.replace(f"{head} {{", f'{head} @key(fields: "id phone") {{')

    @strawberry.type(name="Query", description="What can be asked.")
    class FederatedQuery(Query):
        @strawberry.field(name="_service", description="The schema of this subgraph.")
        def service(self) -> _Service:
            return _Service(sdl=sdl)

        @strawberry.field(name="_entities", description="Records by their keys.")
        async def entities(
            self,
            info: Info,
            representations: Annotated[
                list[_Any],
                strawberry.argument(description="Objects with `__typename`, `id` and `phone`."),
            ],
        ) -> list[_Entity | None]:
            try:
                found: Any = await _entities(info, representations)
            except GatewayError as error:
                raise field_error(error) from error
            return found  # type: ignore[no-any-return] # errors among them are told as such

    return strawberry_schema(FederatedQuery, scalars={_Any: _ANY})._schema  # noqa: SLF001 - as above


_ANY = strawberry.scalar(
    name="_Any", description="The key of an entity.", serialize=lambda v: v, parse_value=lambda v: v
)


async def _entities(info: Info, representations: list[Any]) -> list[Model | Exception]:
    """Each reference's record, or what went wrong with it."""
    context = info.context.at()
    caller = context.caller
    require(caller, Scope.STATUS_READ)
    found: dict[int, Answer | GatewayError] = {}
    told: dict[int, History] = {}
    by_kind: dict[type[Record], dict[int, Any]] = {kind: {} for kind in KINDS.values()}
    for place, given in enumerate(representations):
        if isinstance(given, dict) and given.get("__typename") in KINDS:
            key = key_of(given.get("id"), given.get("phone"))
            by_kind[KINDS[given["__typename"]]][place] = key
        else:
            found[place] = InvalidArgument(
                f"A representation must be an object whose __typename is one of {', '.join(KINDS)}."
            )

    async def ask(kind: type[Record], places: dict[int, Any]) -> None:
        paths = selected_paths(info._raw_info)  # noqa: SLF001 - not public yet
        want = StatusQuery(
            level_for(paths, kind), kind, caller=context.who, content=wants_content(paths)
        )
        answers = await context.service.get_many(list(places.values()), want)
        found.update(zip(places, answers, strict=True))
        told.update(zip(places, await histories(context, paths, answers), strict=True))

    await asyncio.gather(*(ask(kind, places) for kind, places in by_kind.items() if places))
    return [
        field_error(one) if isinstance(one, GatewayError) else shown(one, caller, told[place])
        for place, one in sorted(found.items())
    ]
