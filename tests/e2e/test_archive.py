"""The archive of real processes: killed, stopped, started together, without their database."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gateway.simulator import Limits, Report, create_simulator, sample_world
from tests.support.postgres import Postgres, postgres
from tests.support.process import PLAIN, command, drained
from tests.support.server import serving, wait_until
from tests.support.size import PATIENCE, size, soak

pytestmark = pytest.mark.anyio

ROUNDS = size(small=3, whole=20)
PARTS = size(small=1, whole=2)
CALLERS = 3
IDS = range(10_000, 60_000)
PHONE = "79990001000"
ONLY_KNOWN = {"cache-control": "only-if-cached"}


@dataclass
class Provider:
    """A provider that knows a final state of each of `IDS`, and counts what it is asked."""

    address: str
    limits: Limits

    @property
    def settings(self) -> dict[str, str]:
        login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0"}
        return {"SMSC_URL": f"{self.address}/sys", **login}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    world = sample_world(time.time)
    sent = int(time.time())
    for id_ in IDS:
        world.add(Report(id=id_, phone=PHONE, status=1, sent=sent, flag=0, err=0))
    limits = Limits(time.monotonic)
    simulator = create_simulator(
        world, monotonic=time.monotonic, sleep=asyncio.sleep, limits=limits
    )
    with serving(simulator) as address:
        yield Provider(address, limits)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@contextmanager
def gateway(
    provider: Provider, **settings: str
) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    """A gateway process, and who asks it; what it prints is read."""
    given = {**provider.settings, "LOG_LEVEL": "warning", **settings}
    with (
        command("serve", **given) as (process, address),
        drained(process),
        httpx.Client(base_url=address, timeout=PATIENCE) as client,
    ):
        yield process, client


def ask(client: httpx.Client, id: int, headers: dict[str, str] | None = None) -> int:
    """The status of the answer for a message."""
    url = f"/v1/messages/{id}?phone={PHONE}&fields=state"
    return client.get(url, headers=headers).status_code


def report(client: httpx.Client) -> dict[str, object]:
    told: dict[str, object] = client.get("/v1/provider").json()
    return told


@dataclass
class Load:
    """Who asks for one message after the other, and when each was answered."""

    ids: Iterator[int]
    answered: dict[int, float] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)

    async def ask(self, client: httpx.AsyncClient) -> None:
        for id_ in self.ids:
            try:
                url = f"/v1/messages/{id_}?phone={PHONE}&fields=state"
                status = (await client.get(url)).status_code
            except httpx.TransportError:
                return  # it was killed
            if status == httpx.codes.OK:
                self.answered[id_] = time.monotonic()
            else:
                self.failed.append(status)


@asynccontextmanager
async def loaded(address: str, load: Load) -> AsyncIterator[httpx.AsyncClient]:
    """Callers that ask until the block ends, or nobody answers."""
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
        callers = [asyncio.create_task(load.ask(client)) for _ in range(CALLERS)]
        try:
            yield client
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)


async def kill_under_load(provider: Provider, folder: Path, ids: Iterator[int], seed: int) -> None:
    """What the gateway had known for longer than what waited then is there, and the file is sound.

    It says itself how long the oldest has waited: a busy machine does not decide.
    """
    load = Load(ids)
    before: set[int] = set()
    with gateway(provider, STATE_DIR=str(folder)) as (process, sync):
        async with loaded(str(sync.base_url), load) as client:
            wanted = random.Random(seed).randrange(20, 120)
            while len(before) < wanted:
                asked_at = time.monotonic()
                told = (await client.get("/v1/provider")).json()
                assert told["archive"] == "ON"
                known_at = asked_at - told["archiveReport"]["lagSeconds"] - 0.01
                before |= {id_ for id_, at in load.answered.items() if at < known_at}
            process.kill()
            process.wait(timeout=PATIENCE)
    # What was under way when it was killed counts for the limits until nobody can doubt its end.
    assert {*load.failed} <= {httpx.codes.TOO_MANY_REQUESTS}
    with closing(sqlite3.connect(folder / "archive.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {id_ for (id_,) in database.execute("SELECT id FROM records")}
        assert database.execute("SELECT count(*) FROM changes").fetchone() == (len(kept),)
    assert before - kept == set()


@soak
@pytest.mark.parametrize("part", range(PARTS))
async def test_a_kill_costs_no_more_than_what_waited(
    provider: Provider, tmp_path: Path, part: int
) -> None:
    ids = iter(IDS[part * 8000 : (part + 1) * 8000])
    for round_ in range(ROUNDS // PARTS):
        await kill_under_load(provider, tmp_path, ids, seed=part * 100 + round_)
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*.broken-*")))


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_all_is_written_at_the_end_and_known_at_the_start(
    provider: Provider, server: Postgres, tmp_path: Path, engine: str
) -> None:
    ids = IDS[40_000:40_050]
    with ExitStack() as stack:
        settings = {"STATE_DIR": str(tmp_path)}
        if engine == "postgres":
            settings["ARCHIVE_URL"] = stack.enter_context(server.database())
        with gateway(provider, **settings) as (_, client):
            assert {ask(client, id_) for id_ in ids} == {200}
        asked = provider.limits.admitted
        with gateway(provider, **settings) as (_, client):
            assert {ask(client, id_, ONLY_KNOWN) for id_ in ids} == {200}
            assert {ask(client, id_) for id_ in ids} == {200}
        assert provider.limits.admitted == asked


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_two_that_start_together_on_nothing(
    provider: Provider, server: Postgres, tmp_path: Path, engine: str
) -> None:
    with ExitStack() as stack:
        folder = tmp_path / "state"
        settings = {"STATE_DIR": str(folder)}
        if engine == "postgres":
            settings["ARCHIVE_URL"] = stack.enter_context(server.database())
        environ = PLAIN | {
            f"GATEWAY_{name}": value for name, value in (provider.settings | settings).items()
        }
        both = [_start(stack, environ) for _ in range(2)]
        told = [_address_and_log(process) for process in both]
        clients = [
            stack.enter_context(httpx.Client(base_url=address, timeout=PATIENCE))
            for address, _ in told
        ]
        assert [report(client)["archive"] for client in clients] == ["ON", "ON"]
        assert [log for _, log in told] == [[], []]
        for client, id_ in zip(clients, IDS[41_000:], strict=False):
            assert ask(client, id_) == 200
            wait_until(lambda client=client: report(client)["archiveReport"]["queue"] == 0)  # type: ignore[misc, index]
        for client in clients:
            for id_ in IDS[41_000:41_002]:
                assert ask(client, id_, ONLY_KNOWN) == 200


def _start(stack: ExitStack, environ: dict[str, str]) -> "subprocess.Popen[str]":
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    stack.callback(process.communicate)
    stack.callback(process.terminate)
    return process


def _address_and_log(process: "subprocess.Popen[str]") -> tuple[str, list[str]]:
    """Where it listens, and what it warned of before."""
    assert process.stdout is not None
    log: list[str] = []
    for line in process.stdout:
        if " listens on " in line:
            return line.split(" listens on ")[1].strip(), log
        told = json.loads(line)
        if told["level"] != "info" and "archive" in told["logger"]:
            log.append(line)
    raise AssertionError(log)


async def test_no_request_fails_while_postgres_is_killed_and_started_again(
    provider: Provider, server: Postgres, tmp_path: Path
) -> None:
    load = Load(iter(IDS[42_000:]))
    with server.database() as address:
        settings = {"ARCHIVE_URL": address, "STATE_DIR": str(tmp_path)}
        with gateway(provider, **settings) as (_, sync):
            async with loaded(str(sync.base_url), load) as client:

                async def told(state: str) -> None:
                    async with asyncio.timeout(PATIENCE):
                        while (await client.get("/v1/provider")).json()["archive"] != state:  # noqa: ASYNC110 - no event crosses processes
                            await asyncio.sleep(0.02)

                async def answered(more: int) -> None:
                    wanted = len(load.answered) + more
                    async with asyncio.timeout(PATIENCE):
                        while len(load.answered) < wanted:  # noqa: ASYNC110 - as above
                            await asyncio.sleep(0.02)

                await answered(20)
                await asyncio.to_thread(server.kill)
                try:
                    await told("LOST")
                    await answered(50)
                finally:
                    await asyncio.to_thread(server.start)
                await told("ON")
                await answered(20)
        assert load.failed == []
        kept = server.execute(address, "SELECT id FROM records")
        assert {id_ for (id_,) in kept} >= set(load.answered)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_newer_schema_stops_it_with_one_sentence(
    provider: Provider, server: Postgres, tmp_path: Path, engine: str
) -> None:
    with ExitStack() as stack:
        address = f"sqlite:///{tmp_path}/archive.db"
        if engine == "postgres":
            address = stack.enter_context(server.database())
        settings = {"ARCHIVE_URL": address, "STATE_DIR": str(tmp_path)}
        with gateway(provider, **settings):
            pass
        newer = "UPDATE alembic_version SET version_num = '9999'"
        if engine == "postgres":
            server.execute(address, newer)
        else:
            with closing(sqlite3.connect(tmp_path / "archive.db")) as database, database:
                database.execute(newer)
        given = {**provider.settings, **settings, "LOG_LEVEL": "warning"}
        ended = subprocess.run(
            [sys.executable, "-m", "gateway", "serve"],
            env=PLAIN | {f"GATEWAY_{name}": value for name, value in given.items()},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        "Error: The archive was written by a newer release (its schema is 9999): install that one, "
        "or name another database in GATEWAY_ARCHIVE_URL.\n"
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_no_number_is_logged_whatever_the_level(
    provider: Provider, server: Postgres, tmp_path: Path, engine: str
) -> None:
    with ExitStack() as stack:
        settings = {"STATE_DIR": str(tmp_path), "LOG_LEVEL": "debug"}
        if engine == "postgres":
            settings["ARCHIVE_URL"] = stack.enter_context(server.database())
        given = {**provider.settings, **settings}
        environ = PLAIN | {f"GATEWAY_{name}": value for name, value in given.items()}
        process = _start(stack, environ)
        assert process.stdout is not None
        printed = ""
        while " listens on " not in printed:
            printed += process.stdout.readline()
        address = printed.split(" listens on ")[1].strip()
        with httpx.Client(base_url=address, timeout=PATIENCE) as client:
            assert ask(client, IDS[43_000]) == 200
            wait_until(lambda: report(client)["archiveReport"]["queue"] == 0)  # type: ignore[index]
            assert client.get(f"/v1/records?phone={PHONE}").status_code == 200
        process.terminate()
        rest, _ = process.communicate(timeout=PATIENCE)
    assert rest
    assert PHONE not in printed + rest
