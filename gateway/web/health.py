"""`/livez`: the process runs. `/readyz`: it can answer."""

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_NO_STORE = {"cache-control": "no-store"}


async def livez(_: Request) -> Response:
    return Response(orjson.dumps({"status": "ok"}), 200, _NO_STORE, "application/json")


async def readyz(_: Request) -> Response:
    """Ready as soon as the lifespan has begun: the cache can answer without the provider."""
    return Response(orjson.dumps({"status": "ready"}), 200, _NO_STORE, "application/json")


routes: list[BaseRoute] = [Route("/livez", livez), Route("/readyz", readyz)]
