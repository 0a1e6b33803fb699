"""Format 2: XML. `<sms>` for a single request, `<list>` of them, `<result>` for an error."""

from xml.etree import ElementTree as ET

from gateway.smsc.row import Refusal, Row, bad_answer, refusal


def read(text: str) -> list[Row] | Refusal:
    """Read an answer that starts with `<`."""
    # Without a document type there are no entities to expand and nothing outside to fetch.
    if "<!DOCTYPE" in text:
        raise bad_answer("The provider's XML has a document type", text)
    try:
        root = ET.fromstring(text)  # noqa: S314 - see above
    except ET.ParseError:
        raise bad_answer("The provider's XML can't be read", text) from None
    name = root.tag.lower()
    rows = list(root) if name == "list" else [root]
    if name not in {"list", "sms", "result"} or any(map(_is_deep, rows)):
        raise bad_answer("The provider's XML is no list of statuses", text)
    if name == "result":
        return refusal(_fields(root))
    return [Row(_fields(row)) for row in rows if row.tag.lower() == "sms"]


def _is_deep(row: ET.Element) -> bool:
    """Fields hold text; one level more is room for what the provider may add."""
    return any(len(inner) for field in row for inner in field)


def _fields(row: ET.Element) -> dict[str, str]:
    return {field.tag.lower(): (field.text or "").strip() for field in row if not len(field)}
