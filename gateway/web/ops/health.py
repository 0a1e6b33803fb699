"""Endpoints for operators: provider status, metrics, liveness, readiness."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import orjson
from prometheus_client import Metric
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError
from gateway.upstream.budget.port import Sharing
from gateway.web.http.accounts import accounts_of
from gateway.web.http.auth import caller_of
from gateway.web.http.state import AccountState, State
from gateway.web.ops import metrics

READY: Final = "ready"
UNAVAILABLE: Final = "unavailable"

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
    accounts = request.state["accounts"]
    own = accounts_of(caller_of(request.scope), accounts)
    scrapes = {name: await _scrape(accounts[name]) for name in own}
    accept = request.headers.get("accept", "").encode("latin-1")
    body, media_type = metrics.render(scrapes, request.state["counts"], accept)
    return Response(body, 200, _NO_STORE, media_type)


async def collect(state: State) -> list[Metric]:
    """All metrics, for who sends them elsewhere."""
    scrapes = {name: await _scrape(one) for name, one in state["accounts"].items()}
    return metrics.collect(scrapes, state["counts"])


async def _scrape(state: AccountState) -> metrics.AccountScrape:
    service = state["service"]
    return metrics.AccountScrape(service.link(), service.histograms, await _led(state))


async def _led(state: AccountState) -> metrics.Led | None:
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

    Of several accounts one is enough: those of the others are told why. Not while it is about to
    stop: load balancers are to look elsewhere.
    """
    told = {name: _readiness(one) for name, one in request.state["accounts"].items()}
    able = [one for one in told.values() if one["status"] == READY]
    body: dict[str, Any] = {**(able or list(told.values()))[0]}
    if any(told):  # they have names
        body = {"status": body["status"], "accounts": told}
    if request.state["lifetime"].is_leaving:
        body |= {"status": UNAVAILABLE, "reason": STOPPING}
    ready = body["status"] == READY
    status = 200 if ready else 503
    return Response(orjson.dumps(body), status, _NO_STORE, "application/json")


def _readiness(state: AccountState) -> dict[str, str]:
    """Can an account's messages be asked for, or are some known?"""
    link = state["service"].link()
    reason = REDIS_LOST if link.sharing is Sharing.LOST else link.breaker.reason
    ready = reason is None or bool(link.records)
    body = {"status": READY if ready else UNAVAILABLE, "breaker": link.breaker.state.value}
    return body if reason is None else {**body, "reason": reason}


async def get_accounts(request: Request[State]) -> Response:
    """The accounts that the caller belongs to; none where there is but one, which has no name."""
    names = accounts_of(caller_of(request.scope), request.state["accounts"])
    body = orjson.dumps({"accounts": [{"name": name} for name in names if name]})
    return Response(body, 200, _NO_STORE, "application/json")
