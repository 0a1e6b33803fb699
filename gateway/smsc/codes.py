"""Tables of the provider's status, error and type codes, each with its meaning and source.

Sources: PAGE is the provider's page "Message statuses. Server response and error codes"
(2003-2025); STATUSES and ERRORS its lists `status_messages/statuses` and `smpp/errors`; CLIENTS
the tables that public clients carry, for the ends of those lists that the public pages lack.
A number in no table is a value, not an error: see `UNKNOWN_STATUS` and `delivery_error`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from gateway import errors
from gateway.model.records import (
    DeliveryError,
    DeliveryErrorCode,
    ErrorCategory,
    LookupState,
    MessageState,
    MessageType,
    RejectionReason,
    SmppState,
    StateGroup,
    TemplateKind,
)

NOT_FOUND = -3
"""No state but an answer about the question: not found, or archived (PAGE)."""

_SCHEDULED = SmppState(code=0, name="SCHEDULED")
_DELIVERED = SmppState(code=2, name="DELIVERED")

SMPP_STATES = {
    MessageState.QUEUED: _SCHEDULED,
    MessageState.PAUSED: _SCHEDULED,
    MessageState.SENT: SmppState(code=1, name="ENROUTE"),
    MessageState.DELIVERED: _DELIVERED,
    MessageState.READ: _DELIVERED,
    MessageState.CLICKED: _DELIVERED,
    MessageState.EXPIRED: SmppState(code=3, name="EXPIRED"),
    MessageState.UNDELIVERABLE: SmppState(code=5, name="UNDELIVERABLE"),
    MessageState.UNKNOWN: SmppState(code=7, name="UNKNOWN"),
    MessageState.REJECTED: SmppState(code=8, name="REJECTED"),
}
"""`message_state` of SMPP 5.0, section 4.7.15."""

GROUPS = {
    MessageState.QUEUED: StateGroup.PENDING,
    MessageState.PAUSED: StateGroup.PENDING,
    MessageState.SENT: StateGroup.PENDING,
    MessageState.DELIVERED: StateGroup.DELIVERED,
    MessageState.READ: StateGroup.DELIVERED,
    MessageState.CLICKED: StateGroup.DELIVERED,
    MessageState.EXPIRED: StateGroup.FAILED,
    MessageState.UNDELIVERABLE: StateGroup.FAILED,
    MessageState.REJECTED: StateGroup.FAILED,
    MessageState.UNKNOWN: StateGroup.UNKNOWN,
}


class Status(NamedTuple):
    """A status number. `lookup` is the state of a lookup with it; 20 also needs `err`."""

    name: str
    state: MessageState
    lookup: LookupState
    rejection: RejectionReason | None
    source: str

    @property
    def group(self) -> StateGroup:
        return GROUPS[self.state]

    @property
    def final(self) -> bool:
        """No need to ask again for delivery."""
        return self.group in {StateGroup.DELIVERED, StateGroup.FAILED}


_S, _L, _R = MessageState, LookupState, RejectionReason
_LISTED = "PAGE, STATUSES"

STATUSES = {
    -2: Status("Stopped", _S.PAUSED, _L.PENDING, None, _LISTED),
    -1: Status("Waiting to be sent", _S.QUEUED, _L.PENDING, None, _LISTED),
    0: Status("Handed over to the operator", _S.SENT, _L.PENDING, None, _LISTED),
    1: Status("Delivered", _S.DELIVERED, _L.COMPLETED, None, _LISTED),
    2: Status("Read", _S.READ, _L.COMPLETED, None, _LISTED),
    3: Status("Expired", _S.EXPIRED, _L.EXPIRED, None, _LISTED),
    4: Status("Link clicked", _S.CLICKED, _L.COMPLETED, None, _LISTED),
    20: Status("Impossible to deliver", _S.UNDELIVERABLE, _L.FAILED, None, "CLIENTS"),
    22: Status("Invalid number", _S.REJECTED, _L.FAILED, _R.INVALID_NUMBER, "CLIENTS"),
    23: Status("Prohibited", _S.REJECTED, _L.FAILED, _R.PROHIBITED, "CLIENTS"),
    24: Status("Insufficient funds", _S.REJECTED, _L.FAILED, _R.INSUFFICIENT_FUNDS, "CLIENTS"),
    25: Status("Unavailable number", _S.REJECTED, _L.FAILED, _R.UNROUTABLE, "CLIENTS"),
}

UNKNOWN_STATUS = Status("Unknown", _S.UNKNOWN, _L.UNKNOWN, None, "none")

NETWORK_ERRORS = range(1, 200)
"""`err` numbers by which the network itself answered; those from 200 on are the provider's."""

