"""A row of the provider becomes a record of the normalised schema.

Unknown numbers survive as values, a value that can't be read is None, and nothing is guessed.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from gateway.memo import memoize
from gateway.records import (
    DeliveryError,
    HlrLookup,
    LookupState,
    Message,
    MessageState,
    MessageType,
    Money,
    Network,
    Porting,
    PortingStatus,
    ProviderStatus,
    Reachability,
    Record,
    RecordId,
    RejectionReason,
    Roaming,
    RoamingStatus,
    SmppState,
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
_USUAL_LENGTH, _LONGEST_NUMBER = 9, 12
"""Digits: with so many a number has 32 bits for certain, with more none of the provider's is."""
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
    fields = _Fields(row.fields, zone)
    status = fields.integer("status")
    if status is None:
        raise bad_answer("The provider's answer has a row without status", "")
    if status == codes.NOT_FOUND:
        return None
    shown = _shows_lookup(row, fields) if believes else None
    lookup = asked is HlrLookup if shown is None else shown
    read = _lookup if lookup else _message
    return Found(read(fields, key, status, currency), shown is not None)


_Get = Callable[[str], str | None]
"""Gives a field's text by its name."""


class _Fields:
    """A row's values, each read as what it has to be; unreadable and empty ones are None.

    `type` is the number of that name, or where only `flag` is told, its bits 0-3.
    """

    __slots__ = ("_given", "_zone", "flag", "get", "type")

    def __init__(self, fields: dict[str, str], zone: tzinfo) -> None:
        self._given = fields
        self._zone = zone
        self.get: _Get = fields.get
        self.flag = self.integer("flag")
        self.type = self.integer("type")
        if self.type is None and self.flag is not None:
            self.type = self.flag & codes.FLAG_TYPE_MASK

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def integer(self, name: str) -> int | None:
        """A number of 32 bits, as GraphQL's `Int`; the provider's own are far smaller."""
        text = self.get(name)
        if not text:
            return None
        if len(text) <= _USUAL_LENGTH and text.isdecimal() and text.isascii():
            return int(text)
        number = _number(text)
        return number if number is None or -(2**31) <= number < 2**31 else None

    def time(self, timestamp: str, date: str) -> datetime | None:
        """The timestamp wins; the date is the account's local clock (all recordings)."""
        seconds = _number(self.get(timestamp) or "")
        if seconds and 0 < seconds <= _LATEST:
            return datetime.fromtimestamp(seconds, UTC)
        match = _DATE.fullmatch(self.get(date) or "")
        if match is None:
            return None
        day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            local = datetime(year, month, day, hour, minute, second, tzinfo=self._zone)
            return local.astimezone(UTC)
        except (ValueError, OverflowError):
            return None


def _number(text: str) -> int | None:
    if text.isdecimal() and text.isascii() and len(text) <= _LONGEST_NUMBER:
        return int(text)
    found = _INTEGER.match(text)
    return int(found[0]) if found else None


def _shows_lookup(row: Row, fields: _Fields) -> bool | None:
    """Which kind the answer shows: True a lookup, False a message, None neither."""
    if fields.type is not None:
        return fields.type == codes.HLR_TYPE
    if not _LOOKUP_FIELDS.isdisjoint(row.fields):
        return True
    if sender := fields.get("sender_id"):
        return sender == _HLR_SENDER
    if not _MESSAGE_FIELDS.isdisjoint(row.fields):
        return False
    return row.lookup


def _error(fields: _Fields, group: StateGroup | None) -> DeliveryError | None:
    """`err` is "if the message was not delivered" (PAGE); of a lookup (`group` None) its result."""
    if group is StateGroup.DELIVERED:
        return None
    number = fields.integer("err")
    return codes.delivery_error(number) if number else None


# Small values repeat from message to message: made once, they cost neither time nor memory again.


@memoize(4096)
def _once(text: str | None) -> str | None:
    return text


@memoize(4096)
def _money(amount: str | None, currency: str | None) -> Money | None:
    if amount is None or not _DECIMAL.fullmatch(amount):
        return None
    return Money(amount=amount, currency=currency)


@memoize(4096)
def _provider_status(code: int, name: str, text: str | None) -> ProviderStatus:
    return ProviderStatus(code=code, name=name, text=text)


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
        country=country,
        operator=operator,
        original_operator=original,
        region=region,
        mcc=numbers[1] if numbers else None,
        mnc=numbers[2] if numbers else None,
    )


def _subscriber_of(get: _Get) -> Subscriber | None:
    return _subscriber(
        get("country") or None,
        get("operator") or None,
        get("operator_orig") or None,
        get("region") or None,
        get("mccmnc") or None,
    )


@memoize(4096)
def _network(
    name: str | None, country: str | None, mcc: str | None, mnc: str | None
) -> Network | None:
    if not (name or country or mcc or mnc):
        return None
    return Network(name=name, country=country, mcc=mcc, mnc=mnc)


