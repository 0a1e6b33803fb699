"""The operator's hand: records asked for anew, forgotten by the cache, or loaded."""

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.callers.model import ALL_SCOPES, Scope
from gateway.web.rest import upkeep
from tests.support.callers import client
from tests.support.gateway import Setup, running
from tests.web.test_follows import PHONE, SENT, add, until_told

pytestmark = pytest.mark.anyio

DELIVERED_PHONE = "79990000001"


async def known(setup: Setup, *ids: int) -> None:
    """Have these known, and kept."""
    for id_ in ids:
        assert (await setup.message(id_, PHONE)).status_code == 200
    await kept(setup)


async def kept(setup: Setup) -> None:
    archive = setup.state["archive"]
    assert archive is not None
    await archive.flush()


async def order(setup: Setup, what: str, **filters: str) -> httpx.Response:
    return await setup.client.post(f"/v1/records/{what}", params=filters)


async def told(setup: Setup, what: str, **filters: str) -> dict[str, Any]:
    answer = await order(setup, what, **filters)
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def count(setup: Setup) -> int:
    """How many messages the provider was asked about."""
    return sum(one["pairs"] for one in await setup.asked())


async def test_what_may_still_change_is_asked_for_once_more(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, 1002, status=SENT)
        add(setup, 1003)
        await known(setup, 1001, 1002, 1003)
        await setup.clock.advance(2)
        before = await count(setup)
        answer = await order(setup, "refresh", phone=PHONE)
        assert answer.status_code == 202
        body = answer.json()
        assert (body["matched"], body["follow"]["total"], body["follow"]["final"]) == (2, 2, 0)
        assert body["follow"]["estimate"]["allSeenBy"]
        address = answer.headers["location"]
        assert address == f"/v1/follows/{body['follow']['id']}"
        end = await until_told(setup, address, done=True)
        assert (end["final"], end["byState"], end["name"]) == (2, {"SENT": 2}, "refresh")
        await setup.clock.advance(600)
        assert await count(setup) == before + 2
        assert await setup.breaches() == 0


async def test_one_that_is_followed_as_well_goes_on(tmp_path: Path) -> None:
    """Its watch has it asked for now and then: once more at once is what was ordered."""
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, status=SENT)
        await known(setup, 1001)
        item = {"id": "1001", "phone": PHONE}
        followed = await setup.client.post("/v1/follows", json={"items": [item]})
        await until_told(setup, followed.headers["location"], seen=1)
        await setup.clock.advance(2)
        before = await count(setup)
        answer = await order(setup, "refresh", id="1001")
        await until_told(setup, answer.headers["location"], done=True, advance=0.2)
        assert await count(setup) == before + 1
        ahead = (await setup.client.get(followed.headers["location"])).json()
        assert (ahead["done"], ahead["seen"], ahead["final"]) == (False, 1, 0)
        add(setup, 1001)
        await until_told(setup, followed.headers["location"], done=True, final=1, advance=5)


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, status=SENT)
        await known(setup, 1001)
        await setup.clock.advance(2)
        await setup.fault("error", 4, times=-1)
        answer = await order(setup, "refresh", state="SENT")
        await setup.clock.advance(1)
        assert not (await setup.client.get(answer.headers["location"])).json()["done"]
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await setup.clock.advance(4)
        add(setup, 1001, status=SENT)
        end = await until_told(setup, answer.headers["location"], done=True)
        assert end["byState"] == {"SENT": 1}


async def test_where_nothing_matches_nothing_is_asked(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await setup.message(1, DELIVERED_PHONE)
        await kept(setup)
        for filters in ({"phone": DELIVERED_PHONE}, {"isFinal": "true"}, {"sender": "nobody"}):
            answer = await order(setup, "refresh", **filters)
            assert (answer.status_code, answer.json()) == (202, {"matched": 0, "follow": None})
            assert "location" not in answer.headers
        assert (await setup.client.get("/v1/follows")).json() == {"follows": []}


async def test_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "MOST_KEYS", 1)
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, 1002, status=SENT)
        await known(setup, 1001, 1002)
        answer = await order(setup, "refresh")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert "narrow the filter" in answer.json()["detail"]
        assert (await told(setup, "refresh", id="1001"))["matched"] == 1


