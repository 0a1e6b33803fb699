"""GraphQL over HTTP: media types, methods, status codes. npm's audits stand in tests/e2e."""

import json
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException

from gateway.web.graphql.view import EVENTS, GRAPHQL_JSON, JSON, acceptable
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

QUERY = '{ message(id: 1, phone: "79990000001") { state } }'
ANSWER = {"data": {"message": {"state": "DELIVERED"}}}
SUBSCRIPTION = 'subscription { status(id: 1, phone: "79990000001") { isFinal } }'


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/graphql-response+json", GRAPHQL_JSON),
        ("application/graphql-response+json, application/json;q=0.9", GRAPHQL_JSON),
        ("application/json;q=0.8, application/graphql-response+json;q=0.9", GRAPHQL_JSON),
        ("application/json, application/graphql-response+json", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("text/event-stream", EVENTS),
        ("text/event-stream;q=0.1, application/json", JSON),
        ("text/*", EVENTS),
        ("application/json;q=0, */*;q=0.5", JSON),
    ],
)
def test_the_media_type_is_what_the_caller_likes_best(accept: str, media: str) -> None:
    assert acceptable(accept.encode()) == media


async def test_a_header_sent_twice_is_a_list() -> None:
    headers = [("accept", "text/html"), ("accept", GRAPHQL_JSON)]
    async with running() as setup:
        answer = await setup.client.post("/graphql", json={"query": QUERY}, headers=headers)
    assert answer.headers["content-type"] == f"{GRAPHQL_JSON}; charset=utf-8"


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*, ;q=1", "json"])
def test_what_cannot_be_given_is_not_acceptable(accept: str) -> None:
    with pytest.raises(HTTPException) as caught:
        acceptable(accept.encode())
    assert caught.value.status_code == 406


async def post(setup: Setup, body: Any, **headers: str) -> httpx.Response:  # noqa: ANN401 - any JSON
    return await setup.client.post("/graphql", json=body, headers=headers)


@pytest.mark.parametrize("media", [JSON, GRAPHQL_JSON])
async def test_an_answer_names_its_media_type(media: str) -> None:
    async with running() as setup:
        answer = await post(setup, {"query": QUERY}, accept=media)
    assert (answer.status_code, answer.json()) == (200, ANSWER)
    assert answer.headers["content-type"] == f"{media}; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{", {}),
        ("{ nobody }", {}),
        ('query Q($id: ID!) { message(id: $id, phone: "79990000001") { id } }', {"id": None}),
    ],
)
async def test_what_is_not_executed_has_no_data(query: str, variables: dict[str, Any]) -> None:
    async with running() as setup:
        body = {"query": query, "variables": variables}
        old = await post(setup, body, accept=JSON)
        new = await post(setup, body, accept=GRAPHQL_JSON)
    assert (old.status_code, new.status_code) == (200, 400)
    assert old.json() == new.json()
    assert set(new.json()) == {"errors"}
    assert {error["extensions"]["code"] for error in new.json()["errors"]} == {"INVALID_ARGUMENT"}


@pytest.mark.parametrize("until", [["READ"], {"READ": 1}, [], 1, True])
async def test_a_variable_of_any_shape_is_a_mistake_of_the_caller(until: object) -> None:
    query = (
        "subscription S($until: MessageState)"
        ' { status(id: 1, phone: "79990000001", until: $until) { isFinal } }'
    )
    async with running() as setup:
        answer = await post(setup, {"query": query, "variables": {"until": until}}, accept=EVENTS)
    assert '"code":"INVALID_ARGUMENT"' in answer.text


async def test_errors_of_fields_are_no_failure_of_the_request() -> None:
    async with running() as setup:
        query = '{ message(id: 404, phone: "79990000001") { state } }'
        answer = await post(setup, {"query": query}, accept=GRAPHQL_JSON)
    assert answer.status_code == 200
    assert answer.json()["data"] == {"message": None}