UNDELIVERABLE = 20
"""The status whose lookup is COMPLETED when `err` is a network's answer."""


class Reason(NamedTuple):
    """A delivery error number (`err`). `permanent` None: can't be said."""

    code: DeliveryErrorCode
    category: ErrorCategory
    permanent: bool | None
    source: str = "CLIENTS"


_CODE, _ABOUT = DeliveryErrorCode, ErrorCategory

REASONS = {
    1: Reason(_CODE.UNKNOWN_SUBSCRIBER, _ABOUT.SUBSCRIBER, True, "ERRORS"),
    2: Reason(_CODE.MAILBOX_FULL, _ABOUT.DESTINATION, False),
    3: Reason(_CODE.MAIL_SERVER_NOT_FOUND, _ABOUT.DESTINATION, True),
    4: Reason(_CODE.MAILBOX_BLOCKED, _ABOUT.DESTINATION, True),
    6: Reason(_CODE.ABSENT_SUBSCRIBER, _ABOUT.SUBSCRIBER, False, "ERRORS"),
    11: Reason(_CODE.SERVICE_NOT_PROVISIONED, _ABOUT.SUBSCRIBER, None, "ERRORS"),
    12: Reason(_CODE.HANDSET_ERROR, _ABOUT.HANDSET, True, "ERRORS"),
    13: Reason(_CODE.SUBSCRIBER_BARRED, _ABOUT.SUBSCRIBER, False, "ERRORS"),
    21: Reason(_CODE.FACILITY_NOT_SUPPORTED, _ABOUT.HANDSET, None, "ERRORS"),
    200: Reason(_CODE.TEST_MODE, _ABOUT.PROVIDER, None, "ERRORS"),
    219: Reason(_CODE.SIM_RECENTLY_REPLACED, _ABOUT.POLICY, False, "ERRORS"),
    220: Reason(_CODE.OPERATOR_QUEUE_FULL, _ABOUT.OPERATOR, False, "ERRORS"),
    237: Reason(_CODE.NO_ANSWER, _ABOUT.SUBSCRIBER, False),
    238: Reason(_CODE.TEMPLATE_MISSING, _ABOUT.CONTENT, True),
    239: Reason(_CODE.SOURCE_IP_FORBIDDEN, _ABOUT.ACCOUNT, True),
    240: Reason(_CODE.BUSY, _ABOUT.SUBSCRIBER, False),
    241: Reason(_CODE.CONVERSION_FAILED, _ABOUT.CONTENT, True),
    242: Reason(_CODE.ANSWERING_MACHINE, _ABOUT.SUBSCRIBER, False),
    243: Reason(_CODE.CONTRACT_MISSING, _ABOUT.ACCOUNT, True),
    244: Reason(_CODE.BROADCAST_FORBIDDEN, _ABOUT.POLICY, True),
    245: Reason(_CODE.NO_DELIVERY_RECEIPT, _ABOUT.OPERATOR, None),
    246: Reason(_CODE.TIME_WINDOW_RESTRICTED, _ABOUT.POLICY, False),
    247: Reason(_CODE.ACCOUNT_LIMIT_EXCEEDED, _ABOUT.POLICY, False),
    248: Reason(_CODE.NO_ROUTE, _ABOUT.ROUTING, True),
    249: Reason(_CODE.INVALID_NUMBER_FORMAT, _ABOUT.DESTINATION, True),
    250: Reason(_CODE.NUMBER_NOT_ALLOWED, _ABOUT.POLICY, True),
    251: Reason(_CODE.NUMBER_LIMIT_EXCEEDED, _ABOUT.POLICY, False),
    252: Reason(_CODE.NUMBER_FORBIDDEN, _ABOUT.POLICY, True),
    253: Reason(_CODE.SPAM_FILTERED, _ABOUT.CONTENT, True),
    254: Reason(_CODE.SENDER_NOT_REGISTERED, _ABOUT.SENDER, True),
    255: Reason(_CODE.OPERATOR_REJECTED, _ABOUT.OPERATOR, None),
}

