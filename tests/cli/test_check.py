import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.accounts import Account
from gateway.archive.archive import Archive, open_database
from gateway.cli.check import cautions, check, strangers
from gateway.replicas import Replicas
from gateway.settings import load
from gateway.simulator import create_simulator, sample_world
from tests.archive.support import entry, key, set_revision
from tests.support.callers import client
from tests.support.clock import FakeClock
from tests.support.gateway import ENVIRON, settings
from tests.support.postgres import postgres
from tests.support.valkey import valkey
from tests.support.valkeys import HOST, cluster

NAMES = ["settings", "clients", "state", "archive", "documents", "redis", "login", "clock"]


class Provider(httpx.AsyncBaseTransport):
    """The simulator, as of a server whose clock shows `now`."""

    def __init__(self, now: float) -> None:
        simulator = create_simulator(sample_world(time.time))
        self.inner = httpx.ASGITransport(simulator)
        self.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        if self.date:
            answer.headers["date"] = self.date
        return answer

    async def asked(self) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(transport=self.inner) as asking:
            log: list[dict[str, Any]] = (await asking.get("http://p.test/control/log")).json()
            return log


def answering(body: bytes) -> httpx.Response:
    """An answer that has still to be read."""

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    return httpx.Response(200, content=chunks())


def look(
    tmp_path: Path,
    transport: httpx.AsyncBaseTransport | None = None,
    environ: Mapping[str, str] = ENVIRON,
    **more: str,
) -> dict[str, tuple[bool, str]]:
    clock = FakeClock()
    given = {"XDG_STATE_HOME": str(tmp_path)} | dict(environ) | more
    findings = list(check(given, clock, transport or Provider(clock.now)))
    return {finding.name: (finding.ok, finding.about) for finding in findings}


