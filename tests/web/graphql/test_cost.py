"""What an operation cost: told to who asks for it, and counted as the provider counts."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import settle
from tests.support.gateway import Setup, pending, running
from tests.web.graphql.test_websocket import INIT, connected, subscribe

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
ONE = f'{{ message(id: 1, phone: "{PHONE}") {{ state }} }}'
MANY = "query ($items: [StatusKey!]!) { statuses(items: $items) { outcome } }"


async def ask(setup: Setup, query: str, **more: object) -> dict[str, Any]:
    body = {"query": query, "extensions": {"cost": True}, **more}
    answer: dict[str, Any] = (await setup.client.post("/graphql", json=body)).json()
    return answer


async def cost(setup: Setup, query: str, **more: object) -> dict[str, Any]:
    told: dict[str, Any] = (await ask(setup, query, **more))["extensions"]["cost"]
    return told


def told(
    requests: int, mass: int = 0, *, live: int = 0, cache: int = 0, stale: int = 0
) -> dict[str, Any]:
    served = {"live": live, "cache": cache, "stale": stale}
    return {"requests": requests, "mass": mass, "served": served}


async def test_a_miss_costs_a_request_and_a_hit_none() -> None:
    async with running() as setup:
        assert await cost(setup, ONE) == told(1, live=1)
        for _ in range(3):  # the same bytes, within the same second
            assert await cost(setup, ONE) == told(0, cache=1)


async def test_who_does_not_ask_is_told_nothing() -> None:
    async with running() as setup:
        whole = await ask(setup, ONE)
        for extensions in (None, {}, {"cost": False}, {"cost": None}):
            body = {"query": ONE, "extensions": extensions}
            answer = await setup.client.post("/graphql", json=body)
            assert answer.content == b'{"data":{"message":{"state":"DELIVERED"}}}'
            assert answer.json()["data"] == whole["data"]


async def test_many_are_carried_by_one_mass_request() -> None:
    async with running() as setup:
        variables = {"items": pending(setup, 20)}
        assert await cost(setup, MANY, variables=variables) == told(1, 1, live=20)
        assert await cost(setup, MANY, variables=variables) == told(0, cache=20)


async def test_fields_that_name_one_message_share_its_request() -> None:
    async with running() as setup:
        query = f'{{ a: message(id: 1, phone: "{PHONE}") {{ text }} b: {ONE[2:]}'
        assert await cost(setup, query) == told(1, live=2)
        assert len(await setup.asked()) == 1


async def test_a_request_that_several_operations_share_counts_in_each() -> None:
    async with running() as setup:
        costs = await asyncio.gather(*(cost(setup, ONE) for _ in range(5)))
        assert costs == [told(1, live=1)] * 5
        assert len(await setup.asked()) == 1


async def test_who_joins_a_request_that_is_under_way_is_charged_for_it() -> None:
    async with running() as setup:
        await setup.fault("hang", 2)
        first = asyncio.create_task(cost(setup, ONE))
        await setup.clock.advance(1)
        second = asyncio.create_task(cost(setup, ONE))
        await setup.clock.advance(2)
        assert await first == await second == told(1, live=1)


async def test_each_request_that_carried_a_key_counts() -> None:
    """One that the provider refuses for one bad pair is followed by one for each of them."""
    async with running() as setup:
        await setup.fault("error", 1)
        variables = {"items": pending(setup, 12)}
        asked = asyncio.create_task(cost(setup, MANY, variables=variables))
        await setup.clock.advance(2)
        assert await asked == told(13, 1, live=12)
        assert len(await setup.asked()) == 13


async def test_an_older_record_is_stale() -> None:
    async with running() as setup:
        [item] = pending(setup, 1)
        variables = {"items": [item]}
        assert await cost(setup, MANY, variables=variables) == told(1, live=1)
        await setup.clock.advance(100)
        await setup.fault("error", 4)
        assert await cost(setup, MANY, variables=variables) == told(1, stale=1)
        assert await cost(setup, MANY, variables=variables) == told(0, stale=1)


async def test_what_is_not_found_cost_its_request() -> None:
    async with running() as setup:
        answer = await ask(setup, f'{{ message(id: 404, phone: "{PHONE}") {{ state }} }}')
        assert answer["data"] == {"message": None}
        assert [one["extensions"]["code"] for one in answer["errors"]] == ["NOT_FOUND"]
        # A Russian number is asked for in both its spellings.
        assert answer["extensions"]["cost"] == told(2)


async def test_a_deletion_is_a_request() -> None:
    async with running() as setup:
        query = f'mutation {{ deleteMessage(id: 1, phone: "{PHONE}") }}'
        assert await cost(setup, query) == told(1)


async def test_lists_come_from_the_archive(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await setup.message(1, PHONE)
        archive = setup.state["archive"]
        assert archive is not None
        await archive.flush()
        assert await cost(setup, "{ records { nodes { id } } }") == told(0, cache=1)


async def test_it_is_asked_for_over_get_and_with_a_hash_as_well() -> None:
    async with running() as setup:
        params = {"query": ONE, "extensions": json.dumps({"cost": True})}
        answer = (await setup.client.get("/graphql", params=params)).json()
        assert answer["extensions"]["cost"] == told(1, live=1)
        stored = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}, "cost": True}
        answer = (await setup.client.post("/graphql", json={"extensions": stored})).json()
        assert "PersistedQueryNotFound" in answer["errors"][0]["message"]


@pytest.mark.parametrize("value", ["yes", 1, {}, []])
async def test_anything_else_is_a_mistake(value: object) -> None:
    async with running() as setup:
        body = {"query": ONE, "extensions": {"cost": value}}
        answer = await setup.client.post("/graphql", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert "extensions.cost" in answer.json()["detail"]


async def test_a_socket_tells_it_too() -> None:
    async with running() as setup, connected(setup) as socket:
        cost = {"cost": True}
        socket.put(INIT, subscribe("a", ONE, extensions=cost), subscribe("b", extensions=cost))
        await settle()
    told_of = {one["id"]: one["payload"] for one in socket.told if one["type"] == "next"}
    assert told_of["a"]["extensions"]["cost"] == told(1, live=1)
    assert "extensions" not in told_of["b"]


async def test_a_stream_tells_no_cost() -> None:
    async with running() as setup:
        subscription = f'subscription {{ status(id: 1, phone: "{PHONE}") {{ id }} }}'
        body = {"query": subscription, "extensions": {"cost": True}}
        headers = {"accept": "text/event-stream"}
        answer = await setup.client.post("/graphql", json=body, headers=headers)
        assert '{"data":{"status":{"id":"1"}}}' in answer.text
        assert "extensions" not in answer.text
