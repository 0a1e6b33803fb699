"""The answer to a deletion, in whichever form it comes."""

import random
from collections import Counter

import pytest

from gateway.errors import UpstreamBadAnswer
from gateway.simulator import render_error
from gateway.smsc.reply import decode_deletion
from gateway.smsc.row import Refusal


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"ok\r\n",
        b"\xef\xbb\xbfOK",
        b"OK - deleted",
        b'{"result": "OK"}',
        b'{\n"result": "ok",\n"id": 1\n}',
        b"<result>OK</result>",
        b'<?xml version="1.0" encoding="utf-8"?>\n<sms>\n<result>OK</result>\n</sms>',
    ],
)
def test_done(body: bytes) -> None:
    assert decode_deletion(body) is None


@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize("number", [1, 2, 4, 5, 9])
def test_refused(fmt: int, number: int) -> None:
    answer = decode_deletion(render_error(number, fmt=fmt))
    assert isinstance(answer, Refusal)
    assert answer.number == number


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b",",
        b"1,1700000000,0",
        b"Status = 1, check_time = 15.11.2023 01:13:20, err = 0",
        b'{"status": 1}',
        b'{"result": "FAILED"}',
        b'["OK"]',
        b"OKAY",
        b"<html><body>OK</body></html>",
        b"<html><head><title>502 Bad Gateway</title></head></html>",
        b"not OK",
        b"\xff\xfe",
        b"OK" + b"A" * 5_000_000,
    ],
)
def test_anything_else_does_not_say_that_it_is_deleted(body: bytes) -> None:
    with pytest.raises(UpstreamBadAnswer):
        decode_deletion(body)


def test_hostile_bytes_are_done_refused_or_the_one_error() -> None:
    random_ = random.Random(1)
    pieces = [b"OK", b"<", b">", b"result", b"{", b"}", b'"', b":", b"error_code", b"5", b"\xff"]
    told: Counter[str] = Counter()
    for _ in range(20_000):
        body = b"".join(random_.choices(pieces, k=random_.randrange(12)))
        try:
            answer = decode_deletion(body)
            told["done" if answer is None else "refused"] += 1
        except UpstreamBadAnswer:
            told["bad"] += 1
    assert told["done"] > 100, told
    assert told["bad"] > 100, told
