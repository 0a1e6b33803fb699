"""What is told of each request: in the log, in the metrics, in its answer."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from gateway.app import create_app
from gateway.observability.accesslog import AccessLog
from gateway.simulator import create_simulator, sample_world
from gateway.web.http.lifetime import Lifetime
from tests.support.callers import callers, client
from tests.support.clock import FakeClock
from tests.support.gateway import settings

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
URL = f"/v1/messages/1?phone={PHONE}"


class Moody(FakeClock):
    """A clock that fails when it is told to: a fault that no code expects."""

    fails_once = False

    def time(self) -> float:
        if self.fails_once:
            self.fails_once = False
            raise RuntimeError("the clock has stopped")
        return super().time()


class Told:
    """A gateway whose log and lifetime a test holds."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.log = AccessLog(self.stream, delay=3600)
        self.lifetime = Lifetime()
        self.clock = Moody()
        self.http: httpx.AsyncClient
        self.provider: httpx.AsyncClient
        self.app: Any

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    async def websocket(self, *messages: Message, **scope: object) -> list[Message]:
        """What is sent to a WebSocket that sends these messages and leaves."""
        coming = [*messages, {"type": "websocket.disconnect", "code": 1000}]
        sent: list[Message] = []

        async def receive() -> Message:
            for _ in range(50):
                await asyncio.sleep(0)
            return coming.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        base = {
            "type": "websocket",
            "path": "/graphql",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "subprotocols": ["graphql-transport-ws"],
            "client": ("127.0.0.1", 1),
            "state": {},
        }
        await self.app(base | scope, receive, send)
        return sent


@asynccontextmanager
async def telling(**given: Any) -> AsyncIterator[Told]:  # noqa: ANN401 - of `create_app`
    told = Told()
    world = sample_world(told.clock.time)
    simulator = create_simulator(world, monotonic=told.clock.monotonic, sleep=told.clock.sleep)
    provider = httpx.ASGITransport(simulator)
    app = create_app(
        settings(),
        clock=told.clock,
        transport=provider,
        lifetime=told.lifetime,
        access_log=told.log,
        **given,
    )
    async with (
        LifespanManager(app) as manager,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(manager.app, raise_app_exceptions=False),
            base_url="http://gateway.localhost",
        ) as http,
        httpx.AsyncClient(transport=provider, base_url="http://provider.test") as direct,
    ):
        told.http, told.provider, told.app = http, direct, manager.app
        yield told


async def test_one_line_a_request_tells_all_but_what_the_caller_wrote(tmp_path: Path) -> None:
    known = callers(tmp_path / "clients.toml", client("crm"))
    async with telling(callers=known) as told:
        answer = await told.http.get(URL, headers={"authorization": "Bearer key of crm"})
        (line,) = told.lines()
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "gateway.web.http.front",
        "timestamp": "2027-01-15T08:00:00Z",
        "method": "GET",
        "route": "/v1/messages/{id}",
        "status": 200,
        "ms": 0.0,
        "bytes": len(answer.content),
        "request_id": answer.headers["x-request-id"],
        "caller": "crm",
        "cache": "miss",
    }


async def test_a_line_tells_whether_the_provider_had_to_be_asked() -> None:
    async with telling() as told:
        for _ in range(2):
            await told.http.get(URL)
        assert [line["cache"] for line in told.lines()] == ["miss", "hit"]


async def test_a_line_tells_how_long_it_took() -> None:
    async with telling() as told:
        await told.provider.post("/control/latency", json={"seconds": 0.25})
        call = asyncio.create_task(told.http.get(URL))
        await told.clock.advance(0.25)
        await call
        (line,) = told.lines()
    assert line["ms"] == 250.0


@pytest.mark.parametrize(
    ("method", "url", "status", "route"),
    [
        ("GET", f"/v1/messages/x?phone={PHONE}", 400, "/v1/messages/{id}"),
        ("GET", f"/v1/messages/404?phone={PHONE}", 404, "/v1/messages/{id}"),
        ("PUT", f"/v1/messages/1?phone={PHONE}", 405, "/v1/messages/{id}"),
        ("GET", f"/v2/{PHONE}", 404, None),
        ("GET", f"/assets/{PHONE}", 404, "/assets/{name}"),
    ],
)
async def test_no_line_holds_the_phone(method: str, url: str, status: int, route: str) -> None:
    async with telling() as told:
        await told.http.request(method, url)
        (line,) = told.lines()
    assert (line["status"], line["route"]) == (status, route)
    assert PHONE not in told.stream.getvalue()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Dashboard", "Dashboard"), ("Of_79990000001", None), ("x" * 65, None), ("", None)],
)
async def test_an_operation_is_named_if_it_is_no_number(name: str, shown: str | None) -> None:
    query = f'query {name} {{ status(id: 1, phone: "{PHONE}") {{ isFinal }} }}'
    async with telling() as told:
        await told.http.post("/graphql", json={"query": query})
        (line,) = told.lines()
    assert line["route"] == "/graphql"
    assert (line["operation_type"], line["operation"]) == ("query", shown)
    assert PHONE not in told.stream.getvalue()


