"""What is known of a message as bytes: for other processes, and for lasting in little memory."""

import zlib

from pydantic import BaseModel

from gateway.freshness import Known
from gateway.records import FreshnessSource, HlrLookup, Message, StatusKey


class _Written(BaseModel):
    """`Known`, and of what."""

    phone: str
    id: int
    message: Message | None = None
    lookup: HlrLookup | None = None
    observed_at: float
    fresh_until: float
    certain: bool
    misses: int
    source: FreshnessSource
    deleted: bool


def write(key: StatusKey, known: Known) -> bytes:
    """As JSON."""
    record = known.record
    written = _Written(
        phone=key.phone,
        id=key.id,
        message=record if isinstance(record, Message) else None,
        lookup=record if isinstance(record, HlrLookup) else None,
        observed_at=known.observed_at,
        fresh_until=known.fresh_until,
        certain=known.certain,
        misses=known.misses,
        source=known.source,
        deleted=known.deleted,
    )
    return written.model_dump_json(exclude_defaults=True).encode()


def read(body: bytes) -> tuple[StatusKey, Known]:
    """What was written; raises `ValueError` where it was not."""
    written = _Written.model_validate_json(body)
    known = Known(
        written.message or written.lookup,
        written.observed_at,
        written.fresh_until,
        written.certain,
        written.misses,
        written.source,
        written.deleted,
    )
    return StatusKey(written.phone, written.id), known


def pack(key: StatusKey, known: Known) -> bytes:
    """As little as it can be, for this process alone."""
    squeezer = zlib.compressobj(1, zlib.DEFLATED, _RAW, zdict=_COMMON)
    return squeezer.compress(write(key, known)) + squeezer.flush()


def unpack(packed: bytes) -> tuple[StatusKey, Known]:
    """What was packed."""
    return read(zlib.decompressobj(_RAW, zdict=_COMMON).decompress(packed))


_RAW = -zlib.MAX_WBITS
"""Deflate without a header (RFC 1951): what is packed never leaves the process."""

_COMMON = (
    b'"archived":true,"error":{"code":"ABSENT_SUBSCRIBER","category":"SUBSCRIBER","permanent":false,'
    b'"provider_code":6,"description":"The subscriber"},"imsi":"250","msc":"79","home_network":{'
    b'"roaming":{"status":"NOT_ROAMING","network":"reachability":"REACHABLE","reachable":true,'
    b'{"phone":"7","id":1,"lookup":{"message":{"id":"1","phone":"7","type":"SMS","provider_status":{'
    b'"code":20,"name":"Impossible to deliver","code":0,"name":"Handed over to the operator",'
    b'"text":""code":1,"name":"Delivered","text":"},"is_final":false,"is_final":true,"last_status_time":"20'
    b':00:00Z","sent_at":"20:00:00Z","sender":"","text":"","cost":{"amount":"0.00","currency":"RUB"},'
    b'"freshness":{"source":"LIVE","observed_at":"20:00:00Z","age_seconds":0,"expires_at":"20:00:00Z",'
    b'"stale":false,"detail":"BASIC"},"detail":"STANDARD"},"detail":"FULL"},"state":"UNDELIVERABLE",'
    b'"state_group":"FAILED","state":"SENT","state_group":"PENDING","state":"DELIVERED",'
    b'"state_group":"DELIVERED","comment":"","parts":1,"template":"SERVICE",'
    b'"paid_from_second_balance":false,"subscriber":{"country":"","operator":"","original_operator":"",'
    b'"region":"","mcc":"250","mnc":"02"},"porting":{"status":"UNKNOWN"},"porting":{"status":'
    b'"NOT_PORTED"},"smpp":{"code":1,"name":"ENROUTE"}},"smpp":{"code":2,"name":"DELIVERED"}},'
    b'"observed_at":1800000000.0,"fresh_until":1800000000.0,"certain":true,"misses":0,"source":"CACHE",'
    b'"deleted":false}'
)
"""What most records have in common, and so need not hold each: the likeliest last."""
