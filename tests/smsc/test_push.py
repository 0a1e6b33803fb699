"""The push: what is signed is read, and nothing else."""

import contextlib
import random
from urllib.parse import quote, quote_from_bytes, urlencode

import pytest

from gateway.errors import Forbidden, InvalidArgument
from gateway.model.records import HlrLookup, Message, StatusKey
from gateway.settings import load
from gateway.simulator.push import signed
from gateway.smsc.normalise import Found, normalise
from gateway.smsc.push import Push, read_form, spellings, usual_spelling, verify
from tests.support.size import size, soak

SECRET = "zxc"
PHONE = "79998887766"
MD5 = "811e077235d1871bb1824f9e4c1a7bff"
SHA1 = "9baad458ca78b2484ecfd0eaf72fbe8d1b0df471"
STATUS = {"id": "30", "phone": PHONE, "status": "1"}
ZONE = load({"GATEWAY_SMSC_API_KEY": "k"}).zone
CASES = size(small=5_000, whole=100_000)


def read(form: dict[str, str] | bytes) -> Push | None:
    return verify(read_form(form if isinstance(form, bytes) else urlencode(form).encode()), SECRET)


def read_signed(**fields: str) -> Push:
    push = read(signed(STATUS | fields, SECRET))
    assert push is not None
    return push


def found(**fields: str) -> Found:
    push = read_signed(**fields)
    result = normalise(
        push.row,
        push.key,
        asked=None,
        zone=ZONE,
    )
    assert result is not None
    return result


# Signatures


@pytest.mark.parametrize(
    "signatures",
    [
        {"md5": MD5},
        {"sha1": SHA1},
        {"md5": MD5, "sha1": SHA1},
        {"md5": MD5.upper()},
        {"sha1": SHA1.upper()},
        {"md5": MD5, "sha1": ""},
        {"md5": MD5, "crc32": "1"},
    ],
)
def test_either_signature_is_enough(signatures: dict[str, str]) -> None:
    push = read(STATUS | signatures)
    assert push is not None
    assert push.key == StatusKey(PHONE, 30)
    assert push.row.fields == {"status": "1"}


@pytest.mark.parametrize(
    "changed",
    [
        {"md5": ""},
        {"md5": MD5[:-1] + "0"},
        {"md5": MD5[:-1]},
        {"md5": MD5 + "0"},
        {"md5": SHA1},
        {"md5": MD5, "sha1": SHA1[:-1] + "0"},
        {"md5": "Ω" * 32},
        {"md5": MD5, "status": "2"},
        {"md5": MD5, "id": "31"},
        {"md5": MD5, "phone": f"+{PHONE}"},
        {"md5": MD5, "phone": f" {PHONE}"},
        {"md5": MD5, "status": "01"},
        {"md5": MD5, "status": ""},
        {"MD5": MD5},
        {"sha256": MD5},
        {"crc32": "1", "err": "0"},
    ],
)
def test_anything_else_is_no_signature(changed: dict[str, str]) -> None:
    with pytest.raises(Forbidden) as caught:
        read(STATUS | changed)
    assert PHONE not in str(caught.value)
    assert "missing or wrong" in str(caught.value)


def test_the_secret_decides() -> None:
    with pytest.raises(Forbidden):
        verify(read_form(urlencode(STATUS | {"md5": MD5}).encode()), "zxd")
    assert verify(STATUS | signed(STATUS, "пароль"), "пароль")


@pytest.mark.parametrize("left_out", STATUS)
def test_a_signed_field_that_is_missing_is_no_status(left_out: str) -> None:
    with pytest.raises(Forbidden):
        read({name: value for name, value in STATUS.items() if name != left_out} | {"md5": MD5})


@pytest.mark.parametrize("spelling", [f"+{PHONE}", "+7 (999) 888-77-66", " 79998887766 "])
def test_the_phone_is_signed_as_sent_and_read_as_digits(spelling: str) -> None:
    assert read_signed(phone=spelling).key == StatusKey(PHONE, 30)


