"""Converts a row of a provider answer into a record of the normalised schema.

Unknown numbers survive as values, a value that can't be read is None, and nothing is guessed.
"""

import re
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from msgspec.structs import replace

from gateway.memo import memoize
from gateway.model.records import (
    DeliveryError,
    HlrLookup,
    LookupState,
    Message,
    MessageType,
    Money,
    Network,
    Porting,
    PortingStatus,
    ProviderStatus,
    Reachability,
    Record,
    RecordId,
    Roaming,
    RoamingStatus,
    StateGroup,
    StatusKey,
    Subscriber,
    TemplateKind,
)
from gateway.smsc import codes
from gateway.smsc.row import Row, bad_answer

_INTEGER = re.compile(r"[+-]?\d{1,12}(?=(?:\.0{1,9})?\Z)", re.ASCII)
"""Some JSON writers print the number 1 as `1.0`."""
_DECIMAL = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_DATE = re.compile(r"(\d{2})\.(\d{2})\.(\d{4})\s+(\d{2}):\s?(\d{2})(?::\s?(\d{2}))?", re.ASCII)
_MCCMNC = re.compile(r"(\d{3})(\d{1,3})?", re.ASCII)
"""A mobile country code has three digits, always (ITU E.212)."""
_LONGEST_NUMBER = 12
"""Digits: none of the provider's numbers has more."""
_LATEST = 253_402_300_799
"""The last second of the year 9999, the end of Python's and RFC 3339's calendar."""

_LOOKUP_FIELDS = frozenset({"imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"})
_MESSAGE_FIELDS = frozenset({"comment", "sms_cnt", "mccmnc", "operator_orig"})
_HLR_SENDER = "HLR"


class Found(NamedTuple):
    """A record; `certain` tells whether the answer itself showed its kind."""

    record: Record
    certain: bool


def normalise(
    row: Row,
    key: StatusKey,
    *,
    asked: type[Record] | None,
    zone: tzinfo,
    currency: str | None = None,
    believes: bool = True,
) -> Found | None:
    """Read a row, or None when the provider knows no such message (status -3).

    `asked` is the kind the caller asked for; it decides only where the answer shows nothing, or
    where the answer is not to be believed about its kind.
    `zone` is that of dates without one. A row without a status number is an `UpstreamBadAnswer`.
    """
    get = row.fields.get
    told = _told(get("status"), get("status_name"), get("err"), get("flag"), get("type"))
    if told is None:
        raise bad_answer("The provider's answer has a row without status", "")
    if told.status == codes.NOT_FOUND:
        return None
    shown = _shows_lookup(row, told.type) if believes else None
    if asked is HlrLookup if shown is None else shown:
        return Found(_lookup(told.lookup, row.fields, key, zone, currency), shown is not None)
    return Found(_message(told.message, row.fields, key, zone, currency), shown is not None)


# Fields are read from their texts: absent, empty and unreadable ones all tell nothing, None.


def _integer(text: str | None) -> int | None:
    """A number of 32 bits, as GraphQL's `Int`; the provider's own are far smaller."""
    if not text:
        return None
    number = _number(text)
    return number if number is None or -(2**31) <= number < 2**31 else None


def _time(timestamp: str | None, date: str | None, zone: tzinfo) -> datetime | None:
    """The timestamp wins; the date is the account's local clock (all recordings)."""
    seconds = _number(timestamp) if timestamp else None
    if seconds and 0 < seconds <= _LATEST:
        return datetime.fromtimestamp(seconds, UTC)
    match = _DATE.fullmatch(date) if date else None
    if match is None:
        return None
    day, month, year, hour, minute, second = map(int, match.groups("0"))
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=zone)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> int | None:
    if text.isdecimal() and text.isascii() and len(text) <= _LONGEST_NUMBER:
        return int(text)
    found = _INTEGER.match(text)
    return int(found[0]) if found else None


def _shows_lookup(row: Row, type_: int | None) -> bool | None:
    """Which kind the answer shows: True a lookup, False a message, None neither."""
    if type_ is not None:
        return type_ == codes.HLR_TYPE
    if not _LOOKUP_FIELDS.isdisjoint(row.fields):
        return True
    if sender := row.fields.get("sender_id"):
        return sender == _HLR_SENDER
    if not _MESSAGE_FIELDS.isdisjoint(row.fields):
        return False
    return row.lookup


