"""Guards the control API and page against CSRF and DNS rebinding."""

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Awaitable[Response]]

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def guarded(endpoint: Endpoint, *, is_local: bool) -> Endpoint:
    """The endpoint for requests of no other site; `is_local`: and for a loopback name alone."""

    async def guarded_endpoint(request: Request) -> Response:
        _check(request, is_local=is_local)
        return await endpoint(request)

    return guarded_endpoint


def _check(request: Request, *, is_local: bool) -> None:
    host = request.headers.get("host", "")
    if is_local and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise HTTPException(421, "ask under a loopback name such as localhost")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise HTTPException(403, "a page of another site may not steer the simulator")
    if request.headers.get("sec-fetch-site") == "cross-site" and request.method != "GET":
        raise HTTPException(403, "a page of another site may not steer the simulator")
    type_ = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = (
        request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    )
    if has_body and type_ != "application/json":
        raise HTTPException(415, "send the body as application/json")


def is_loopback(host: str) -> bool:
    """Does this name or address always lead to the same machine?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