def test_all_is_well(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert list(found) == NAMES
    assert all(ok for ok, _ in found.values())
    assert found["state"][1] == str(tmp_path / "smsc-gateway")


def test_the_provider_is_asked_once_for_nobodys_message(tmp_path: Path) -> None:
    provider = Provider(time.time())
    look(tmp_path, provider)
    (asked,) = asyncio.run(provider.asked())
    assert (asked["pairs"], asked["mass"], asked["outcome"]) == (1, False, "ok")


def test_each_line_has_one_word_for_its_state(tmp_path: Path) -> None:
    given = {"XDG_STATE_HOME": str(tmp_path), **ENVIRON, "GATEWAY_SMSC_PASSWORD": "wrong"}
    lines = [str(finding) for finding in check(given, FakeClock(), Provider(FakeClock().now))]
    states = [re.fullmatch(r"([a-z]+) +(ok|caution|FAILED)(: .*)?", line) for line in lines]
    told = [(state[1], state[2]) for state in states if state]
    assert told == [
        ("settings", "caution"),
        *[(name, "ok") for name in ("clients", "state", "archive", "documents", "redis")],
        ("login", "FAILED"),
        ("clock", "ok"),
    ]
    assert lines[0] == (
        "settings  caution: GATEWAY_SMSC_URL: to provider.test login and password travel "
        "unencrypted (http)."
    )


def test_bad_settings_end_it(tmp_path: Path) -> None:
    found = look(tmp_path, GATEWAY_SMSC_FORMAT="4")
    assert list(found) == ["settings"]
    assert found["settings"][1].startswith("GATEWAY_SMSC_FORMAT: ")


def test_a_wrong_password(tmp_path: Path) -> None:
    found = look(tmp_path, GATEWAY_SMSC_PASSWORD="wrong")
    assert [name for name, (ok, _) in found.items() if not ok] == ["login"]
    assert "wrong" not in found["login"][1]


def test_a_provider_that_is_none(tmp_path: Path) -> None:
    def page(_: httpx.Request) -> httpx.Response:
        return answering(b"<h1>It works!</h1>")

    found = look(tmp_path, httpx.MockTransport(page))
    assert not found["login"][0]
    assert "GATEWAY_SMSC_URL" in found["login"][1]
    assert found["clock"] == (False, "the provider did not tell its time.")


def test_no_provider(tmp_path: Path) -> None:
    def nobody(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("")

    found = look(tmp_path, httpx.MockTransport(nobody))
    assert found["login"] == (False, "No connection to the provider can be made.")


def test_limits_that_are_used_up_are_no_wrong_login(tmp_path: Path) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return answering(b'{"error": "too many", "error_code": 9}')

    assert look(tmp_path, httpx.MockTransport(refuse))["login"][0]


@pytest.mark.parametrize(
    ("off", "ok", "told"),
    [
        (0.9, True, ""),
        (-2.9, True, ""),
        (2.0, True, ""),
        (10, False, "it is 10 s behind the provider's"),
        (-11, False, "it is 10 s ahead of the provider's"),
    ],
)
def test_a_clock_that_is_off(off: float, ok: bool, told: str, tmp_path: Path) -> None:
    found = look(tmp_path, Provider(FakeClock().now + off))["clock"]
    assert found[0] is ok
    assert found[1].startswith(told)


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "smsc-gateway").write_text("")
    ok, told = look(tmp_path)["state"]
    assert not ok
    assert "can't be written: File exists" in told


def test_the_archive_is_looked_at_and_not_begun(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/smsc-gateway/archive.db"
    assert look(tmp_path)["archive"] == (True, f"{place} has no tables yet")
    assert list((tmp_path / "smsc-gateway").iterdir()) == []
    asyncio.run(begin(place))
    assert look(tmp_path)["archive"] == (True, f"{place}, 1 record")
    asyncio.run(set_revision(place, "9999"))
    ok, told = look(tmp_path)["archive"]
    assert not ok
    assert told.startswith("The archive was written by a newer release (its schema is 9999): ")


async def begin(url: str) -> None:
    """An archive of one record."""
    archive = Archive(open_database(url), FakeClock(), content=False, days=0)
    archive.record(key(), entry(key()))
    await archive.flush()
    await archive.aclose()


def test_an_archive_on_a_server(tmp_path: Path) -> None:
    with postgres() as server, server.database() as url:
        ok, told = look(tmp_path, GATEWAY_ARCHIVE_URL=url)["archive"]
        assert (ok, told.endswith(" has no tables yet")) == (True, True)
        asyncio.run(begin(url))
        ok, told = look(tmp_path, GATEWAY_ARCHIVE_URL=url)["archive"]
        assert (ok, told.endswith(", 1 record")) == (True, True)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"GATEWAY_ARCHIVE_URL": "none"},
            "archive   ok: The archive is off: GATEWAY_ARCHIVE_URL is none.",
        ),
        (
            {"GATEWAY_REDIS_URL": "unix:///nowhere/valkey.sock"},
            "archive   caution: The archive is off: several replicas need GATEWAY_ARCHIVE_URL=p",
        ),
        (
            {"GATEWAY_ARCHIVE_URL": "postgresql://me:hidden@127.0.0.1:1/archive?password=hidden"},
            "archive   FAILED: postgresql://127.0.0.1:1/archive fails: OperationalError: ",
        ),
        (
            {"GATEWAY_ARCHIVE_URL": "sqlite:////dev/null/archive.db"},
            "archive   FAILED: sqlite:////dev/null/archive.db fails: FileExistsError: ",
        ),
        (
            {"GATEWAY_ARCHIVE_URL": f"sqlite:///{__file__}"},
            f"archive   FAILED: sqlite:///{__file__} fails: DatabaseError: file is not a database.",
        ),
    ],
)
def test_an_archive_that_is_off_or_away(environ: dict[str, str], told: str, tmp_path: Path) -> None:
    given = {"XDG_STATE_HOME": str(tmp_path), **ENVIRON, **environ}
    lines = [str(finding) for finding in check(given, FakeClock(), Provider(FakeClock().now))]
    (line,) = [line for line in lines if line.startswith("archive ")]
    assert line.startswith(told)
    assert "hidden" not in line


def test_an_archive_without_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.find_spec", lambda _: None)
    ok, told = look(tmp_path, GATEWAY_ARCHIVE_URL="postgresql://host/archive")["archive"]
    assert not ok
    assert "pip install 'smsc-gateway[postgres]'" in told


