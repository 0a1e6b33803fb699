"""HTTP/1.1 connections parsed by httptools, which is used wherever it is installed."""

import math
from functools import partial

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.protocol.bounds import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from gateway.protocol.connection import (
    BODY,
    HEAD,
    NOTHING,
    Connection,
    Refused,
    check_host,
    too_large,
)
from gateway.web.http.reply import WHOLE_RESPONSE


class HttpToolsConnection(Connection, HttpToolsProtocol):
    """Counts the bytes that the parser was given since it last told anything.

    They are a head, trailers or the size of a chunk, which the parser keeps until it is whole, and
    copies anew for each piece. Each line here costs every request.
    """

    url = b""
    _unfinished = 0
    _max_headers = MAX_HEADERS
    _hosts = 0
    _host = _good_host = b""
    _scope_read: object = None
    _why: Refused | None = None

    def data_received(self, data: bytes) -> None:
        if self.is_refused:
            self.discard(data)
            return
        self._unfinished += len(data)
        if self._unfinished <= MAX_HEAD_BYTES:
            super().data_received(data)
        else:
            self._unfinished -= len(data)
            self._receive_slowly(data)
        if self.scope is not self._scope_read:  # another message has begun
            self.part = HEAD
        if (self.part or self._unfinished) and not self.must_stop:
            self.wait_for_more()

    def _receive_slowly(self, data: bytes) -> None:
        """In pieces that would not make a head too large without our noticing."""
        begin = 0
        while begin < len(data) and not self.must_stop:
            size = MAX_HEAD_BYTES - self._unfinished
            if not size:
                self.refuse(too_large(len(self.url), MAX_HEAD_BYTES))
                return
            piece = data[begin : begin + size]
            begin += size
            self._unfinished += len(piece)
            super().data_received(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self.headers
        if len(headers) >= self._max_headers:
            if self.part == BODY:
                return  # a trailer: the request was handed on without it
            raise self._because(Refused(431, f"More than {MAX_HEADERS} headers."))
        name = name.lower()
        if name == b"host":
            self._hosts += 1
            self._host = value
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._hosts != 1 or self._host != self._good_host:
            try:
                check_host(self.headers, self.parser.get_http_version())
            except Refused as why:
                raise self._because(why) from None
            self._good_host = self._host
        if len(self.pipeline) >= MAX_PIPELINED:
            raise self._because(Refused(400, f"More than {MAX_PIPELINED} requests at a time."))
        self._hosts = self._unfinished = self._max_headers = 0
        self._scope_read = self.scope
        self.request_begins()
        super().on_headers_complete()
        if self.cycle is not None:
            self.scope["extensions"] = {
                WHOLE_RESPONSE: {"write": partial(_write_whole, self.cycle)}
            }

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.part = NOTHING
        self._unfinished = 0
        self._max_headers = MAX_HEADERS
        super().on_message_complete()
        if self._body_began is not None:  # it was waited for
            self.deadline = math.inf
            if self.is_idle:
                self.rest()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer: `rest` sets a deadline."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.rest()

    def handle_websocket_upgrade(self) -> None:
        if not self.upgrade_is_refused(self.url, self.headers):
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        self.refuse(self._why or Refused(400, msg))

    def _because(self, why: Refused) -> Refused:
        """Remember why, for the parser hides what is raised in the midst of it."""
        self._why = why
        return why


def _write_whole(cycle: RequestResponseCycle, status: int, headers: bytes, body: bytes) -> bool:
    """Write an answer in one piece; False: that can't be, and `send` is to do it.

    `headers` are lines that need no look, `content-length` among them where there is a body.
    `send` looks through each header by two regular expressions, and writes twice.
    """
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    head = [STATUS_LINE[status]]
    head += [b"%b: %b\r\n" % header for header in cycle.default_headers]
    end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    head += (headers, end, body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(head))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
