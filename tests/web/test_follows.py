"""Following many, from outside: POST, how far it is, its events and records, its end."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.archive import following
from gateway.archive.tables import FOLLOWED
from gateway.callers.model import Scope
from gateway.follows import MOST_KEYS
from gateway.simulator import Report
from tests.archive.support import value_in
from tests.support.callers import client
from tests.support.gateway import Setup, running
from tests.support.size import PATIENCE
from tests.support.stream import Stream

pytestmark = pytest.mark.anyio

PHONE = "79990002000"
DELIVERED, SENT = 1, 0


def items(*ids: int) -> list[dict[str, str]]:
    return [{"id": str(id_), "phone": PHONE} for id_ in ids]


def add(setup: Setup, *ids: int, status: int = DELIVERED) -> None:
    """The provider knows these messages."""
    for id_ in ids:
        report = Report(
            id=id_, phone=PHONE, status=status, sent=int(setup.clock.now) - 60, flag=0, err=0
        )
        setup.world.add(report)


async def follow(setup: Setup, body: object, **headers: str) -> httpx.Response:
    return await setup.client.post("/v1/follows", json=body, headers=headers)


async def begun(setup: Setup, *ids: int, **more: object) -> str:
    """The address of a new follow."""
    answer = await follow(setup, {"items": items(*ids), **more})
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


async def until(setup: Setup, is_so: Callable[[], Awaitable[bool]], advance: float = 0.3) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while not await is_so():
        assert asyncio.get_running_loop().time() < end
        await setup.clock.advance(advance)
        await asyncio.sleep(0.01)


async def until_told(
    setup: Setup, address: str, *, advance: float = 0.6, **members: object
) -> dict[str, Any]:
    """Wait until a follow tells so."""
    told: dict[str, Any] = {}

    async def is_told() -> bool:
        told.update((await setup.client.get(address)).json())
        return all(told[name] == value for name, value in members.items())

    await until(setup, is_told, advance)
    return told


async def test_it_is_asked_for_until_all_are_final(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, 1002)
        add(setup, 1003, status=SENT)
        answer = await follow(setup, {"items": items(1001, 1002, 1003, 1001), "name": "letter"})
        told = answer.json()
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/v1/follows/{told['id']}"
        assert (told["name"], told["total"], told["seen"], told["done"]) == ("letter", 3, 0, False)
        assert told["estimate"]["allSeenBy"] is not None
        address = answer.headers["location"]
        told = await until_told(setup, address, seen=3)
        assert (told["final"], told["byState"]) == (2, {"DELIVERED": 2, "SENT": 1})
        assert told["estimate"] == {"allSeenBy": None}
        add(setup, 1003)
        told = await until_told(setup, address, done=True, advance=5)
        assert (told["final"], told["notFound"], told["byState"]) == (3, 0, {"DELIVERED": 3})
        asked = len(await setup.asked())
        await setup.clock.advance(3600)
        assert len(await setup.asked()) == asked
        assert await setup.breaches() == 0
        [listed] = (await setup.client.get("/v1/follows")).json()["follows"]
        assert listed == told


async def test_what_is_not_found_for_good_ends_as_well(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        address = await begun(setup, 4004)
        told = await until_told(setup, address, done=True, advance=5)
    assert (told["notFound"], told["final"], told["byState"]) == (1, 0, {})


async def test_a_message_can_be_followed_to_its_reading(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001)
        address = await begun(setup, 1001, untilState="READ")
        told = await until_told(setup, address, seen=1)
        assert (told["final"], told["done"]) == (0, False)
        add(setup, 1001, status=2)
        told = await until_told(setup, address, done=True, advance=60)
        assert told["byState"] == {"READ": 1}


async def test_it_ends_at_its_time(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, status=SENT)
        address = await begun(setup, 1001, until="2027-01-15T09:00:00Z")  # an hour from now
        await until_told(setup, address, seen=1)
        told = await until_told(setup, address, done=True, advance=100)
        assert setup.clock.now >= 1_800_000_000 + 3600
        assert (told["final"], told["byState"]) == (0, {"SENT": 1})


async def test_it_goes_on_after_a_restart_and_asks_nothing_twice(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001)
        add(setup, 1002, status=SENT)
        address = await begun(setup, 1001, 1002)
        await until_told(setup, address, seen=2)
    async with running(STATE_DIR=str(tmp_path)) as setup:
        setup.clock.now += 600
        add(setup, 1001, 1002)
        told = await until_told(setup, address, done=True, advance=2)
        assert told["byState"] == {"DELIVERED": 2}
        asked = [json.dumps(one) for one in await setup.asked()]
        assert not any("1001" in one for one in asked), "it was final before"


async def test_the_same_token_names_the_same_follow(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, 1002)
        token = {"Idempotency-Key": "job-1"}
        first = await follow(setup, {"items": items(1001)}, **token)
        again = await follow(setup, {"items": items(1001)}, **token)
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert again.headers["location"] == first.headers["location"]
        other = await follow(setup, {"items": items(1002)}, **token)
        assert (other.status_code, other.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert other.json()["detail"].startswith("Idempotency-Key was sent before")
        assert len((await setup.client.get("/v1/follows")).json()["follows"]) == 1
        bad = await follow(setup, {"items": items(1002)}, **{"Idempotency-Key": "a b"})
        assert bad.json()["detail"] == "Idempotency-Key must be 1 to 255 visible ASCII characters."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], 'The body must be an object: {"items": [{"id": …, "phone": …}]}.'),
        ({}, "items must be a list of 1 to 10000 items."),
        ({"items": []}, "items must be a list of 1 to 10000 items."),
        ({"items": items(*range(1, MOST_KEYS + 2))}, "items must be a list of 1 to 10000 items."),
        ({"items": items(1), "color": 1}, "'color' is not known here; there are items, until, "),
        (
            {"items": [*items(1), {"id": "x", "phone": PHONE}, 7]},
            "items[1]: id must be a decimal number from 1 to 2147483647. items[2]: An item must be",
        ),
        (
            {"items": [{"id": "0", "phone": PHONE}] * 13},
            "items[0]: id must be a decimal number from 1 to 2147483647. items[1]: ",
        ),
        ({"items": items(1), "until": "tomorrow"}, "until must be a time with its zone, such as"),
        ({"items": items(1), "until": "2026-01-01T00:00:00Z"}, "until must be a time with its"),
        ({"items": items(1), "until": "2027-03-01T00:00:00Z"}, "until must be a time with its"),
        ({"items": items(1), "until": "2027-01-16T00:00:00"}, "until must be a time with its"),
        ({"items": items(1), "untilState": "SENT"}, "untilState must be one of DELIVERED, READ, "),
        ({"items": items(1), "detail": "ALL"}, "detail must be one of BASIC, STANDARD, FULL."),
        ({"items": items(1), "name": ""}, "name must be a text of 1 to 100 characters."),
        ({"items": items(1), "name": "a" * 101}, "name must be a text of 1 to 100 characters."),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_begins(
    tmp_path: Path, body: object, said: str
) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        answer = await follow(setup, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert answer.json()["detail"].startswith(said)
        if isinstance(body, dict) and len(body.get("items", ())) == 13:
            assert answer.json()["detail"].endswith(" And 3 more.")
        assert (await setup.client.get("/v1/follows")).json() == {"follows": []}


async def test_there_is_a_most_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_FOLLOWED", 3)
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1, 2, 3, status=SENT)
        address = await begun(setup, 1, 2, 3)
        answer = await follow(setup, {"items": items(4)})
        assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
        assert (await setup.client.delete(address)).status_code == 204
        assert (await follow(setup, {"items": items(4)})).status_code == 202


async def test_deleted_it_is_asked_for_no_more(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, status=SENT)
        address = await begun(setup, 1001)
        await until_told(setup, address, seen=1)
        assert (await setup.client.delete(address)).status_code == 204
        await setup.clock.advance(2)
        await asyncio.sleep(0.2)
        await setup.clock.advance(2)
        asked = len(await setup.asked())
        await setup.clock.advance(3600)
        assert len(await setup.asked()) == asked
        for gone in (
            await setup.client.get(address),
            await setup.client.delete(address),
            await setup.client.get(f"{address}/records"),
            await setup.client.get(f"{address}/events"),
        ):
            assert (gone.status_code, gone.json()["code"]) == (404, "NOT_FOUND")
            assert gone.json()["title"] == "There is no such follow"


async def test_its_records_are_a_list_of_its_keys(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001, 1002)
        add(setup, 1003, status=SENT)
        await setup.message(1, "79990000001")  # of nobody's follow
        address = await begun(setup, 1001, 1002, 1003)
        await until_told(setup, address, seen=3)
        archive = setup.state["archive"]
        assert archive is not None
        await archive.flush()

        async def ids(query: str) -> list[str]:
            page = (await setup.client.get(f"{address}/records?{query}")).json()
            return sorted(one["id"] for one in page["records"])

        assert await ids("") == ["1001", "1002", "1003"]
        assert await ids("state=SENT") == ["1003"]
        assert await ids("state=DELIVERED&order=sentAt") == ["1001", "1002"]
        page = (await setup.client.get(f"{address}/records?limit=2&fields=state")).json()
        rest = await setup.client.get(f"{address}/records?limit=2&cursor={page['next']}")
        assert len(page["records"] + rest.json()["records"]) == 3
        table = await setup.client.get(f"{address}/records", headers={"accept": "text/csv"})
        assert len(table.text.splitlines()) == 4
        wrong = await setup.client.get(f"{address}/records?order=phone")
        assert wrong.status_code == 400


async def test_its_events_tell_how_far_it_is_and_end(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        add(setup, 1001)
        add(setup, 1002, status=SENT)
        address = await begun(setup, 1001, 1002)
        stream = Stream(setup, f"{address}/events", accept="text/event-stream")

        async def is_seen() -> bool:
            return '"seen":2' in stream.body.decode()

        await until(setup, is_seen)
        add(setup, 1002)

        async def is_over() -> bool:
            return stream.is_over

        await until(setup, is_over, advance=3)
    events = [(one["event"], json.loads(one["data"])) for one in stream.events if "event" in one]
    assert {name for name, _ in events[:-1]} == {"progress"}
    assert events[-1] == ("end", {})
    seen = [told["final"] for _, told in events[:-1]]
    assert seen == sorted(seen)
    assert (seen[-1], events[-2][1]["done"]) == (2, True)


async def test_it_is_its_callers_own(tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    scopes = frozenset({Scope.RECORD_FOLLOW})
    file.write_text(
        client("a", scopes=scopes)
        + client("b", scopes=scopes)
        + client("c", scopes=frozenset({Scope.STATUS_READ}))
    )
    keys = {name: {"authorization": f"Bearer key of {name}"} for name in "abc"}
    async with running(STATE_DIR=str(tmp_path), CLIENTS_FILE=str(file)) as setup:
        add(setup, 1001)
        answer = await follow(setup, {"items": items(1001)}, **keys["a"])
        address = answer.headers["location"]
        for path in ("", "/records", "/events"):
            other = await setup.client.get(address + path, headers=keys["b"])
            assert (other.status_code, other.json()["code"]) == (404, "NOT_FOUND")
        assert (await setup.client.delete(address, headers=keys["b"])).status_code == 404
        assert (await setup.client.get("/v1/follows", headers=keys["b"])).json() == {"follows": []}
        assert (await setup.client.get(address, headers=keys["a"])).status_code == 200
        assert (await setup.client.get(address, headers=keys["c"])).status_code == 403
        history = await setup.client.get(f"{address}/records?fields=history", headers=keys["a"])
        assert history.status_code == 403
        record = await setup.client.get(f"{address}/records", headers=keys["a"])
        assert record.status_code == 200


async def test_without_an_archive_nothing_is_followed() -> None:
    async with running() as setup:
        answer = await follow(setup, {"items": items(1)})
    assert (answer.status_code, answer.json()["code"]) == (501, "ARCHIVE_OFF")


async def test_a_deleted_message_leaves_no_number(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        archive = setup.state["archive"]
        add(setup, 1001, status=SENT)
        address = await begun(setup, 1001)
        await until_told(setup, address, seen=1)
        assert archive is not None
        await archive.flush()
        assert (await setup.client.delete(f"/v1/messages/1001?phone={PHONE}")).status_code == 204
        await until_told(setup, address, done=True, notFound=1)
        await archive.flush()
        assert await value_in(archive, select(FOLLOWED.c.phone)) == ""


async def test_another_process_goes_on_when_the_one_that_asks_is_gone(tmp_path: Path) -> None:
    archive = f"sqlite:///{tmp_path}/archive.db"
    async with AsyncExitStack() as leading:
        first = await leading.enter_async_context(running(ARCHIVE_URL=archive))
        await first.clock.advance(1)
        await asyncio.sleep(0.1)
        async with running(ARCHIVE_URL=archive) as second:
            add(first, 1001, status=SENT)
            add(second, 1001)
            address = await begun(second, 1001)
            await until_told(first, address, seen=1)
            await second.clock.advance(30)
            assert await second.asked() == [], "one of them asks, and no other"
            await leading.aclose()
            told = await until_told(second, address, done=True, advance=1)
    assert told["byState"] == {"DELIVERED": 1}
