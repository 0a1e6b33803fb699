"""Lists, exports and summaries of what is kept: `GET /v1/records` and what is below it.

They read the archive alone, and never ask the provider.
"""

import csv
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import orjson
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from gateway.archive.archive import Archive
from gateway.archive.filters import NAMES, RecordFilter, read_filter
from gateway.archive.listing import (
    MOST,
    Listed,
    Order,
    Position,
    cursor_of,
    position_of,
)
from gateway.callers.model import Scope as CallerScope
from gateway.callers.model import hidden_fields, require
from gateway.errors import InvalidArgument
from gateway.model.freshness import Answer
from gateway.model.records import HlrLookup, Message, shown_fields
from gateway.web.http.auth import caller_of
from gateway.web.http.compression import compressed, takes_gzip
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import JSON, check_accept, negotiated
from gateway.web.http.reply import Reply, respond
from gateway.web.http.sse import stream
from gateway.web.rest.address import check_names, number, one_of, parameters_of
from gateway.web.rest.fields import HISTORY, KINDS, FieldSet, shape_of
from gateway.web.rest.history import archive_for, histories_of, with_history

if TYPE_CHECKING:
    from gateway.web.http.headers import Headers

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"

DEFAULT_LIMIT: Final = 50

EXPORTED_AT_ONCE: Final = 200
"""Records of an export that are read and written together: some milliseconds of work."""

_NO_STORE: Final = (b"cache-control", b"no-store")


class ListUrl(NamedTuple):
    """A parsed list URL."""

    wanted: RecordFilter
    order: Order
    limit: int
    after: Position | None
    shape: FieldSet
    fields: tuple[str, ...] | None


async def list_records(scope: Scope, receive: Receive, send: Send) -> Reply | None:
    """One page as JSON, or all that matches as CSV or JSON lines."""
    archive = archive_for(caller_of(scope), scope["state"]["archive"])
    return await listed(scope, receive, send, archive)


async def listed(
    scope: Scope, receive: Receive, send: Send, archive: Archive, *, follow: int | None = None
) -> Reply | None:
    """The list that is asked for; `follow`: only the keys of the follow with this number."""
    headers, caller = named_headers(scope), caller_of(scope)
    media = negotiated(headers.get(b"accept", b""), (JSON, CSV, NDJSON))
    given = parameters_of(scope["query_string"])
    asked = read_list(given, hidden_fields(caller))
    if asked.shape.history:
        require(caller, CallerScope.RECORD_LIST)
    asked = asked._replace(wanted=asked.wanted._replace(follow=follow))
    now = scope["state"]["clock"].time
    if media != JSON:
        await _export(scope, receive, send, archive=archive, asked=asked, media=media)
        return None
    records = await archive.list_page(
        asked.wanted, asked.order, after=asked.after, limit=asked.limit + 1
    )
    records, more = records[: asked.limit], records[asked.limit :]
    told = await _written(archive, asked.shape, records, now())
    cursor = cursor_of(asked.order, records[-1].position) if more else None
    body = b'{"records":[%b],"next":%b}' % (b",".join(told), orjson.dumps(cursor))
    link = [] if cursor is None else [(b"link", _next_link(scope["path"], given, cursor))]
    return await json_reply(scope, body, *link, vary=b"accept, accept-encoding")


async def summarise_records(scope: Scope, _: Receive, __: Send) -> Reply:
    """Counts and delivery times of all that matches."""
    return await _counted(scope, Archive.summary)


async def time_deliveries(scope: Scope, _: Receive, __: Send) -> Reply:
    """Delivery times of all that matches, by the hour."""
    return await _counted(scope, Archive.delivery_times)


async def _counted(
    scope: Scope, count: Callable[[Archive, RecordFilter], Awaitable[BaseModel]]
) -> Reply:
    """What is counted of the records that match the filter of the address."""
    headers = named_headers(scope)
    check_accept(headers.get(b"accept"), JSON)
    archive = archive_for(caller_of(scope), scope["state"]["archive"])
    given = parameters_of(scope["query_string"])
    check_names(given, NAMES)
    told = await count(archive, read_filter(given))
    body = orjson.dumps(told.model_dump(mode="json", by_alias=True))
    return await json_reply(scope, body, vary=b"accept-encoding")


async def json_reply(scope: Scope, body: bytes, *more: tuple[bytes, bytes], vary: bytes) -> Reply:
    """What the archive told as JSON, compressed for who takes that; not to be kept."""
    answered: Headers = [(b"content-type", JSON.encode()), _NO_STORE, (b"vary", vary), *more]
    if takes_gzip(named_headers(scope).get(b"accept-encoding", b"")):
        body = await compressed(body, answered)
    answered.append((b"content-length", b"%d" % len(body)))
    reply = Reply(200, answered, body)
    return reply.headless if scope["method"] == "HEAD" else reply


