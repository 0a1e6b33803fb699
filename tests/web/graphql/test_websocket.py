"""`graphql-transport-ws` at its edges; real clients stand in tests/e2e."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.callers.model import Scope
from gateway.web.graphql.websocket import MAX_OPERATIONS
from tests.support.callers import client
from tests.support.clock import START, settle
from tests.support.gateway import Setup, running
from tests.support.stream import Stream

pytestmark = pytest.mark.anyio

INIT = {"type": "connection_init"}
LIVE = 'subscription { status(id: 100, phone: "79990000100") { isFinal } }'
DONE = 'subscription { status(id: 1, phone: "79990000001") { isFinal } }'


class Socket:
    """One end of a WebSocket, at the application's side of the protocol (ASGI)."""

    def __init__(self) -> None:
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's type is too narrow here
        self.sent.append(dict(message))

    def put(self, *messages: Any) -> None:  # noqa: ANN401 - whatever can be sent
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            self.to_app.put_nowait({"type": "websocket.receive", "text": text})

    @property
    def told(self) -> list[dict[str, Any]]:
        """The protocol's messages."""
        return [json.loads(one["text"]) for one in self.sent if one["type"] == "websocket.send"]

    @property
    def closed(self) -> tuple[int, str] | None:
        for one in self.sent:
            if one["type"] == "websocket.close":
                return one["code"], one.get("reason") or ""
        return None


@asynccontextmanager
async def connected(
    setup: Setup,
    headers: Mapping[str, str] | None = None,
    protocols: tuple[str, ...] = ("graphql-transport-ws",),
) -> AsyncIterator[Socket]:
    socket = Socket()
    socket.to_app.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "root_path": "",
        "scheme": "ws",
        "headers": [
            (name.encode(), value.encode())
            for name, value in {"host": "gateway.localhost", **(headers or {})}.items()
        ],
        "subprotocols": list(protocols),
        "client": ("10.0.0.1", 1),
        "server": ("gateway.localhost", 80),
        "extensions": {},
        "asgi": {"version": "3.0"},
    }
    task = asyncio.ensure_future(setup.app(scope, socket.to_app.get, socket.send))
    await settle()
    try:
        yield socket
    finally:
        socket.to_app.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await task


def subscribe(id_: object, query: str = DONE, **payload: object) -> dict[str, Any]:
    return {"id": id_, "type": "subscribe", "payload": {"query": query, **payload}}


async def test_a_subscription_from_its_beginning_to_its_end() -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, {"type": "ping"}, subscribe("a"))
        await settle()
    assert socket.sent[0] == {
        "type": "websocket.accept",
        "subprotocol": "graphql-transport-ws",
        "headers": [],
    }
    assert socket.told == [
        {"type": "connection_ack"},
        {"type": "pong"},
        {"id": "a", "type": "next", "payload": {"data": {"status": {"isFinal": True}}}},
        {"type": "complete", "id": "a"} | {"id": "a"},
    ]


@pytest.mark.parametrize(
    ("message", "closed"),
    [
        ("[]", 4400),
        ("nonsense", 4400),
        ("1", 4400),
        ('"connection_init"', 4400),
        ("{}", 4400),
        ({"type": ["subscribe"]}, 4400),
        ({"type": "start"}, 4400),
        ({"type": "connection_init", "payload": []}, 4400),
        ({"type": "subscribe", "id": 1, "payload": {"query": DONE}}, 4400),
        ({"type": "subscribe", "id": "1"}, 4400),
        ({"type": "subscribe", "id": "1", "payload": []}, 4400),
        ({"type": "complete"}, 4400),
        ({"type": "complete", "id": {}}, 4400),
        (subscribe("1"), 4401),
    ],
)
async def test_what_is_no_message_closes_the_connection(message: object, closed: int) -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(message)
        await settle()
    assert socket.closed is not None
    assert socket.closed[0] == closed


@pytest.mark.parametrize(
    ("messages", "closed"),
    [([INIT, INIT], 4429), ([INIT, subscribe("a", LIVE), subscribe("a", LIVE)], 4409)],
)
async def test_what_comes_twice_closes_the_connection(messages: list[Any], closed: int) -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(*messages)
        await setup.clock.advance(1)
    assert socket.closed is not None
    assert socket.closed[0] == closed


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        ({"query": "{"}, "Syntax Error"),
        ({"query": "{ nobody }"}, "Cannot query field"),
        ({"query": 1}, "query must be a string"),
        ({}, "query must be given"),
        ({"query": DONE, "variables": []}, "variables must be an object"),
        ({"query": "query A { a: __typename } query B { b: __typename }"}, "operationName"),
        ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0"}}}, "NotFound"),
    ],
)
async def test_a_bad_operation_is_an_error_of_its_own(payload: dict[str, Any], word: str) -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, {"id": "a", "type": "subscribe", "payload": payload}, subscribe("b"))
        await settle()
    assert socket.closed is None
    (error,) = [one for one in socket.told if one["type"] == "error"]
    assert (error["id"], word in error["payload"][0]["message"]) == ("a", True)
    assert error["payload"][0]["extensions"]["retryable"] is False
    assert [one["type"] for one in socket.told if one.get("id") == "b"] == ["next", "complete"]


