"""Every kept answer, in every charset it is kept in, through the command `decode`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.main import main

REPLIES = Path(__file__).parent.parent / "replies"
BODIES = sorted(path for path in REPLIES.glob("*/*") if path.name != "expected.json")


def decode(body: bytes, *options: str) -> list[object]:
    """What is printed: JSON lines, or one sentence on stderr."""
    result = CliRunner().invoke(main, ["decode", *options], input=body)
    if result.exit_code:
        assert not result.stdout
        return [result.stderr.strip()]
    return [json.loads(line) for line in result.stdout.splitlines()]


def decode_one(body: bytes, *options: str) -> dict[str, object]:
    (record,) = decode(body, *options)
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_decodes_as_expected(path: Path) -> None:
    shape, charset = path.name.split(".")
    expected = json.loads((path.parent / "expected.json").read_text())[shape]
    assert decode(path.read_bytes(), "--charset", charset) == expected


def test_recordings_have_their_recorded_sizes() -> None:
    sizes = {"delivered": 81, "error-login": 47, "error-limit": 64, "error-number": 56}
    for case, size in sizes.items():
        assert (REPLIES / f"real-2016-{case}" / "body.utf-8").stat().st_size == size


def test_kind_decides_where_the_answer_shows_nothing() -> None:
    record = decode_one(b'{"status": 1, "err": 0}', "--kind", "hlr")
    assert (record["kind"], record["reachability"]) == ("HlrLookup", "REACHABLE")


def test_numbers_may_be_strings_and_strings_numbers() -> None:
    body = b"""{"status": "20", "err": "6", "last_timestamp": "1700000000", "id": "7",
        "phone": 79990000001, "cost": 3.20, "sms_cnt": "2", "type": "0"}"""
    record = decode_one(body)
    assert record["lastStatusTime"] == "2023-11-14T22:13:20Z"
    assert (record["id"], record["phone"], record["parts"]) == ("7", "79990000001", 2)
    assert record["cost"] == {"amount": "3.20", "currency": None}


def test_every_key_but_status_may_be_missing() -> None:
    for body in (b'{"status": 1}', b"<sms><status>1</status></sms>", b"Status = 1"):
        assert decode_one(body)["state"] == "DELIVERED"


def test_kind_does_not_overrule_the_answer() -> None:
    record = decode_one(b'{"status": 1, "flag": 4}', "--kind", "message")
    assert record["kind"] == "HlrLookup"


def test_timezone_is_used_for_dates_without_one() -> None:
    body = b"Status = 1, check_time = 03.03.2018 15:47:14, err = 0"
    record = decode_one(body, "--timezone", "Asia/Almaty")
    assert record["lastStatusTime"] == "2018-03-03T09:47:14Z"


def test_unknown_timezone_is_one_sentence() -> None:
    told = decode(b"{}", "--timezone", "Mars/Base")
    assert told == ["Error: --timezone: 'Mars/Base' is not a time zone."]


def test_a_codec_that_is_no_charset_is_one_sentence() -> None:
    told = decode(b"00", "--charset", "hex")
    assert told == ["Error: --charset: 'hex' is not a charset."]


def test_unknown_charset_is_one_sentence() -> None:
    assert decode(b"", "--charset", "klingon") == ["Error: --charset: 'klingon' is not a charset."]
