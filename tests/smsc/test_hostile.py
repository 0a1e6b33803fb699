"""Whatever the bytes are: rows, a refusal, or the one named error; and soon."""

import contextlib
import gc
import random
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.errors import UpstreamBadAnswer
from gateway.freshness import at_observation
from gateway.records import DetailLevel, StatusKey
from gateway.settings import load
from gateway.simulator import render, render_error
from gateway.simulator.samples import LOOKUP, MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import MAX_BYTES, decode
from gateway.smsc.row import Expected, Refusal

ZONE = load({"GATEWAY_SMSC_API_KEY": "k"}).zone
FRESHNESS = at_observation(0, DetailLevel.FULL)
CHARSETS = ("utf-8", "windows-1251", "koi8-r")
CASES = 100_000
SLOWEST_S = 0.05

PIECES = [
    *(b"<sms>", b"</sms>", b"<list>", b"<result>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;"),
    *(b"<?xml version='1.0' encoding='utf-16'?>", b"]]>", b"<![CDATA[", b"&#0;", b"&#x110000;"),
    *(b"{", b"}", b"[", b"]", b'"', b"\\ud800", b"\\u0000", b"null", b"NaN", b"1e999", b"-0"),
    *(b"Status = ", b", message = ", b", comment = ", b", type = 0", b", ID = 1", b"ERROR = "),
    *(b"0,-", b"-3", b",,,,,,,,", b"HLR", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"99999999999999999999", b"1" * 400, b"31.02.2023 25:61:61", b"\xf0\x9f\x98\x80", b"\x98"),
]


def _mangled(random_: random.Random, fmt: int) -> bytes:
    """A good answer with a few things done to it."""
    report = random_.choice([MESSAGE, LOOKUP])
    charset = random_.choice(CHARSETS)
    many = random_.random() < 0.3
    body = bytearray(
        render([report] * (1 + many), fmt=fmt, all=random_.randrange(3), many=many, charset=charset)
        if random_.random() < 0.9
        else render_error(random_.randrange(12), fmt=fmt)
    )
    for _ in range(random_.randrange(6)):
        at = random_.randrange(len(body) + 1)
        match random_.randrange(5):
            case 0:
                del body[at:]
            case 1:
                body[at:at] = random_.choice(PIECES)
            case 2:
                body[at : at + random_.randrange(8)] = random_.randbytes(random_.randrange(8))
            case 3:
                body[at:at] = body[: random_.randrange(80)]
            case _:
                del body[at : at + random_.randrange(20)]
    return bytes(body)


@pytest.fixture
def collector_between_cases() -> Iterator[Callable[[], None]]:
    """A full collection of the test process's heap takes longer than any case."""
    gc.disable()
    yield gc.collect  # type: ignore[misc] # its number of objects is of no interest
    gc.enable()


@pytest.mark.parametrize("fmt", range(4))
def test_mangled_answers_are_records_or_the_named_error(
    fmt: int, collector_between_cases: Callable[[], None]
) -> None:
    random_ = random.Random(fmt)
    read = slowest = 0.0
    for case in range(CASES):
        if case % 10_000 == 0:
            collector_between_cases()
        body = _mangled(random_, fmt)
        expected = Expected(random_.choice([None, 0, 1, 2]), random_.choice([None, True, False]))
        charset = random_.choice(CHARSETS)
        is_read, seconds = _read(body, charset, expected)
        if seconds >= SLOWEST_S:  # a slow answer is slow again; a hiccup of the machine is not
            seconds = min(_read(body, charset, expected)[1] for _ in range(3))
        read += is_read
        slowest = max(slowest, seconds)
    assert slowest < SLOWEST_S
    assert read > CASES / 10  # else the cases are too hostile to say anything


def _read(body: bytes, charset: str, expected: Expected) -> tuple[bool, float]:
    """Could it be read? And the seconds of CPU time that took."""
    began = time.thread_time()
    try:
        answer = decode(body, charset=charset, expected=expected)
        for row in [] if isinstance(answer, Refusal) else answer:
            found = normalise(
                row, StatusKey("79990000001", 1), asked=None, freshness=FRESHNESS, zone=ZONE
            )
            if found:
                found.record.model_dump_json()
    except UpstreamBadAnswer:
        return False, time.thread_time() - began
    return True, time.thread_time() - began


HUGE = {
    "nothing": b"",
    "a comma": b",",
    "zeros": bytes(1_000_000),
    "deep json": b"[" * 500_000,
    "deep objects": b'{"a":' * 200_000,
    "deep xml": b"<sms>" * 200_000,
    "laughs": b'<!DOCTYPE l [<!ENTITY a "ha">]><sms><status>&a;</status></sms>',
    "one long number": b'{"status": ' + b"1" * 1_000_000 + b"}",
    "commas": b"1," * 1_000_000,
    "labels": b"Status = 1" + b", comment = , message = " * 40_000,
    "blanks": b"Status = 1, message = x" + b" " * 1_000_000 + b"y",
    "types": b"Status = 1, message = " + b", type = 1" * 100_000 + b"x",
    "lines": b"1,1\n" * 500_000,
    "errors": b"ERROR = 9 (" + b"(" * 1_000_000,
    "too long": b"1" * (MAX_BYTES + 1),
    "html": b"<html><head><title>502 Bad Gateway</title></head></html>",
}


@pytest.mark.parametrize("body", HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("expected", [Expected(), Expected(0, True), Expected(2, False)])
def test_huge_answers_end_in_reasonable_time(body: bytes, expected: Expected) -> None:
    began = time.process_time()
    with contextlib.suppress(UpstreamBadAnswer):
        decode(body, expected=expected)
    assert time.process_time() - began < 2  # quadratic reading would take minutes


@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize("all_", range(3))
def test_an_answer_cut_anywhere_never_tells_another_state(fmt: int, all_: int) -> None:
    body = render([MESSAGE], fmt=fmt, all=all_, many=False, charset="utf-8")
    for length in range(len(body)):
        try:
            answer = decode(body[:length], expected=Expected(all_, many=False))
        except UpstreamBadAnswer:
            continue
        assert not isinstance(answer, Refusal)
        assert [row.fields["status"] for row in answer] == ["1"]


def test_the_error_shows_an_excerpt_without_contents() -> None:
    with pytest.raises(UpstreamBadAnswer) as caught:
        decode("<html><p>79990000001 Секрет</p>".encode())
    assert caught.value.detail == (
        "The provider's XML can't be read; it starts '<html><*>*********** ******</*>'."
    )
