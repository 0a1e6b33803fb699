"""Rows become records by the contract's tables."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.records import (
    DeliveryErrorCode,
    HlrLookup,
    Message,
    MessageType,
    Record,
    RoamingStatus,
    StatusKey,
)
from gateway.smsc import codes
from gateway.smsc.normalise import Found, normalise
from gateway.smsc.row import Row

KEY = StatusKey("79990000001", 1)
MOSCOW = ZoneInfo("Europe/Moscow")


def found(asked: type[Record] | None = None, **fields: object) -> Found:
    row = Row({name: str(value) for name, value in fields.items()})
    result = normalise(row, KEY, asked=asked, zone=MOSCOW)
    assert result is not None
    return result


def message(**fields: object) -> Message:
    record = found(Message, **fields).record
    assert isinstance(record, Message)
    return record


def lookup(**fields: object) -> HlrLookup:
    record = found(HlrLookup, **fields).record
    assert isinstance(record, HlrLookup)
    return record


@pytest.mark.parametrize(
    ("status", "state", "group", "final", "smpp", "name"),
    [
        (-2, "PAUSED", "PENDING", False, (0, "SCHEDULED"), "Stopped"),
        (-1, "QUEUED", "PENDING", False, (0, "SCHEDULED"), "Waiting to be sent"),
        (0, "SENT", "PENDING", False, (1, "ENROUTE"), "Handed over to the operator"),
        (1, "DELIVERED", "DELIVERED", True, (2, "DELIVERED"), "Delivered"),
        (2, "READ", "DELIVERED", True, (2, "DELIVERED"), "Read"),
        (3, "EXPIRED", "FAILED", True, (3, "EXPIRED"), "Expired"),
        (4, "CLICKED", "DELIVERED", True, (2, "DELIVERED"), "Link clicked"),
        (20, "UNDELIVERABLE", "FAILED", True, (5, "UNDELIVERABLE"), "Impossible to deliver"),
        (22, "REJECTED", "FAILED", True, (8, "REJECTED"), "Invalid number"),
        (23, "REJECTED", "FAILED", True, (8, "REJECTED"), "Prohibited"),
        (24, "REJECTED", "FAILED", True, (8, "REJECTED"), "Insufficient funds"),
        (25, "REJECTED", "FAILED", True, (8, "REJECTED"), "Unavailable number"),
        (6, "UNKNOWN", "UNKNOWN", False, (7, "UNKNOWN"), "Unknown"),
        (-77, "UNKNOWN", "UNKNOWN", False, (7, "UNKNOWN"), "Unknown"),
    ],
)
def test_message_states(
    status: int, state: str, group: str, final: bool, smpp: tuple[int, str], name: str
) -> None:
    record = message(status=status)
    assert (record.state, record.state_group, record.is_final) == (state, group, final)
    assert (record.smpp.code, record.smpp.name) == smpp
    assert (record.provider_status.code, record.provider_status.name) == (status, name)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(22, "INVALID_NUMBER"), (23, "PROHIBITED"), (24, "INSUFFICIENT_FUNDS"), (25, "UNROUTABLE")]
    + [(status, None) for status in (-2, -1, 0, 1, 2, 3, 4, 20, 99)],
)
def test_rejection_reasons(status: int, reason: str | None) -> None:
    assert message(status=status).rejection_reason == reason


@pytest.mark.parametrize(
    ("status", "err", "state", "reachability", "reachable"),
    [
        (-2, 0, "PENDING", "UNDETERMINED", None),
        (-1, 0, "PENDING", "UNDETERMINED", None),
        (0, 6, "PENDING", "UNDETERMINED", None),
        (99, 1, "UNKNOWN", "UNDETERMINED", None),
        (1, 0, "COMPLETED", "REACHABLE", True),
        (2, 0, "COMPLETED", "REACHABLE", True),
        (4, 0, "COMPLETED", "REACHABLE", True),
        (1, None, "COMPLETED", "UNDETERMINED", None),
        (1, 6, "COMPLETED", "ABSENT", False),
        (20, 6, "COMPLETED", "ABSENT", False),
        (3, None, "EXPIRED", "ABSENT", False),
        (3, 0, "EXPIRED", "ABSENT", False),
        (20, 1, "COMPLETED", "INVALID_NUMBER", False),
        (20, 249, "FAILED", "INVALID_NUMBER", False),
        (22, None, "FAILED", "INVALID_NUMBER", False),
        (20, 13, "COMPLETED", "BARRED", False),
        (20, 11, "COMPLETED", "SERVICE_NOT_AVAILABLE", False),
        (20, 21, "COMPLETED", "SERVICE_NOT_AVAILABLE", False),
        (20, 12, "COMPLETED", "UNREACHABLE", False),
        (20, 199, "COMPLETED", "UNREACHABLE", False),
        (20, 0, "FAILED", "UNDETERMINED", None),
        (20, None, "FAILED", "UNDETERMINED", None),
        (20, 200, "FAILED", "UNDETERMINED", None),
        (23, 253, "FAILED", "UNDETERMINED", None),
        (25, 248, "FAILED", "UNDETERMINED", None),
        (24, None, "FAILED", "UNDETERMINED", None),
    ],
)
def test_lookup_states(
    status: int, err: int | None, state: str, reachability: str, reachable: bool | None
) -> None:
    record = lookup(status=status, **({} if err is None else {"err": err}))
    assert (record.state, record.reachability, record.reachable) == (state, reachability, reachable)


@pytest.mark.parametrize(
    ("fields", "kind", "certain"),
    [
        ({"type": 4}, HlrLookup, True),
        ({"type": 0, "imsi": ""}, Message, True),
        ({"flag": 4}, HlrLookup, True),
        ({"flag": 36}, HlrLookup, True),
        ({"flag": 0}, Message, True),
        ({"imsi": ""}, HlrLookup, True),
        ({"sender_id": "HLR"}, HlrLookup, True),
        ({"sender_id": "SHOP"}, Message, True),
        ({"comment": ""}, Message, True),
        ({"err": 0}, Message, False),
    ],
)
def test_the_answer_shows_its_kind(
    fields: dict[str, object], kind: type[Record], certain: bool
) -> None:
    result = found(None, status=1, **fields)
    assert (type(result.record), result.certain) == (kind, certain)
    if certain:
        other = Message if kind is HlrLookup else HlrLookup
        assert type(found(other, status=1, **fields).record) is kind


@pytest.mark.parametrize(
    ("country", "network", "status", "roaming"),
    [
        ("Казахстан", "Kcell", 1, RoamingStatus.ROAMING),
        ("", "Kcell", 20, RoamingStatus.ROAMING),
        ("", "", 1, RoamingStatus.NOT_ROAMING),
        ("", "", 20, RoamingStatus.UNKNOWN),
    ],
)
def test_roaming(country: str, network: str, status: int, roaming: RoamingStatus) -> None:
    record = lookup(status=status, err=0 if status == 1 else 6, rcn=country, rnet=network)
    assert record.roaming.status is roaming


@pytest.mark.parametrize(
    ("operator", "original", "porting"),
    [
        ("МегаФон", "МТС", "PORTED"),
        ("МТС", "мтс ", "NOT_PORTED"),
        ("МТС", "", "UNKNOWN"),
        ("", "МТС", "UNKNOWN"),
    ],
)
def test_porting(operator: str, original: str, porting: str) -> None:
    assert message(status=1, operator=operator, operator_orig=original).porting.status == porting


@pytest.mark.parametrize(
    ("flag", "template", "second"),
    [
        (0, None, False),
        (32, None, True),
        (512, None, False),
        (256, "SERVICE", False),
        (256 + 512, "TRANSACTIONAL", False),
        (256 + 1024 + 32, "AUTHORIZATION", True),
        (256 + 1536, "ADVERTISING", False),
        (None, None, None),
    ],
)
def test_flag_bits(flag: int | None, template: str | None, second: bool | None) -> None:
    record = message(status=1, **({} if flag is None else {"flag": flag}))
    assert (record.template, record.paid_from_second_balance) == (template, second)


def test_the_type_says_what_is_counted() -> None:
    call = message(status=1, type=7, sms_cnt=34)
    assert (call.parts, call.duration_seconds) == (None, 34)
    sms = message(status=1, type=0, sms_cnt=2)
    assert (sms.parts, sms.duration_seconds) == (2, None)


@pytest.mark.parametrize(("number", "name"), codes.TYPES.items())
def test_types(number: int, name: MessageType) -> None:
    assert found(None, status=1, type=number).record.type is name
    assert found(None, status=1, flag=number + 32).record.type is name


def test_an_unknown_type_survives_as_unknown() -> None:
    assert message(status=1, type=9).type is MessageType.UNKNOWN


@pytest.mark.parametrize(("number", "reason"), codes.REASONS.items())
def test_delivery_errors(number: int, reason: codes.Reason) -> None:
    error = message(status=20, err=number).error
    assert error is not None
    assert (error.code, error.category, error.permanent) == reason[:3]
    assert error.provider_code == number


def test_an_unknown_delivery_error_keeps_its_number() -> None:
    error = message(status=20, err=77).error
    assert error is not None
    assert (error.code, error.provider_code) == (DeliveryErrorCode.UNMAPPED, 77)
    assert error.permanent is None


@pytest.mark.parametrize("err", ["0", "", "x"])
def test_no_error(err: str) -> None:
    assert message(status=1, err=err).error is None


def test_every_delivery_error_code_has_its_number() -> None:
    named = {reason.code for reason in codes.REASONS.values()}
    assert named == set(DeliveryErrorCode) - {DeliveryErrorCode.UNMAPPED}


def test_every_table_row_has_its_source() -> None:
    known = {"PAGE", "STATUSES", "ERRORS", "CLIENTS", "none"}
    sources = [status.source for status in (*codes.STATUSES.values(), codes.UNKNOWN_STATUS)]
    sources += [reason.source for reason in codes.REASONS.values()]
    assert all(set(source.split(", ")) <= known for source in sources)


def test_the_timestamp_wins_over_the_date() -> None:
    record = message(status=1, last_timestamp=1_700_000_000, last_date="01.01.2000 00:00:00")
    assert record.last_status_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize("timestamp", ["", "0", "-5", "x", "99999999999999"])
def test_without_a_timestamp_the_date_is_read_in_the_zone(timestamp: str) -> None:
    record = message(status=1, last_timestamp=timestamp, last_date="15.11.2023 01:13:20")
    assert record.last_status_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize("date", ["", "31.02.2023 00:00:00", "2023-11-15 01:13:20", "x"])
def test_an_unreadable_date_is_none(date: str) -> None:
    assert message(status=1, last_date=date).last_status_time is None


@pytest.mark.parametrize(
    ("cost", "amount"), [("3.20", "3.20"), ("0", "0"), ("free", None), ("", None)]
)
def test_money_keeps_its_digits(cost: str, amount: str | None) -> None:
    money = message(status=1, cost=cost).cost
    assert (money.amount if money else None) == amount


def test_codes_keep_their_zeros() -> None:
    subscriber = message(status=1, mccmnc="25002").subscriber
    assert subscriber is not None
    assert (subscriber.mcc, subscriber.mnc) == ("250", "02")
    home = lookup(status=1, mcc="250", mnc="02").home_network
    assert home is not None
    assert (home.mcc, home.mnc) == ("250", "02")


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8)), st.integers(-99, 99))
def test_unknown_fields_do_no_harm(fields: dict[str, str], status: int) -> None:
    row = Row({**fields, "status": str(status)})
    result = normalise(row, KEY, asked=Message, zone=MOSCOW)
    assert (result is None) == (status == codes.NOT_FOUND)


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", "999999999999"])
def test_a_number_beyond_32_bits_is_not_one(text: str) -> None:
    """GraphQL's `Int` could not tell it, and a whole record would be lost for it."""
    found = normalise(
        Row({"status": "20", "err": text, "sms_cnt": text, "last_timestamp": "4000000000"}),
        StatusKey("79990000001", 1),
        asked=Message,
        zone=UTC,
    )
    assert found is not None
    assert isinstance(found.record, Message)
    assert (found.record.error, found.record.parts) == (None, None)
    assert found.record.last_status_time == datetime.fromtimestamp(4_000_000_000, UTC)


