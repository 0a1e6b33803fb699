"""Server-sent events: their form, and what keeps a stream alive or ends it."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from starlette.types import Message

from gateway.callers.fetch import fetch
from gateway.callers.registry import Callers
from gateway.errors import GatewayError
from gateway.wakeups import Signal, Wakeups
from gateway.web.http import sse
from tests.support.callers import client
from tests.support.clock import FakeClock, settle

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("event", "bytes_"),
    [
        (sse.event("status", b"{}"), b"event: status\ndata: {}\n\n"),
        (sse.event("end"), b"event: end\ndata: \n\n"),
        (sse.event("status", b"1", id_=b"a1"), b"id: a1\nevent: status\ndata: 1\n\n"),
    ],
)
def test_events_are_written_as_the_standard_has_them(event: bytes, bytes_: bytes) -> None:
    assert event == bytes_


class Reader:
    """One end of a stream, at the application's side of the protocol (ASGI)."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self.task = asyncio.create_task(sse.stream(events, self._receive, self._send))

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


class Source:
    """Events that a test gives."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_closed = False

    async def events(self) -> AsyncGenerator[bytes, None]:
        try:
            while (event := await self.queue.get()) is not None:
                yield event
        finally:
            self.is_closed = True


async def test_events_are_sent_as_they_come_and_the_last_ends_the_answer() -> None:
    source = Source()
    reader = Reader(source.events())
    source.queue.put_nowait(b"a")
    await settle()
    start, first = reader.sent
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert first == {"type": "http.response.body", "body": b"a", "more_body": True}
    source.queue.put_nowait(None)
    await reader.task
    assert reader.sent[2:] == [{"type": "http.response.body", "body": b"", "more_body": False}]
    assert source.is_closed


async def test_who_leaves_closes_the_source() -> None:
    source = Source()
    reader = Reader(source.events())
    await settle()
    reader.gone.set()
    await reader.task
    assert (len(reader.sent), source.is_closed) == (1, True)


async def test_a_stream_that_is_cancelled_is_not_taken_for_one_that_was_left() -> None:
    source = Source()
    reader = Reader(source.events())
    await settle()
    reader.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader.task
    assert source.is_closed


async def test_who_leaves_as_the_stream_is_cancelled_leaves_it_cancelled() -> None:
    reader = Reader(Source().events())
    await settle()
    reader.gone.set()
    reader.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader.task


async def test_what_fails_the_source_fails_the_stream() -> None:
    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise LookupError

    with pytest.raises(LookupError):
        await Reader(failing()).task


class Stream:
    """A stream kept alive for a caller: what would have been sent, and when it was asked."""

    def __init__(self, path: Path, clock: FakeClock, key: str = "key of one") -> None:
        self.callers = Callers(path, allow_anonymous=False, fetch=fetch)
        self.signal = Signal()
        self.news: bytes | None = None
        self.sent: list[bytes] = []
        self.code = ""
        """Of the error that has ended it."""
        self.wakeups = Wakeups(clock)
        self.task = asyncio.create_task(self._run(clock, key))

    async def _run(self, clock: FakeClock, key: str) -> None:
        caller = await self.callers.authenticate(f"Bearer {key}", clock.time())
        with sse.KeepAlive(caller, self.callers, clock, self.wakeups, self.signal) as alive:
            while not self.code:
                news, self.news = self.news, None
                try:
                    self.sent.append(alive.filled(news))
                except GatewayError as error:
                    self.code = error.code
                else:
                    await self.signal.wait()

    def tell(self, news: bytes) -> None:
        self.news = news
        self.signal.set()


async def test_silence_is_broken_by_heartbeats(tmp_path: Path) -> None:
    path, clock = tmp_path / "clients.toml", FakeClock()
    path.write_text(client("one"))
    stream = Stream(path, clock)
    await clock.advance(14)
    stream.tell(b"a")
    await clock.advance(14.9)
    assert [one for one in stream.sent if one] == [b"a"]
    await clock.advance(15.2)
    assert [one for one in stream.sent if one] == [b"a", sse.HEARTBEAT, sse.HEARTBEAT]


async def test_a_stream_ends_when_its_time_is_over(tmp_path: Path) -> None:
    path, clock = tmp_path / "clients.toml", FakeClock()
    path.write_text(client("one", more="expires = 2027-01-15T08:00:20Z"))
    stream = Stream(path, clock)
    await clock.advance(19.9)
    assert not stream.task.done()
    await clock.advance(0.2)
    assert [one for one in stream.sent if one] == [sse.HEARTBEAT]
    assert stream.code == "UNAUTHENTICATED"


async def test_a_stream_ends_at_once_when_its_key_is_withdrawn(tmp_path: Path) -> None:
    """What is to be told at that very moment is not told any more."""
    path, clock = tmp_path / "clients.toml", FakeClock()
    path.write_text(client("one"))
    stream = Stream(path, clock)
    await clock.advance(1)
    path.write_text(client("other"))
    assert stream.callers.reload()
    stream.tell(b"too late")
    await settle()
    assert not any(stream.sent)
    assert stream.code == "UNAUTHENTICATED"


async def test_a_stream_that_has_ended_is_woken_no_more(tmp_path: Path) -> None:
    path, clock = tmp_path / "clients.toml", FakeClock()
    path.write_text(client("one"))
    stream = Stream(path, clock)
    await settle()
    stream.task.cancel()
    await clock.advance(60)
    assert (stream.sent, stream.signal.due) == ([b""], float("inf"))
