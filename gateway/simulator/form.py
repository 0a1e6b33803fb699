"""Reads what a request asks, whichever way it is sent: query, form, form with files, JSON.

A text is in the charset that the request names, windows-1251 if it names none; so a caller who
sends UTF-8 and does not say so sends mojibake, as to the provider.
"""

import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import NamedTuple
from urllib.parse import parse_qsl

from python_multipart import parse_form
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File
from starlette.exceptions import HTTPException
from starlette.requests import Request

CHARSETS = ("windows-1251", "utf-8", "koi8-r")
"""The first is the default."""

MAX_BODY = 8 * 2**20
"""Bytes. An e-mail's files may have a few million."""

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
JSON = "application/json"


class Form(NamedTuple):
    """The fields of a request.

    `via` tells how it was sent. `unread` is why the body could not be read, which is the caller's
    error 1: its login may well have been in there.
    """

    fields: dict[str, str]
    via: str
    unread: str | None = None

    @property
    def charset(self) -> str:
        return charset_of(self.fields)


def charset_of(fields: Mapping[str, str]) -> str:
    charset = fields.get("charset", "").lower()
    return charset if charset in CHARSETS else CHARSETS[0]


async def read_form(request: Request, *, takes_json: bool) -> Form:
    """Read query and body; a field of the body overrules one of the query."""
    body = await read_body(request)
    query = _urlencoded(request.scope["query_string"])
    form = Form(_decoded(query), "query" if query else "form")
    content_type = request.headers.get("content-type", URLENCODED)
    media = content_type.partition(";")[0].strip().lower()
    if not body:
        return form
    try:
        if media == URLENCODED:
            return form._replace(fields=_decoded(query | _urlencoded(body)))
        if media == MULTIPART:
            fields = _decoded(query | _multipart(content_type, body))
            return form._replace(fields=fields, via="multipart")
        if media == JSON and takes_json:
            return form._replace(fields=form.fields | _from_json(body), via="json")
    except _Unreadable as reason:
        return form._replace(unread=str(reason))
    return form._replace(unread=f"the body is no form, but {media[:_SHOWN]!a}")


class _Unreadable(Exception):
    """Why a body can't be read."""


_SHOWN = 40


async def read_body(request: Request) -> bytes:
    """The body, or a 413 as soon as it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"a body may have {MAX_BODY} bytes")
    return bytes(body)


def _urlencoded(text: bytes) -> dict[str, bytes]:
    # Latin-1 makes each byte a character: the charset is one of the fields.
    pairs = parse_qsl(text.decode("latin-1"), encoding="latin-1")
    return {name: value.encode("latin-1") for name, value in pairs}


def _multipart(content_type: str, body: bytes) -> dict[str, bytes]:
    """The fields, without the files."""
    fields: dict[str, bytes] = {}
    files: list[bytes | None] = []

    def on_field(field: Field) -> None:
        fields[(field.field_name or b"").decode("latin-1")] = field.value or b""

    def on_file(file: File) -> None:
        files.append(file.field_name)
        file.close()

    try:
        headers = {"Content-Type": content_type.encode("latin-1")}
        parse_form(headers, BytesIO(body), on_field, on_file)
    except FormParserError:
        fields.clear()
        files.clear()
    if not fields and not files:
        raise _Unreadable("the multipart body is broken")
    return fields


def _decoded(fields: Mapping[str, bytes]) -> dict[str, str]:
    charset = charset_of({"charset": fields.get("charset", b"").decode("latin-1")})
    return {name: value.decode(charset, "replace") for name, value in fields.items()}


def _from_json(body: bytes) -> dict[str, str]:
    """The fields of an object: strings, numbers, flags, lists of these."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _Unreadable("the body is no JSON object")
    return {name: _text(inner) for name, inner in value.items() if inner is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return _joined(value)
    # Half a character is JSON, but can be told in no charset.
    return str(value).encode(errors="replace").decode()


def _joined(values: Iterable[object]) -> str:
    return ",".join("" if isinstance(value, list | dict) else _text(value) for value in values)
