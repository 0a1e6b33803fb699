"""Webhooks: changes delivered a second to an address that answers in 20 ms.

The receiver is a process of its own; the most that ten requests at a time let through is 500 a
second. `WEBHOOK_CHANGES` in the environment sets another number of changes.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.archive.archive import Archive, open_database
from gateway.archive.changes import FeedChange
from gateway.callers.model import ALL_SCOPES, Caller, WebhookEntry
from gateway.clock import Clock
from gateway.webhooks.webhooks import Webhooks
from tests.archive.support import T0, entry, key
from tests.bench.harness import Row, print_table
from tests.support.postgres import postgres
from tests.support.receiver import SECRET
from tests.support.server import closed_port, until_there

CHANGES: Final = int(os.environ.get("WEBHOOK_CHANGES", "5000"))
ANSWERS_IN: Final = 0.02
BODY: Final = b'{"type":"status.changed","data":{"record":"%b"}}' % (b"x" * 1000)

HEAD: Final = Row("work", "engine", "", "", "", "goal")


async def _receive(_: Request) -> Response:
    await asyncio.sleep(ANSWERS_IN)
    return Response(status_code=204)


app = Starlette(routes=[Route("/{path:path}", _receive, methods=["POST"])])


@contextmanager
def _receiver() -> Iterator[str]:
    port = closed_port()
    server = (sys.executable, "-m", "uvicorn", f"{__name__}:app", "--port", str(port))
    with subprocess.Popen([*server, "--log-level", "error"]) as process:
        try:
            until_there(port)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def main() -> None:
    """Measure both engines, and print a table."""
    print_table([HEAD, *asyncio.run(_rows())])


async def _rows() -> list[Row]:
    made: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres() as server,
        server.database() as address,
        _receiver() as receiver,
    ):
        file = f"sqlite:///{Path(folder) / 'archive.db'}"
        for engine, url in (("SQLite", file), ("PostgreSQL", address)):
            made += await _measure(engine, url, receiver)
    return made


async def _measure(engine: str, url: str, receiver: str) -> list[Row]:
    archive = Archive(open_database(url), Clock(), content=False, days=0)
    await archive.open()
    entries = {"one": WebhookEntry("one", receiver, (SECRET,), {}, Caller("one", ALL_SCOPES))}
    webhooks = Webhooks(lambda: entries, archive, Clock(), _body)
    await webhooks.open()
    for number in range(CHANGES):
        of = key(number + 1)
        archive.record(of, entry(of, 0, at=T0 + number))
    await archive.flush()
    start, cpu = time.perf_counter(), time.process_time()
    delivering = asyncio.create_task(webhooks.deliver())
    while webhooks.counts["one", "delivered"] < CHANGES:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    delivering.cancel()
    await asyncio.wait({delivering})
    await archive.aclose()
    rate = CHANGES / seconds
    bound = 10 / ANSWERS_IN
    return [
        Row(
            "delivered a second",
            engine,
            "",
            f"{rate:,.0f}",
            f"{rate / bound:.2f} of {bound:.0f}",
            "",
        ),
        Row("CPU us a delivery", engine, "", f"{cpu / CHANGES * 1e6:,.0f}", "", ""),
    ]


def _body(_: FeedChange, __: Caller) -> bytes:
    return BODY
