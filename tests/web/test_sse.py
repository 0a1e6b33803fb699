"""Server-sent events: their form, and what keeps a stream alive or ends it."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable

import pytest

from gateway.web import sse
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


class Stream:
    """Events that a test gives, and what its reader got."""

    def __init__(self, clock: FakeClock, seconds_left: Callable[[], float]) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.got: list[str | None] = []
        self.is_closed = False
        self.task = asyncio.create_task(self._read(clock, seconds_left))

    async def _source(self) -> AsyncGenerator[str, None]:
        try:
            while (event := await self.queue.get()) is not None:
                yield event
        finally:
            self.is_closed = True

    async def _read(self, clock: FakeClock, seconds_left: Callable[[], float]) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        async for event in sse.paced(self._source(), clock, seconds_left, self.lost):
            self.got.append(event)


async def test_silence_is_broken_by_heartbeats() -> None:
    clock = FakeClock()
    stream = Stream(clock, lambda: math.inf)
    await clock.advance(14)
    stream.queue.put_nowait("a")
    await clock.advance(14.9)
    assert stream.got == ["a"]
    await clock.advance(15.2)
    assert stream.got == ["a", None, None]
    stream.queue.put_nowait("b")
    stream.queue.put_nowait(None)
    await settle()
    assert (stream.got[3:], stream.task.done(), stream.is_closed) == (["b"], True, True)


async def test_a_stream_ends_when_its_time_is_over() -> None:
    clock = FakeClock()
    ends_at = clock.now + 20
    stream = Stream(clock, lambda: ends_at - clock.now)
    await clock.advance(19.9)
    assert not stream.task.done()
    await clock.advance(0.2)
    assert (stream.got, stream.task.done(), stream.is_closed) == ([None, None], True, True)


async def test_a_stream_ends_at_once_when_its_permission_is_lost() -> None:
    clock = FakeClock()
    stream = Stream(clock, lambda: math.inf)
    await clock.advance(1)
    stream.lost.set_result(None)
    stream.queue.put_nowait("too late")
    await settle()
    assert (stream.got, stream.task.done(), stream.is_closed) == ([], True, True)


async def test_who_leaves_closes_the_source() -> None:
    clock = FakeClock()
    stream = Stream(clock, lambda: math.inf)
    await settle()
    stream.task.cancel()
    await settle()
    assert stream.is_closed


async def test_what_fails_the_source_fails_the_stream() -> None:
    async def source() -> AsyncGenerator[str, None]:
        yield "a"
        raise LookupError

    lost = asyncio.get_running_loop().create_future()
    stream = sse.paced(source(), FakeClock(), lambda: math.inf, lost)
    assert await anext(stream) == "a"
    with pytest.raises(LookupError):
        await anext(stream)
