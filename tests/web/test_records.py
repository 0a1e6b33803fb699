"""Lists, exports, counts and histories of what is kept; what a restart keeps."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.callers.model import Scope
from gateway.simulator.push import signed
from tests.support.callers import client
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
KNOWN = [(1, PHONE), (3, "79990000003"), (24, "79990000024"), (100, "79990000100")]
SECRET = "a-good-and-long-secret"


async def filled(setup: Setup) -> None:
    """Some messages and a lookup, each learned a second after the other, and written."""
    for id_, phone in KNOWN:
        assert (await setup.message(id_, phone)).status_code == 200
        await setup.clock.advance(1)
    assert (await setup.client.get(f"/v1/hlr-lookups/2?phone={PHONE}")).status_code == 200
    await written(setup)


async def written(setup: Setup) -> None:
    archive = setup.state["archive"]
    assert archive is not None
    await archive.flush()


async def listed(setup: Setup, query: str = "", **headers: str) -> dict[str, Any]:
    answer = await setup.client.get(f"/v1/records?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def ids(setup: Setup, query: str = "") -> list[str]:
    return [one["id"] for one in (await listed(setup, query))["records"]]


async def test_a_list_tells_what_was_seen_the_latest_change_first(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        asked = len(await setup.asked())
        told = await listed(setup)
        assert [one["id"] for one in told["records"]] == ["2", "100", "24", "3", "1"]
        assert told["next"] is None
        whole = (await setup.message(1, PHONE)).json()
        (record,) = (await listed(setup, "id=1"))["records"]
        for one in (whole, record):
            del one["freshness"]["nextRefreshAt"]
        assert record == whole | {"text": None, "comment": None}, (
            "texts are kept only if they are to be"
        )
        assert len(await setup.asked()) == asked


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("order=changedAt", ["1", "3", "24", "100", "2"]),
        (f"phone={PHONE}", ["2", "1"]),
        ("phone=8%20(999)%20000-00-01", ["2", "1"]),
        ("id=1,3&order=changedAt", ["1", "3"]),
        ("id=1&id=3&order=changedAt", ["1", "3"]),
        ("kind=HlrLookup", ["2"]),
        ("kind=Message&isFinal=false", ["100"]),
        ("state=DELIVERED", ["1"]),
        ("state=DELIVERED,COMPLETED", ["2", "1"]),
        ("stateGroup=FAILED&order=changedAt", ["3", "24"]),
        ("errorCode=ABSENT_SUBSCRIBER", ["24", "3"]),
        ("state=DELIVERED&isFinal=false", []),
        ("operator=nobody", []),
        ("sender=HLR", ["2"]),
        ("changedAfter=2027-01-15T08:00:03Z", ["2", "100"]),
        ("changedBefore=2027-01-15T08:00:01Z", ["1"]),
        ("changedBefore=2027-01-15T11:00:01%2B03:00", ["1"]),
        ("sentAfter=2027-01-01T00:00:00Z", ["100"]),
        ("sentBefore=2027-01-01T00:00:00Z&kind=Message&order=changedAt", ["1", "3", "24"]),
    ],
)
async def test_filters(query: str, expected: list[str], tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        assert await ids(setup, query) == expected


async def test_a_walk_tells_each_record_once_and_survives_a_restart(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        first = await setup.client.get("/v1/records?limit=2&order=-sentAt&kind=Message")
    seen = [one["id"] for one in first.json()["records"]]
    link = first.headers["link"]
    assert link.endswith('; rel="next"')
    async with running(STATE_DIR=str(tmp_path)) as setup:
        rest = await setup.client.get(link[1 : link.index(">")])
        assert rest.json()["next"] is None
        assert "link" not in rest.headers
        assert sorted(seen + [one["id"] for one in rest.json()["records"]]) == [
            "1",
            "100",
            "24",
            "3",
        ]
        assert await setup.asked() == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=NEW", "state must not be 'NEW'; there are QUEUED,"),
        ("color=red", "'color' is not a parameter here; there are changedAfter,"),
        ("limit=0", "limit must be a number from 1 to 1000."),
        ("limit=1001", "limit must be a number from 1 to 1000."),
        ("limit=1&limit=2", "limit must be given once."),
        ("order=", "order must be one of -changedAt,"),
        ("order=phone", "order must be one of -changedAt, changedAt, -sentAt, sentAt."),
        ("cursor=abc", "cursor must be the `next` of an earlier page of the same order."),
        ("sentAfter=2027-01-15", "sentAfter must be one time with its zone,"),
        ("sentAfter=2027-01-15T00:00:00", "sentAfter must be one time with its zone,"),
        ("id=0", "id must be a decimal number from 1 to 2147483647."),
        ("phone=", "phone must have a value."),
        ("isFinal=yes", "isFinal must not be 'yes'; there are true, false."),
        ("fields=colour", "fields: 'colour' is not a field here;"),
        ("id=" + ",".join(map(str, range(1, 102))), "id may have at most 100 values."),
    ],
)
async def test_what_is_wrong_is_named(query: str, said: str, tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        answer = await setup.client.get(f"/v1/records?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
        assert answer.json()["detail"].startswith(said)


async def test_a_cursor_is_for_its_order(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        cursor = (await listed(setup, "limit=1"))["next"]
        answer = await setup.client.get(f"/v1/records?order=sentAt&cursor={cursor}")
        assert answer.status_code == 400


async def test_a_table_has_a_row_for_each_record_and_runs_nothing(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        await setup.provider.post(
            "/control/messages",
            json={"id": 77, "phone": PHONE, "status": 1, "message": '=1+1, "x"\r\ny'},
        )
        await setup.message(77, PHONE)
        await filled(setup)
        headers = {"accept": "text/csv"}
        answer = await setup.client.get("/v1/records?order=changedAt", headers=headers)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert [row["id"] for row in rows] == ["77", "1", "3", "24", "100", "2"]
        assert rows[0]["text"] == '\'=1+1, "x"\r\ny'
        assert rows[1]["subscriber.operator"] == "МегаФон"
        assert rows[-1]["providerStatus.code"] == "1"
        few = await setup.client.get("/v1/records?fields=state,cost&id=1", headers=headers)
        assert few.text == (
            "kind,id,phone,cost.amount,cost.currency,state\r\n"
            f"Message,1,{PHONE},3.20,RUB,DELIVERED\r\n"
        )


async def test_all_that_matches_comes_as_json_lines(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        answer = await setup.client.get(
            "/v1/records?kind=Message&fields=state,history",
            headers={"accept": "application/x-ndjson"},
        )
        records = [json.loads(line) for line in answer.text.splitlines()]
        assert [one["id"] for one in records] == ["100", "24", "3", "1"]
        assert [len(one["history"]) for one in records] == [1, 1, 1, 1]


async def test_each_change_is_in_the_history_with_what_told_it(tmp_path: Path) -> None:
    url = "/v1/messages/100?phone=79990000100&fields=state,history"
    async with running(STATE_DIR=str(tmp_path), CALLBACK_SECRET=SECRET) as setup:
        assert [one["state"] for one in (await setup.client.get(url)).json()["history"]] == [
            "QUEUED"
        ]
        await setup.clock.advance(30)
        form = {"id": "100", "phone": "79990000100", "status": "1", "type": "0"}
        for _ in range(2):
            await setup.client.post("/v1/callbacks/smsc", data=signed(form, SECRET))
        told = (await setup.client.get(url)).json()
        await written(setup)
        assert (await setup.client.get(url)).json() == told, "before and after it was written"
    assert told["state"] == "DELIVERED"
    assert [(one["state"], one["source"], one["at"]) for one in told["history"]] == [
        ("QUEUED", "LIVE", "2027-01-15T08:00:00Z"),
        ("DELIVERED", "CALLBACK", "2027-01-15T08:00:30Z"),
    ]


async def test_a_restart_asks_for_nothing_twice(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        before = [(await setup.message(id_, phone)).json() for id_, phone in KNOWN[:3]]
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_CONTENT="true") as setup:
        after = [(await setup.message(id_, phone)).json() for id_, phone in KNOWN[:3]]
        items = [{"id": str(id_), "phone": phone} for id_, phone in KNOWN[:3]]
        batch = await setup.client.post("/v1/statuses/batch", json={"items": items})
        assert [one["outcome"] for one in batch.json()["results"]] == ["FOUND"] * 3
        assert await setup.asked() == []
    for one in (*before, *after):
        del one["freshness"]
    assert after == before


async def test_without_its_text_a_record_is_asked_for_again_where_that_is_wanted(
    tmp_path: Path,
) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await setup.message(1, PHONE)
    async with running(STATE_DIR=str(tmp_path)) as setup:
        few = await setup.message(1, PHONE, fields="state,sender,subscriber.operator")
        assert few.json()["sender"] == "SMSC.RU"
        assert await setup.asked() == []
        assert (await setup.message(1, PHONE)).json()["text"]
        assert len(await setup.asked()) == 1


async def test_what_the_provider_has_moved_away_keeps_its_state(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await setup.message(1, PHONE)
    async with running(STATE_DIR=str(tmp_path)) as setup:
        setup.world.clear()
        headers = {"cache-control": "no-cache"}
        told = await setup.client.get(f"/v1/messages/1?phone={PHONE}", headers=headers)
        assert told.status_code == 200, told.text
        assert (told.json()["state"], told.json()["archived"]) == ("DELIVERED", True)


async def test_what_is_deleted_leaves_nothing(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        assert (await setup.client.delete(f"/v1/messages/1?phone={PHONE}")).status_code == 204
        await written(setup)
        assert await ids(setup, "id=1") == []


async def test_what_scopes_hide_stays_hidden(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(
        client("lists", scopes=frozenset({Scope.STATUS_READ, Scope.RECORD_LIST}))
        + client("reads", scopes=frozenset({Scope.STATUS_READ}))
    )
    environ = {"STATE_DIR": str(tmp_path), "CLIENTS_FILE": str(path), "ARCHIVE_CONTENT": "true"}
    async with running(**environ) as setup:
        key = {"authorization": "Bearer key of lists"}
        await setup.client.get(f"/v1/messages/1?phone={PHONE}", headers=key)
        await setup.client.get(f"/v1/hlr-lookups/2?phone={PHONE}", headers=key)
        await written(setup)
        lookup, message = (await listed(setup, **key))["records"]
        assert (message["text"], lookup["imsi"], lookup["msc"]) == (None, None, None)
        assert message["hiddenFields"] == ["text", "comment"]
        table = await setup.client.get("/v1/records", headers=key | {"accept": "text/csv"})
        assert not {"text", "comment", "imsi", "msc"} & set(table.text.splitlines()[0].split(","))
        refused = await setup.client.get("/v1/records?fields=text", headers=key)
        assert refused.status_code == 403
        other = {"authorization": "Bearer key of reads"}
        for url in ("/v1/records", "/v1/records/summary", "/v1/records/delivery-times"):
            assert (await setup.client.get(url, headers=other)).status_code == 403
        history = f"/v1/messages/1?phone={PHONE}&fields=history"
        assert (await setup.client.get(history, headers=other)).status_code == 403
        assert (await setup.client.get(history, headers=key)).status_code == 200


@pytest.mark.parametrize("media", ["application/json", "text/csv", "application/x-ndjson"])
@pytest.mark.parametrize(
    "url", ["/v1/records", "/v1/records/summary", "/v1/records/delivery-times"]
)
async def test_head_is_answered_without_a_body(url: str, media: str, tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        whole = await setup.client.get(url, headers={"accept": media})
        head = await setup.client.head(url, headers={"accept": media})
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]


async def test_where_it_is_off_that_is_said(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_URL="none") as setup:
        for url in (
            "/v1/records",
            "/v1/records/summary",
            "/v1/records/delivery-times",
            "/v1/changes",
            f"/v1/messages/1?phone={PHONE}&fields=history",
        ):
            answer = await setup.client.get(url)
            assert (answer.status_code, answer.json()["code"]) == (501, "ARCHIVE_OFF"), url
            assert "GATEWAY_ARCHIVE_URL" in answer.json()["detail"]
        assert (await setup.message(1, PHONE)).json()["changedAt"] == "2027-01-15T08:00:00Z"
        assert (await setup.client.get("/v1/provider")).json()["archive"] == "OFF"


async def test_the_summary_counts_what_is_kept(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        await filled(setup)
        told = (await setup.client.get("/v1/records/summary")).json()
        assert told["total"] == 5
        assert {one["state"]: one["count"] for one in told["byState"]}["DELIVERED"] == 1
        errors = {one["errorCode"]: one["count"] for one in told["byErrorCode"]}
        assert errors["ABSENT_SUBSCRIBER"] == 2
        assert sum(one["count"] for one in told["byOperator"]) == 5
        assert told["deliverySeconds"] == {
            "count": 1,
            "p50": 10,
            "p90": 10,
            "p99": 10,
            "over": {"30": 0.0, "60": 0.0, "300": 0.0, "900": 0.0},
        }
        assert told["coverage"] == {
            "firstSeenAt": "2027-01-15T08:00:00Z",
            "lastSeenAt": "2027-01-15T08:00:04Z",
            "pushed": 0,
            "asked": 5,
            "imported": 0,
        }
        times = (await setup.client.get("/v1/records/delivery-times")).json()
        assert [one["deliverySeconds"] for one in times["perHour"]] == [told["deliverySeconds"]]
        few = (await setup.client.get("/v1/records/summary?stateGroup=FAILED")).json()
        assert few["total"] == 2
        wrong = await setup.client.get("/v1/records/summary?limit=3")
        assert wrong.status_code == 400
