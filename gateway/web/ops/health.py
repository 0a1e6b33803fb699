"""Endpoints for operators: provider status, metrics, liveness, readiness."""

import asyncio
from contextlib import suppress
from typing import Final

import orjson
from prometheus_client import Metric
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError
from gateway.upstream.budget.port import Sharing
from gateway.web.http.state import State
from gateway.web.ops import metrics

STOPPING: Final = "STOPPING"
"""Why a gateway that is about to stop is not ready."""
REDIS_LOST: Final = "REDIS_LOST"
"""Why one that shares limits can't ask the provider."""

PATIENCE: Final = 2.0
"""Seconds that a scrape waits for the archive."""

_NO_STORE = {"cache-control": "no-store"}


async def get_provider(request: Request[State]) -> Response:
    link = request.state["service"].link()
    body = orjson.dumps(link.model_dump(mode="json", by_alias=True))
    return Response(body, 200, _NO_STORE, "application/json")


async def get_history(request: Request[State]) -> Response:
    history = request.state["recorder"].history
    body = orjson.dumps(history.model_dump(mode="json", by_alias=True))
    return Response(body, 200, _NO_STORE, "application/json")


async def get_metrics(request: Request[State]) -> Response:
    link, counts = request.state["service"].link(), request.state["counts"]
    body = metrics.render(link, counts, await _led(request.state))
    return Response(body, 200, _NO_STORE, metrics.MEDIA_TYPE)


async def collect(state: State) -> list[Metric]:
    """All metrics, for who sends them elsewhere."""
    link, counts = state["service"].link(), state["counts"]
    return metrics.families(link, counts, await _led(state))


async def _led(state: State) -> metrics.Led | None:
    webhooks, follows, reports = state["webhooks"], state["follows"], []
    if webhooks is None or follows is None:
        return None
    with suppress(GatewayError, TimeoutError):  # the database is away: all else is told
        async with asyncio.timeout(PATIENCE):
            reports = await webhooks.reports()
    return metrics.Led(webhooks.counts, reports, follows.keys)


async def livez(_: Request[State]) -> Response:
    """The process runs."""
    return Response(orjson.dumps({"status": "ok"}), 200, _NO_STORE, "application/json")


async def readyz(request: Request[State]) -> Response:
    """Able to answer: by asking the provider, or from what is known while that can't be done.

    Not while it is about to stop: load balancers are to look elsewhere.
    """
    link = request.state["service"].link()
    reason = link.breaker.reason
    if link.sharing is Sharing.LOST:
        reason = REDIS_LOST
    if request.state["lifetime"].is_leaving:
        reason = STOPPING
    ready = reason is None or (reason != STOPPING and bool(link.records))
    body = {"status": "ready" if ready else "unavailable", "breaker": link.breaker.state}
    if reason is not None:
        body["reason"] = reason
    status = 200 if ready else 503
    return Response(orjson.dumps(body), status, _NO_STORE, "application/json")
