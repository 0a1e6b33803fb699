"""Converts errors to GraphQL errors; internal ones are masked and carry the request id."""

import logging
from collections.abc import Iterable
from typing import Any, Self

import orjson
from graphql import GraphQLError

from gateway.errors import GatewayError, InvalidArgument
from gateway.web.graphql.words import brief
from gateway.web.http.problems import STATUS, extensions_of, internal_problem
from gateway.web.http.request_id import request_id

log = logging.getLogger(__name__)


class RequestRefused(Exception):
    """A request that was not executed; `errors` say why.

    `status` is the HTTP status where the caller takes `application/graphql-response+json`, and for
    everybody when it is `fixed`; else a caller that takes `application/json` gets 200, as the
    GraphQL-over-HTTP specification has it.
    """

    def __init__(
        self, errors: list[GraphQLError], *, status: int = 400, fixed: bool = False
    ) -> None:
        super().__init__(errors[0].message)
        self.errors = errors
        self.status = status
        self.fixed = fixed

    @classmethod
    def because(cls, error: GatewayError) -> Self:
        """Refused by one of the gateway's own rules, whatever media type the caller takes."""
        return cls([field_error(error)], status=STATUS[type(error)], fixed=True)


def field_error(error: GatewayError) -> GraphQLError:
    """An error of the tree as that of a field."""
    return GraphQLError(error.detail or error.title, extensions=extensions_of(error))


def response(data: bytes | None, errors: Iterable[GraphQLError]) -> bytes:
    """The response body; `data` None: the request was not executed, so there is no such member.

    Errors are told in the order of their fields in the document, whichever failed first.
    """
    members = [] if data is None else [b'"data":' + data]
    if told := [formatted(error) for error in errors]:
        told.sort(key=_place)
        members.append(b'"errors":' + orjson.dumps(told))
    return b"{" + b",".join(members) + b"}"


def _place(told: dict[str, Any]) -> tuple[Any, ...]:
    places = [(place["line"], place["column"]) for place in told.get("locations") or ()]
    steps = [(isinstance(step, str), step) for step in told.get("path") or ()]
    return (min(places, default=(0, 0)), steps)


def formatted(error: GraphQLError) -> dict[str, Any]:
    """One of `errors`, as the response shows it.

    GraphQL's own errors are the caller's mistakes: they get the extensions of `INVALID_ARGUMENT`.
    """
    original = error.original_error
    if original is not None and not isinstance(original, GraphQLError):
        log.error("a GraphQL field failed", exc_info=original)
        problem = internal_problem()
        extensions = problem.model_dump(by_alias=True, exclude={"title", "detail"})
        masked = GraphQLError(
            problem.title,
            nodes=error.nodes,
            path=error.path,
            extensions=extensions | {"requestId": request_id()},
        )
        return dict(masked.formatted)
    shown: dict[str, Any] = dict(error.formatted)
    if not shown.get("extensions"):
        shown["message"] = brief(error.message)
        shown["extensions"] = extensions_of(InvalidArgument())
    return shown
