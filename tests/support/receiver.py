"""A service that takes webhooks, on a real port: what it got, and what it answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.server import closed_port, serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD9Pz1Q2fB0sU="


@dataclass(frozen=True, slots=True)
class Got:
    """A request, and what it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def change(self) -> tuple[str, str]:
        """The message, and the state that it is told to be in."""
        return self.told["data"]["id"], self.told["data"]["state"]

    def verified(self, secret: str = SECRET) -> Any:  # noqa: ANN401 - JSON
        """The body; raises where it was signed with another secret."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """`answer` gives the status for a message's id and state, or headers as well."""

    answer: Callable[[str, str], int] = lambda id_, state: 204  # noqa: ARG005 - named for who reads
    headers: dict[str, str] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    hold: threading.Event | None = None
    """While it is not set, nothing is answered."""
    _port: int = field(default_factory=closed_port)
    _server: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/sms"

    @property
    def taken(self) -> list[tuple[str, str]]:
        """The changes it took, in order."""
        return [one.change for one in self.got if one.status < 300]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Those it was told, in order."""
        return [one.change for one in self.got]

    def _receive(self, request: Request, body: bytes) -> Response:
        if self.hold is not None:
            self.hold.wait()
        data = json.loads(body)["data"]
        status = self.answer(data.get("id", ""), data.get("state", ""))
        self.got.append(Got(request.url.path, dict(request.headers), body, status))
        return Response(status_code=status, headers=self.headers)

    def start(self) -> None:
        """Be there, at the same address as before."""
        self._server.enter_context(serving(self._app(), self._port))

    def stop(self) -> None:
        """Be away; what it got is kept."""
        self._server.close()

    def _app(self) -> Starlette:
        async def receive(request: Request) -> Response:
            body = await request.body()  # in a thread: one that is held holds nobody else
            return await anyio.to_thread.run_sync(self._receive, request, body)

        return Starlette(routes=[Route("/{path:path}", receive, methods=["POST", "GET"])])


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
