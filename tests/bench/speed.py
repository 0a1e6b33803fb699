"""Speeds as ratios taken in one run, peers in turn; medians of several rounds."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
from asgi_lifespan import LifespanManager
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import create_app
from gateway.records import StatusKey
from gateway.simulator import create_simulator, render, sample_world
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected
from tests.support.gateway import settings
from tests.support.valkey import valkey

ROUNDS = 7
TURNS = 50
RECORDS = 1000
REQUESTS = 2000
MISSES = 200


def _decoding() -> None:
    """An answer of 1,000 messages at full detail, from bytes to records."""
    zone = settings().zone
    told = [replace(MESSAGE, id=number + 1) for number in range(RECORDS)]
    keys = [StatusKey(report.phone, report.id) for report in told]

    def read(body: bytes) -> None:
        rows = decode(body, expected=Expected(2, many=True))
        assert isinstance(rows, list)
        found = match(rows, keys)
        assert len(found) == RECORDS
        for key, row in found.items():
            normalise(row, key, asked=None, zone=zone)

    bodies = [render(told, fmt=f, all=2, many=True, charset="utf-8") for f in range(4)]
    works: dict[str, Callable[[], object]] = {PEER: lambda: orjson.loads(bodies[3])}
    for name, body in zip(GOALS, bodies, strict=True):
        works[name] = lambda body=body: read(body)  # type: ignore[misc] # bound at once
    spent = _lower_quartiles(works)
    print("decoding, bytes to normalised records")
    for name, seconds in spent.items():
        ratio = f"   {seconds / spent[PEER]:5.1f} x, goal {GOALS[name]}" if name in GOALS else ""
        print(f"  {name:<18} {RECORDS / seconds:>10,.0f} records/s{ratio}")


PEER = "orjson.loads alone"
GOALS = {"text": 22, "comma": 22, "xml": 22, "json": 11}
"""By format: how many times as long as its peer it may take at the most."""


def _lower_quartiles(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of CPU time that each work takes where others on the machine disturb it little.

    In turn, so that all meet the same; each once unmeasured, for what others left in the caches.
    """
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            work()
            began = time.process_time()
            work()
            spent[name].append(time.process_time() - began)
    return {name: statistics.quantiles(seconds, n=4)[0] for name, seconds in spent.items()}


async def _bare(_: Scope, __: Receive, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * 900})


async def _hits() -> None:
    """Cached answers, without a server around them: CPU time of the application alone."""
    world = sample_world(time.time)
    provider = httpx.ASGITransport(create_simulator(world))
    app = create_app(settings(), transport=provider)
    query = json.dumps({"query": '{ message(id: 1, phone: "79990000001") { state isFinal text } }'})
    async with LifespanManager(app) as manager:
        calls: dict[str, Callable[[], Awaitable[None]]] = {
            "bare ASGI": _call(_bare, "GET", "/", b""),
            "REST hit": _call(manager.app, "GET", "/v1/messages/1", b"phone=79990000001"),
            "GraphQL hit": _call(manager.app, "POST", "/graphql", b"", query.encode()),
        }
        spent: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                began = time.process_time()
                for _ in range(REQUESTS):
                    await call()
                spent[name].append((time.process_time() - began) / REQUESTS)
    print("a hit, CPU time of the application alone")
    least = statistics.median(spent["bare ASGI"])
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        print(f"  {name:<18} {median * 1e6:>10,.1f} us   {median / least:7.1f} x bare ASGI")


class _Provider(httpx.AsyncBaseTransport):
    """Answers whatever single message it is asked for, after a pause and with next to no work."""

    pause = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode()))
        await asyncio.sleep(self.pause)
        body = f'{{"status":0,"id":{form["id"]},"phone":"{form["phone"]}"}}'
        return httpx.Response(200, stream=httpx.ByteStream(body.encode()))


async def _misses(pause: float, **environ: str) -> float:
    """Seconds that a miss adds to the provider's latency, at the median; one after the other."""
    _Provider.pause = pause
    app = create_app(settings(**environ), transport=_Provider())
    added = []
    asleep = []
    async with LifespanManager(app) as manager:
        for number in range(MISSES):
            call = _call(
                manager.app, "GET", f"/v1/messages/{number + 1}", b"phone=79990000001&fields=state"
            )
            began = time.perf_counter()
            await call()
            added.append(time.perf_counter() - began)
            began = time.perf_counter()
            await asyncio.sleep(pause)
            asleep.append(time.perf_counter() - began)
    return statistics.median(added) - statistics.median(asleep)


def _call(
    app: ASGIApp, method: str, path: str, query: bytes, body: bytes = b""
) -> Callable[[], Awaitable[None]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200

    async def call() -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "scheme": "http",
            "http_version": "1.1",
            "server": ("x", 80),
            "client": ("x", 1),
            "state": {},
            "asgi": {"version": "3.0"},
        }
        await app(scope, receive, send)

    return call


def main() -> None:
    _decoding()
    asyncio.run(_hits())
    print("a miss adds to the provider's latency")
    with valkey() as server:
        for who, environ in (("alone", {}), ("sharing Valkey", {"REDIS_URL": server.url})):
            busy = asyncio.run(_misses(0, **environ)) * 1e3
            server.client.flushall()
            idle = asyncio.run(_misses(0.05, **environ)) * 1e3
            print(f"  {who:<18} {busy:>10.2f} ms   {idle:7.2f} on a core that was idle")
