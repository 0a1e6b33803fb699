"""What those who run the gateway see."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.upstream.budget.port import Sharing
from tests.support.clock import settle
from tests.support.gateway import Setup, running
from tests.support.valkey import until, valkey

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
LIVE = "79990000100"
MANY = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(10)]


async def metrics(setup: Setup) -> dict[str, float]:
    """All samples but buckets, by name and labels."""
    answer = await setup.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.name.startswith(("process_", "smsc_gateway_http_"))
        if not sample.name.endswith("_bucket")
    }


async def test_the_provider_link_before_anything_was_asked() -> None:
    async with running() as setup:
        answer = await setup.client.get("/v1/provider")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json() == {
            "budgets": {
                "windowSeconds": 60.0,
                "mass": {"limit": 1, "left": 1, "freeAt": None},
                "concurrency": {"limit": 4, "left": 4},
                "perMessage": {"limit": 5, "spentMessages": 0},
            },
            "sharing": "ALONE",
            "archive": "OFF",
            "archiveReport": None,
            "inFlight": 0,
            "queue": {"callers": 0, "background": 0},
            "breaker": {"state": "CLOSED", "reason": None, "nextProbeAt": None},
            "records": 0,
            "ages": {"median": None, "p99": None},
            "counters": {
                "answers": 0,
                "hits": 0,
                "hitRatio": None,
                "unanswered": 0,
                "requests": 0,
                "singles": 0,
                "mass": 0,
                "messagesCarried": 0,
                "failed": 0,
                "requestSeconds": 0.0,
                "requestsSaved": None,
            },
        }


async def test_the_provider_link_after_some_load() -> None:
    async with running() as setup:
        await setup.provider.post("/control/latency", json={"seconds": 0.5})
        batch = asyncio.create_task(setup.client.post("/v1/statuses/batch", json={"items": MANY}))
        await setup.clock.advance(0.5)
        await batch
        for _ in range(2):
            single = asyncio.create_task(setup.message(1, PHONE))
            await setup.clock.advance(1)
            await single
        for _ in range(8):
            await setup.message(1, PHONE)
        calls = [asyncio.create_task(setup.message(50 + n, PHONE)) for n in range(6)]
        await settle()
        link = (await setup.client.get("/v1/provider")).json()
        await setup.clock.advance(2)
        await asyncio.gather(*calls)
    assert link["budgets"]["mass"] == {"limit": 1, "left": 0, "freeAt": "2027-01-15T08:01:00Z"}
    assert link["budgets"]["concurrency"] == {"limit": 4, "left": 0}
    assert link["inFlight"] == 4
    assert link["queue"] == {"callers": 2, "background": 0}
    assert (link["records"], link["ages"]) == (11, {"median": 0.0, "p99": 1.5})
    counters = link["counters"]
    assert (counters["requests"], counters["singles"], counters["mass"]) == (2, 1, 1)
    assert (counters["messagesCarried"], counters["requestSeconds"]) == (11, 1.0)
    assert (counters["answers"], counters["hits"], counters["hitRatio"]) == (20, 9, 0.45)
    assert counters["requestsSaved"] == 10.0


async def test_graphql_tells_the_same() -> None:
    query = """{ provider {
      budgets { windowSeconds mass { limit left freeAt } concurrency { limit left }
                perMessage { limit spentMessages } }
      sharing archive archiveReport { queue lagSeconds rows errors lost }
      inFlight queue { callers background } breaker { state reason nextProbeAt } records
      ages { median p99 }
      counters { answers hits hitRatio unanswered requests singles mass messagesCarried failed
                 requestSeconds requestsSaved }
    } }"""
    async with running() as setup:
        await setup.message(1, PHONE)
        told = await setup.graphql(query)
        assert told == {"data": {"provider": (await setup.client.get("/v1/provider")).json()}}


async def test_metrics_tell_the_same() -> None:
    async with running() as setup:
        await setup.fault("error", 4)
        await setup.message(1, PHONE)
        await setup.clock.advance(6)
        await setup.message(1, PHONE)
        await setup.message(1, PHONE)
        told = await metrics(setup)
    expected = {
        "smsc_gateway_budget_left mass": 1,
        "smsc_gateway_budget_left concurrency": 4,
        "smsc_gateway_messages_spent": 0,
        "smsc_gateway_provider_requests_in_flight": 0,
        "smsc_gateway_queue callers": 0,
        "smsc_gateway_queue background": 0,
        "smsc_gateway_answers_total cache": 1,
        "smsc_gateway_answers_total provider": 1,
        "smsc_gateway_unanswered_total": 1,
        "smsc_gateway_provider_request_duration_seconds_count single": 2,
        "smsc_gateway_provider_request_duration_seconds_sum single": 0,
        "smsc_gateway_provider_request_duration_seconds_count mass": 0,
        "smsc_gateway_provider_request_duration_seconds_sum mass": 0,
        "smsc_gateway_provider_requests_failed_total": 1,
        "smsc_gateway_messages_carried_total": 2,
        "smsc_gateway_records": 1,
        "smsc_gateway_breaker_state CLOSED": 1,
        "smsc_gateway_breaker_state OPEN": 0,
        "smsc_gateway_breaker_state HALF_OPEN": 0,
        "smsc_gateway_sharing ALONE": 1,
        "smsc_gateway_sharing SHARED": 0,
        "smsc_gateway_sharing LOST": 0,
        "smsc_gateway_archive_state ON": 0,
        "smsc_gateway_archive_state OFF": 1,
        "smsc_gateway_archive_state LOST": 0,
        "smsc_gateway_answer_age_seconds_count true": 2,
        "smsc_gateway_answer_age_seconds_sum true": 0,
        "smsc_gateway_answer_age_seconds_count false": 0,
        "smsc_gateway_answer_age_seconds_sum false": 0,
        f"smsc_gateway_info {__version__}": 1,
        "smsc_gateway_streams": 0,
        "smsc_gateway_wrong_keys_total": 0,
        "smsc_gateway_pushes_total accepted": 0,
        "smsc_gateway_pushes_total duplicate": 0,
        "smsc_gateway_pushes_total ignored": 0,
        "smsc_gateway_pushes_total refused": 0,
    }
    assert told == expected


async def test_metrics_tell_how_the_archive_is_doing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    async with running(ARCHIVE_URL=f"sqlite:///{folder}/archive.db") as setup:
        archive = setup.state["archive"]
        assert archive is not None
        await until(lambda: archive.report().rows is not None)
        await setup.message(1, PHONE)
        await setup.clock.advance(0.02)
        told = await metrics(setup)
        expected: dict[str, float] = {"state ON": 1, "state OFF": 0, "state LOST": 0}
        expected |= {"queue": 1, "lag_seconds": 0.02, "rows": 0, "errors_total": 0, "lost_total": 0}
        prefix = "smsc_gateway_archive_"
        shown = {name: value for name, value in told.items() if name.startswith(prefix)}
        assert shown == {prefix + name: value for name, value in expected.items()}
        report = (await setup.client.get("/v1/provider")).json()["archiveReport"]
        assert report == {"queue": 1, "lagSeconds": 0.02, "rows": 0, "errors": 0, "lost": 0}
        await archive.flush()
        assert (await metrics(setup))[f"{prefix}queue"] == 0


async def test_metrics_tell_that_the_archive_is_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with running(ARCHIVE_URL=f"sqlite:///{tmp_path}/file/archive.db") as setup:
        told = await metrics(setup)
        assert told["smsc_gateway_archive_state LOST"] == 1
        assert told["smsc_gateway_archive_errors_total"] == 1
        assert "smsc_gateway_archive_rows" not in told
        assert (await setup.message(1, PHONE)).status_code == 200
        assert (await setup.client.get("/readyz")).status_code == 200
        (tmp_path / "file").unlink()  # else the end waits for it


async def test_it_is_live_whatever_happens() -> None:
    async with running() as setup:
        await setup.fault("error", 4, times=-1)
        await setup.message(1, PHONE)
        answer = await setup.client.get("/livez")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_it_is_ready_while_it_can_answer() -> None:
    async with running() as setup:
        ready = await setup.client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "breaker": "CLOSED"})
        await setup.fault("error", 2, times=2)
        await setup.message(1, PHONE)
        broken = await setup.client.get("/readyz")
        assert (broken.status_code, broken.json()) == (
            503,
            {"status": "unavailable", "breaker": "OPEN", "reason": "UPSTREAM_AUTH_FAILED"},
        )
        await setup.clock.advance(10)
        await setup.message(1, PHONE)
        await setup.clock.advance(20)
        assert (await setup.client.get("/readyz")).json()["breaker"] == "HALF_OPEN"
        await setup.message(1, PHONE)
        await setup.fault("error", 2)
        await setup.message(100, LIVE)
        stale = await setup.client.get("/readyz")
        assert (stale.status_code, stale.json()["status"], stale.json()["reason"]) == (
            200,
            "ready",
            "UPSTREAM_AUTH_FAILED",
        )


async def test_without_its_redis_it_is_not_ready_unless_it_knows_something() -> None:
    with valkey() as server:
        async with running(REDIS_URL=server.url) as setup:
            assert (await setup.client.get("/readyz")).json()["status"] == "ready"
            server.stop()
            await until(lambda: setup.state["service"].link().sharing is Sharing.LOST)
            answer = await setup.client.get("/readyz")
            told = {"status": "unavailable", "breaker": "CLOSED", "reason": "REDIS_LOST"}
            assert (answer.status_code, answer.json()) == (503, told)
            answer = await setup.message(1, PHONE)
            assert (answer.status_code, answer.json()["code"]) == (503, "OVERLOADED")
            assert (await metrics(setup))["smsc_gateway_sharing LOST"] == 1
            server.start()
            await until(lambda: setup.state["service"].link().sharing is Sharing.SHARED)
            asking = asyncio.create_task(setup.message(1, PHONE))
            while not asking.done():  # until it has settled, by the server's clock
                await asyncio.sleep(0.1)
                await setup.clock.advance(0.1)
            assert (await asking).status_code == 200
            server.stop()
            await until(lambda: setup.state["service"].link().sharing is Sharing.LOST)
            assert (await setup.client.get("/readyz")).status_code == 200


async def test_it_starts_without_its_redis() -> None:
    async with running(REDIS_URL="unix:///nowhere/valkey.sock") as setup:
        assert (await setup.client.get("/livez")).status_code == 200
        assert (await setup.client.get("/readyz")).json()["reason"] == "REDIS_LOST"
