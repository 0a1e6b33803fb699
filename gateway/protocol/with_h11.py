"""HTTP/1.1 connections parsed by h11, for platforms without httptools such as PyPy."""

import math
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.protocol.bounds import MAX_HEAD_BYTES, MAX_HEADERS
from gateway.protocol.connection import (
    BODY,
    HEAD,
    NOTHING,
    Connection,
    Refused,
    check_host,
    too_large,
)

_PIECE = 16 * 1024
"""Bytes given to the parser at a time: it looks at the size only of what is not complete."""


class _Parser(h11.Connection):
    """h11's own, which bounds what is not complete, with bounds on what is."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.in_body = False
        self.body_bytes = 0
        self.why: Refused | None = None

    def next_event(self) -> Any:  # noqa: ANN401 - one of h11's, or a mark
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                _check(event)
                self.in_body, self.body_bytes = True, 0
            elif isinstance(event, h11.Data):
                self.body_bytes += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.in_body = False
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:  # noqa: PLR2004 - h11's word for too large
                received, _ = self.trailing_data
                line = b"" if self.in_body else received.partition(b"\r\n")[0]
                self.why = too_large(len(line), len(received))
            raise
        except Refused as why:
            self.why = why
            raise h11.RemoteProtocolError(why.text) from None
        return event


def _check(request: h11.Request) -> None:
    headers = list(request.headers)
    size = len(request.target) + sum(len(name) + len(value) for name, value in headers)
    if size > MAX_HEAD_BYTES:
        raise too_large(len(request.target), size)
    if len(headers) > MAX_HEADERS:
        raise Refused(431, f"More than {MAX_HEADERS} headers.")
    check_host(headers, request.http_version.decode())


class H11Connection(Connection, H11Protocol):
    """Looks after each piece of data where in a request it ended."""

    _seen: object = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **kwargs)
        self.conn: _Parser = _Parser()

    def data_received(self, data: bytes) -> None:
        if self.is_refused:
            self.discard(data)
            return
        for begin in range(0, len(data), _PIECE):
            super().data_received(data[begin : begin + _PIECE])
            if self.must_stop:
                return
        self._look()

    def _look(self) -> None:
        if self.cycle is not self._seen:
            self._seen = self.cycle
            self.request_begins()
        self._body_bytes = self.conn.body_bytes
        if self.conn.in_body:
            self.part = BODY
        elif self.conn.trailing_data[0]:
            self.part = HEAD
        else:
            self.part = NOTHING
            if self._body_began is not None:
                self.deadline = math.inf
        if self.part != NOTHING:
            self.wait_for_more()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self.is_refused:
            self._look()
        if self.is_idle and not self.transport.is_closing():
            self.rest()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        if not self.upgrade_is_refused(event.target, self.headers):
            super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        self.part = BODY if self.conn.in_body else HEAD
        self.refuse(self.conn.why or Refused(400, msg))
