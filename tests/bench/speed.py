"""Decoding, as a ratio taken in one run, and what a miss adds to the provider's time."""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
from asgi_lifespan import LifespanManager
from starlette.types import ASGIApp, Message

from gateway.app import create_app
from gateway.model.records import StatusKey
from gateway.simulator import render
from gateway.simulator.samples import MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected
from tests.bench.harness import Row
from tests.support.gateway import settings
from tests.support.valkey import valkey

TURNS = 50
RECORDS = 1000
MISSES = 200
PAUSE = 0.02
"""Seconds that the provider takes, for the core to be idle."""


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


class _Provider(httpx.AsyncBaseTransport):
    """Answers whatever single message it is asked for, after a pause and with next to no work."""

    pause = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode()))
        await asyncio.sleep(self.pause)
        body = f'{{"status":0,"id":{form["id"]},"phone":"{form["phone"]}"}}'
        return httpx.Response(200, stream=httpx.ByteStream(body.encode()))


async def _misses(pause: float, **environ: str) -> float:
    """Microseconds that a miss adds to the provider's time, at the median; one after the other."""
    _Provider.pause = pause
    app = create_app(settings(**environ), transport=_Provider())
    added = []
    asleep = []
    async with LifespanManager(app) as manager:
        for number in range(MISSES):
            began = time.perf_counter()
            await _ask(manager.app, number + 1)
            added.append(time.perf_counter() - began)
            began = time.perf_counter()
            await asyncio.sleep(pause)
            asleep.append(time.perf_counter() - began)
    return (statistics.median(added) - statistics.median(asleep)) * 1e6


async def _ask(app: ASGIApp, id: int) -> None:
    path = f"/v1/messages/{id}"
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"phone=79990000001&fields=state",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "scheme": "http",
        "http_version": "1.1",
        "server": ("x", 80),
        "client": ("x", 1),
        "state": {},
        "asgi": {"version": "3.0"},
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200

    await app(scope, receive, send)


def rows() -> list[Row]:
    """What a miss adds to the provider's time; decoding prints its own figures."""
    _decoding()
    made = []
    with valkey() as server:
        for name, goal, environ in (
            ("a miss adds", "<= 1,000", {}),
            ("a miss adds, sharing Valkey", "<= 1,500", {"REDIS_URL": server.url}),
        ):
            for where, pause in (("", 0.0), (", on a core that was idle", PAUSE)):
                server.client.flushall()
                added = asyncio.run(_misses(pause, **environ))
                made.append(Row(name + where, "", "", f"{added:,.0f}", "", goal))
    return made