_UNMAPPED = Reason(_CODE.UNMAPPED, _ABOUT.UNKNOWN, None, "none")


@lru_cache(maxsize=1024)
def delivery_error(number: int) -> DeliveryError:
    """The named form of `err`; an unknown number keeps its number."""
    reason = REASONS.get(number, _UNMAPPED)
    return DeliveryError(
        code=reason.code,
        category=reason.category,
        permanent=reason.permanent,
        provider_code=number,
        description=f"{reason.code.description}.",
    )


HLR_TYPE = 4
TYPES: Mapping[int | None, MessageType] = {
    0: MessageType.SMS,
    1: MessageType.FLASH_SMS,
    2: MessageType.BINARY_SMS,
    3: MessageType.WAP_PUSH,
    HLR_TYPE: MessageType.HLR,
    5: MessageType.PING_SMS,
    6: MessageType.MMS,
    7: MessageType.CALL,
    8: MessageType.EMAIL,
    10: MessageType.VIBER,
    12: MessageType.SOCIAL,
}
"""`type`, and bits 0-3 of `flag` (PAGE)."""

FLAG_TYPE_MASK = 0b1111
FLAG_SECOND_BALANCE = 1 << 5
FLAG_TEMPLATE = 1 << 8
FLAG_TEMPLATE_KIND_SHIFT = 9
TEMPLATE_KINDS = (
    TemplateKind.SERVICE,
    TemplateKind.TRANSACTIONAL,
    TemplateKind.AUTHORIZATION,
    TemplateKind.ADVERTISING,
)
"""Bits 10 and 9 of `flag`, meaningful with bit 8 (PAGE)."""

_REFUSALS: dict[int, type[errors.GatewayError]] = {
    1: errors.InvalidArgument,
    2: errors.UpstreamAuthFailed,
    4: errors.UpstreamBlocked,
    5: errors.DeleteRefused,
}


_REFUSAL_DETAILS: dict[type[errors.GatewayError], str] = {
    errors.InvalidArgument: "The provider does not accept the id or the phone.",
    errors.UpstreamAuthFailed: (
        "The provider does not accept the gateway's login, its password, or the address it asks "
        "from: whoever runs the gateway has to mend that."
    ),
    errors.UpstreamBlocked: (
        "The provider does not answer the gateway's address for a while; the gateway goes on "
        "trying by itself."
    ),
    errors.DeleteRefused: "The provider did not delete the message.",
    errors.UpstreamError: "The provider answered with an error number that is not documented.",
}


def refusal_error(
    number: int,
    *,
    limit: errors.Limit = errors.Limit.UNKNOWN,
    retry_after: float | None = None,
) -> errors.GatewayError:
    """The error for a refusal's number (PAGE, "error number, can take the following values").

    `limit` and `retry_after` are what the sender of the request can tell of a 9.
    """
    if number == 9:  # noqa: PLR2004 - the page's own number
        return errors.RateLimited(
            "The provider refused the request because of its limits.",
            limit=limit,
            retry_after=retry_after,
            provider_code=number,
        )
    error = _REFUSALS.get(number, errors.UpstreamError)
    return error(_REFUSAL_DETAILS[error], provider_code=number or None)