async def test_queries_and_mutations_are_answered_as_well() -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, subscribe("a", "{ __typename }"))
        socket.put(subscribe("b", 'mutation { deleteMessage(id: 404, phone: "79990000001") }'))
        await setup.clock.advance(1)
    by_id = {one["id"]: one["payload"] for one in socket.told if one["type"] == "next"}
    assert by_id["a"] == {"data": {"__typename": "Query"}}
    assert by_id["b"]["errors"][0]["extensions"]["code"] == "DELETE_REFUSED"


async def test_a_change_of_what_was_not_selected_is_none() -> None:
    fine = LIVE.replace("isFinal", "freshness { detail } providerStatus { name }")
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, subscribe("coarse", LIVE), subscribe("fine", fine))
        await setup.clock.advance(120)
    told = {
        name: [
            one["payload"]["data"]["status"]
            for one in socket.told
            if one.get("id") == name and one["type"] == "next"
        ]
        for name in ("coarse", "fine")
    }
    assert told["coarse"] == [{"isFinal": False}, {"isFinal": True}]
    assert [one["providerStatus"]["name"] for one in told["fine"]] == [
        "Waiting to be sent", "Handed over to the operator", "Delivered",
    ]  # fmt: skip


async def test_who_completes_is_told_nothing_more_and_may_use_the_id_again() -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, subscribe("a", LIVE))
        await setup.clock.advance(1)
        socket.put({"type": "complete", "id": "a"}, {"type": "complete", "id": "never"})
        await setup.clock.advance(60)
        assert [one["type"] for one in socket.told] == ["connection_ack", "next"]
        socket.put(subscribe("a"))
        await settle()
        assert [one["type"] for one in socket.told[2:]] == ["next", "complete"]


async def test_who_disconnects_ends_the_polling() -> None:
    async with running() as setup:
        async with connected(setup) as socket:
            socket.put(INIT, subscribe("a", LIVE))
            await setup.clock.advance(1)
        asked = len(await setup.asked())
        await setup.clock.advance(300)
        assert len(await setup.asked()) == asked == 1


async def test_only_so_many_operations_are_open_on_one_connection() -> None:
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, *(subscribe(str(n), LIVE) for n in range(MAX_OPERATIONS + 1)))
        await setup.clock.advance(1)
    errors = [one for one in socket.told if one["type"] == "error"]
    assert [error["id"] for error in errors] == [str(MAX_OPERATIONS)]


async def test_nobody_waits_for_an_init_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.graphql.websocket.INIT_TIMEOUT", timedelta(0))
    async with running() as setup, connected(setup) as socket:
        for _ in range(20):
            await asyncio.sleep(0)
    assert socket.closed == (4408, "Connection initialisation timeout")


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (None, True),
        ("http://gateway.localhost", True),
        ("https://gateway.localhost", True),
        ("http://evil.test", False),
        ("null", False),
    ],
)
async def test_pages_of_other_sites_may_not_connect(origin: str | None, accepted: bool) -> None:
    headers = {} if origin is None else {"origin": origin}
    async with running() as setup, connected(setup, headers) as socket:
        pass
    assert (socket.sent[0]["type"] == "websocket.accept") is accepted


async def test_another_protocol_is_not_spoken() -> None:
    async with running() as setup, connected(setup, protocols=("graphql-ws",)) as socket:
        pass
    assert socket.closed is not None
    assert socket.sent[0]["type"] == "websocket.close"


KEY = "Bearer key of dash"


def dashboard(folder: Path, more: str = "") -> Path:
    """A file of one client, that may see states alone."""
    path = folder / "clients.toml"
    path.write_text(client("dash", scopes=frozenset({Scope.STATUS_READ}), more=more))
    return path


