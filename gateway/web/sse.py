"""Server-sent events (WHATWG HTML, section 9.2): how events are written, and kept coming."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Self

from starlette.responses import Response
from starlette.types import Receive, Send

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.wakeups import Signal, Wakeups

HEARTBEAT_SECONDS = 15.0
"""Pauses after which a comment is sent: proxies close what is silent for a minute or half of it."""

MEDIA_TYPE = "text/event-stream"

HEARTBEAT = b":\n\n"

HEADERS = {
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",  # nginx would hold events back
}

_RAW_HEADERS: Final = [
    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
    (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
]

RETRY = b"retry: 3000\n\n"
"""Milliseconds after which a reader whose stream broke off comes again."""


def event(name: str, data: bytes = b"", *, id_: bytes | None = None) -> bytes:
    """One event; `data` is one line. An event without a data field would not be dispatched."""
    head = b"" if id_ is None else b"id: " + id_ + b"\n"
    return head + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


async def stream(events: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
    """Send events as they come, to the last one or until their reader has gone.

    Starlette's `StreamingResponse` makes three tasks and a group of them for each stream.
    """
    await send({"type": "http.response.start", "status": 200, "headers": _RAW_HEADERS})
    sending = asyncio.current_task()
    assert sending is not None  # noqa: S101 - whoever calls is one
    is_open, has_left = True, False

    def leave(_: object) -> None:
        nonlocal has_left
        if is_open:
            has_left = True
            sending.cancel()

    gone = asyncio.create_task(_until_gone(receive))
    gone.add_done_callback(leave)
    try:
        async with aclosing(events):
            async for some in events:
                await send({"type": "http.response.body", "body": some, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.CancelledError:
        if not has_left or sending.uncancel():
            raise
    finally:
        is_open = False
        gone.cancel()


def head() -> Response:
    """The same without the stream, for `HEAD`."""
    return Response(None, 200, HEADERS, MEDIA_TYPE)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class KeepAlive:
    """Fills a stream's silence, and ends it when its caller has lost the key, or a scope.

    Entered, it sets `signal` whenever it wants to be asked what is to be sent.
    """

    __slots__ = ("_callers", "_clock", "_held", "_signal", "_silent_at", "_wakeups")

    def __init__(
        self, caller: Caller, callers: Callers, clock: Clock, wakeups: Wakeups, signal: Signal
    ) -> None:
        self._callers = callers
        self._clock = clock
        self._wakeups = wakeups
        self._signal = signal
        self._held = callers.held(caller)
        self._held.lost.add_done_callback(self._lost)
        self._silent_at = clock.monotonic() + HEARTBEAT_SECONDS

    def __enter__(self) -> Self:
        self._held.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.__exit__()
        self._held.lost.cancel()
        self._wakeups.wake_at(self._signal, math.inf)

    def filled(self, news: bytes | None) -> bytes:
        """What is to be sent: news, a comment after a long silence, or nothing.

        To be called whenever the signal was set, at first as well. Raises a `GatewayError` when the
        stream has to end.
        """
        caller, now = self._held.caller, self._clock.time()
        left = self._callers.seconds_left(caller, now)
        if left <= 0 or self._held.lost.done():
            raise self._callers.refusal(caller, now)
        monotonic = self._clock.monotonic()
        if not news and monotonic >= self._silent_at:
            news = HEARTBEAT
        if news:
            self._silent_at = monotonic + HEARTBEAT_SECONDS
        self._wakeups.wake_at(self._signal, min(self._silent_at, monotonic + left))
        return news or b""

    def _lost(self, _: object) -> None:
        self._wakeups.wake(self._signal)
