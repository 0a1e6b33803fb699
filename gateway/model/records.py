"""The normalised schema: `Message`, `HlrLookup`, their enums and values, and `StatusKey`.

Values only: no I/O, no clock, no wire format. Field docstrings are the descriptions that
OpenAPI and the GraphQL playground show. What the provider did not give is None, never a guess.
How a record is known, and how old it is (`Freshness`), is no part of it: it is told when the record
is shown.

Vocabulary: message states follow SMPP 5.0 (`message_state`), subscribers and networks 3GPP.
"""

import re
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, NamedTuple, NewType, Self, get_args, get_type_hints

import msgspec

from gateway.errors import InvalidArgument

MAX_ID = 2_147_483_647
"""The largest id: "32-bit number from 1 to 2147483647" (the provider's own client libraries)."""

MAX_EMAIL_LENGTH = 254
"""RFC 5321, section 4.5.3.1.3 (a path of 256 octets less its angle brackets)."""

_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_NATIONAL_LENGTH = 10
"""Digits of a Russian or Kazakh number behind its prefix: 7 abroad, 8 at home."""

_INVISIBLE = r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
"""Marks of direction, and characters without width."""
_SPACES = r" \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_DASHES = (
    r"\-\xad\u02d7\u058a\u05be\u1400\u1806\u2010-\u2015\u2043\u207b\u208b\u2212\u2500\u2e17\u2e1a"
    r"\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030\u30a0\u30fc\ufe31\ufe32\ufe58\ufe63\uff0d\uff70"
)
"""Unicode's dashes, and the signs that are typed for one: minus, raised minus, hyphen bullet …"""
_DIVIDERS = rf"{_SPACES}{_DASHES}{_INVISIBLE}\u061c\u180e./()\uff08\uff09\uff0e\uff0f"
_AROUND = rf"[\r\n{_SPACES}{_INVISIBLE}]*"
_ADDRESS = r"[^ @,;<>\x00-\x1f\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]+"
PHONE_PATTERN = (
    rf"[\r\n{_DIVIDERS}]*(?:[tT][eE][lL]:[{_DIVIDERS}]*)?(?:[+\uff0b][{_DIVIDERS}]*)?"
    rf"(?:[0-9\uff10-\uff19][{_DIVIDERS}]*){{5,20}}[\r\n]*"
)
"""A number as people, CRMs and spreadsheets write it: spaces and dashes of every kind, dots,
slashes, parentheses, direction marks, full-width digits, a `tel:` link (RFC 3966)."""
EMAIL_PATTERN = rf"{_AROUND}{_ADDRESS}@{_ADDRESS}{_AROUND}"

_PHONE = re.compile(PHONE_PATTERN)
_EMAIL = re.compile(EMAIL_PATTERN)
_NO_DIGIT = re.compile(r"[^0-9\uff10-\uff19]+")
_NO_ADDRESS = re.compile(rf"^{_AROUND}|{_AROUND}$")
_ASCII_DIGITS = {0xFF10 + digit: str(digit) for digit in range(10)}

RecordId = NewType("RecordId", str)
"""An id in decimal; GraphQL's `ID`."""


class StatusKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """What names a message or lookup: the pair, for one send to many phones shares one id."""

    phone: str
    id: int

    @classmethod
    def parse(cls, *, id: str, phone: str) -> Self:
        """Read a caller's spelling, or raise `InvalidArgument` naming the field."""
        if not _ID.fullmatch(id) or int(id) > MAX_ID:
            raise InvalidArgument(f"id must be a decimal number from 1 to {MAX_ID}.")
        return cls(parse_phone(phone), int(id))

    @property
    def respelled(self) -> "StatusKey | None":
        """The same message with its number's other spelling; None: there is none."""
        phone = other_spelling(self.phone)
        return None if phone is None else StatusKey(phone, self.id)

    @property
    def canonical(self) -> "StatusKey":
        """One key for both spellings of a number, for what is counted or shared by message."""
        if self.phone[0] != "8":
            return self
        return self.respelled or self