async def test_what_was_purged_is_asked_for_by_the_next_caller(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        add(setup, 1001, 1002)
        await known(setup, 1001, 1002)
        for _ in range(2):
            await known(setup, 1001)  # one answer is kept for its second
        assert await told(setup, "purge", id="1001") == {"purged": 1}
        assert await count(setup) == 2
        listed = (await setup.client.get("/v1/records")).json()["records"]
        assert {one["id"] for one in listed} == {"1001", "1002"}
        await known(setup, 1001, 1002)
        assert await count(setup) == 3
        await known(setup, 1001, 1002)
        assert await count(setup) == 3


async def test_what_was_purged_is_not_fresh_after_a_restart_either(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        add(setup, 1001, 1002)
        await known(setup, 1001, 1002)
        assert await told(setup, "purge", id="1001") == {"purged": 1}
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        add(setup, 1001, 1002)
        await known(setup, 1001, 1002)
        assert await count(setup) == 1


async def test_what_was_purged_still_stands_in_where_the_provider_is_away(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        add(setup, 1001)
        await known(setup, 1001)
        await told(setup, "purge", phone=PHONE)
        await setup.fault("error", 4)
        answer = await setup.message(1001, PHONE)
        assert answer.status_code == 200
        assert answer.json()["freshness"]["stale"]


async def test_nobody_purges_everything_by_mistake(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        add(setup, 1001, 1002)
        await known(setup, 1001, 1002)
        for filters in ({}, {"all": "yes"}, {"all": ""}, {"phone": ""}):
            answer = await order(setup, "purge", **filters)
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        await known(setup, 1001, 1002)
        assert await count(setup) == 2
        assert await told(setup, "purge", all="true") == {"purged": 2}
        await known(setup, 1001, 1002)
        assert await count(setup) == 4


async def test_what_is_kept_is_loaded_without_a_request(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, 1002, 1003)
        await known(setup, 1001, 1002, 1003)
    async with running(STATE_DIR=str(tmp_path)) as setup:
        assert await told(setup, "prewarm", id="1001,1002") == {"loaded": 2}
        assert (await setup.client.get("/v1/provider")).json()["records"] == 2
        assert await told(setup, "prewarm") == {"loaded": 1}
        assert await told(setup, "prewarm") == {"loaded": 0}
        assert await count(setup) == 0
    async with running(STATE_DIR=str(tmp_path), CACHE_RECORDS="2") as setup:
        assert await told(setup, "prewarm") == {"loaded": 2}
        assert (await setup.client.get("/v1/provider")).json()["records"] == 2


@pytest.mark.parametrize("what", ["refresh", "purge", "prewarm"])
async def test_it_needs_its_scope(what: str, tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    others = ALL_SCOPES - {Scope.PROVIDER_OPERATE}
    operator = frozenset({Scope.PROVIDER_OPERATE})
    path.write_text(client("others", scopes=others) + client("operator", scopes=operator))
    async with running(STATE_DIR=str(tmp_path), CLIENTS_FILE=str(path)) as setup:
        url = f"/v1/records/{what}?kind=Message"
        statuses = {}
        for name in ("others", "operator", "nobody"):
            key = {"authorization": f"Bearer key of {name}"}
            answer = await setup.client.post(url, headers=key)
            statuses[name] = answer.status_code
        done = 202 if what == "refresh" else 200
        assert statuses == {"others": 403, "operator": done, "nobody": 401}


@pytest.mark.parametrize("what", ["refresh", "purge", "prewarm"])
async def test_it_needs_the_archive_and_filters_that_are_known(what: str, tmp_path: Path) -> None:
    async with running() as setup:
        answer = await order(setup, what, kind="Message")
        assert (answer.status_code, answer.json()["code"]) == (501, "ARCHIVE_OFF")
    async with running(STATE_DIR=str(tmp_path)) as setup:
        for filters in ({"states": "SENT"}, {"state": "GONE"}, {"limit": "1"}):
            answer = await order(setup, what, **filters)
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")


async def test_who_did_it_is_logged_without_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("duty"))
    key = {"authorization": "Bearer key of duty"}
    async with running(STATE_DIR=str(tmp_path), CLIENTS_FILE=str(path)) as setup:
        with caplog.at_level(logging.INFO):
            for what in ("refresh", "purge", "prewarm"):
                url = f"/v1/records/{what}?phone={PHONE}&state=SENT"
                assert (await setup.client.post(url, headers=key)).is_success
    lines = [one.getMessage() for one in caplog.records if one.name == upkeep.__name__]
    assert lines == [
        "refresh of 0 records for duty, by phone, state",
        "purge of 0 records for duty, by phone, state",
        "prewarm of 0 records for duty, by phone, state",
    ]
