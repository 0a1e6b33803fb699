"""Around every request: an id for it, taken over from the caller or made here."""

import re
import secrets
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = "x-request-id"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """The id of the request at hand; empty outside of one."""
    return _current.get()


class RequestIdMiddleware:
    """Sets `X-Request-Id` in the answer; a caller's own is kept if it is a harmless token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER, "")
        own = given if _ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
        _current.set(own)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_HEADER] = own
            await send(message)

        await self._app(scope, receive, send_with_id)
