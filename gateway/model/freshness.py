"""The freshness rules (TTL by state and age), and the types `CacheEntry` and `Answer`.

Freshness is not lifetime: records are kept long, and the older one still serves, marked stale,
when no newer one can be had.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zlib import crc32

import msgspec
from msgspec.structs import replace

from gateway.errors import (
    GatewayError,
    LimitReached,
    Overloaded,
    UpstreamAuthFailed,
    UpstreamBlocked,
)
from gateway.model.records import (
    DetailLevel,
    Freshness,
    FreshnessSource,
    HlrLookup,
    LookupState,
    Message,
    MessageState,
    MessageType,
    Record,
    StaleReason,
    StatusKey,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """How long an answer is fresh: a share of the message's age, within bounds; in seconds.

    `stale_for`: so long after that it still answers at once, while it is renewed (RFC 5861).
    """

    shortest: float
    longest: float
    share: float = 0.0
    stale_for: float = 0.0

    def fresh_for(self, age: float) -> float:
        return min(max(age * self.share, self.shortest), self.longest)


MINUTE, HOUR = 60.0, 3600.0

RULES = {
    "live": Rule(12, 10 * MINUTE, share=1 / 20),
    "watched": Rule(15, 10 * MINUTE, share=1 / 60),
    "unknown": Rule(10 * MINUTE, 10 * MINUTE),
    "readable": Rule(10 * MINUTE, 10 * MINUTE, stale_for=24 * HOUR),
    "delivered": Rule(2 * HOUR, 2 * HOUR, stale_for=24 * HOUR),
    "final": Rule(24 * HOUR, 24 * HOUR, stale_for=7 * 24 * HOUR),
}
"""By what is known of the message.

- live: five requests a minute for one message make 12 s the most that can be kept up. Most
  deliveries take seconds; what has waited an hour may as well be seen three minutes later.
- watched: somebody is to be told at once; one request of the five is left to callers.
- readable: delivered, of a type that tells when it is read.
- delivered: a link in it may still be clicked.
- final: nothing more is going to happen.
"""

READABLE = frozenset({MessageType.MMS, MessageType.EMAIL, MessageType.VIBER, MessageType.SOCIAL})
"""Types of messages that can become READ."""

JITTER = 0.1
"""Each message's answers are fresh for up to this share longer, so that what was learned together
is not asked for again together."""

MISSING_SHORTEST = 10.0
"""Seconds: the provider may answer "not found" right after a message was sent."""
MISSING_LONGEST = 900.0
"""Seconds: what was not found several times is not going to be."""


class CacheEntry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the gateway knows of one key. `record` None: the provider does not know it (-3).

    `certain`: an answer showed the record's kind. `observed_at` and `fresh_until` are in seconds
    since 1970. `misses` counts the answers "not found" in a row. `source`: reported to callers who
    did not cause the request. `deleted`: at our request. `detail`: up to this level all fields of
    the record are known for its state; `content`: texts and comments too, which the archive may not
    have kept.
    """

    record: Message | HlrLookup | None
    observed_at: float
    fresh_until: float
    certain: bool = True
    misses: int = 0
    source: FreshnessSource = FreshnessSource.CACHE
    deleted: bool = False
    detail: DetailLevel = DetailLevel.FULL
    content: bool = True

    def covers(self, detail: DetailLevel, *, content: bool) -> bool:
        """Is the record known up to this level, and with its content if that is wanted there?"""
        has_content = self.content or not content or detail is DetailLevel.BASIC
        return has_content and self.detail.covers(detail)

    @property
    def observed(self) -> datetime:
        return _moment(self.observed_at)

    @property
    def expires(self) -> datetime:
        return _moment(self.fresh_until)


def rule_for(record: Record) -> Rule:
    """The rule for what is known now."""
    if isinstance(record, Message) and record.archived:
        return RULES["final"]
    if record.is_final:
        if record.state not in {MessageState.DELIVERED, MessageState.READ}:
            return RULES["final"]
        return RULES["readable" if record.type in READABLE else "delivered"]
    if record.state in {MessageState.UNKNOWN, LookupState.UNKNOWN}:
        return RULES["unknown"]
    return RULES["live"]


def fresh_for(record: Record, now: float) -> float:
    """Seconds for which an answer seen at `now` is fresh."""
    seconds = rule_for(record).fresh_for(_age(record, now))
    return seconds * (1 + JITTER * _jitter(record))


