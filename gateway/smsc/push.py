"""Parses the provider's push (status callback) and verifies its signature.

The provider has no public page for it; names and signature are those of its customers' handlers.
A status is signed by `md5` or `sha1` over `id:phone:status:secret` as sent, and by nothing more:
`err`, `ts` and the rest come on the word of whoever knows a signature of that status. So `Push` is
to be joined to what is known with care (see `is_ahead` and `StatusService.ingest`).

The signature is checked before anything is read but the form itself, whose size is bounded.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from gateway.errors import Forbidden, InvalidArgument
from gateway.model.merge import MESSAGE_RANK
from gateway.model.records import Record, StatusKey
from gateway.smsc import codes
from gateway.smsc.row import Row

MAX_BYTES = 16 * 1024
"""A lookup's push with all fields has 500 bytes; an incoming message of 2,000 Cyrillic letters,
percent-encoded, has 12 KB."""

MAX_FIELDS = 64
"""A lookup's push has 20."""

_SIGNATURES = {"md5": hashlib.md5, "sha1": hashlib.sha1}
_NAMES = {
    "status": "status",
    "err": "err",
    "ts": "last_timestamp",
    "time": "last_date",
    "type": "type",
    "flag": "flag",
    "cost": "cost",
    "cnt": "sms_cnt",
}
"""A push's field → the status answer's field of the same meaning."""
_LOOKUP_NAMES = ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet")
_STATUS = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_SHOWS_TYPE = ("type", "flag")
_KNOWN = frozenset({"id", "phone", *_SIGNATURES, *_NAMES, *_LOOKUP_NAMES})


@dataclass(frozen=True, slots=True)
class Push:
    """A status that the provider signed.

    `key` holds the phone in digits, yet maybe in another form than the message is known by: the
    provider pushes what it was given. `row` is as in an answer without details.
    """

    key: StatusKey
    row: Row


def read_form(*forms: bytes) -> dict[str, str]:
    """The fields of a push: of its address, then of its body, which overrules the address.

    The handler's address may hold fields of its own, such as `charset=utf-8` or the place of the
    signature. A field that comes twice in one place means two things: an `InvalidArgument`.
    """
    fields: dict[str, str] = {}
    for form in forms:
        fields |= _fields(form)
    return fields


def verify(fields: Mapping[str, str], secret: str) -> Push | None:
    """The status that a push tells; None: it is about something else, an incoming message or call.

    Those come to the same address under signatures of other fields; nothing is done with them,
    so nothing is checked. What names a status needs a status' signature, whatever else it holds.
    Raises `Forbidden` without a right signature, and `InvalidArgument` for what can't be a status
    although it is signed.
    """
    if "status" not in fields and ("mes" in fields or "waitcall" in fields):
        return None
    if not _is_signed(fields, secret):
        raise Forbidden(
            "A push is a form with id, phone, status, and md5 or sha1 of id:phone:status:secret; "
            "this one's signature is missing or wrong."
        )
    key = StatusKey.parse(id=fields["id"].strip(), phone=fields["phone"])
    status = fields["status"].strip()
    if not _STATUS.fullmatch(status):
        raise InvalidArgument("status must be a number.")
    return Push(key, Row(_row_fields(fields)))


def is_ahead(known: Record, news: Record) -> bool:
    """Does a push move what is known? Else it is a repetition, or came too late.

    Further on wins; of states as far on that are not final yet, the one told to have been later;
    then the larger number. It is an order of all pushes, in which each status has one place, so
    it matters neither in which order they come nor how often: whoever kept a push and sends it
    again with other fields beside the signed ones can move nothing back. For that the kind of a
    record plays no part in it, nor does the time of a final state. Without a time a push may only
    move things on: nobody could tell a new one from an old one that was kept.
    """
    is_other = known.provider_status.code != news.provider_status.code
    return is_other and _place(news) > _place(known)


def _place(record: Record) -> tuple[int, float, int]:
    code, time = record.provider_status.code, record.last_status_time
    told = math.inf if record.is_final else -math.inf if time is None else time.timestamp()
    state = codes.STATUSES.get(code, codes.UNKNOWN_STATUS).state
    return MESSAGE_RANK[state], told, code


def spellings(phone: str) -> tuple[str, ...]:
    """The forms by which a pushed number may be known, as it was pushed first.

    Customers saw Russian numbers pushed as `7…`, `8…` and without either. An `8` in front may as
    well be another country's code, so the others are only to be looked for where nothing is known
    by the number as it was pushed.
    """
    prefix, rest = phone[:-_NATIONAL_LENGTH], phone[-_NATIONAL_LENGTH:]
    if not rest.isdigit() or len(rest) < _NATIONAL_LENGTH or prefix not in {"", "7", "8"}:
        return (phone,)
    return (phone, *(other + rest for other in ("7", "8") if other != prefix))


def usual_spelling(phone: str) -> str:
    """The form to keep a number by that is known in none: no country has a code that begins 89."""
    is_russian = len(phone) == _NATIONAL_LENGTH + 1 and phone.startswith("89")
    return f"7{phone[1:]}" if is_russian else phone


_NATIONAL_LENGTH = 10


def _is_signed(fields: Mapping[str, str], secret: str) -> bool:
    """Every signature that is given has to be right, and one has to be given."""
    if not all(fields.get(name) for name in ("id", "phone", "status")):
        return False
    signed = ":".join([fields["id"], fields["phone"], fields["status"], secret]).encode()
    given = {name: fields[name] for name in _SIGNATURES if fields.get(name)}
    return bool(given) and all(
        hmac.compare_digest(
            _SIGNATURES[name](signed, usedforsecurity=False).hexdigest().encode(),
            value.encode().lower(),
        )
        for name, value in given.items()
    )


def _fields(form: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            form.decode("latin-1"),
            keep_blank_values=True,
            encoding="latin-1",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise InvalidArgument(f"A push may have at most {MAX_FIELDS} fields.") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            told = name if name in _KNOWN else "a field"
            raise InvalidArgument(f"{told} is given twice; each field of a push may come once.")
        fields[name] = _text(value)
    return fields


def _text(value: str) -> str:
    """UTF-8 where it is that, else windows-1251, the provider's default; bytes come as latin-1."""
    if value.isascii():
        return value
    raw = value.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("windows-1251", errors="replace")


def _row_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of a status answer.

    A form may hold a lookup's fields for every message, left empty: then they show no lookup. The
    number of parts is kept only beside a type: alone it would show a message, whatever it counts.
    """
    row = {_NAMES[name]: value.strip() for name, value in fields.items() if name in _NAMES}
    shows_type = any(_NUMBER.fullmatch(row.get(name, "")) for name in _SHOWS_TYPE)
    if not shows_type:
        row.pop("sms_cnt", None)
    network = {name: fields[name].strip() for name in _LOOKUP_NAMES if name in fields}
    if shows_type or any(network.values()):
        row |= network
    return row