def key_or_error(id: object, phone: object) -> StatusKey | InvalidArgument:
    """The key of one item of many, or what is wrong with it, so that it spoils no other."""
    if not isinstance(id, str) or not isinstance(phone, str):
        return InvalidArgument("An item must be an object with id and phone, both strings.")
    try:
        return StatusKey.parse(id=id, phone=phone)
    except InvalidArgument as error:
        return error


def parse_phone(phone: str) -> str:
    """ASCII digits without `+`, or an e-mail address; anything else is an `InvalidArgument`."""
    if len(phone) > MAX_EMAIL_LENGTH:
        pass
    elif _PHONE.fullmatch(phone):
        return _NO_DIGIT.sub("", phone).translate(_ASCII_DIGITS)
    elif _EMAIL.fullmatch(phone):
        return _NO_ADDRESS.sub("", phone)
    raise InvalidArgument(
        "phone must be 5 to 20 digits, with an optional leading + or tel: (spaces, dashes, dots, "
        "slashes and parentheses are dropped), or an e-mail address."
    )


def other_spelling(phone: str) -> str | None:
    """The same Russian or Kazakh number with its other prefix: `8…` at home is `7…` abroad.

    None for all other numbers. An `8` in front may as well be another country's code (84 is
    Vietnam's), so the other spelling counts only where nothing is known by the one given.
    """
    if len(phone) == _NATIONAL_LENGTH + 1 and phone[0] in "78" and phone.isdigit():
        return ("7" if phone[0] == "8" else "8") + phone[1:]
    return None


class DescribedEnum(StrEnum):
    """An enum whose members carry the description that the contracts show."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member


class DetailLevel(DescribedEnum):
    """How much the provider was asked to tell."""

    BASIC = "BASIC", "State and error; for a lookup its whole result"
    STANDARD = "STANDARD", "Also text, sender, cost and times"
    FULL = "FULL", "Also whose number it is"

    all: int
    """The provider's parameter `all`: 0, 1, 2."""

    def covers(self, other: "DetailLevel") -> bool:
        """Does an answer at this level tell all that one at the other level tells?"""
        return self.all >= other.all


for _number, _level in enumerate(DetailLevel):
    _level.all = _number


class MessageState(DescribedEnum):
    """What became of the message."""

    QUEUED = "QUEUED", "Waiting to be sent"
    PAUSED = "PAUSED", "Stopped by the sender before it left; can be resumed"
    SENT = "SENT", "Handed over to the operator"
    DELIVERED = "DELIVERED", "Delivered; may still become READ or CLICKED"
    READ = "READ", "Opened by the subscriber"
    CLICKED = "CLICKED", "The subscriber followed the link in it"
    EXPIRED = "EXPIRED", "Its lifetime ended before it could be delivered"
    UNDELIVERABLE = "UNDELIVERABLE", "The operator could not deliver it; `error` tells why"
    REJECTED = "REJECTED", "Refused before it was sent; `rejectionReason` tells why"
    UNKNOWN = "UNKNOWN", "The provider gave a status number that is in none of its lists"


class RecordKind(DescribedEnum):
    """The kind of a record."""

    Message = "Message", "A message: SMS, e-mail, call or messenger"
    HlrLookup = "HlrLookup", "An HLR lookup"


class StateGroup(DescribedEnum):
    """The state, coarsely."""

    PENDING = "PENDING", "Under way"
    DELIVERED = "DELIVERED", "Arrived: delivered, read or clicked"
    FAILED = "FAILED", "Will not arrive"
    UNKNOWN = "UNKNOWN", "Cannot be told"


class RejectionReason(DescribedEnum):
    """Why a message was refused before it was sent."""

    INVALID_NUMBER = "INVALID_NUMBER", "The number has a wrong format"
    PROHIBITED = "PROHIBITED", "Flood limits, black list, or forbidden text or sender"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS", "The account's balance is too low"
    UNROUTABLE = "UNROUTABLE", "The number takes no messages, or no route leads there"


class LookupState(DescribedEnum):
    """How far the HLR lookup is; `reachability` is its result."""

    PENDING = "PENDING", "No answer from the network yet"
    COMPLETED = "COMPLETED", "The network answered"
    EXPIRED = "EXPIRED", "The network did not answer in time"
    FAILED = "FAILED", "The lookup could not be made"
    UNKNOWN = "UNKNOWN", "The provider gave a status number that is in none of its lists"


