"""The HTTP server: binds the socket, configures uvicorn, shuts down gracefully.

A connection that is closed while a request is on its way in resets it, and the caller can't know
whether it was served. So at SIGTERM, in turn:

1. `/readyz` says STOPPING, and for `shutdown_delay` everything is served as ever, for load
   balancers to notice.
2. Nobody new gets in. Every answer says `Connection: close`, streams end.
3. When all connections are gone, or those left were silent for `LINGER`, they are closed, and what
   is still under way gets up to `GRACE`.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import ChangeReload

from gateway.clock import Clock
from gateway.protocol.bounds import (
    KEEP_ALIVE,
    UNREAD_SECONDS,
    available_descriptors,
    room_within,
)
from gateway.protocol.room import Connections
from gateway.web.http.body import MAX_BODY_BYTES
from gateway.web.http.lifetime import Lifetime

GRACE: Final = 10
"""Seconds that open requests get at shutdown."""

LINGER: Final = 0.5
"""Seconds of silence after which nothing is on its way in any more."""

_TICK = 0.02

_COLLECTIONS = (2000, 10, 20)
"""When garbage is looked for, as `gc.set_threshold` has it. A thousand streams that are opened make
80,000 objects that stay: by Python's own figures that is 120 collections, one of all there is."""

_SWEEP_EVERY = 1.0
"""Seconds between two looks at who has waited too long."""


class CantListen(Exception):
    """One sentence for the operator."""


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A bound socket, so that a port in use is told in one sentence, with what to change.

    Raises `CantListen`.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CantListen(f"Can't listen on {host}:{port}: {reason} (change {setting}).") from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listening


def address(listening: socket.socket) -> str:
    """Where it listens, as a URL has it."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server(uvicorn.Server):
    """A server that says something once it listens, and stops in the steps told above.

    `trusted_proxies` are addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto`
    tell of the caller. There are as many connections as `descriptors` leave room for.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        banner: str = "",
        lifetime: Lifetime | None = None,
        shutdown_delay: float = 0.0,
        trusted_proxies: Sequence[str] = (),
        descriptors: int | None = None,
        clock: Clock | None = None,
        http: type[asyncio.Protocol] | None = None,
    ) -> None:
        room = room_within(descriptors or available_descriptors())
        super().__init__(
            uvicorn.Config(
                app,
                http=http or _http_protocol(),
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                backlog=room.backlog,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=GRACE,
                ws_max_size=MAX_BODY_BYTES,
            )
        )
        self._clock = clock or Clock()
        self.server_state: Connections = Connections(room.most, self._clock.monotonic)
        self._sweeping: asyncio.Task[None] | None = None
        self._banner = banner
        self._lifetime = lifetime or Lifetime()
        self._shutdown_delay = shutdown_delay

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._sweeping = asyncio.create_task(self._sweep())
        gc.collect()
        gc.freeze()  # what was made by now stays: it need not be looked through again and again
        gc.set_threshold(*_COLLECTIONS)
        if self._banner and self.started:
            click.echo(self._banner)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal of either kind, or Ctrl-C at once, has nobody wait for load balancers."""
        if self.should_exit or sig == signal.SIGINT:
            self._shutdown_delay = 0.0
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._lifetime.leave()
        await self._leave()
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        self._lifetime.close()
        await self._fall_silent()
        await super().shutdown(sockets)
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP_EVERY)
            self.server_state.sweep()

    async def _leave(self) -> None:
        waited = 0.0
        while waited < self._shutdown_delay:
            await asyncio.sleep(_TICK)
            waited += _TICK

    async def _fall_silent(self) -> None:
        """Wait until no connection is open, or no request has come for `LINGER`."""
        state, silent = self.server_state, 0.0
        seen = state.total_requests
        while state.connections and silent < LINGER and not self.force_exit:
            await asyncio.sleep(_TICK)
            silent = silent + _TICK if state.total_requests == seen else 0.0
            seen = state.total_requests


class _Beside(Server):
    """A server beside another one, which minds the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def beside(
    app: ASGIApp,
    listening: socket.socket,
    **options: Any,  # noqa: ANN401 - of `Server`
) -> AsyncIterator[Server]:
    """The app served beside the main one."""
    server = _Beside(app, **options)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield server
    finally:
        server.should_exit = True
        await task


def run(main: Coroutine[None, None, None]) -> None:
    """Run to the end, or to Ctrl-C, in the fastest event loop there is."""
    with (
        suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(main)


def run_reloading(
    target: Callable[[list[socket.socket] | None], None], listening: socket.socket
) -> None:
    """Run `target` in a process of its own, again and again: anew whenever our code changes."""
    config = uvicorn.Config(
        "", reload=True, reload_dirs=[str(Path(__file__).parent)], log_config=None
    )
    ChangeReload(config, target, [listening]).run()


def _http_protocol() -> type[asyncio.Protocol]:
    try:
        from gateway.protocol.with_httptools import HttpToolsConnection  # noqa: PLC0415 - as below
    except ImportError:
        from gateway.protocol.with_h11 import H11Connection  # noqa: PLC0415 - only where needed

        return H11Connection
    return HttpToolsConnection


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
