"""Server-sent events (WHATWG HTML, section 9.2): how events are written, and kept coming."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from starlette.responses import StreamingResponse

from gateway.clock import Clock

T = TypeVar("T")

HEARTBEAT_SECONDS = 15.0
"""Pauses after which a comment is sent: proxies close what is silent for a minute or half of it."""

HEARTBEAT = b":\n\n"

HEADERS = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",  # nginx would hold events back
}


def event(name: str, data: bytes = b"", *, id_: str | None = None) -> bytes:
    """One event; `data` is one line. An event without a data field would not be dispatched."""
    head = b"" if id_ is None else b"id: " + id_.encode() + b"\n"
    return head + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def stream(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """The response that sends events as they come, and closes their source when its reader goes."""
    return StreamingResponse(_closing(events), 200, HEADERS, "text/event-stream")


async def _closing(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for one in events:
            yield one


async def with_heartbeat(
    events: AsyncGenerator[T, None], heartbeat: T, clock: Clock
) -> AsyncGenerator[T, None]:
    """The events, and a heartbeat after each pause of `HEARTBEAT_SECONDS`."""
    async with aclosing(events):
        coming: asyncio.Task[T] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(events))
                pause = asyncio.ensure_future(clock.sleep(HEARTBEAT_SECONDS))
                try:
                    await asyncio.wait({coming, pause}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    pause.cancel()
                if not coming.done():
                    yield heartbeat
                    continue
                try:
                    one = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                yield one
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})
