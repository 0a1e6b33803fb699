"""Around every request: an id for it, and a short way to what is asked most."""

import logging
import random
import re
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import GatewayError
from gateway.web.problems import response_to
from gateway.web.request_id import current_request

log = logging.getLogger(__name__)

_HEADER = b"x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,64}", re.ASCII)


class RequestIdMiddleware:
    """Sets `X-Request-Id` in the answer; a caller's own is kept if it is a harmless token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own = b"%016x" % random.getrandbits(64)
        for name, value in scope["headers"]:
            if name == _HEADER and _ACCEPTABLE.fullmatch(value):
                own = value
        current_request.set(own.decode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_HEADER, own)]
            await send(message)

        await self._app(scope, receive, send_with_id)


class ShortcutMiddleware:
    """Hands requests for some paths to their endpoints at once.

    Starlette's router and what is around it take a third of a hit's time. Endpoints raise what goes
    wrong before they answer.
    """

    def __init__(self, app: ASGIApp, *, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            await endpoint(scope, receive, send)
        except Exception as error:
            if not isinstance(error, GatewayError | HTTPException | ClientDisconnect):
                log.exception("a request failed in an unforeseen way")
            await response_to(HTTPConnection(scope), error)(scope, receive, send)
