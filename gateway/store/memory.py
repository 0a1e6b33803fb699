"""The store of one process: bounded, least recently used first to go.

Freshness lives in the entry (see `freshness`), so nothing expires here. Not for threads: it is
used from the event loop alone.
"""

from cachetools import Cache, LRUCache

from gateway.freshness import Known
from gateway.records import StatusKey

MAX_RECORDS = 100_000
"""At the measured 8 KB a record this is 800 MB, the most that one process should hold."""


SLACK = 8
"""An entry is moved to the young end when the store was read a 1/8 of its size times since it was
last moved there. Sooner would change little about who goes first, and moving is what costs."""


class _Entry:
    """What is known, and when it was last moved, in reads of the store."""

    __slots__ = ("known", "moved_at")

    def __init__(self, known: Known, moved_at: int) -> None:
        self.known = known
        self.moved_at = moved_at


class MemoryStore:
    """Key → what is known of it."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._entries: LRUCache[StatusKey, _Entry] = LRUCache(maxsize=max_records)
        self._slack = max_records // SLACK
        self._reads = 0

    def get(self, key: StatusKey) -> Known | None:
        try:
            entry: _Entry = _peek(self._entries, key)
        except KeyError:
            return None
        self._reads += 1
        if self._reads - entry.moved_at > self._slack:
            entry.moved_at = self._reads
            self._entries[key]
        return entry.known

    def put(self, key: StatusKey, known: Known) -> None:
        self._entries[key] = _Entry(known, self._reads)

    def __len__(self) -> int:
        return len(self._entries)


_peek = Cache.__getitem__
"""Reads and moves nothing, as the base of all caches does."""
