"""An event loop whose time jumps to the next timer: minutes of asyncio in seconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.clock import Clock

T = TypeVar("T")

EPOCH = 1_800_000_000.0


class _Impatient(selectors.SelectSelector):
    """Waits for nothing: what was to be waited for has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Without I/O: everything that waits, waits for a timer."""

    def __init__(self) -> None:
        self._selector_of_time = _Impatient()
        super().__init__(self._selector_of_time)

    def time(self) -> float:
        return self._selector_of_time.now


class VirtualClock(Clock):
    """The running loop's time, for both clocks."""

    def time(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
