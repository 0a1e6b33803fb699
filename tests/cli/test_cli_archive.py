"""`smsc-gateway archive`: what is kept is told, erased and brought in."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.archive.archive import Archive, open_database
from gateway.cli.main import main
from gateway.clock import Clock
from gateway.model.records import HlrLookup, Record
from gateway.web.rest.fields import without_freshness
from tests.archive.support import PHONE, T0, entry, key, set_revision
from tests.support.gateway import ENVIRON
from tests.support.postgres import postgres


def run(*arguments: str, url: str, given: str | bytes = "", **environ: str) -> Result:
    settings = {"GATEWAY_ARCHIVE_URL": url, "GATEWAY_ARCHIVE_DAYS": "0"}
    more = {f"GATEWAY_{name}": value for name, value in environ.items()}
    env = ENVIRON | settings | more
    return CliRunner().invoke(main, ["archive", *arguments], input=given, env=env)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/archive.db"


def fill(url: str) -> None:
    """Two messages of one number, of which one was delivered, and a lookup of another."""

    async def write() -> None:
        archive = Archive(open_database(url), Clock(), content=True, days=0)
        for status in (0, 1):
            archive.record(key(), entry(key(), status, at=T0 + 20 + status))
        archive.record(key(2), entry(key(2), 0, at=T0 + 10, message="Hello"))
        lookup = key(3, "79990000003")
        archive.record(lookup, entry(lookup, 1, at=T0 + 40, kind=HlrLookup, err=0, imsi="250"))
        await archive.flush()
        await archive.aclose()

    asyncio.run(write())


def stats(url: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(run("stats", "--json", url=url).stdout)
    return told


def test_what_is_kept_is_told(url: str) -> None:
    fill(url)
    result = run("stats", url=url)
    assert result.exit_code == 0
    size, told = re.subn(r"(?m)^size      0\.\d MB$", "size", result.stdout)
    assert told == 1
    assert size == (
        f"archive   {url}\n"
        "records   3\n"
        "changes   4\n"
        "size\n"
        "oldest    2026-01-15 10:00:10Z\n"
        "newest    2026-01-15 10:00:40Z\n"
        "Message   SENT          1\n"
        "Message   DELIVERED     1\n"
        "HlrLookup COMPLETED     1\n"
    )
    assert stats(url).pop("bytes")
    assert {name: value for name, value in stats(url).items() if name != "bytes"} == {
        "database": url,
        "records": 3,
        "changes": 4,
        "oldest": "2026-01-15T10:00:10Z",
        "newest": "2026-01-15T10:00:40Z",
        "states": [
            {"kind": "Message", "state": "SENT", "count": 1},
            {"kind": "Message", "state": "DELIVERED", "count": 1},
            {"kind": "HlrLookup", "state": "COMPLETED", "count": 1},
        ],
    }


def test_an_archive_that_is_not_begun_is_not_begun_by_looking(url: str, tmp_path: Path) -> None:
    assert "records   0\n" in run("stats", url=url).stdout
    assert list(tmp_path.iterdir()) == []


def test_a_number_is_erased_in_all_its_spellings_when_it_is_confirmed(url: str) -> None:
    fill(url)
    phone = "8 (999) 000-00-01"
    refused = run("erase", "--phone", phone, url=url, given="n\n")
    assert refused.exit_code == 1
    assert "2 records and 3 changes of state of 89990000001 will be gone." in refused.stdout
    assert stats(url)["records"] == 3
    assert run("erase", "--phone", phone, url=url).exit_code == 1  # nobody is there to say yes
    assert stats(url)["records"] == 3
    erased = run("erase", "--phone", phone, url=url, given="y\n")
    assert erased.exit_code == 0
    assert erased.stdout.endswith("Erased: 2 records and 3 changes of state.\n")
    assert (stats(url)["records"], stats(url)["changes"]) == (1, 1)


def test_nothing_of_what_the_command_erased_is_left_in_the_files(url: str, tmp_path: Path) -> None:
    fill(url)
    assert PHONE.encode() in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    result = run("erase", "--phone", PHONE, "--yes", url=url)
    assert result.stdout == "Erased: 2 records and 3 changes of state.\n"
    assert PHONE.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    again = run("erase", "--phone", PHONE, url=url)
    assert again.stdout == "Erased: 0 records and 0 changes of state.\n"


def test_files_that_were_put_aside_are_told_of(url: str, tmp_path: Path) -> None:
    fill(url)
    (tmp_path / "archive.db.broken-20260101-000000").write_bytes(b"")
    result = run("erase", "--phone", PHONE, "--yes", url=url)
    assert result.stderr == (
        f"{tmp_path}/archive.db.broken-20260101-000000 was damaged and put aside: it may hold the "
        "number, too.\n"
    )


def test_a_phone_that_is_none_is_a_mistake(url: str) -> None:
    result = run("erase", "--phone", "8", url=url)
    assert (result.exit_code, "--phone: phone must be 5 to 20" in result.stderr) == (2, True)


ANSWER = """[
    {"id": 1, "phone": "79990000001", "status": 0, "last_timestamp": 1768471210},
    {"id": 1, "phone": "79990000001", "status": 1, "last_timestamp": 1768471220, "err": 0,
     "send_timestamp": 1768471200, "message": "secret", "type": 0},
    {"id": 2, "phone": "79990000001", "status": 20, "err": 6, "last_timestamp": 1768471230},
    {"id": 4, "phone": "79990000003", "status": 1, "err": 0, "imsi": "250", "msc": "7",
     "net": "MTS", "cn": "Russia", "last_timestamp": 1768471240},
    {"id": 9, "phone": "79990000009", "status": -3}
]"""


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_what_decode_writes_comes_in(engine: str, url: str) -> None:
    decoded = CliRunner().invoke(main, ["decode"], input=ANSWER).stdout
    if engine == "sqlite":
        check_import(decoded, url)
        return
    with postgres() as server, server.database() as address:
        check_import(decoded, address)


def check_import(decoded: str, url: str) -> None:
    for _ in range(2):  # the second time nothing is new
        result = run("import", "-", url=url, given=decoded)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == ("Imported: 4 lines. Left out: 1 problem, which is no record.\n")
        told = stats(url)
        assert (told["records"], told["changes"]) == (3, 4)
        assert (told["oldest"], told["newest"]) == ("2026-01-15T10:00:20Z", "2026-01-15T10:00:40Z")
    erased = run("erase", "--phone", PHONE, "--yes", url=url)
    assert erased.stdout == "Erased: 2 records and 3 changes of state.\n"


def test_what_is_imported_is_what_was_decoded(url: str) -> None:
    decoded = CliRunner().invoke(main, ["decode"], input=ANSWER).stdout
    run("import", "-", url=url, given=decoded, ARCHIVE_CONTENT="true")

    async def kept() -> list[Record | None]:
        archive = Archive(open_database(url), Clock(), content=True, days=0)
        await archive.flush()
        keys = [key(1), key(2), key(4, "79990000003")]
        found = await archive.look_up(keys)
        await archive.aclose()
        return [found[one].record for one in keys]

    lines = decoded.splitlines()[1:4]
    for record, line in zip(asyncio.run(kept()), lines, strict=True):
        told = json.loads(line)
        assert record is not None
        assert without_freshness(record) == told
        assert record.changed_at == record.last_status_time


def test_lines_that_can_not_be_read_are_told_and_left_out(url: str, tmp_path: Path) -> None:
    decoded = CliRunner().invoke(main, ["decode"], input=ANSWER).stdout.splitlines()
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(["nonsense", "", *decoded, "{}", ""]))
    result = run("import", str(path), url=url)
    assert result.exit_code == 1
    assert result.stderr == "Line 1: it is not JSON.\nLine 8: it has no id.\n"
    assert result.stdout.endswith("which is no record. Wrong: 2 lines.\n")
    assert stats(url)["records"] == 3


def test_many_lines_are_written_in_several_transactions(url: str) -> None:
    answer = [{"id": n, "phone": PHONE, "status": 1} for n in range(1, 1202)]
    decoded = CliRunner().invoke(main, ["decode"], input=json.dumps(answer)).stdout
    assert run("import", "-", url=url, given=decoded).stdout == "Imported: 1,201 lines.\n"
    assert stats(url)["records"] == 1201


def test_what_is_older_than_is_kept_is_told(url: str) -> None:
    decoded = CliRunner().invoke(main, ["decode"], input=ANSWER).stdout
    result = run("import", "-", url=url, given=decoded, ARCHIVE_DAYS="1")
    assert "Older than 1 days: 4 lines; a gateway deletes what is so old" in result.stdout


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"ARCHIVE_URL": "none"}, "The archive is off: GATEWAY_ARCHIVE_URL is none."),
        (
            {"REDIS_URL": "redis://valkey"},
            "The archive is off: several replicas need GATEWAY_ARCHIVE_URL=postgresql://…",
        ),
        (
            {"ARCHIVE_URL": "postgresql://me:secret@127.0.0.1:1/archive?password=secret"},
            r"The archive \(postgresql://127.0.0.1:1/archive\) can't be used: Operat.*failed: .*\.",
        ),
        (
            {"ARCHIVE_URL": "sqlite:////dev/null"},
            r"The archive \(sqlite:////dev/null\) can't be used: .*\.",
        ),
        ({"ARCHIVE_URL": "mysql://"}, "GATEWAY_ARCHIVE_URL: must be sqlite:///path, .*"),
    ],
)
@pytest.mark.parametrize(
    "arguments", [["stats"], ["erase", "--phone", PHONE, "--yes"], ["import", "-"]]
)
def test_what_stands_in_the_way_is_one_sentence(
    arguments: list[str], environ: dict[str, str], told: str, url: str
) -> None:
    result = run(*arguments, url=url, **environ)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(f"Error: {told}\n", result.stderr)
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [["stats"], ["erase", "--phone", PHONE, "--yes"], ["import", "-"]]
)
def test_an_archive_of_a_newer_release_is_left_alone(arguments: list[str], url: str) -> None:
    fill(url)
    asyncio.run(set_revision(url, "9999"))
    result = run(*arguments, url=url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: The archive was written by a newer release (its schema is 9999): install that one, "
        "or name another database in GATEWAY_ARCHIVE_URL.\n"
    )