def _error(err: int | None, group: StateGroup | None) -> DeliveryError | None:
    """`err` is "if the message was not delivered" (PAGE); of a lookup (`group` None) its result."""
    return codes.delivery_error(err) if err and group is not StateGroup.DELIVERED else None


# Small values repeat from message to message: made once, they cost neither time nor memory again.


@memoize(4096)
def _once(text: str | None) -> str | None:
    return text or None


@memoize(4096)
def _money(amount: str | None, currency: str | None) -> Money | None:
    if not amount or not _DECIMAL.fullmatch(amount):
        return None
    return Money(amount=amount, currency=currency)


@memoize(4096)
def _subscriber(
    country: str | None,
    operator: str | None,
    original: str | None,
    region: str | None,
    mccmnc: str | None,
) -> Subscriber | None:
    if not (country or operator or original or region or mccmnc):
        return None
    numbers = _MCCMNC.fullmatch(mccmnc or "")
    return Subscriber(
        country=country or None,
        operator=operator or None,
        original_operator=original or None,
        region=region or None,
        mcc=numbers[1] if numbers else None,
        mnc=numbers[2] if numbers else None,
    )


@memoize(4096)
def _network(
    name: str | None, country: str | None, mcc: str | None, mnc: str | None
) -> Network | None:
    if not (name or country or mcc or mnc):
        return None
    return Network(name=name or None, country=country or None, mcc=mcc or None, mnc=mnc or None)


class _Told(NamedTuple):
    """What a row's numbers say: a message, and a lookup, with all that follows from them alone."""

    status: int
    type: int | None
    message: Message
    lookup: HlrLookup


@memoize(4096)
def _told(
    status: str | None, words: str | None, err: str | None, flag: str | None, type: str | None
) -> _Told | None:
    """None: there is no status. Without `type`, bits 0-3 of `flag` tell it."""
    number, error, bits, type_ = map(_integer, (status, err, flag, type))
    if number is None:
        return None
    if type_ is None and bits is not None:
        type_ = bits & codes.FLAG_TYPE_MASK
    return _Told(
        number,
        type_,
        _message_told(number, words or None, error, bits, type_),
        _lookup_told(number, words or None, error, bits),
    )


def _message_told(
    status: int, words: str | None, err: int | None, flag: int | None, type_: int | None
) -> Message:
    known = codes.STATUSES.get(status, codes.UNKNOWN_STATUS)
    kind = codes.TYPES.get(type_, MessageType.UNKNOWN)
    if kind is MessageType.HLR:  # of a message that is known to be one
        kind = MessageType.UNKNOWN
    return Message(
        id=_LATER,
        phone=_LATER,
        type=kind,
        provider_status=ProviderStatus(code=status, name=known.name, text=words),
        error=_error(err, known.group),
        is_final=known.final,
        is_template=_bit(flag, codes.FLAG_TEMPLATE),
        paid_from_second_balance=_bit(flag, codes.FLAG_SECOND_BALANCE),
        state=known.state,
        state_group=known.group,
        rejection_reason=known.rejection,
        template=_template(flag),
        porting=_PORTING[PortingStatus.UNKNOWN],
        smpp=codes.SMPP_STATES[known.state],
    )


def _lookup_told(status: int, words: str | None, err: int | None, flag: int | None) -> HlrLookup:
    known = codes.STATUSES.get(status, codes.UNKNOWN_STATUS)
    reachability = _reachability(status, known, err)
    return HlrLookup(
        id=_LATER,
        phone=_LATER,
        type=MessageType.HLR,
        provider_status=ProviderStatus(code=status, name=known.name, text=words),
        error=_error(err, None),
        is_final=known.final,
        is_template=_bit(flag, codes.FLAG_TEMPLATE),
        paid_from_second_balance=_bit(flag, codes.FLAG_SECOND_BALANCE),
        state=_lookup_state(status, known, err),
        reachability=reachability,
        reachable=_reachable(reachability),
        roaming=Roaming(status=RoamingStatus.UNKNOWN),
    )


_LATER = RecordId("")
"""Stands in what is told of many, where each has its own."""


def _bit(flag: int | None, bit: int) -> bool | None:
    return None if flag is None else bool(flag & bit)


def _template(flag: int | None) -> TemplateKind | None:
    if flag is None or not flag & codes.FLAG_TEMPLATE:
        return None
    return codes.TEMPLATE_KINDS[flag >> codes.FLAG_TEMPLATE_KIND_SHIFT & 0b11]


