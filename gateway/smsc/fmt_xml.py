"""Format 2: XML. `<sms>` for a single request, `<list>` of them, `<result>` for an error."""

import re
from xml.etree import ElementTree as ET

from gateway.smsc.row import Refusal, Row, bad_answer, is_refusal, refusal, rows_or_refusal

TAGS_OF_ROW = 100
"""Tags of one row at the most: 25 fields have 52, and an unescaped text may hold a few."""


def read(text: str, asked: int | None = None) -> list[Row] | Refusal:
    """Read an answer that starts with `<`; of far more than was `asked` for none is built."""
    if asked is not None and text.count("<") > TAGS_OF_ROW * (asked + 1):
        raise bad_answer("The provider's XML has more tags than what was asked for can have", text)
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