async def test_get_asks_and_changes_nothing() -> None:
    async with running() as setup:
        get = setup.client.get
        variables = json.dumps({"id": "1"})
        query = 'query Q($id: ID!) { message(id: $id, phone: "79990000001") { state } }'
        asked = await get("/graphql", params={"query": query, "variables": variables})
        changed = await get(
            "/graphql", params={"query": 'mutation { deleteMessage(id: 1, phone: "79990000001") }'}
        )
        assert (await setup.message(1, "79990000001")).status_code == 200
    assert asked.json() == ANSWER
    assert asked.headers["cache-control"] == "no-store"
    assert (changed.status_code, changed.headers["allow"]) == (405, "POST")
    assert changed.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    async with running() as setup:
        answer = await setup.client.request(method, "/graphql")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "word"),
    [
        (b"{}", "application/json", 400, "query"),
        (b'{"query": 1}', "application/json", 400, "query"),
        (b'{"query": "{a}", "variables": []}', "application/json", 400, "variables"),
        (b'{"query": "{a}", "operationName": {}}', "application/json", 400, "operationName"),
        (b'{"query": "{a}", "extensions": "x"}', "application/json", 400, "extensions"),
        (b'{"documentId": "md5:1"}', "application/json", 400, "documentId"),
        (b'[{"query": "{a}"}]', "application/json", 400, "batches"),
        (b"\xff", "application/json", 400, "JSON"),
        (b"{}", "text/plain", 415, "application/json"),
        (b"{}", "application/json; charset=koi8-r", 415, "utf-8"),
        (b"{}", "", 415, "application/json"),
    ],
)
async def test_what_is_no_graphql_request_is_a_problem(
    body: bytes, content_type: str, status: int, word: str
) -> None:
    async with running() as setup:
        headers = {"content-type": content_type} if content_type else {}
        answer = await setup.client.post("/graphql", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


async def test_bad_json_in_a_query_string_is_named() -> None:
    async with running() as setup:
        answer = await setup.client.get("/graphql", params={"query": "{a}", "variables": "{"})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "variables must be JSON (RFC 8259).",
    )


async def test_a_subscription_needs_a_stream() -> None:
    async with running() as setup:
        answer = await post(setup, {"query": SUBSCRIPTION})
    assert answer.status_code == 406
    assert EVENTS in answer.json()["detail"]


async def test_events_of_a_subscription_that_ends_at_once() -> None:
    async with running() as setup:
        answer = await post(setup, {"query": SUBSCRIPTION}, accept=EVENTS)
    assert answer.headers["content-type"] == f"{EVENTS}; charset=utf-8"
    assert answer.text == (
        'event: next\ndata: {"data":{"status":{"isFinal":true}}}\n\nevent: complete\ndata: \n\n'
    )


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (QUERY, '{"data":{"message":{"state":"DELIVERED"}}}'),
        ("{ nobody }", '{"errors":[{"message":"Cannot query field'),
        (
            'subscription { status(id: 0, phone: "1") { id } }',
            '{"data":null,"errors":[{"message":"id',
        ),
        (
            'subscription { status(id: 1, phone: "79990000001") { id @skip(if: $undeclared) } }',
            '{"errors":[{"message":"Variable',
        ),
    ],
)
async def test_anything_may_be_asked_for_as_events(query: str, told: str) -> None:
    async with running() as setup:
        answer = await post(setup, {"query": query}, accept=EVENTS)
    assert answer.status_code == 200
    assert answer.text.startswith(f"event: next\ndata: {told}")
    assert answer.text.endswith("\n\nevent: complete\ndata: \n\n")


async def test_both_ways_of_a_subscription_tell_the_same() -> None:
    """An id that is a float is not the compiled path's."""
    fields = "__typename id text ... on HlrLookup { imsi }"
    query = f'subscription S($id: ID!) {{ status(id: $id, phone: "79990000001") {{ {fields} }} }}'
    texts = []
    async with running() as setup:
        for given in ("1", 1, 1.0, 2, 2.0, 0, 0.0):
            body = {"query": query, "variables": {"id": given}}
            texts.append((await post(setup, body, accept=EVENTS)).text)
    assert texts[0] == texts[1] == texts[2]
    assert texts[3] == texts[4]
    assert '"imsi":"250023012345678"' in texts[3]
    assert texts[5] == texts[6]
    assert '"code":"INVALID_ARGUMENT"' in texts[5]
