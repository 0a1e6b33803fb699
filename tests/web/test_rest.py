"""REST, by the contract."""

import json

import pytest

from gateway.web.http.body import MAX_BODY_BYTES
from tests.support.gateway import running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
ITEM = {"id": "1", "phone": PHONE}


async def test_a_message_tells_everything() -> None:
    async with running() as setup:
        record = (await setup.message(1, "+7 (999) 000-00-01")).json()
    freshness = record.pop("freshness")
    assert "2027-01-15T10:00:00Z" <= freshness.pop("expiresAt") <= "2027-01-15T10:12:00Z"
    assert freshness == {
        "source": "LIVE",
        "observedAt": "2027-01-15T08:00:00Z",
        "ageSeconds": 0,
        "stale": False,
        "staleReason": None,
        "nextRefreshAt": None,
        "detail": "FULL",
    }
    assert record == {
        "kind": "Message",
        "id": "1",
        "phone": PHONE,
        "type": "SMS",
        "providerStatus": {"code": 1, "name": "Delivered", "text": "Доставлено"},
        "error": None,
        "isFinal": True,
        "lastStatusTime": "2023-11-14T22:13:20Z",
        "sentAt": "2023-11-14T22:13:10Z",
        "sender": "SMSC.RU",
        "text": "Код 1234, никому",
        "cost": {"amount": "3.20", "currency": "RUB"},
        "state": "DELIVERED",
        "stateGroup": "DELIVERED",
        "rejectionReason": None,
        "comment": "заказ 7",
        "parts": 1,
        "durationSeconds": None,
        "template": None,
        "isTemplate": False,
        "paidFromSecondBalance": False,
        "changedAt": "2027-01-15T08:00:00Z",
        "subscriber": {
            "country": "Россия",
            "operator": "МегаФон",
            "originalOperator": "МТС",
            "region": "г. Москва",
            "mcc": "250",
            "mnc": "02",
        },
        "porting": {"status": "PORTED"},
        "smpp": {"code": 2, "name": "DELIVERED"},
        "archived": False,
    }


async def test_a_lookup_tells_its_result() -> None:
    async with running() as setup:
        record = (await setup.client.get(f"/v1/hlr-lookups/2?phone={PHONE}")).json()
    assert record["kind"] == "HlrLookup"
    assert (record["state"], record["reachability"], record["reachable"]) == (
        "COMPLETED",
        "REACHABLE",
        True,
    )
    assert (record["imsi"], record["msc"]) == ("250023012345678", "79232510066")
    assert record["homeNetwork"]["mnc"] == "02"
    assert record["roaming"] == {"status": "NOT_ROAMING", "country": None, "network": None}


async def test_fields_restrict_the_record() -> None:
    async with running() as setup:
        answer = await setup.message(1, PHONE, fields="state, cost.amount,error,freshness.stale")
    assert answer.json() == {
        "kind": "Message",
        "id": "1",
        "phone": PHONE,
        "error": None,
        "cost": {"amount": "3.20"},
        "freshness": {"stale": False},
        "state": "DELIVERED",
    }


async def test_fields_may_be_repeated_instead_of_listed() -> None:
    async with running() as setup:
        listed = await setup.message(1, PHONE, fields="state,cost.amount")
        url = f"/v1/messages/1?phone={PHONE}&fields=state&fields=cost.amount"
        repeated = await setup.client.get(url)
    assert repeated.json() == listed.json()


