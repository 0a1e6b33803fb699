"""`Connection`, a mixin for uvicorn's HTTP protocols: timeouts, head checks, early refusals."""

import asyncio
import math
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from gateway.protocol.bounds import (
    BODY_RATE,
    BODY_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE,
    LINGER_BYTES,
    LINGER_SECONDS,
    MAX_HANDSHAKE_LINE,
    RETRY_AFTER,
)
from gateway.protocol.room import NO_ROOM, Connections
from gateway.web.http.body import MAX_BODY_BYTES

NOTHING: Final = 0
HEAD: Final = 1
BODY: Final = 2
"""What of a request is being read."""

_HOST = re.compile(
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9\-._~]+)?\])(?::[0-9]*)?"
)
"""A host and a port, by RFC 3986, section 3.2."""

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """A request that is not to be served: the status and one sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def check_host(headers: Headers, version: str) -> None:
    """RFC 9112, section 3.2: one `Host`, which only HTTP/1.0 may leave out. Raises `Refused`."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) == 1:
        if not _HOST.fullmatch(hosts[0]):
            raise Refused(400, "The Host header is not a host.")
    elif hosts or version not in {"1.0", "0.9"}:
        raise Refused(400, "There must be one Host header.")


def handshake_refusal(url: bytes, headers: Headers) -> Refused | None:
    """What the library for WebSockets would stumble over without an answer."""
    if len(url) > MAX_HANDSHAKE_LINE:
        return Refused(414, "The address is too long.")
    for name, value in headers:
        if len(name) + len(value) > MAX_HANDSHAKE_LINE:
            return Refused(431, "A header is too long.")
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return Refused(400, "A handshake has no body.")
    return None


def too_large(url_bytes: int, head_bytes: int) -> Refused:
    """By what takes the most of it."""
    if 2 * url_bytes > head_bytes:
        return Refused(414, "The address is too long.")
    return Refused(431, "The headers are too large.")


class Connection(asyncio.Protocol):
    """A mixin for uvicorn's protocols: time limits, refusals, and a place among the others.

    One sweep over all connections looks at their `deadline`; a timer for each would cost every
    request. `part` is kept by the parser's side.
    """

    transport: asyncio.Transport
    server_state: ServerState
    room: Connections
    app: Any
    cycle: Any
    flow: Any

    part = NOTHING
    deadline = math.inf
    idle_since = 0.0
    is_refused = False
    is_upgraded = False
    _is_restricted = False
    _head_begun = True  # the first head's time runs from the connection
    _body_began: float | None = None
    _body_bytes = 0
    _unread = LINGER_BYTES
    _last_word: Refused | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(self.server_state, Connections)  # noqa: S101 - `Server` sees to it
        self.room = self.server_state
        self.idle_since = self.room.monotonic()
        self.deadline = self.idle_since + HEAD_SECONDS
        self.room.enters(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.leaves(self)
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Is no request being answered?"""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def must_stop(self) -> bool:
        """Is what else has come not to be given to the parser?"""
        return self.is_refused or self.is_upgraded

    def restrict(self, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
        """From now on only what `wrap` lets through is served."""
        self._is_restricted = True
        self.app = wrap(self.app)

    def request_begins(self) -> None:
        """A head is there; whatever follows is its body."""
        self.part = BODY
        self.deadline = math.inf
        self._head_begun = False
        self._body_began = None

    def rest(self) -> None:
        """An answer is complete and nothing else is to be done."""
        if self._last_word is not None:
            self._answer(self._last_word)
            return
        room = self.room
        self.idle_since = room.now
        if self.part == NOTHING and not self._head_begun:
            self.deadline = room.now + KEEP_ALIVE
        room.rests(self)

    def wait_for_more(self) -> None:
        """A head or a body has begun, and some of it is still to come."""
        now = self.room.monotonic()
        if self.part != BODY:
            if not self._head_begun:
                self._head_begun = True
                self.deadline = now + HEAD_SECONDS
            return
        if self._body_began is None:
            self._body_began = now
            self._body_bytes = 0
        earned = min(self._body_bytes, MAX_BODY_BYTES) / BODY_RATE
        self.deadline = min(now, self._body_began + earned) + BODY_SECONDS

    def shutdown(self) -> None:
        """The server stops; what is under way ends first."""
        if self.is_refused and self.is_idle:
            self.transport.close()
        else:
            super().shutdown()  # type: ignore[misc]

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self.is_refused:
            self.transport.abort()
        elif self.flow.read_paused:  # it is us who do not read
            self.deadline = now + BODY_SECONDS
            self._body_began = now
        elif self.part == NOTHING:
            self.transport.close()
        else:
            self.refuse(Refused(408, "The request took too long."))

    def refuse(self, why: Refused) -> None:
        """Answer in plain text and close, once what was asked before has been answered."""
        self.is_refused = True
        self.deadline = math.inf
        if self.is_idle:
            if self.part == BODY:  # it has its answer
                self._hang_up()
            else:
                self._answer(why)
        elif self.part != BODY:
            self._last_word = why
            self.flow.pause_reading()
        else:
            had_answer = self.cycle.response_started or getattr(self, "pipeline", None)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if had_answer:
                self.transport.close()
            else:
                self._answer(why)

    def discard(self, data: bytes) -> None:
        """Read what comes after a refusal."""
        self._unread -= len(data)
        if self._unread < 0:
            self.transport.abort()

    def upgrade_is_refused(self, url: bytes, headers: Headers) -> bool:
        """Look at a WebSocket's handshake before its own protocol takes over the connection."""
        if self._is_restricted:
            why: Refused | None = Refused(503, NO_ROOM.decode().strip())
        elif not self.is_idle:
            why = Refused(400, "An answer is still under way.")
        else:
            why = handshake_refusal(url, headers)
        if why is None:
            self.is_upgraded = True
            self.room.leaves(self)
            return False
        self.part = HEAD
        self.refuse(why)
        return True

    def _answer(self, why: Refused) -> None:
        body = f"{why.text}\n".encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if why.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"%d" % RETRY_AFTER))
        phrase = HTTPStatus(why.status).phrase.encode()
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (why.status, phrase, head, body))
        self._hang_up()

    def _hang_up(self) -> None:
        """Close our side; the other side may finish what it is sending."""
        if self._is_restricted or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self.deadline = self.room.monotonic() + LINGER_SECONDS
