"""What is known of a message as JSON, for other processes: one reads what another wrote."""

from functools import lru_cache

import msgspec
from msgspec.structs import replace

from gateway.model.freshness import Known
from gateway.model.records import Record, StatusKey, Value


class _Entry(msgspec.Struct, frozen=True):
    """`Known`, and of what."""

    key: StatusKey
    known: Known


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Entry)


def write(key: StatusKey, known: Known) -> bytes:
    """The key, and what is known of it."""
    return _ENCODER.encode(_Entry(key, known))


def read(body: bytes) -> tuple[StatusKey, Known]:
    """What was written; raises `ValueError` where it was not."""
    try:
        entry = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    known = entry.known
    if known.record is not None:
        known = replace(known, record=_sharing(known.record))
    return entry.key, known


def _sharing(record: Record) -> Record:
    """The record with its inner values as other records hold them: most repeat."""
    held = {name: getattr(record, name) for name in record.__struct_fields__}
    shared = {name: _one(value) for name, value in held.items() if isinstance(value, Value)}
    return replace(record, **shared)


@lru_cache(4096)
def _one(value: Value) -> Value:
    """The first of all equal values."""
    return value
