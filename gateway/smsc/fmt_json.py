"""Format 3: JSON. One object for a single request, an array for a list, an object for an error."""

import json
import re
from collections.abc import Iterable

import orjson

from gateway.smsc.row import (
    FIELDS,
    Refusal,
    Row,
    bad_answer,
    check_count,
    refusal,
    rows_or_refusal,
)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape may spell half a surrogate pair, which is no character and could not be sent on."""


# Numbers stay text: "3.20" keeps its zero, and no size of integer can hurt. A raw line feed inside
# a string is against RFC 8259 but harmless (strict=False).
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)


def read(text: str, rows: int | None = None) -> list[Row] | Refusal:
    """Read an answer that starts with `{` or `[`; of more than `rows` none is built."""
    usual = _usual_rows(text, rows)
    if usual is not None:
        return usual
    try:
        value = _DECODER.decode(text) if rows is None or text[0] == "{" else _listed(text, rows)
    except (ValueError, RecursionError):
        raise bad_answer("The provider's JSON can't be read", text) from None
    items = value if isinstance(value, list) else [value]
    if any(map(_is_deep, items)):
        raise bad_answer("The provider's JSON is nested too deeply", text)
    if isinstance(value, dict) and ("error_code" in value or "error" in value):
        return refusal(_fields(value))
    told = [_fields(item) for item in items if isinstance(item, dict)]
    if _SURROGATE.search(text):
        told = [_without_halves(fields) for fields in told]
    if len(told) != len(items):
        raise bad_answer("The provider's JSON is no list of statuses", text)
    return rows_or_refusal(told)


def _usual_rows(text: str, rows: int | None) -> list[Row] | None:
    """The rows of an answer as the provider writes it, read four times as fast; None: it is odd.

    Odd is what `orjson` refuses, or would not keep as it was written (fractions), and more objects
    than were asked for, which it would build. Errors and fields inside fields are odd as well.
    """
    if rows is not None and text.count("{") > rows:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    found = []
    for item in value if type(value) is list else [value]:
        fields = _usual_fields(item) if type(item) is dict else None
        if fields is None:
            return None
        found.append(Row(fields))
    return found


def _usual_fields(item: dict[str, object]) -> dict[str, str] | None:
    """The fields of an object that has a status, and no names but those of the provider's page."""
    if not item.keys() <= FIELDS or "status" not in item:
        return None
    fields: dict[str, str] = {}
    for name, value in item.items():
        if type(value) is str:
            fields[name] = value.strip()
        elif type(value) is int:
            fields[name] = str(value)
        elif type(value) is not bool and value is not None:
            return None
    return fields


def _listed(text: str, rows: int) -> list[object]:
    """The items of an array, one after the other."""
    items: list[object] = []
    at = _skip(text, 1)
    separator = text[at : at + 1]
    while separator != "]":
        check_count(len(items) + 1, rows)
        item, at = _DECODER.raw_decode(text, at)
        items.append(item)
        at = _skip(text, at)
        separator = text[at : at + 1]
        if separator not in {",", "]"}:
            raise ValueError(at)
        at = at if separator == "]" else _skip(text, at + 1)
    if _skip(text, at + 1) != len(text):
        raise ValueError(at)
    return items


def _skip(text: str, at: int) -> int:
    """Where the white space ends."""
    found = _WHITE.match(text, at)
    assert found is not None  # noqa: S101 - it matches nothing as well
    return found.end()


_WHITE = re.compile(r"[ \t\n\r]*")


def _is_deep(item: object) -> bool:
    """Fields hold text or numbers; one level more is room for what the provider may add."""
    return any(any(map(_inside, _inside(field))) for field in _inside(item))


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _fields(item: dict[str, object]) -> dict[str, str]:
    """Flat values as text; an absent value and one that is no text or number are both none."""
    return {name.lower(): value.strip() for name, value in item.items() if isinstance(value, str)}


def _without_halves(fields: dict[str, str]) -> dict[str, str]:
    return {name: value.encode(errors="replace").decode() for name, value in fields.items()}
