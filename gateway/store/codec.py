"""Cache entries as JSON, as replicas exchange them by Redis."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from gateway.model.freshness import CacheEntry
from gateway.model.records import Record, StatusKey, Value


class _Sent(msgspec.Struct, frozen=True):
    """`CacheEntry`, and of what."""

    key: StatusKey
    entry: CacheEntry


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Sent)
_KEYS = msgspec.json.Decoder(list[StatusKey])


def write(key: StatusKey, entry: CacheEntry) -> bytes:
    """The key, and what is known of it."""
    return _ENCODER.encode(_Sent(key, entry))


def read(body: bytes) -> tuple[StatusKey, CacheEntry]:
    """What was written; raises `ValueError` where it was not."""
    try:
        sent = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    entry = sent.entry
    if entry.record is not None:
        entry = replace(entry, record=_sharing(entry.record))
    return sent.key, entry


def write_keys(keys: Sequence[StatusKey]) -> bytes:
    """Keys alone."""
    return _ENCODER.encode(keys)


def read_keys(body: bytes) -> list[StatusKey]:
    """What was written; raises `ValueError` where it was not."""
    try:
        return _KEYS.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def _sharing(record: Record) -> Record:
    """The record with its inner values as other records hold them: most repeat."""
    held = {name: getattr(record, name) for name in record.__struct_fields__}
    shared = {name: _one(value) for name, value in held.items() if isinstance(value, Value)}
    return replace(record, **shared)


@lru_cache(4096)
def _one(value: Value) -> Value:
    """The first of all equal values."""
    return value
