"""The dispatcher's timer: rings at the earliest of the moments it was set to."""

import asyncio
import math
from collections.abc import Callable

from gateway.clock import Clock


class Alarm:
    """Calls `ring` at the earliest of the moments it was set to, in monotonic seconds."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at = math.inf
        self._sleeper: asyncio.Task[None] | None = None
        self._rings_soon = False

    def soon(self) -> None:
        """Ring when this turn of the event loop has ended, and the next one.

        Two turns: a caller's fields run as tasks of their own, which start in the next one.
        """
        if not self._rings_soon:
            self._rings_soon = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._ring_now)

    def set(self, moment: float) -> None:
        """Ring at that moment, if not before."""
        if moment >= self._at:
            return
        if self._sleeper is not None:
            self._sleeper.cancel()
        self._at = moment
        self._sleeper = asyncio.create_task(self._sleep(moment - self._clock.monotonic()))

    def stop(self) -> None:
        """Cancel the timer; later calls of `set` do nothing."""
        self._at = -math.inf
        if self._sleeper is not None:
            self._sleeper.cancel()

    def _ring_now(self) -> None:
        self._rings_soon = False
        self._ring()

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(max(0.0, seconds))
        self._sleeper = None
        self._at = math.inf
        self._ring_now()
