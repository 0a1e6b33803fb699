"""The `/graphql` endpoint: GraphQL over HTTP (GET, POST) and over server-sent events.

https://graphql.github.io/graphql-over-http/draft/ : GET and POST, both media types with their
status codes; beside it server-sent events, as graphql-sse's "distinct connections mode" has them.
What is not GraphQL is answered with a problem (RFC 9457).
"""

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from graphql import OperationType
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidArgument
from gateway.memo import memoize_header
from gateway.service import Basis
from gateway.wakeups import Signal
from gateway.web.graphql.engine import Context, Engine, GraphQLRequest, Prepared
from gateway.web.graphql.errors import RequestRefused, field_error, response
from gateway.web.http import sse
from gateway.web.http.auth import caller_of, wants_page
from gateway.web.http.body import read_body, read_json
from gateway.web.http.compression import compressed, takes_gzip
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import negotiated
from gateway.web.http.reply import Reply
from gateway.web.http.state import State, who
from gateway.web.pages.files import playground_page

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
EVENTS = "text/event-stream"

_OFFERED = (JSON, GRAPHQL_JSON, EVENTS)
"""In the order of preference between those that a caller likes equally and does not name."""

READY_BYTES = 512 * 1024
"""Bodies of requests that are kept ready to run again; beyond that all are forgotten. With a
document of its own each, what is made of them takes a hundred times as much."""
MAX_READY_BYTES = 64 * 1024
"""The longest of them: a thousand keys."""
SEEN = 4096
"""Bodies that are remembered to have come once: what never comes again is not worth its memory."""
REPLIES_BYTES = 8 * 1024 * 1024
"""Replies that are kept beside them; beyond that all are forgotten."""

_HASH_PREFIX = "sha256:"
_ALLOW = {"allow": "GET, POST"}


_NEVER = Basis((), (), -math.inf)


@dataclass(slots=True)
class _Ready:
    """A request that may come again, byte for byte, and the last reply to it.

    `asked_as` is what else the reply depends on: media type, coding, the caller's scopes, account.
    """

    prepared: Prepared
    basis: Basis = _NEVER
    asked_as: tuple[str, bool, frozenset[str], str] | None = None
    reply: Reply | None = None


class GraphQLView:
    """The endpoint of the address.

    Within one second nothing changes in an answer but by what is learned meanwhile: so the reply to
    a request that comes again is kept for that long.
    """

    def __init__(self, engine: Engine, callers: Callers, clock: Clock) -> None:
        self._engine = engine
        self._callers = callers
        self._clock = clock
        self._ready: dict[bytes, _Ready] = {}
        self._ready_bytes = 0
        self._replies_bytes = 0
        self._seen: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        method = scope["method"]
        if method == "GET" and wants_page(scope):
            await playground_page()(scope, receive, send)
            return None
        headers = named_headers(scope)
        media = acceptable(headers.get(b"accept", b""))
        try:
            if method == "POST":
                _check_type(headers.get(b"content-type", b""))
                body = await read_body(receive)
                ready = self._ready.get(body) or self._prepare(body)
            elif method == "GET":
                ready = _Ready(self._engine.prepare(_of_get(scope)))
            else:
                raise HTTPException(405, headers=_ALLOW)
            prepared = ready.prepared
            scope["log_fields"] = prepared.operation.log_fields
            state, caller = scope["state"], caller_of(scope)
            service, account = state["service"], state["account"]
            takes = takes_gzip(headers.get(b"accept-encoding", b""))
            asked_as = (media, takes, caller.scopes, account)
            if ready.asked_as == asked_as and service.holds(ready.basis):
                self._engine.count_again(prepared)
                return ready.reply
            _check_operation(prepared.operation.type, method, media)
            if media == EVENTS:
                await sse.stream(self._events(prepared, _context(scope)), receive, send)
                return None
            chosen = account is not None
            known = self._engine.execute_now(prepared, service, caller) if chosen else None
            answer = known.json if known else await self._engine.execute(prepared, _context(scope))
        except RequestRefused as refused:
            await _refusal(refused, media)(scope, receive, send)
            return None
        fields = [_CONTENT_TYPES[media]]
        if method == "GET":
            fields.append(_NO_STORE)  # an answer to a POST is not stored without being told to
        if takes:
            answer = await compressed(answer, fields)
        fields.append((b"content-length", b"%d" % len(answer)))
        reply = Reply(200, fields, answer)
        if method == "POST" and known and known.basis:
            self._keep(ready, known.basis, asked_as, reply)
        return reply

    def _prepare(self, body: bytes) -> _Ready:
        """Read a request. One that came before, byte for byte, is kept: it may come again."""
        ready = _Ready(self._engine.prepare(_of_body(body)))
        if len(body) <= MAX_READY_BYTES and self._came_before(body):
            self._ready[body] = ready
            self._ready_bytes += len(body)
            if self._ready_bytes > READY_BYTES:
                self._forget()
        return ready

    def _came_before(self, body: bytes) -> bool:
        digest = hash(body)
        if digest in self._seen:
            return True
        if len(self._seen) >= SEEN:
            self._seen.clear()
        self._seen.add(digest)
        return False

    def _keep(
        self,
        ready: _Ready,
        basis: Basis,
        asked_as: tuple[str, bool, frozenset[str], str],
        reply: Reply,
    ) -> None:
        self._replies_bytes += len(reply.body) - (len(ready.reply.body) if ready.reply else 0)
        ready.basis, ready.asked_as, ready.reply = basis, asked_as, reply
        if self._replies_bytes > REPLIES_BYTES:
            self._forget()

    def _forget(self) -> None:
        self._ready, self._ready_bytes, self._replies_bytes = {}, 0, 0

    async def _events(self, prepared: Prepared, context: Context) -> AsyncGenerator[bytes, None]:
        caller, callers, signal = context.caller, self._callers, Signal()
        keep_alive = sse.KeepAlive(caller, callers, self._clock, context.watches.wakeups, signal)
        try:
            with callers.quota.stream(caller), keep_alive:
                async with aclosing(self._engine.stream(prepared, context, signal)) as bodies:
                    async for body in bodies:
                        news = None if body is None else sse.event("next", body)
                        if text := keep_alive.filled(news):
                            yield text
        except RequestRefused as refused:
            yield sse.event("next", response(None, refused.errors))
        except GatewayError as error:
            yield sse.event("next", response(None, [field_error(error)]))
        if not context.watches.ended:  # else it is cut, so that its reader comes back and goes on
            yield sse.event("complete")


