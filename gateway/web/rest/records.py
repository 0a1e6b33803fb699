"""REST endpoints for one record, for many, and for deletion."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from gateway.callers.model import hidden_fields
from gateway.errors import GatewayError, InvalidArgument, shortened
from gateway.memo import LONGEST
from gateway.model.described import HlrLookupModel, MessageModel, Model
from gateway.model.freshness import Answer
from gateway.model.records import Record, StateChange, StatusKey, key_or_error
from gateway.service import Basis, StatusQuery
from gateway.web.http.auth import caller_of
from gateway.web.http.body import read_body, read_json
from gateway.web.http.caching import (
    HIT,
    NO_DIRECTIVES,
    directives,
    headers_of,
    matches,
    status_of_hit,
    status_of_miss,
)
from gateway.web.http.compression import compressed, takes_gzip
from gateway.web.http.headers import Header, named_headers
from gateway.web.http.methods import JSON, check_accept
from gateway.web.http.problems import Outcome, Problem, outcome_of, problem_of
from gateway.web.http.reply import Reply
from gateway.web.http.state import who
from gateway.web.projection import to_json
from gateway.web.rest.address import (
    RecordUrl,
    check_names,
    key_in,
    one_of,
    parameters_of,
    read_url,
)
from gateway.web.rest.deletion import delete
from gateway.web.rest.fields import KINDS, FieldSet, shape_of
from gateway.web.rest.follow import awaited, is_news, seconds_to_wait
from gateway.web.rest.history import archive_for, histories_of, with_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.service import StatusService

KEPT = 1024
"""Answers of each kind that are kept for the rest of their second; each takes some 3 KB."""

DRY_RUN = "dry-run"
"""The parameter with which a batch asks nothing, and tells what it would cost."""

_JSON_TYPE = (b"content-type", b"application/json")

_BATCH_HEADERS = [_JSON_TYPE, (b"cache-control", b"no-store"), (b"vary", b"accept-encoding")]


class StatusResult(Model):
    """One item's result; a bad item never spoils the others."""

    id: str
    """The id, as asked."""
    phone: str
    """The phone: digits without `+`, or as asked where it is not valid."""
    outcome: Outcome
    """Which of `record` and `problem` is there."""
    record: MessageModel | HlrLookupModel | None = None
    """The record, when FOUND."""
    problem: Problem | None = None
    """What kept it from being found."""


class _Kept(Struct, frozen=True):
    """An answer as it was sent, for as long as it holds."""

    basis: Basis
    tag: bytes
    same: Reply
    """For who has it already."""
    whole: Reply


class RecordEndpoint:
    """The endpoint that gives one record of a kind.

    Within one second nothing changes in an answer but by what is learned meanwhile: so one with a
    final record is kept for that long.
    """

    def __init__(self, kind: type[Record]) -> None:
        self._kind = kind
        self._kept: dict[tuple[str, bytes, frozenset[str], str], _Kept] = {}

    async def __call__(self, scope: Scope, receive: Receive, _: Send) -> Reply:
        headers = named_headers(scope)
        check_accept(headers.get(b"accept"), JSON)
        id_, query = scope["path_params"]["id"], scope["query_string"]
        asked_as = (id_, query, hidden_fields(caller_of(scope)))
        place = (*asked_as, scope["state"]["account"])
        is_plain = b"cache-control" not in headers and b"prefer" not in headers
        kept = self._kept.get(place) if is_plain else None
        service: StatusService = scope["state"]["service"]
        if kept is not None and service.holds(kept.basis):
            scope["log_fields"] = HIT
        else:
            asked = read_url(self._kind, *asked_as)
            answer = service.get_now(asked.key, asked.query) if is_plain else None
            if answer is None:
                kept = await _asked(scope, receive, asked, is_missing=is_plain)
            else:
                scope["log_fields"] = HIT
                kept = await _written(scope, asked, answer, status_of_hit(answer))
                if answer.is_settled and not asked.history and len(id_) + len(query) <= LONGEST:
                    self._keep(place, kept)
        if_none_match = headers.get(b"if-none-match")
        if if_none_match is not None and matches(if_none_match, kept.tag):
            return kept.same
        return kept.whole.headless if scope["method"] == "HEAD" else kept.whole

    def _keep(self, place: tuple[str, bytes, frozenset[str], str], kept: _Kept) -> None:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[place] = kept