def test_clients_and_documents_are_read(tmp_path: Path) -> None:
    clients, documents = tmp_path / "clients.toml", tmp_path / "documents.json"
    clients.write_text(client("a"))
    documents.write_text("{}")
    files = {
        "GATEWAY_CLIENTS_FILE": str(clients),
        "GATEWAY_TRUSTED_DOCUMENTS": str(documents),
    }
    found = look(tmp_path, environ=ENVIRON | files)
    assert (found["clients"][0], found["documents"][0]) == (True, True)
    clients.write_text(client("a") * 2)
    documents.write_text("[")
    found = look(tmp_path, environ=ENVIRON | files)
    assert (found["clients"][0], found["documents"][0]) == (False, False)


def test_a_redis_that_can_be_shared(tmp_path: Path) -> None:
    with valkey() as server:
        found = look(tmp_path, GATEWAY_REDIS_URL=server.url)
        assert found["redis"] == (True, f"valkey {server.client.info()['valkey_version']}")
        assert found["state"] == (True, "kept by Redis")
        server.client.config_set("maxmemory", "1gb")
        assert look(tmp_path, GATEWAY_REDIS_URL=server.url)["redis"][0]
        server.client.config_set("maxmemory-policy", "allkeys-lru")
        ok, told = look(tmp_path, GATEWAY_REDIS_URL=server.url)["redis"]
        assert (ok, "set noeviction" in told) == (False, True)


def test_a_redis_that_can_not_be_shared(tmp_path: Path) -> None:
    ok, told = look(tmp_path, GATEWAY_REDIS_URL="unix:///nowhere/valkey.sock")["redis"]
    assert not ok
    assert "No such file" in told
    with valkey() as server:
        url = server.url_for("gateway", "right") + "-not"
        ok, told = look(tmp_path, GATEWAY_REDIS_URL=url)["redis"]
        assert not ok
        assert "right" not in told
        assert "password" in told


def test_a_redis_that_moves(tmp_path: Path) -> None:
    with cluster() as nodes:
        account = Account("", settings()).identity
        owner = nodes.owner(Replicas(nodes.url, account).prefix)
        version = owner.info("server")["valkey_version"]
        found = look(tmp_path, GATEWAY_REDIS_URL=nodes.url)["redis"]
        assert found == (True, f"valkey {version} at {HOST}:{owner.port}")
        other = next(one for one in nodes.nodes[:3] if one is not owner)
        url = f"redis://{HOST}:{other.port}"
        ok, told = look(tmp_path, GATEWAY_REDIS_URL=url)["redis"]
        assert (ok, "write its address as redis+cluster://" in told) == (False, True)


def test_a_redis_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.find_spec", lambda _: None)
    ok, told = look(tmp_path, GATEWAY_REDIS_URL="redis://valkey")["redis"]
    assert not ok
    assert "pip install 'smsc-gateway[redis]'" in told


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, []),
        (
            {"GATEWAY_SMSC_URL": "http://smsc.example/sys/"},
            ["GATEWAY_SMSC_URL: to smsc.example login and password travel unencrypted (http)."],
        ),
        ({"GATEWAY_SMSC_URL": "http://127.0.0.1:8081/sys/", "http_proxy": "http://p"}, []),
        (
            {"GATEWAY_SMSC_URL": "https://smsc.example/sys/", "HTTPS_PROXY": "http://p"},
            ["Requests to smsc.example go through the proxy of HTTPS_PROXY."],
        ),
        (
            {"GATEWAY_SMSC_URL": "http://smsc.example/sys/", "ALL_PROXY": "http://p"},
            [
                "GATEWAY_SMSC_URL: to smsc.example login and password travel unencrypted (http).",
                (
                    "Requests to smsc.example go through the proxy of ALL_PROXY, which sees login "
                    "and password."
                ),
            ],
        ),
    ],
)
def test_what_whoever_runs_it_should_know(environ: dict[str, str], told: list[str]) -> None:
    given = {"GATEWAY_SMSC_LOGIN": "a", "GATEWAY_SMSC_PASSWORD": "b", **environ}
    assert list(cautions(load(given), given)) == told


def test_what_strangers_may_is_told() -> None:
    given = {"GATEWAY_SMSC_API_KEY": "k", "GATEWAY_HOST": "::", "GATEWAY_ALLOW_ANONYMOUS": "1"}
    assert strangers(load(given)) == "Callers without a key may: status:read."
    told = strangers(load(given | {"GATEWAY_ANONYMOUS_SCOPES": ""}))
    assert told == "Callers without a key may do nothing: GATEWAY_ANONYMOUS_SCOPES is empty."
