"""The REST API as a table: each operation once, for its route and for the OpenAPI document."""

import math
from collections.abc import Mapping
from typing import Any

from starlette.routing import BaseRoute, Route, request_response

from gateway import errors
from gateway.callers.model import Scope
from gateway.model.records import HlrLookup, Message, Record
from gateway.service import MAX_ITEMS
from gateway.smsc.push import MAX_BYTES
from gateway.web.http.methods import JSON, Resource
from gateway.web.http.reply import Endpoint, Sending
from gateway.web.ops import health as operation
from gateway.web.rest import examples, push
from gateway.web.rest.fields import KINDS
from gateway.web.rest.follow import EVENTS, EventsAddress
from gateway.web.rest.openapi import (
    CACHE_CONTROL,
    FIELDS_DESCRIPTION,
    ID,
    IF_NONE_MATCH,
    LAST_EVENT_ID,
    NO_STORE,
    PHONE,
    PREFER,
    RECORD_HEADERS,
    REQUEST_ID,
    UNTIL,
    Json,
    Operation,
    content,
    field_names,
    fields,
    header,
    ref,
)
from gateway.web.rest.records import RecordAddress, delete_message, post_batch

STATUSES, RUNNING = "statuses", "operation"
"""Tags."""

_FROM_PROVIDER = (
    errors.InvalidArgument,
    errors.RateLimited,
    errors.UpstreamAuthFailed,
    errors.UpstreamBlocked,
    errors.UpstreamError,
    errors.UpstreamBadAnswer,
    errors.UpstreamUnreachable,
    errors.UpstreamTimeout,
    errors.Overloaded,
)

_PLAIN_HEADERS = {"Cache-Control": NO_STORE, "X-Request-Id": REQUEST_ID}


def _until(kind: type[Record]) -> tuple[Json, ...]:
    return (UNTIL,) if kind is Message else ()


def _record(kind: type[Record], path: str, what: str, example: Json) -> Operation:
    model = kind.__name__
    few = {name: example[name] for name in ("kind", "id", "phone", "state", "error")}
    shown = {"anyOf": [ref(model), ref(f"{model}Selection")]}
    return Operation(
        method="GET",
        path=path,
        id=f"get{model}",
        tag=STATUSES,
        summary=f"One {what}",
        description=(
            f"What is known of the {what} while it is fresh, else what the provider tells. A "
            "usable older record beats an error: it comes with `freshness.stale`. What failed to "
            "be delivered is no failed request."
        ),
        handler=RecordAddress(kind),
        scope=Scope.STATUS_READ,
        parameters=(ID, PHONE, fields(kind), *_until(kind), CACHE_CONTROL, IF_NONE_MATCH, PREFER),
        answers={
            200: {
                "description": f"What is known of the {what}; an undelivered one too.",
                "headers": RECORD_HEADERS,
                "content": content(shown, whole=example, fields=few),
            },
            304: {
                "description": "What the caller has still holds.",
                "headers": RECORD_HEADERS,
            },
        },
        problems=(errors.NotFound, errors.KindMismatch, errors.NotCached, *_FROM_PROVIDER),
        refusals=(406,),
    )


def _events(kind: type[Record], path: str, what: str, example: Json) -> Operation:
    told = f"retry: 3000\n\nid: a1b2c3d4e5f6\nevent: status\ndata: {examples.line(example)}\n\n"
    return Operation(
        method="GET",
        path=path,
        id=f"follow{kind.__name__}",
        tag=STATUSES,
        summary=f"One {what}, followed",
        description=(
            f"Server-sent events: `status` with the record as `get{kind.__name__}` gives it, at "
            "once and at each change; `problem` with a problem's members while nothing can be "
            "told; `end` after the last one. Comments come in silence. An event's id names the "
            "state it tells: who comes again with the id of the final one gets a 204."
        ),
        handler=EventsAddress(kind),
        scope=Scope.STATUS_READ,
        parameters=(ID, PHONE, fields(kind), *_until(kind), LAST_EVENT_ID),
        answers={
            200: {
                "description": "The events.",
                "headers": {
                    "Cache-Control": header("Not to be kept.", "no-store, no-transform"),
                    "X-Request-Id": REQUEST_ID,
                },
                "content": content({"type": "string"}, EVENTS, first=told),
            },
            204: {
                "description": "Nothing more is going to happen; browsers do not come again.",
                "headers": _PLAIN_HEADERS,
            },
        },
        problems=(errors.InvalidArgument, errors.KindMismatch),
        refusals=(406,),
    )


