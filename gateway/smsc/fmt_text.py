"""Format 0: lines of `Label = value, Label = value`.

Nothing is escaped, so a text may look like more labels. The labels that frame the texts are
looked for from the outside in: `message` at its first place, `type`, `ID` and `phone` at the very
end. Where more than one border between message and comment is possible, neither is told.
"""

import re

from gateway.smsc.row import Refusal, Row, bad_answer

_LABELS = {
    "status": "status",
    "check_time": "last_date",
    "err": "err",
    "imsi": "imsi",
    "msc": "msc",
    "mcc": "mcc",
    "mnc": "mnc",
    "cn": "cn",
    "net": "net",
    "rcn": "rcn",
    "rnet": "rnet",
    "send_date": "send_date",
    "phone": "phone",
    "mccmnc": "mccmnc",
    "country": "country",
    "operator": "operator",
    "operator_orig": "operator_orig",
    "region": "region",
    "cost": "cost",
    "sender_id": "sender_id",
    "status_name": "status_name",
    "message": "message",
    "comment": "comment",
    "type": "type",
    "id": "id",
}
"""Label (in any case) → the field's name in formats 2 and 3."""

_USUAL_LABELS = {
    spelled + blank: name
    for label, name in _LABELS.items()
    for spelled in (label, label.capitalize(), label.upper())
    for blank in (" ", "")
}
"""The same as they stand before `= `."""

_ANY_CASE = re.IGNORECASE | re.ASCII
"""Of English letters alone: else others count as the same (`ſ` as `s`)."""
_ERROR = re.compile(r"ERROR\s*=\s*(\d{1,9})\b\s*(?:\((.*)\))?", re.IGNORECASE | re.DOTALL)
_ROW_START = re.compile(r"Status ?=", _ANY_CASE)
_NEXT_ROW = re.compile(r"\n(?=Status ?=)", _ANY_CASE)
_LABEL = re.compile(rf"(?:\A|, ?)({'|'.join(_LABELS)}) ?= ?", _ANY_CASE)
_END = re.compile(
    r", ?type ?= ?(?P<type>\d+) *(?:, ?ID ?= ?(?P<id>\d+) *)?(?:, ?phone ?= ?(?P<phone>\S+) *)?\Z",
    _ANY_CASE,
)
_END_LENGTH = 400
"""`type`, `ID` and `phone` with the longest e-mail address are shorter; bounds the search."""
_MESSAGE = re.compile(r", ?message ?= ?", _ANY_CASE)
_COMMENT = re.compile(r", ?comment ?= ?", _ANY_CASE)


def read(text: str) -> list[Row] | Refusal:
    """Read an answer that starts with `Status` or `ERROR`."""
    if error := _ERROR.match(text):
        return Refusal(int(error[1]), error[2] or "")
    if not _ROW_START.match(text):
        raise bad_answer("The provider's text can't be read", text)
    # A line that starts no row belongs to the text before it: messages may have line feeds.
    return [Row(_fields(line.strip())) for line in _NEXT_ROW.split(text)]


def _fields(line: str) -> dict[str, str]:
    head, tail = line, ""
    if begin := _MESSAGE.search(line):
        head, tail = line[: begin.start()], line[begin.end() :]
    fields = _labelled(head)
    if begin:
        fields |= _texts(tail)
    return fields


def _labelled(head: str) -> dict[str, str]:
    """Labels with plain values; one that comes twice is not told."""
    return _usually_labelled(head) or _oddly_labelled(head)


def _usually_labelled(head: str) -> dict[str, str]:
    """The same where each comma stands before a label of its own; empty where that is not so."""
    pieces = head.split(", ")
    if head.count(",") != len(pieces) - 1:
        return {}
    fields: dict[str, str] = {}
    for piece in pieces:
        label, sign, value = piece.partition("= ")
        name = _USUAL_LABELS.get(label) if sign else None
        if name is None or name in fields:
            return {}
        fields[name] = value.strip()
    return fields


def _oddly_labelled(head: str) -> dict[str, str]:
    found = list(_LABEL.finditer(head))
    ends = [match.start() for match in found[1:]] + [len(head)]
    fields: dict[str, str] = {}
    seen: set[str] = set()
    for match, end in zip(found, ends, strict=True):
        name = _LABELS[match[1].lower()]
        if name in seen:
            fields.pop(name, None)
        else:
            fields[name] = head[match.end() : end].strip()
        seen.add(name)
    return fields


def _texts(tail: str) -> dict[str, str]:
    """What follows `message = `: the text, perhaps a comment, the type, perhaps ID and phone."""
    fields: dict[str, str] = {}
    from_ = max(0, len(tail) - _END_LENGTH)
    if end := _END.search(tail, from_):
        fields = {name: value for name, value in end.groupdict().items() if value is not None}
        tail = tail[: end.start()]
    borders = list(_COMMENT.finditer(tail))
    if not borders:
        fields["message"] = tail.strip()
    elif len(borders) == 1:
        fields["message"] = tail[: borders[0].start()].strip()
        fields["comment"] = tail[borders[0].end() :].strip()
    return fields
