"""What the simulator renders is read back: fmt x all x kind x one or many x charset."""

from dataclasses import fields, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.records import StatusKey
from gateway.simulator import Report, not_found, render, render_error
from gateway.smsc.reply import decode, match
from gateway.smsc.row import Expected, Refusal, Row
from tests.support.size import size, soak

CHARSETS = ("utf-8", "windows-1251", "koi8-r")
EXAMPLES = size(small=4, whole=100)
"""For each of the 72 shapes."""
SHAPES = list(product(range(4), range(3), (False, True), CHARSETS))

NAMES = {"last": "last_timestamp", "sent": "send_timestamp", "sender": "sender_id"}
LOOKUP_ONLY = {"imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"}
MESSAGE_ONLY = {"comment", "mccmnc", "operator_orig", "sms_cnt"}
GEOGRAPHY = {"country", "operator", "region", "mccmnc", "operator_orig"}
BASIC = {"status", "last", "flag", "err", *LOOKUP_ONLY}

LETTERS = "абвгдеёжзиклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЭЮЯabcxyzABCXYZ"
clean = st.text(LETTERS + "0123456789 .:!-", max_size=30).map(str.strip)
name = st.text(LETTERS + " .-", max_size=20).map(str.strip)
nasty = st.text(LETTERS + "0123456789 ,=<>&\"'\\\n;{}[]()%+ЫЪ", max_size=60).map(str.strip)
nasty_name = st.text(LETTERS + ", ", min_size=1, max_size=20).map(lambda t: t.strip(", "))
digits = st.text("0123456789", max_size=15)
moment = st.integers(1_000_000_000, 4_000_000_000)


@st.composite
def reports(
    draw: st.DrawFn, texts: st.SearchStrategy[str] = clean, names: st.SearchStrategy[str] = name
) -> Report:
    """A report with every field of its kind."""
    lookup = draw(st.booleans())
    report = Report(
        id=draw(st.integers(1, 2_147_483_647)),
        phone=draw(st.text("0123456789", min_size=11, max_size=15).map(lambda t: "7" + t[1:])),
        status=draw(st.sampled_from([-2, -1, 0, 1, 2, 3, 4, 20, 22, 23, 24, 25, 77])),
        last=draw(moment),
        err=draw(st.sampled_from([0, 1, 6, 248, 99])),
        sent=draw(moment),
        cost=f"{draw(st.integers(0, 999))}.{draw(st.integers(0, 99)):02}",
        status_name=draw(name),
        country=draw(names),
        operator=draw(names),
        region=draw(names),
    )
    if lookup:
        numbers = {n: draw(digits) for n in ("imsi", "msc", "mcc", "mnc")}
        words = {n: draw(names) for n in ("cn", "net", "rcn", "rnet")}
        plain: dict[str, Any] = {**numbers, **words}
        return replace(report, flag=4, type=4, sender="HLR", message="", **plain)
    type_ = draw(st.sampled_from([0, 1, 7, 8, 10, 12]))
    return replace(
        report,
        flag=type_ + draw(st.sampled_from([0, 32, 256, 256 + 1536])),
        type=type_,
        sender=draw(st.text("ABCXYZabc-", min_size=1, max_size=11)),
        message=draw(texts),
        comment=draw(texts),
        mccmnc=draw(st.sampled_from(["25002", "310410"])),
        operator_orig=draw(names),
        sms_cnt=draw(st.integers(1, 99)),
    )


def carried(report: Report, fmt: int, all_: int, *, many: bool) -> dict[str, str]:
    """The fields that the page gives this shape, by their names on the wire."""
    given = {f.name for f in fields(Report)} - {"id"}
    given -= MESSAGE_ONLY if report.is_lookup else LOOKUP_ONLY
    if all_ == 0:
        given &= BASIC
    if all_ == 1:
        given -= GEOGRAPHY
    if fmt == 0:
        given -= {"flag", "sms_cnt"}
    if fmt == 1:
        given -= {"flag", "sms_cnt", "mccmnc", "operator_orig"}
    wire = {NAMES.get(n, n): str(getattr(report, n)) for n in given if n not in {"last", "sent"}}
    if fmt:
        wire["last_timestamp"] = str(report.last)
        if all_:
            wire["send_timestamp"] = str(report.sent)
    if many:
        wire |= {"id": str(report.id), "phone": report.phone}
    if many and fmt == 1 and all_ and "phone" not in wire:
        wire["phone"] = report.phone
    return wire


