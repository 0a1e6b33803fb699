"""Format 2: XML. `<sms>` for a single request, `<list>` of them, `<result>` for an error."""

from xml.parsers import expat

from gateway.smsc.row import Refusal, Row, bad_answer, refusal

MAX_DEPTH = 8
"""`<list><sms><status>` is three deep; the rest is room for what the provider may add."""


class _Refused(Exception):
    """The document is not one of the provider's."""


class _Reader:
    """Collects the leaves of each `<sms>` or `<result>`."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.error: dict[str, str] | None = None
        self._path: list[str] = []
        self._fields: dict[str, str] = {}
        self._text: list[str] = []

    def start(self, name: str, _: dict[str, str]) -> None:
        name = name.lower()
        if not self._path and name not in {"sms", "list", "result"}:
            raise _Refused
        if len(self._path) >= MAX_DEPTH:
            raise _Refused
        if name == "sms":
            self._fields = {}
        self._path.append(name)
        self._text = []

    def end(self, _: str) -> None:
        name = self._path.pop()
        if name == "sms":
            self.rows.append(Row(self._fields))
        elif name == "result":
            self.error = self._fields
        elif self._path and self._path[-1] in {"sms", "result"}:
            self._fields[name] = "".join(self._text).strip()
        self._text = []

    def text(self, data: str) -> None:
        self._text.append(data)


def read(text: str) -> list[Row] | Refusal:
    """Read an answer that starts with `<`. Document type declarations are refused."""
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")  # overrides what a prologue may say: text is decoded
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(text.encode(errors="replace"), True)
    except (expat.ExpatError, _Refused):
        raise bad_answer("The provider's XML can't be read", text) from None
    if reader.error is not None:
        return refusal(reader.error)
    return reader.rows


def _refuse(*_: object) -> None:
    raise _Refused
