"""SIGTERM under load: what was asked is answered in full, and nothing that was spent is lost."""

import http.client
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.collector import Collector
from tests.support.process import PLAIN, command
from tests.support.server import serving
from tests.support.size import PATIENCE

HAMMERS = 8
PHONE = "79990000001"
LOGIN = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0", "LOG_LEVEL": "warning"}


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAIN, "XDG_STATE_HOME", str(tmp_path))


@dataclass
class Outcome:
    """What became of one thread's requests. `broken` are those that were sent and not answered."""

    answers: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    said_close: int = 0


class Hammer(threading.Thread):
    """Asks again and again over one connection, until nobody listens any more.

    It opens a new one when it was told that the last answer was the last.
    """

    def __init__(self, address: str, pause: float) -> None:
        super().__init__(daemon=True)
        self.outcome = Outcome()
        self._netloc = urlsplit(address).netloc
        self._pause = pause

    def run(self) -> None:
        while True:
            connection = http.client.HTTPConnection(self._netloc, timeout=PATIENCE)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            except OSError as error:
                self.outcome.broken.append(f"connect: {error!r}")
                return
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self.outcome.broken.append(repr(error))
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        while True:
            connection.request("GET", f"/v1/messages/1?phone={PHONE}")
            answer = connection.getresponse()
            answer.read()
            self.outcome.answers[answer.status] += 1
            if answer.will_close:
                self.outcome.said_close += 1
                return
            time.sleep(self._pause)


@pytest.mark.parametrize("delay", ["0", "0.5"])
def test_no_request_fails_when_the_gateway_is_told_to_stop(delay: str) -> None:
    with (
        command("simulator", "--port", "0") as (_, provider),
        command("serve", SMSC_URL=f"{provider}/sys", SHUTDOWN_DELAY=delay, **LOGIN) as (
            process,
            address,
        ),
    ):
        httpx.get(f"{address}/v1/messages/1", params={"phone": PHONE}).raise_for_status()
        hammers = [Hammer(address, pause=0.001 * n) for n in range(HAMMERS)]
        for hammer in hammers:
            hammer.start()
        while sum(hammer.outcome.answers.total() for hammer in hammers) < 500:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for hammer in hammers:
            hammer.join(timeout=PATIENCE)
        assert process.wait(timeout=PATIENCE) in {0, -signal.SIGTERM}
    outcomes = [hammer.outcome for hammer in hammers]
    assert [outcome.broken for outcome in outcomes] == [[]] * HAMMERS
    assert {status for outcome in outcomes for status in outcome.answers} == {200}
    assert all(outcome.said_close for outcome in outcomes)


def test_what_is_under_way_is_answered_and_spent_for_good() -> None:
    items = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(10)]
    with command("simulator", "--port", "0") as (_, provider), ExitStack() as stack:
        serve = command("serve", SMSC_URL=f"{provider}/sys", **LOGIN)
        process, address = stack.enter_context(serve)
        httpx.post(f"{provider}/control/latency", json={"seconds": 1.5}).raise_for_status()
        answers: list[httpx.Response] = []

        def ask() -> None:
            url = f"{address}/v1/statuses/batch"
            answers.append(httpx.post(url, json={"items": items}, timeout=PATIENCE))

        asking = threading.Thread(target=ask)
        asking.start()
        while not httpx.get(f"{address}/v1/provider").json()["inFlight"]:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        asking.join(timeout=PATIENCE)
        process.wait(timeout=PATIENCE)
        (answer,) = answers
        assert {result["outcome"] for result in answer.json()["results"]} == {"FOUND"}
        assert answer.headers["connection"] == "close"
        with command("serve", SMSC_URL=f"{provider}/sys", **LOGIN) as (_, again):
            budgets = httpx.get(f"{again}/v1/provider").json()["budgets"]
            assert budgets["mass"]["left"] == 0


def test_the_last_spans_and_metrics_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    with command("simulator", "--port", "0") as (_, provider), serving(collector.app) as traces:
        monkeypatch.setitem(PLAIN, "OTEL_EXPORTER_OTLP_ENDPOINT", traces)
        with command("serve", SMSC_URL=f"{provider}/sys", **LOGIN) as (_, address):
            httpx.get(f"{address}/v1/messages/1", params={"phone": PHONE}).raise_for_status()
    assert "GET /v1/messages/{id}" in collector.text()
    assert "POST status.php" in collector.text()
    assert b"http.server.request.duration" in collector.metrics[-1]


def test_streams_end_and_nobody_waits_for_them() -> None:
    query = 'subscription { status(id: 100, phone: "79990000100") { state } }'
    with (
        command("simulator", "--port", "0") as (_, provider),
        command("serve", SMSC_URL=f"{provider}/sys", **LOGIN) as (process, address),
        httpx.stream(
            "POST",
            f"{address}/graphql",
            json={"query": query},
            headers={"accept": "text/event-stream"},
            timeout=PATIENCE,
        ) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: next"
        process.send_signal(signal.SIGTERM)
        list(lines)
        process.wait(timeout=PATIENCE)
        assert process.stdout is not None
        assert "graceful shutdown exceeded" not in process.stdout.read()


def test_load_balancers_are_told_before_anybody_is_turned_away() -> None:
    with (
        command("simulator", "--port", "0") as (_, provider),
        command("serve", SMSC_URL=f"{provider}/sys", SHUTDOWN_DELAY="300", **LOGIN) as (
            process,
            address,
        ),
    ):
        assert httpx.get(f"{address}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while (told := httpx.get(f"{address}/readyz")).status_code == 200:
            assert time.monotonic() < deadline
        assert (told.status_code, told.json()["reason"]) == (503, "STOPPING")
        answer = httpx.get(f"{address}/v1/messages/1", params={"phone": PHONE})
        assert answer.json()["state"] == "DELIVERED"
        process.send_signal(signal.SIGTERM)  # a second one has nobody wait any longer
        process.wait(timeout=PATIENCE)
