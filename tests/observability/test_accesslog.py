import asyncio
import io
import json
import logging
import threading
from datetime import UTC, datetime

import pytest

from gateway.observability import accesslog
from gateway.observability.accesslog import AccessLog
from gateway.observability.logs import REQUEST_ID, configure_logging, masked_caller

pytestmark = pytest.mark.anyio


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Telling(io.StringIO):
    """Tells when it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def flush(self) -> None:
        self.written.set()


class Full(io.StringIO):
    """Takes nothing, and counts what it was to take."""

    tries = 0

    def write(self, _: str) -> int:
        self.tries += 1
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


async def test_lines_wait_for_each_other() -> None:
    stream = Telling()
    log = AccessLog(stream, delay=0.01)
    log.write({"n": 1})
    log.write({"n": 2})
    assert stream.getvalue() == ""
    await asyncio.wait_for(stream.written.wait(), 10)
    assert stream.getvalue() == '{"n":1}\n{"n":2}\n'


async def test_much_does_not_wait() -> None:
    stream = io.StringIO()
    log = AccessLog(stream, delay=3600)
    line = {"text": "x" * 1000}
    for _ in range(accesslog.FULL // 1000 + 1):
        log.write(line)
    assert len(stream.getvalue()) > accesslog.FULL


async def test_no_line_is_lost_between_threads() -> None:
    stream = io.StringIO()
    log = AccessLog(stream, delay=3600)
    stopped = threading.Event()

    def flush() -> None:
        while not stopped.is_set():
            log.flush()

    thread = threading.Thread(target=flush)
    thread.start()
    for n in range(20_000):
        log.write({"n": n})
    stopped.set()
    thread.join()
    log.flush()
    assert [json.loads(line)["n"] for line in stream.getvalue().splitlines()] == [*range(20_000)]


async def test_a_full_disk_stops_nobody() -> None:
    full = Full()
    log = AccessLog(full, delay=3600)
    for n in range(2):
        log.write({"n": n})
        log.flush()
    assert full.tries == 2


async def test_lines_stay_in_the_order_of_what_happened() -> None:
    stream = io.StringIO()
    log = configure_logging("info", "json", stream)
    assert log is not None
    REQUEST_ID.set("an-id-of-mine")
    log.write({"event": "first"})
    logging.getLogger("any").info("second")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["first", "second"]
    assert lines[1]["request_id"] == "an-id-of-mine"


async def test_a_terminal_shows_lines_at_once_for_people() -> None:
    stream = Terminal()
    log = configure_logging("info", "auto", stream)
    assert log is not None
    log.write({"event": "request", "level": "info", "timestamp": "now", "status": 200})
    assert "request" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(("level", "told"), [("debug", True), ("info", True), ("warning", False)])
async def test_requests_are_told_at_info(level: str, told: bool) -> None:
    assert (configure_logging(level, "json", io.StringIO()) is not None) is told


@pytest.mark.parametrize("name", ["httpx", "uvicorn.access", "uvicorn.error", "websockets.server"])
async def test_libraries_tell_no_payloads_even_at_debug(name: str) -> None:
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    logging.getLogger(name).debug("> TEXT 79990000001")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("line", ['%s - "WebSocket %s" 403', '%s - "WebSocket %s" [accepted]'])
async def test_the_server_tells_no_path_of_a_socket(line: str) -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    logging.getLogger("uvicorn.error").info(line, "127.0.0.1:1", "/graphql?phone=79990000001")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("crm", "crm"),
        ("", ""),
        ("79990000001", "79990000001"),  # of the clients file: whoever runs the gateway wrote it
        ("jwt:service-a", "jwt:service-a"),
        ("jwt:ivan@example.com", "jwt:…"),
        ("jwt:79990000001", "jwt:…01"),
        ("jwt:+79990000001", "jwt:+…01"),
        ("jwt:tel:79990000001", "jwt:tel:…01"),
        ("jwt:tel:+7-999-000-00-01", "jwt:tel:+…01"),
        ("jwt:user 8 (999) 000-00-01 x", "jwt:user …01 x"),
        ("jwt:shard-1234", "jwt:shard-1234"),
    ],
)
async def test_callers_in_the_log(name: str, shown: str) -> None:
    assert masked_caller(name) == shown


async def test_all_lines_have_one_spelling() -> None:
    stream = io.StringIO()
    log = configure_logging("info", "json", stream)
    assert log is not None
    moment = datetime(2026, 11, 27, 7, 0, 0, 1, UTC)
    named = {"event": "request", "level": "info", "logger": "a", "timestamp": moment}
    log.write(named | {"route": "/«x»"})
    log.flush()
    logging.getLogger("uvicorn.error").info("started «x»")
    told = stream.getvalue().splitlines()
    assert all(", " not in line and '": ' not in line for line in told)
    assert [list(json.loads(line))[:4] for line in told] == [list(named)] * 2
    assert "«x»" in told[1]
