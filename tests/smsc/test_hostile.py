"""Whatever the bytes are: rows, a refusal, or the one named error; and soon."""

import contextlib
import gc
import random
import time
from collections.abc import Callable

import msgspec
import pytest

from gateway.errors import UpstreamBadAnswer
from gateway.model.records import StatusKey
from gateway.settings import load
from gateway.simulator import render, render_error
from gateway.simulator.samples import LOOKUP, MESSAGE
from gateway.smsc.normalise import normalise
from gateway.smsc.reply import MAX_BYTES, decode
from gateway.smsc.row import Expected, Refusal
from tests.support.size import size, soak

ZONE = load({"GATEWAY_SMSC_API_KEY": "k"}).zone
CHARSETS = ("utf-8", "windows-1251", "koi8-r")
CASES = size(small=1_000, whole=10_000)
"""Of each part."""
PARTS = size(small=1, whole=25)
"""Of each format: a million answers in all, where it is the whole."""

PIECES = [
    *(b"<sms>", b"</sms>", b"<list>", b"<result>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;"),
    *(b"<?xml version='1.0' encoding='utf-16'?>", b"]]>", b"<![CDATA[", b"&#0;", b"&#x110000;"),
    *(b"{", b"}", b"[", b"]", b'"', b"\\ud800", b"\\u0000", b"null", b"NaN", b"1e999", b"-0"),
    *(b"Status = ", b", message = ", b", comment = ", b", type = 0", b", ID = 1", b"ERROR = "),
    *(b"0,-", b"-3", b",,,,,,,,", b"HLR", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"99999999999999999999", b"1" * 400, b"31.02.2023 25:61:61", b"\xf0\x9f\x98\x80", b"\x98"),
]


def mangled(random_: random.Random, fmt: int) -> bytes:
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


@soak
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("fmt", range(4))
def test_mangled_answers_are_records_or_the_named_error(fmt: int, part: int) -> None:
    random_ = random.Random(f"{fmt} {part}")
    read = 0
    for _ in range(CASES):
        body = mangled(random_, fmt)
        expected = Expected(
            random_.choice([None, 0, 1, 2]),
            random_.choice([None, True, False]),
            random_.choice([None, 1, 2]),
        )
        read += _is_read(body, random_.choice(CHARSETS), expected)
    assert read > CASES / 10  # else the cases are too hostile to say anything


def _is_read(body: bytes, charset: str, expected: Expected) -> bool:
    try:
        answer = decode(body, charset=charset, expected=expected)
        for row in [] if isinstance(answer, Refusal) else answer:
            found = normalise(row, StatusKey("79990000001", 1), asked=None, zone=ZONE)
            if found:
                msgspec.json.encode(found.record)
    except UpstreamBadAnswer:
        return False
    return True


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha">]><sms><status>&a;</status></sms>'
PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"

HUGE: dict[str, Callable[[int], bytes]] = {
    "zeros": bytes,
    "deep json": lambda size: b"[" * size,
    "deep objects": lambda size: b'{"a":' * (size // 5),
    "deep xml": lambda size: b"<sms>" * (size // 5),
    "bare signs": lambda size: b"<sms>" + b"&<" * (size // 2),
    "one long number": lambda size: b'{"status": ' + b"1" * size + b"}",
    "commas": lambda size: b"1," * (size // 2),
    "labels": lambda size: b"Status = 1" + b", comment = , message = " * (size // 24),
    "blanks": lambda size: b"Status = 1, message = x" + b" " * size + b"y",
    "types": lambda size: b"Status = 1, message = " + b", type = 1" * (size // 10) + b"x",
    "lines": lambda size: b"1,1\n" * (size // 4),
    "errors": lambda size: b"ERROR = 9 (" + b"(" * size,
}
"""What a careless reader reads again and again; each about so many bytes long."""


@pytest.mark.parametrize("piece", HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("expected", [Expected(), Expected(0, True), Expected(2, False)])
def test_ten_times_as_much_takes_no_more_than_some_times_as_long(
    piece: Callable[[int], bytes], expected: Expected
) -> None:
    """Quadratic reading takes a hundred times as long for ten times as much."""
    once, tenfold = (seconds_to_read(piece(size), expected) for size in (20_000, 200_000))
    assert tenfold < 40 * once + 10 * seconds_to_read(GOOD, Expected())


def seconds_to_read(body: bytes, expected: Expected) -> float:
    """CPU time without the garbage collector's, whose share grows with all that the tests hold.

    The least of three, for a busy machine makes some of them longer.
    """

    def once() -> float:
        began = time.thread_time()
        with contextlib.suppress(UpstreamBadAnswer):
            decode(body, expected=expected)
        return time.thread_time() - began

    gc.disable()
    try:
        return min(once() for _ in range(3))
    finally:
        gc.enable()


GOOD = render([MESSAGE] * 100, fmt=3, all=2, many=True, charset="utf-8")
"""What is read every minute, as a yardstick for what takes next to no time."""


@pytest.mark.parametrize("body", [b"", b",", bytes(1000), b"1" * (MAX_BYTES + 1), LAUGHS, PAGE])
def test_what_is_no_answer_is_the_named_error(body: bytes) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode(body)


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