async def _asked(scope: Scope, receive: Receive, asked: RecordUrl, *, is_missing: bool) -> _Kept:
    """What to answer where it has to be waited for, or the caller has wishes of its own.

    `is_missing`: what is known does not answer it.
    """
    headers = named_headers(scope)
    sent, prefer = headers.get(b"cache-control"), headers.get(b"prefer")
    wish = NO_DIRECTIVES if sent is None else directives(sent)
    query = asked.query._replace(
        max_age=wish.max_age,
        only_cached=wish.only_cached,
        caller=who(scope, caller_of(scope)),
        slack=wish.slack,
        stale_if_error=wish.stale_if_error,
    )
    service: StatusService = scope["state"]["service"]
    before = None if prefer is None else service.peek(asked.key)
    answer = None if is_missing else service.get_now(asked.key, query)
    if answer is None:
        answer = await service.get_later(asked.key, query)
    if answer.forwarded:
        cache_status, scope["log_fields"] = status_of_miss(answer)
    else:
        cache_status, scope["log_fields"] = status_of_hit(answer), HIT
    seconds = 0 if prefer is None else seconds_to_wait(prefer)
    if seconds and (
        asked.until or not is_news(asked.projection, answer, before, headers.get(b"if-none-match"))
    ):
        answer = await awaited(scope, receive, asked, answer, seconds)
        cache_status, scope["log_fields"] = status_of_hit(answer), HIT
    more = [(b"preference-applied", b"wait=%d" % seconds)] if seconds else []
    return await _written(scope, asked, answer, cache_status, more)


async def _written(
    scope: Scope,
    asked: RecordUrl,
    answer: Answer,
    cache_status: bytes,
    more: Sequence[Header] = (),
) -> _Kept:
    tag, body = asked.projection.tagged(answer)
    if asked.history:
        archive = archive_for(caller_of(scope), scope["state"]["archive"])
        (history,) = await histories_of(archive, [answer.record])
        body = with_history(body, history)
    fields = [*headers_of(answer, tag, cache_status, scope["state"]["account"]), *more]
    return _Kept(
        Basis((asked.key,), (answer.entry,), answer.until),
        tag,
        Reply(304, fields),
        Reply(200, [*fields, _JSON_TYPE, (b"content-length", b"%d" % len(body))], body),
    )


async def delete_message(scope: Scope, _: Receive, __: Send) -> Reply:
    """Delete one message."""
    key = key_in(scope["path_params"]["id"], scope["query_string"])
    caller = caller_of(scope)
    await delete(scope["state"]["service"], key, caller, who(scope, caller))
    return Reply(204, [(b"cache-control", b"no-store")])


async def post_batch(scope: Scope, receive: Receive, _: Send) -> Reply:
    """Many records."""
    headers = named_headers(scope)
    check_accept(headers.get(b"accept"), JSON)
    is_dry = _is_dry(scope["query_string"])
    items, fields = _parse_batch(await _json_body(headers, receive))
    caller = caller_of(scope)
    shape = shape_of(KINDS, fields, hidden_fields(caller))
    keys = [item_key(item) for item in items]
    query = StatusQuery(shape.detail, caller=who(scope, caller), content=shape.content)
    service: StatusService = scope["state"]["service"]
    if is_dry:
        forecast = await service.forecast(keys, query)
        body = orjson.dumps(forecast.model_dump(mode="json", by_alias=True))
        return Reply(200, [*_BATCH_HEADERS, (b"content-length", b"%d" % len(body))], body)
    outcomes = await service.get_many(keys, query)
    if error := _nothing_answered(outcomes):
        raise error
    write: Callable[[Answer], bytes] = shape.found.write
    if shape.history:
        archive = archive_for(caller, scope["state"]["archive"])
        found = [one.record for one in outcomes if isinstance(one, Answer)]
        histories = iter(await histories_of(archive, found))
        write = partial(_with_history, shape, histories)
    results = [
        write(outcome) if isinstance(outcome, Answer) else _unfound(item, key, outcome)
        for item, key, outcome in zip(items, keys, outcomes, strict=True)
    ]
    body = b'{"results":[' + b",".join(results) + b"]}"
    answered = [*_BATCH_HEADERS]
    if takes_gzip(headers.get(b"accept-encoding", b"")):
        body = await compressed(body, answered)
    answered.append((b"content-length", b"%d" % len(body)))
    return Reply(200, answered, body)


