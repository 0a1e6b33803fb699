"""Server-sent events (WHATWG HTML, section 9.2): how events are written, and kept coming."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response, StreamingResponse

from gateway.clock import Clock

T = TypeVar("T")

HEARTBEAT_SECONDS = 15.0
"""Pauses after which a comment is sent: proxies close what is silent for a minute or half of it."""

MEDIA_TYPE = "text/event-stream"

HEARTBEAT = b":\n\n"

HEADERS = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",  # nginx would hold events back
}


RETRY = b"retry: 3000\n\n"
"""Milliseconds after which a reader whose stream broke off comes again."""


def event(name: str, data: bytes = b"", *, id_: bytes | None = None) -> bytes:
    """One event; `data` is one line. An event without a data field would not be dispatched."""
    head = b"" if id_ is None else b"id: " + id_ + b"\n"
    return head + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def stream(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """The response that sends events as they come, and closes their source when its reader goes."""
    return StreamingResponse(_closing(events), 200, HEADERS, MEDIA_TYPE)


def head() -> Response:
    """The same without the stream, for `HEAD`."""
    return Response(None, 200, HEADERS, MEDIA_TYPE)


async def _closing(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for one in events:
            yield one


async def paced(
    events: AsyncGenerator[T, None],
    clock: Clock,
    seconds_left: Callable[[], float],
    lost: asyncio.Future[None],
) -> AsyncGenerator[T | None, None]:
    """The events, and None after each pause of `HEARTBEAT_SECONDS`, while they may go on.

    What stays open for long may lose its permission: when its time is over, or when `lost` is done.
    """
    async with aclosing(events):
        coming: asyncio.Future[T] | None = None
        try:
            while (left := seconds_left()) > 0 and not lost.done():
                coming = coming or asyncio.ensure_future(anext(events))
                if not await _comes(coming, lost, clock, min(left, HEARTBEAT_SECONDS)):
                    if not lost.done():
                        yield None
                    continue
                if lost.done():
                    return
                try:
                    event_, coming = coming.result(), None
                except StopAsyncIteration:
                    return
                yield event_
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})


async def _comes(
    coming: asyncio.Future[T], lost: asyncio.Future[None], clock: Clock, seconds: float
) -> bool:
    """Does it come within these seconds, before all is lost?"""
    pause = asyncio.ensure_future(clock.sleep(seconds))
    either: set[asyncio.Future[Any]] = {coming, pause, lost}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pause.cancel()
    return coming.done()
