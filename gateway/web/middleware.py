"""Around every request: an id, a line in the log, a count; and a short way to what is asked most.

One wrapper around `send` serves all of it.
"""

import logging
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.accesslog import AccessLog
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.telemetry import REQUEST_ID, masked_caller
from gateway.web.counts import Traffic
from gateway.web.lifetime import Lifetime
from gateway.web.problems import response_to

log = logging.getLogger(__name__)

_HEADER: Final = b"x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,64}", re.ASCII)
_CLOSE: Final = (b"connection", b"close")

_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, section 3.2; what is longer is of a version nobody has written yet."""

_FAILED: Final = 500
_GONE: Final = 499
"""The caller left while it was asking; nginx's number, never sent."""
_SWITCHED: Final = 101
_REFUSED: Final = 403
"""What a server answers to a WebSocket that is closed before it was accepted."""


class RequestMiddleware:
    """Sets `X-Request-Id` in the answer; a caller's own is kept if it is a harmless token.

    When all is done, `traffic` counts the request, and `log` gets a line without anything that a
    caller could have written into it: the route, not the path; no query; the caller's name by
    `masked_caller`. While the gateway stops, each answer is the last one of its connection.

    What stands inside may tell more by the scope: `route` (the router's, or a `template`), `told`
    (a dict for the line), `trace_id`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Clock,
        traffic: Traffic,
        lifetime: Lifetime,
        log: AccessLog | None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._traffic = traffic
        self._lifetime = lifetime
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        own = b"%016x" % random.getrandbits(64)
        for name, value in scope["headers"]:
            if name == _HEADER and _ACCEPTABLE.fullmatch(value):
                own = value
            elif name == b"traceparent" and (parent := _TRACE_PARENT.fullmatch(value)):
                scope["trace_id"] = parent[1].decode()
        REQUEST_ID.set(own.decode())
        exchange = _Exchange(own, self._clock, send, self._lifetime)
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _GONE  # nobody is left to answer
        except BaseException:
            exchange.status = exchange.status or _FAILED
            raise
        finally:
            self._end(scope, exchange)

    def _end(self, scope: Scope, exchange: "_Exchange") -> None:
        now = self._clock.monotonic()
        route = scope.get("route")
        template = scope.get("template") if route is None else route.path
        method = scope.get("method", "GET")  # of a WebSocket's handshake
        status = exchange.status or _FAILED
        self._traffic.add(
            template, method, status, (exchange.streams_at or now) - exchange.began_at
        )
        if self._log is None:
            return
        line: dict[str, Any] = {
            "event": "request",
            "level": "info",
            "logger": __name__,
            "timestamp": datetime.fromtimestamp(self._clock.time(), UTC),
            "method": method,
            "route": template,
            "status": status,
            "ms": round((now - exchange.began_at) * 1000, 3),
            "bytes": exchange.bytes,
            "request_id": exchange.id.decode(),
        }
        if exchange.streams_at is not None:
            line["events"] = exchange.events
        if (caller := scope.get("state", {}).get("caller")) is not None and caller.name:
            line["caller"] = masked_caller(caller.name)
        if exchange.cache is not None:
            line["cache"] = exchange.cache
        if (trace_id := scope.get("trace_id")) is not None:
            line["trace_id"] = trace_id
        if (told := scope.get("told")) is not None:
            line |= told
        self._log.write(line)


class _Exchange:
    """What is sent to one request."""

    __slots__ = (
        "_clock",
        "_lifetime",
        "_send",
        "began_at",
        "bytes",
        "cache",
        "events",
        "id",
        "status",
        "streams_at",
    )

    def __init__(self, id: bytes, clock: Clock, send: Send, lifetime: Lifetime) -> None:
        self._clock = clock
        self._send = send
        self._lifetime = lifetime
        self.id = id
        self.began_at = clock.monotonic()
        self.streams_at: float | None = None
        self.status = 0
        self.bytes = 0
        self.events = 0
        self.cache: str | None = None

    async def send(self, message: Message) -> None:
        type_: str = message["type"]
        if type_ == "http.response.body":
            body: bytes = message.get("body", b"")
            self.bytes += len(body)
            if self.streams_at is not None and not body.startswith(b":") and body:
                self.events += 1
        elif type_ in {"http.response.start", "websocket.http.response.start"}:
            self._starts(message)
        elif type_ == "websocket.send":
            self.bytes += len(message.get("text") or message.get("bytes") or b"")
            self.events += 1
        elif type_ == "websocket.accept":
            self.status = _SWITCHED
            self.streams_at = self._clock.monotonic()
        elif type_ == "websocket.close":
            self.status = self.status or _REFUSED
        await self._send(message)

    def _starts(self, message: Message) -> None:
        self.status = message["status"]
        headers = [*message.get("headers", ()), (_HEADER, self.id)]
        for name, value in headers:
            if name == b"cache-status":
                self.cache = "hit" if b"; hit" in value else "miss"
            elif name == b"content-type" and value.startswith(b"text/event-stream"):
                self.streams_at = self._clock.monotonic()
        if self._lifetime.is_closing:
            headers.append(_CLOSE)
        message["headers"] = headers


class ShortcutMiddleware:
    """Hands requests for some paths to their endpoints at once.

    Starlette's router and what is around it take a third of a hit's time. Endpoints raise what goes
    wrong before they answer.
    """

    def __init__(self, app: ASGIApp, *, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope["template"] = scope["path"]
        try:
            await endpoint(scope, receive, send)
        except Exception as error:
            if not isinstance(error, GatewayError | HTTPException | ClientDisconnect):
                log.exception("a request failed in an unforeseen way")
            await response_to(HTTPConnection(scope), error)(scope, receive, send)