def read_list(given: Mapping[str, Sequence[str]], hidden: frozenset[str]) -> ListUrl:
    """Read the parameters of a list; raises `InvalidArgument` naming the one that is wrong."""
    check_names(given, NAMES | {"order", "limit", "cursor", "fields"})
    fields = given.get("fields")
    names = None if fields is None else tuple(",".join(fields).split(","))
    order = _order(one_of(given, "order"))
    cursor = one_of(given, "cursor")
    return ListUrl(
        wanted=read_filter(given),
        order=order,
        limit=number(given, "limit", range(1, MOST + 1), DEFAULT_LIMIT),
        after=None if cursor is None else position_of(cursor, order),
        shape=shape_of(KINDS, names, hidden),
        fields=names,
    )


def _order(text: str | None) -> Order:
    if text is None:
        return Order.CHANGED_DESC
    if text not in list(Order):
        raise InvalidArgument(f"order must be one of {', '.join(Order)}.")
    return Order(text)


def _next_link(path: str, given: Mapping[str, Sequence[str]], cursor: str) -> bytes:
    """RFC 8288: the address of the next page."""
    query = urlencode({**given, "cursor": [cursor]}, doseq=True, quote_via=quote)
    return f'<{path}?{query}>; rel="next"'.encode()


async def _written(
    archive: Archive, shape: FieldSet, records: Sequence[Listed], now: float
) -> list[bytes]:
    """The records as JSON, each as it is known now."""
    write = shape.alone.write_once
    told = [write(Answer(one.entry, now)) for one in records]
    if not shape.history:
        return told
    kept = [one.entry.record for one in records if one.entry.record is not None]
    changes = await histories_of(archive, kept)
    return [with_history(*both) for both in zip(told, changes, strict=True)]


async def _export(
    scope: Scope, receive: Receive, send: Send, *, archive: Archive, asked: ListUrl, media: str
) -> None:
    """All that matches, page by page: nothing is held open while the caller does not read."""
    if media == CSV and asked.shape.history:
        raise InvalidArgument("history has no place in a table: ask for application/x-ndjson.")
    write: Callable[[Iterable[bytes]], bytes] = _lines
    type_, name, head = NDJSON, "records.ndjson", b""
    if media == CSV:
        table = _Table(asked.fields, hidden_fields(caller_of(scope)))
        write, head = table.rows, table.head
        type_, name = f"{CSV}; charset=utf-8; header=present", "records.csv"
    pages = _pages(archive, asked, scope["state"]["clock"].time)
    first: list[bytes] = await anext(pages, [])  # what is wrong is told before anything is sent
    headers = [
        (b"content-type", type_.encode()),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"vary", b"accept"),
        _NO_STORE,
    ]

    async def text() -> AsyncGenerator[bytes, None]:
        yield head + write(first)
        async for records in pages:
            yield write(records)

    if scope["method"] == "HEAD":
        await respond(send, Reply(200, headers))
    else:
        await stream(text(), receive, send, headers)


async def _pages(
    archive: Archive, asked: ListUrl, time: Callable[[], float]
) -> AsyncGenerator[list[bytes], None]:
    after = asked.after
    while True:
        records = await archive.list_page(
            asked.wanted, asked.order, after=after, limit=EXPORTED_AT_ONCE
        )
        if not records:
            return
        yield await _written(archive, asked.shape, records, time())
        after = records[-1].position


def _lines(records: Iterable[bytes]) -> bytes:
    return b"".join([record + b"\n" for record in records])


class _Table:
    """Records as rows of RFC 4180, the first of which names the columns."""

    def __init__(self, fields: tuple[str, ...] | None, hidden: frozenset[str]) -> None:
        self._columns = [path.split(".") for path in _columns(fields, hidden)]
        self.head = self._text([[".".join(path) for path in self._columns]])

    def rows(self, records: Iterable[bytes]) -> bytes:
        """These records, as JSON, as rows."""
        return self._text([self._row(orjson.loads(record)) for record in records])

    def _row(self, record: dict[str, Any]) -> list[str]:
        row = []
        for path in self._columns:
            value: Any = record
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            row.append(_cell(value))
        return row

    def _text(self, rows: Iterable[Sequence[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return text.getvalue().encode()


def _columns(fields: tuple[str, ...] | None, hidden: frozenset[str]) -> list[str]:
    """The dotted names of all values that have none below, in the order of the records."""
    names: dict[str, None] = {"kind": None}
    unseen = {
        field.alias
        for kind in KINDS
        for name, field in shown_fields(kind).items()
        if name in hidden
    }
    for kind in (Message, HlrLookup):
        for name, field in shown_fields(kind).items():
            if name == HISTORY or field.alias in unseen:
                continue
            inner = shown_fields(field.inner) if field.inner else {}
            below = [f"{field.alias}.{one.alias}" for one in inner.values()]
            names |= dict.fromkeys(below or [field.alias])
    if fields is None:
        return list(names)
    wanted = {"id", "phone", "kind", *(name.strip() for name in fields)}
    return [name for name in names if name in wanted or name.partition(".")[0] in wanted]


_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets run (OWASP, CSV injection)."""


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return "'" + value
    return str(value)