def _message(
    told: Message, fields: dict[str, str], key: StatusKey, zone: tzinfo, currency: str | None
) -> Message:
    get = fields.get
    count = _integer(get("sms_cnt"))
    is_call = told.type is MessageType.CALL
    operator, original = get("operator"), get("operator_orig")
    # To copy one with changes takes a fraction of the time of making one with all that it has.
    return replace(
        told,
        id=RecordId(str(key.id)),
        phone=key.phone,
        last_status_time=_time(get("last_timestamp"), get("last_date"), zone),
        sent_at=_time(get("send_timestamp"), get("send_date"), zone),
        sender=_once(get("sender_id")),
        text=get("message") or None,
        cost=_money(get("cost"), currency),
        comment=get("comment") or None,
        parts=None if is_call else count,
        duration_seconds=count if is_call else None,
        subscriber=_subscriber(get("country"), operator, original, get("region"), get("mccmnc")),
        porting=_porting(operator, original),
    )


_PORTING = {status: Porting(status=status) for status in PortingStatus}


@memoize(4096)
def _porting(serving: str | None, issuing: str | None) -> Porting:
    if not serving or not issuing:
        return _PORTING[PortingStatus.UNKNOWN]
    same = serving.strip().casefold() == issuing.strip().casefold()
    return _PORTING[PortingStatus.NOT_PORTED if same else PortingStatus.PORTED]


def _lookup(
    told: HlrLookup, fields: dict[str, str], key: StatusKey, zone: tzinfo, currency: str | None
) -> HlrLookup:
    get = fields.get
    return replace(
        told,
        id=RecordId(str(key.id)),
        phone=key.phone,
        last_status_time=_time(get("last_timestamp"), get("last_date"), zone),
        sent_at=_time(get("send_timestamp"), get("send_date"), zone),
        sender=_once(get("sender_id")),
        text=get("message") or None,
        cost=_money(get("cost"), currency),
        imsi=get("imsi") or None,
        msc=get("msc") or None,
        home_network=_network(get("net"), get("cn"), get("mcc"), get("mnc")),
        roaming=_roaming(fields, told.reachability),
        subscriber=_subscriber(
            get("country"), get("operator"), get("operator_orig"), get("region"), get("mccmnc")
        ),
    )


def _lookup_state(status: int, known: codes.Status, err: int | None) -> LookupState:
    if status == codes.UNDELIVERABLE and err in codes.NETWORK_ERRORS:
        return LookupState.COMPLETED
    return known.lookup


_REACHED = frozenset({1, 2, 4})
_STATUS_REACHABILITY = {3: Reachability.ABSENT, 22: Reachability.INVALID_NUMBER}
_ERR_REACHABILITY = {
    6: Reachability.ABSENT,
    1: Reachability.INVALID_NUMBER,
    249: Reachability.INVALID_NUMBER,
    13: Reachability.BARRED,
    11: Reachability.SERVICE_NOT_AVAILABLE,
    21: Reachability.SERVICE_NOT_AVAILABLE,
}


def _reachability(status: int, known: codes.Status, err: int | None) -> Reachability:
    """An absent `err` is not 0 here: only "no error" says that the subscriber was reached."""
    if not known.final:
        return Reachability.UNDETERMINED
    if status in _REACHED and err == 0:
        return Reachability.REACHABLE
    if status in _STATUS_REACHABILITY:
        return _STATUS_REACHABILITY[status]
    if err in _ERR_REACHABILITY:
        return _ERR_REACHABILITY[err]
    if err in codes.NETWORK_ERRORS:
        return Reachability.UNREACHABLE
    return Reachability.UNDETERMINED


def _reachable(reachability: Reachability) -> bool | None:
    if reachability is Reachability.UNDETERMINED:
        return None
    return reachability is Reachability.REACHABLE


def _roaming(fields: dict[str, str], reachability: Reachability) -> Roaming:
    country, network = (fields.get("rcn") or None), (fields.get("rnet") or None)
    if country or network:
        status = RoamingStatus.ROAMING
    elif reachability is Reachability.REACHABLE and "rcn" in fields and "rnet" in fields:
        status = RoamingStatus.NOT_ROAMING
    else:
        status = RoamingStatus.UNKNOWN
    return Roaming(status=status, country=country, network=network)