class RecordState(DescribedEnum):
    """A state of a message or of a lookup; those of one name are one."""

    QUEUED = "QUEUED", MessageState.QUEUED.description
    PAUSED = "PAUSED", MessageState.PAUSED.description
    SENT = "SENT", MessageState.SENT.description
    DELIVERED = "DELIVERED", MessageState.DELIVERED.description
    READ = "READ", MessageState.READ.description
    CLICKED = "CLICKED", MessageState.CLICKED.description
    UNDELIVERABLE = "UNDELIVERABLE", MessageState.UNDELIVERABLE.description
    REJECTED = "REJECTED", MessageState.REJECTED.description
    PENDING = "PENDING", LookupState.PENDING.description
    COMPLETED = "COMPLETED", LookupState.COMPLETED.description
    FAILED = "FAILED", LookupState.FAILED.description
    EXPIRED = "EXPIRED", "It was not delivered, or not answered by the network, in time"
    UNKNOWN = "UNKNOWN", MessageState.UNKNOWN.description


class Reachability(DescribedEnum):
    """Could the subscriber be reached when the lookup was made?"""

    REACHABLE = "REACHABLE", "In the network and available"
    ABSENT = "ABSENT", "Switched off, or out of coverage"
    INVALID_NUMBER = "INVALID_NUMBER", "No such subscriber"
    BARRED = "BARRED", "Barred by the operator, or a locked SIM"
    SERVICE_NOT_AVAILABLE = "SERVICE_NOT_AVAILABLE", "Cannot take short messages"
    UNREACHABLE = "UNREACHABLE", "Not reachable, for another reason"
    UNDETERMINED = "UNDETERMINED", "The answer does not tell"


class RoamingStatus(DescribedEnum):
    """Is the subscriber in a foreign network?"""

    ROAMING = "ROAMING", "In the network that `roaming` names"
    NOT_ROAMING = "NOT_ROAMING", "At home"
    UNKNOWN = "UNKNOWN", "The answer does not tell"


class PortingStatus(DescribedEnum):
    """Was the number moved to another operator?"""

    PORTED = "PORTED", "Served by another operator than the one that issued it"
    NOT_PORTED = "NOT_PORTED", "Served by the operator that issued it"
    UNKNOWN = "UNKNOWN", "The answer does not tell"


class MessageType(DescribedEnum):
    """The provider's message type (parameter `type`, or bits 0-3 of `flag`)."""

    SMS = "SMS", "Short message"
    FLASH_SMS = "FLASH_SMS", "Shown at once, not stored (class 0)"
    BINARY_SMS = "BINARY_SMS", "Binary short message"
    WAP_PUSH = "WAP_PUSH", "WAP push"
    HLR = "HLR", "HLR lookup"
    PING_SMS = "PING_SMS", "Invisible message that tests reachability"
    MMS = "MMS", "Multimedia message"
    CALL = "CALL", "Voice call"
    EMAIL = "EMAIL", "E-mail"
    VIBER = "VIBER", "Viber message"
    SOCIAL = "SOCIAL", "Message in a social network"
    UNKNOWN = "UNKNOWN", "Not told, or a number that is in none of the provider's lists"


class TemplateKind(DescribedEnum):
    """The kind of template a message was recognised as (bits 9 and 10 of `flag`)."""

    SERVICE = "SERVICE", "Service message"
    TRANSACTIONAL = "TRANSACTIONAL", "Transactional message"
    AUTHORIZATION = "AUTHORIZATION", "One-time code"
    ADVERTISING = "ADVERTISING", "Advertising"


class FreshnessSource(DescribedEnum):
    """Where the record comes from."""

    LIVE = "LIVE", "Asked at the provider for this call"
    CACHE = "CACHE", "Known from an earlier answer"
    CALLBACK = "CALLBACK", "Pushed by the provider"


class StaleReason(DescribedEnum):
    """Why no fresh record could be had."""

    RATE_LIMITED = "RATE_LIMITED", "The provider's limits allow no request now"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE", "The provider gave no usable answer"
    UPSTREAM_BLOCKED = "UPSTREAM_BLOCKED", "The provider refuses our address or credentials"


