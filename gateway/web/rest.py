"""REST: one record, or many."""

import logging
import re
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.detail import level_for, parse_fields
from gateway.errors import GatewayError, InvalidArgument
from gateway.freshness import Answer
from gateway.records import DetailLevel, HlrLookup, Message, Model, Record, StatusKey, key_or_error
from gateway.service import Want
from gateway.web import auth
from gateway.web.body import read_body
from gateway.web.deletion import delete
from gateway.web.problems import Outcome, Problem, outcome_of, problem_of
from gateway.web.state import State, caller_of

log = logging.getLogger(__name__)

KINDS: tuple[type[Record], ...] = (Message, HlrLookup)
_JSON = "application/json"
_AGE_LENGTH = 9


class StatusResult(Model):
    """One item's result; a bad item never spoils the others."""

    id: str
    """The id, as asked."""
    phone: str
    """The phone: digits without `+`, or as asked where it is not valid."""
    outcome: Outcome
    """Which of `record` and `problem` is there."""
    record: Message | HlrLookup | None = None
    """The record, when FOUND."""
    problem: Problem | None = None
    """What kept it from being found."""


async def message(request: Request[State]) -> Response:
    """One message, or its deletion: one route, so that a 405 names both methods."""
    if request.method == "DELETE":
        return await _delete_one(request)
    return await _get_one(request, Message)


async def get_hlr_lookup(request: Request[State]) -> Response:
    return await _get_one(request, HlrLookup)


async def post_batch(request: Request[State]) -> Response:
    items, fields = _parse_batch(await _json_body(request))
    wanted = None if fields is None else parse_fields(fields, KINDS)
    detail = DetailLevel.FULL if wanted is None else level_for(wanted)
    keys = [_item_key(item) for item in items]
    want = Want(detail, caller=caller_of(request))
    outcomes = await request.state["service"].get_many(keys, want)
    if error := _nothing_answered(outcomes):
        raise error
    results = [
        _result(item, key, outcome, wanted)
        for item, key, outcome in zip(items, keys, outcomes, strict=True)
    ]
    return Response(orjson.dumps({"results": results}), media_type=_JSON)


routes: list[BaseRoute] = [
    Route("/v1/messages/{id}", message, methods=["GET", "DELETE"]),
    Route("/v1/hlr-lookups/{id}", get_hlr_lookup),
    Route("/v1/statuses/batch", post_batch, methods=["POST"]),
]


async def _get_one(request: Request[State], kind: type[Record]) -> Response:
    key = StatusKey.parse(id=request.path_params["id"], phone=_one(request, "phone"))
    wanted = None
    if "fields" in request.query_params:
        given = ",".join(request.query_params.getlist("fields"))  # some clients repeat the name
        names = (name.strip() for name in given.split(","))
        wanted = parse_fields(names, [kind])
    max_age, only_cached = _cache_control(request)
    want = Want(
        detail=DetailLevel.FULL if wanted is None else level_for(wanted, kind),
        kind=kind,
        max_age=max_age,
        only_cached=only_cached,
        caller=caller_of(request),
    )
    record = (await request.state["service"].get(key, want)).as_record()
    return Response(orjson.dumps(as_json(record, wanted)), 200, _freshness(record), _JSON)


async def _delete_one(request: Request[State]) -> Response:
    key = StatusKey.parse(id=request.path_params["id"], phone=_one(request, "phone"))
    caller = auth.caller_of(request.scope)
    await delete(request.state["service"], key, caller, caller_of(request))
    return Response(status_code=204)


def as_json(record: Record, fields: Iterable[str] | None = None) -> dict[str, Any]:
    """The record as REST shows it; `fields` restricts it to those, `kind`, `id` and `phone`."""
    whole = {"kind": record.kind, **record.model_dump(mode="json", by_alias=True)}
    if fields is None:
        return whole
    paths = {"kind", "id", "phone", *fields}
    chosen: dict[str, Any] = {}
    for name, value in whole.items():
        inner = [path.partition(".")[2] for path in paths if path.startswith(f"{name}.")]
        if name in paths or (inner and value is None):
            chosen[name] = value
        elif inner:
            chosen[name] = {sub: value[sub] for sub in value if sub in inner}
    return chosen