_ITEM = {
    "type": "object",
    "required": ["id", "phone"],
    "properties": {"id": {"type": "string"}, "phone": {"type": "string"}},
}

_BATCH_BODY = {
    "type": "object",
    "required": ["items"],
    "additionalProperties": False,
    "properties": {
        "items": {
            "type": "array",
            "maxItems": MAX_ITEMS,
            "items": _ITEM,
            "description": "An item that is not valid has INVALID for its outcome.",
        },
        "fields": {
            **field_names(*KINDS),
            "type": ["array", "null"],
            "description": FIELDS_DESCRIPTION,
        },
    },
}

_RESULTS = {
    "type": "object",
    "required": ["results"],
    "properties": {"results": {"type": "array", "items": ref("StatusResult")}},
}

_SIGNATURE = (
    "Hex hash of `id:phone:status:secret`, with the phone as sent; one of `md5` and `sha1` is "
    "needed, and each that is given has to be right."
)
_PUSH_FIELDS: dict[str, Json] = {
    name: {"type": "string", "description": about}
    for name, about in {
        "id": "The message's id.",
        "phone": "Its number, in any form.",
        "status": "The provider's status number.",
        "md5": _SIGNATURE,
        "sha1": _SIGNATURE,
        "err": "The provider's error number.",
        "ts": "When the status changed, in Unix seconds.",
        "type": "The provider's message type.",
    }.items()
}
_PUSH_NEEDED = ("id", "phone", "status")


def _push(method: str, id_: str, summary: str, **more: Any) -> Operation:  # noqa: ANN401 - of `Operation`
    """The form has more fields than the document names; what is not known is ignored."""
    return Operation(
        method=method,
        path=push.PATH,
        id=id_,
        tag=RUNNING,
        summary=summary,
        description=(
            "For the provider: enter this address in the account's settings. It exists when "
            f"`GATEWAY_CALLBACK_SECRET` is set. A form has at most {MAX_BYTES} bytes. A status "
            "joins what is known; repetitions and what comes too late change nothing. Incoming "
            "messages and calls (`mes`, `waitcall`) are answered and ignored."
        ),
        answers={
            200: {
                "description": "Taken, also for a message that is not known.",
                "headers": _PLAIN_HEADERS,
                "content": content({"const": "OK"}, "text/plain", taken="OK"),
            }
        },
        problems=(errors.InvalidArgument, errors.Forbidden),
        max_query=math.inf,  # it has a limit of its own, and counts what is refused
        **more,
    )


_HEALTH = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string"},
        "breaker": {"type": "string", "description": "The state of the provider link's breaker."},
        "reason": {
            "type": "string",
            "description": "The code of the problem that opened it, or STOPPING.",
        },
    },
}


_ROOT = {
    "type": "object",
    "required": ["name", "version", "operations"],
    "properties": {
        "name": {"const": "smsc-gateway"},
        "version": {"type": "string"},
        "operations": {
            "type": "object",
            "description": "By method and path, what each operation is for.",
            "additionalProperties": {"type": "string"},
        },
    },
    "additionalProperties": {"type": "string", "description": "The address of a page."},
}


def _running(path: str, id_: str, summary: str, handler: Any, **more: Any) -> Operation:  # noqa: ANN401 - of `Operation`
    """A question of those who run the gateway."""
    return Operation(
        method="GET",
        path=path,
        id=id_,
        tag=RUNNING,
        summary=summary,
        handler=request_response(handler),
        **more,
    )


def _as_asked(description: str, about: Json) -> Json:
    return {"description": description, "headers": _PLAIN_HEADERS, "content": about}


