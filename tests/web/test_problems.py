"""The table from errors to HTTP is whole, and is the contract's."""

import pytest

from gateway import errors
from gateway.web.http.problems import STATUS, problem_of

CONTRACT = {
    ("INVALID_ARGUMENT", 400, False),
    ("UNAUTHENTICATED", 401, False),
    ("FORBIDDEN", 403, False),
    ("NOT_FOUND", 404, False),
    ("KIND_MISMATCH", 404, False),
    ("DELETE_REFUSED", 409, False),
    ("RATE_LIMITED", 429, True),
    ("QUOTA_EXCEEDED", 429, True),
    ("UPSTREAM_AUTH_FAILED", 502, False),
    ("UPSTREAM_BLOCKED", 503, True),
    ("UPSTREAM_ERROR", 502, False),
    ("UPSTREAM_BAD_ANSWER", 502, True),
    ("UPSTREAM_UNREACHABLE", 502, True),
    ("UPSTREAM_TIMEOUT", 504, True),
    ("OVERLOADED", 503, True),
    ("NOT_CACHED", 504, False),
    ("ROUTE_NOT_FOUND", 404, False),
    ("HOST_NOT_ALLOWED", 421, False),
    ("QUERY_TOO_COMPLEX", 400, False),
    ("ARCHIVE_OFF", 501, False),
    ("CURSOR_EXPIRED", 410, False),
}


def leaves(error: type[errors.GatewayError]) -> set[type[errors.GatewayError]]:
    children = error.__subclasses__()
    return set().union(*map(leaves, children)) if children else {error}


def test_every_leaf_is_mapped() -> None:
    assert set(STATUS) == leaves(errors.GatewayError)


def test_the_table_is_the_contracts() -> None:
    assert {(leaf.code, status, leaf.retryable) for leaf, status in STATUS.items()} == CONTRACT


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = errors.__doc__ or ""
    assert all(leaf.__name__ in drawn for leaf in leaves(errors.GatewayError))


@pytest.mark.parametrize(("seconds", "told"), [(None, None), (0.0, 1), (0.1, 1), (54.2, 55)])
def test_seconds_are_rounded_so_that_coming_back_then_helps(
    seconds: float | None, told: int | None
) -> None:
    assert problem_of(errors.Overloaded(retry_after=seconds)).retry_after == told
