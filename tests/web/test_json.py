"""JSON that is none, and JSON that can't be read all the same."""

import pytest

from tests.support.clock import settle
from tests.support.gateway import running
from tests.web.graphql.test_websocket import INIT, connected

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("1" * 4301, "has a number that is too long or too large"),
        ("1" * 310, "has a number that is too long or too large"),
        ("1e999", "has a number that is too long or too large"),
        ("-1e999", "has a number that is too long or too large"),
        ("[" * 2000 + "]" * 2000, "has lists or objects too deep inside each other"),
        (r'"\ud800"', "has half a surrogate pair in a string"),
        ("01", "must be JSON"),
        ("NaN", "must be JSON"),
    ],
)
async def test_json_that_cannot_be_read_is_not_told_to_be_none(number: str, reason: str) -> None:
    graphql = f'{{"query": "{{ __typename }}", "variables": {{"a": {number}}}}}'
    batch = f'{{"items": [{{"id": {number}, "phone": "79990000001"}}]}}'
    async with running() as setup:
        post, get = setup.client.post, setup.client.get
        answers = [
            await post("/graphql", content=graphql, headers=JSON),
            await post("/v1/statuses/batch", content=batch, headers=JSON),
        ]
        query = {"query": "{ __typename }", "variables": f'{{"a": {number}}}'}
        variables = await get("/graphql", params=query)
        async with connected(setup) as socket:
            socket.put(INIT, f'{{"type": "ping", "payload": {number}}}')
            await settle()
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert answer.json()["detail"].startswith(f"The body {reason}")
    assert variables.json()["detail"].startswith(f"variables {reason}")
    assert socket.closed is not None
    assert socket.closed[0] == 4400
    assert socket.closed[1].startswith(f"The message {reason}")