class ErrorCategory(DescribedEnum):
    """Whom a delivery error concerns."""

    SUBSCRIBER = "SUBSCRIBER", "The subscriber: absent, barred, busy"
    HANDSET = "HANDSET", "The subscriber's device or SIM"
    OPERATOR = "OPERATOR", "The mobile operator"
    ROUTING = "ROUTING", "No way to the number"
    CONTENT = "CONTENT", "The text"
    SENDER = "SENDER", "The sender name"
    POLICY = "POLICY", "A rule or limit of the account, the provider or the operator"
    ACCOUNT = "ACCOUNT", "The account at the provider"
    DESTINATION = "DESTINATION", "The address: number or mailbox"
    PROVIDER = "PROVIDER", "The provider itself"
    UNKNOWN = "UNKNOWN", "Not known"


class DeliveryErrorCode(DescribedEnum):
    """Why a message was not delivered: a name for each number of the provider's list `err`."""

    UNKNOWN_SUBSCRIBER = "UNKNOWN_SUBSCRIBER", "The subscriber does not exist"
    MAILBOX_FULL = "MAILBOX_FULL", "The mailbox is full"
    MAIL_SERVER_NOT_FOUND = "MAIL_SERVER_NOT_FOUND", "The recipient's mail server was not found"
    MAILBOX_BLOCKED = "MAILBOX_BLOCKED", "The mailbox is blocked"
    ABSENT_SUBSCRIBER = "ABSENT_SUBSCRIBER", "The subscriber is not in the network"
    SERVICE_NOT_PROVISIONED = "SERVICE_NOT_PROVISIONED", "The subscriber cannot take messages"
    HANDSET_ERROR = "HANDSET_ERROR", "Error in the subscriber's handset or SIM"
    SUBSCRIBER_BARRED = "SUBSCRIBER_BARRED", "The subscriber is barred"
    FACILITY_NOT_SUPPORTED = "FACILITY_NOT_SUPPORTED", "The device does not support the service"
    TEST_MODE = "TEST_MODE", "Virtual sending: nothing was sent"
    SIM_RECENTLY_REPLACED = "SIM_RECENTLY_REPLACED", "Held back after a SIM replacement"
    OPERATOR_QUEUE_FULL = "OPERATOR_QUEUE_FULL", "The operator's queue is full"
    NO_ANSWER = "NO_ANSWER", "The call was not answered"
    TEMPLATE_MISSING = "TEMPLATE_MISSING", "The text matches no approved template"
    SOURCE_IP_FORBIDDEN = "SOURCE_IP_FORBIDDEN", "Sent from an address that is not allowed"
    BUSY = "BUSY", "The line was busy"
    CONVERSION_FAILED = "CONVERSION_FAILED", "The text could not be converted or sent completely"
    ANSWERING_MACHINE = "ANSWERING_MACHINE", "An answering machine took the call"
    CONTRACT_MISSING = "CONTRACT_MISSING", "No contract for such messages"
    BROADCAST_FORBIDDEN = "BROADCAST_FORBIDDEN", "Mass messages are not allowed"
    NO_DELIVERY_RECEIPT = "NO_DELIVERY_RECEIPT", "The operator never reported an outcome"
    TIME_WINDOW_RESTRICTED = "TIME_WINDOW_RESTRICTED", "Outside the hours allowed for sending"
    ACCOUNT_LIMIT_EXCEEDED = "ACCOUNT_LIMIT_EXCEEDED", "The account's message limit is exceeded"
    NO_ROUTE = "NO_ROUTE", "No route to this number"
    INVALID_NUMBER_FORMAT = "INVALID_NUMBER_FORMAT", "The number's format is not valid"
    NUMBER_NOT_ALLOWED = "NUMBER_NOT_ALLOWED", "The account's settings do not allow this number"
    NUMBER_LIMIT_EXCEEDED = "NUMBER_LIMIT_EXCEEDED", "The limit for one number is exceeded"
    NUMBER_FORBIDDEN = "NUMBER_FORBIDDEN", "The number is forbidden"
    SPAM_FILTERED = "SPAM_FILTERED", "Stopped by the spam filter"
    SENDER_NOT_REGISTERED = "SENDER_NOT_REGISTERED", "The sender name is not registered"
    OPERATOR_REJECTED = "OPERATOR_REJECTED", "Rejected by the operator, without an exact reason"
    UNMAPPED = "UNMAPPED", "A number that is in none of the provider's lists; see `providerCode`"


