"""What names a message."""

import unicodedata

import pytest

from gateway.errors import InvalidArgument
from gateway.model.records import MAX_ID, StatusKey, other_spelling


@pytest.mark.parametrize(
    ("given", "phone"),
    [
        ("79990000001", "79990000001"),
        ("+79990000001", "79990000001"),
        (" 79990000001", "79990000001"),
        ("+7 (999) 000-00-01", "79990000001"),
        ("12345", "12345"),
        ("1" * 20, "1" * 20),
        ("Someone@Example.com", "Someone@Example.com"),
        ("+7\u00a0999\u202f000\u200900\u300001", "79990000001"),
        ("\t+7 999 000 00 01\r\n", "79990000001"),
        ("+7\u2011999\u2010000\u201300\u201401", "79990000001"),
        ("+7\u2212999\u2043000\ufe6300\u00ad01", "79990000001"),
        ("+7.999.000.00.01", "79990000001"),
        ("+7/999/000-00-01", "79990000001"),
        ("tel:+7-999-000-00-01", "79990000001"),
        ("TEL:79990000001", "79990000001"),
        ("\u202a+79990000001\u202c", "79990000001"),
        ("\u200e79990000001\ufeff", "79990000001"),
        (
            "\uff0b\uff17\uff08\uff19\uff19\uff19\uff09\uff10\uff10\uff10\uff0d\uff10\uff10\uff0d\uff10\uff11",
            "79990000001",
        ),
        ("(+7) 999 000 00 01", "79990000001"),
        ("8 (999) 000-00-01", "89990000001"),
        ("\u00a0someone@example.com\u200b", "someone@example.com"),
    ],
)
def test_phones_are_digits_or_an_address(given: str, phone: str) -> None:
    assert StatusKey.parse(id="1", phone=given) == StatusKey(phone, 1)


@pytest.mark.parametrize(
    "phone",
    ["", "1234", "1" * 21, "++79990000001", "7999+0000001", "7999000000a", "٧٩٩٩٠٠٠٠٠٠١"]
    + [
        "a@",
        "@b",
        "a@b@c",
        "a@b,c@d",
        "a b@c",
        "7999,7998",
        "x@" + "y" * 260,
        "a@b\n"[:3] + "\x00",
        "7999000\n0001",
        "tel:",
        "tel:+",
        "tel:+79990000001;ext=5",
        "fax:+79990000001",
        "+7 999 000 00 01 доб. 5",
        "7,999e10",
        "=79990000001",
        "\u2460999000000",
        " - - - ",
    ],
)
def test_other_phones_are_refused(phone: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^phone must be"):
        StatusKey.parse(id="1", phone=phone)


@pytest.mark.parametrize("id_", ["1", str(MAX_ID)])
def test_ids_in_range(id_: str) -> None:
    assert StatusKey.parse(id=id_, phone="12345").id == int(id_)


@pytest.mark.parametrize(
    "id_", ["", "0", "-1", "01", "1.0", "1e3", " 1", "١", "x", str(MAX_ID + 1)]
)
def test_other_ids_are_refused(id_: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^id must be a decimal number from 1 to 2147483647"):
        StatusKey.parse(id=id_, phone="12345")


@pytest.mark.parametrize(
    ("phone", "other"),
    [
        ("89990000001", "79990000001"),
        ("79990000001", "89990000001"),
        ("87010000001", "77010000001"),
        ("380990000001", None),
        ("8999000000", None),
        ("899900000011", None),
        ("9990000001", None),
        ("8someone@ex", None),
    ],
)
def test_russian_and_kazakh_numbers_have_two_spellings(phone: str, other: str | None) -> None:
    key = StatusKey(phone, 1)
    assert other_spelling(phone) == other
    assert key.canonical.phone == ("7" + phone[1:] if other else phone)
    assert other is None or StatusKey(other, 1).canonical == key.canonical


def test_every_space_and_dash_of_unicode_is_dropped() -> None:
    signs = (chr(code) for code in range(0x10000))
    for sign in signs:
        if unicodedata.category(sign) in {"Zs", "Pd"} or unicodedata.bidirectional(sign) in {
            *("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"),
        }:
            assert StatusKey.parse(id="1", phone=f"7999{sign}0000001").phone == "79990000001"
