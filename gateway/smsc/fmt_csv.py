"""Format 1: comma-separated values without escaping, identified by position.

Nothing is escaped, so a comma inside a text moves everything behind it. A row is read from both
ends; where the border between two texts can't be known, neither is told.

```
message   status,last_timestamp,err                                                       all=0
          …,send_timestamp,phone,cost,sender,status_name,message,comment,type              all=1
          …,send_timestamp,phone,country,operator,region,cost,sender,status_name,…         all=2
lookup    status,last_timestamp,err,imsi,msc,mcc,mnc,cn,net,rcn,rnet                       all=0
          …,send_timestamp,phone,cost,HLR,status_name,message,type                         all=1
          …,send_timestamp,phone,country,operator,region,cost,HLR,status_name,message,type all=2
list      the same with id,phone (all=0) or id (all=1, 2) at the end
```

Older accounts end a message's row at `message`, or at `message,type`.
"""

import re
from collections.abc import Sequence

from gateway.smsc.row import Expected, Refusal, Row, bad_answer

_ERROR = re.compile(r"0\s*,\s*-(\d{1,9})\s*")
_ROW_START = re.compile(r"-3\s*(?:,|$)|-?\d{1,9}\s*,\s*\d{0,10}\s*(?:,|$)")
_STATUS = re.compile(r"-?\d{1,9}")
_COST = re.compile(r"\d{1,9}(?:\.\d{1,6})?")
_ID = re.compile(r"[1-9]\d{0,9}")
_PHONE = re.compile(r"\+?\d{5,20}|[^\s@]+@[^\s@]+")
_TYPE = re.compile(r"\d{1,2}")
_TIME = re.compile(r"\d{9,10}")

_HEAD = ("status", "last_timestamp", "err")
_NETWORK = ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet")
_DIGITS = 4
"""The first fields of `_NETWORK` that are numbers and so hold no comma."""
_SENDING = ("send_timestamp", "phone")
_GEOGRAPHY = ("country", "operator", "region")
_PRICE = ("cost", "sender_id", "status_name")
_NOT_FOUND = "-3"
_SHORTEST_ROWS = {None: 3, 0: 5, 1: 9, 2: 12}
"""Fewest fields on the first line of a row in a list, by `all`: up to the text, which may go on."""
_BASIC_COUNT = len(_HEAD)
_LOOKUP_COUNT = len(_HEAD) + len(_NETWORK)


def read(text: str, expected: Expected) -> list[Row] | Refusal:
    """Read an answer that starts with a number."""
    # "0,<timestamp>,<err>" is a message on its way; exactly two fields with a minus are an error.
    if error := _ERROR.fullmatch(text):
        return Refusal(int(error[1]))
    lines = [text] if expected.many is False else _rows(text, expected)
    many = expected.many if expected.many is not None else len(lines) > 1 or None
    return [_row(line, Expected(expected.all, many), text) for line in lines]


def _rows(text: str, expected: Expected) -> list[str]:
    """The rows of a list; a line that starts none belongs to the text before it.

    Messages may hold line feeds, and what follows one may begin like a row, but it is too short.
    """
    shortest = _SHORTEST_ROWS[expected.all] - 1
    rows: list[list[str]] = []
    for line in text.split("\n"):
        starts = _ROW_START.match(line) and (line.startswith("-3") or line.count(",") >= shortest)
        if starts or not rows:
            rows.append([line])
        else:
            rows[-1].append(line)
    return ["\n".join(lines) for lines in rows]


def _row(line: str, expected: Expected, text: str) -> Row:
    values = [value.strip() for value in line.split(",")]
    if not _STATUS.fullmatch(values[0]):
        raise bad_answer("The provider's comma-separated answer can't be read", text)
    if values[0] == _NOT_FOUND:
        return Row({"status": _NOT_FOUND} | _missing_pair(values, expected))
    if len(values) < 2:  # noqa: PLR2004 - the oldest shape is "status,last_timestamp"
        raise bad_answer("The provider's comma-separated answer is cut", text)
    sender = _lookup_sender(values)
    if sender is not None:
        return Row(_detailed_lookup(values, sender, expected), lookup=True)
    if _is_basic_lookup(values, expected):
        return Row(_basic_lookup(values, expected), lookup=True)
    if len(values) <= _BASIC_COUNT + 2:
        fields = _named(_HEAD, values) | _pair(values[_BASIC_COUNT:], expected)
        return Row(fields, lookup=False)
    return Row(_detailed_message(values, expected), lookup=False)