OPERATIONS: tuple[Operation, ...] = (
    _record(Message, "/v1/messages/{id}", "message", examples.MESSAGE),
    Operation(
        method="DELETE",
        path="/v1/messages/{id}",
        id="deleteMessage",
        tag=STATUSES,
        summary="Delete a message at the provider",
        description=(
            "Counts for the provider's limits like a question about the message. For a while "
            "after it the message is not found; its event streams end."
        ),
        handler=delete_message,
        scope=Scope.MESSAGE_DELETE,
        parameters=(ID, PHONE),
        answers={204: {"description": "The provider deleted it.", "headers": _PLAIN_HEADERS}},
        problems=(errors.KindMismatch, errors.DeleteRefused, *_FROM_PROVIDER),
    ),
    _record(HlrLookup, "/v1/hlr-lookups/{id}", "HLR lookup", examples.LOOKUP),
    _events(Message, "/v1/messages/{id}/events", "message", examples.MESSAGE),
    _events(HlrLookup, "/v1/hlr-lookups/{id}/events", "HLR lookup", examples.LOOKUP),
    Operation(
        method="POST",
        path="/v1/statuses/batch",
        id="getStatuses",
        tag=STATUSES,
        summary="Many records",
        description=(
            "Results keep the order and the count of the items, duplicates too. Only when no item "
            "at all could be answered, because of the provider or a limit, is that the answer."
        ),
        handler=post_batch,
        scope=Scope.STATUS_READ,
        body={JSON: {"schema": _BATCH_BODY, "example": examples.BATCH}},
        answers={
            200: {
                "description": "A result for each item.",
                "headers": {
                    **_PLAIN_HEADERS,
                    "Vary": header("Long answers are compressed.", "accept-encoding"),
                },
                "content": content(_RESULTS, results=examples.RESULTS),
            }
        },
        problems=_FROM_PROVIDER,
        refusals=(406, 413, 415),
    ),
    _running(
        "/v1/provider",
        "getProvider",
        "The state of the provider link",
        operation.get_provider,
        scope=Scope.PROVIDER_READ,
        answers={200: _as_asked("Budgets, breaker, counters.", content(ref("LinkState")))},
    ),
    _push(
        "GET",
        "pushByQuery",
        "The provider's push, as a query",
        parameters=tuple(
            {"name": name, "in": "query", "required": name in _PUSH_NEEDED, "schema": schema}
            for name, schema in _PUSH_FIELDS.items()
        ),
    ),
    _push(
        "POST",
        "push",
        "The provider's push",
        body={
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": list(_PUSH_NEEDED),
                    "properties": _PUSH_FIELDS,
                    "additionalProperties": {"type": "string"},
                }
            }
        },
        refusals=(413,),
    ),
    _running(
        "/metrics",
        "getMetrics",
        "Metrics for Prometheus",
        operation.get_metrics,
        scope=Scope.PROVIDER_READ,
        answers={
            200: _as_asked(
                "Metrics of the provider link and of callers, in Prometheus' text format.",
                content({"type": "string"}, "text/plain"),
            )
        },
    ),
    Operation(
        method="GET",
        path="/",
        id="getRoot",
        tag=RUNNING,
        summary="What addresses there are",
        answers={
            200: _as_asked("Each address, with what it is for.", content(_ROOT)),
            303: {"description": "A browser is led to a page.", "headers": _PLAIN_HEADERS},
        },
    ),
    _running(
        "/livez",
        "isLive",
        "Does the process run?",
        operation.livez,
        answers={200: _as_asked("It does.", content(_HEALTH, live={"status": "ok"}))},
    ),
    _running(
        "/readyz",
        "isReady",
        "Can the gateway answer?",
        operation.readyz,
        answers={
            200: _as_asked(
                "It can.", content(_HEALTH, ready={"status": "ready", "breaker": "CLOSED"})
            ),
            503: _as_asked(
                "Not now.",
                content(
                    _HEALTH,
                    unavailable={
                        "status": "unavailable",
                        "breaker": "OPEN",
                        "reason": "UPSTREAM_BLOCKED",
                    },
                ),
            ),
        },
    ),
)


def resources(handlers: Mapping[str, Endpoint] | None = None) -> dict[str, Resource]:
    """What answers at each path; `handlers` are those of operations that have none, by their ids.

    An operation without a handler is left out.
    """
    methods: dict[str, dict[str, tuple[Endpoint, Scope | None]]] = {}
    longest: dict[str, float] = {}
    for one in OPERATIONS:
        handler = one.handler or (handlers or {}).get(one.id)
        if handler is not None:
            methods.setdefault(one.path, {})[one.method] = (handler, one.scope)
            longest[one.path] = one.max_query
    return {path: Resource(given, longest[path]) for path, given in methods.items()}


def routes(of: Mapping[str, Resource]) -> list[BaseRoute]:
    """The routes to these resources."""
    return [Route(path, Sending(resource)) for path, resource in of.items()]


def of_push(callback: "push.Callback | None") -> dict[str, Endpoint]:
    """The handlers of the provider's pushes, if they are wanted."""
    if callback is None:
        return {}
    receive: Any = callback.receive
    handler = request_response(receive)
    return {"push": handler, "pushByQuery": handler}