class Value(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A value of the contract: never changed, camelCase outside, its docstrings descriptions.

    A million are kept, so they are small and the garbage collector has nothing to look at: they
    refer to nothing that could refer to them.
    """


class ProviderStatus(Value, frozen=True, kw_only=True):
    """The status as the provider numbers it."""

    code: int
    """The provider's status number, known or not."""
    name: str
    """Our English name of the number."""
    text: str | None = None
    """The provider's own words for it."""


class DeliveryError(Value, frozen=True, kw_only=True):
    """Why the message was not delivered."""

    code: DeliveryErrorCode
    """The reason, as a name to program against."""
    category: ErrorCategory
    """Whom it concerns."""
    permanent: bool | None = None
    """Would the same message, sent again unchanged, fail again? null: can't be said."""
    provider_code: int
    """The provider's number (`err`)."""
    description: str
    """The reason, as an English sentence for people; its words may change, `code` will not."""


class Money(Value, frozen=True, kw_only=True):
    """An amount, as the provider prints it."""

    amount: str
    """A decimal number."""
    currency: str | None = None
    """ISO 4217, when the gateway was told it."""


class Subscriber(Value, frozen=True, kw_only=True):
    """Whose number it is."""

    country: str | None = None
    """Country the number is registered in."""
    operator: str | None = None
    """The operator that serves the number now."""
    original_operator: str | None = None
    """The operator that issued the number."""
    region: str | None = None
    """Region the number is registered in."""
    mcc: str | None = None
    """Mobile country code (ITU E.212), with leading zeros."""
    mnc: str | None = None
    """Mobile network code (ITU E.212), with leading zeros."""


class Network(Value, frozen=True, kw_only=True):
    """A mobile network."""

    name: str | None = None
    """The operator's name."""
    country: str | None = None
    """The country's name."""
    mcc: str | None = None
    """Mobile country code (ITU E.212)."""
    mnc: str | None = None
    """Mobile network code (ITU E.212), with leading zeros."""


class Roaming(Value, frozen=True, kw_only=True):
    """Where the subscriber was when the lookup was made."""

    status: RoamingStatus
    """In a foreign network?"""
    country: str | None = None
    """The visited country."""
    network: str | None = None
    """The visited network."""


class Porting(Value, frozen=True, kw_only=True):
    """Mobile number portability."""

    status: PortingStatus
    """Was the number moved to another operator?"""


class SmppState(Value, frozen=True, kw_only=True):
    """`message_state` of SMPP 5.0, section 4.7.15."""

    code: int
    """0 to 8."""
    name: str
    """Its name in the specification."""


class Freshness(Value, frozen=True, kw_only=True):
    """How the gateway knows, and how old it is."""

    source: FreshnessSource
    """Where the record comes from."""
    observed_at: datetime | None = None
    """When the provider last told it."""
    age_seconds: int
    """Seconds since then."""
    expires_at: datetime
    """Until when the record counts as fresh."""
    stale: bool
    """True when a newer record was wanted and is not there."""
    stale_reason: StaleReason | None = None
    """Why not; null while it is being asked for."""
    next_refresh_at: datetime | None = None
    """When the gateway could ask again; null when it need not."""
    detail: DetailLevel
    """How much the provider was asked to tell."""


class StateChange(Value, frozen=True, kw_only=True):
    """One change of a record's state."""

    at: datetime
    """When the gateway learned it."""
    state: RecordState
    """The new state: of a message its `MessageState`, of a lookup its `LookupState`."""
    state_group: StateGroup | None = None
    """The same, coarsely; null for a lookup."""
    is_final: bool
    """True: no need to ask again for delivery."""
    provider_status: ProviderStatus
    """The provider's own status."""
    error: DeliveryError | None = None
    """Why it was not delivered; null when there is no error."""
    source: FreshnessSource
    """How it was learned: LIVE by asking, CALLBACK by a push, CACHE from an import."""
    last_status_time: datetime | None = None
    """When the status changed, as the provider tells it."""


class StatusRecord(Value, tag_field="kind", frozen=True, kw_only=True):
    """What is known of one message or lookup."""

    id: RecordId
    """The id the provider gave it, in decimal."""
    phone: str
    """The number in digits, or the e-mail address."""
    type: MessageType
    """What was sent."""
    provider_status: ProviderStatus
    """The provider's own status."""
    error: DeliveryError | None = None
    """Why it was not delivered; null when there is no error, and for what was delivered."""
    is_final: bool
    """True: no need to ask again for delivery."""
    last_status_time: datetime | None = None
    """When the status last changed."""
    sent_at: datetime | None = None
    """When it was sent."""
    sender: str | None = None
    """The sender name (TP-OA)."""
    text: str | None = None
    """The message's text."""
    cost: Money | None = None
    """What it cost."""
    is_template: bool | None = None
    """Was it recognised as a template message (bit 8 of `flag`)? null: not told."""
    paid_from_second_balance: bool | None = None
    """Was it paid from the account's second balance (bit 5 of `flag`)? null: not told."""
    changed_at: datetime | None = None
    """When the gateway learned the present state."""

    kind: ClassVar[str]
    """`Message` or `HlrLookup`: `kind` in REST, `__typename` in GraphQL."""

    @property
    def key(self) -> StatusKey:
        return StatusKey(self.phone, int(self.id))


class Message(StatusRecord, tag="Message", frozen=True, kw_only=True):
    """A message: SMS, e-mail, call or messenger."""

    state: MessageState
    """What became of it."""
    state_group: StateGroup
    """The same, coarsely."""
    rejection_reason: RejectionReason | None = None
    """Why it was refused before it was sent."""
    comment: str | None = None
    """The sender's own note."""
    parts: int | None = None
    """Number of short messages it was sent as."""
    duration_seconds: int | None = None
    """Length of a voice call."""
    template: TemplateKind | None = None
    """Which kind of template it was recognised as; null: none, or not told."""
    subscriber: Subscriber | None = None
    """Whose number it is."""
    porting: Porting
    """Was the number moved to another operator?"""
    smpp: SmppState
    """The same state in SMPP's terms."""
    archived: bool = False
    """The provider no longer knows the message; this is what was known before."""

    kind = "Message"


class HlrLookup(StatusRecord, tag="HlrLookup", frozen=True, kw_only=True):
    """An HLR lookup: is the subscriber there, and in which network?"""

    state: LookupState
    """How far the lookup is."""
    reachability: Reachability
    """Its result."""
    reachable: bool | None = None
    """Its result in short; null: can't be said."""
    imsi: str | None = None
    """International mobile subscriber identity (3GPP TS 23.003)."""
    msc: str | None = None
    """Number of the switching centre that serves the subscriber."""
    home_network: Network | None = None
    """The network the subscriber belongs to."""
    roaming: Roaming
    """The foreign network the subscriber is in."""
    subscriber: Subscriber | None = None
    """Whose number it is."""

    kind = "HlrLookup"


Record = Message | HlrLookup
"""Either kind; `StatusRecord` is what they share."""


class ShownField(NamedTuple):
    """A field as callers see it: its name in camelCase, its type, and that of an inner object."""

    alias: str
    annotation: Any
    inner: type[Value] | None


@cache
def shown_fields(kind: type[Value]) -> dict[str, ShownField]:
    """The fields of a value by their attributes; of a record `freshness` and `history` as well."""
    annotations = get_type_hints(kind)
    names = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    if issubclass(kind, StatusRecord):
        annotations |= {"freshness": Freshness, "history": list[StateChange] | None}
        shared = len(msgspec.structs.fields(StatusRecord))
        told = list(names.items())
        more = [(name, name) for name in ("freshness", "history")]
        names = dict([*told[:shared], *more, *told[shared:]])
    return {name: _shown(alias, annotations[name]) for name, alias in names.items()}


def _shown(alias: str, annotation: Any) -> ShownField:  # noqa: ANN401 - any annotation
    options = (annotation, *get_args(annotation))
    inner = next((one for one in options if isinstance(one, type) and issubclass(one, Value)), None)
    return ShownField(alias, annotation, inner)
