"""The contract's table of errors: how each comes about, and how REST and GraphQL tell it.

What a caller gets is the same in both: code, status, whether a retry helps and when.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.callers.model import ALL_SCOPES, Scope
from gateway.web.http.problems import STATUS
from tests.support.callers import client
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
KEYS = (
    client("all")
    + client("slow", more="quota_per_minute = 1")
    + client("writer", scopes=ALL_SCOPES - {Scope.STATUS_READ})
)

Step = Callable[[Setup], Awaitable[object]]


def fault(kind: str, value: object = None, times: int = -1) -> Step:
    return lambda setup: setup.fault(kind, value, times)


async def spend(setup: Setup) -> None:
    """All that the provider allows for the message, without learning anything."""
    await setup.fault("empty", times=5)
    for _ in range(5):
        await setup.message(1, PHONE)
        await setup.clock.advance(1)


async def stop(setup: Setup) -> None:
    await setup.state["service"].aclose()


async def ask_slowly(setup: Setup) -> None:
    await setup.client.get("/v1/provider", headers=key("slow"))


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer key of {name}"}


@dataclass(frozen=True)
class Row:
    """How an error comes about, and what is told of it."""

    code: str
    status: int
    retryable: bool = False
    retry_after: int | None = None
    provider_code: int | None = None
    limit: str | None = None
    first: Step | None = None
    id: int = 1
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    with_keys: bool = False
    graphql: str | None = "{ message(id: %d, phone: %s) { state } }"
    """None: GraphQL has nothing like it."""


ROWS = {
    "bad argument": Row("INVALID_ARGUMENT", 400, id=0),
    "provider error 1": Row("INVALID_ARGUMENT", 400, provider_code=1, first=fault("error", 1)),
    "no key": Row("UNAUTHENTICATED", 401, with_keys=True),
    "wrong key": Row("UNAUTHENTICATED", 401, with_keys=True, headers=key("nobody")),
    "not in its scopes": Row("FORBIDDEN", 403, with_keys=True, headers=key("writer")),
    "not found": Row("NOT_FOUND", 404, id=404),
    "the other kind": Row("KIND_MISMATCH", 404, id=2),
    "delete failed": Row(
        "DELETE_REFUSED",
        409,
        provider_code=5,
        id=404,
        method="DELETE",
        graphql="mutation { deleteMessage(id: %d, phone: %s) }",
    ),
    "provider error 9": Row(
        "RATE_LIMITED", 429, True, 60, 9, limit="PER_MESSAGE", first=fault("error", 9)
    ),
    "own budget spent": Row("RATE_LIMITED", 429, True, 55, limit="PER_MESSAGE", first=spend),
    "over its quota": Row(
        "QUOTA_EXCEEDED",
        429,
        retryable=True,
        retry_after=61,
        first=ask_slowly,
        with_keys=True,
        headers=key("slow"),
    ),
    "provider error 2": Row("UPSTREAM_AUTH_FAILED", 502, False, 10, 2, first=fault("error", 2)),
    "provider error 4": Row("UPSTREAM_BLOCKED", 503, True, 5, 4, first=fault("error", 4)),
    "another number": Row("UPSTREAM_ERROR", 502, provider_code=77, first=fault("error", 77)),
    "no answer that can be read": Row("UPSTREAM_BAD_ANSWER", 502, True, first=fault("html")),
    "HTTP 5xx": Row("UPSTREAM_UNREACHABLE", 502, True, first=fault("status", 503)),
    "no answer in time": Row(
        "UPSTREAM_TIMEOUT",
        504,
        retryable=True,
        first=fault("hang"),
        environ={"SMSC_TIMEOUT": "0.05"},
    ),
    "shutting down": Row("OVERLOADED", 503, True, 1, first=stop),
    "not cached": Row("NOT_CACHED", 504, headers={"cache-control": "only-if-cached"}, graphql=None),
}
ELSEWHERE = {
    *("ARCHIVE_OFF", "CURSOR_EXPIRED", "QUERY_TOO_COMPLEX", "ROUTE_NOT_FOUND"),
    "HOST_NOT_ALLOWED",
}
"""What no question about one message can lead to."""


@pytest.fixture(name="environ")
def _environ(tmp_path: Path) -> Callable[[Row], dict[str, str]]:
    def of(row: Row) -> dict[str, str]:
        if not row.with_keys:
            return dict(row.environ)
        path = tmp_path / "clients.toml"
        path.write_text(KEYS)
        return {**row.environ, "CLIENTS_FILE": str(path)}

    return of


def told(row: Row) -> dict[str, Any]:
    """What both ways tell."""
    members: dict[str, Any] = {
        "code": row.code,
        "status": row.status,
        "retryable": row.retryable,
        "retryAfter": row.retry_after,
        "providerCode": row.provider_code,
    }
    return members | ({"limit": row.limit} if row.limit else {})


def check_headers(answer: httpx.Response, row: Row) -> None:
    assert answer.status_code == row.status
    assert answer.headers["content-type"] == "application/problem+json"
    expected = None if row.retry_after is None else str(row.retry_after)
    assert answer.headers.get("retry-after") == expected
    assert ("www-authenticate" in answer.headers) is (row.status in {401, 403})


@pytest.mark.parametrize("name", ROWS)
async def test_rest(name: str, environ: Callable[[Row], dict[str, str]]) -> None:
    row = ROWS[name]
    async with running(**environ(row)) as setup:
        if row.first is not None:
            await row.first(setup)
        url = f"/v1/messages/{row.id}?phone={PHONE}"
        answer = await setup.client.request(row.method, url, headers=row.headers)
    check_headers(answer, row)
    problem = answer.json()
    assert {name: problem[name] for name in told(row)} == told(row)
    assert problem["type"] == f"urn:smsc-gateway:problem:{row.code}"
    assert problem["instance"] == f"/v1/messages/{row.id}"
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert ("limit" in problem) is (row.limit is not None)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.graphql])
async def test_graphql(name: str, environ: Callable[[Row], dict[str, str]]) -> None:
    row = ROWS[name]
    assert row.graphql is not None
    query = row.graphql % (row.id, f'"{PHONE}"')
    async with running(**environ(row)) as setup:
        if row.first is not None:
            await row.first(setup)
        answer = await setup.client.post("/graphql", json={"query": query}, headers=row.headers)
    if row.code in {"UNAUTHENTICATED", "QUOTA_EXCEEDED"}:  # before it is GraphQL at all
        check_headers(answer, row)
        extensions = answer.json()
        extensions = {name: extensions[name] for name in told(row)}
    else:
        assert answer.status_code == 200
        ((error),) = answer.json()["errors"]
        extensions = error["extensions"]
    assert extensions == told(row)


def test_every_code_has_its_row() -> None:
    assert {row.code for row in ROWS.values()} | ELSEWHERE == {leaf.code for leaf in STATUS}
    for row in ROWS.values():
        (status,) = {status for leaf, status in STATUS.items() if leaf.code == row.code}
        assert status == row.status


async def test_what_is_too_large_is_told_with_its_status() -> None:
    many = " ".join(f'm{n}: message(id: {n + 1}, phone: "{PHONE}") {{ id }}' for n in range(2000))
    async with running() as setup:
        answer = await setup.client.post("/graphql", json={"query": f"{{ {many} }}"})
        assert not await setup.asked()
    (error,) = answer.json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["status"]) == (
        "QUERY_TOO_COMPLEX",
        400,
    )
    assert answer.status_code == 400
