"""The commands as a user runs them: processes, ports, signals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from gql import Client, gql
from gql.transport.httpx import HTTPXTransport

import gateway
from gateway import __version__
from gateway.cli.main import main
from tests.archive.support import set_revision
from tests.support.callers import client
from tests.support.process import PLAIN, command, running, served
from tests.support.server import closed_port
from tests.support.size import PATIENCE
from tests.support.valkey import valkey


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAIN, "XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("fmt", "0123")
def test_demo_answers_in_every_format(fmt: str) -> None:
    with command("demo", "--simulator-port", "0", PORT="0", SMSC_FORMAT=fmt) as (_, address):
        record = httpx.get(f"{address}/v1/messages/1?phone=79990000001&fields=state").json()
        assert record["state"] == "DELIVERED"
        lookup = httpx.get(f"{address}/v1/hlr-lookups/2?phone=79990000001").json()
        assert lookup["reachability"] == "REACHABLE"
        with Client(transport=HTTPXTransport(f"{address}/graphql")) as session:
            answer = session.execute(gql('{ status(id: 3, phone: "79990000003") { isFinal } }'))
        assert answer == {"status": {"isFinal": True}}


def test_serve_asks_the_simulator() -> None:
    with command("simulator", "--port", "0") as (_, provider):
        login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo"}
        with command("serve", PORT="0", SMSC_URL=f"{provider}/sys", **login) as (_, address):
            answer = httpx.get(f"{address}/v1/messages/404?phone=380990000001")
            assert answer.json()["code"] == "NOT_FOUND"
            assert httpx.get(f"{address}/readyz").status_code == 200
        assert httpx.get(f"{provider}/control/stats").json()["requests"] == 1


def test_a_gateway_that_is_killed_breaks_no_limit_when_it_is_back(tmp_path: Path) -> None:
    items = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(10)]
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0"}
    with command("simulator", "--port", "0") as (_, provider):
        for _ in range(3):
            with command("serve", SMSC_URL=f"{provider}/sys", **login) as (process, address):
                answer = httpx.post(
                    f"{address}/v1/statuses/batch", json={"items": items}, timeout=PATIENCE
                )
                assert {result["outcome"] for result in answer.json()["results"]} == {"FOUND"}
                mass = httpx.get(f"{address}/v1/provider").json()["budgets"]["mass"]
                assert mass["left"] == 0
                process.kill()
                process.wait()
        stats = httpx.get(f"{provider}/control/stats").json()
    assert (stats["mass"], stats["singles"], stats["breaches"]) == (1, 20, 0)
    assert [path.suffix for path in (tmp_path / "smsc-gateway").glob("*.sqlite")] == [".sqlite"]


class Hammer(threading.Thread):
    """Asks again and again with one key, over one connection, until it is told to stop."""

    def __init__(self, address: str, key: str) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        self.stopped = threading.Event()
        self._address = address
        self._headers = {"authorization": f"Bearer {key}"}

    def run(self) -> None:
        with httpx.Client(base_url=self._address, headers=self._headers) as client:
            while not self.stopped.is_set():
                self.statuses[client.get("/v1/provider").status_code] += 1


@contextmanager
def hammering(address: str, key: str) -> Iterator[Hammer]:
    hammer = Hammer(address, key)
    hammer.start()
    try:
        yield hammer
    finally:
        hammer.stopped.set()
        hammer.join()


def test_sighup_swaps_keys_and_fails_no_request(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("stays") + client("a", "key 0"))
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0"}
    login["LOG_LEVEL"] = "warning"  # nobody reads what they would tell of each request
    with command("serve", CLIENTS_FILE=str(path), **login) as (process, address):

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return httpx.get(f"{address}/v1/provider", headers=headers).status_code

        def wait_for(key: str) -> None:
            deadline = time.monotonic() + PATIENCE
            while status(key) != 200:
                assert time.monotonic() < deadline

        with hammering(address, "key of stays") as one, hammering(address, "key of stays") as two:
            for n in range(1, 6):
                path.write_text(client("stays") + client("a", f"key {n}"))
                process.send_signal(signal.SIGHUP)
                wait_for(f"key {n}")
                assert status(f"key {n - 1}") in {401, 429}
            path.write_text("rubbish")
            process.send_signal(signal.SIGHUP)
            assert process.stdout is not None
            told = ""
            while "is not TOML" not in told:
                told = process.stdout.readline()
            assert "What was read before stays." in told
            assert status("key 5") == 200
    assert set(one.statuses) == set(two.statuses) == {200}


def test_a_bad_clients_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("a") * 2)
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "CLIENTS_FILE": str(path)}
    for name in ("serve", "demo"):
        code, told = run(name, **login)
        assert code == 1
        assert told == f"Error: {path}: client 2 (a): another client has that name; change one.\n"


def test_the_demos_provider_pushes_to_its_gateway() -> None:
    query = (
        'subscription { status(id: 500, phone: "79990000500") { isFinal freshness { source } } }'
    )
    message = {"id": 500, "phone": "79990000500", "status": 0, "type": 0}
    with command("demo", "--simulator-port", "0", PORT="0") as (process, address):
        assert process.stdout is not None
        printed = ""
        while "Provider" not in printed:
            printed = process.stdout.readline()
        provider = printed.split()[1].rstrip("/")
        body = message | {"timeline": [{"after": 1, "status": 1}]}
        httpx.post(f"{provider}/control/messages", json=body).raise_for_status()
        answer = httpx.post(
            f"{address}/graphql",
            json={"query": query},
            headers={"accept": "text/event-stream"},
            timeout=PATIENCE,
        )
        events = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        assert ['"CALLBACK"' in event for event in events] == [False, True]
        assert '"isFinal":true' in events[-1]
        log = httpx.get(f"{provider}/control/log").json()
        assert len(log) == 1
        forged = {"id": 1, "phone": "79990000001", "fields": {"md5": "0"}}
        assert httpx.post(f"{provider}/control/push", json=forged).json() == ["403"]
        record = httpx.get(f"{address}/v1/messages/500?phone=79990000500&fields=state").json()
        assert record["state"] == "DELIVERED"
        assert len(httpx.get(f"{provider}/control/log").json()) == 1


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_demo_shows_a_day_and_leaves_nothing(tmp_path: Path, ended_by: signal.Signals) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    settings = {"GATEWAY_PORT": "0", "TMPDIR": str(folder)}
    with running(
        "demo", "--simulator-port", "0", told=r"http://[^/\s]+", environ=PLAIN | settings
    ) as (process, found):
        assert [path.name for path in folder.glob("*/archive.db")] == ["archive.db"]
        total = httpx.get(f"{found[0]}/v1/records/summary").json()["total"]
        assert 1000 < total < 2000
        url = f"{found[0]}/v1/records?state=DELIVERED&limit=1&fields=sender,history"
        (record,) = httpx.get(url).json()["records"]
        assert record["sender"]
        assert len(record["history"]) > 1
        process.send_signal(ended_by)
        process.communicate(timeout=PATIENCE)
    assert list(folder.iterdir()) == []


def test_the_demo_fills_no_archive_of_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    with command("demo", "--simulator-port", "0", PORT="0", ARCHIVE_URL=url) as (_, address):
        assert httpx.get(f"{address}/v1/records/summary").json()["total"] == 0


def test_the_simulator_pushes_to_a_gateway_of_its_own() -> None:
    secret = "a-good-and-long-secret"
    port = closed_port()
    callback = f"http://127.0.0.1:{port}/v1/callbacks/smsc?md5={secret}"
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "CALLBACK_SECRET": secret}
    with (
        command("simulator", "--port", "0", "--callback", callback) as (_, provider),
        command("serve", PORT=str(port), SMSC_URL=f"{provider}/sys", **login) as (_, address),
    ):
        one = {"id": 3, "phone": "79990000003"}
        assert httpx.post(f"{provider}/control/push", json=one).json() == ["200 OK"]
        url = f"{address}/v1/messages/3?phone=79990000003&fields=state,freshness.source"
        record = httpx.get(url, headers={"cache-control": "only-if-cached"}).json()
        assert (record["state"], record["freshness"]["source"]) == ("UNDELIVERABLE", "CALLBACK")
        assert httpx.get(f"{provider}/control/stats").json()["requests"] == 0


def test_a_handler_that_is_no_address_is_one_sentence() -> None:
    result = CliRunner().invoke(main, ["simulator", "--callback", "127.0.0.1:8080"])
    assert result.exit_code == 2
    assert "http(s) address" in result.stderr


def run(*arguments: str, **environ: str) -> tuple[int, str]:
    result = ran(*arguments, **environ)
    return result.returncode, result.stderr


def ran(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=PLAIN | {f"GATEWAY_{name}": value for name, value in environ.items()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_serve_without_an_account_is_one_sentence() -> None:
    code, told = run("serve")
    assert code == 1
    assert told == (
        "Error: GATEWAY_SMSC_LOGIN with GATEWAY_SMSC_PASSWORD, or GATEWAY_SMSC_API_KEY alone, "
        "must be set.\n"
    )


LOGIN = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0"}


def told_at_start(**environ: str) -> list[str]:
    """What `serve` logs before it listens."""
    with running(
        "serve",
        told="listens on",
        environ=PLAIN | {f"GATEWAY_{name}": value for name, value in (LOGIN | environ).items()},
    ) as (_, found):
        lines = found.string.splitlines()[:-1]
    return [json.loads(line)["event"] for line in lines]


def test_serve_tells_where_the_archive_is(tmp_path: Path) -> None:
    place = tmp_path / "smsc-gateway" / "archive.db"
    assert f"The archive is sqlite:///{place}." in told_at_start()
    assert place.stat().st_mode & 0o777 == 0o600
    off = "The archive is off: GATEWAY_ARCHIVE_URL is none."
    assert off in told_at_start(ARCHIVE_URL="none")


def test_serve_starts_without_its_archives_server() -> None:
    told = told_at_start(ARCHIVE_URL="postgresql://me:secret@127.0.0.1:1/archive")
    assert "The archive is postgresql://127.0.0.1:1/archive." in told
    assert not any("secret" in line for line in told)


def test_replicas_are_told_what_an_archive_needs() -> None:
    with valkey() as server:
        told = told_at_start(REDIS_URL=server.url)
    need = "The archive is off: several replicas need GATEWAY_ARCHIVE_URL=postgresql://…"
    assert need in told


def test_an_archive_of_a_newer_release_stops_the_start_by_one_sentence(tmp_path: Path) -> None:
    told_at_start()
    url = f"sqlite:///{tmp_path}/smsc-gateway/archive.db"
    asyncio.run(set_revision(url, "9999"))
    code, told = run("serve", LOG_LEVEL="error", **LOGIN)
    assert code == 1
    assert told == (
        "Error: The archive was written by a newer release (its schema is 9999): install that one, "
        "or name another database in GATEWAY_ARCHIVE_URL.\n"
    )


def test_what_a_gateway_kept_is_told_and_erased_while_it_runs(tmp_path: Path) -> None:
    phone = "79990000001"
    url = f"sqlite:///{tmp_path}/kept/archive.db"
    with served(tmp_path / "kept") as running:
        answer = httpx.get(f"{running.gateway}/v1/messages/1?phone={phone}")
        assert answer.json()["state"] == "DELIVERED"
        kept = {"records": 0}
        while not kept["records"]:  # it is written soon
            kept = json.loads(ran("archive", "stats", "--json", ARCHIVE_URL=url, **LOGIN).stdout)
        assert (kept["records"], kept["changes"]) == (1, 1)
        paths = list((tmp_path / "kept").glob("archive.db*"))
        assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
        files = [path.read_bytes() for path in paths]
        assert any(phone.encode() in file for file in files)
        erased = ran("archive", "erase", "--phone", phone, "--yes", ARCHIVE_URL=url, **LOGIN)
        assert (erased.returncode, erased.stderr) == (0, "")
        assert erased.stdout == "Erased: 1 record and 1 change of state.\n"
        files = [path.read_bytes() for path in (tmp_path / "kept").glob("archive.db*")]
        assert not any(phone.encode() in file for file in files)
        assert httpx.get(f"{running.gateway}/v1/messages/3?phone=79990000003").status_code == 200


def test_what_was_decoded_is_imported_and_listed_by_a_gateway(tmp_path: Path) -> None:
    answer = [{"id": n, "phone": "79990000001", "status": 1, "err": 0} for n in range(1, 601)]
    decoded = subprocess.run(
        [sys.executable, "-m", "gateway", "decode"],
        env=PLAIN,
        input=json.dumps(answer),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    path = tmp_path / "log.jsonl"
    path.write_text(decoded + "nonsense\n")
    with command("serve", **LOGIN) as (_, address):
        result = ran("archive", "import", str(path), **LOGIN)
        assert result.returncode == 1
        assert result.stdout == "Imported: 600 lines. Wrong: 1 line.\n"
        assert result.stderr == "Line 601: it is not JSON.\n"
        records = httpx.get(f"{address}/v1/records?phone=79990000001&limit=1000").json()["records"]
        assert len(records) == 600
        url = f"{address}/v1/records?id=1&fields=history"
        ((change,),) = [one["history"] for one in httpx.get(url).json()["records"]]
        assert (change["state"], change["source"]) == ("DELIVERED", "CACHE")


def test_a_port_in_use_is_one_sentence() -> None:
    with command("simulator", "--port", "0") as (_, provider):
        port = provider.rpartition(":")[2]
        code, told = run("demo", "--simulator-port", str(closed_port()), PORT=port)
    assert code == 1
    assert told == (
        f"Error: Can't listen on 127.0.0.1:{port}: Address already in use (change GATEWAY_PORT).\n"
    )


def test_check_looks_at_everything() -> None:
    with command("simulator", "--port", "0") as (_, provider):
        login = {"SMSC_LOGIN": "demo", "SMSC_URL": f"{provider}/sys"}
        good = ran("check", SMSC_PASSWORD="demo", **login)
        bad = ran("check", SMSC_PASSWORD="wrong", **login)
    assert (good.returncode, good.stderr) == (0, "")
    lines = [line.split(None, 1) for line in good.stdout.splitlines()]
    assert [name for name, _ in lines] == [
        "settings",
        "clients",
        "state",
        "archive",
        "documents",
        "redis",
        "login",
        "clock",
    ]
    assert all(found.startswith("ok") for _, found in lines)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert [line for line in bad.stdout.splitlines() if "FAILED" in line] == [
        "login     FAILED: the provider refuses the login, its password, or this machine's address."
    ]


@contextmanager
def touching(path: str) -> Iterator[None]:
    """Change a file's time again and again: nobody tells when a watcher has begun to look."""
    stopped = threading.Event()

    def touch() -> None:
        while not stopped.wait(0.3):
            os.utime(path)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_serve_starts_anew_when_its_code_changes() -> None:
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo", "PORT": "0"}
    with command("serve", "--reload", **login) as (process, address):
        assert process.stdout is not None
        told = ""
        with touching(gateway.__file__):
            while "detected changes" not in told:
                told = process.stdout.readline()
                assert told
        while "listens on" not in told:
            told = process.stdout.readline()
            assert told
        assert address in told
        assert httpx.get(f"{address}/livez").status_code == 200


