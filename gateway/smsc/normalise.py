"""A row of the provider becomes a record of the normalised schema.

Unknown numbers survive as values, a value that can't be read is None, and nothing is guessed.
"""

import re
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple, TypedDict

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
_USUAL_LENGTH = 12
"""Digits and one more: timestamps have ten."""
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
) -> Found | None:
    """Read a row, or None when the provider knows no such message (status -3).

    `asked` is the kind the caller asked for; it decides only where the answer shows nothing.
    `zone` is that of dates without one. A row without a status number is an `UpstreamBadAnswer`.
    """
    fields = _Fields(row.fields, zone)
    status = fields.integer("status")
    if status is None:
        raise bad_answer("The provider's answer has a row without status", "")
    if status == codes.NOT_FOUND:
        return None
    shown = _shows_lookup(row, fields)
    lookup = asked is HlrLookup if shown is None else shown
    read = _lookup if lookup else _message
    return Found(read(fields, key, status, currency), shown is not None)


class _Shared(TypedDict):
    """The fields of both kinds that are read alike."""

    provider_status: ProviderStatus
    error: DeliveryError | None
    is_final: bool
    last_status_time: datetime | None
    sent_at: datetime | None
    sender: str | None
    text: str | None
    cost: Money | None
    is_template: bool | None
    paid_from_second_balance: bool | None
    subscriber: Subscriber | None


class _Fields:
    """A row's values, each read as what it has to be; unreadable and empty ones are None.

    `type` is the number of that name, or where only `flag` is told, its bits 0-3.
    """

    __slots__ = ("_fields", "_zone", "flag", "type")

    def __init__(self, fields: dict[str, str], zone: tzinfo) -> None:
        self._fields = fields
        self._zone = zone
        self.flag = self.integer("flag")
        self.type = self.integer("type")
        if self.type is None and self.flag is not None:
            self.type = self.flag & codes.FLAG_TYPE_MASK

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str) -> str | None:
        return self._fields.get(name) or None

    def repeated(self, name: str) -> str | None:
        """A text that many records have: they share one."""
        return _once(self._fields.get(name) or None)

    def integer(self, name: str) -> int | None:
        """A number of 32 bits, as GraphQL's `Int`; the provider's own are far smaller."""
        number = self._number(name)
        return number if number is None or -(2**31) <= number < 2**31 else None

    def _number(self, name: str) -> int | None:
        text = self._fields.get(name)
        if not text:
            return None
        if len(text) < _USUAL_LENGTH and text.isdecimal() and text.isascii():
            return int(text)
        found = _INTEGER.match(text)
        return int(found[0]) if found else None

    def time(self, timestamp: str, date: str) -> datetime | None:
        """The timestamp wins; the date is the account's local clock (all recordings)."""
        seconds = self._number(timestamp)
        if seconds and 0 < seconds <= _LATEST:
            return datetime.fromtimestamp(seconds, UTC)
        match = _DATE.fullmatch(self._fields.get(date, ""))
        if match is None:
            return None
        day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            local = datetime(year, month, day, hour, minute, second, tzinfo=self._zone)
            return local.astimezone(UTC)
        except (ValueError, OverflowError):
            return None


def _shows_lookup(row: Row, fields: _Fields) -> bool | None:
    """Which kind the answer shows: True a lookup, False a message, None neither."""
    if fields.type is not None:
        return fields.type == codes.HLR_TYPE
    if not _LOOKUP_FIELDS.isdisjoint(row.fields):
        return True
    if sender := fields.text("sender_id"):
        return sender == _HLR_SENDER
    if not _MESSAGE_FIELDS.isdisjoint(row.fields):
        return False
    return row.lookup


def _error(fields: _Fields, state: MessageState | None) -> DeliveryError | None:
    """`err` is "if the message was not delivered" (PAGE); of a lookup (`state` None) its result."""
    if state is not None and codes.GROUPS[state] is StateGroup.DELIVERED:
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


