"""Waking many: a few in each turn of the event loop, by one timer."""

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest

from gateway.wakeups import AT_ONCE, Signal, Wakeups, interruptible
from tests.support.clock import FakeClock, settle

pytestmark = pytest.mark.anyio


async def test_a_signal_that_was_set_is_waited_for_once() -> None:
    signal = Signal()
    signal.set()
    signal.set()
    await signal.wait()
    waiting = asyncio.create_task(signal.wait())
    await settle()
    assert not waiting.done()
    signal.set()
    signal.set()
    await waiting


async def test_who_stops_waiting_may_wait_again() -> None:
    signal = Signal()
    waiting = asyncio.create_task(signal.wait())
    await settle()
    waiting.cancel()
    signal.set()
    await settle()
    await signal.wait()


class Sleepers:
    """Tasks that wait, and how many were woken."""

    def __init__(self, number: int) -> None:
        self.signals = [Signal() for _ in range(number)]
        self.woken: list[int] = []
        self.tasks = [asyncio.create_task(self._wait(n)) for n in range(number)]

    async def _wait(self, number: int) -> None:
        while True:
            await self.signals[number].wait()
            self.woken.append(number)


async def test_many_are_woken_a_few_at_a_time_in_their_order() -> None:
    """In between the event loop does whatever else there is."""
    sleepers, wakeups = Sleepers(1000), Wakeups(FakeClock())
    await settle()
    wakeups.wake(*sleepers.signals)
    turns = [0]
    while turns[-1] < 1000:
        await asyncio.sleep(0)
        turns.append(len(sleepers.woken))
    assert max(after - before for before, after in pairwise(turns)) == AT_ONCE
    assert sleepers.woken == list(range(1000))


async def test_who_waits_for_its_turn_is_woken_once_however_often_it_is_to_be() -> None:
    sleepers, wakeups = Sleepers(2 * AT_ONCE), Wakeups(FakeClock())
    await settle()
    for _ in range(3):
        wakeups.wake(*sleepers.signals)
    await settle()
    assert sleepers.woken == [*range(2 * AT_ONCE), *range(AT_ONCE)]  # the first were woken at once


async def test_each_is_woken_when_its_time_has_come() -> None:
    clock = FakeClock()
    sleepers, wakeups = Sleepers(3), Wakeups(clock)
    for number, seconds in enumerate((30, 10, 20)):
        wakeups.wake_at(sleepers.signals[number], clock.now + seconds)
    await clock.advance(9.9)
    assert sleepers.woken == []
    await clock.advance(10.2)
    assert sleepers.woken == [1, 2]
    await clock.advance(60)
    assert sleepers.woken == [1, 2, 0]


async def test_a_time_may_be_put_off_brought_forward_and_called_off() -> None:
    clock = FakeClock()
    sleepers, wakeups = Sleepers(3), Wakeups(clock)
    late, early, never = sleepers.signals
    for signal in sleepers.signals:
        wakeups.wake_at(signal, clock.now + 10)
    wakeups.wake_at(late, clock.now + 20)
    wakeups.wake_at(early, clock.now + 5)
    wakeups.wake_at(never, float("inf"))
    await clock.advance(6)
    assert sleepers.woken == [1]
    await clock.advance(13)
    assert sleepers.woken == [1]
    await clock.advance(60)
    assert sleepers.woken == [1, 0]


async def test_those_whose_time_comes_together_are_woken_a_few_at_a_time() -> None:
    clock = FakeClock()
    sleepers, wakeups = Sleepers(10 * AT_ONCE), Wakeups(clock)
    for signal in sleepers.signals:
        wakeups.wake_at(signal, clock.now + 10)
    await clock.advance(11)
    assert sorted(sleepers.woken) == list(range(10 * AT_ONCE))


async def test_nobody_is_woken_after_the_end() -> None:
    clock = FakeClock()
    sleepers, wakeups = Sleepers(1), Wakeups(clock)
    wakeups.close()
    wakeups.wake_at(sleepers.signals[0], clock.now + 10)
    wakeups.close()
    await clock.advance(60)
    assert sleepers.woken == []


async def test_events_may_be_waited_for_together_with_a_signal() -> None:
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    signal, got = Signal(), list[str | None]()

    async def events() -> AsyncGenerator[str, None]:
        while (event := await queue.get()) is not None:
            yield event

    async def reading() -> None:
        async for event in interruptible(events(), signal):
            got.append(event)

    task = asyncio.create_task(reading())
    await settle()
    signal.set()
    await settle()
    queue.put_nowait("a")
    await settle()
    assert got == [None, "a"]
    queue.put_nowait(None)
    await task


async def test_who_leaves_closes_the_events_that_were_waited_for() -> None:
    closed = asyncio.Event()

    async def events() -> AsyncGenerator[str, None]:
        try:
            await asyncio.sleep(3600)
            yield "never"
        finally:
            closed.set()

    async def read() -> None:
        async for _ in interruptible(events(), Signal()):
            pass

    task = asyncio.create_task(read())
    await settle()
    task.cancel()
    await settle()
    assert closed.is_set()
