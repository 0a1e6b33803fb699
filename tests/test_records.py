"""What names a message."""

import pytest

from gateway.errors import InvalidArgument
from gateway.records import MAX_ID, StatusKey


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
    ],
)
def test_phones_are_digits_or_an_address(given: str, phone: str) -> None:
    assert StatusKey.parse(id="1", phone=given) == (phone, 1)


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
