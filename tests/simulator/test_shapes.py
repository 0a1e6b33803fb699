"""What the documented samples leave open: full lists, missing fields, zones, escaping, sizes."""

import json
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.simulator import Report, not_found, render, render_error
from gateway.simulator.model import ERROR_TEXTS
from gateway.simulator.samples import LOOKUP, MESSAGE

REPLIES = Path(__file__).parents[1] / "replies"
NAMED = replace(MESSAGE, status_name="Доставлено")
NAMED_LOOKUP = replace(LOOKUP, status_name="Доставлено")


@pytest.mark.parametrize(
    ("report", "fmt", "sizes"),
    [
        (NAMED, 0, [(53, 53), (248, 224), (365, 318)]),
        (NAMED, 1, [(14, 14), (114, 90), (159, 115)]),
        (NAMED, 3, [(102, 102), (363, 339), (496, 449)]),
        (NAMED_LOOKUP, 0, [(175, 162), (317, 294), (395, 352)]),
        (NAMED_LOOKUP, 1, [(79, 66), (136, 113), (181, 138)]),
        (NAMED_LOOKUP, 3, [(248, 235), (439, 416), (526, 483)]),
    ],
)
def test_an_answer_has_its_size(report: Report, fmt: int, sizes: list[tuple[int, int]]) -> None:
    """In utf-8 and in windows-1251, without a line end after the last line."""
    for all_, expected in enumerate(sizes):
        told = [
            len(render([report], fmt=fmt, all=all_, many=False, charset=charset))
            for charset in ("utf-8", "windows-1251")
        ]
        assert tuple(told) == expected


@pytest.mark.parametrize("all_", [1, 2])
@pytest.mark.parametrize("fmt", range(4))
def test_not_found_is_told_the_same_whatever_was_asked(fmt: int, all_: int) -> None:
    told = render([not_found(33, "79990000002")], fmt=fmt, all=all_, many=False)
    assert told == (REPLIES / "not-found" / f"fmt{fmt}.utf-8").read_bytes()


XML_TAIL = """\
<sms_cnt>1</sms_cnt>
<id>1</id>
</sms>
<sms>
<status>-3</status>
<id>33</id>
<phone>79990000002</phone>
</sms>
</list>"""
JSON_TAIL = """\
"sms_cnt": 1,
"id": 1
},
{
"status": -3,
"id": 33,
"phone": "79990000002"
}]"""


@pytest.mark.parametrize("all_", [1, 2])
@pytest.mark.parametrize(
    ("fmt", "head", "tail"),
    [
        (0, "Status", ", type = 0, ID = 1\nStatus = -3, ID = 33, phone = 79990000002"),
        (1, "1,", ", 0,1\n-3,0,0,33,79990000002"),
        (2, "<list>\n<sms>\n<status>1<", XML_TAIL),
        (3, '[{\n"status": 1', JSON_TAIL),
    ],
)
def test_a_full_list_adds_the_id_alone_for_the_phone_is_inside(
    fmt: int, all_: int, head: str, tail: str
) -> None:
    told = render([NAMED, not_found(33, "79990000002")], fmt=fmt, all=all_, many=True)
    text = told.decode("windows-1251")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert text.count("79990000001") == 1


@pytest.mark.parametrize(("all_", "message", "lookup"), [(0, 5, 13), (1, 12, 19), (2, 15, 22)])
def test_a_line_of_numbers_has_its_count_of_fields(all_: int, message: int, lookup: int) -> None:
    for report, count in ((replace(NAMED, message="x"), message), (NAMED_LOOKUP, lookup)):
        line = render([report], fmt=1, all=all_, many=True)
        assert line.count(b",") + 1 == count


def test_a_list_of_one_is_a_list() -> None:
    assert render([not_found(138, "89990000004")], fmt=3, all=0, many=True) == (
        b'[{\n"status": -3,\n"id": 138,\n"phone": "89990000004"\n}]'
    )


def test_the_recorded_answer_of_2016_has_neither_err_nor_flag() -> None:
    report = Report(id=1, phone="7", status=1, last=1_476_794_052)
    recorded = (REPLIES / "real-2016-delivered" / "body.utf-8").read_bytes()
    assert render([report], fmt=3, all=0, many=False) == recorded
    assert render([report], fmt=1, all=0, many=False) == b"1,1476794052,"
    assert render([report], fmt=0, all=0, many=False) == (
        b"Status = 1, check_time = 18.10.2016 15:34:12"
    )


def test_dates_are_in_the_accounts_zone() -> None:
    almaty = timezone(timedelta(hours=6))
    report = Report(id=1, phone="7", status=1, last=1_520_070_434)
    told = render([report], fmt=0, all=0, many=False, zone=almaty)
    assert told == b"Status = 1, check_time = 03.03.2018 15:47:14"


NASTY = 'a<b>&c "d"\\e\n\r\tЖ😀 ]]>'


@pytest.mark.parametrize("charset", ["utf-8", "windows-1251", "koi8-r"])
def test_text_is_escaped_but_letters_of_the_charset_stay_raw(charset: str) -> None:
    report = replace(MESSAGE, message=NASTY)
    in_json = render([report], fmt=3, all=1, many=False, charset=charset)
    in_xml = render([report], fmt=2, all=1, many=False, charset=charset)
    assert json.loads(in_json.decode(charset))["message"] == NASTY
    assert ET.fromstring(in_xml.decode(charset)).findtext("message") == NASTY  # noqa: S314 - ours
    assert all("Ж".encode(charset) in told for told in (in_json, in_xml))


@pytest.mark.parametrize("code", ERROR_TEXTS)
def test_every_refusal_in_every_format(code: int) -> None:
    text = ERROR_TEXTS[code]
    assert render_error(code, fmt=0).decode() == f"ERROR = {code} ({text})"
    assert render_error(code, fmt=1).decode() == f"0,-{code}"
    assert render_error(code, fmt=2).decode() == (
        f"<result>\n<error>{text}</error>\n<error_code>{code}</error_code>\n</result>"
    )
    assert json.loads(render_error(code, fmt=3)) == {"error": text, "error_code": code}


def test_a_refusal_may_have_a_text_of_its_own() -> None:
    assert render_error(4, fmt=0, text="нет", charset="utf-8").decode() == "ERROR = 4 (нет)"
