"""Load on a server: keep-alive connections of this process, each with one request at a time.

It reads and writes sockets itself, for what does more is slower than the servers measured.
"""

import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTIONS = 16

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(slots=True)
class Seen:
    """What came of it. `waits`: seconds that each answer took, where a rate was asked for."""

    answered: int
    seconds: float
    waits: list[float] = field(default_factory=list)


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request as it is sent."""
    given = {"host": "127.0.0.1", **headers}
    if body:
        given["content-length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Load:
    """Connections to a server, and what they send. Every answer must have this status."""

    def __init__(self, address: str, requests: Iterator[bytes], status: int = 200) -> None:
        url = urlsplit(address)
        self._requests = requests
        self._begin = b"HTTP/1.1 %d" % status
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            connection = socket.create_connection((url.hostname, url.port))
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._poll.register(connection, select.EPOLLIN)
        self._left = dict.fromkeys(self._sockets, 0)

    def close(self) -> None:
        self._poll.close()
        for connection in self._sockets.values():
            connection.close()

    def run(self, seconds: float) -> Seen:
        """As much as the server takes, for so long and until the last answer is there."""
        for fd in self._sockets:
            self._send(fd)
        answered, waiting = 0, len(self._sockets)
        began = time.perf_counter()
        until = began + seconds
        while waiting:
            for fd, _ in self._poll.poll():
                if not self._is_answered(fd):
                    continue
                answered += 1
                if time.perf_counter() < until:
                    self._send(fd)
                else:
                    waiting -= 1
        return Seen(answered, time.perf_counter() - began)

    def run_at(self, rate: float, seconds: float) -> Seen:
        """So many requests a second, evenly; each timed from the moment when it was due.

        One that finds no idle connection waits for it, and its time counts.
        """
        idle = deque(self._sockets)
        since: dict[int, float] = {}
        waits = []
        began = due = time.perf_counter()
        until = began + seconds
        while due < until or since:
            now = time.perf_counter()
            while due <= now and due < until and idle:
                fd = idle.popleft()
                since[fd] = due
                self._send(fd)
                due += 1 / rate
            for fd, _ in self._poll.poll(0):
                if self._is_answered(fd):
                    waits.append(time.perf_counter() - since.pop(fd))
                    idle.append(fd)
        return Seen(len(waits), time.perf_counter() - began, waits)

    def _send(self, fd: int) -> None:
        self._sockets[fd].sendall(next(self._requests))

    def _is_answered(self, fd: int) -> bool:
        """Read what came; is the answer whole now?"""
        chunk = self._sockets[fd].recv(1 << 18)
        left = self._left[fd]
        if not left:
            end = chunk.find(b"\r\n\r\n")
            if end < 0 or not chunk.startswith(self._begin):
                raise AssertionError(f"not {self._begin.decode()}: {chunk[:500].decode()}")
            length = _LENGTH.search(chunk, 0, end)
            left = end + 4 + (int(length[1]) if length else 0)
        self._left[fd] = left = left - len(chunk)
        return not left
