"""The outermost ASGI layer: request id, authentication, the answer, metrics, access log."""

import logging
import random
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.observability.accesslog import AccessLog
from gateway.observability.logs import REQUEST_ID, masked_caller
from gateway.observability.tracing import ServerSpan, Tracing
from gateway.web.http.accounts import chosen
from gateway.web.http.auth import Authentication, refuse
from gateway.web.http.cors import NO_ORIGINS, Origins
from gateway.web.http.headers import Headers, named_headers
from gateway.web.http.lifetime import Lifetime
from gateway.web.http.problems import response_to
from gateway.web.http.reply import WHOLE_RESPONSE, Endpoint, Reply, Sending
from gateway.web.http.traffic import Traffic

log = logging.getLogger(__name__)

_HEADER: Final = b"x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,64}", re.ASCII)
_CLOSE: Final = (b"connection", b"close")

_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_LINES: Final = b"x-request-id: %b\r\nx-content-type-options: nosniff\r\n"
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


class Front:
    """The outermost layer: everything that is done for every request, in one place.

    A request is given its id (`X-Request-Id`; a caller's own is kept if it is a harmless token), is
    let in by `authentication`, and answered: at once by one of `endpoints`, for Starlette's router
    and what is around it take a third of a hit's time, else by `app`. Then `traffic` counts it, and
    `log` gets a line without anything that a caller could have written into it: the route, not the
    path; no query; the caller's name by `masked_caller`. While the gateway stops, each answer is
    the last one of its connection.

    Endpoints are named by their routes: paths, which may have an `/{id}` last or last but one;
    `sockets`, which serve WebSockets, by their paths. With `has_accounts` each request is for one
    of several accounts, and gets what is kept of that. What answers may tell more by the scope:
    `route` (the router's, or a `template`), `log_fields` (for the line).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authentication: Authentication,
        endpoints: Mapping[str, Endpoint],
        sockets: Mapping[str, Endpoint] = _NOTHING,
        clock: Clock,
        traffic: Traffic,
        lifetime: Lifetime,
        origins: Origins = NO_ORIGINS,
        log: AccessLog | None = None,
        tracing: Tracing | None = None,
        has_accounts: bool = False,
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._paths = {route: endpoint for route, endpoint in endpoints.items() if _ID not in route}
        self._folders = {
            route.removesuffix(_ID): (route, endpoint)
            for route, endpoint in endpoints.items()
            if route.endswith(_ID)
        }
        self._below = {
            tuple(route.split(f"{_ID}/")): (route, endpoint)
            for route, endpoint in endpoints.items()
            if f"{_ID}/" in route
        }
        self._sockets = sockets
        self._to_pages = origins.around(Sending(self._answer)) if origins.names else None
        self._clock = clock
        self._monotonic = clock.monotonic
        self._traffic = traffic
        self._lifetime = lifetime
        self._log = log
        self._tracing = tracing
        self._has_accounts = has_accounts

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
            if self._to_pages is not None and b"origin" in headers:
                await self._to_pages(scope, receive, exchange.send)
            elif (reply := await self._answer(scope, receive, exchange.send)) is not None:
                extension = scope.get("extensions", _NOTHING).get(WHOLE_RESPONSE)
                if extension is None or not exchange.write(reply, extension["write"]):
                    await exchange.send_all(reply)
        except ClientDisconnect:
            exchange.status = _GONE  # nobody is left to answer
        except BaseException:
            exchange.status = exchange.status or _FAILED
            raise
        finally:
            self._end(scope, exchange, began_at, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        """The answer, or None where it was sent on the way."""
        try:
            caller = self._authentication.admit_known(scope)
            if caller is None:
                caller = await self._authentication.admit(scope)
            scope["state"] = {**scope.get("state", _NOTHING), "caller": caller}
            if self._has_accounts and caller is not None:
                scope["state"] |= chosen(scope, caller)
        except GatewayError as error:
            await refuse(scope, receive, send, error)
            return None
        is_http = scope["type"] == "http"
        endpoint = self._endpoint(scope) if is_http else self._sockets.get(scope["path"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return None
        if not is_http:
            scope["template"] = scope["path"]
            return await endpoint(scope, receive, send)
        try:
            return await endpoint(scope, receive, send)
        except Exception as error:
            if not isinstance(error, GatewayError | HTTPException | ClientDisconnect):
                log.exception("a request failed in an unforeseen way")
            await response_to(HTTPConnection(scope), error)(scope, receive, send)
            return None

    def _endpoint(self, scope: Scope) -> Endpoint | None:
        path: str = scope["path"]
        endpoint = self._paths.get(path)
        if endpoint is not None:
            scope["template"] = path
            return endpoint
        folder, _, id_ = path.rpartition("/")
        found = self._folders.get(folder)
        if found is None:
            last = id_
            folder, _, id_ = folder.rpartition("/")
            found = self._below.get((folder, last))
        if found is None or not id_:
            return None
        scope["template"], endpoint = found
        scope["path_params"] = {"id": id_}
        return endpoint

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
            template,
            method,
            status,
            seconds if streams_at is None else streams_at - began_at,
            scope.get("scheme", "http"),
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
        if self._has_accounts and (account := scope.get("state", _NOTHING).get("account")):
            line["account"] = account
        if streams_at is not None:
            line["events"] = exchange.events
        if "trace_id" in scope:
            line["trace_id"] = scope["trace_id"]
        if "log_fields" in scope:
            line |= scope["log_fields"]
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

    def write(self, reply: Reply, write: Callable[[int, bytes, bytes], bool]) -> bool:
        """Have the server write an answer in one piece, if it can."""
        if reply.status >= _REFUSING or self.lifetime.is_closing:
            return False
        if not write(reply.status, reply.lines + _LINES % self.id, reply.body):
            return False
        self.status, self.bytes = reply.status, len(reply.body)
        return True

    async def send_all(self, reply: Reply) -> None:
        """Send an answer in one piece, past what looks at each message."""
        self.status = status = reply.status
        body = reply.body
        self.bytes = len(body)
        headers = self._complete(status, reply.headers)
        await self.send_on({"type": "http.response.start", "status": status, "headers": headers})
        await self.send_on({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """Pass a message on, and keep what it tells."""
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
        message["headers"] = self._complete(self.status, message.get("headers", ()))

    def _complete(self, status: int, given: Collection[tuple[bytes, bytes]]) -> Headers:
        headers = [*given, (_HEADER, self.id)]
        if status >= _REFUSING:
            headers += _SAFETY
        elif _NO_SNIFFING not in given:
            headers.append(_NO_SNIFFING)
        if self.lifetime.is_closing:
            headers.append(_CLOSE)
        return headers

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


_ID: Final = "/{id}"