def test_contracts_are_printed() -> None:
    runner = CliRunner()
    assert "type Message implements StatusRecord" in runner.invoke(main, ["schema"]).stdout
    assert runner.invoke(main, ["openapi"]).stdout.startswith("openapi: 3.1.0\n")
    assert "| `smsc_gateway_records` | gauge |" in runner.invoke(main, ["metrics"]).stdout


def test_version_and_help() -> None:
    runner = CliRunner()
    assert __version__ in runner.invoke(main, ["--version"]).stdout
    for name in ("serve", "check", "demo", "simulator", "decode", "client", "archive", "openapi"):
        assert name in runner.invoke(main, ["--help"]).stdout


def test_logs_are_json_lines_without_secrets() -> None:
    login = {"SMSC_LOGIN": "demo", "SMSC_PASSWORD": "wr0ng-secret"}
    with command("simulator", "--port", "0") as (_, provider):
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            env=PLAIN
            | {f"GATEWAY_{name}": value for name, value in login.items()}
            | {"GATEWAY_SMSC_URL": f"{provider}/sys/", "GATEWAY_PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            try:
                address = process.stdout.readline().split()[-1]
                answer = httpx.get(f"{address}/v1/messages/1?phone=79990000001")
                assert answer.json()["code"] == "UPSTREAM_AUTH_FAILED"
            finally:
                process.send_signal(signal.SIGINT)
                _, logged = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert any("error 2, 'authorise error'" in line["event"] for line in lines)
    assert "wr0ng-secret" not in logged
    assert "79990000001" not in logged
