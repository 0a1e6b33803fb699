"""The store of one process: bounded, least recently used first to go.

What was used last is kept as it is, the rest as bytes, which take a tenth of the memory and a tenth
of a millisecond to read. Freshness lives in the entry (see `freshness`), so nothing expires
here. Not for threads: it is used from the event loop alone.
"""

from collections.abc import Iterable
from typing import Final

from cachetools import Cache, LRUCache

from gateway.freshness import Known
from gateway.records import StatusKey
from gateway.store.written import pack, unpack

MAX_YOUNG: Final = 50_000
"""Records kept as they are, the others packed: 8 KB each, where a packed one takes 0.7 KB."""

SLACK: Final = 8
"""An entry that is read is moved to the young end unless it is in the youngest 1/8 anyway: it would
change little about who goes first, and moving is what a read costs."""

_LIVE, _FINAL = b"L", b"F"


class _Entry:
    """What is known, and when it was last at the young end, in changes of the order."""

    __slots__ = ("known", "moved_at")

    def __init__(self, known: Known, moved_at: int) -> None:
        self.known = known
        self.moved_at = moved_at


class _Old(LRUCache[str, bytes]):
    """Packed records, by names that the garbage collector need not look at."""

    def put(self, key: StatusKey, known: Known) -> None:
        if self.maxsize:
            self[_name(key)] = (_FINAL if _is_final(known) else _LIVE) + pack(key, known)

    def take(self, key: StatusKey) -> Known | None:
        packed: bytes | None = self.pop(_name(key), None)
        return None if packed is None else unpack(packed[1:])[1]


class _Young(LRUCache[StatusKey, _Entry]):
    """Records as they are; what goes is packed."""

    def __init__(self, max_records: int, old: _Old) -> None:
        super().__init__(max_records)
        self._old = old

    def popitem(self) -> tuple[StatusKey, _Entry]:
        key, entry = super().popitem()
        self._old.put(key, entry.known)
        return key, entry


class MemoryStore:
    """Key → what is known of it."""

    def __init__(self, max_records: int, max_young: int = MAX_YOUNG) -> None:
        max_young = min(max_young, max_records)
        self._old = _Old(max_records - max_young)
        self._entries = _Young(max_young, self._old)
        self._slack = max_young // SLACK
        self._changes = 0

    def get(self, key: StatusKey) -> Known | None:
        try:
            entry: _Entry = _peek(self._entries, key)
        except KeyError:
            known = self._old.take(key)
            if known is not None:
                self.keep(key, known)
            return known
        if self._changes - entry.moved_at > self._slack:
            self._changes += 1
            entry.moved_at = self._changes
            _move(self._entries, key)
        return entry.known

    def keep(self, key: StatusKey, known: Known) -> None:
        """Keep it, in this process."""
        if key not in self._entries:
            self._old.pop(_name(key), None)
        self._changes += 1
        self._entries[key] = _Entry(known, self._changes)

    def put(self, key: StatusKey, known: Known) -> None:
        """Keep it, and tell the other processes, if there are any."""
        self.keep(key, known)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:  # noqa: ARG002 - the port
        """Learn from other processes what is not known here; False: they know no more."""
        return False

    def unfinished(self) -> list[StatusKey]:
        """The keys whose record may still change."""
        young = (key for key in self._entries if not _is_final(_peek(self._entries, key).known))
        old = (_key(name) for name in self._old if _packed(self._old, name).startswith(_LIVE))
        return [*young, *old]

    def __len__(self) -> int:
        return len(self._entries) + len(self._old)


def _is_final(known: Known) -> bool:
    return known.record is not None and known.record.is_final


def _name(key: StatusKey) -> str:
    return f"{key.id} {key.phone}"


def _key(name: str) -> StatusKey:
    id_, _, phone = name.partition(" ")
    return StatusKey(phone, int(id_))


_peek = _packed = Cache.__getitem__
"""Reads and moves nothing, as the base of all caches does."""
_move = LRUCache.__getitem__
"""Reads, and moves to the young end."""
