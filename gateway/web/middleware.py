"""Around every request: an id, a line in the log, a count; and a short way to what is asked most.

One wrapper around `send` serves all of it.
"""

import logging
import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.accesslog import AccessLog
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.telemetry import REQUEST_ID, masked_caller
from gateway.tracing import ServerSpan, Tracing
from gateway.web.counts import Traffic
from gateway.web.headers import named_headers
from gateway.web.lifetime import Lifetime
from gateway.web.problems import response_to

log = logging.getLogger(__name__)

_HEADER: Final = b"x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,64}", re.ASCII)
_CLOSE: Final = (b"connection", b"close")

_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_SAFETY: Final = (
    _NO_SNIFFING,
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""For browsers that open what is no page. Pages, and what belongs to them, have their own; data
that is told to be data needs no more than the first, and each header costs a microsecond."""

_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, section 3.2; what is longer is of a version nobody has written yet."""

_NOTHING: Final[dict[str, Any]] = {}
_NO_EVENT: Final = frozenset({b"", b":"})
"""How what is not an event begins: the end, and a heartbeat."""

_REFUSING: Final = 400
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
    (a dict for the line).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Clock,
        traffic: Traffic,
        lifetime: Lifetime,
        log: AccessLog | None,
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._monotonic = clock.monotonic
        self._traffic = traffic
        self._lifetime = lifetime
        self._log = log
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = named_headers(scope)
        own = headers.get(_HEADER)
        if own is None or not _ACCEPTABLE.fullmatch(own):
            own = b"%016x" % random.getrandbits(64)
        if b"traceparent" in headers and (
            parent := _TRACE_PARENT.fullmatch(headers[b"traceparent"])
        ):
            scope["trace_id"] = parent[1].decode()
        REQUEST_ID.set(own.decode())
        span: ServerSpan | None = None
        if self._tracing is not None:
            span = self._tracing.begin(
                scope.get("method", "GET"), scope.get("scheme", "http"), scope["headers"]
            )
            scope["trace_id"] = span.trace_id
        began_at = self._monotonic()
        exchange = _Exchange(own, send, self._lifetime, self._monotonic)
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _GONE  # nobody is left to answer
        except BaseException:
            exchange.status = exchange.status or _FAILED
            raise
        finally:
            self._end(scope, exchange, began_at, span)

    def _end(
        self, scope: Scope, exchange: "_Exchange", began_at: float, span: ServerSpan | None
    ) -> None:
        seconds = self._monotonic() - began_at
        streams_at = exchange.streams_at
        route = scope.get("route")
        template = scope.get("template") if route is None else route.path
        method = scope.get("method", "GET")  # of a WebSocket's handshake
        status = exchange.status or _FAILED
        self._traffic.add(
            template, method, status, seconds if streams_at is None else streams_at - began_at
        )
        if span is not None:
            span.end(template, status)
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
            "ms": int(seconds * 1e6) / 1000,
            "bytes": exchange.bytes,
            "request_id": exchange.id.decode(),
        }
        if (caller := scope.get("state", _NOTHING).get("caller")) is not None and caller.name:
            line["caller"] = masked_caller(caller.name)
        if streams_at is not None:
            line["events"] = exchange.events
        if "trace_id" in scope:
            line["trace_id"] = scope["trace_id"]
        if "told" in scope:
            line |= scope["told"]
        self._log.write(line)


class _Exchange:
    """What is sent to one request. Made for each one: every line here costs all of them."""

    __slots__ = (
        "bytes",
        "events",
        "id",
        "lifetime",
        "monotonic",
        "send_on",
        "status",
        "streams_at",
    )

    def __init__(
        self, id: bytes, send: Send, lifetime: Lifetime, monotonic: Callable[[], float]
    ) -> None:
        self.id = id
        self.send_on = send
        self.lifetime = lifetime
        self.monotonic = monotonic
        self.status = 0
        self.bytes = 0
        self.events = 0
        self.streams_at: float | None = None

    async def send(self, message: Message) -> None:
        type_ = message["type"]
        if type_ == "http.response.start":
            self._starts(message)
        elif type_ == "http.response.body":
            body = message.get("body", b"")
            self.bytes += len(body)
            if self.streams_at is not None:
                self.events += body[:1] not in _NO_EVENT
            elif message.get("more_body"):
                self.streams_at = self.monotonic()
                self.events = 1
        else:
            self._of_websocket(message)
        await self.send_on(message)

    def _starts(self, message: Message) -> None:
        self.status = message["status"]
        given = message.get("headers", ())
        headers = [*given, (_HEADER, self.id)]
        if self.status >= _REFUSING:
            headers += _SAFETY
        elif _NO_SNIFFING not in given:
            headers.append(_NO_SNIFFING)
        if self.lifetime.is_closing:
            headers.append(_CLOSE)
        message["headers"] = headers

    def _of_websocket(self, message: Message) -> None:
        type_ = message["type"]
        if type_ == "websocket.send":
            self.bytes += len(message.get("text") or message.get("bytes") or b"")
            self.events += 1
        elif type_ == "websocket.accept":
            self.status = _SWITCHED
            self.streams_at = self.monotonic()
        elif type_ == "websocket.close":
            self.status = self.status or _REFUSED
        elif type_ == "websocket.http.response.start":
            self._starts(message)
        elif type_ == "websocket.http.response.body":
            self.bytes += len(message.get("body", b""))


class ShortcutMiddleware:
    """Hands requests for some routes to their endpoints at once.

    Starlette's router and what is around it take a third of a hit's time. Endpoints raise what goes
    wrong before they answer. Routes are paths, or end in `/{id}`.
    """

    def __init__(self, app: ASGIApp, *, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._paths = {
            route: endpoint for route, endpoint in endpoints.items() if not route.endswith(_ID)
        }
        self._folders = {
            route.removesuffix(_ID): (route, endpoint)
            for route, endpoint in endpoints.items()
            if route.endswith(_ID)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint(scope) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            await endpoint(scope, receive, send)
        except Exception as error:
            if not isinstance(error, GatewayError | HTTPException | ClientDisconnect):
                log.exception("a request failed in an unforeseen way")
            await response_to(HTTPConnection(scope), error)(scope, receive, send)

    def _endpoint(self, scope: Scope) -> ASGIApp | None:
        path: str = scope["path"]
        endpoint = self._paths.get(path)
        if endpoint is not None:
            scope["template"] = path
            return endpoint
        folder, _, last = path.rpartition("/")
        found = self._folders.get(folder)
        if found is None or not last:
            return None
        scope["template"], endpoint = found
        scope["path_params"] = {"id": last}
        return endpoint


_ID: Final = "/{id}"
