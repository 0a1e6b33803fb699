"""Real servers on real ports, in a thread of their own."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from tests.support.size import PATIENCE


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """The app behind a real HTTP server; gives its address without a slash at the end."""
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def until_there(port: int) -> None:
    """Wait until a process listens on a port of this machine."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return


def wait_until(is_so: Callable[[], bool]) -> None:
    """Look again and again, for what another process does; nobody tells when it is so."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


class Kept:
    """Connections that are kept open for the next request."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.connections = 0


@contextmanager
def keeping_server(kept: Kept) -> Iterator[str]:
    """A server that answers each request on a connection with the bytes of `kept`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while request := connection.recv(65_536):
                    if b"charset=" in request:  # the last field of a form
                        connection.sendall(kept.answer)

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed below
                while True:
                    connection, _ = listening.accept()
                    kept.connections += 1
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """A server that answers every connection with these bytes, and hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed below
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(ConnectionError):
                    connection.recv(65_536)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):  # closing with unread bytes would reset it
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
