"""How long a record counts as fresh, by its state and age; and how freshness is told to a caller.

Freshness is not lifetime: records are kept long, and the older one still serves, marked stale,
when no newer one can be had.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import (
    GatewayError,
    LimitReached,
    Overloaded,
    UpstreamAuthFailed,
    UpstreamBlocked,
)
from gateway.records import (
    DetailLevel,
    Freshness,
    FreshnessSource,
    LookupState,
    Message,
    MessageState,
    Record,
    StaleReason,
)

LIVE_SHORTEST = 12.0
"""Seconds: the provider allows five requests a minute for one message, so every 12 s is the most
that can be kept up."""
LIVE_LONGEST = 600.0
"""Seconds: a message that has been on its way for hours seldom moves."""
LIVE_SHARE = 1 / 20
"""A message on its way is fresh for this share of its age: most deliveries take seconds, and what
has waited an hour may as well be seen three minutes later."""

DELIVERED_FRESH = 2 * 3600.0
"""Seconds: a delivered message may still be read or clicked."""
FINAL_FRESH = 24 * 3600.0
"""Seconds: nothing more is going to happen."""

MISSING_SHORTEST = 10.0
"""Seconds: the provider may answer "not found" right after a message was sent."""
MISSING_LONGEST = 900.0
"""Seconds: what was not found several times is not going to be."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the gateway knows of one key. `record` None: the provider does not know it (-3).

    `certain`: an answer showed the record's kind. `observed_at` and `fresh_until` are in seconds
    since 1970. `misses` counts the answers "not found" in a row.
    """

    record: Record | None
    observed_at: float
    fresh_until: float
    certain: bool = True
    misses: int = 0


def fresh_for(record: Record, now: float) -> float:
    """Seconds for which an answer seen at `now` is fresh."""
    if isinstance(record, Message) and record.archived:
        return FINAL_FRESH
    if record.is_final:
        may_change = record.state in {MessageState.DELIVERED, MessageState.READ}
        return DELIVERED_FRESH if may_change else FINAL_FRESH
    if record.state in {MessageState.UNKNOWN, LookupState.UNKNOWN}:
        return LIVE_LONGEST
    began = record.sent_at or record.last_status_time
    age = now - began.timestamp() if began else 0.0
    return min(max(age * LIVE_SHARE, LIVE_SHORTEST), LIVE_LONGEST)


def missing_for(misses: int) -> float:
    """Seconds for which "not found" is fresh, after so many of them in a row."""
    return float(min(MISSING_SHORTEST * 2 ** min(misses - 1, 16), MISSING_LONGEST))


def at_observation(observed_at: float, detail: DetailLevel) -> Freshness:
    """The freshness an answer has before it is kept."""
    moment = _moment(observed_at)
    return Freshness(
        source=FreshnessSource.LIVE,
        observed_at=moment,
        age_seconds=0,
        expires_at=moment,
        stale=False,
        detail=detail,
    )


def present(known: Known, record: Record, now: float, *, live: bool) -> Record:
    """The record as a caller gets it at `now`; `live`: it was asked for this call."""
    freshness = record.freshness.model_copy(
        update={
            "source": FreshnessSource.LIVE if live else FreshnessSource.CACHE,
            "observed_at": _moment(known.observed_at),
            "age_seconds": max(0, int(now - known.observed_at)),
            "expires_at": _moment(known.fresh_until),
            "next_refresh_at": None if record.is_final else _moment(known.fresh_until),
        }
    )
    return record.model_copy(update={"freshness": freshness})


def present_stale(known: Known, record: Record, now: float, because: GatewayError) -> Record:
    """The record when a newer one was wanted and `because` stood in the way."""
    shown = present(known, record, now, live=False)
    again = None if because.retry_after is None else _moment(now + because.retry_after)
    update = {"stale": True, "stale_reason": _reason(because), "next_refresh_at": again}
    return shown.model_copy(update={"freshness": shown.freshness.model_copy(update=update)})


def _reason(error: GatewayError) -> StaleReason:
    if isinstance(error, LimitReached | Overloaded):
        return StaleReason.RATE_LIMITED
    if isinstance(error, UpstreamBlocked | UpstreamAuthFailed):
        return StaleReason.UPSTREAM_BLOCKED
    return StaleReason.UPSTREAM_UNAVAILABLE


def _moment(seconds: float) -> datetime:
    """Whole seconds: the provider's own times have no finer ones."""
    return datetime.fromtimestamp(int(seconds), UTC)
