"""Maps errors to HTTP problems (RFC 9457), for REST and GraphQL alike."""

import math
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from gateway import errors
from gateway.model.described import Model
from gateway.web.http.request_id import request_id

STATUS: dict[type[errors.GatewayError], int] = {
    errors.InvalidArgument: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.RouteNotFound: 404,
    errors.HostNotAllowed: 421,
    errors.ArchiveOff: 501,
    errors.CursorExpired: 410,
    errors.KindMismatch: 404,
    errors.DeleteRefused: 409,
    errors.RateLimited: 429,
    errors.QuotaExceeded: 429,
    errors.UpstreamAuthFailed: 502,
    errors.UpstreamBlocked: 503,
    errors.UpstreamError: 502,
    errors.UpstreamBadAnswer: 502,
    errors.UpstreamUnreachable: 502,
    errors.UpstreamTimeout: 504,
    errors.Overloaded: 503,
    errors.NotCached: 504,
    errors.QueryTooComplex: 400,
}
"""Each leaf of the error tree; a test finds one that is missing."""

MEDIA_TYPE = "application/problem+json"

MAX_INSTANCE = 256
"""Characters of a path that a problem repeats; no address is nearly as long."""

_PHRASES = {413: "Content Too Large", 414: "URI Too Long"}
"""RFC 9110's, which the standard library has only from Python 3.13 on."""


class Problem(Model):
    """What went wrong, the same in REST and GraphQL."""

    code: str
    """What happened, as a name to program against."""
    title: str
    """The same for people; its words may change, `code` will not."""
    detail: str | None = None
    """What exactly was wrong, and what to do, for people."""
    status: int
    """The HTTP status of this problem."""
    retryable: bool
    """Can the same request succeed later?"""
    retry_after: int | None = None
    """Seconds to wait before that, where they are known."""
    provider_code: int | None = None
    """The provider's error number, where it gave one."""


def problem_of(error: errors.GatewayError) -> Problem:
    """The problem that tells an error."""
    return Problem(
        code=error.code,
        title=error.title,
        detail=error.detail,
        status=STATUS[type(error)],
        retryable=error.retryable,
        retry_after=None if error.retry_after is None else max(1, math.ceil(error.retry_after)),
        provider_code=error.provider_code,
    )


class Outcome(StrEnum):
    """What became of one item of many."""

    FOUND = "FOUND"
    NOT_FOUND = "NOT_FOUND"
    UNAVAILABLE = "UNAVAILABLE"
    INVALID = "INVALID"


def outcome_of(result: object) -> Outcome:
    """The outcome that a record or an error makes for its item."""
    if not isinstance(result, errors.GatewayError):
        return Outcome.FOUND
    if isinstance(result, errors.NotFound):
        return Outcome.NOT_FOUND
    return Outcome.INVALID if isinstance(result, errors.CallerError) else Outcome.UNAVAILABLE


def extensions_of(error: errors.GatewayError) -> dict[str, Any]:
    """`extensions` of a GraphQL error."""
    told = problem_of(error).model_dump(by_alias=True, exclude={"title", "detail"})
    return told | _limit(error)


def response_to(connection: HTTPConnection[Any], error: Exception) -> Response:
    """The answer to an error of the tree or of HTTP; anything else is a fault of ours."""
    if isinstance(error, errors.GatewayError):
        response = _response(connection, problem_of(error), _limit(error))
        response.headers.update(_challenge(connection, error))
        return response
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        detail = None if error.detail == phrase else error.detail
        response = http_problem(connection, error.status_code, detail)
        response.headers.update(error.headers or {})
        return response
    return _response(connection, internal_problem(), {})


async def handle(request: Request, error: Exception) -> Response:
    """`response_to` as Starlette's handler: one that is not `async` would get a thread."""
    return response_to(request, error)


def http_problem(
    connection: HTTPConnection[Any], status: int, detail: str | None = None
) -> Response:
    """A problem that is HTTP's own, such as 405."""
    problem = Problem(
        code=http_code(status),
        title=_phrase(status),
        detail=detail,
        status=status,
        retryable=False,
    )
    return _response(connection, problem, {})


def http_code(status: int) -> str:
    """The code of such a problem: the status' phrase."""
    return _phrase(status).upper().replace(" ", "_").replace("-", "_")


def _phrase(status: int) -> str:
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def internal_problem() -> Problem:
    """A fault of ours: the log has it, the caller gets the request's id."""
    return Problem(
        code="INTERNAL_ERROR",
        title="The gateway failed",
        detail="The log has more under this requestId.",
        status=500,
        retryable=True,
    )


def _limit(error: errors.GatewayError) -> dict[str, str]:
    return {"limit": error.limit} if isinstance(error, errors.RateLimited) else {}


def _challenge(connection: HTTPConnection[Any], error: errors.GatewayError) -> dict[str, str]:
    """What RFC 6750, section 3, wants to be told to who is not let in."""
    if isinstance(error, errors.Unauthenticated):
        given = connection.headers.get("authorization", "").lower().startswith("bearer ")
        why = ', error="invalid_token"' if given else ""
    elif isinstance(error, errors.Forbidden) and error.scope is not None:
        why = f', error="insufficient_scope", scope="{error.scope}"'
    else:
        return {}
    return {"www-authenticate": f'Bearer realm="smsc-gateway"{why}'}


def told(path: str, error: errors.GatewayError) -> bytes:
    """The body of an error at a path, for who gets it otherwise than as an HTTP answer."""
    return _body(path, problem_of(error), _limit(error))


def _body(path: str, problem: Problem, more: dict[str, str]) -> bytes:
    return orjson.dumps(
        {
            "type": f"urn:smsc-gateway:problem:{problem.code}",
            **problem.model_dump(by_alias=True),
            "instance": errors.shortened(path, MAX_INSTANCE),
            "requestId": request_id(),
            **more,
        }
    )


def _response(connection: HTTPConnection[Any], problem: Problem, more: dict[str, str]) -> Response:
    headers = {"cache-control": "no-store"}
    if problem.retry_after is not None:
        headers["retry-after"] = str(problem.retry_after)
    body = _body(connection.url.path, problem, more)
    return Response(body, problem.status, headers, MEDIA_TYPE)
