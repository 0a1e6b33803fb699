"""The store of several replicas: each keeps its own, and publishes updates to the others.

So what one knows all know, and to read it costs no trip. The server keeps it as well, for those
that come later, and for what a process has dropped. Of two that learn at the same time the one that
is further on is kept (see `merge`).
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from gateway.errors import Overloaded
from gateway.model.freshness import CacheEntry
from gateway.model.merge import rank
from gateway.model.records import StatusKey
from gateway.replicas import Replicas
from gateway.store import codec
from gateway.store.memory import MemoryStore

log = logging.getLogger(__name__)

KEPT: Final = 7 * 24 * 3600.0
"""Seconds for which the server keeps a record after the last news of it: who asks for an older
message asks the provider once."""

AT_ONCE: Final = 500
"""Records that are read in one trip."""

KEEP: Final = Path(__file__).with_name("keep.lua").read_text()
FORGET: Final = Path(__file__).with_name("forget.lua").read_text()
KIND: Final = b"r"
FORGOTTEN: Final = b"f"
"""News of what all are to forget."""

RANK_SIZE: Final = 2
"""Digits before each value, for the script."""


class SharedStore(MemoryStore):
    """What this process and the others know.

    `on_news` is called with what comes from the others, and whether they learned it just now.
    """

    is_shared = True

    def __init__(self, replicas: Replicas, time: Callable[[], float], max_records: int) -> None:
        super().__init__(max_records)
        self._replicas = replicas
        self._time = time
        self.on_news: Callable[[StatusKey, CacheEntry, bool], None] = _nothing
        replicas.listen(KIND, self._heard, self._join)
        replicas.listen(FORGOTTEN, self._heard_forgotten)

    def put(self, key: StatusKey, entry: CacheEntry) -> None:
        self.keep(key, entry)
        replicas = self._replicas
        kept_for = entry.fresh_until - self._time() if entry.deleted else KEPT
        arguments = (
            f"{_rank(entry):02}",
            max(1, round(kept_for * 1000)),
            codec.write(key, entry),
            replicas.channel,
            KIND + replicas.name.encode(),
        )
        place = replicas.key("record", key)
        replicas.run_later(("keep", key), KEEP, [place], lambda: arguments)

    async def forget(self, keys: Iterable[StatusKey]) -> None:
        """Forget what is known of these keys, here, on the server and in the other processes.

        Raises `Overloaded` where the server is lost. Another process that is cut off from it just
        then keeps what it has.
        """
        replicas, forgotten = self._replicas, list(keys)
        for first in range(0, len(forgotten), AT_ONCE):
            some = forgotten[first : first + AT_ONCE]
            places = [replicas.key("record", key) for key in some]
            news = FORGOTTEN + replicas.name.encode() + codec.write_keys(some)
            await replicas.run(FORGET, places, [replicas.channel, news])
        self.drop(forgotten)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:
        unknown = [key for key in keys if self.get(key) is None]
        if not unknown or not self._replicas.is_there:
            return False
        try:
            await self._read(unknown)
        except Overloaded:
            return False
        return any(self.get(key) is not None for key in unknown)  # news may have come meanwhile

    async def _join(self) -> None:
        """News may have been missed: read anew what may have changed."""
        await self._read(self.unfinished())

    async def _read(self, keys: Sequence[StatusKey]) -> None:
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            values = await self._replicas.read([self._replicas.key("record", key) for key in some])
            for value in filter(None, values):
                try:
                    self._tell(value[RANK_SIZE:], is_new=False)
                except ValueError:
                    log.debug("%d bytes could not be read", len(value))

    def _heard(self, sender: bytes, body: bytes) -> None:
        if sender != self._replicas.name.encode():
            self._tell(body, is_new=True)

    def _heard_forgotten(self, _: bytes, body: bytes) -> None:
        self.drop(codec.read_keys(body))

    def _tell(self, body: bytes, *, is_new: bool) -> None:
        self.on_news(*codec.read(body), is_new)


def _rank(entry: CacheEntry) -> int:
    """What is not kept over what: the lower over the higher."""
    if entry.deleted:
        return 99
    if entry.record is None:
        return 0
    return 10 * (1 + entry.certain) + rank(entry.record)


def _nothing(key: StatusKey, entry: CacheEntry, is_new: bool) -> None:  # noqa: FBT001 - a callback
    pass
