"""Format 2: XML. `<sms>` for a single request, `<list>` of them, `<result>` for an error."""

import re
from xml.etree import ElementTree as ET
from xml.sax.saxutils import unescape

from gateway.smsc.row import (
    FIELDS,
    Refusal,
    Row,
    bad_answer,
    is_refusal,
    refusal,
    rows_or_refusal,
)

TAGS_OF_ROW = 100
"""Tags of one row at the most: 25 fields have 52, and an unescaped text may hold a few."""


def read(text: str, asked: int | None = None) -> list[Row] | Refusal:
    """Read an answer that starts with `<`; of far more than was `asked` for none is built."""
    if asked is not None and text.count("<") > TAGS_OF_ROW * (asked + 1):
        raise bad_answer("The provider's XML has more tags than what was asked for can have", text)
    usual = _usual_rows(text)
    if usual is not None:
        return usual
    # Without a document type there are no entities to expand and nothing outside to fetch.
    if "<!DOCTYPE" in text:
        raise bad_answer("The provider's XML has a document type", text)
    try:
        root = ET.fromstring(text)  # noqa: S314 - see above
    except ET.ParseError:
        root = _mended(text)
    name = root.tag.lower()
    rows = list(root) if name == "list" else [root]
    if name not in {"list", "sms", "result"} or any(map(_is_deep, rows)):
        raise bad_answer("The provider's XML is no list of statuses", text)
    if name == "result" or (name == "list" and is_refusal(_fields(root))):
        return refusal(_fields(root))
    return rows_or_refusal([_fields(row) for row in rows if row.tag.lower() in {"sms", "result"}])


def _usual_rows(text: str) -> list[Row] | None:
    """The rows of an answer as the provider writes it, read twice as fast; None: it is odd.

    Usual is a `<list>` of `<sms>`, or one alone, that hold fields of the provider's page one after
    the other. Where these have all the `<` and `>` that there are, there is no other markup.
    """
    if _has_odd_characters(text):
        return None
    is_list = text.startswith("<list>") and text.endswith("</list>")
    *told, rest = (text[len("<list>") : -len("</list>")] if is_list else text).split("</sms>")
    if rest.strip(_WHITE) or (len(told) != 1 and not is_list):
        return None
    rows = []
    for row in told:
        before, start, inside = row.partition("<sms>")
        found = _FIELD.findall(inside)
        fields = {name: value.strip() for name, value in found}
        if before.strip(_WHITE) or not start or not fields.keys() <= FIELDS:
            return None
        if not inside.count("<") == inside.count(">") == 2 * len(found):
            return None
        if "&" in inside:
            # Where it begins none of XML's own entities it stands for itself: see `_mended`.
            if "&#" in inside:
                return None
            fields = {name: unescape(value, _QUOTES) for name, value in fields.items()}
        rows.append(Row(fields))
    return rows


def _has_odd_characters(text: str) -> bool:
    """Are there any that XML forbids, or a carriage return, which it reads as a line feed?

    Each of these ways to look through a text is many times as fast as an expression for them all.
    """
    encoded = text.encode()
    has_controls = len(encoded.translate(None, _CONTROLS)) != len(encoded)
    return has_controls or "\ufffe" in text or "\uffff" in text


_FIELD = re.compile(r"<([a-z_]+)>([^<]*)</\1>")
_WHITE = " \t\n"
_QUOTES = {"&quot;": '"', "&apos;": "'"}
_CONTROLS = bytes(set(range(32)) - set(b"\t\n"))


def _mended(text: str) -> ET.Element:
    """Read what is no XML because a message's text stands in it as it was sent."""
    mended = _FORBIDDEN.sub("", _BARE.sub(lambda sign: _ESCAPES[sign[0]], text))
    try:
        return ET.fromstring(mended)  # noqa: S314 - as above
    except ET.ParseError:
        raise bad_answer("The provider's XML can't be read", text) from None


_BARE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)|<(?![/?a-zA-Z])")
"""An ampersand that begins no entity, and a less-than sign that begins no tag."""
_ESCAPES = {"&": "&amp;", "<": "&lt;"}
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) allows in no form."""


def _is_deep(row: ET.Element) -> bool:
    """Fields hold text; one level more is room for what the provider may add."""
    return any(any(map(len, field)) for field in row if len(field))


def _fields(row: ET.Element) -> dict[str, str]:
    return {field.tag.lower(): (field.text or "").strip() for field in row if not len(field)}
