"""`Clock`: wall time, monotonic time and sleep, injected so that tests can control time."""

import asyncio
import time


class Clock:
    """The machine's time."""

    def time(self) -> float:
        """Seconds since 1970 UTC, for what is told to callers."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment, never going back, for limits and deadlines."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
