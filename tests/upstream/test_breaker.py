"""When the provider is not asked, and how it is tried again."""

import pytest

from gateway.errors import (
    GatewayError,
    InvalidArgument,
    Limit,
    RateLimited,
    TransportFailed,
    UpstreamAuthFailed,
    UpstreamBadAnswer,
    UpstreamBlocked,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstream.breaker import PAUSES, Breaker, BreakerState


def fail(breaker: Breaker, error: GatewayError | None, at: float) -> None:
    breaker.end(breaker.begin(at), error, at)


def probes(breaker: Breaker, error: GatewayError, count: int) -> list[float]:
    """The pauses between failing probes."""
    now, pauses = 0.0, []
    for _ in range(count):
        fail(breaker, error, now)
        assert breaker.probe_at is not None
        pauses.append(breaker.probe_at - now)
        now = breaker.probe_at
    return pauses


@pytest.mark.parametrize("error", [UpstreamBlocked(provider_code=4), UpstreamAuthFailed()])
def test_one_refusal_of_ours_stops_everything_and_the_pauses_grow(error: GatewayError) -> None:
    pauses = probes(Breaker(), error, 12)
    known = PAUSES[type(error)]
    assert pauses[:3] == [known.first, known.first * 2, known.first * 4]
    assert pauses[-1] == known.longest  # never for good


@pytest.mark.parametrize("error", [UpstreamUnreachable(), UpstreamTimeout(), UpstreamBadAnswer()])
def test_no_answer_trips_when_it_happens_several_times_in_a_row(error: GatewayError) -> None:
    breaker = Breaker()
    for at in range(PAUSES[TransportFailed].after - 1):
        fail(breaker, error, at)
        assert breaker.state(at) is BreakerState.CLOSED
    fail(breaker, error, 10)
    assert (breaker.state(10), breaker.reason) == (BreakerState.OPEN, error)
    assert breaker.probe_at == 11


@pytest.mark.parametrize(
    "answer", [None, UpstreamError(), InvalidArgument(), RateLimited(limit=Limit.UNKNOWN)]
)
def test_any_answer_shows_that_the_provider_is_there(answer: GatewayError | None) -> None:
    breaker = Breaker()
    for at in range(20):
        fail(breaker, UpstreamUnreachable() if at % 4 else answer, at)
    assert breaker.state(20) is BreakerState.CLOSED


def test_while_it_is_open_the_reason_is_told_with_the_time_of_the_probe() -> None:
    breaker = Breaker()
    fail(breaker, UpstreamBlocked("detail", provider_code=4), 100)
    refusal = breaker.refusal(102)
    assert isinstance(refusal, UpstreamBlocked)
    assert (refusal.detail, refusal.provider_code, refusal.retry_after) == ("detail", 4, 3)
    assert breaker.reason is not refusal  # each caller's own


def test_one_probe_goes_alone_and_opens_the_way() -> None:
    breaker = Breaker()
    fail(breaker, UpstreamBlocked(), 100)
    assert breaker.refusal(104.9) is not None
    assert breaker.refusal(105) is None
    assert breaker.state(105) is BreakerState.HALF_OPEN
    began = breaker.begin(105)
    other = breaker.refusal(105)
    assert other is not None
    assert other.retry_after == 1
    breaker.end(began, None, 106)
    assert (breaker.refusal(106), breaker.state(106)) == (None, BreakerState.CLOSED)
    fail(breaker, UpstreamBlocked(), 107)
    assert breaker.probe_at == 112  # the pauses begin anew


def test_what_was_sent_before_it_opened_says_nothing() -> None:
    breaker = Breaker()
    early = [breaker.begin(99), breaker.begin(99.5), breaker.begin(99.7)]
    breaker.end(early[0], UpstreamBlocked(), 100)
    breaker.end(early[1], None, 101)
    breaker.end(early[2], UpstreamBlocked(), 101)
    assert (breaker.state(101), breaker.probe_at) == (BreakerState.OPEN, 105)


def test_another_reason_has_its_own_pauses() -> None:
    breaker = Breaker()
    assert probes(breaker, UpstreamBlocked(), 3)[-1] == 20
    assert breaker.probe_at == 35
    fail(breaker, UpstreamAuthFailed(), 35)
    assert breaker.probe_at == 45
    fail(breaker, UpstreamTimeout(), 45)
    assert breaker.probe_at == 46
    fail(breaker, UpstreamUnreachable(), 46)
    assert breaker.probe_at == 48  # no answer is no answer, however it fails
