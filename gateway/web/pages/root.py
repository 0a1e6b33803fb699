"""The index of endpoints at `/`, and the 404 responses for unknown paths."""

import difflib
import re
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.websockets import WebSocket

from gateway import __version__
from gateway.errors import RouteNotFound
from gateway.web.http.auth import refuse
from gateway.web.http.problems import response_to
from gateway.web.pages import files as pages
from gateway.web.rest.document import openapi
from gateway.web.rest.operations import OPERATIONS
from gateway.web.rest.push import PATH as PUSH_PATH

_HEADERS: Final = {"cache-control": "no-store", "vary": "accept"}

_PAGES: Final = {
    "console": "/console",
    "graphql": "/graphql",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "openapiYaml": "/openapi.yaml",
}

_ADDRESSES: Final = (*sorted({one.path for one in OPERATIONS}), *_PAGES.values())

_NUMBER: Final = re.compile(r"(?<=/)[0-9]+(?=/|$)")

_LONGEST_PATH: Final = 200
"""Characters of a path that are compared with the addresses: no address is nearly as long."""

_NEAR: Final = 0.7
"""How much two addresses must have in common, from 0 to 1, for one to be taken for the other."""


_PUSHES_ARE_OFF: Final = (
    f"Pushes are off, for GATEWAY_CALLBACK_SECRET is not set; with it {PUSH_PATH} takes them. "
    "GET / names all addresses."
)


async def get_root(request: Request) -> Response:
    """Lead a browser to the console; tell everyone else, in JSON, what addresses there are."""
    if "text/html" in request.headers.get("accept", "") and pages.are_built():
        return RedirectResponse("console", 303, _HEADERS)  # relative: a proxy may add a prefix
    shown = [one for one in OPERATIONS if one.path != PUSH_PATH or _takes_pushes(request)]
    told = openapi()["paths"]
    body = {
        "name": "smsc-gateway",
        "version": __version__,
        **_PAGES,
        "operations": {
            f"{one.method} {one.path}": told[one.path][one.method.lower()]["summary"]
            for one in shown
        },
    }
    return Response(orjson.dumps(body), 200, _HEADERS, "application/json")


async def no_route(request: Request, _: Exception) -> Response:
    """The answer to a path that is no address; it names the nearest one there is."""
    return response_to(request, RouteNotFound(_sentence(request)))


async def no_socket(websocket: WebSocket) -> None:
    """The answer to a WebSocket anywhere but at GraphQL's address."""
    error = RouteNotFound("WebSockets are served at /graphql alone.")
    await refuse(websocket.scope, websocket.receive, websocket.send, error)


def _sentence(request: Request) -> str:
    asked = _NUMBER.sub("{id}", request.url.path[:_LONGEST_PATH])
    near = difflib.get_close_matches(asked, _ADDRESSES, n=1, cutoff=_NEAR)
    if near == [PUSH_PATH] and not _takes_pushes(request):
        return _PUSHES_ARE_OFF
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"No address has this path.{hint} GET / names them all."


def _takes_pushes(request: Request) -> bool:
    """Without a secret their address has no route."""
    return any(getattr(route, "path", None) == PUSH_PATH for route in request.app.routes)
