"""A subgraph of Apollo Federation: off by default, and all references planned together."""

import pytest
from graphql import build_schema, parse

from tests.support.gateway import running

pytestmark = pytest.mark.anyio

ENTITIES = """query Q($keys: [_Any!]!) {
  _entities(representations: $keys) {
    __typename
    ... on Message { id state }
    ... on HlrLookup { reachability }
  }
}"""


def key(kind: str, id_: object, phone: object = "79990000001") -> dict[str, object]:
    return {"__typename": kind, "id": id_, "phone": phone}


async def test_it_is_off_by_default() -> None:
    async with running() as setup:
        answer = await setup.graphql("{ _service { sdl } }")
    assert "Cannot query field '_service'" in answer["errors"][0]["message"]


async def test_the_schema_names_its_entities_keys() -> None:
    async with running(GRAPHQL_FEDERATION="true") as setup:
        sdl = (await setup.graphql("{ _service { sdl } }"))["data"]["_service"]["sdl"]
    parse(sdl)
    for kind in ("Message", "HlrLookup"):
        assert f'type {kind} implements StatusRecord @key(fields: "id phone") {{' in sdl
    head, _, rest = sdl.partition("\n\n")
    assert head.startswith('extend schema @link(url: "https://specs.apollo.dev/federation/v2')
    plain = build_schema(rest.replace(' @key(fields: "id phone")', ""))
    assert plain.query_type
    assert "_entities" not in plain.query_type.fields


async def test_entities_are_found_by_their_keys_each_with_its_own_error() -> None:
    keys = [
        key("Message", "1"),
        key("HlrLookup", 2),
        key("HlrLookup", "1"),
        key("Message", "404"),
        key("Message", "0"),
        key("Message", None),
        {"__typename": "Query"},
        "nonsense",
        key("Message", "1", "+7 999 000-00-01"),
    ]
    async with running(GRAPHQL_FEDERATION="true") as setup:
        answer = await setup.graphql(ENTITIES, keys=keys)
        asked = await setup.asked()
    message = {"__typename": "Message", "id": "1", "state": "DELIVERED"}
    lookup = {"__typename": "HlrLookup", "reachability": "REACHABLE"}
    assert answer["data"]["_entities"] == [message, lookup, *[None] * 6, message]
    told = {error["path"][1]: error["extensions"]["code"] for error in answer["errors"]}
    assert told == {
        2: "KIND_MISMATCH",
        3: "NOT_FOUND",
        **dict.fromkeys((4, 5, 6, 7), "INVALID_ARGUMENT"),
    }
    assert {request["all"] for request in asked} == {0}  # the kind is known from the reference


async def test_many_entities_are_one_mass_request() -> None:
    keys = [key("Message", 20 + n, f"7999000002{n}") for n in range(10)]
    async with running(GRAPHQL_FEDERATION="true") as setup:
        answer = await setup.graphql(ENTITIES, keys=keys)
        assert [request["pairs"] for request in await setup.asked() if request["mass"]] == [10]
    assert "errors" not in answer


async def test_other_queries_are_as_ever() -> None:
    query = '{ message(id: 1, phone: "79990000001") { state } provider { inFlight } }'
    async with running(GRAPHQL_FEDERATION="true") as setup:
        answer = await setup.graphql(query)
        many = await setup.graphql(ENTITIES, keys=[key("Message", 1)] * 1001)
    assert answer["data"] == {"message": {"state": "DELIVERED"}, "provider": {"inFlight": 0}}
    assert many["errors"][0]["extensions"]["code"] == "INVALID_ARGUMENT"