def _named(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Names for values; an empty value stays, for it says that the field has its place."""
    return dict(zip(names, values, strict=False))


def _pair(rest: Sequence[str], expected: Expected) -> dict[str, str]:
    """The id, and the phone behind it, at the end of a list's row."""
    if expected.many is False or not rest:
        return {}
    if len(rest) > 1 and _PHONE.fullmatch(rest[-1]) and _ID.fullmatch(rest[-2]):
        return {"id": rest[-2], "phone": rest[-1]}
    if expected.many and expected.all != 0 and _ID.fullmatch(rest[-1]):
        return {"id": rest[-1]}
    return {}


def _missing_pair(values: Sequence[str], expected: Expected) -> dict[str, str]:
    """The pair of a message that was not found, whose row may have the shape of one that was.

    "For fmt = 1, a response is returned in the format of the status of a regular message" (PAGE):
    its phone then stands in its own place, and behind its type the id alone.
    """
    if len(values) < _SHORTEST_ROWS[1]:
        return _pair(values[1:], expected)
    phone, id_ = values[len(_HEAD) + 1], values[-1]
    pair = {"id": id_} if expected.many and _ID.fullmatch(id_) else {}
    return pair | ({"phone": phone} if _PHONE.fullmatch(phone) else {})


def _lookup_sender(values: Sequence[str]) -> int | None:
    """Where a lookup's row has its sender `HLR`: at 14 or 17, further on if a name has commas."""
    digits = values[len(_HEAD) : len(_HEAD) + _DIGITS]
    if not all(value == "" or value.isdigit() for value in digits):
        return None
    first = _LOOKUP_COUNT + len(_SENDING) + 1
    for place in range(first, len(values)):
        if values[place] == "HLR" and _COST.fullmatch(values[place - 1]):
            return place
    return None


def _detailed_lookup(values: Sequence[str], sender: int, expected: Expected) -> dict[str, str]:
    fields = _named(_HEAD + _NETWORK[:_DIGITS], values)
    fields |= _named(_PRICE, values[sender - 1 : sender + 2])
    # Between the numbers and the price stand names, which may hold commas, with the time and the
    # phone among them: the one place where a phone follows a time.
    start = len(_HEAD) + _DIGITS
    names = values[start : sender - 1]
    places = [
        place
        for place in range(len(names) - 1)
        if _TIME.fullmatch(names[place]) and _PHONE.fullmatch(names[place + 1])
    ]
    if len(places) == 1:
        place = places[0]
        fields |= _named(_SENDING, names[place:])
        if place == len(_NETWORK) - _DIGITS:
            fields |= _named(_NETWORK[_DIGITS:], names)
        geography = names[place + len(_SENDING) :]
        if len(geography) == len(_GEOGRAPHY):
            fields |= _named(_GEOGRAPHY, geography)
    names_behind = ("message", "type", "id") if expected.many else ("message", "type")
    if len(values) == sender + 2 + len(names_behind):
        fields |= _named(names_behind, values[sender + 2 :])
    elif expected.many and _ID.fullmatch(values[-1]):
        fields["id"] = values[-1]
    return fields


def _is_basic_lookup(values: Sequence[str], expected: Expected) -> bool:
    """At all=0 a lookup has eleven fields; a message at all=1 may have as many."""
    if len(values) < _LOOKUP_COUNT or expected.all in {1, 2}:
        return False
    if expected.all == 0:
        return True
    digits = values[len(_HEAD) : len(_HEAD) + _DIGITS]
    is_sending = _TIME.fullmatch(digits[0]) and _PHONE.fullmatch(digits[1])
    return not is_sending and all(value == "" or value.isdigit() for value in digits)


def _basic_lookup(values: Sequence[str], expected: Expected) -> dict[str, str]:
    pair = _pair(values[_LOOKUP_COUNT:], expected)
    body = values[: len(values) - len(pair)]
    if len(body) == _LOOKUP_COUNT:
        return _named(_HEAD + _NETWORK, body) | pair
    return _named(_HEAD + _NETWORK[:_DIGITS], body) | pair


def _detailed_message(values: Sequence[str], expected: Expected) -> dict[str, str]:
    fields = _named(_HEAD + _SENDING, values)
    start = len(_HEAD) + len(_SENDING)
    has_geography = expected.all == 2  # noqa: PLR2004 - the parameter's own value
    if expected.all is None:
        has_geography = not _COST.fullmatch(values[start])
    price = start + len(_GEOGRAPHY) if has_geography else start
    while price < len(values) and not _COST.fullmatch(values[price]):
        price += 1  # a name with commas
    geography = values[start:price]
    if len(geography) == len(_GEOGRAPHY):
        fields |= _named(_GEOGRAPHY, geography)
    fields |= _named(_PRICE, values[price:])
    return fields | _texts(values[price + len(_PRICE) :], expected)


def _texts(tail: Sequence[str], expected: Expected) -> dict[str, str]:
    """`message`, then `comment` and `type`, as far as they can be told apart."""
    fields: dict[str, str] = {}
    if expected.many and len(tail) > 1 and _ID.fullmatch(tail[-1]):
        fields["id"] = tail[-1]
        tail = tail[:-1]
    names: tuple[str, ...] = ()
    if len(tail) == 1:
        names = ("message",)
    elif tail and _TYPE.fullmatch(tail[-1]):
        fields["type"] = tail[-1]
        names = ("message", "type") if len(tail) == 2 else ("message", "comment", "type")  # noqa: PLR2004
    if len(tail) == len(names):
        fields |= _named(names, tail)
    return fields
