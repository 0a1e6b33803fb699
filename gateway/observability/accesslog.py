"""The access log: one line per request, encoded immediately and written in batches.

A line through a logger costs five times as much as all that is done here. What waits is written
when it is much, after half a second, before anything else that is logged, and at the end; a process
that is killed loses that half second.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TextIO

import orjson

FULL: Final = 64 * 1024
"""Bytes that are written without waiting for more."""

DELAY: Final = 0.5
"""Seconds that a line waits for others."""


def as_json(line: Mapping[str, object]) -> bytes:
    """A line of JSON; times are UTC, as RFC 3339 has them."""
    return orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


class AccessLog:
    """Lines for `stream`, which others may write to as well.

    `write` belongs to the event loop; `flush` may be called from any thread, for that is where
    other loggers are used.
    """

    def __init__(
        self,
        stream: TextIO,
        encode: Callable[[Mapping[str, object]], bytes] = as_json,
        delay: float = DELAY,
    ) -> None:
        self._stream = stream
        self._encode = encode
        self._delay = delay
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: Mapping[str, object]) -> None:
        """Have a line written soon."""
        encoded = self._encode(line)
        with self._lock:
            # Kept one by one, they would cost their memory manager five times their encoding.
            self._waiting += encoded
        if len(self._waiting) >= FULL or not self._delay:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._due)

    def flush(self) -> None:
        """Write what waits. A stream that takes nothing any more loses it, and stops nobody."""
        with self._lock:
            waiting, self._waiting = self._waiting, bytearray()
        if waiting:
            with suppress(OSError, ValueError):
                self._stream.write(waiting.decode())
                self._stream.flush()

    def _due(self) -> None:
        self._timer = None
        self.flush()