def _context(scope: Scope) -> Context:
    caller = caller_of(scope)
    return context_of(scope["state"], caller, who(scope, caller))


def context_of(state: State, caller: Caller, who: str) -> Context:
    """What the operations of a caller work with."""
    return Context(
        state["service"],
        state["watches"],
        caller,
        who,
        state["archive"],
        state["account"],
        state["accounts"],
    )


_NO_STORE = (b"cache-control", b"no-store")
_CONTENT_TYPES = {
    media: (b"content-type", f"{media}; charset=utf-8".encode()) for media in (JSON, GRAPHQL_JSON)
}


def _refusal(refused: RequestRefused, media: str) -> Response:
    """A request that was not executed; a stream tells it as its only event."""
    body = response(None, refused.errors)
    if media == EVENTS:
        return Response(sse.event("next", body) + sse.event("complete"), 200, sse.HEADERS, EVENTS)
    status = refused.status if refused.fixed or media == GRAPHQL_JSON else 200
    type_ = f"{media}; charset=utf-8"
    return Response(body, status, {"cache-control": "no-store"}, type_)


@memoize_header(256)
def acceptable(sent: bytes) -> str:
    """The media type to answer in (RFC 9110, section 12.5.1); `HTTPException` 406 for none.

    Without an `Accept`, or where anything goes, it is `application/json`, which every client reads.
    """
    return negotiated(sent, _OFFERED)


def _check_operation(type_: OperationType, method: str, media: str) -> None:
    """Over GET only queries; a subscription only as a stream."""
    if type_ is OperationType.QUERY:
        return
    if method == "GET":
        raise HTTPException(405, "Over GET only queries are executed.", {"allow": "POST"})
    if type_ is OperationType.SUBSCRIPTION and media != EVENTS:
        raise HTTPException(406, f"A subscription needs `Accept: {EVENTS}`, or a WebSocket.")


@memoize_header(256)
def _check_type(content_type: bytes) -> None:
    type_, *parameters = content_type.decode("latin-1").lower().split(";")
    charsets = [parameter for parameter in parameters if "charset" in parameter]
    if type_.strip() != JSON or not all("utf-8" in charset for charset in charsets):
        raise HTTPException(415, f"Send the request as {JSON} in utf-8.", {"accept-post": JSON})


def _of_body(body: bytes) -> GraphQLRequest:
    given = read_json(body)
    if not isinstance(given, dict):
        raise InvalidArgument(
            'The body must be one object: {"query": …, "variables": …}; there are no batches.'
        )
    return request_of(given)


def _of_get(scope: Scope) -> GraphQLRequest:
    given: dict[str, Any] = {
        name: value for name, value in QueryParams(scope["query_string"]).items() if value
    }
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = read_json(given[name], name)
    return request_of(given)


def request_of(given: Mapping[str, Any]) -> GraphQLRequest:
    """A request's parameters, checked; raises `InvalidArgument` naming the one that is wrong.

    A document may be named by its hash: `documentId` (the specification's appendix on persisted
    documents) or `extensions.persistedQuery` (Apollo's). With `extensions.cost` true the answer's
    own extensions tell what it cost.
    """
    for name, value in given.items():
        wanted = _PARAMETERS.get(name)
        if wanted is not None and value is not None and not isinstance(value, wanted[0]):
            raise InvalidArgument(f"{name} must be {wanted[1]}.")
    extensions = given.get("extensions") or {}
    query, digest = given.get("query"), _digest(given.get("documentId"), extensions)
    if query is None and digest is None:
        raise InvalidArgument("query must be given: the GraphQL document, as a string.")
    return GraphQLRequest(
        query,
        digest,
        given.get("variables") or {},
        given.get("operationName"),
        wants_cost=_wants_cost(extensions),
    )


_PARAMETERS: dict[str, tuple[type, str]] = {
    "query": (str, "a string"),
    "operationName": (str, "a string"),
    "variables": (dict, "an object"),
    "extensions": (dict, "an object"),
    "documentId": (str, "a string"),
}


def _wants_cost(extensions: Mapping[str, Any]) -> bool:
    wants = extensions.get("cost")
    if wants is not None and not isinstance(wants, bool):
        raise InvalidArgument("extensions.cost must be true or false.")
    return bool(wants)


def _digest(document_id: str | None, extensions: Mapping[str, Any]) -> str | None:
    if document_id is not None:
        if not document_id.startswith(_HASH_PREFIX):
            raise InvalidArgument(f"documentId must begin with {_HASH_PREFIX}")
        return document_id.removeprefix(_HASH_PREFIX).lower()
    persisted = extensions.get("persistedQuery")
    if persisted is None:
        return None
    digest = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if not isinstance(digest, str) or persisted.get("version") != 1:
        raise InvalidArgument(
            "extensions.persistedQuery must have version 1 and a sha256Hash, in hex."
        )
    return digest.lower()