@memoize(4096)
def _network(
    name: str | None, country: str | None, mcc: str | None, mnc: str | None
) -> Network | None:
    if not (name or country or mcc or mnc):
        return None
    return Network(name=name, country=country, mcc=mcc, mnc=mnc)


def _shared(
    fields: _Fields,
    status: int,
    known: codes.Status,
    currency: str | None,
    *,
    state: MessageState | None,
) -> _Shared:
    """What both kinds have; `state` is a message's."""
    return {
        "provider_status": _provider_status(status, known.name, fields.text("status_name")),
        "error": _error(fields, state),
        "is_final": known.final,
        "last_status_time": fields.time("last_timestamp", "last_date"),
        "sent_at": fields.time("send_timestamp", "send_date"),
        "sender": fields.repeated("sender_id"),
        "text": fields.text("message"),
        "cost": _money(fields.text("cost"), currency),
        "is_template": _bit(fields.flag, codes.FLAG_TEMPLATE),
        "paid_from_second_balance": _bit(fields.flag, codes.FLAG_SECOND_BALANCE),
        "subscriber": _subscriber(
            fields.text("country"),
            fields.text("operator"),
            fields.text("operator_orig"),
            fields.text("region"),
            fields.text("mccmnc"),
        ),
    }


def _message(fields: _Fields, key: StatusKey, status: int, currency: str | None) -> Message:
    known = codes.STATUSES.get(status, codes.UNKNOWN_STATUS)
    type_ = codes.TYPES.get(fields.type, MessageType.UNKNOWN)
    count = fields.integer("sms_cnt")
    return Message(
        id=RecordId(str(key.id)),
        phone=key.phone,
        type=type_,
        **_shared(fields, status, known, currency, state=known.state),
        state=known.state,
        state_group=known.group,
        rejection_reason=known.rejection,
        comment=fields.text("comment"),
        parts=None if type_ is MessageType.CALL else count,
        duration_seconds=count if type_ is MessageType.CALL else None,
        template=_template(fields.flag),
        porting=_porting(fields.text("operator"), fields.text("operator_orig")),
        smpp=codes.SMPP_STATES[known.state],
    )


def _bit(flag: int | None, bit: int) -> bool | None:
    return None if flag is None else bool(flag & bit)


def _template(flag: int | None) -> TemplateKind | None:
    if flag is None or not flag & codes.FLAG_TEMPLATE:
        return None
    return codes.TEMPLATE_KINDS[flag >> codes.FLAG_TEMPLATE_KIND_SHIFT & 0b11]


_PORTING = {status: Porting(status=status) for status in PortingStatus}


@memoize(4096)
def _porting(serving: str | None, issuing: str | None) -> Porting:
    if serving is None or issuing is None:
        return _PORTING[PortingStatus.UNKNOWN]
    same = serving.strip().casefold() == issuing.strip().casefold()
    return _PORTING[PortingStatus.NOT_PORTED if same else PortingStatus.PORTED]


def _lookup(fields: _Fields, key: StatusKey, status: int, currency: str | None) -> HlrLookup:
    known = codes.STATUSES.get(status, codes.UNKNOWN_STATUS)
    err = fields.integer("err")
    reachability = _reachability(status, known, err)
    return HlrLookup(
        id=RecordId(str(key.id)),
        phone=key.phone,
        type=MessageType.HLR,
        **_shared(fields, status, known, currency, state=None),
        state=_lookup_state(status, known, err),
        reachability=reachability,
        reachable=_reachable(reachability),
        imsi=fields.text("imsi"),
        msc=fields.text("msc"),
        home_network=_network(
            fields.text("net"), fields.text("cn"), fields.text("mcc"), fields.text("mnc")
        ),
        roaming=_roaming(fields, reachability),
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
    country, network = fields.text("rcn"), fields.text("rnet")
    if country or network:
        status = RoamingStatus.ROAMING
    elif reachability is Reachability.REACHABLE and "rcn" in fields and "rnet" in fields:
        status = RoamingStatus.NOT_ROAMING
    else:
        status = RoamingStatus.UNKNOWN
    return Roaming(status=status, country=country, network=network)
