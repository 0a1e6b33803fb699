"""What a connection is held to before anybody is known, whichever parser reads it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import Receive, Scope, Send

from gateway.protocol.bounds import (
    BODY_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE,
    LINGER_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    SPARE,
    UNREAD_SECONDS,
    room_within,
)
from gateway.protocol.with_h11 import H11Connection
from gateway.protocol.with_httptools import HttpToolsConnection
from gateway.server import Server, beside, listen
from gateway.web.http.reply import WHOLE_RESPONSE, Reply, respond
from tests.support.clock import FakeClock, settle

pytestmark = pytest.mark.anyio

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(params=[HttpToolsConnection, H11Connection], ids=["httptools", "h11"], name="http")
def _http(request: pytest.FixtureRequest) -> type[asyncio.Protocol]:
    parser: type[asyncio.Protocol] = request.param
    return parser


class App:
    """Answers with what it was sent; `/hold` waits until it is let go, `/early` reads nothing."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.scopes: list[Scope] = []
        self.left = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        if scope["path"] == "/hold" or scope["query_string"] == b"hold":
            await self.go_on.wait()
        body = b""
        more = scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message["body"]
            more = message["more_body"]
        told = b"%s %d" % (scope["path"].encode(), len(body))
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


class Setup:
    """A server on a real port, in a time that the test moves."""

    def __init__(self, server: Server, app: App, clock: FakeClock, port: int) -> None:
        self.server = server
        self.app = app
        self.clock = clock
        self.port = port
        self._clients: list[Client] = []

    async def connect(self) -> "Client":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(reader, writer)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()


class Client:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Nobody need listen any more."""
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def answer(self) -> bytes:
        """One answer, body and all."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        return head + await self._reader.readexactly(length)

    async def some(self) -> bytes:
        """What comes first."""
        return await self._reader.read(65_536)

    async def rest(self) -> bytes:
        """Until the server closes."""
        received = b""
        with suppress(ConnectionError):
            while data := await self._reader.read(65_536):
                received += data
        return received

    async def is_open(self) -> bool:
        """Has the server neither answered nor closed by now?"""
        await settle()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await self._reader.read(1)
            return False
        return True

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def serving(
    http: type[asyncio.Protocol] = HttpToolsConnection, **options: object
) -> AsyncIterator[Setup]:
    app, clock = App(), FakeClock()
    listening = listen("127.0.0.1", 0, "")
    async with beside(app, listening, http=http, clock=clock, **options) as server:
        setup = Setup(server, app, clock, listening.getsockname()[1])
        try:
            yield setup
        finally:
            app.go_on.set()
            setup.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: a", *lines, b"", b""])


LONG = b"x" * (MAX_HEAD_BYTES + 5000)
HANDSHAKE = [
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(head(b"x: " + b"x" * 60_000), 200, id="long, but within"),
        pytest.param(head(start=b"GET /" + b"x" * 60_000 + b" HTTP/1.1"), 200, id="a long address"),
        pytest.param(head(*[b"x: y"] * (MAX_HEADERS - 1)), 200, id="many, but within"),
        pytest.param(head(*[b"x: y"] * MAX_HEADERS), 431, id="too many"),
        pytest.param(head(*[b"x: y"] * 150_000), 431, id="far too many"),
        pytest.param(head(b"x: " + LONG), 431, id="one too long"),
        pytest.param(head(b"x" + LONG + b": y"), 431, id="a name too long"),
        pytest.param(head(*[b"x: " + b"y" * 1000] * 90), 431, id="too long together"),
        pytest.param(head(start=b"GET /" + LONG + b" HTTP/1.1"), 414, id="an address too long"),
        pytest.param(b"GET /" + LONG, 414, id="an address without an end"),
        pytest.param(head(b"x: " + LONG, *HANDSHAKE), 431, id="a handshake too long"),
        pytest.param(head(b"x: " + LONG[:9000], *HANDSHAKE), 431, id="a handshake's line"),
        pytest.param(
            head(*HANDSHAKE, start=b"GET /" + LONG[:9000] + b" HTTP/1.1"), 414, id="its address"
        ),
        pytest.param(head(b"content-length: 3", *HANDSHAKE), 400, id="a handshake with a body"),
        pytest.param(head(*HANDSHAKE), 101, id="a handshake"),
    ],
)
async def test_heads_are_bounded(
    http: type[asyncio.Protocol], request_: bytes, expected: int
) -> None:
    async with serving(http) as setup:
        for piece in (1_000_000, 20_000, 4001):
            client = await setup.connect()
            for begin in range(0, len(request_), piece):
                await client.send(request_[begin : begin + piece])
                await settle()
            answer = await client.some()
            assert status(answer) == expected
            if expected >= 400:
                assert b"text/plain" in answer
                assert b"connection: close" in answer
                await setup.clock.advance(LINGER_SECONDS + 1)
                assert await client.rest() == b""
                assert setup.app.scopes == []


