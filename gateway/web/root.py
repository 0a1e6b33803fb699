"""The address `/`, which names all others; and the answer where there is no such address."""

import difflib
import re
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway import __version__
from gateway.errors import RouteNotFound
from gateway.web import pages
from gateway.web.api import OPERATIONS
from gateway.web.problems import response_to

_HEADERS: Final = {"cache-control": "no-store", "vary": "accept"}

_PAGES: Final = {
    "graphql": "/graphql",
    "docs": "/docs",
    "openapi": "/openapi.json",
}

_ADDRESSES: Final = (*sorted({one.path for one in OPERATIONS}), *_PAGES.values())

_NUMBER: Final = re.compile(r"(?<=/)[0-9]+(?=/|$)")

_LONGEST_PATH: Final = 200
"""Characters of a path that are compared with the addresses: no address is nearly as long."""

_NEAR: Final = 0.7
"""How much two addresses must have in common, from 0 to 1, for one to be taken for the other."""


async def get_root(request: Request) -> Response:
    """Lead a browser to the playground; tell everyone else, in JSON, what addresses there are."""
    if "text/html" in request.headers.get("accept", "") and pages.are_built():
        return RedirectResponse("graphql", 303, _HEADERS)  # relative: a proxy may add a prefix
    body = {
        "name": "smsc-gateway",
        "version": __version__,
        **_PAGES,
        "operations": {f"{one.method} {one.path}": one.summary for one in OPERATIONS},
    }
    return Response(orjson.dumps(body), 200, _HEADERS, "application/json")


async def no_route(request: Request, _: Exception) -> Response:
    """The answer to a path that is no address; it names the nearest one there is."""
    return response_to(request, RouteNotFound(_sentence(request.url.path)))


def _sentence(path: str) -> str:
    asked = _NUMBER.sub("{id}", path[:_LONGEST_PATH])
    near = difflib.get_close_matches(asked, _ADDRESSES, n=1, cutoff=_NEAR)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"No address has this path.{hint} GET / names them all."
