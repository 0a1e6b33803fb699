"""The table of REST operations: handler, scope and errors of each. Open it to add an operation.

The routes are made from the table. The OpenAPI document is made by `document` from the table and
from `openapi.yaml`, where each operation has its description: a new one needs both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.routing import BaseRoute, Route, request_response

from gateway import errors
from gateway.callers.model import Scope
from gateway.model.records import HlrLookup, Message
from gateway.web.http.methods import MAX_QUERY_BYTES, Resource
from gateway.web.http.reply import Endpoint, Sending
from gateway.web.ops import health
from gateway.web.rest import push
from gateway.web.rest.feed import list_changes
from gateway.web.rest.follow import EventsEndpoint
from gateway.web.rest.follows import (
    create_follow,
    delete_follow,
    get_follow,
    list_followed,
    list_follows,
    watch_follow,
)
from gateway.web.rest.listing import list_records, summarise_records, time_deliveries
from gateway.web.rest.records import RecordEndpoint, delete_message, post_batch
from gateway.web.rest.upkeep import prewarm_records, purge_records, refresh_records
from gateway.web.rest.webhooks import list_webhooks


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one address."""

    method: str
    path: str
    id: str
    """Its name in the document."""
    handler: Endpoint | None = None
    """What answers; None: the composition root brings it, or leaves the operation out."""
    scope: Scope | None = None
    """What a caller needs; None: not even a key."""
    problems: tuple[type[errors.GatewayError], ...] = ()
    """The errors of its own; those that all have are added."""
    refusals: tuple[int, ...] = ()
    """The problems of HTTP's own, by status."""
    max_query: float = MAX_QUERY_BYTES
    """Bytes of the longest query that is read."""


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


_OF_FOLLOW = (errors.NotFound, errors.ArchiveOff, errors.Overloaded)


def _plain(handler: Any) -> Endpoint:  # noqa: ANN401 - with a `Request` of its own
    return request_response(handler)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/v1/messages/{id}",
        "getMessage",
        RecordEndpoint(Message),
        Scope.STATUS_READ,
        problems=(errors.NotFound, errors.KindMismatch, errors.NotCached, *_FROM_PROVIDER),
        refusals=(406,),
    ),
    Operation(
        "DELETE",
        "/v1/messages/{id}",
        "deleteMessage",
        delete_message,
        Scope.MESSAGE_DELETE,
        problems=(errors.KindMismatch, errors.DeleteRefused, *_FROM_PROVIDER),
    ),
    Operation(
        "GET",
        "/v1/hlr-lookups/{id}",
        "getHlrLookup",
        RecordEndpoint(HlrLookup),
        Scope.STATUS_READ,
        problems=(errors.NotFound, errors.KindMismatch, errors.NotCached, *_FROM_PROVIDER),
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/messages/{id}/events",
        "followMessage",
        EventsEndpoint(Message),
        Scope.STATUS_READ,
        problems=(errors.InvalidArgument, errors.KindMismatch),
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/hlr-lookups/{id}/events",
        "followHlrLookup",
        EventsEndpoint(HlrLookup),
        Scope.STATUS_READ,
        problems=(errors.InvalidArgument, errors.KindMismatch),
        refusals=(406,),
    ),
    Operation(
        "POST",
        "/v1/statuses/batch",
        "getStatuses",
        post_batch,
        Scope.STATUS_READ,
        problems=_FROM_PROVIDER,
        refusals=(406, 413, 415),
    ),
    Operation(
        "GET",
        "/v1/records",
        "listRecords",
        list_records,
        Scope.RECORD_LIST,
        problems=(errors.InvalidArgument, errors.ArchiveOff, errors.Overloaded),
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/records/summary",
        "summariseRecords",
        summarise_records,
        Scope.RECORD_LIST,
        problems=(errors.InvalidArgument, errors.ArchiveOff, errors.Overloaded),
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/records/delivery-times",
        "timeDeliveries",
        time_deliveries,
        Scope.RECORD_LIST,
        problems=(errors.InvalidArgument, errors.ArchiveOff, errors.Overloaded),
        refusals=(406,),
    ),
    *(
        Operation(
            "POST",
            f"/v1/records/{what}",
            f"{what}Records",
            handler,
            Scope.PROVIDER_OPERATE,
            problems=(errors.InvalidArgument, errors.ArchiveOff, errors.Overloaded),
            refusals=(406,),
        )
        for what, handler in (
            ("refresh", refresh_records),
            ("purge", purge_records),
            ("prewarm", prewarm_records),
        )
    ),
    Operation(
        "GET",
        "/v1/changes",
        "listChanges",
        list_changes,
        Scope.RECORD_LIST,
        problems=(
            errors.InvalidArgument,
            errors.ArchiveOff,
            errors.CursorExpired,
            errors.Overloaded,
        ),
        refusals=(406,),
    ),
    Operation(
        "POST",
        "/v1/follows",
        "createFollow",
        create_follow,
        Scope.RECORD_FOLLOW,
        problems=(errors.InvalidArgument, errors.ArchiveOff, errors.Overloaded),
        refusals=(406, 413, 415),
    ),
    Operation(
        "GET",
        "/v1/follows",
        "listFollows",
        list_follows,
        Scope.RECORD_FOLLOW,
        problems=(errors.ArchiveOff, errors.Overloaded),
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/follows/{id}",
        "getFollow",
        get_follow,
        Scope.RECORD_FOLLOW,
        problems=_OF_FOLLOW,
        refusals=(406,),
    ),
    Operation(
        "DELETE",
        "/v1/follows/{id}",
        "deleteFollow",
        delete_follow,
        Scope.RECORD_FOLLOW,
        problems=_OF_FOLLOW,
    ),
    Operation(
        "GET",
        "/v1/follows/{id}/events",
        "watchFollow",
        watch_follow,
        Scope.RECORD_FOLLOW,
        problems=_OF_FOLLOW,
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/follows/{id}/records",
        "listFollowed",
        list_followed,
        Scope.RECORD_FOLLOW,
        problems=(errors.InvalidArgument, *_OF_FOLLOW),
        refusals=(406,),
    ),
    Operation(
        "GET",
        "/v1/webhooks",
        "listWebhooks",
        _plain(list_webhooks),
        Scope.PROVIDER_READ,
        problems=(errors.ArchiveOff, errors.Overloaded),
    ),
    Operation(
        "GET", "/v1/provider", "getProvider", _plain(health.get_provider), Scope.PROVIDER_READ
    ),
    Operation(
        "GET",
        "/v1/provider/history",
        "getProviderHistory",
        _plain(health.get_history),
        Scope.PROVIDER_READ,
    ),
    Operation(
        "GET",
        push.PATH,
        "pushByQuery",
        problems=(errors.InvalidArgument, errors.Forbidden),
        max_query=math.inf,  # it has a limit of its own, and counts what is refused
    ),
    Operation(
        "POST",
        push.PATH,
        "push",
        problems=(errors.InvalidArgument, errors.Forbidden),
        refusals=(413,),
        max_query=math.inf,
    ),
    Operation(
        "GET", "/v1/accounts", "listAccounts", _plain(health.get_accounts), Scope.STATUS_READ
    ),
    Operation("GET", "/metrics", "getMetrics", _plain(health.get_metrics), Scope.PROVIDER_READ),
    Operation("GET", "/", "getRoot"),
    Operation("GET", "/livez", "isLive", _plain(health.livez)),
    Operation("GET", "/readyz", "isReady", _plain(health.readyz)),
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
    handler = _plain(callback.receive)
    return {"push": handler, "pushByQuery": handler}