@pytest.mark.parametrize(
    ("lines", "version", "expected"),
    [
        ([b"Host: a.example:8080"], b"1.1", 200),
        ([b"Host: [::1]:8080"], b"1.1", 200),
        ([b"Host: [2001:db8::1]"], b"1.1", 200),
        ([b"host: a_b-c.example"], b"1.1", 200),
        ([b"Host:"], b"1.1", 200),
        ([], b"1.0", 200),
        ([], b"1.1", 400),
        ([b"Host: a", b"Host: a"], b"1.1", 400),
        ([b"Host: a", b"host: b"], b"1.0", 400),
        ([b"Host: a, b c"], b"1.1", 400),
        ([b"Host: a/b"], b"1.1", 400),
        ([b"Host: user@a"], b"1.1", 400),
        ([b"Host: a:port"], b"1.1", 400),
        ([b"Host: [::1"], b"1.1", 400),
        ([b"Host: a?b#c"], b"1.1", 400),
        ([b"Host: b\xfccher.example"], b"1.1", 400),
    ],
)
@pytest.mark.parametrize("more", [[], HANDSHAKE], ids=["a request", "a handshake"])
async def test_there_is_one_host(
    http: type[asyncio.Protocol],
    lines: list[bytes],
    version: bytes,
    expected: int,
    more: list[bytes],
) -> None:
    """RFC 9112, section 3.2."""
    if more and expected == 200:
        expected = 101
    if more and version == b"1.0":
        pytest.skip("there were no WebSockets")
    sent = b"\r\n".join([b"GET / HTTP/" + version, *lines, *more, b"", b""])
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(sent)
        assert status(await client.some()) == expected
        assert bool(setup.app.scopes) == (expected < 400)


