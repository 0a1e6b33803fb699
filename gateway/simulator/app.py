"""The simulator's app: provider API (`/sys/*.php`), control API (`/control/*`), page (`/`)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.simulator.asked import Account
from gateway.simulator.calls import Calls
from gateway.simulator.control import Control, problem
from gateway.simulator.limits import Limits
from gateway.simulator.page import SCRIPT, page
from gateway.simulator.push import Handler, Pusher
from gateway.simulator.sites import PAGE_HEADERS, guarded
from gateway.simulator.world import World


def create_simulator(
    world: World,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    login: str = "demo",
    password: str = "demo",  # noqa: S107 - of the simulated account
    apikey: str = "demo-key",
    limits: Limits | None = None,
    handler: Handler | None = None,
    echo: Callable[[str], None] | None = None,
    is_local: bool = False,
) -> Starlette:
    """Build the server. `echo` gets a line for each request, without phones or credentials.

    `handler` is told each change of a status while the server's lifespan lasts. `is_local`: it
    listens on loopback, so what steers it is for loopback names alone.
    """
    limits = limits or Limits(monotonic)
    calls = Calls(world, limits, sleep, Account(login, password, apikey), echo)
    pusher = Pusher(world, handler, sleep, echo) if handler else None
    control = Control(world, limits, calls.desk, calls.steering, pusher)

    async def landing(request: Request) -> Response:
        base = str(request.base_url)
        html = page(world, base=base, login=login, password=password, apikey=apikey)
        return HTMLResponse(html, headers=PAGE_HEADERS)

    async def script(_: Request) -> Response:
        return Response(SCRIPT, headers=PAGE_HEADERS, media_type="text/javascript")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pusher.running() if pusher else nullcontext():
            yield

    return Starlette(
        routes=[
            Route("/", guarded(landing, is_local=is_local)),
            Route("/page.js", guarded(script, is_local=is_local)),
            Route("/sys/{call}", calls.call, methods=["GET", "POST"]),
            Route("/rest/{call}/", calls.rest, methods=["POST"]),
            *control.routes(is_local=is_local),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: problem, ClientDisconnect: _to_nobody},
    )


async def _to_nobody(_: Request, __: Exception) -> Response:
    """A caller who went in the middle of a body is nothing to log as a fault of ours."""
    return Response()
