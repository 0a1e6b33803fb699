"""The whole of the gateway against the simulated provider, in fake time."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from gateway.errors import GatewayError, KindMismatch
from gateway.model.records import DetailLevel, Message, StatusKey
from gateway.service import StatusQuery
from gateway.simulator.model import Report
from tests.support.clock import settle
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
LIVE = "79990000100"
ABROAD = "380990000001"
"""A number with one spelling alone."""


async def test_a_fresh_record_is_not_asked_for_again() -> None:
    async with running() as setup:
        first = (await setup.message(1, PHONE)).json()
        await setup.clock.advance(90)
        second = (await setup.message(1, PHONE)).json()
        assert len(await setup.asked()) == 1
        assert first["freshness"]["source"] == "LIVE"
        assert (second["freshness"]["source"], second["freshness"]["ageSeconds"]) == ("CACHE", 90)
        assert {**first, "freshness": 0} == {**second, "freshness": 0}


async def test_a_live_message_is_fresh_for_twelve_seconds_at_least() -> None:
    async with running() as setup:
        assert (await setup.message(100, LIVE)).json()["state"] == "QUEUED"
        await setup.clock.advance(11.9)
        assert (await setup.message(100, LIVE)).json()["state"] == "QUEUED"
        await setup.clock.advance(1.4)
        assert (await setup.message(100, LIVE)).json()["state"] == "SENT"
        assert len(await setup.asked()) == 2


async def test_a_message_is_followed_through_its_life() -> None:
    async with running() as setup:
        states = []
        for _ in range(3):
            states.append((await setup.message(100, LIVE)).json()["state"])
            await setup.clock.advance(20)
        assert states == ["QUEUED", "SENT", "DELIVERED"]
        assert await setup.breaches() == 0


async def test_a_record_with_less_detail_than_wanted_is_asked_for_again() -> None:
    async with running() as setup:
        await setup.message(1, PHONE, fields="state")
        await setup.message(1, PHONE, fields="text")
        await setup.message(1, PHONE, fields="state,text")
        await setup.message(1, PHONE)
        assert [request["all"] for request in await setup.asked()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ("state", 0), ("error,isFinal,lastStatusTime,smpp", 0), ("providerStatus.code", 0),
        ("template,paidFromSecondBalance", 0), ("freshness", 0), ("id,phone", 0), ("kind", 0),
        ("type", 1), ("providerStatus.text", 1), ("providerStatus", 1), ("sentAt", 1),
        ("sender", 1), ("text", 1), ("comment", 1), ("cost.amount", 1), ("parts", 1),
        ("durationSeconds", 1), ("subscriber.region", 2), ("state,porting.status", 2),
    ],
)  # fmt: skip
async def test_fields_choose_the_detail_level(fields: str, level: int) -> None:
    async with running() as setup:
        assert (await setup.message(1, PHONE, fields=fields)).status_code == 200
        assert [request["all"] for request in await setup.asked()] == [level]


@pytest.mark.parametrize(("fields", "level"), [("type,imsi,homeNetwork,roaming", 0), ("cost", 1)])
async def test_fields_choose_the_detail_level_of_a_lookup(fields: str, level: int) -> None:
    async with running() as setup:
        url = f"/v1/hlr-lookups/2?phone={PHONE}&fields={fields}"
        assert (await setup.client.get(url)).status_code == 200
        assert [request["all"] for request in await setup.asked()] == [level]


async def test_a_thousand_callers_for_one_cold_record_make_one_request() -> None:
    async with running() as setup:
        await setup.provider.post("/control/latency", json={"seconds": 1})
        calls = [asyncio.create_task(setup.message(1, PHONE)) for _ in range(1000)]
        await settle()
        await setup.clock.advance(1)
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {200}
        assert len(await setup.asked()) == 1


async def test_the_caller_who_came_first_may_leave() -> None:
    async with running() as setup:
        await setup.provider.post("/control/latency", json={"seconds": 1})
        first = asyncio.create_task(setup.message(1, PHONE))
        second = asyncio.create_task(setup.message(1, PHONE))
        await settle()
        first.cancel()
        await setup.clock.advance(1)
        assert (await second).status_code == 200
        assert len(await setup.asked()) == 1


async def test_a_failed_flight_fails_nobody_who_comes_after_it() -> None:
    async with running() as setup:
        await setup.fault("html")
        assert (await setup.message(1, PHONE)).json()["code"] == "UPSTREAM_BAD_ANSWER"
        assert (await setup.message(1, PHONE)).status_code == 200


async def test_the_sixth_request_in_a_minute_is_not_made() -> None:
    async with running() as setup:
        for _ in range(5):
            answer = await setup.client.get(
                f"/v1/messages/100?phone={LIVE}", headers={"cache-control": "no-cache"}
            )
            assert answer.json()["freshness"]["stale"] is False
            await setup.clock.advance(1)
        answer = await setup.client.get(
            f"/v1/messages/100?phone={LIVE}", headers={"cache-control": "no-cache"}
        )
        freshness = answer.json()["freshness"]
        assert (freshness["stale"], freshness["staleReason"]) == (True, "RATE_LIMITED")
        assert len(await setup.asked()) == 5
        assert await setup.breaches() == 0


async def test_with_nothing_known_the_limit_is_told_with_the_second() -> None:
    async with running() as setup:
        await setup.fault("empty", times=5)
        for _ in range(5):
            await setup.message(1, PHONE)
            await setup.clock.advance(1)
        problem = await setup.message(1, PHONE)
        assert problem.status_code == 429
        assert (problem.json()["code"], problem.json()["limit"]) == ("RATE_LIMITED", "PER_MESSAGE")
        assert problem.headers["retry-after"] == "55"
        await setup.clock.advance(55)
        assert (await setup.message(1, PHONE)).status_code == 200
        assert await setup.breaches() == 0


async def test_never_more_than_four_at_a_time() -> None:
    async with running() as setup:
        await setup.provider.post("/control/latency", json={"seconds": 1})
        calls = [asyncio.create_task(setup.message(20 + n, f"7999000002{n}")) for n in range(7)]
        await settle()
        await setup.clock.advance(3)
        assert {(await call).status_code for call in calls} == {200}
        stats = (await setup.provider.get("/control/stats")).json()
        assert (stats["highestConcurrency"], stats["breaches"]) == (4, 0)


async def test_who_gets_no_place_in_time_is_told_so() -> None:
    async with running(MAX_WAIT="2") as setup:
        await setup.provider.post("/control/latency", json={"seconds": 5})
        calls = [asyncio.create_task(setup.message(20 + n, f"7999000002{n}")) for n in range(5)]
        await settle()
        await setup.clock.advance(2)
        answer = (await calls[4]).json()
        assert (answer["code"], answer["limit"]) == ("RATE_LIMITED", "CONCURRENCY")
        await setup.clock.advance(3)
        assert {(await call).status_code for call in calls[:4]} == {200}


async def test_a_request_that_timed_out_keeps_its_place_for_a_while() -> None:
    async with running(LIMIT_CONCURRENCY="1", SMSC_TIMEOUT="0.05", MAX_WAIT="0") as setup:
        await setup.fault("hang")
        assert (await setup.message(1, PHONE)).json()["code"] == "UPSTREAM_TIMEOUT"
        assert (await setup.message(3, "79990000003")).json()["limit"] == "CONCURRENCY"
        await setup.clock.advance(0.05)
        assert (await setup.message(3, "79990000003")).status_code == 200


async def batch(
    setup: Setup, pairs: list[tuple[int, str]], *fields: str
) -> list[dict[str, object]]:
    body: dict[str, object] = {"items": [{"id": str(i), "phone": phone} for i, phone in pairs]}
    if fields:
        body["fields"] = list(fields)
    answer = await setup.client.post("/v1/statuses/batch", json=body)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, object]] = answer.json()["results"]
    return results


MANY = [(20 + n, f"7999000002{n}") for n in range(10)] + [(1, PHONE), (2, PHONE), (404, ABROAD)]


@pytest.mark.parametrize("fmt", "0123")
async def test_many_cold_records_are_one_mass_request(fmt: str) -> None:
    async with running(SMSC_FORMAT=fmt) as setup:
        results = await batch(setup, MANY)
        assert [result["outcome"] for result in results] == ["FOUND"] * 12 + ["NOT_FOUND"]
        assert [(r["mass"], r["pairs"]) for r in await setup.asked()] == [(True, 13)]
        singles = [await setup.message(i, phone) for i, phone in MANY[:10]]
        assert all(answer.json()["freshness"]["source"] == "CACHE" for answer in singles)


async def test_a_second_mass_request_in_the_minute_goes_as_singles() -> None:
    async with running() as setup:
        await batch(setup, MANY)
        results = await batch(setup, [(500 + n, ABROAD) for n in range(12)])
        assert {result["outcome"] for result in results} == {"NOT_FOUND"}
        assert [request["mass"] for request in await setup.asked()] == [True] + [False] * 12
        assert await setup.breaches() == 0


async def test_of_many_known_records_none_is_given_that_is_not_wanted() -> None:
    """However short the way is that a list of final records takes."""
    keys = [StatusKey(PHONE, 1), StatusKey(PHONE, 2)]
    async with running() as setup:
        service = setup.state["service"]
        for want, is_asked in (
            (StatusQuery(DetailLevel.BASIC), True),
            (StatusQuery(DetailLevel.BASIC), False),
            (StatusQuery(DetailLevel.BASIC, Message), False),
            (StatusQuery(DetailLevel.BASIC, slack=-30 * 24 * 3600), True),
            (StatusQuery(DetailLevel.BASIC, max_age=-1), True),
        ):
            before = len(await setup.asked())
            found = await service.get_many(keys, want)
            assert (len(await setup.asked()) > before) == is_asked, want
            kinds = [
                type(one) if isinstance(one, GatewayError) else one.record.kind for one in found
            ]
            assert want.kind is None or kinds == ["Message", KindMismatch]


async def test_one_bad_pair_does_not_spoil_a_mass_request() -> None:
    async with running() as setup:
        await setup.fault("error", 1)
        results = await batch(setup, MANY)
        assert [result["outcome"] for result in results] == ["FOUND"] * 12 + ["NOT_FOUND"]
        assert await setup.breaches() == 0


async def test_a_mass_request_refused_for_somebody_elses_goes_as_singles() -> None:
    async with running() as setup:
        form = {"login": "demo", "psw": "demo", "phone": "70001,70002", "id": "1,2"}
        await setup.provider.post("/sys/status.php", data=form)
        results = await batch(setup, MANY)
        assert [result["outcome"] for result in results] == ["FOUND"] * 12 + ["NOT_FOUND"]
        assert await setup.breaches() == 1  # the one that nobody could foresee


async def test_an_unforeseen_refusal_stops_asking_for_that_message() -> None:
    async with running() as setup:
        await setup.fault("error", 9)
        first = (await setup.message(1, PHONE)).json()
        assert (first["code"], first["providerCode"]) == ("RATE_LIMITED", 9)
        assert (await setup.message(1, PHONE)).json()["limit"] == "PER_MESSAGE"
        assert len(await setup.asked()) == 1
        await setup.clock.advance(60)
        assert (await setup.message(1, PHONE)).status_code == 200


STALE = [
    ("error", 9, "RATE_LIMITED"),
    ("error", 2, "UPSTREAM_BLOCKED"),
    ("error", 4, "UPSTREAM_BLOCKED"),
    ("error", 77, "UPSTREAM_UNAVAILABLE"),
    ("html", None, "UPSTREAM_UNAVAILABLE"),
    ("status", 503, "UPSTREAM_UNAVAILABLE"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), STALE)
async def test_an_older_record_beats_an_error(kind: str, value: object, reason: str) -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(14)
        await setup.fault(kind, value)
        answer = await setup.message(100, LIVE)
        freshness = answer.json()["freshness"]
        assert answer.status_code == 200
        assert (freshness["stale"], freshness["staleReason"]) == (True, reason)
        assert (freshness["source"], freshness["ageSeconds"]) == ("CACHE", 14)


async def test_not_found_is_remembered_shortly_and_then_longer() -> None:
    async with running() as setup:
        for wait in (9.9, 0.1, 19.9, 0.1):
            assert (await setup.message(404, ABROAD)).status_code == 404
            await setup.clock.advance(wait)
        assert (await setup.message(404, ABROAD)).status_code == 404
        assert len(await setup.asked()) == 3


async def test_what_was_known_before_it_is_gone_is_kept_as_archived() -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        setup.world.delete(LIVE, 100)
        await setup.clock.advance(14)
        record = (await setup.message(100, LIVE)).json()
        assert (record["state"], record["archived"]) == ("QUEUED", True)


async def test_an_archived_lookup_stays_what_it_was() -> None:
    async with running() as setup:
        url = f"/v1/hlr-lookups/2?phone={PHONE}"
        before = (await setup.client.get(url)).json()
        setup.world.delete(PHONE, 2)
        await setup.clock.advance(100_000)
        after = (await setup.client.get(url)).json()
        assert {**before, "freshness": 0} == {**after, "freshness": 0}


async def test_the_other_kind_is_a_mismatch_and_asked_for_once() -> None:
    async with running() as setup:
        for _ in range(2):
            problem = (await setup.message(2, PHONE)).json()
            assert (problem["status"], problem["code"]) == (404, "KIND_MISMATCH")
        url = f"/v1/hlr-lookups/1?phone={PHONE}&fields=state"
        assert (await setup.client.get(url)).json()["code"] == "KIND_MISMATCH"
        assert len(await setup.asked()) == 2


async def test_where_nothing_shows_the_kind_more_detail_is_asked_for() -> None:
    async with running() as setup:
        setup.world.add(Report(id=9, phone=PHONE, status=1, sender="SHOP", message="", type=None))
        assert (await setup.message(9, PHONE, fields="state")).json()["state"] == "DELIVERED"
        lookup = await setup.client.get(f"/v1/hlr-lookups/9?phone={PHONE}&fields=state")
        assert lookup.json()["code"] == "KIND_MISMATCH"
        assert [request["all"] for request in await setup.asked()] == [0, 1]


async def test_only_if_cached_asks_nobody() -> None:
    async with running() as setup:
        url = f"/v1/messages/1?phone={PHONE}"
        headers = {"cache-control": "only-if-cached"}
        problem = await setup.client.get(url, headers=headers)
        assert (problem.status_code, problem.json()["code"]) == (504, "NOT_CACHED")
        await setup.message(1, PHONE)
        assert (await setup.client.get(url, headers=headers)).status_code == 200
        assert len(await setup.asked()) == 1


async def test_a_caller_may_want_a_younger_record() -> None:
    async with running() as setup:
        url = f"/v1/messages/1?phone={PHONE}"
        await setup.client.get(url)
        await setup.clock.advance(30)
        await setup.client.get(url, headers={"cache-control": "max-age=30"})
        await setup.client.get(url, headers={"cache-control": "max-age=29"})
        assert len(await setup.asked()) == 2


async def test_shutting_down_gives_up_what_waits() -> None:
    async with running(LIMIT_CONCURRENCY="1") as setup:
        await setup.provider.post("/control/latency", json={"seconds": 3})
        calls = [asyncio.create_task(setup.message(20 + n, f"7999000002{n}")) for n in range(2)]
        await settle()
        asyncio.get_running_loop().call_soon(asyncio.create_task, setup.clock.advance(3))
    assert [(await call).status_code for call in calls] == [200, 503]
    assert (await calls[1]).json()["code"] == "OVERLOADED"


async def test_a_delivered_message_answers_at_once_while_it_is_renewed() -> None:
    async with running() as setup:
        await setup.message(1, PHONE)
        await setup.clock.advance(3 * 3600)
        await setup.provider.post("/control/latency", json={"seconds": 1})
        first = (await setup.message(1, PHONE)).json()["freshness"]
        assert (first["stale"], first["staleReason"], first["ageSeconds"]) == (True, None, 10_800)
        await setup.clock.advance(1)
        second = (await setup.message(1, PHONE)).json()["freshness"]
        assert (second["stale"], second["ageSeconds"]) == (False, 0)
        assert len(await setup.asked()) == 2


async def test_who_wants_it_younger_waits_for_that() -> None:
    async with running() as setup:
        await setup.message(1, PHONE)
        await setup.clock.advance(3 * 3600)
        url = f"/v1/messages/1?phone={PHONE}"
        answer = await setup.client.get(url, headers={"cache-control": "max-age=3600"})
        assert answer.json()["freshness"]["source"] == "LIVE"


async def test_the_next_refresh_is_when_the_limits_allow_it() -> None:
    async with running() as setup:
        url = f"/v1/messages/100?phone={LIVE}"
        told = []
        for _ in range(5):
            answer = await setup.client.get(url, headers={"cache-control": "no-cache"})
            told.append(answer.json()["freshness"])
            await setup.clock.advance(1)
        assert told[0]["nextRefreshAt"] == "2027-01-15T08:00:13Z"  # when it is no longer fresh
        assert told[4]["nextRefreshAt"] == "2027-01-15T08:01:00Z"  # when the first is a minute old
        stale = (await setup.client.get(url, headers={"cache-control": "no-cache"})).json()
        assert stale["freshness"]["stale"] is True
        assert stale["freshness"]["nextRefreshAt"] == "2027-01-15T08:01:00Z"


async def test_blocked_the_provider_is_left_alone_and_the_next_try_is_told() -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(14)
        await setup.fault("error", 4, times=-1)
        for wait in (5, 10, 20):
            problem = await setup.message(1, PHONE)
            assert (problem.status_code, problem.json()["code"]) == (503, "UPSTREAM_BLOCKED")
            assert problem.headers["retry-after"] == str(wait)
            asked = len(await setup.asked())
            other = await setup.message(3, "79990000003")
            assert (other.status_code, other.json()["providerCode"]) == (503, 4)
            stale = (await setup.message(100, LIVE)).json()["freshness"]
            assert (stale["stale"], stale["staleReason"]) == (True, "UPSTREAM_BLOCKED")
            assert len(await setup.asked()) == asked
            await setup.clock.advance(wait)
        await setup.provider.delete("/control/fault")
        assert (await setup.message(1, PHONE)).status_code == 200
        assert (await setup.message(3, "79990000003")).status_code == 200


@pytest.mark.parametrize("kind", ["html", "status"])
async def test_a_provider_that_is_down_is_asked_less_and_found_again(kind: str) -> None:
    async with running() as setup:
        await setup.fault(kind, times=-1)
        for number in range(20):
            answer = await setup.message(1, PHONE)
            assert answer.status_code == 502, number
        assert len(await setup.asked()) == 5
        assert answer.headers["retry-after"] == "1"
        await setup.provider.delete("/control/fault")
        await setup.clock.advance(60)
        assert (await setup.message(1, PHONE)).status_code == 200


async def test_a_batch_takes_along_what_will_be_wanted_next() -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(8)
        await batch(setup, MANY)
        assert [(r["mass"], r["pairs"]) for r in await setup.asked()] == [(False, 1), (True, 14)]
        await setup.clock.advance(8)
        assert (await setup.message(100, LIVE)).json()["freshness"]["ageSeconds"] == 8
        assert len(await setup.asked()) == 2


async def test_a_restart_does_not_spend_again_what_was_spent(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_URL="none") as setup:
        await batch(setup, MANY)
        for _ in range(5):
            await setup.clock.advance(1)
            await setup.client.get(
                f"/v1/messages/100?phone={LIVE}", headers={"cache-control": "no-cache"}
            )
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_URL="none") as setup:
        answer = await setup.message(100, LIVE)
        assert (answer.status_code, answer.json()["limit"]) == (429, "PER_MESSAGE")
        assert answer.headers["retry-after"] == "61"
        await batch(setup, MANY)
        assert [request["mass"] for request in await setup.asked()] == [False] * 13
    async with running(STATE_DIR=str(tmp_path), ARCHIVE_URL="none", SMSC_LOGIN="other") as setup:
        assert (await setup.client.get("/v1/provider")).json()["budgets"]["mass"]["left"] == 1


async def test_what_is_young_does_not_ride_along() -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(5)
        await batch(setup, MANY)
        assert [r["pairs"] for r in await setup.asked()] == [1, 13]


async def test_an_older_record_beats_a_slow_provider() -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(14)
        await setup.provider.post("/control/latency", json={"seconds": 8})
        known, unknown = (
            asyncio.create_task(setup.message(*pair)) for pair in ((100, LIVE), (1, PHONE))
        )
        await setup.clock.advance(5)
        freshness = (await known).json()["freshness"]
        assert (freshness["ageSeconds"], freshness["staleReason"]) == (19, "UPSTREAM_UNAVAILABLE")
        await setup.clock.advance(3)
        assert (await unknown).status_code == 200
        assert (await setup.message(100, LIVE)).json()["freshness"]["ageSeconds"] == 0


async def test_rest_and_graphql_are_gathered_into_one_request() -> None:
    items = "".join(
        f'm{n}: message(id: {n}, phone: "7999000002{n - 20}") {{ state }}' for n in range(20, 26)
    )
    async with running() as setup:
        rest = asyncio.create_task(batch(setup, [(26 + n, f"7999000002{6 + n}") for n in range(4)]))
        answer = await setup.graphql(f"{{ {items} }}")
        await rest
        assert all(record["state"] for record in answer["data"].values())
        assert [r["pairs"] for r in await setup.asked()] == [10]


async def test_an_address_that_wants_much_does_not_starve_another() -> None:
    async with running(LIMIT_MASS="0") as setup, setup.client_from("10.0.0.2") as other:
        await setup.provider.post("/control/latency", json={"seconds": 1})
        many = [asyncio.create_task(setup.message(500 + n, PHONE)) for n in range(40)]
        await settle()
        one = asyncio.create_task(other.get(f"/v1/messages/1?phone={PHONE}"))
        await setup.clock.advance(2)
        assert one.done()
        assert (await one).status_code == 200
        await setup.clock.advance(10)
        await asyncio.gather(*many)


async def test_in_a_batch_what_is_unknown_comes_before_what_is_old() -> None:
    async with running(LIMIT_CONCURRENCY="1", LIMIT_MASS="0", MAX_WAIT="0") as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(14)
        results = await batch(setup, [(100, LIVE), (3, "79990000003")])
        assert [result["outcome"] for result in results] == ["FOUND", "FOUND"]
        assert len(await setup.asked()) == 2


DOMESTIC = "89990000001"


async def test_both_spellings_of_a_number_name_one_record() -> None:
    async with running() as setup:
        first = (await setup.message(1, "8 (999) 000-00-01")).json()
        again = (await setup.message(1, PHONE)).json()
        assert (first["state"], first["phone"]) == ("DELIVERED", DOMESTIC)
        assert (again["freshness"]["source"], again["phone"]) == ("CACHE", PHONE)
        hit = (await setup.message(1, DOMESTIC)).json()
        assert (hit["freshness"]["source"], hit["phone"]) == ("CACHE", DOMESTIC)
        # As it was written; then, once, as the provider may know it.
        assert len(await setup.asked()) == 2


async def test_what_is_known_by_one_spelling_is_asked_for_by_it() -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(14)
        record = (await setup.message(100, "8" + LIVE[1:])).json()
        assert (record["state"], record["freshness"]["source"]) == ("SENT", "LIVE")
        assert [request["outcome"] for request in await setup.asked()] == ["ok", "ok"]


async def test_a_number_known_in_neither_spelling_is_asked_for_once_in_each() -> None:
    async with running() as setup:
        for _ in range(3):
            assert (await setup.message(404, DOMESTIC)).json()["code"] == "NOT_FOUND"
        assert len(await setup.asked()) == 2
        await setup.clock.advance(11)
        assert (await setup.message(404, DOMESTIC)).json()["code"] == "NOT_FOUND"
        assert len(await setup.asked()) == 3


async def test_a_batch_finds_both_spellings() -> None:
    async with running() as setup:
        pairs = [(1, DOMESTIC), (1, PHONE), (20, "89990000020"), (404, DOMESTIC)]
        results = await batch(setup, pairs, "state")
        assert [(one["outcome"], one["phone"]) for one in results] == [
            ("FOUND", DOMESTIC),
            ("FOUND", PHONE),
            ("FOUND", "89990000020"),
            ("NOT_FOUND", DOMESTIC),
        ]
        records = [cast("dict[str, object]", one["record"] or one) for one in results]
        assert [one["phone"] for one in records] == [phone for _, phone in pairs]
        assert await setup.breaches() == 0


async def test_graphql_finds_both_spellings() -> None:
    query = "query ($p: String!) { status(id: 1, phone: $p) { phone isFinal } }"
    async with running() as setup:
        await setup.message(1, PHONE)
        told = await setup.graphql(query, p="tel:8-999-000-00-01")
        assert told == {"data": {"status": {"phone": DOMESTIC, "isFinal": True}}}
        assert len(await setup.asked()) == 1


async def test_both_spellings_spend_one_budget() -> None:
    async with running() as setup:
        no_cache = {"cache-control": "no-cache"}
        for n in range(8):
            phone = DOMESTIC if n % 2 else PHONE
            await setup.client.get(f"/v1/messages/1?phone={phone}", headers=no_cache)
            await setup.clock.advance(0.1)
        assert len(await setup.asked()) <= 5


async def test_the_other_spelling_is_waited_for_no_longer_than_max_wait() -> None:
    async with running(MAX_WAIT="2", LIMIT_CONCURRENCY="1") as setup:
        await setup.provider.post("/control/latency", json={"seconds": 1.5})
        busy = [asyncio.create_task(setup.message(20 + n, f"7999000002{n}")) for n in range(3)]
        await settle()
        await setup.clock.advance(4.5)
        asked = asyncio.create_task(setup.message(404, DOMESTIC))
        await settle()
        await setup.clock.advance(4)
        assert (await asked).json()["code"] == "NOT_FOUND"
        await asyncio.gather(*busy)


@pytest.mark.parametrize(
    ("directive", "status"),
    [("stale-if-error=0", 502), ("stale-if-error=1", 502), ("stale-if-error=600", 200), ("", 200)],
)
async def test_who_wants_no_stale_record_gets_the_error(directive: str, status: int) -> None:
    async with running() as setup:
        await setup.message(100, LIVE)
        await setup.clock.advance(20)
        await setup.fault("html", times=-1)
        url = f"/v1/messages/100?phone={LIVE}"
        answer = await setup.client.get(url, headers={"cache-control": directive})
        assert answer.status_code == status


async def test_a_message_that_can_be_read_is_fresh_for_ten_minutes() -> None:
    async with running() as setup:
        for id_, phone, at_least, at_most in (
            (32, "79990000032", 600, 660),  # Viber
            (33, "someone@example.com", 600, 660),
            (1, PHONE, 7200, 7920),
        ):
            answer = await setup.message(id_, phone)
            age = int(answer.headers["cache-control"].removeprefix("private, max-age="))
            assert at_least <= age <= at_most


async def test_the_cache_is_bounded_by_its_setting() -> None:
    async with running(CACHE_RECORDS="2") as setup:
        for id_, phone in ((1, PHONE), (2, PHONE), (3, "79990000003")):
            await setup.message(id_, phone)
        assert (await setup.client.get("/v1/provider")).json()["records"] == 2