async def test_blank_lines_are_no_way_around_it(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(b"\r\n" * 50_000)
        assert status(await client.some()) in {400, 431}


async def test_a_folded_header_counts_as_one(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nx: y\r\n" + b" z\r\n" * 30_000 + b"\r\n")
        assert status(await client.some()) in {400, 431}
        assert setup.app.scopes == []


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"


async def test_trailers_are_read_and_dropped(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(CHUNKED + b"0\r\nAuthorization: Bearer stolen\r\n\r\n" + GET)
        assert (await client.answer()).endswith(b"/ 2")
        assert (await client.answer()).endswith(b"/ 0")
        names = [name for scope in setup.app.scopes for name, _ in scope["headers"]]
        assert b"authorization" not in names


@pytest.mark.parametrize(
    "rest",
    [
        b"0\r\nx: " + LONG,
        b"0\r\n" + b"x: y\r\n" * 30_000,
        b"2;x=" + LONG + LONG,
    ],
    ids=["a trailer", "trailers", "an extension of a chunk"],
)
async def test_what_stands_beside_a_body_is_bounded(
    http: type[asyncio.Protocol], rest: bytes
) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(CHUNKED)
        await settle()
        await client.send(rest)
        assert status(await client.some()) in {400, 431}
        await settle()
        assert setup.app.left == 1


async def test_a_bad_request_is_answered_after_the_good_one_before_it(
    http: type[asyncio.Protocol],
) -> None:
    """Or the answer would be taken for that of the other request."""
    async with serving(http) as setup:
        client = await setup.connect()
        hold = head(start=b"GET /hold HTTP/1.1")
        await client.send(hold + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)
        assert await client.is_open()
        setup.app.go_on.set()
        assert (await client.answer()).endswith(b"/hold 0")
        assert status(await client.answer()) == 400
        await setup.clock.advance(LINGER_SECONDS + 1)
        assert await client.rest() == b""
        assert len(setup.app.scopes) == 1


async def test_few_requests_wait_for_their_turn() -> None:
    """h11 reads none before the one before it has its answer."""
    async with serving(HttpToolsConnection) as setup:
        client = await setup.connect()
        await client.send(head(start=b"GET /hold HTTP/1.1") + GET * (MAX_PIPELINED + 10))
        await settle()
        setup.app.go_on.set()
        assert (await client.answer()).endswith(b"/hold 0")
        for _ in range(MAX_PIPELINED):
            assert (await client.answer()).endswith(b"/ 0")
        assert status(await client.answer()) == 400


async def test_a_handshake_waits_for_no_answer(http: type[asyncio.Protocol]) -> None:
    """The answer under way would be read as a part of the WebSocket."""
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(head(start=b"GET /hold HTTP/1.1") + head(*HANDSHAKE))
        await settle()
        setup.app.go_on.set()
        assert (await client.answer()).endswith(b"/hold 0")
        assert status(await client.some()) in {101, 400}


async def test_who_says_nothing_is_hung_up_on(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await setup.clock.advance(HEAD_SECONDS - 2)
        assert await client.is_open()
        await setup.clock.advance(3)
        assert await client.rest() == b""


async def test_a_head_has_its_time(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        for piece in (b"GET / HT", b"TP/1.1\r\n", b"Host: a", b"\r\nx: "):
            await client.send(piece)
            await setup.clock.advance(HEAD_SECONDS / 5)
            assert await client.is_open()
        await setup.clock.advance(HEAD_SECONDS / 5 + 1)
        assert status(await client.some()) == 408
        assert setup.app.scopes == []


async def test_the_next_head_has_its_time_from_its_first_byte(
    http: type[asyncio.Protocol],
) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(GET)
        await client.answer()
        await setup.clock.advance(KEEP_ALIVE - 5)
        await client.send(b"GET")
        await setup.clock.advance(HEAD_SECONDS - 2)
        assert await client.is_open()
        await setup.clock.advance(3)
        assert status(await client.some()) == 408


@pytest.mark.parametrize("first", [GET + b"GET / HT", GET + b"\r\n"], ids=["a head", "a newline"])
async def test_nor_does_it_help_to_begin_it_early(
    http: type[asyncio.Protocol], first: bytes
) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(first)
        await client.answer()
        await setup.clock.advance(KEEP_ALIVE + 1)
        assert status(await client.some()) in {0, 400, 408}


async def test_an_idle_connection_stays_for_a_while(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        for _ in range(3):
            await client.send(GET)
            await client.answer()
            await setup.clock.advance(KEEP_ALIVE - 2)
            assert await client.is_open()
        await setup.clock.advance(3)
        assert await client.rest() == b""


POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


async def test_a_body_that_stops_coming(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(POST + b"x" * 50_000)
        await setup.clock.advance(BODY_SECONDS - 2)
        assert await client.is_open()
        await setup.clock.advance(3)
        answer = await client.some()
        assert status(answer) == 408
        assert b"text/plain" in answer
        assert setup.app.left == 1


async def test_a_body_that_trickles(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(POST)
        for _ in range(3):
            await setup.clock.advance(BODY_SECONDS / 3 - 1)
            assert await client.is_open()
            await client.send(b"x")
        await setup.clock.advance(5)
        assert status(await client.some()) == 408


async def test_a_body_over_a_slow_line_gets_through(http: type[asyncio.Protocol]) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(POST)
        for _ in range(4):
            await client.send(b"x" * 25_000)
            await setup.clock.advance(BODY_SECONDS - 5)
        assert (await client.answer()).endswith(b"/ 100000")


async def test_a_body_that_nobody_waits_for_has_its_time_too(
    http: type[asyncio.Protocol],
) -> None:
    async with serving(http) as setup:
        client = await setup.connect()
        await client.send(POST.replace(b"/ ", b"/early ", 1))
        assert (await client.answer()).endswith(b"/early 0")
        for _ in range(4):
            await client.send(b"x")
            await setup.clock.advance(BODY_SECONDS / 3)
        await setup.clock.advance(LINGER_SECONDS + 1)
        assert await client.rest() == b""


async def test_an_answer_may_take_longer(http: type[asyncio.Protocol]) -> None:
    """Neither a stream nor a caller who waits for news is hurried."""
    async with serving(http) as setup:
        waiting, sending, socket_ = [await setup.connect() for _ in range(3)]
        await waiting.send(head(start=b"GET /hold HTTP/1.1"))
        # More than is read ahead: it is the application that makes it wait.
        await sending.send(POST.replace(b"/ ", b"/hold ", 1) + b"x" * 90_000)
        await socket_.send(head(*HANDSHAKE))
        assert status(await socket_.some()) == 101
        await setup.clock.advance(10 * KEEP_ALIVE)
        assert await waiting.is_open()
        assert await sending.is_open()
        assert await socket_.is_open()
        setup.app.go_on.set()
        assert (await waiting.answer()).endswith(b"/hold 0")
        await sending.send(b"x" * 10_000)
        assert (await sending.answer()).endswith(b"/hold 100000")


async def test_silence_makes_room_for_others(http: type[asyncio.Protocol]) -> None:
    async with serving(http, descriptors=100) as setup:
        most = room_within(100).most
        silent = [await setup.connect() for _ in range(3 * most)]
        await setup.clock.advance(1)
        client = await setup.connect()
        await client.send(GET)
        assert status(await client.answer()) == 200
        assert await silent[0].rest() == b""
        assert len(setup.server.server_state.connections) <= most + SPARE


async def test_whoever_was_idle_for_longest_makes_room(http: type[asyncio.Protocol]) -> None:
    async with serving(http, descriptors=100) as setup:
        clients = [await setup.connect() for _ in range(room_within(100).most)]
        for client in reversed(clients):
            await client.send(GET)
            await client.answer()
            await setup.clock.advance(0.5)
        await clients[-1].send(head(start=b"GET /hold HTTP/1.1"))  # busy again
        await settle()
        more = await setup.connect()
        await more.send(GET)
        assert status(await more.answer()) == 200
        assert await clients[-2].rest() == b""
        setup.app.go_on.set()
        assert status(await clients[-1].answer()) == 200
        await clients[0].send(GET)
        assert status(await clients[0].answer()) == 200


async def test_where_all_are_busy_only_probes_are_answered(http: type[asyncio.Protocol]) -> None:
    async with serving(http, descriptors=100) as setup:
        busy = [await setup.connect() for _ in range(room_within(100).most)]
        for client in busy:
            await client.send(head(start=b"GET /hold HTTP/1.1"))
        await settle()
        await setup.clock.advance(1)
        for silent in [await setup.connect() for _ in range(3 * SPARE)]:
            await silent.send(b"G")
        for path in (b"/livez", b"/readyz"):
            probe = await setup.connect()
            await probe.send(head(start=b"GET " + path + b" HTTP/1.1"))
            answer = await probe.rest()
            assert status(answer) == 200
            assert answer.endswith(path + b" 0")
        others = [head(), head(*HANDSHAKE), POST.replace(b"/ ", b"/livez ", 1)]
        for sent in others:
            other = await setup.connect()
            await other.send(sent)
            answer = await other.rest()
            assert status(answer) == 503
            assert b"retry-after: 5" in answer
        setup.app.go_on.set()
        for client in busy:
            assert status(await client.answer()) == 200
        await setup.clock.advance(1)
        client = await setup.connect()
        await client.send(GET)
        assert status(await client.answer()) == 200


async def test_no_descriptor_is_spent_beyond_the_spare_ones(http: type[asyncio.Protocol]) -> None:
    async with serving(http, descriptors=100) as setup:
        for path in [b"/hold"] * room_within(100).most + [b"/livez?hold"] * SPARE:
            client = await setup.connect()
            await client.send(head(start=b"GET " + path + b" HTTP/1.1"))
            await settle()
        for _ in range(3):
            more = await setup.connect()
            assert await more.rest() == b""
        assert len(setup.server.server_state.connections) == room_within(100).most + SPARE


@pytest.mark.parametrize(
    ("descriptors", "most"), [(128, 48), (200, 120), (1024, 768), (1_048_576, 16_384)]
)
def test_room_leaves_descriptors_for_the_rest(descriptors: int, most: int) -> None:
    room = room_within(descriptors)
    assert room.most == most
    assert room.most + SPARE + room.backlog < descriptors


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
async def test_who_does_not_read_is_given_up_by_the_kernel() -> None:
    async with serving() as setup:
        client = await setup.connect()
        await client.send(GET)
        await client.answer()
        (connection,) = setup.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        milliseconds = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert milliseconds == UNREAD_SECONDS * 1000


@pytest.mark.parametrize(
    ("trusted", "sent", "client", "scheme"),
    [
        pytest.param((), [b"X-Forwarded-For: 192.0.2.1"], "127.0.0.1", "http", id="nobody is"),
        pytest.param((), [b"X-Forwarded-Proto: https"], "127.0.0.1", "http", id="for neither"),
        pytest.param(
            ("127.0.0.1",),
            [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https"],
            "192.0.2.1",
            "https",
            id="a proxy",
        ),
        pytest.param(
            ("10.0.0.0/8",), [b"X-Forwarded-For: 192.0.2.1"], "127.0.0.1", "http", id="another one"
        ),
        pytest.param(
            ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8"),
            [b"X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.1.2.3", b"X-Forwarded-For: fd00::7"],
            "192.0.2.1",
            "http",
            id="the last that is none of them",
        ),
        pytest.param(
            ("127.0.0.1",),
            [b"X-Forwarded-For: [2001:db8::1]:443"],
            "2001:db8::1",
            "http",
            id="IPv6",
        ),
        pytest.param(("127.0.0.1",), [b"X-Forwarded-For:"], "127.0.0.1", "http", id="empty"),
        pytest.param(("127.0.0.1",), [b"X-Forwarded-Proto: gopher"], "127.0.0.1", "http", id="odd"),
    ],
)
async def test_only_trusted_proxies_tell_who_asks(
    http: type[asyncio.Protocol],
    trusted: tuple[str, ...],
    sent: list[bytes],
    client: str,
    scheme: str,
) -> None:
    async with serving(http, trusted_proxies=trusted) as setup:
        for lines in ([], HANDSHAKE):
            asking = await setup.connect()
            await asking.send(head(*lines, *sent))
            assert status(await asking.some()) == (101 if lines else 200)
        assert [scope["client"][0] for scope in setup.app.scopes] == [client, client]
        schemes = [scope["scheme"] for scope in setup.app.scopes]
        assert schemes == [scheme, scheme.replace("http", "ws")]


class Replies:
    """Answers by the server's extension where it has one; else, and to `/slow`, by two messages."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await App()(scope, receive, send)
            return
        body = b"" if scope["method"] == "HEAD" else b"hello"
        reply = Reply(200, [(b"content-length", b"5"), (b"etag", b'"1"')], body)
        extension = scope.get("extensions", {}).get(WHOLE_RESPONSE)
        is_slow = scope["path"] == "/slow" or extension is None
        if is_slow or not extension["write"](reply.status, reply.lines, reply.body):
            await respond(send, reply)


@pytest.mark.parametrize(
    "lines",
    [
        [b"GET %b HTTP/1.1", b"Host: a"],
        [b"HEAD %b HTTP/1.1", b"Host: a"],
        [b"GET %b HTTP/1.1", b"Host: a", b"Connection: close"],
        [b"GET %b HTTP/1.0", b"Host: a"],
        [b"GET %b HTTP/1.0", b"Host: a", b"Connection: keep-alive"],
    ],
    ids=lambda lines: lines[0][:4].decode() + lines[0][-3:].decode() + str(len(lines)),
)
async def test_an_answer_in_one_piece_is_the_same_answer(
    http: type[asyncio.Protocol], lines: list[bytes]
) -> None:
    listening = listen("127.0.0.1", 0, "")
    port = listening.getsockname()[1]
    answers = []
    async with beside(Replies(), listening, http=http, clock=FakeClock()):
        for path in (b"/fast", b"/slow"):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            request = b"\r\n".join([lines[0] % path, *lines[1:], b"", b""])
            last = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path
            await client.send(request + request + last)
            answers.append(re.sub(rb"date: [^\r]*", b"", (await client.rest()).lower()))
            client.close()
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"http/1.1 200")
    is_kept = b"1.1" in lines[0] and b"close" not in lines[-1]
    assert answers[0].count(b"http/1.1 200") >= (3 if is_kept else 1)
