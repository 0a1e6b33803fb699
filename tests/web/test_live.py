"""Records that are followed over REST: server-sent events, and answers that wait."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest

from gateway.callers.model import Scope
from gateway.web.http.sse import HEARTBEAT_SECONDS
from gateway.web.rest.follow import LONGEST_WAIT, seconds_to_wait
from tests.support.callers import client
from tests.support.clock import settle
from tests.support.gateway import Setup, running
from tests.support.stream import Stream
from tests.support.valkey import valkey

pytestmark = pytest.mark.anyio

DONE = "79990000001"
LIVE = "79990000100"
RECORD = f"/v1/messages/100?phone={LIVE}&fields=state"
EVENTS = f"/v1/messages/100/events?phone={LIVE}&fields=state"


def names(stream: Stream) -> list[str]:
    return [event["event"] for event in stream.events if "event" in event]


def states(stream: Stream) -> list[str]:
    told = [json.loads(one["data"]) for one in stream.events if one.get("event") == "status"]
    return [record["state"] for record in told]


async def opened(setup: Setup, url: str = EVENTS, **headers: str) -> Stream:
    stream = Stream(setup, url, "GET", b"", **headers)
    await settle()
    return stream


async def test_a_record_is_told_at_once_at_each_change_and_to_the_end() -> None:
    async with running() as setup:
        stream = await opened(setup)
        assert states(stream) == ["QUEUED"]
        await setup.clock.advance(120)
        assert stream.is_over
        assert await setup.breaches() == 0
    assert (stream.status, stream.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )
    assert stream.headers["cache-control"] == "no-store, no-transform"
    assert stream.events[0] == {"retry": "3000"}
    assert states(stream) == ["QUEUED", "SENT", "DELIVERED"]
    assert names(stream) == ["status"] * 3 + ["end"]
    ids = [event["id"] for event in stream.events if "id" in event]
    assert len(set(ids)) == 3
    assert json.loads(stream.events[1]["data"]) == {
        "kind": "Message",
        "id": "100",
        "phone": LIVE,
        "state": "QUEUED",
    }


async def test_a_change_of_what_was_not_asked_for_is_none() -> None:
    async with running() as setup:
        stream = await opened(setup, EVENTS.replace("state", "isFinal"))
        await setup.clock.advance(120)
        assert stream.is_over
    told = [json.loads(one["data"]) for one in stream.events if one.get("event") == "status"]
    assert [record["isFinal"] for record in told] == [False, True]


async def test_a_final_record_is_told_whole_and_ends() -> None:
    async with running() as setup:
        record = (await setup.message(1, DONE)).json()
        stream = await opened(setup, f"/v1/messages/1/events?phone={DONE}")
        lookup = await opened(setup, f"/v1/hlr-lookups/2/events?phone={DONE}")
        assert stream.is_over
        assert lookup.is_over
    assert names(stream) == names(lookup) == ["status", "end"]
    told = json.loads(stream.events[1]["data"])
    assert told["freshness"].pop("source") == "CACHE"
    assert record["freshness"].pop("source") == "LIVE"
    assert told == record


async def test_silence_is_filled_with_comments() -> None:
    async with running() as setup:
        stream = await opened(setup, "/v1/messages/20/events?phone=79990000020")
        assert names(stream) == ["status"]
        before = len(stream.body)
        await setup.clock.advance(3 * HEARTBEAT_SECONDS)
        assert stream.body[before:] == b":\n\n" * 3
        await stream.leave()


async def test_who_comes_again_is_told_only_what_is_new() -> None:
    async with running() as setup:
        first = await opened(setup)
        seen = first.events[-1]["id"]
        await first.leave()
        same = await opened(setup, last_event_id=seen)
        assert states(same) == []
        await same.leave()
        await setup.clock.advance(60)
        later = await opened(setup, last_event_id=seen)
        await setup.clock.advance(60)
        assert later.is_over
        last = [event["id"] for event in later.events if "id" in event][-1]
        ended = await opened(setup, last_event_id=last)
    assert states(later)[0] != "QUEUED"
    assert (ended.status, ended.body) == (204, b"")


async def test_trouble_is_an_event() -> None:
    async with running() as setup:
        await setup.fault("error", 4, times=1)
        stream = await opened(setup)
        assert names(stream) == ["problem"]
        problem = json.loads(stream.events[-1]["data"])
        await stream.leave()
    assert (problem["code"], problem["status"]) == ("UPSTREAM_BLOCKED", 503)
    assert problem["instance"] == "/v1/messages/100/events"
    assert problem["type"] == "urn:smsc-gateway:problem:UPSTREAM_BLOCKED"


async def test_what_was_deleted_ends_with_the_problem() -> None:
    async with running() as setup:
        stream = await opened(setup)
        await setup.client.delete(f"/v1/messages/100?phone={LIVE}")
        await settle()
        assert stream.is_over
    assert names(stream) == ["status", "problem", "end"]


async def test_the_other_kind_is_a_problem_before_or_in_the_stream() -> None:
    url = f"/v1/messages/2/events?phone={DONE}&fields=state"
    async with running() as setup:
        unknown = await opened(setup, url)
        known = await setup.client.get(url)
        assert unknown.is_over
    assert names(unknown) == ["problem"]
    assert json.loads(unknown.events[-1]["data"])["code"] == "KIND_MISMATCH"
    assert (known.status_code, known.json()["code"]) == (404, "KIND_MISMATCH")


@pytest.mark.parametrize(
    ("url", "accept", "status"),
    [
        (EVENTS.replace("100?", "0?").replace("/100/", "/0/"), "*/*", 400),
        (EVENTS.replace(LIVE, ""), "*/*", 400),
        (EVENTS + ",nonsense", "*/*", 400),
        (EVENTS, "application/json", 406),
    ],
)
async def test_what_is_wrong_is_told_before_the_stream(url: str, accept: str, status: int) -> None:
    async with running() as setup:
        answer = await setup.client.get(url, headers={"accept": accept})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_head_has_no_stream() -> None:
    async with running() as setup:
        answer = await setup.client.head(EVENTS)
        assert not await setup.asked()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_streams_are_counted_and_end_with_the_key(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("one", more="max_streams = 1\nexpires = 2027-01-15T08:00:20Z"))
    key = {"authorization": "Bearer key of one"}
    async with running(CLIENTS_FILE=str(path)) as setup:
        stream = await opened(setup, **key)
        refused = await setup.client.get(EVENTS, headers=key)
        assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
        await setup.clock.advance(25)
        assert stream.is_over
    assert names(stream)[-1] == "problem"
    assert json.loads(stream.events[-1]["data"])["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b"wait=5", 5),
        (b"respond-async, wait=10", 10),
        (b'Wait = "7" ; x', 7),
        (b"wait=3600", LONGEST_WAIT),
        (b"wait=0", 0),
        (b"await=5", 0),
        (b"wait=soon", 0),
        (b"", 0),
    ],
)
def test_the_preference_is_read(sent: bytes, seconds: int) -> None:
    assert seconds_to_wait(sent) == seconds


async def waiting(
    setup: Setup, etag: str | None = None, seconds: int = 30
) -> asyncio.Task[httpx.Response]:
    named = {"prefer": f"wait={seconds}"} | ({} if etag is None else {"if-none-match": etag})
    call = asyncio.create_task(setup.client.get(RECORD, headers=named))
    await settle()
    return call


async def test_an_answer_waits_for_news() -> None:
    async with running() as setup:
        first = await setup.client.get(RECORD)
        call = await waiting(setup, first.headers["etag"])
        assert not call.done()
        await setup.clock.advance(20)
        answer = await call
        assert await setup.breaches() == 0
    assert (answer.status_code, answer.json()["state"]) == (200, "SENT")
    assert answer.headers["preference-applied"] == "wait=30"


async def test_without_news_the_same_answer_comes_after_the_time() -> None:
    async with running() as setup:
        first = await setup.client.get(RECORD)
        with_tag = await waiting(setup, first.headers["etag"], 3)
        without = await waiting(setup, seconds=3)
        await setup.clock.advance(2)
        assert not with_tag.done()
        assert not without.done()
        await setup.clock.advance(1)
        assert (await with_tag).status_code == 304
        assert (await without).json() == first.json()


async def test_news_are_told_at_once() -> None:
    async with running() as setup:
        unknown = await waiting(setup)
        other = await waiting(setup, '"other"')
        assert (await unknown).status_code == (await other).status_code == 200
        final = {"prefer": "wait=30"}
        await setup.message(1, DONE)
        answer = await setup.client.get(f"/v1/messages/1?phone={DONE}", headers=final)
    assert answer.json()["isFinal"]
    assert (await unknown).headers["preference-applied"] == "wait=30"


async def test_whoever_leaves_is_not_waited_for() -> None:
    async with running() as setup:
        await setup.client.get(RECORD)
        stream = Stream(setup, RECORD, prefer="wait=30")
        await settle()
        assert setup.state["callers"].quota.open_streams == 1
        await stream.leave()
        assert setup.state["callers"].quota.open_streams == 0


async def test_what_is_deleted_meanwhile_is_not_found() -> None:
    async with running() as setup:
        await setup.client.get(RECORD)
        call = await waiting(setup)
        await setup.client.delete(f"/v1/messages/100?phone={LIVE}")
        answer = await call
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_who_comes_again_to_another_gateway_is_told_nothing_twice() -> None:
    url = f"/v1/messages/1/events?phone={DONE}&fields=state"
    with valkey() as server:
        async with running(REDIS_URL=server.url) as first:
            (id_,) = re.findall(r"^id: (.*)$", (await first.client.get(url)).text, re.MULTILINE)
        async with running(REDIS_URL=server.url) as second:
            answer = await second.client.get(url, headers={"last-event-id": id_.strip()})
            assert (answer.status_code, await second.asked()) == (204, [])


async def test_an_event_stream_goes_on_until_the_message_is_read() -> None:
    async with running() as setup:
        stream = await opened(setup, f"{EVENTS}&until=READ")
        await setup.clock.advance(59)
        assert (states(stream)[-1], stream.is_over) == ("DELIVERED", False)
        await setup.clock.advance(600)
        assert (states(stream)[-1], names(stream)[-1]) == ("READ", "end")
        assert stream.is_over


async def test_an_answer_waits_until_the_message_is_read() -> None:
    async with running() as setup:
        await setup.clock.advance(35)
        url = f"{RECORD}&until=READ"
        asked = asyncio.create_task(setup.client.get(url, headers={"prefer": "wait=5"}))
        await setup.clock.advance(6)
        assert (await asked).json()["state"] == "DELIVERED"
        asked = asyncio.create_task(setup.client.get(url, headers={"prefer": "wait=60"}))
        await setup.clock.advance(30)
        assert not asked.done()
        await setup.clock.advance(31)
        assert (await asked).status_code == 200
        await setup.clock.advance(600)
        again = await setup.client.get(url, headers={"prefer": "wait=60"})
        assert again.json()["state"] == "READ"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (f"{EVENTS}&until=SENT", "until must be one of DELIVERED, READ, CLICKED."),
        (f"{RECORD}&until=", "until must be one of DELIVERED, READ, CLICKED."),
        (f"{RECORD}&until=READ&until=READ", "until must be given exactly once, in the query."),
        (
            f"/v1/hlr-lookups/2/events?phone={DONE}&until=READ",
            "until is for messages: an HLR lookup is followed to its result.",
        ),
    ],
)
async def test_what_can_not_be_followed_to_is_told(url: str, sentence: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(url)
    assert (answer.status_code, answer.json()["detail"]) == (400, sentence)


async def test_a_stream_ends_as_soon_as_its_key_is_withdrawn(tmp_path: Path) -> None:
    """Its client has another key, and stays in the file."""
    path = tmp_path / "clients.toml"
    path.write_text(client("one", "leaked", "kept"))
    async with running(CLIENTS_FILE=str(path)) as setup:
        leaked = await opened(setup, authorization="Bearer leaked")
        kept = await opened(setup, authorization="Bearer kept")
        waits = {"authorization": "Bearer leaked", "prefer": "wait=60"}
        waiting = asyncio.create_task(setup.client.get(RECORD, headers=waits))
        await settle()
        path.write_text(client("one", "kept"))
        assert setup.state["callers"].reload()
        await settle()
        assert (leaked.is_over, kept.is_over, waiting.done()) == (True, False, True)
        assert (await waiting).json()["code"] == "UNAUTHENTICATED"
        told = leaked.body
        await setup.clock.advance(60)
        assert leaked.body == told
        assert states(kept)[-1] == "DELIVERED"
    assert json.loads(leaked.events[-1]["data"])["code"] == "UNAUTHENTICATED"


async def test_a_stream_ends_when_its_caller_loses_a_scope(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("one"))
    async with running(CLIENTS_FILE=str(path)) as setup:
        key = {"authorization": "Bearer key of one"}
        stream = await opened(setup, f"/v1/messages/100/events?phone={LIVE}", **key)
        path.write_text(client("one", scopes=frozenset({Scope.STATUS_READ})))
        assert setup.state["callers"].reload()
        await settle()
        assert stream.is_over
        again = await opened(setup, f"/v1/messages/100/events?phone={LIVE}", **key)
        assert json.loads(again.events[1]["data"])["hiddenFields"] == ["text", "comment"]
        await again.leave()
    assert json.loads(stream.events[-1]["data"])["code"] == "FORBIDDEN"


async def test_max_streams_may_be_none(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("one", more="max_streams = 0"))
    async with running(CLIENTS_FILE=str(path)) as setup:
        answer = await setup.client.get(EVENTS, headers={"authorization": "Bearer key of one"})
        refused = await setup.client.post(
            "/graphql",
            json={"query": f'subscription {{ status(id: 100, phone: "{LIVE}") {{ isFinal }} }}'},
            headers={"authorization": "Bearer key of one", "accept": "text/event-stream"},
        )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, "QUOTA_EXCEEDED")
    assert (problem["retryable"], problem["retryAfter"]) == (False, None)
    assert "max_streams is 0" in problem["detail"]
    assert '"retryable":false' in refused.text
