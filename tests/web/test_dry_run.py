"""A dry run: what a batch would cost, without asking anything or leaving a trace."""

from datetime import datetime
from typing import Any

import pytest

from tests.support.gateway import Setup, pending, running

pytestmark = pytest.mark.anyio

DRY = "/v1/statuses/batch?dry-run"
MANY = """query ($items: [StatusKey!]!, $maxAge: Int, $detail: DetailLevel! = FULL) {
  forecast(items: $items, maxAge: $maxAge, detail: $detail) {
    requests mass served { live cache stale } allKnownBy
  }
}"""


async def dry(setup: Setup, items: list[Any], **more: object) -> dict[str, Any]:
    answer = await setup.client.post(DRY, json={"items": items, **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_it_asks_nothing_and_changes_nothing() -> None:
    async with running() as setup:
        items = pending(setup, 20)
        await setup.message(int(items[0]["id"]), items[0]["phone"])
        await setup.clock.advance(100)
        before = (await setup.client.get("/v1/provider")).json()
        told = await dry(setup, items)
        assert (told["requests"], told["mass"]) == (1, 1)
        assert told["served"] == {"live": 20, "cache": 0, "stale": 0}
        assert datetime.fromisoformat(told["allKnownBy"]).timestamp() - setup.clock.now <= 2
        assert (await setup.client.get("/v1/provider")).json() == before
        assert len(await setup.asked()) == 1


async def test_it_is_no_demand() -> None:
    """A mass request takes along what was asked for lately; who only counted did not ask."""
    async with running() as setup:
        items = pending(setup, 20)
        await setup.message(int(items[0]["id"]), items[0]["phone"])
        await setup.clock.advance(300)
        await dry(setup, items[:1])
        answer = await setup.client.post("/v1/statuses/batch", json={"items": items[1:]})
        assert answer.status_code == 200
        assert (await setup.asked())[-1]["pairs"] == 19


async def test_graphql_tells_the_same() -> None:
    async with running() as setup:
        items = pending(setup, 12)
        told = await dry(setup, items)
        answer = await setup.graphql(MANY, items=items)
        assert answer == {"data": {"forecast": told}}
        assert await setup.asked() == []


async def test_the_age_and_detail_that_are_wanted_count() -> None:
    async with running() as setup:
        [item] = pending(setup, 1)
        await setup.message(int(item["id"]), item["phone"], fields="text")
        await setup.clock.advance(2)
        wants: list[tuple[dict[str, object], int]] = [
            ({"detail": "STANDARD"}, 0),
            ({"detail": "STANDARD", "maxAge": 1}, 1),
            ({"detail": "STANDARD", "maxAge": 2}, 0),
            ({}, 1),
        ]
        for wanted, requests in wants:
            told = await setup.graphql(MANY, items=[item], **wanted)
            assert told["data"]["forecast"]["requests"] == requests, wanted
        assert (await dry(setup, [item], fields=["state"]))["requests"] == 0
        assert (await dry(setup, [item], fields=["subscriber"]))["requests"] == 1


async def test_while_the_provider_blocks_what_is_known_is_stale() -> None:
    async with running() as setup:
        items = pending(setup, 12)
        await setup.message(int(items[0]["id"]), items[0]["phone"])
        await setup.clock.advance(100)
        await setup.fault("error", 4)
        await setup.message(1, "79990000001")
        told = await dry(setup, items)
        assert (told["requests"], told["mass"]) == (0, 0)
        assert told["served"] == {"live": 0, "cache": 0, "stale": 1}
        link = (await setup.client.get("/v1/provider")).json()
        assert told["allKnownBy"] > link["breaker"]["nextProbeAt"]
        await setup.clock.advance(5)
        told = await dry(setup, items)  # one request may try
        assert (told["requests"], told["served"]["live"]) == (1, 1)


async def test_a_bad_item_costs_nothing() -> None:
    async with running() as setup:
        told = await dry(setup, [{"id": "0", "phone": "x"}, {"id": "1", "phone": "79990000001"}])
        assert told["requests"] == told["served"]["live"] == 1
        told = await dry(setup, [])
        assert told == {
            "requests": 0,
            "mass": 0,
            "served": {"live": 0, "cache": 0, "stale": 0},
            "allKnownBy": None,
        }
        many = [{"id": "1", "phone": "79990000001"}] * 1001
        answer = await setup.client.post(DRY, json={"items": many})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        refused = await setup.graphql(MANY, items=many)
        assert refused["errors"][0]["extensions"]["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "query", ["dry-run=false", "dry-run=1", "dry-run&dry-run", "dryrun", "dry_run=true"]
)
async def test_a_flag_that_is_misspelled_spends_nothing(query: str) -> None:
    async with running() as setup:
        body = {"items": [{"id": "1", "phone": "79990000001"}]}
        answer = await setup.client.post(f"/v1/statuses/batch?{query}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert "dry-run" in answer.json()["detail"]
        assert await setup.asked() == []
        assert (await setup.client.post(f"{DRY}=true", json=body)).json()["requests"] == 1
