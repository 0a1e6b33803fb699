"""GraphQL, by the contract."""

from typing import Any

import pytest

from tests.support.gateway import running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"


async def test_a_message() -> None:
    query = """query Q($id: ID!) {
      message(id: $id, phone: "+79990000001") {
        __typename id phone state isFinal lastStatusTime cost { amount currency }
        freshness { source detail observedAt }
      }
    }"""
    async with running() as setup:
        answer = await setup.graphql(query, id="1")
    assert answer == {
        "data": {
            "message": {
                "__typename": "Message",
                "id": "1",
                "phone": PHONE,
                "state": "DELIVERED",
                "isFinal": True,
                "lastStatusTime": "2023-11-14T22:13:20Z",
                "cost": {"amount": "3.20", "currency": "RUB"},
                "freshness": {
                    "source": "LIVE",
                    "detail": "STANDARD",
                    "observedAt": "2027-01-15T08:00:00Z",
                },
            }
        }
    }


async def test_a_status_is_whichever_kind_it_is() -> None:
    query = """{
      a: status(id: 1, phone: "79990000001") { __typename ... on Message { state } }
      b: status(id: 2, phone: "79990000001") { __typename ... on HlrLookup { reachability } }
    }"""
    async with running() as setup:
        answer = await setup.graphql(query)
        assert {request["all"] for request in await setup.asked()} == {1}
    assert answer["data"] == {
        "a": {"__typename": "Message", "state": "DELIVERED"},
        "b": {"__typename": "HlrLookup", "reachability": "REACHABLE"},
    }


async def test_many_in_order_with_their_problems() -> None:
    query = """query Q($items: [StatusKey!]!) {
      statuses(items: $items) {
        id phone outcome record { id } problem { code status retryable retryAfter providerCode }
      }
    }"""
    items = [
        {"id": "404", "phone": PHONE},
        {"id": "1", "phone": "+7 999 000 00 01"},
        {"id": "x", "phone": "?"},
    ]
    async with running() as setup:
        answer = await setup.graphql(query, items=items)
    missing, found, bad = answer["data"]["statuses"]
    assert (missing["outcome"], missing["problem"]["code"]) == ("NOT_FOUND", "NOT_FOUND")
    assert found == {
        "id": "1",
        "phone": PHONE,
        "outcome": "FOUND",
        "record": {"id": "1"},
        "problem": None,
    }
    assert (bad["id"], bad["phone"], bad["outcome"]) == ("x", "?", "INVALID")
    assert bad["problem"]["status"] == 400


LEVELS = [
    ("message", "state error { code } template smpp { name }", 0),
    ("message", "providerStatus { code name }", 0),
    ("message", "providerStatus { text }", 1),
    ("message", "type", 1),
    ("message", "... on Message { text }", 1),
    ("message", "...F", 2),
    ("message", "text @skip(if: true) state", 0),
    ("message", "text @include(if: $no) state", 0),
    ("message", "text @include(if: $yes) state", 1),
    ("message", "...F @include(if: $no) state", 0),
    ("message", "... @skip(if: $yes) { cost { amount } } state", 0),
    ("message", "alias: subscriber { region }", 2),
    ("message", "__typename id phone freshness { stale }", 0),
    ("hlrLookup", "imsi msc reachability homeNetwork { mnc } roaming { status } type", 0),
    ("hlrLookup", "sender", 1),
    ("status", "isFinal", 1),
    ("status", "... on HlrLookup { subscriber { country } }", 2),
]


@pytest.mark.parametrize(("field", "selection", "level"), LEVELS)
async def test_the_selection_chooses_the_detail_level(
    field: str, selection: str, level: int
) -> None:
    id_ = 2 if field == "hlrLookup" else 1
    fragment = "fragment F on Message { porting { status } }" if "...F" in selection else ""
    names = [name for name in ("yes", "no") if f"${name}" in selection]
    declared = f"query Q({', '.join(f'${name}: Boolean!' for name in names)})" if names else ""
    query = f'{declared} {{ {field}(id: {id_}, phone: "{PHONE}") {{ {selection} }} }} {fragment}'
    values = {"yes": True, "no": False}
    async with running() as setup:
        answer = await setup.graphql(query, **{name: values[name] for name in names})
        assert "errors" not in answer
        assert [request["all"] for request in await setup.asked()] == [level]