class _Progress(NamedTuple):
    """What a message's status number says."""

    provider_status: ProviderStatus
    is_final: bool
    state: MessageState
    state_group: StateGroup
    rejection_reason: RejectionReason | None
    smpp: SmppState


@memoize(4096)
def _progress(status: int, text: str | None) -> _Progress:
    known = codes.STATUSES.get(status, codes.UNKNOWN_STATUS)
    return _Progress(
        _provider_status(status, known.name, text),
        known.final,
        known.state,
        known.group,
        known.rejection,
        codes.SMPP_STATES[known.state],
    )


class _Flags(NamedTuple):
    """What the bits of `flag` say beside the type."""

    is_template: bool | None = None
    paid_from_second_balance: bool | None = None
    template: TemplateKind | None = None


@memoize(4096)
def _flags(flag: int | None) -> _Flags:
    if flag is None:
        return _Flags()
    is_template = bool(flag & codes.FLAG_TEMPLATE)
    kind = codes.TEMPLATE_KINDS[flag >> codes.FLAG_TEMPLATE_KIND_SHIFT & 0b11]
    is_second = bool(flag & codes.FLAG_SECOND_BALANCE)
    return _Flags(is_template, is_second, kind if is_template else None)


def _message(fields: _Fields, key: StatusKey, status: int, currency: str | None) -> Message:
    get, flags = fields.get, _flags(fields.flag)
    progress = _progress(status, get("status_name") or None)
    type_ = codes.TYPES.get(fields.type, MessageType.UNKNOWN)
    if type_ is MessageType.HLR:  # of a message that is known to be one
        type_ = MessageType.UNKNOWN
    count = fields.integer("sms_cnt")
    return Message(
        id=RecordId(str(key.id)),
        phone=key.phone,
        type=type_,
        provider_status=progress.provider_status,
        error=_error(fields, progress.state_group),
        is_final=progress.is_final,
        last_status_time=fields.time("last_timestamp", "last_date"),
        sent_at=fields.time("send_timestamp", "send_date"),
        sender=_once(get("sender_id") or None),
        text=get("message") or None,
        cost=_money(get("cost") or None, currency),
        is_template=flags.is_template,
        paid_from_second_balance=flags.paid_from_second_balance,
        state=progress.state,
        state_group=progress.state_group,
        rejection_reason=progress.rejection_reason,
        comment=get("comment") or None,
        parts=None if type_ is MessageType.CALL else count,
        duration_seconds=count if type_ is MessageType.CALL else None,
        template=flags.template,
        subscriber=_subscriber_of(get),
        porting=_porting(get("operator") or None, get("operator_orig") or None),
        smpp=progress.smpp,
    )


_PORTING = {status: Porting(status=status) for status in PortingStatus}


@memoize(4096)
def _porting(serving: str | None, issuing: str | None) -> Porting:
    if serving is None or issuing is None:
        return _PORTING[PortingStatus.UNKNOWN]
    same = serving.strip().casefold() == issuing.strip().casefold()
    return _PORTING[PortingStatus.NOT_PORTED if same else PortingStatus.PORTED]


def _lookup(fields: _Fields, key: StatusKey, status: int, currency: str | None) -> HlrLookup:
    get, flags = fields.get, _flags(fields.flag)
    known = codes.STATUSES.get(status, codes.UNKNOWN_STATUS)
    err = fields.integer("err")
    reachability = _reachability(status, known, err)
    return HlrLookup(
        id=RecordId(str(key.id)),
        phone=key.phone,
        type=MessageType.HLR,
        provider_status=_provider_status(status, known.name, get("status_name") or None),
        error=_error(fields, None),
        is_final=known.final,
        last_status_time=fields.time("last_timestamp", "last_date"),
        sent_at=fields.time("send_timestamp", "send_date"),
        sender=_once(get("sender_id") or None),
        text=get("message") or None,
        cost=_money(get("cost") or None, currency),
        is_template=flags.is_template,
        paid_from_second_balance=flags.paid_from_second_balance,
        state=_lookup_state(status, known, err),
        reachability=reachability,
        reachable=_reachable(reachability),
        imsi=get("imsi") or None,
        msc=get("msc") or None,
        home_network=_network(*(get(name) or None for name in ("net", "cn", "mcc", "mnc"))),
        roaming=_roaming(fields, reachability),
        subscriber=_subscriber_of(get),
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


def _roaming(fields: _Fields, reachability: Reachability) -> Roaming:
    country, network = (fields.get("rcn") or None), (fields.get("rnet") or None)
    if country or network:
        status = RoamingStatus.ROAMING
    elif reachability is Reachability.REACHABLE and "rcn" in fields and "rnet" in fields:
        status = RoamingStatus.NOT_ROAMING
    else:
        status = RoamingStatus.UNKNOWN
    return Roaming(status=status, country=country, network=network)
