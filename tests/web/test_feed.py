"""The feed over REST and GraphQL: pages, waiting, events, what is wrong, and who may see what."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.archive.changes import FeedPosition, cursor_of, position_of
from gateway.callers.model import Scope
from gateway.simulator.push import signed
from tests.support.callers import client
from tests.support.clock import settle
from tests.support.gateway import Setup, running
from tests.support.size import PATIENCE
from tests.support.stream import Stream
from tests.support.valkey import until

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
SECRET = "a-good-and-long-secret"
KNOWN = [(1, PHONE), (3, "79990000003"), (24, "79990000024"), (100, "79990000100")]


async def filled(setup: Setup) -> None:
    for id_, phone in KNOWN:
        assert (await setup.message(id_, phone)).status_code == 200
        await setup.clock.advance(1)
    await written(setup)


async def written(setup: Setup) -> None:
    archive = setup.state["archive"]
    assert archive is not None
    await archive.flush()


async def pushed(setup: Setup, id_: int, status: int) -> None:
    """The provider tells a state by itself."""
    fields = {"id": str(id_), "phone": PHONE, "status": str(status), "ts": "1800000100"}
    answer = await setup.client.post("/v1/callbacks/smsc", data=signed(fields, SECRET))
    assert answer.status_code == 200
    await written(setup)


async def page(setup: Setup, query: str = "") -> dict[str, Any]:
    answer = await setup.client.get(f"/v1/changes?{query}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def until_there(stream: Stream, count: int) -> list[dict[str, str]]:
    """The events but for the first, which says when to come again."""
    async with asyncio.timeout(PATIENCE):
        while len(stream.events) <= count:
            await settle()
            await asyncio.sleep(0.01)
    return stream.events[1:]


async def test_who_goes_on_from_the_last_cursor_sees_each_change_once(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        first = await page(setup, "limit=3")
        assert [one["id"] for one in first["changes"]] == ["1", "3", "24"]
        assert first["next"] == first["changes"][-1]["cursor"]
        rest = await page(setup, f"limit=3&after={first['next']}")
        assert [one["id"] for one in rest["changes"]] == ["100"]
        empty = await page(setup, f"after={rest['next']}")
        assert empty == {"changes": [], "next": rest["next"]}
        assert (await page(setup, "after=now"))["next"] == rest["next"]
        assert first["changes"][0] == {
            "cursor": first["changes"][0]["cursor"],
            "id": "1",
            "phone": PHONE,
            "kind": "Message",
            "at": "2027-01-15T08:00:00Z",
            "state": "DELIVERED",
            "stateGroup": "DELIVERED",
            "isFinal": True,
            "providerStatus": {"code": 1, "name": "Delivered", "text": "Доставлено"},
            "error": None,
            "source": "LIVE",
            "lastStatusTime": first["changes"][0]["lastStatusTime"],
        }
    async with running(STATE_DIR=str(tmp_path)) as setup:
        again = await page(setup, f"after={first['next']}")
        assert [one["id"] for one in again["changes"]] == ["100"]


async def test_fields_restrict_a_change_and_bring_its_record(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        whole = (await page(setup, "limit=1&fields=record"))["changes"][0]
        assert (whole["state"], whole["record"]["state"]) == ("DELIVERED", "DELIVERED")
        assert whole["record"]["kind"] == "Message"
        some = (await page(setup, "limit=1&fields=state,record.cost"))["changes"][0]
        assert set(some) == {"cursor", "id", "phone", "kind", "state", "record"}
        assert set(some["record"]) == {"kind", "id", "phone", "cost"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"phone={PHONE}", ["1"]),
        ("phone=8%20(999)%20000-00-01", ["1"]),
        ("kind=HlrLookup", []),
        ("state=DELIVERED,QUEUED", ["1", "100"]),
        ("stateGroup=FAILED", ["3", "24"]),
        ("isFinal=false", ["100"]),
        ("errorCode=ABSENT_SUBSCRIBER&state=EXPIRED", ["24"]),
        ("sender=nobody", []),
    ],
)
async def test_filters(tmp_path: Path, query: str, expected: list[str]) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        told = await page(setup, query)
        assert [one["id"] for one in told["changes"]] == expected
        end = (await page(setup, "after=now"))["next"]
        assert told["next"] == end


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("after=x", "after"),
        ("after=", "after"),
        ("after=now&after=now", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("wait=61", "wait"),
        ("wait=-1", "wait"),
        ("fields=nothing", "fields"),
        ("fields=record.history", "fields"),
        ("fields=record.nothing", "nothing"),
        ("sentAfter=2026-01-15T10:00:00Z", "sentAfter"),
        ("state=nothing", "state"),
    ],
)
async def test_what_is_wrong_is_named(tmp_path: Path, query: str, named: str) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        answer = await setup.client.get(f"/v1/changes?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert named in answer.json()["detail"]


async def test_a_cursor_that_is_not_kept_any_more_is_a_410(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        position = position_of((await page(setup))["next"])
        assert isinstance(position, FeedPosition)
        strange = cursor_of(position._replace(epoch=position.epoch + 1))
        for accept in ("application/json", "text/event-stream"):
            answer = await setup.client.get(
                f"/v1/changes?after={strange}", headers={"accept": accept}
            )
            assert (answer.status_code, answer.json()["code"]) == (410, "CURSOR_EXPIRED")


async def test_an_empty_page_waits_until_something_comes(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), CALLBACK_SECRET=SECRET) as setup:
        await filled(setup)
        waiting = Stream(setup, f"/v1/changes?after=now&wait=30&phone={PHONE}")
        other = Stream(setup, "/v1/changes?after=now&wait=30&phone=79990000003")
        archive = setup.state["archive"]
        assert archive is not None
        readers = archive.feed._readers  # noqa: SLF001
        await until(lambda: len(readers) == 2)  # both know where the end was
        await pushed(setup, 1, 2)
        await until(lambda: waiting.is_over)
        (change,) = json.loads(waiting.body)["changes"]
        assert (change["state"], change["source"]) == ("READ", "CALLBACK")
        assert b"changes" not in other.body
        await setup.clock.advance(30)
        await until(lambda: other.is_over)
        told = json.loads(other.body)
        assert told["changes"] == []
        assert (await page(setup, f"after={told['next']}&phone=79990000003"))["changes"] == []


async def test_who_leaves_is_waited_for_no_longer(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        waiting = Stream(setup, "/v1/changes?wait=60")
        archive = setup.state["archive"]
        assert archive is not None
        readers = archive.feed._readers  # noqa: SLF001
        await until(lambda: bool(readers))
        waiting._gone.set()  # noqa: SLF001
        await until(lambda: not readers)


async def test_events_are_the_same_and_go_on_behind_the_last(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), CALLBACK_SECRET=SECRET) as setup:
        await filled(setup)
        url = "/v1/changes?limit=3"
        stream = Stream(setup, url, accept="text/event-stream")
        told = await until_there(stream, 4)
        changes = (await page(setup))["changes"]
        assert [one["id"] for one in told] == [one["cursor"] for one in changes]
        assert [json.loads(one["data"]) for one in told] == changes
        assert {one["event"] for one in told} == {"change"}
        await pushed(setup, 1, 2)
        assert json.loads((await until_there(stream, 5))[-1]["data"])["state"] == "READ"
        await stream.leave()
        again = Stream(setup, url, accept="text/event-stream", last_event_id=told[2]["id"])
        later = [json.loads(one["data"])["id"] for one in await until_there(again, 2)]
        assert later == ["100", "1"]
        await again.leave()


async def test_a_heartbeat_tells_how_far_a_reader_is_whom_nothing_was_for(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        stream = Stream(setup, "/v1/changes?kind=HlrLookup", accept="text/event-stream")
        await until_there(stream, 0)
        await filled(setup)
        async with asyncio.timeout(PATIENCE):
            while len(stream.events) < 2:
                await setup.clock.advance(1)
                await asyncio.sleep(0.01)
        assert stream.events[1] == {"id": (await page(setup))["next"]}
        await stream.leave()


async def test_events_end_where_the_gateway_stops(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        stream = Stream(setup, "/v1/changes", accept="text/event-stream")
        await until_there(stream, 0)
        setup.state["lifetime"].close()
        await until(lambda: stream.is_over)


async def test_head_has_no_body(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        for accept in ("application/json", "text/event-stream"):
            answer = await setup.client.head("/v1/changes?wait=60", headers={"accept": accept})
            assert (answer.status_code, answer.content) == (200, b"")


async def test_scopes_hold(tmp_path: Path) -> None:
    clients = tmp_path / "clients.toml"
    clients.write_text(
        client("reader", scopes=frozenset({Scope.STATUS_READ}))
        + client("lister", scopes=frozenset({Scope.STATUS_READ, Scope.RECORD_LIST}))
    )
    async with running(
        STATE_DIR=str(tmp_path), CLIENTS_FILE=str(tmp_path / "clients.toml")
    ) as setup:

        def bearer(key: str) -> dict[str, str]:
            return {"authorization": f"Bearer key of {key}"}

        assert (await setup.client.get("/v1/changes")).status_code == 401
        refused = await setup.client.get("/v1/changes", headers=bearer("reader"))
        assert refused.status_code == 403
        url = f"/v1/messages/1?phone={PHONE}"
        assert (await setup.client.get(url, headers=bearer("lister"))).status_code == 200
        await written(setup)
        told = await setup.client.get("/v1/changes?fields=record", headers=bearer("lister"))
        (change,) = told.json()["changes"]
        assert (change["record"]["text"], change["record"]["hiddenFields"]) == (
            None,
            ["text", "comment"],
        )
        named = await setup.client.get("/v1/changes?fields=record.text", headers=bearer("lister"))
        assert named.status_code == 403
        query = {"query": "subscription { changes { id } }"}
        streamed = await setup.client.post(
            "/graphql", json=query, headers=bearer("reader") | {"accept": "text/event-stream"}
        )
        assert "FORBIDDEN" in streamed.text


FOLLOW = """subscription Follow($filter: ChangeFilter, $after: String) {
  changes(filter: $filter, after: $after) { cursor state record { id ... on Message { parts } } }
}"""


def subscribed(setup: Setup, **variables: object) -> Stream:
    body = json.dumps({"query": FOLLOW, "variables": variables}).encode()
    headers = {"content_type": "application/json", "content_length": str(len(body))}
    return Stream(setup, "/graphql", "POST", body, accept="text/event-stream", **headers)


async def data(stream: Stream, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(PATIENCE):
        while len([one for one in stream.events if one["event"] == "next"]) < count:
            await settle()
            await asyncio.sleep(0.01)
    return [json.loads(one["data"]) for one in stream.events if one["event"] == "next"]


async def test_a_subscription_tells_the_same(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), CALLBACK_SECRET=SECRET) as setup:
        await filled(setup)
        stream = subscribed(setup)
        told = [one["data"]["changes"] for one in await data(stream, 4)]
        changes = (await page(setup))["changes"]
        assert [one["cursor"] for one in told] == [one["cursor"] for one in changes]
        assert told[0]["record"] == {"id": "1", "parts": 1}
        await pushed(setup, 1, 2)
        last = (await data(stream, 5))[-1]["data"]["changes"]
        assert last["state"] == "READ"
        await stream.leave()
        again = subscribed(setup, after=told[2]["cursor"], filter={"phone": [PHONE]})
        assert (await data(again, 1))[0]["data"]["changes"] == last
        await again.leave()


async def test_events_that_look_alike_are_all_told(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        body = json.dumps({"query": "subscription { changes { isFinal } }"}).encode()
        headers = {"content_type": "application/json", "content_length": str(len(body))}
        stream = Stream(setup, "/graphql", "POST", body, accept="text/event-stream", **headers)
        told = [one["data"]["changes"]["isFinal"] for one in await data(stream, 4)]
        assert told == [True, True, True, False]
        await stream.leave()


async def test_a_subscription_names_what_is_wrong(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        for variables, code in (
            ({"after": "x"}, "INVALID_ARGUMENT"),
            ({"after": cursor_of(FeedPosition(1, 1))}, "CURSOR_EXPIRED"),
            ({"filter": {"phone": ["x"]}}, "INVALID_ARGUMENT"),
        ):
            stream = subscribed(setup, **variables)
            (told,) = await data(stream, 1)
            assert told["errors"][0]["extensions"]["code"] == code
            await settle()
            assert stream.is_over
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_URL="none") as setup:
        stream = subscribed(setup)
        (told,) = await data(stream, 1)
        assert told["errors"][0]["extensions"]["code"] == "ARCHIVE_OFF"