def watch_for(record: Record, now: float) -> float:
    """Seconds until a watched record, seen at `now`, is to be seen again."""
    rule = RULES["watched"] if rule_for(record) is RULES["live"] else rule_for(record)
    return rule.fresh_for(_age(record, now))


def serves_stale(entry: CacheEntry, now: float) -> bool:
    """May it answer at once although it is no longer fresh, and be renewed meanwhile?"""
    return entry.record is not None and now < entry.fresh_until + rule_for(entry.record).stale_for


def spent(entry: CacheEntry, now: float) -> CacheEntry:
    """The entry as old as one that answers nobody before the provider was asked."""
    stale_for = 0.0 if entry.record is None else rule_for(entry.record).stale_for
    return replace(entry, fresh_until=min(entry.fresh_until, now - stale_for))


def _age(record: Record, now: float) -> float:
    began = record.sent_at or record.last_status_time
    return now - began.timestamp() if began else 0.0


def _jitter(record: Record) -> float:
    """From 0 to 1, always the same for a message."""
    return crc32(f"{record.id} {record.phone}".encode()) / 2**32


def missing_for(misses: int) -> float:
    """Seconds for which "not found" is fresh, after so many of them in a row."""
    return float(min(MISSING_SHORTEST * 2 ** min(misses - 1, 16), MISSING_LONGEST))


class Forwarded(StrEnum):
    """Why the provider was to be asked: RFC 9211, section 2.2."""

    MISS = "miss"
    STALE = "stale"
    REQUEST = "request"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What one caller gets: what is known, and how fresh that is for this caller.

    `now` and `next_at` are in seconds since 1970; `next_at` tells when the gateway will or can ask
    again, None: never, for the state is final. `forwarded`: why it was to be asked for this call,
    None: it was not. `live`: it was, and answered. `stale`: a newer one was wanted; `stale_reason`
    tells what stood in the way, None: it is under way.
    """

    entry: CacheEntry
    now: float
    live: bool = False
    next_at: float | None = None
    stale: bool = False
    stale_reason: StaleReason | None = None
    forwarded: Forwarded | None = None

    def named(self, key: StatusKey) -> "Answer":
        """The same answer, its record's phone spelled as it was asked for."""
        record = self.record
        if record.phone == key.phone:
            return self
        respelled = replace(record, phone=key.phone)
        return replace(self, entry=replace(self.entry, record=respelled))

    @property
    def record(self) -> Record:
        """The entry's record; there always is one."""
        assert self.entry.record is not None  # noqa: S101 - else there is no answer to give
        return self.entry.record

    @property
    def is_settled(self) -> bool:
        """Is it the same for whoever asks within its second, if nothing is learned?"""
        return self.next_at is None and not (self.live or self.stale)

    @property
    def until(self) -> float:
        """When its age or remaining freshness, in whole seconds, next changes."""
        ttl = math.floor(self.entry.fresh_until - self.now)
        return min(self.entry.observed_at + self.age_seconds + 1, self.entry.fresh_until - ttl)

    @property
    def source(self) -> FreshnessSource:
        is_asked = self.live and self.entry.source is not FreshnessSource.CALLBACK
        return FreshnessSource.LIVE if is_asked else self.entry.source

    @property
    def age_seconds(self) -> int:
        return max(0, int(self.now - self.entry.observed_at))

    @property
    def next_refresh_at(self) -> datetime | None:
        return None if self.next_at is None else _moment(math.ceil(self.next_at))

    @property
    def freshness(self) -> Freshness:
        """How the record is known, and how old it is, for this caller."""
        return Freshness(
            source=self.source,
            observed_at=self.entry.observed,
            age_seconds=self.age_seconds,
            expires_at=self.entry.expires,
            stale=self.stale,
            stale_reason=self.stale_reason,
            next_refresh_at=self.next_refresh_at,
            detail=self.entry.detail,
        )


def stale_reason(error: GatewayError) -> StaleReason:
    """How callers are told of what keeps a newer record away."""
    if isinstance(error, LimitReached | Overloaded):
        return StaleReason.RATE_LIMITED
    if isinstance(error, UpstreamBlocked | UpstreamAuthFailed):
        return StaleReason.UPSTREAM_BLOCKED
    return StaleReason.UPSTREAM_UNAVAILABLE


def _moment(seconds: float) -> datetime:
    """Whole seconds: the provider's own times have no finer ones."""
    return datetime.fromtimestamp(int(seconds), UTC)
