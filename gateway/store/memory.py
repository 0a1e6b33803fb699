"""The store of one process: bounded, least recently used first to go.

Freshness lives in the entry (see `freshness`), so nothing expires here. Not for threads: it is
used from the event loop alone.
"""

from cachetools import LRUCache

from gateway.freshness import Known
from gateway.records import StatusKey

MAX_RECORDS = 100_000
"""At the measured 8 KB a record this is 800 MB, the most that one process should hold."""


class MemoryStore:
    """Key → what is known of it."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._entries: LRUCache[StatusKey, Known] = LRUCache(maxsize=max_records)

    def get(self, key: StatusKey) -> Known | None:
        return self._entries.get(key)

    def put(self, key: StatusKey, known: Known) -> None:
        self._entries[key] = known

    def __len__(self) -> int:
        return len(self._entries)