async def test_a_line_tells_the_trace_that_a_caller_began() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with telling() as told:
        await told.http.get("/livez", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        await told.http.get("/livez", headers={"traceparent": f"00-{PHONE}"})
        lines = told.lines()
    assert [line.get("trace_id") for line in lines] == [trace, None]


async def test_who_is_not_let_in_is_told_as_well(tmp_path: Path) -> None:
    known = callers(tmp_path / "clients.toml", client("crm"))
    async with telling(callers=known) as told:
        answer = await told.http.get(URL, headers={"authorization": "Bearer wrong-key"})
        (line,) = told.lines()
    assert (line["status"], line["request_id"]) == (401, answer.headers["x-request-id"])
    assert "wrong-key" not in told.stream.getvalue()


async def test_a_fault_of_ours_is_told_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with telling() as told:
        told.clock.fails_once = True
        answer = await told.http.get(URL)
        (line,) = told.lines()
    assert (line["status"], line["request_id"]) == (500, answer.json()["requestId"])
    assert answer.headers["x-request-id"] == line["request_id"]


async def test_an_event_stream_leaves_its_line_when_it_ends() -> None:
    query = f'subscription {{ status(id: 1, phone: "{PHONE}") {{ isFinal }} }}'
    async with telling() as told:
        headers = {"accept": "text/event-stream"}
        answer = await told.http.post("/graphql", json={"query": query}, headers=headers)
        (line,) = told.lines()
        metrics = (await told.http.get("/metrics")).text
    assert answer.text.count("event: ") == line["events"] == 2
    assert line["bytes"] == len(answer.content)
    assert line["operation_type"] == "subscription"
    assert 'graphql_operations_total{path="compiled",type="subscription"} 1.0' in metrics


async def test_a_socket_leaves_its_line_when_it_ends() -> None:
    payload = {"query": f'{{ status(id: 1, phone: "{PHONE}") {{ isFinal }} }}'}
    messages = [
        {"type": "connection_init"},
        {"id": "1", "type": "subscribe", "payload": payload},
        {"type": "ping"},
    ]
    async with telling() as told:
        sent = await told.websocket(
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": json.dumps(one)} for one in messages),
        )
        (line,) = told.lines()
    texts = [message["text"] for message in sent if message["type"] == "websocket.send"]
    assert (line["route"], line["status"]) == ("/graphql", 101)
    assert (line["events"], line["bytes"]) == (len(texts), sum(map(len, texts)))
    assert line["events"] >= 3
    assert PHONE not in told.stream.getvalue()


async def test_a_socket_that_is_not_let_in_is_told_too() -> None:
    async with telling() as told:
        await told.websocket({"type": "websocket.connect"}, subprotocols=[])
        (line,) = told.lines()
    assert (line["status"], line["bytes"]) == (403, 0)
    assert "events" not in line


async def test_who_leaves_in_the_middle_of_a_question_is_no_fault_of_ours() -> None:
    async with telling() as told:

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(_: Message) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/statuses/batch",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"content-length", b"100"),
                (b"content-type", b"application/json"),
            ],
            "client": ("127.0.0.1", 1),
            "state": {},
        }
        await told.app(scope, receive, send)
        (line,) = told.lines()
    assert line["status"] in {400, 499}


async def test_requests_are_counted_by_route_method_and_status() -> None:
    async with telling() as told:
        for _ in range(3):
            await told.http.get(URL)
        await told.http.get(f"/v2/{PHONE}")
        await told.http.request("BREW", "/livez")
        text = (await told.http.get("/metrics")).text
    counted = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "smsc_gateway_http_request_duration_seconds_count"
    }
    assert counted == {
        ("GET", "/v1/messages/{id}", "2xx"): 3,
        ("GET", "NONE", "4xx"): 1,
        ("OTHER", "/livez", "4xx"): 1,
    }
    assert PHONE not in text


async def test_buckets_are_cumulated() -> None:
    async with telling() as told:
        await told.http.get(URL)
        text = (await told.http.get("/metrics")).text
    buckets = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "smsc_gateway_http_request_duration_seconds_bucket"
    ]
    assert buckets == [1] * 11


async def test_the_last_answers_close_their_connections() -> None:
    async with telling() as told:
        assert "connection" not in (await told.http.get(URL)).headers
        told.lifetime.leave()
        leaving = await told.http.get("/readyz")
        told.lifetime.close()
        closing = await told.http.get(URL)
        assert (await told.http.get("/livez")).status_code == 200
    assert (leaving.status_code, leaving.json()) == (
        503,
        {"status": "unavailable", "breaker": "CLOSED", "reason": "STOPPING"},
    )
    assert "connection" not in leaving.headers
    assert (closing.status_code, closing.headers["connection"]) == (200, "close")
