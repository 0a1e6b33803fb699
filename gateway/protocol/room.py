"""`Connections`: caps open connections, closes expired ones, evicts the longest idle."""

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.protocol.bounds import FRESH_SECONDS, PROBES, RETRY_AFTER, SPARE

if TYPE_CHECKING:
    from gateway.protocol.connection import Connection

log = logging.getLogger(__name__)

_TOLD_EVERY = 60.0
"""Seconds: that there is no room is told in the log once in this time."""


class Connections(ServerState):
    """What uvicorn keeps of a server, with the connections in the order in which they fell idle.

    Beyond `most`, a new connection takes the place of the one that has been idle for longest. Where
    none is idle it may only ask for `PROBES`, so that an orchestrator still learns that the process
    is well.
    """

    def __init__(self, most: int, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self.most = most
        self.monotonic = monotonic
        self.now = monotonic()
        """At the last sweep: precise enough for what happens with every request."""
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._told_at = -math.inf

    def rests(self, connection: "Connection") -> None:
        """A connection has nothing to do from now on. It need not say when that changes."""
        try:
            self._idle.move_to_end(connection)
        except KeyError:
            self._idle[connection] = None

    def enters(self, connection: "Connection") -> None:
        self._idle[connection] = None
        if len(self.connections) > self.most:
            self._make_room(connection)

    def leaves(self, connection: "Connection") -> None:
        self._idle.pop(connection, None)

    def sweep(self) -> None:
        """End what has waited too long; to be called about once a second."""
        now = self.now = self.monotonic()
        for connection in tuple(self.connections):
            # WebSockets are among them: the library has them answer pings.
            if getattr(connection, "deadline", math.inf) <= now:
                connection.expire(now)  # type: ignore[union-attr]

    def _make_room(self, newcomer: "Connection") -> None:
        now = self.monotonic()
        while len(self.connections) > self.most:
            oldest = self._idle_for_longest()
            is_full = len(self.connections) > self.most + SPARE
            has_waited = oldest.cycle is not None or now - oldest.idle_since >= FRESH_SECONDS
            if not (has_waited or is_full):  # as the newcomer has not
                break
            del self._idle[oldest]
            self.connections.discard(oldest)
            oldest.transport.close()
            if oldest is newcomer:
                break
        else:
            return
        newcomer.restrict(probes_only)
        if now - self._told_at >= _TOLD_EVERY:
            self._told_at = now
            log.warning("all %d connections are in use; new ones are turned away", self.most)

    def _idle_for_longest(self) -> "Connection":
        """There is one: the newcomer."""
        while not (oldest := next(iter(self._idle))).is_idle:
            del self._idle[oldest]  # it is back when it rests
        return oldest


def probes_only(app: ASGIApp) -> ASGIApp:
    """The application for a connection that there is no room for: one answer, and it is closed."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        # A body could be half sent, to hold the place of a probe.
        if scope["path"] in PROBES and scope["method"] in {"GET", "HEAD"}:
            await app(scope, receive, send_last)
            return
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(NO_ROOM)),
            (b"retry-after", b"%d" % RETRY_AFTER),
        ]
        await send_last({"type": "http.response.start", "status": 503, "headers": headers})
        await send_last({"type": "http.response.body", "body": NO_ROOM})

    return answer


NO_ROOM = b"Too many connections are open.\n"