async def test_an_inner_field_of_nothing_is_null() -> None:
    async with running() as setup:
        answer = await setup.message(1, PHONE, fields="error.code")
    assert answer.json()["error"] is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("/v1/messages/1", "phone"),
        ("/v1/messages/1?phone=", "phone"),
        ("/v1/messages/1?phone=12ab5678", "phone"),
        (f"/v1/messages/1?phone={PHONE}&phone={PHONE}", "phone"),
        (f"/v1/messages/0?phone={PHONE}", "id"),
        (f"/v1/messages/abc?phone={PHONE}", "id"),
        (f"/v1/messages/%7Bid%7D?phone={PHONE}", "id"),
        (f"/v1/hlr-lookups/2147483648?phone={PHONE}", "id"),
        (f"/v1/messages/1?phone={PHONE}&fields=state,stat", "'stat'"),
        (f"/v1/messages/1?phone={PHONE}&fields=", "fields"),
        (f"/v1/messages/1?phone={PHONE}&fields=imsi", "'imsi'"),
        (f"/v1/hlr-lookups/1?phone={PHONE}&fields=parts", "'parts'"),
        (f"/v1/messages/1?phone={PHONE}&fields=cost.price", "'cost.price'"),
    ],
)
async def test_a_bad_argument_is_named(url: str, word: str) -> None:
    async with running() as setup:
        answer = await setup.client.get(url)
        assert not await setup.asked()
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (400, 400)
    assert (problem["code"], problem["retryable"]) == ("INVALID_ARGUMENT", False)
    assert word in problem["detail"]
    assert "retry-after" not in answer.headers


async def test_a_problem_has_all_its_members() -> None:
    async with running() as setup:
        answer = await setup.client.get(
            f"/v1/messages/404?phone={PHONE}", headers={"x-request-id": "my-request-1"}
        )
    assert answer.headers["x-request-id"] == "my-request-1"
    assert answer.json() == {
        "type": "urn:smsc-gateway:problem:NOT_FOUND",
        "title": "The provider knows no such message",
        "status": 404,
        "detail": "The provider knows no message with this id and phone.",
        "instance": "/v1/messages/404",
        "code": "NOT_FOUND",
        "retryable": False,
        "retryAfter": None,
        "providerCode": None,
        "requestId": "my-request-1",
    }


async def test_a_request_id_that_is_no_token_is_replaced() -> None:
    async with running() as setup:
        answer = await setup.client.get("/livez", headers={"x-request-id": "a b\tc"})
    assert len(answer.headers["x-request-id"]) == 16


async def test_caching_headers() -> None:
    async with running() as setup:
        await setup.message(100, "79990000100")
        await setup.clock.advance(5)
        answer = await setup.message(100, "79990000100")
    assert answer.headers["age"] == "5"
    assert answer.headers["cache-control"] == "private, max-age=7"