@pytest.mark.parametrize("status", [1, 2, 4])
def test_what_was_delivered_shows_no_error(status: int) -> None:
    """PAGE: `err` is "error code if the message was not delivered"."""
    assert message(status=status, err=6).error is None
    shown = lookup(status=status, err=6).error
    assert shown is not None
    assert shown.code is DeliveryErrorCode.ABSENT_SUBSCRIBER


@pytest.mark.parametrize("status", [-1, 0, 3, 20, 25, 77])
def test_what_was_not_delivered_shows_its_error(status: int) -> None:
    error = message(status=status, err=6).error
    assert error is not None
    assert error.code is DeliveryErrorCode.ABSENT_SUBSCRIBER


@pytest.mark.parametrize(
    ("flag", "template", "second"),
    [(None, None, None), (0, False, False), (32, False, True), (256 + 512, True, False)],
)
def test_flags_are_told_of_both_kinds(
    flag: int | None, template: bool | None, second: bool | None
) -> None:
    given = {} if flag is None else {"flag": flag}
    lookup_given = {} if flag is None else {"flag": flag + 4}
    for record in (message(status=1, **given), lookup(status=1, **lookup_given)):
        assert (record.is_template, record.paid_from_second_balance) == (template, second)


@pytest.mark.parametrize(
    ("mccmnc", "told"),
    [
        ("25002", ("250", "02")),
        ("310410", ("310", "410")),
        ("2502", ("250", "2")),
        ("250", ("250", None)),
        ("25", (None, None)),
        ("2500201", (None, None)),
        ("250-2", (None, None)),
    ],
)
def test_a_country_code_has_three_digits(mccmnc: str, told: tuple[str | None, str | None]) -> None:
    subscriber = message(status=1, mccmnc=mccmnc).subscriber
    assert subscriber is not None
    assert (subscriber.mcc, subscriber.mnc) == told