def _is_dry(query: bytes) -> bool:
    """Is only a forecast wanted? A flag that is misspelled must not spend what it was to save."""
    given = parameters_of(query)
    check_names(given, frozenset({DRY_RUN}))
    value = one_of(given, DRY_RUN)
    if value not in {None, "", "true"}:
        raise InvalidArgument(f"{DRY_RUN} is a flag: write ?{DRY_RUN} or ?{DRY_RUN}=true.")
    return value is not None


def _with_history(
    shape: FieldSet, histories: Iterator[Sequence[StateChange]], answer: Answer
) -> bytes:
    """The result of an item that was found, with the next history in its record."""
    record, history = answer.record, next(histories)
    whole = with_history(shape.alone.write(answer), history)
    key = to_json({"id": record.id, "phone": record.phone, "outcome": Outcome.FOUND})
    return key[:-1] + b',"record":' + whole + b',"problem":null}'


async def _json_body(headers: dict[bytes, bytes], receive: Receive) -> object:
    type_ = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if type_ != b"application/json":  # a page of another site may send no JSON without being asked
        raise HTTPException(415, "Send the body as application/json.", {"accept-post": JSON})
    body: object = read_json(await read_body(receive))
    return body


def _parse_batch(body: object) -> tuple[list[object], tuple[str, ...] | None]:
    if not isinstance(body, dict):
        raise InvalidArgument('The body must be an object: {"items": [{"id": …, "phone": …}]}.')
    if unknown := sorted(set(body) - {"items", "fields"}):
        name = shortened(unknown[0])
        raise InvalidArgument(f"{name!r} is not known here; there are items and fields.")
    items, fields = body.get("items"), body.get("fields")
    if not isinstance(items, list):
        raise InvalidArgument("items must be a list.")
    if fields is None:
        return items, None
    if not (isinstance(fields, list) and fields and all(isinstance(name, str) for name in fields)):
        raise InvalidArgument("fields must be a list of one or more field names.")
    return items, tuple(fields)


def item_key(item: object) -> StatusKey | GatewayError:
    """The key of an item of a body, or what is wrong with it."""
    given = item if isinstance(item, dict) else {}
    id_ = given.get("id")
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    return key_or_error(id_, given.get("phone"))


def _nothing_answered(outcomes: Iterable[Answer | GatewayError]) -> GatewayError | None:
    """What stands in the way of everything, if nothing at all could be answered."""
    first = None
    for outcome in outcomes:
        if not isinstance(outcome, GatewayError) or outcome_of(outcome) is not Outcome.UNAVAILABLE:
            return None
        first = first or outcome
    return first


def _unfound(item: object, key: StatusKey | GatewayError, error: GatewayError) -> bytes:
    """The result of an item that has no record."""
    given: dict[str, Any] = item if isinstance(item, dict) else {}
    id_, phone = given.get("id"), given.get("phone")
    if isinstance(key, StatusKey):
        id_, phone = str(key.id), key.phone
    return orjson.dumps(
        {
            "id": str(id_) if isinstance(id_, str | int) else "",
            "phone": phone if isinstance(phone, str) else "",
            "outcome": outcome_of(error),
            "record": None,
            "problem": problem_of(error).model_dump(by_alias=True),
        }
    )
