"""What strangers can do to a real gateway before anybody asks who they are."""

import http.client
import os
import re
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.callers import client
from tests.support.process import PLAIN, command
from tests.support.server import closed_port

SETTINGS = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0", "LOG_LEVEL": "error"}
MEGABYTE = 1024 * 1024

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAIN, "XDG_STATE_HOME", str(tmp_path))


def memory(pid: int) -> int:
    """Resident bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def cpu_ticks(pid: int) -> int:
    """Time of the processor that a process used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def connect(address: str) -> socket.socket:
    netloc = urlsplit(address)
    return socket.create_connection((netloc.hostname, netloc.port), timeout=30)


def pour(address: str, begin: bytes, piece: bytes, pieces: int) -> bytes:
    """Send all of it, or as much as the server reads; gives how its answer begins."""
    with connect(address) as connection, suppress(ConnectionError):
        connection.sendall(begin)
        with suppress(ConnectionError):
            for _ in range(pieces):
                connection.sendall(piece)
        return connection.recv(100)
    return b""


GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST /graphql HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        pytest.param(GET + b"x: ", b"x" * MEGABYTE, id="a long header"),
        pytest.param(GET, b"x: y\r\n" * (MEGABYTE // 6), id="many headers"),
        pytest.param(b"GET /", b"x" * MEGABYTE, id="a long address"),
        pytest.param(CHUNKED + b"x: ", b"x" * MEGABYTE, id="a long trailer"),
    ],
)
def test_a_huge_head_costs_no_more_than_as_many_bytes_of_a_body(begin: bytes, piece: bytes) -> None:
    body = b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (32 * MEGABYTE)
    with command("serve", **SETTINGS) as (process, address):

        def cost(work: Callable[[], object]) -> int:
            before = cpu_ticks(process.pid)
            for _ in range(8):
                work()
            return cpu_ticks(process.pid) - before

        cost(lambda: pour(address, body, b"x" * MEGABYTE, 32))  # all that is loaded once
        yardstick = cost(lambda: pour(address, body, b"x" * MEGABYTE, 32))
        attack = cost(lambda: pour(address, begin, piece, 32))
        assert attack <= 2 * yardstick
        assert httpx.get(f"{address}/livez").status_code == 200


def test_nothing_that_strangers_send_is_kept() -> None:
    """Each of these headers is read by something that remembers what it read."""
    nobody = f"http://127.0.0.1:{closed_port()}/sys/"
    with command("serve", SMSC_URL=nobody, **SETTINGS) as (process, address):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)

        def ask(n: int) -> None:
            odd = f"x{n:05}" + "x" * 10_000
            headers = {
                "Accept": f"*/*, a/{odd}",
                "Accept-Encoding": f"gzip, {odd}",
                "Content-Type": f"application/json; x={odd}",
                "Cache-Control": f"max-age=5, only-if-cached, {odd}",
                "Prefer": f"wait=0, {odd}",
            }
            body = b'{"query": "{ __schema { types { name } } }"}'
            connection.request("POST", "/graphql", body, headers)
            assert connection.getresponse().read().startswith(b"\x1f\x8b")  # gzip's
            connection.request("GET", "/v1/messages/1?phone=79990000001", headers=headers)
            assert b"NOT_CACHED" in connection.getresponse().read()

        for n in range(30):
            ask(n)
        before = memory(process.pid)
        for n in range(400):
            ask(30 + n)
        connection.close()
        assert memory(process.pid) - before < 4 * MEGABYTE


@contextmanager
def at_most(descriptors: int) -> Iterator[None]:
    """Processes that are started meanwhile may have so many files and sockets open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HALF = b"POST /v1/callbacks/smsc HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nid="


@pytest.mark.parametrize(
    "sent", [b"", GET + b"x: ", HALF], ids=["silence", "half heads", "half bodies"]
)
def test_probes_are_answered_whoever_holds_the_connections(sent: bytes) -> None:
    with ExitStack() as stack:
        with at_most(200):
            serve = command("serve", CALLBACK_SECRET="a-long-enough-secret", **SETTINGS)
            _, address = stack.enter_context(serve)
        for _ in range(250):
            connection = stack.enter_context(connect(address))
            with suppress(ConnectionError):
                connection.sendall(sent)
        for path in ("/livez", "/readyz"):
            for _ in range(5):
                assert httpx.get(address + path).status_code in {200, 503}
        assert httpx.get(f"{address}/livez").status_code == 200


def wrong_keys(address: str) -> list[int]:
    """What twenty wrong keys get that claim to come from twenty addresses."""
    with httpx.Client() as caller:
        return [
            caller.get(
                f"{address}/v1/provider",
                headers={"authorization": f"Bearer wrong-{n}", "x-forwarded-for": f"192.0.2.{n}"},
            ).status_code
            for n in range(20)
        ]


def test_nobody_hides_behind_a_made_up_address(tmp_path: Path) -> None:
    (tmp_path / "clients.toml").write_text(client("good"))
    known = SETTINGS | {"CLIENTS_FILE": str(tmp_path / "clients.toml")}
    with command("serve", **known) as (_, address):
        assert 429 in wrong_keys(address)
    with command("serve", TRUSTED_PROXIES="127.0.0.0/8", **known) as (_, address):
        assert set(wrong_keys(address)) == {401}


def test_the_same_holds_without_httptools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on PyPy."""
    (tmp_path / "httptools.py").write_text("raise ImportError\n")
    monkeypatch.setitem(PLAIN, "PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with command("serve", **SETTINGS) as (_, address):
        assert httpx.get(f"{address}/livez").status_code == 200
        assert b" 431 " in pour(address, GET + b"x: ", b"x" * MEGABYTE, 1)
        assert b" 400 " in pour(address, b"GET /livez HTTP/1.1\r\n\r\n", b"", 0)
