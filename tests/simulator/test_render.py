"""The documented samples, byte for byte."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.simulator import Report, not_found, render, render_error
from gateway.simulator.samples import LOOKUP, MESSAGE

REPLIES = Path(__file__).parent.parent / "replies"
DELIVERED = replace(MESSAGE, status_name="Доставлено")
REACHABLE = replace(LOOKUP, status_name="Доставлено")
LIST = [
    Report(id=32, phone="79990000001", status=1, last=1_700_000_000, flag=0, err=0),
    not_found(33, "79990000002"),
]


BLANKS = {
    "Код 1234, никому,заказ 7,0": "Код 1234, никому, заказ 7, 0",
    ",,,1699999990": ",,, 1699999990",
}
"""Where the page prints a blank in format 1; the kept answers have none, as others saw it."""


def printed(path: Path) -> bytes:
    """An answer as the page prints it."""
    charset = path.suffix[1:]
    text = path.read_bytes().decode(charset)
    if path.name.startswith("fmt1-all") and "all0" not in path.name:
        (bare,) = [bare for bare in BLANKS if bare in text]
        text = text.replace(bare, BLANKS[bare])
    return text.encode(charset)


def bodies(case: str) -> list[Path]:
    return sorted(path for path in (REPLIES / case).iterdir() if path.suffix != ".json")


def shape(path: Path) -> tuple[int, int, str]:
    name, charset = path.name.split(".")
    return int(name[3]), int(name[-1]) if "all" in name else 0, charset


@pytest.mark.parametrize("path", bodies("sms-delivered"), ids=lambda path: path.name)
def test_a_delivered_message(path: Path) -> None:
    fmt, all_, charset = shape(path)
    body = render([DELIVERED], fmt=fmt, all=all_, many=False, charset=charset)
    assert body == printed(path)


@pytest.mark.parametrize("path", bodies("hlr-reachable"), ids=lambda path: path.name)
def test_a_reachable_subscriber(path: Path) -> None:
    fmt, all_, charset = shape(path)
    body = render([REACHABLE], fmt=fmt, all=all_, many=False, charset=charset)
    assert body == printed(path)


@pytest.mark.parametrize("path", bodies("list-basic"), ids=lambda path: path.name)
def test_a_list(path: Path) -> None:
    assert render(LIST, fmt=shape(path)[0], all=0, many=True) == path.read_bytes()


@pytest.mark.parametrize("path", bodies("not-found"), ids=lambda path: path.name)
def test_not_found(path: Path) -> None:
    told = render([not_found(1, "70001")], fmt=shape(path)[0], all=0, many=False)
    assert told == path.read_bytes()


@pytest.mark.parametrize("path", bodies("error-9"), ids=lambda path: path.name)
def test_error_9(path: Path) -> None:
    assert render_error(9, fmt=shape(path)[0]) == path.read_bytes()


def test_the_recorded_errors() -> None:
    for case, number in (("login", 2), ("limit", 9)):
        recorded = REPLIES / f"real-2016-error-{case}" / "body.utf-8"
        assert render_error(number, fmt=3) == recorded.read_bytes()


@pytest.mark.parametrize(
    ("fmt", "told"),
    [
        (0, b"message = ?"),
        (1, b",?, "),
        (2, b"<message>&#128512;<"),
        (3, b'"message": "\\ud83d\\ude00"'),
    ],
)
def test_a_character_that_the_charset_lacks(fmt: int, told: bytes) -> None:
    body = render([replace(DELIVERED, message="😀")], fmt=fmt, all=1, many=False)
    assert told in body
