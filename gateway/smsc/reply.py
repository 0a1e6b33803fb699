"""Decodes a provider answer of any format into rows or a `Refusal`; matches rows to keys.

The format is recognised by the content, not by what was asked or what a header says: proxies and
older hosts answer in another one. Whatever the bytes are, the outcome is rows, a `Refusal` or an
`UpstreamBadAnswer`, never another exception.
"""

import re
from collections.abc import Mapping, Sequence

from gateway.errors import InvalidArgument
from gateway.model.records import StatusKey, parse_phone
from gateway.smsc import fmt_csv, fmt_json, fmt_text, fmt_xml
from gateway.smsc.row import Expected, Refusal, Row, bad_answer, check_count, whole

MAX_BYTES = 4 * 1024 * 1024
"""An answer for 1,000 messages, the most that one request may hold, with 1,000 characters each is
2.5 MB: they come as characters, not as escapes. More than this is not an answer."""

ROW_BYTES = 16 * 1024
"""What one more row may add: a thousand characters of text take 4 KB, names some hundred bytes."""
FEW_ROWS_BYTES = 512 * 1024
"""What any answer may have beside that: the text of an e-mail has no published bound."""
ROW_LINES = 200
FEW_ROWS_LINES = 2000
"""The same in lines: a row of formats 2 and 3 has 30, and texts may hold line feeds."""

_ANYTHING = Expected()
_STATUS = re.compile(r"[+-]?[0-9]{1,9}(?:\.0{1,9})?")
_USUAL_STATUSES = frozenset(map(str, range(-3, 30)))


def decode(
    body: bytes, *, charset: str = "utf-8", expected: Expected = _ANYTHING
) -> list[Row] | Refusal:
    """Read an answer.

    `charset` is the one asked for: the Content-Type names windows-1251 even when utf-8 was asked
    (a recording of 2016).
    """
    _check_size(body, expected.rows)
    text = to_text(body, charset).strip("\ufeff \t\r\n\x00")
    start = text[:1]
    if text in {"", ","}:  # official libraries make "," of an empty answer
        raise bad_answer("The provider's answer is empty", "")
    if start in {"{", "["}:
        result = fmt_json.read(text, expected.rows)
    elif start == "<":
        result = fmt_xml.read(text, expected.rows)
    elif start.isdigit() or start == "-":
        result = fmt_csv.read(text, expected)
    else:
        result = fmt_text.read(text)
    if isinstance(result, Refusal):
        return result
    check_count(len(result), expected.rows)
    if not all(map(_has_status, result)):
        raise bad_answer("The provider's answer has a row without status", text)
    return result


def _check_size(body: bytes, rows: int | None) -> None:
    """Refuse what is far longer than an answer about so many messages, before it is read."""
    longest, lines = MAX_BYTES, MAX_BYTES
    if rows is not None:
        longest = min(longest, FEW_ROWS_BYTES + rows * ROW_BYTES)
        lines = FEW_ROWS_LINES + rows * ROW_LINES
    if len(body) > longest:
        raise bad_answer(f"The provider's answer is longer than {longest} bytes", "")
    if body.count(b"\n") > lines:
        raise bad_answer(f"The provider's answer has more than {lines} lines", "")


def decode_deletion(body: bytes, *, charset: str = "utf-8") -> Refusal | None:
    """Read the answer to `del=1`; None: the message is deleted.

    Success has no documented form. Clients met the plain text `OK`, whatever format was asked for,
    and an object with `result`; in XML it would be an element that holds it. A refusal comes in
    the format asked for.
    """
    if _DELETED.fullmatch(to_text(body[:_DELETED_LENGTH], charset).strip("\ufeff \t\r\n\x00")):
        return None
    answer = decode(body, charset=charset)
    if isinstance(answer, Refusal):
        return answer
    raise bad_answer("The provider's answer does not say whether the message is deleted", "")


_DELETED_LENGTH = 200
_DELETED = re.compile(
    r"""
    OK\b.*
    | \{\s*"result"\s*:\s*"OK"\s*(?:,.*)?\}
    | (?:<\?xml[^>]*>\s*)? (?:<(?:list|sms|result)>\s*){1,3} OK (?:\s*</(?:list|sms|result)>){1,3}
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def _has_status(row: Row) -> bool:
    status = row.fields.get("status", "")
    return status in _USUAL_STATUSES or _STATUS.fullmatch(status) is not None


def to_text(body: bytes, charset: str) -> str:
    """Decode by the charset asked for; if the bytes are not in it, by the provider's others."""
    for candidate in (charset, "utf-8", "windows-1251"):
        try:
            return body.decode(candidate)
        except UnicodeDecodeError:
            continue
    return body.decode(charset, errors="replace")


def match(rows: Sequence[Row], keys: Sequence[StatusKey]) -> Mapping[StatusKey, Row]:
    """Give each asked pair its row, whatever the order; a pair that got none has no entry.

    A single row for a single pair needs no id. In a list a row belongs to the pair with its id
    and phone; a row whose phone is missing or spelled otherwise, to the only pair with its id.
    Where a row names an id or a phone they must be the asked ones: an answer in which no row is
    about any of the pairs is meant for another request, and an `UpstreamBadAnswer`.
    """
    if len(keys) == 1 and len(rows) == 1 and "id" not in rows[0].fields:
        if not _fits(_digits(rows[0].fields.get("phone", "")), keys[0]):
            raise bad_answer("The provider's answer is about another message", "")
        return {keys[0]: rows[0]}
    by_pair = {(str(key.id), key.phone.casefold()): key for key in keys}
    by_id: dict[str, list[StatusKey]] = {}
    for key in keys:
        by_id.setdefault(str(key.id), []).append(key)
    matched: dict[StatusKey, Row] = {}
    for row in rows:
        id_, phone = whole(row.fields.get("id", "")), _digits(row.fields.get("phone", ""))
        found = by_pair.get((id_, phone)) or _only_one(by_id.get(id_, []), phone)
        if found is not None:
            matched.setdefault(found, row)
    if rows and not matched:
        raise bad_answer("The provider's answer is about other messages", "")
    return matched


def _only_one(keys: Sequence[StatusKey], phone: str) -> StatusKey | None:
    return keys[0] if len(keys) == 1 and _fits(phone, keys[0]) else None


def _fits(told: str, key: StatusKey) -> bool:
    """Is a row's phone, where it names one, the asked one, in any spelling of it?"""
    asked = key.phone.casefold()
    return not told or told == asked or bool(_spellings(told) & _spellings(asked))


def _spellings(phone: str) -> set[str]:
    """A number as it stands, and as a Russian one in the forms that the provider echoes."""
    national = phone[-_NATIONAL_LENGTH:]
    is_russian = national.isdigit() and phone[:-_NATIONAL_LENGTH] in {"", "7", "8"}
    return {phone, national} if is_russian and len(national) == _NATIONAL_LENGTH else {phone}


_NATIONAL_LENGTH = 10


def _digits(phone: str) -> str:
    """A phone as the provider may print it, in the form that callers' have."""
    if phone.isdecimal() and phone.isascii():
        return phone
    try:
        return parse_phone(whole(phone)).casefold()
    except InvalidArgument:
        return phone.casefold()
