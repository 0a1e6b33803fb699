"""Handshakes of WebSockets that a real gateway refuses: what they are answered, what is logged."""

import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.callers import client
from tests.support.process import PLAIN, command
from tests.support.size import PATIENCE

PHONE = "79990000001"
LOGIN = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0"}
SPOKEN = {"Sec-WebSocket-Protocol": "graphql-transport-ws"}


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAIN, "XDG_STATE_HOME", str(tmp_path))


def handshake(address: str, path: str, headers: dict[str, str]) -> tuple[int, str, bytes]:
    """The status, media type and body of the answer."""
    asking = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE)
    needed = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    asking.request("GET", path, headers=needed | headers)
    answer = asking.getresponse()
    body = b"" if answer.status == 101 else answer.read()
    asking.close()
    return answer.status, answer.headers.get("content-type", ""), body


REFUSED: list[tuple[str, dict[str, str], int, str, str]] = [
    ("/graphql", SPOKEN | {"Origin": "http://evil.test"}, 403, "FORBIDDEN", "CORS_ORIGINS"),
    ("/graphql", SPOKEN | {"Origin": "http://127.0.0.1:1"}, 403, "FORBIDDEN", "CORS_ORIGINS"),
    ("/graphql", SPOKEN | {"Origin": "null"}, 403, "FORBIDDEN", "CORS_ORIGINS"),
    ("/graphql", SPOKEN | {"Sec-Fetch-Site": "cross-site"}, 403, "FORBIDDEN", "CORS_ORIGINS"),
    ("/graphql", SPOKEN | {"Host": "evil.test"}, 421, "HOST_NOT_ALLOWED", "ALLOWED_HOSTS"),
    ("/graphql", {}, 400, "INVALID_ARGUMENT", "graphql-transport-ws"),
    (
        "/graphql",
        {"Sec-WebSocket-Protocol": "graphql-ws"},
        400,
        "INVALID_ARGUMENT",
        "graphql-transport-ws",
    ),
    ("/v1/messages/1", SPOKEN, 404, "ROUTE_NOT_FOUND", "/graphql"),
    ("/nowhere", SPOKEN, 404, "ROUTE_NOT_FOUND", "/graphql"),
    ("/", SPOKEN, 404, "ROUTE_NOT_FOUND", "/graphql"),
]


@pytest.fixture(scope="module", name="address")
def _address() -> Iterator[str]:
    with command("serve", LOG_LEVEL="error", **LOGIN) as (_, address):
        yield address


@pytest.mark.parametrize(("path", "headers", "status", "code", "word"), REFUSED)
def test_a_refused_handshake_has_a_problem(
    path: str, headers: dict[str, str], status: int, code: str, word: str, address: str
) -> None:
    found, media, body = handshake(address, path, headers)
    assert (found, media) == (status, "application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert word in problem["detail"]


def test_others_are_let_in(address: str) -> None:
    for headers in ({}, {"Origin": address}):
        assert handshake(address, "/graphql", SPOKEN | headers)[0] == 101


def test_a_wrong_key_and_a_foreign_page_are_told_so_where_keys_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("one"))
    foreign = SPOKEN | {"Origin": "http://evil.test"}
    with command("serve", CLIENTS_FILE=str(path), LOG_LEVEL="error", **LOGIN) as (_, address):
        wrong = handshake(address, "/graphql", SPOKEN | {"Authorization": "Bearer wrong"})
        page = handshake(address, "/graphql", foreign)
    assert (wrong[0], json.loads(wrong[2])["code"]) == (401, "UNAUTHENTICATED")
    assert (page[0], json.loads(page[2])["code"]) == (403, "FORBIDDEN")


def test_the_log_tells_neither_the_query_nor_a_fault() -> None:
    with command("serve", **LOGIN) as (process, address):
        for headers in (SPOKEN, {}, SPOKEN | {"Origin": "http://evil.test"}):
            handshake(address, f"/graphql?phone={PHONE}", headers)
        process.send_signal(signal.SIGTERM)
        logged, _ = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in logged.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert sorted(line["status"] for line in requests) == [101, 400, 403]
    assert all(line["bytes"] for line in requests if line["status"] != 101)
    assert PHONE not in logged
    assert not [line for line in lines if line["level"] == "error"]
