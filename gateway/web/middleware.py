"""Around every request: an id for it."""

import random
import re
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = b"x-request-id"
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{8,64}", re.ASCII)
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
        own = b"%016x" % random.getrandbits(64)
        for name, value in scope["headers"]:
            if name == _HEADER and _ACCEPTABLE.fullmatch(value):
                own = value
        _current.set(own.decode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (_HEADER, own)]
            await send(message)

        await self._app(scope, receive, send_with_id)
