"""Server-sent events (WHATWG HTML, section 9.2): formatting, streaming and heartbeats."""

import asyncio
import math
from collections.abc import AsyncGenerator
from typing import Final, Self

from starlette.responses import Response
from starlette.types import Receive, Send

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.wakeups import Signal, Wakeups
from gateway.web.http.headers import Headers

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


def position(id_: bytes) -> bytes:
    """What keeps a reader's `Last-Event-ID` up to date without an event: no data is dispatched."""
    return b"id: " + id_ + b"\n\n"


async def stream(
    events: AsyncGenerator[bytes, None],
    receive: Receive,
    send: Send,
    headers: Headers | None = None,
) -> None:
    """Send events as they come, to the last one or until their reader has gone.

    `headers` are for another stream than one of events: so an export is sent.

    Starlette's `StreamingResponse` makes three tasks and a group of them for each stream.
    """
    start = {"type": "http.response.start", "status": 200, "headers": headers or _RAW_HEADERS}
    await send(start)
    reader = _Reader(receive)
    try:
        async for some in events:
            await send({"type": "http.response.body", "body": some, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.CancelledError:
        if not reader.has_left():
            raise
    finally:
        reader.forget()
        await events.aclose()


def head() -> Response:
    """The same without the stream, for `HEAD`."""
    return Response(None, 200, HEADERS, MEDIA_TYPE)


class _Reader:
    """Cancels the task at hand when the reader of its stream has gone."""

    __slots__ = ("_gone", "_has_left", "_sending")

    def __init__(self, receive: Receive) -> None:
        self._sending = asyncio.current_task()
        self._has_left = False
        self._gone = asyncio.create_task(_until_gone(receive))
        self._gone.add_done_callback(self._leave)

    def has_left(self) -> bool:
        """Was the task cancelled for this, and for nothing else? It is not any more."""
        return self._has_left and self._sending is not None and not self._sending.uncancel()

    def forget(self) -> None:
        self._sending = None
        self._gone.cancel()

    def _leave(self, _: object) -> None:
        if self._sending is not None:
            self._has_left = True
            self._sending.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class KeepAlive:
    """Fills a stream's silence, and ends it when its caller has lost the key, or a scope.

    Entered, it sets `signal` whenever it wants to be asked what is to be sent.
    """

    __slots__ = ("_callers", "_clock", "_is_lost", "_signal", "_silent_at", "_wakeups", "caller")

    def __init__(
        self, caller: Caller, callers: Callers, clock: Clock, wakeups: Wakeups, signal: Signal
    ) -> None:
        self.caller = caller
        self._callers = callers
        self._clock = clock
        self._wakeups = wakeups
        self._signal = signal
        self._is_lost = False
        self._silent_at = clock.monotonic() + HEARTBEAT_SECONDS

    def __enter__(self) -> Self:
        self._callers.hold(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._callers.release(self)
        self._wakeups.wake_at(self._signal, math.inf)

    def lose(self) -> None:
        self._is_lost = True
        self._wakeups.wake(self._signal)

    def filled(self, news: bytes | None) -> bytes:
        """What is to be sent: news, a comment after a long silence, or nothing.

        To be called whenever the signal was set, at first as well. Raises a `GatewayError` when the
        stream has to end.
        """
        now = self._clock.time()
        left = self._callers.seconds_left(self.caller, now)
        if left <= 0 or self._is_lost:
            raise self._callers.refusal(self.caller, now)
        monotonic = self._clock.monotonic()
        if not news and monotonic >= self._silent_at:
            news = HEARTBEAT
        if news:
            self._silent_at = monotonic + HEARTBEAT_SECONDS
        self._wakeups.wake_at(self._signal, min(self._silent_at, monotonic + left))
        return news or b""
