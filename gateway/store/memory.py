"""The store of one process: bounded, least recently used first to go.

Freshness lives in the entry (see `freshness`), so nothing expires here. Not for threads: it is
used from the event loop alone.
"""

from collections.abc import Iterable, Iterator

from cachetools import Cache, LRUCache

from gateway.freshness import Known
from gateway.records import StatusKey

MAX_RECORDS = 100_000
"""At the measured 8 KB a record this is 800 MB, the most that one process should hold."""


SLACK = 8
"""An entry that is read is moved to the young end unless it is in the youngest 1/8 anyway: it would
change little about who goes first, and moving is what a read costs."""


class _Entry:
    """What is known, and when it was last at the young end, in changes of the order."""

    __slots__ = ("known", "moved_at")

    def __init__(self, known: Known, moved_at: int) -> None:
        self.known = known
        self.moved_at = moved_at


class MemoryStore:
    """Key → what is known of it."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._entries: LRUCache[StatusKey, _Entry] = LRUCache(maxsize=max_records)
        self._slack = max_records // SLACK
        self._changes = 0

    def get(self, key: StatusKey) -> Known | None:
        try:
            entry: _Entry = _peek(self._entries, key)
        except KeyError:
            return None
        if self._changes - entry.moved_at > self._slack:
            self._changes += 1
            entry.moved_at = self._changes
            _move(self._entries, key)
        return entry.known

    def keep(self, key: StatusKey, known: Known) -> None:
        """Keep it, in this process."""
        self._changes += 1
        self._entries[key] = _Entry(known, self._changes)

    def put(self, key: StatusKey, known: Known) -> None:
        """Keep it, and tell the other processes, if there are any."""
        self.keep(key, known)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:  # noqa: ARG002 - the port
        """Learn from other processes what is not known here; False: they know no more."""
        return False

    def items(self) -> Iterator[tuple[StatusKey, Known]]:
        """All that is known; it is no use of any."""
        return ((key, _peek(self._entries, key).known) for key in list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


_peek = Cache.__getitem__
"""Reads and moves nothing, as the base of all caches does."""
_move = LRUCache.__getitem__
"""Reads, and moves to the young end."""
