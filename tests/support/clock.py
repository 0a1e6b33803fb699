"""Time that a test moves by hand."""

import asyncio
import heapq
from itertools import count

from gateway.clock import Clock

START = 1_800_000_000.0


class FakeClock(Clock):
    """Both clocks in one; sleepers wake when `advance` passes their moment."""

    def __init__(self, now: float = START) -> None:
        self.now = now
        self.set_by = 0.0
        """Seconds that somebody has set the wall clock forward, or back."""
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._broken = False

    def time(self) -> float:
        if self._broken:
            raise RuntimeError("the clock has stopped")
        return self.now + self.set_by

    def break_down(self) -> None:
        """From now on asking for the time fails: a fault of ours that no code expects."""
        self._broken = True

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, letting everything run that wakes on the way."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)
