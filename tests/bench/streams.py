"""A thousand streams of one message, for the gateway as shipped and a bare peer on its server.

What is told by: server-sent events over REST, GraphQL over server-sent events, GraphQL over
WebSockets. In each round either server starts anew on a core of its own; all streams are opened,
and the message is then moved on by signed pushes. What is measured:

- opening: the server's CPU time for each stream, from the connection to its first event;
- telling: the same for each stream that is told one change;
- holding: what the server's memory has grown by, for each stream that is open;
- stall: the longest that another caller waits for `/livez` while all are told. Nobody reads the
  streams meanwhile, so that the load's own work is not in it; it does hold the time for which
  others had the core.

The figures are lower quartiles of the rounds; of the stalls the least, for others only add to it.
"""

import base64
import contextlib
import http.client
import json
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx

from gateway.simulator.push import signed
from tests.bench.harness import Server, cores, pinned, running
from tests.support.process import PLAIN

STREAMS = 1000
WARM_UP = 100
WAVE = 50
"""Streams that are opened at a time."""
ROUNDS = 5
PATIENCE = 30.0
PROBED = 0.4
"""Seconds for which `/livez` is asked while all are told."""

GOAL = 2.0
"""Times the bare peer's cost, at most."""
STALL_GOAL = 5.0
"""Milliseconds, at most."""

PHONE = "79990001000"
SECRET = "the bench's own word"
QUEUED, SENT, DELIVERED, READ = -1, 0, 1, 2

_IDS = count(5001)
_FIELDS = "id phone isFinal lastStatusTime sentAt sender text cost { amount currency }"
_QUERY = f"""subscription Watch($id: ID!, $phone: String!) {{
  status(id: $id, phone: $phone, until: CLICKED) {{
    {_FIELDS} freshness {{ stale }} ... on Message {{ state stateGroup }}
  }}
}}"""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to follow a message: what is sent to open a stream, and how its events are known."""

    title: str
    requests: Callable[[int, str], Sequence[bytes]]
    """By the message's id and a key."""
    mark: bytes
    """Is in each event once."""
    answers: Sequence[bytes] = ()
    """Each request but the first is sent when the one before has been answered by this."""


def _head(method: str, path: str, key: str, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"authorization: Bearer {key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _payload(id_: int) -> dict[str, object]:
    return {"query": _QUERY, "variables": {"id": str(id_), "phone": PHONE}}


def _by_rest(id_: int, key: str) -> list[bytes]:
    path = f"/v1/messages/{id_}/events?phone={PHONE}&until=CLICKED"
    return [_head("GET", path, key, accept="text/event-stream")]


def _by_sse(id_: int, key: str) -> list[bytes]:
    body = json.dumps(_payload(id_)).encode()
    head = _head(
        "POST",
        "/graphql",
        key,
        accept="text/event-stream",
        content_type="application/json",
        content_length=str(len(body)),
    )
    return [head + body]


def _by_websocket(id_: int, key: str) -> list[bytes]:
    handshake = _head(
        "GET",
        "/graphql",
        key,
        connection="Upgrade",
        upgrade="websocket",
        sec_websocket_version="13",
        sec_websocket_key=base64.b64encode(bytes(16)).decode(),
        sec_websocket_protocol="graphql-transport-ws",
    )
    subscribe = {"id": "1", "type": "subscribe", "payload": _payload(id_)}
    return [handshake, _frame({"type": "connection_init"}), _frame(subscribe)]


def _frame(message: object) -> bytes:
    """A text frame of a client, masked with nothing."""
    text = json.dumps(message).encode()
    assert 126 <= len(text) < 65_536 or len(text) < 126
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + struct.pack(">H", len(text))
    return b"\x81" + size + bytes(4) + text


WAYS = (
    Way("events over REST", _by_rest, b"event: status\n"),
    Way("GraphQL over SSE", _by_sse, b"event: next\n"),
    Way(
        "GraphQL over WebSocket", _by_websocket, b'"type":"next"', (b"\r\n\r\n", b"connection_ack")
    ),
)


class Stream:
    """One that is open, and what came over it."""

    def __init__(self, server: Server, way: Way, requests: Sequence[bytes]) -> None:
        place = urlsplit(server.address)
        self.socket = socket.create_connection((place.hostname or "", place.port or 0))
        self._way = way
        self._to_send = list(zip(way.answers, requests[1:], strict=True))
        self.bytes = b""
        self.socket.sendall(requests[0])

    def receive(self) -> None:
        """Read what is there, and go on."""
        came = self.socket.recv(65_536)
        assert came, f"{self._way.title}: cut off after {self.bytes[-2000:]!r}"
        self.bytes += came
        while self._to_send and self._to_send[0][0] in self.bytes:
            self.socket.sendall(self._to_send.pop(0)[1])

    @property
    def events(self) -> int:
        return self.bytes.count(self._way.mark)


def _wait(streams: Sequence[Stream], events: int) -> None:
    """Until each stream has had so many events."""
    waiting = {one.socket.fileno(): one for one in streams if one.events < events}
    poll, until = select.epoll(), time.monotonic() + PATIENCE
    for number in waiting:
        poll.register(number, select.EPOLLIN)
    with poll:
        while waiting:
            assert time.monotonic() < until, f"{len(waiting)} streams were not told"
            for number, _ in poll.poll(1):
                stream = waiting[number]
                stream.receive()
                if stream.events >= events:
                    poll.unregister(number)
                    del waiting[number]


@dataclass(slots=True)
class Figures:
    """What the rounds gave, for each stream; `stalls` in all."""

    opening: list[float] = field(default_factory=list)
    telling: list[float] = field(default_factory=list)
    holding: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)


