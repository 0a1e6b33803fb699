"""GraphQL over HTTP on one address, by the specification of that name.

https://graphql.github.io/graphql-over-http/draft/ : GET and POST, both media types with their
status codes; beside it server-sent events, as graphql-sse's "distinct connections mode" has them.
What is not GraphQL is answered with a problem (RFC 9457).
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any

import orjson
from graphql import OperationType
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidArgument
from gateway.web import sse
from gateway.web.auth import address_of, caller_of
from gateway.web.graphql.documents import Operation
from gateway.web.graphql.engine import Context, Engine, GraphQLRequest
from gateway.web.graphql.errors import RequestRefused, field_error, response
from gateway.web.state import State

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
EVENTS = "text/event-stream"

_OFFERED = (JSON, GRAPHQL_JSON, EVENTS)
"""In the order of preference between those that a caller likes equally and does not name."""

_HASH_PREFIX = "sha256:"
_ALLOW = {"allow": "GET, POST"}


class GraphQLView:
    """The ASGI application of the address."""

    def __init__(self, engine: Engine, callers: Callers, clock: Clock) -> None:
        self._engine = engine
        self._callers = callers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request[State](scope, receive)
        if scope["method"] == "POST":
            asked = await _of_post(request)
        elif scope["method"] == "GET":
            asked = _of_get(request)
        else:
            raise HTTPException(405, headers=_ALLOW)
        accept = request.headers.get("accept", "")
        answer = await self._answer(request, asked, acceptable(accept))
        await answer(scope, receive, send)

    async def _answer(self, request: Request[State], asked: GraphQLRequest, media: str) -> Response:
        state, caller = request.state, caller_of(request.scope)
        who = caller.name or address_of(request.scope)
        context = Context(state["service"], state["watches"], caller, who)
        try:
            operation = self._engine.find(asked)
            if operation.type is not OperationType.QUERY and request.method == "GET":
                raise HTTPException(405, "Over GET only queries are executed.", {"allow": "POST"})
            if media == EVENTS:
                return sse.stream(self._events(operation, asked.variables, context))
            if operation.type is OperationType.SUBSCRIPTION:
                raise HTTPException(
                    406, f"A subscription needs `Accept: {EVENTS}`, or a WebSocket."
                )
            body = await self._engine.execute(operation, asked.variables, context)
        except RequestRefused as refused:
            return _refusal(refused, media)
        return Response(body, 200, _HEADERS[media])

    async def _events(
        self, operation: Operation, variables: Mapping[str, Any], context: Context
    ) -> AsyncGenerator[bytes, None]:
        results = self._engine.stream(operation, variables, context)
        try:
            with self._callers.quota.stream(context.caller):
                paced = sse.paced(results, self._clock, self._seconds_left(context.caller))
                async with aclosing(paced):
                    async for body in paced:
                        yield sse.HEARTBEAT if body is None else sse.event("next", body)
        except RequestRefused as refused:
            yield sse.event("next", response(None, refused.errors))
        except GatewayError as error:
            yield sse.event("next", response(None, [field_error(error)]))
        if not context.watches.ended:  # else it is cut, so that its reader comes back and goes on
            yield sse.event("complete")

    def _seconds_left(self, caller: Caller) -> Callable[[], float]:
        return lambda: self._callers.seconds_left(caller, self._clock.time())


_HEADERS = {
    media: {"content-type": f"{media}; charset=utf-8", "cache-control": "no-store"}
    for media in (JSON, GRAPHQL_JSON)
}


def _refusal(refused: RequestRefused, media: str) -> Response:
    """A request that was not executed; a stream tells it as its only event."""
    body = response(None, refused.errors)
    if media == EVENTS:
        return Response(sse.event("next", body) + sse.event("complete"), 200, sse.HEADERS, EVENTS)
    status = refused.status if refused.fixed or media == GRAPHQL_JSON else 200
    return Response(body, status, _HEADERS[media])


@lru_cache(maxsize=256)
def acceptable(accept: str) -> str:
    """The media type to answer in (RFC 9110, section 12.5.1); `HTTPException` 406 for none.

    Without an `Accept`, or where anything goes, it is `application/json`, which every client reads.
    """
    best: tuple[float, int, str] | None = None
    for place, part in enumerate(accept.split(",") if accept.strip() else ["*/*"]):
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(parameters)
        matching = next((media for media in _OFFERED if _matches(range_, media)), None)
        if matching and quality > 0 and (best is None or quality > best[0]):
            best = (quality, place, matching)
    if best is None:
        raise HTTPException(406, f"There are {', '.join(_OFFERED)}.")
    return best[2]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _matches(range_: str, media: str) -> bool:
    return range_ in {media, "*/*", media.partition("/")[0] + "/*"}


async def _of_post(request: Request[State]) -> GraphQLRequest:
    type_, *parameters = request.headers.get("content-type", "").lower().split(";")
    if type_.strip() != JSON or any(
        "charset" in parameter and "utf-8" not in parameter for parameter in parameters
    ):
        raise HTTPException(415, f"Send the request as {JSON} in utf-8.", {"accept-post": JSON})
    try:
        given = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise InvalidArgument("The body must be JSON (RFC 8259).") from None
    if not isinstance(given, dict):
        raise InvalidArgument(
            'The body must be one object: {"query": …, "variables": …}; there are no batches.'
        )
    return request_of(given)


def _of_get(request: Request[State]) -> GraphQLRequest:
    given: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if given.get(name):
            try:
                given[name] = orjson.loads(given[name])
            except orjson.JSONDecodeError:
                raise InvalidArgument(f"{name} must be JSON (RFC 8259).") from None
    return request_of({name: value for name, value in given.items() if value != ""})


def request_of(given: Mapping[str, Any]) -> GraphQLRequest:
    """A request's parameters, checked; raises `InvalidArgument` naming the one that is wrong.

    A document may be named by its hash: `documentId` (the specification's appendix on persisted
    documents) or `extensions.persistedQuery` (Apollo's).
    """
    query = _typed(given, "query", str, "a string")
    name = _typed(given, "operationName", str, "a string")
    variables = _typed(given, "variables", dict, "an object")
    extensions = _typed(given, "extensions", dict, "an object")
    digest = _digest(_typed(given, "documentId", str, "a string"), extensions)
    if query is None and digest is None:
        raise InvalidArgument("query must be given: the GraphQL document, as a string.")
    return GraphQLRequest(query, digest, variables or {}, name)


def _typed(given: Mapping[str, Any], name: str, type_: type, article: str) -> Any:  # noqa: ANN401 - of the type asked
    value = given.get(name)
    if value is not None and not isinstance(value, type_):
        raise InvalidArgument(f"{name} must be {article}.")
    return value


def _digest(document_id: str | None, extensions: Mapping[str, Any] | None) -> str | None:
    if document_id is not None:
        if not document_id.startswith(_HASH_PREFIX):
            raise InvalidArgument(f"documentId must begin with {_HASH_PREFIX}")
        return document_id.removeprefix(_HASH_PREFIX).lower()
    persisted = (extensions or {}).get("persistedQuery")
    if persisted is None:
        return None
    digest = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if not isinstance(digest, str) or persisted.get("version") != 1:
        raise InvalidArgument(
            "extensions.persistedQuery must have version 1 and a sha256Hash, in hex."
        )
    return digest.lower()
