"""Cache entries as the archive keeps them: JSON, deflated with words that most of them share.

A record is some 700 bytes of JSON, of which nearly all are names of fields and of states. Deflated
with those as a preset dictionary (RFC 1950, section 2.2) it is 150, and stays readable by whatever
has the dictionary: so a dictionary is never changed, only followed by another one.
"""

import zlib
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway.model.freshness import CacheEntry
from gateway.model.records import Message

_FIRST: Final = (
    b'"Money""comment":"","durationSeconds":"imsi":"25","msc":"homeNetwork":{"name":"roaming":'
    b'{"status":"NOT_ROAMING"},"reachable":true,"reachability":"REACHABLE","state":"COMPLETED",'
    b'"kind":"HlrLookup","type":"HLR","error":{"code":"ABSENT_SUBSCRIBER","category":"SUBSCRIBER",'
    b'"permanent":false,"providerCode":6,"description":"The subscriber is not in the network"},'
    b'"state":"UNDELIVERABLE","stateGroup":"FAILED","code":20,"name":"Impossible to deliver",'
    b'"text":"\xd0\x9d\xd0\xb5\xd0\xb2\xd0\xbe\xd0\xb7\xd0\xbc\xd0\xbe\xd0\xb6\xd0\xbd\xd0\xbe '
    b'\xd0\xb4\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2\xd0\xb8\xd1\x82\xd1\x8c","smpp":{"code":5,'
    b'"name":"UNDELIVERABLE"}"isFinal":false,"code":0,"name":"Handed over to the operator","text":'
    b'"\xd0\x9f\xd0\xb5\xd1\x80\xd0\xb5\xd0\xb4\xd0\xb0\xd0\xbd\xd0\xbe '
    b'\xd0\xbe\xd0\xbf\xd0\xb5\xd1\x80\xd0\xb0\xd1\x82\xd0\xbe\xd1\x80\xd1\x83","state":"SENT",'
    b'"stateGroup":"PENDING","smpp":{"code":1,"name":"ENROUTE"},"detail":"BASIC","certain":false,'
    b'"source":"CALLBACK","archived":true,"misses":1'
    b'{"record":{"kind":"Message","id":"1","phone":"7999","type":"SMS","providerStatus":{"code":1,'
    b'"name":"Delivered","text":"\xd0\x94\xd0\xbe\xd1\x81\xd1\x82\xd0\xb0\xd0\xb2\xd0\xbb\xd0\xb5'
    b'\xd0\xbd\xd0\xbe"},"isFinal":true,"lastStatusTime":"202","sentAt":"2026-","sender":"",'
    b'"cost":{"amount":"3.20","currency":"RUB"},"isTemplate":false,"paidFromSecondBalance":false,'
    b'"changedAt":"2026-","state":"DELIVERED","stateGroup":"DELIVERED","parts":1,"subscriber":{'
    b'"country":"\xd0\xa0\xd0\xbe\xd1\x81\xd1\x81\xd0\xb8\xd1\x8f","operator":"",'
    b'"originalOperator":"","region":"\xd0\xb3. \xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0",'
    b'"mcc":"250","mnc":"01"},"porting":{"status":"NOT_PORTED"},"smpp":{"code":2,"name":'
    b'"DELIVERED"}},"observed_at":17,"fresh_until":17,"content":false'
)
_DICTIONARIES: Final = {1: _FIRST}
_NEWEST: Final = max(_DICTIONARIES)

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(CacheEntry)


def pack(entry: CacheEntry, *, content: bool) -> bytes:
    """The entry in bytes, the first of which names the dictionary; without `content` no texts."""
    text = _ENCODER.encode(entry if content else without_content(entry))
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_DICTIONARIES[_NEWEST])
    return bytes([_NEWEST]) + deflater.compress(text) + deflater.flush()


def unpack(packed: bytes) -> CacheEntry:
    """What was packed; `ValueError` where it was not, or by a newer release."""
    dictionary = _DICTIONARIES.get(packed[0]) if packed else None
    if dictionary is None:
        raise ValueError("This was not packed by this release.")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=dictionary)
    try:
        return _DECODER.decode(inflater.decompress(packed[1:]) + inflater.flush())
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(str(error)) from None


def without_content(entry: CacheEntry) -> CacheEntry:
    """The entry without what was written to the subscriber, and without the sender's note."""
    record = entry.record
    if record is None:
        return entry
    bare = replace(record, text=None)
    if isinstance(bare, Message):
        bare = replace(bare, comment=None)
    return replace(entry, record=bare, content=False)