def test_an_email_is_a_phone_too() -> None:
    assert read_signed(phone="a@b.example").key.phone == "a@b.example"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"id": "0"}, "id"),
        ({"id": "2147483648"}, "id"),
        ({"id": "x"}, "id"),
        ({"phone": "12"}, "phone"),
        ({"phone": "79998887766,79998887767"}, "phone"),
        ({"status": "x"}, "status"),
        ({"status": "²"}, "status"),
        ({"status": "1" * 10}, "status"),
        ({"status": "--1"}, "status"),
    ],
)
def test_what_is_signed_but_no_status_is_named(fields: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        read_signed(**fields)


# The form


def test_the_address_may_hold_fields_and_the_body_overrules_it() -> None:
    query = urlencode({"charset": "utf-8", "sha1": SECRET, "token": "x"}).encode()
    body = urlencode(STATUS | {"sha1": SHA1}).encode()
    assert verify(read_form(query, body), SECRET)
    assert verify(read_form(urlencode(STATUS).encode(), f"md5={MD5}".encode()), SECRET)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (f"id=30&phone={PHONE}&status=1&status=2&md5={MD5}", "status is given twice"),
        (f"id=30&id=30&phone={PHONE}&status=1&md5={MD5}", "id is given twice"),
        (f"x{PHONE}=1&x{PHONE}=2", "a field is given twice"),
        ("&".join(f"a{n}=1" for n in range(65)), "at most 64 fields"),
    ],
)
def test_a_form_that_can_be_read_in_two_ways_is_refused(form: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as caught:
        read(form.encode())
    assert PHONE not in str(caught.value)


@pytest.mark.parametrize(
    "raw", [quote("Россия"), quote_from_bytes("Россия".encode("windows-1251"))]
)
def test_texts_come_in_utf_8_or_windows_1251(raw: str) -> None:
    form = urlencode(signed(STATUS | {"flag": "4"}, SECRET)) + f"&cn={raw}"
    push = read(form.encode())
    assert push
    assert push.row.fields["cn"] == "Россия"


def test_unescaped_bytes_are_read_alike() -> None:
    form = urlencode(signed(STATUS | {"flag": "4"}, SECRET)).encode() + "&cn=Россия".encode()
    assert (read(form) or read_signed()).row.fields["cn"] == "Россия"


@pytest.mark.parametrize(
    "form",
    [
        {"phone": PHONE, "mes": "text", "to": "234", "sha1": "b6f768ce"},
        {"phone": PHONE, "mes": "", "to": "234"},
        {"phone": PHONE, "waitcall": "1", "ts": "1"},
    ],
)
def test_incoming_messages_and_calls_are_nothing_to_us(form: dict[str, str]) -> None:
    assert read(form) is None


def test_what_names_a_status_needs_its_signature_whatever_else_it_holds() -> None:
    with pytest.raises(Forbidden):
        read(STATUS | {"mes": "text", "md5": "0" * 32})


# What is told


def test_a_message_with_everything() -> None:
    record, certain = found(
        status="20", err="6", ts="1700000000", time="01.01.2001 00:00:00", type="0", flag="0",
        cost="3.20", cnt="2",
    )  # fmt: skip
    assert certain
    assert isinstance(record, Message)
    assert (record.state, record.parts, record.type) == ("UNDELIVERABLE", 2, "SMS")
    assert record.error is not None
    assert record.error.code == "ABSENT_SUBSCRIBER"
    assert record.cost is not None
    assert record.cost.amount == "3.20"
    assert record.last_status_time is not None
    assert record.last_status_time.timestamp() == 1_700_000_000


def test_a_date_stands_in_for_a_missing_timestamp() -> None:
    record, _ = found(time="15.11.2023 01:13:20")
    assert record.last_status_time is not None
    assert record.last_status_time.timestamp() == 1_700_000_000


LOOKUP = {"imsi": "250023012345678", "msc": "79232510066", "mcc": "250", "mnc": "02"}
EMPTY = dict.fromkeys(["imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"], "")


@pytest.mark.parametrize(
    ("fields", "kind", "certain"),
    [
        ({}, Message, False),
        ({"type": "0"}, Message, True),
        ({"flag": "0"}, Message, True),
        ({"type": "4"}, HlrLookup, True),
        ({"flag": "36"}, HlrLookup, True),
        (LOOKUP, HlrLookup, True),
        (LOOKUP | {"type": "4"}, HlrLookup, True),
        (EMPTY, Message, False),
        (EMPTY | {"type": "x"}, Message, False),
        (EMPTY | {"type": "4"}, HlrLookup, True),
        (EMPTY | {"type": "0"}, Message, True),
        ({"cnt": "1"}, Message, False),
        ({"type": "", "flag": "x"}, Message, False),
    ],
)
def test_the_kind_is_what_the_push_shows(fields: dict[str, str], kind: type, certain: bool) -> None:
    record, is_certain = found(**fields)
    assert (type(record), is_certain) == (kind, certain)


def test_a_subscriber_at_home() -> None:
    record, _ = found(**(EMPTY | LOOKUP | {"type": "4", "err": "0", "cn": "Россия"}))
    assert isinstance(record, HlrLookup)
    assert (record.reachable, record.roaming.status) == (True, "NOT_ROAMING")


# Spellings of phones


@pytest.mark.parametrize(
    ("phone", "forms"),
    [
        ("79998887766", ("79998887766", "89998887766")),
        ("89998887766", ("89998887766", "79998887766")),
        ("9998887766", ("9998887766", "79998887766", "89998887766")),
        ("380501234567", ("380501234567",)),
        ("77", ("77",)),
        ("a@b.example", ("a@b.example",)),
        ("8@bbbbbbbbb", ("8@bbbbbbbbb",)),
    ],
)
def test_forms_of_a_phone(phone: str, forms: tuple[str, ...]) -> None:
    assert spellings(phone) == forms


@pytest.mark.parametrize(
    ("phone", "usual"),
    [
        ("89998887766", "79998887766"),
        ("84951234567", "84951234567"),
        ("8999888776", "8999888776"),
        ("79998887766", "79998887766"),
    ],
)
def test_only_what_can_be_no_other_country_is_written_anew(phone: str, usual: str) -> None:
    assert usual_spelling(phone) == usual


# Hostile bytes

PIECES = [
    *(b"id=", b"phone=", b"status=", b"md5=", b"sha1=", b"mes=", b"waitcall=", b"type=4", b"ts="),
    *(b"&", b"=", b";", b"%", b"%00", b"%zz", b"%ff", b"%98", b"+", b"\x00", b"\xff", b"\xd0"),
    *(b"99999999999999999999", b"-3", b"imsi=", b"err=x", b"\xed\xa0\x80", b"%ed%a0%80", b"\n"),
]


def _mangled(random_: random.Random) -> bytes:
    """Any bytes, or a push that is right but for a few things."""
    if random_.random() < 0.2:
        return b"".join(random_.choices(PIECES, k=random_.randrange(30)))
    fields = STATUS | {"err": "0", "ts": "1700000000", "type": "4", **LOOKUP}
    if random_.random() < 0.5:
        name = random_.choice(list(fields))
        fields[name] = random_.choice(["", "x", "-3", "²", "9" * 30, "\x00", "1e9", "NaN", "٣"])
    form = bytearray(urlencode(signed(fields, SECRET)).encode())
    for _ in range(random_.randrange(3)):
        at = random_.randrange(len(form) + 1)
        form[at : at + random_.randrange(4)] = random_.choice(PIECES)
    return bytes(form)


@soak
def test_whatever_comes_is_a_status_or_one_of_two_errors() -> None:
    random_ = random.Random(1)
    read_ = 0
    for _ in range(CASES):
        with contextlib.suppress(Forbidden, InvalidArgument):
            push = read(_mangled(random_))
            if push is not None:
                read_ += 1
                normalise(
                    push.row,
                    push.key,
                    asked=None,
                    zone=ZONE,
                )
    assert read_ > CASES / 100