class Round:
    """One server, just started, with all that is measured of it."""

    def __init__(self, server: Server, way: Way, key: str, provider: Server) -> None:
        self._server = server
        self._way = way
        self._key = key
        self._provider = provider

    def run(self, figures: Figures) -> bytes:
        """Measure, and give all that one stream was told."""
        with self._opened(WARM_UP) as (id_, streams):
            self._tell(id_, SENT)
            _wait(streams, 2)
        time.sleep(0.5)  # for the server to see that they are gone
        resident, spent = self._resident(), self._cpu()
        with self._opened(STREAMS) as (id_, streams):
            figures.opening.append((self._cpu() - spent) / STREAMS)
            time.sleep(0.3)
            figures.holding.append((self._resident() - resident) / STREAMS)
            for events, status in ((2, SENT), (3, DELIVERED)):
                spent = self._cpu()
                self._tell(id_, status)
                _wait(streams, events)
                figures.telling.append((self._cpu() - spent) / STREAMS)
            self._tell(id_, READ, answered=False)
            figures.stalls.append(self._longest_wait())
            _wait(streams, 4)
            return streams[0].bytes

    @contextmanager
    def _opened(self, number: int) -> Iterator[tuple[int, list[Stream]]]:
        """So many streams of a new message, each of which has had its first event."""
        id_ = next(_IDS)
        self._move(id_, QUEUED)
        requests, streams = self._way.requests(id_, self._key), list[Stream]()
        try:
            while len(streams) < number:
                wave = [Stream(self._server, self._way, requests) for _ in range(WAVE)]
                streams += wave
                _wait(wave, 1)
            yield id_, streams
        finally:
            for stream in streams:
                stream.socket.close()

    def _move(self, id_: int, status: int) -> None:
        told = {"id": id_, "phone": PHONE, "status": status, "message": "Your order is here"}
        httpx.post(f"{self._provider.address}/control/messages", json=told).raise_for_status()

    def _tell(self, id_: int, status: int, *, answered: bool = True) -> None:
        """Push a status; the provider tells it as well, should it be asked."""
        self._move(id_, status)
        form = {"id": str(id_), "phone": PHONE, "status": str(status), "ts": str(int(time.time()))}
        body = urlencode(signed(form, SECRET)).encode()
        head = _head(
            "POST",
            "/v1/callbacks/smsc",
            self._key,
            content_type="application/x-www-form-urlencoded",
            content_length=str(len(body)),
        )
        place = urlsplit(self._server.address)
        pushing = socket.create_connection((place.hostname or "", place.port or 0))
        pushing.sendall(head + body)
        if answered:
            answer = pushing.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            pushing.close()

    def _longest_wait(self) -> float:
        """Milliseconds for which somebody waited for `/livez`, asking again and again."""
        connection = http.client.HTTPConnection(urlsplit(self._server.address).netloc)
        longest, until = 0.0, time.perf_counter() + PROBED
        while (began := time.perf_counter()) < until:
            connection.request("GET", "/livez")
            connection.getresponse().read()
            longest = max(longest, time.perf_counter() - began)
            time.sleep(0.001)
        connection.close()
        return longest * 1e3

    def _cpu(self) -> float:
        """Microseconds of CPU time that the server and all its threads have had."""
        total = 0
        for task in Path(f"/proc/{self._server.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has ended
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e3

    def _resident(self) -> float:
        """Kilobytes of its memory."""
        status = Path(f"/proc/{self._server.pid}/status").read_text()
        return float(status.partition("VmRSS:")[2].split()[0])


class Bench:
    """The servers, started anew for each round."""

    def __init__(self, folder: Path, provider: Server, core: int) -> None:
        self._folder = folder
        self._provider = provider
        self._core = core
        self._clients_file = folder / "clients.toml"
        scopes = ("status:read", "content:read", "identity:read")
        made = subprocess.run(
            [
                *(sys.executable, "-m", "gateway", "client", "add", "bench"),
                *(f"--scope={scope}" for scope in scopes),
                f"--file={self._clients_file}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        self._key = made.stdout.strip()

    def compare(self, way: Way) -> None:
        """Print what one way costs, the gateway and the bare peer in turn."""
        gateway, bare = Figures(), Figures()
        file = self._folder / "event"
        for _ in range(ROUNDS):
            with self._gateway() as server:
                told = Round(server, way, self._key, self._provider).run(gateway)
            file.write_bytes(_last_event(told, way))
            with self._bare(file) as server:
                Round(server, way, self._key, self._provider).run(bare)
        size = file.stat().st_size
        print(f"{STREAMS:,} streams of one message, {way.title}: {ROUNDS} rounds in turn")
        print(
            f"  {f'an event of {size} bytes':<26}{'gateway':>9}{'bare':>9}{'ratio':>8}{'goal':>8}"
        )
        for name, unit in (
            ("opening", "us of CPU"),
            ("telling", "us of CPU"),
            ("holding", "KB"),
        ):
            ours, theirs = (_quartile(getattr(one, name)) for one in (gateway, bare))
            print(
                f"  {f'{name} one, {unit}':<26}{ours:>9.1f}{theirs:>9.1f}"
                f"{ours / theirs:>8.2f}{GOAL:>8.2f}"
            )
        stalls = (min(one.stalls) for one in (gateway, bare))
        print(
            f"  {'longest stall, ms':<26}{next(stalls):>9.1f}{next(stalls):>9.1f}"
            f"{'':>8}{STALL_GOAL:>8.1f}"
        )

    @contextmanager
    def _gateway(self) -> Iterator[Server]:
        with _started(
            *(sys.executable, "-m", "gateway", "serve"),
            core=self._core,
            PORT="0",
            SMSC_URL=f"{self._provider.address}/sys/",
            SMSC_LOGIN="demo",
            SMSC_PASSWORD="demo",
            SMSC_CURRENCY="RUB",
            LOG_LEVEL="info",
            CALLBACK_SECRET=SECRET,
            CLIENTS_FILE=str(self._clients_file),
            STATE_DIR=str(self._folder / "state"),
        ) as server:
            yield server

    @contextmanager
    def _bare(self, file: Path) -> Iterator[Server]:
        with _started(
            *(sys.executable, "-m", "tests.bench.peers", "streams", str(file)), core=self._core
        ) as server:
            yield server


def _started(*command: str, core: int, **environ: str) -> AbstractContextManager[Server]:
    """A command that serves; `environ`: settings without prefix."""
    settings = {f"GATEWAY_{name}": value for name, value in environ.items()}
    return running(command, core, PLAIN | settings)


def _last_event(told: bytes, way: Way) -> bytes:
    """The bytes of an event as the gateway sends it, without what HTTP or WebSockets put around."""
    if way.mark.startswith(b"event"):
        event = told[told.rindex(way.mark) :]
        return event[: event.index(b"\n\n") + 2]
    return told[told.rindex(b'{"id":"1",') :]


def _quartile(figures: Sequence[float]) -> float:
    """The lower one."""
    return statistics.quantiles(figures, n=4, method="inclusive")[0]


def main(*ways: str) -> None:
    server_core, load_core = cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(pinned(load_core))
        provider = stack.enter_context(
            _started(
                *(sys.executable, "-m", "gateway", "simulator", "--port", "0"),
                core=load_core,
            )
        )
        bench = Bench(folder, provider, server_core)
        for way in WAYS:
            if not ways or way.title in ways:
                bench.compare(way)
