"""`Row` and `Refusal`, the common result of the four format readers."""

import re
from typing import NamedTuple

import msgspec

from gateway.errors import UpstreamBadAnswer


class Row(msgspec.Struct, frozen=True, gc=False):
    """One status as the provider told it.

    `fields` has the names of formats 2 and 3 (provider's page), known or not, with their values as
    text, trimmed; a field that is absent or can't be told for certain has no entry.
    `lookup` is what the shape alone shows (format 1): an HLR lookup, a message, or nothing (None).
    It refers to nothing that could refer to it, so the garbage collector need not look at it.
    """

    fields: dict[str, str]
    lookup: bool | None = None


FIELDS = frozenset(
    {
        "status",
        "last_date",
        "last_timestamp",
        "flag",
        "err",
        "send_date",
        "send_timestamp",
        "phone",
        "cost",
        "sender_id",
        "status_name",
        "message",
        "comment",
        "mccmnc",
        "country",
        "operator",
        "operator_orig",
        "region",
        "type",
        "sms_cnt",
        "id",
        "imsi",
        "msc",
        "mcc",
        "mnc",
        "cn",
        "net",
        "rcn",
        "rnet",
    }
)
"""The names of formats 2 and 3 (provider's page)."""


class Refusal(NamedTuple):
    """The provider refused the request: its error number and, for the log only, its words."""

    number: int
    text: str = ""


class Expected(NamedTuple):
    """What was asked, where it is known; formats 0 and 1 are ambiguous without it.

    `all` is the detail parameter, `many` tells a list from a single request; `rows` is how many
    messages were asked for.
    """

    all: int | None = None
    many: bool | None = None
    rows: int | None = None


def whole(text: str) -> str:
    """A number without a fraction of zeros: some JSON writers print 1 as `1.0`."""
    number, point, fraction = text.partition(".")
    return number if point and not fraction.strip("0") else text


def is_refusal(fields: dict[str, str]) -> bool:
    """Does an object in a list of format 2 or 3 spell an error?"""
    return "status" not in fields and ("error" in fields or "error_code" in fields)


def refusal(fields: dict[str, str]) -> Refusal:
    """The refusal that formats 2 and 3 spell with `error` and `error_code`; 0: no number."""
    number = whole(fields.get("error_code", ""))
    readable = number.isascii() and number.isdigit() and len(number) < _NUMBER_LENGTH
    return Refusal(int(number) if readable else 0, fields.get("error", ""))


def rows_or_refusal(told: list[dict[str, str]]) -> list[Row] | Refusal:
    """The rows among the objects of an answer, or the error that stands instead of all of them.

    An error inside a list is that error. Beside rows it belongs to a message that has none.
    """
    refusals = [fields for fields in told if is_refusal(fields)]
    if refusals and len(refusals) == len(told):
        return refusal(refusals[0])
    return [Row(fields) for fields in told if not is_refusal(fields)]


def check_count(found: int, rows: int | None) -> None:
    """Refuse an answer with more rows than were asked for; `rows` None: any number."""
    if rows is not None and found > rows:
        raise bad_answer("The provider's answer has more rows than were asked for", "")


_NUMBER_LENGTH = 10
_EXCERPT_LENGTH = 60
_WORD = re.compile(r"[^\W_]+")
_HARMLESS = frozenset(
    re.findall(
        r"\w+",
        """
        address all and bad body bytes charset content cost country check date doctype err error
        flag forbidden found gateway head html http https id imsi internal last list mcc message
        mnc msc name net nginx not ok operator phone php proxy rcn region request result rnet send
        sender server service sms status svg text time timeout timestamp title type unavailable utf
        version windows xml
        """,
    )
)


def bad_answer(reason: str, text: str) -> UpstreamBadAnswer:
    """The one error for what can't be read, with a short excerpt that tells no contents.

    Of the excerpt only words of the protocol and of error pages stay readable; every other word
    and every number is masked, for it may be a phone number or a piece of a message.
    """
    start = text[:_EXCERPT_LENGTH].replace("\n", " ")
    masked = _WORD.sub(lambda m: m[0] if m[0].lower() in _HARMLESS else "*" * len(m[0]), start)
    return UpstreamBadAnswer(f"{reason}; it starts {masked!r}." if masked else f"{reason}.")