async def test_a_key_comes_with_the_init(tmp_path: Path) -> None:
    path = dashboard(tmp_path)
    async with running(CLIENTS_FILE=str(path)) as setup:
        for payload, closed in (
            ({"Authorization": KEY}, None),
            ({"Authorization": "Bearer wrong"}, 4403),
            ({"Authorization": 1}, 4403),
            ({}, 4403),
            (None, 4403),
        ):
            async with connected(setup) as socket:
                socket.put(INIT | ({} if payload is None else {"payload": payload}), subscribe("a"))
                await settle()
            if closed is None:
                assert [one["type"] for one in socket.told] == [
                    "connection_ack",
                    "next",
                    "complete",
                ]
            else:
                assert socket.closed is not None
                assert (socket.closed[0], socket.told) == (closed, [])
        header = {"authorization": KEY}
        async with connected(setup, header) as socket:
            socket.put(INIT, subscribe("a", '{ message(id: 1, phone: "79990000001") { text } }'))
            await settle()
    (told,) = [one["payload"] for one in socket.told if one["type"] == "next"]
    assert told["data"] == {"message": {"text": None}}
    assert told["errors"][0]["path"] == ["message", "text"]
    assert told["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_connection_ends_with_its_key(tmp_path: Path) -> None:
    path = dashboard(tmp_path, f"expires = {datetime.fromtimestamp(START + 100, UTC).isoformat()}")
    async with running(CLIENTS_FILE=str(path)) as setup:
        headers = {"authorization": KEY}
        async with connected(setup, headers) as socket:
            socket.put(INIT)
            await setup.clock.advance(99)
            assert socket.closed is None
            await setup.clock.advance(2)
            assert socket.closed == (4403, "The key is no longer valid")


async def test_a_gateway_that_stops_says_that_it_will_be_back() -> None:
    """Not `complete`: clients are to go on with the next process."""
    async with running() as setup, connected(setup) as socket:
        socket.put(INIT, subscribe("a", LIVE))
        await setup.clock.advance(1)
        setup.state["watches"].end()
        await settle()
    assert socket.closed == (1012, "The gateway is stopping")
    assert [one["type"] for one in socket.told] == ["connection_ack", "next"]


async def test_streams_of_one_caller_are_bounded_over_all_connections(tmp_path: Path) -> None:
    path = dashboard(tmp_path, "max_streams = 2")
    async with running(CLIENTS_FILE=str(path)) as setup:
        headers = {"authorization": KEY}
        async with connected(setup, headers) as one, connected(setup, headers) as two:
            one.put(INIT, subscribe("a", LIVE), subscribe("b", LIVE))
            await setup.clock.advance(1)
            two.put(INIT, subscribe("c", LIVE))
            await setup.clock.advance(1)
            (error,) = [told for told in two.told if told["type"] == "error"]
            assert error["payload"][0]["extensions"]["code"] == "QUOTA_EXCEEDED"
            one.put({"type": "complete", "id": "a"})
            await settle()
            two.put(subscribe("d", LIVE))
            await settle()
            assert [told["id"] for told in two.told if told["type"] == "next"] == ["d"]


TEXT = '{ message(id: 1, phone: "79990000001") { text } }'
DELETE = 'mutation { deleteMessage(id: 1, phone: "79990000001") }'


async def test_a_withdrawn_key_does_nothing_on_an_open_socket(tmp_path: Path) -> None:
    """The client has another key, so it stays in the file."""
    path = tmp_path / "clients.toml"
    path.write_text(client("dashboard", "leaked", "kept"))
    async with running(CLIENTS_FILE=str(path)) as setup:
        headers = {"authorization": "Bearer leaked"}
        async with connected(setup, headers) as socket:
            socket.put(INIT, subscribe("live", LIVE), subscribe("a", TEXT))
            await settle()
            told = len(socket.told)
            path.write_text(client("dashboard", "kept"))
            assert setup.state["callers"].reload()
            socket.put(subscribe("b", TEXT), subscribe("c", DELETE))
            await settle()
            assert socket.closed == (4403, "The key is no longer valid")
            later = [one for one in socket.told[told:] if one["type"] != "error"]
            assert not later
        assert setup.world.look("79990000001", 1).status == 1


async def test_an_operation_has_the_scopes_of_its_moment(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("dashboard"))
    async with running(CLIENTS_FILE=str(path)) as setup:
        headers = {"authorization": "Bearer key of dashboard"}
        async with connected(setup, headers) as socket:
            socket.put(INIT, subscribe("live", LIVE))
            await settle()
            path.write_text(client("dashboard", scopes=frozenset({Scope.STATUS_READ})))
            assert setup.state["callers"].reload()
            await settle()
            (ended,) = [one for one in socket.told if one["type"] == "error"]
            assert (ended["id"], ended["payload"][0]["extensions"]["code"]) == ("live", "FORBIDDEN")
            socket.put(subscribe("a", TEXT), subscribe("b", DELETE))
            await settle()
            answers = {one["id"]: one["payload"] for one in socket.told if one["type"] == "next"}
            assert answers["a"]["data"] == {"message": {"text": None}}
            assert answers["b"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
            assert socket.closed is None
        assert setup.world.look("79990000001", 1).status == 1


async def test_a_subscription_over_sse_ends_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("dashboard", "leaked", "kept"))
    async with running(CLIENTS_FILE=str(path)) as setup:
        stream = Stream(
            setup,
            "/graphql",
            "POST",
            json.dumps({"query": LIVE}).encode(),
            accept="text/event-stream",
            content_type="application/json",
            authorization="Bearer leaked",
        )
        await settle()
        path.write_text(client("dashboard", "kept"))
        assert setup.state["callers"].reload()
        await settle()
        assert stream.is_over
    last = json.loads([one for one in stream.events if one["event"] == "next"][-1]["data"])
    assert last["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