async def test_the_level_of_a_batch_is_that_of_its_records() -> None:
    query = 'query { statuses(items: [{id: 1, phone: "79990000001"}]) { %s } }'
    for selection, level in (
        ("outcome", 1),
        ("record { ... on Message { porting { status } } }", 2),
    ):
        async with running() as setup:
            await setup.graphql(query % selection)
            assert [request["all"] for request in await setup.asked()] == [level]


async def test_two_fields_for_one_message_make_one_request_at_the_higher_level() -> None:
    query = """{
      a: message(id: 1, phone: "79990000001") { state }
      b: message(id: 1, phone: "79990000001") { porting { status } }
      c: status(id: 1, phone: "79990000001") { isFinal }
    }"""
    async with running() as setup:
        answer = await setup.graphql(query)
        assert [request["all"] for request in await setup.asked()] == [2]
    assert answer["data"]["b"] == {"porting": {"status": "PORTED"}}


async def test_max_age() -> None:
    query = 'query Q($n: Int) { message(id: 1, phone: "79990000001", maxAge: $n) { state } }'
    async with running() as setup:
        await setup.graphql(query)
        await setup.clock.advance(30)
        await setup.graphql(query, n=30)
        await setup.graphql(query, n=None)
        assert len(await setup.asked()) == 1
        await setup.graphql(query, n=29)
        assert len(await setup.asked()) == 2
        problem = (await setup.graphql(query, n=-1))["errors"][0]
    assert problem["extensions"]["code"] == "INVALID_ARGUMENT"


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    (error,) = answer["errors"]
    extensions: dict[str, Any] = error["extensions"]
    return extensions


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ('id: 404, phone: "79990000001"', "NOT_FOUND", 404),
        ('id: 2, phone: "79990000001"', "KIND_MISMATCH", 404),
        ('id: 0, phone: "79990000001"', "INVALID_ARGUMENT", 400),
        ('id: 1, phone: "1"', "INVALID_ARGUMENT", 400),
    ],
)
async def test_an_error_of_one_field_leaves_the_others(
    arguments: str, code: str, status: int
) -> None:
    query = f'{{ a: message({arguments}) {{ id }} b: message(id: 1, phone: "{PHONE}") {{ id }} }}'
    async with running() as setup:
        answer = await setup.graphql(query)
    assert answer["data"] == {"a": None, "b": {"id": "1"}}
    assert answer["errors"][0]["path"] == ["a"]
    assert error_of(answer) == {
        "code": code,
        "status": status,
        "retryable": False,
        "retryAfter": None,
        "providerCode": None,
    }


async def test_a_refusal_tells_when_to_come_back() -> None:
    async with running() as setup:
        await setup.fault("error", 9)
        extensions = error_of(
            await setup.graphql('{ message(id: 1, phone: "79990000001") { id } }')
        )
    assert (extensions["code"], extensions["retryAfter"]) == ("RATE_LIMITED", 60)
    assert (extensions["retryable"], extensions["providerCode"]) == (True, 9)


async def test_too_many_items() -> None:
    items = [{"id": "1", "phone": PHONE}] * 1001
    query = "query Q($items: [StatusKey!]!) { statuses(items: $items) { id } }"
    async with running() as setup:
        assert error_of(await setup.graphql(query, items=items))["code"] == "INVALID_ARGUMENT"


async def test_an_operation_too_long_is_refused() -> None:
    async with running() as setup:
        answer = await setup.graphql("{" + " __typename" * 20_000 + "}")
    assert "errors" in answer
    assert answer.get("data") is None


async def test_a_fault_of_ours_is_masked() -> None:
    async with running() as setup:
        await setup.message(1, PHONE)
        setup.clock.break_down()
        answer = await setup.graphql('{ message(id: 1, phone: "79990000001") { id } }')
    (error,) = answer["errors"]
    assert error["message"] == "The gateway failed"
    assert error["extensions"]["code"] == "INTERNAL_ERROR"
    assert error["extensions"]["requestId"]
    assert "stopped" not in str(answer)


async def test_what_is_not_graphql_is_a_problem() -> None:
    async with running() as setup:
        put = await setup.client.put("/graphql")
        json = {"content-type": "application/json"}
        nonsense = await setup.client.post("/graphql", content=b"?", headers=json)
        get = await setup.client.get("/graphql", params={"query": "{ __typename }"})
    assert (put.status_code, put.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert (nonsense.status_code, nonsense.headers["content-type"]) == (
        400,
        "application/problem+json",
    )
    assert get.json() == {"data": {"__typename": "Query"}}