def _one(request: Request[State], name: str) -> str:
    values = request.query_params.getlist(name)
    if len(values) != 1:
        raise InvalidArgument(f"{name} must be given exactly once, in the query.")
    return values[0]


def _cache_control(request: Request[State]) -> tuple[float | None, bool]:
    """`max-age`, `no-cache` and `only-if-cached` of RFC 9111, section 5.2.1; others are ignored."""
    directives = {
        name.strip().lower(): value.strip().strip('"')
        for header in request.headers.getlist("cache-control")
        for name, _, value in (part.partition("=") for part in header.split(","))
    }
    max_age: float | None = None
    age = directives.get("max-age", "")
    if re.fullmatch(r"[0-9]+", age, re.ASCII):
        max_age = float(age[:_AGE_LENGTH])
    if "no-cache" in directives:
        max_age = 0.0
    return max_age, "only-if-cached" in directives


def _freshness(record: Record) -> dict[str, str]:
    """`Age` and what is left of the freshness; private, for callers differ in what they may see."""
    freshness = record.freshness
    left = 0
    if freshness.observed_at and not freshness.stale:
        lifetime = (freshness.expires_at - freshness.observed_at).total_seconds()
        left = max(0, int(lifetime) - freshness.age_seconds)
    age = str(freshness.age_seconds)
    return {"cache-control": f"private, max-age={left}", "age": age}


async def _json_body(request: Request[State]) -> object:
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if type_ not in {_JSON, ""}:
        raise HTTPException(415)
    try:
        return orjson.loads(await read_body(request.receive))
    except orjson.JSONDecodeError:
        raise InvalidArgument("The body must be JSON (RFC 8259).") from None


def _parse_batch(body: object) -> tuple[list[object], list[str] | None]:
    if not isinstance(body, dict):
        raise InvalidArgument('The body must be an object: {"items": [{"id": …, "phone": …}]}.')
    if unknown := sorted(set(body) - {"items", "fields"}):
        raise InvalidArgument(f"{unknown[0]!r} is not known here; there are items and fields.")
    items, fields = body.get("items"), body.get("fields")
    if not isinstance(items, list):
        raise InvalidArgument("items must be a list.")
    if fields is not None and not (
        isinstance(fields, list) and fields and all(isinstance(name, str) for name in fields)
    ):
        raise InvalidArgument("fields must be a list of one or more field names.")
    return items, fields


def _item_key(item: object) -> StatusKey | GatewayError:
    given = item if isinstance(item, dict) else {}
    id_ = given.get("id")
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    return key_or_error(id_, given.get("phone"))


def _nothing_answered(outcomes: list[Answer | GatewayError]) -> GatewayError | None:
    """What stands in the way of everything, if nothing at all could be answered."""
    unanswered = [one for one in outcomes if outcome_of(one) is Outcome.UNAVAILABLE]
    if unanswered and len(unanswered) == len(outcomes):
        first = unanswered[0]
        return first if isinstance(first, GatewayError) else None
    return None


def _result(
    item: object,
    key: StatusKey | GatewayError,
    result: Answer | GatewayError,
    wanted: Iterable[str] | None,
) -> dict[str, Any]:
    given = item if isinstance(item, dict) else {}
    id_, phone = given.get("id"), given.get("phone")
    if isinstance(key, StatusKey):
        id_, phone = str(key.id), key.phone
    shown: dict[str, Any] = {"record": None, "problem": None}
    if isinstance(result, GatewayError):
        shown["problem"] = problem_of(result).model_dump(by_alias=True)
    else:
        shown["record"] = as_json(result.as_record(), wanted)
    return {
        "id": str(id_) if isinstance(id_, str | int) else "",
        "phone": phone if isinstance(phone, str) else "",
        "outcome": outcome_of(result),
        **shown,
    }