def read(
    told: list[Report], fmt: int, all_: int, *, many: bool, charset: str
) -> dict[StatusKey, Row]:
    body = render(told, fmt=fmt, all=all_, many=many, charset=charset)
    rows = decode(body, charset=charset, expected=Expected(all_, many))
    assert isinstance(rows, list)
    return dict(match(rows, [StatusKey(report.phone, report.id) for report in told]))


@soak
@pytest.mark.parametrize(("fmt", "all_", "many", "charset"), SHAPES)
@settings(max_examples=EXAMPLES)
@given(told=st.lists(reports(), min_size=1, max_size=4, unique_by=lambda r: (r.phone, r.id)))
def test_plain_values_come_back(
    fmt: int, all_: int, many: bool, charset: str, told: list[Report]
) -> None:
    told = told if many else told[:1]
    found = read(told, fmt, all_, many=many, charset=charset)
    assert len(found) == len(told)
    for report in told:
        row = found[StatusKey(report.phone, report.id)].fields
        # Dates are read from text in their own test; here the timestamps tell the same.
        row = {n: v for n, v in row.items() if n not in {"last_date", "send_date"}}
        assert row == carried(report, fmt, all_, many=many)


@soak
@pytest.mark.parametrize(("fmt", "all_", "many", "charset"), SHAPES)
@settings(max_examples=EXAMPLES)
@given(
    told=st.lists(
        reports(nasty, nasty_name), min_size=1, max_size=4, unique_by=lambda r: (r.phone, r.id)
    )
)
def test_hostile_texts_are_told_rightly_or_not_at_all(
    fmt: int, all_: int, many: bool, charset: str, told: list[Report]
) -> None:
    told = told if many else told[:1]
    found = read(told, fmt, all_, many=many, charset=charset)
    assert len(found) == len(told)
    for report in told:
        row = found[StatusKey(report.phone, report.id)].fields
        expected = carried(report, fmt, all_, many=many)
        for field, value in row.items():
            if field not in {"last_date", "send_date"}:
                assert value == expected[field], field
        certain = set(expected) if fmt > 1 else {"status", "err"} & set(expected)
        assert certain <= set(row)


@pytest.mark.parametrize(("fmt", "all_", "many", "charset"), SHAPES)
def test_not_found_comes_back(fmt: int, all_: int, many: bool, charset: str) -> None:
    told = [not_found(7, "79990000007")]
    (row,) = read(told, fmt, all_, many=many, charset=charset).values()
    assert row.fields["status"] == "-3"


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize("number", [1, 2, 4, 5, 9, 77])
def test_refusals_come_back(number: int, fmt: int, charset: str, many: bool) -> None:
    body = render_error(number, fmt=fmt, charset=charset)
    answer = decode(body, charset=charset, expected=Expected(0, many))
    assert isinstance(answer, Refusal)
    assert answer.number == number


@given(st.lists(reports(), min_size=2, max_size=5, unique_by=lambda r: r.id), st.randoms())
def test_rows_are_matched_in_any_order(told: list[Report], random: object) -> None:
    shuffled = sorted(told, key=lambda _: random.random())  # type: ignore[attr-defined] # a Random
    rows = decode(render(shuffled, fmt=3, all=0, many=True, charset="utf-8"))
    assert isinstance(rows, list)
    found = match(rows, [StatusKey(report.phone, report.id) for report in told])
    assert {key.id: row.fields["err"] for key, row in found.items()} == {
        report.id: str(report.err) for report in told
    }


def test_one_send_to_many_phones_is_told_apart_by_phone() -> None:
    told = [
        Report(id=32, phone=phone, status=status) for phone, status in (("70001", 1), ("70002", 20))
    ]
    found = read(told, 3, 0, many=True, charset="utf-8")
    assert [found[StatusKey(r.phone, 32)].fields["status"] for r in told] == ["1", "20"]


@pytest.mark.parametrize("fmt", range(4))
def test_the_format_is_known_by_the_content(fmt: int) -> None:
    told = Report(id=1, phone="70001", status=20, last=9, err=6)
    rows = decode(render([told], fmt=fmt, all=0, many=False))
    assert isinstance(rows, list)
    assert (rows[0].fields["status"], rows[0].fields["err"]) == ("20", "6")


def test_an_answer_in_another_charset_than_utf8_reads_all_the_same() -> None:
    body = '{"status": 1, "status_name": "Доставлено"}'.encode("windows-1251")
    rows = decode(body, charset="utf-8")
    assert isinstance(rows, list)
    assert rows[0].fields["status_name"] == "Доставлено"