async def test_head_and_other_methods() -> None:
    async with running() as setup:
        head = await setup.client.head(f"/v1/messages/1?phone={PHONE}")
        put = await setup.client.put("/v1/statuses/batch")
    assert (head.status_code, head.content) == (200, b"")
    assert (put.status_code, put.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert put.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health(path: str) -> None:
    async with running() as setup:
        assert (await setup.client.get(path)).status_code == 200


async def test_a_batch_keeps_order_and_count() -> None:
    items = [
        ITEM,
        {"id": "404", "phone": "380990000001"},
        {"id": 2, "phone": "+7 999 000-00-01"},
        {"id": "zero", "phone": "+1"},
        "nonsense",
        {"id": True, "phone": PHONE},
        ITEM,
    ]
    async with running() as setup:
        answer = await setup.client.post(
            "/v1/statuses/batch", json={"items": items, "fields": ["state", "reachability"]}
        )
        assert len(await setup.asked()) == 3
    results = answer.json()["results"]
    assert [result["outcome"] for result in results] == [
        "FOUND", "NOT_FOUND", "FOUND", "INVALID", "INVALID", "INVALID", "FOUND",
    ]  # fmt: skip
    assert results[0] == {
        **ITEM,
        "outcome": "FOUND",
        "record": {"kind": "Message", **ITEM, "state": "DELIVERED"},
        "problem": None,
    }
    assert results[1]["problem"]["code"] == "NOT_FOUND"
    assert results[2]["phone"] == PHONE
    assert results[2]["record"]["reachability"] == "REACHABLE"
    assert (results[3]["id"], results[3]["phone"]) == ("zero", "+1")
    assert results[3]["problem"]["status"] == 400
    assert (results[4]["id"], results[4]["phone"]) == ("", "")


async def test_an_empty_batch_has_no_results() -> None:
    async with running() as setup:
        answer = await setup.client.post("/v1/statuses/batch", json={"items": []})
    assert answer.json() == {"results": []}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"{}", "items"),
        (b'{"items": {}}', "items"),
        (b'{"items": [], "field": []}', "'field'"),
        (b'{"items": [], "fields": "state"}', "fields"),
        (b'{"items": [], "fields": [1]}', "fields"),
        (b'{"items": [], "fields": []}', "fields"),
        (b'{"items": [], "fields": ["stat"]}', "'stat'"),
        (json.dumps({"items": [ITEM] * 1001}).encode(), "at most 1000; there are 1001"),
    ],
)
async def test_a_bad_batch_is_told_what_is_wrong(body: bytes, word: str) -> None:
    async with running() as setup:
        headers = {"content-type": "application/json"}
        answer = await setup.client.post("/v1/statuses/batch", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    assert word in answer.json()["detail"]


async def test_a_body_too_large_or_of_another_type() -> None:
    async with running() as setup:
        post = setup.client.post
        json_type, long = {"content-type": "application/json"}, b" " * (MAX_BODY_BYTES + 1)
        large = await post("/v1/statuses/batch", content=long, headers=json_type)
        graphql = await post("/graphql", content=b" " * (MAX_BODY_BYTES + 1), headers=json_type)
        text = await post("/v1/statuses/batch", content=b"x", headers={"content-type": "text/csv"})
    assert (large.status_code, text.status_code) == (413, 415)
    assert large.headers["content-type"] == "application/problem+json"
    assert (graphql.status_code, graphql.json()["code"]) == (413, "CONTENT_TOO_LARGE")


async def test_a_batch_that_got_nothing_at_all_is_the_problem_itself() -> None:
    async with running() as setup:
        await setup.fault("error", 4, times=-1)
        answer = await setup.client.post("/v1/statuses/batch", json={"items": [ITEM] * 3})
    assert (answer.status_code, answer.json()["code"]) == (503, "UPSTREAM_BLOCKED")


async def test_a_batch_that_got_something_tells_the_rest() -> None:
    async with running() as setup:
        await setup.message(1, PHONE)
        await setup.fault("error", 4, times=-1)
        other = {"id": "3", "phone": "79990000003"}
        answer = await setup.client.post("/v1/statuses/batch", json={"items": [ITEM, other]})
    assert [r["outcome"] for r in answer.json()["results"]] == ["FOUND", "UNAVAILABLE"]
    problem = answer.json()["results"][1]["problem"]
    assert (problem["code"], problem["status"]) == ("UPSTREAM_BLOCKED", 503)
    assert problem["providerCode"] == 4


async def test_a_fault_of_ours_is_masked() -> None:
    async with running() as setup:
        await setup.message(1, PHONE)
        setup.clock.break_down()
        answer = await setup.message(1, PHONE)
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
    assert "stopped" not in answer.text


@pytest.mark.parametrize("fmt", "0123")
@pytest.mark.parametrize("charset", ["utf-8", "windows-1251", "koi8-r"])
async def test_every_format_and_charset_tells_the_same(fmt: str, charset: str) -> None:
    async with running(SMSC_FORMAT=fmt, SMSC_CHARSET=charset) as setup:
        message = (await setup.message(1, PHONE)).json()
        lookup = (await setup.client.get(f"/v1/hlr-lookups/2?phone={PHONE}")).json()
    assert (message["state"], message["lastStatusTime"]) == ("DELIVERED", "2023-11-14T22:13:20Z")
    assert message["subscriber"]["operator"] == "МегаФон"
    # Format 1 does not tell where a text with a comma ends.
    assert message["text"] == (None if fmt == "1" else "Код 1234, никому")
    assert (lookup["reachability"], lookup["homeNetwork"]["name"]) == ("REACHABLE", "МегаФон")
