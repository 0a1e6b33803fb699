"""Quotas hold in every minute, waits are exact, and who guesses is slowed without being fed."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.model import ALL_SCOPES, Allowance, Caller
from gateway.callers.quota import (
    FEW_CALLERS,
    FREE_TRIES,
    LONGEST_PAUSE,
    MAX_ADDRESSES,
    WINDOW,
    Quota,
    Throttle,
)
from gateway.errors import QuotaExceeded
from tests.support.callers import ANONYMOUS
from tests.support.clock import START


def caller(per_minute: int | None = None, *, streams: int | None = None, name: str = "a") -> Caller:
    return Caller(name, ALL_SCOPES, quota=Allowance(per_minute, streams))


def refusal(quota: Quota, who: Caller, now: float, cost: int = 1) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as caught:
        quota.take(who, now, cost)
    return caught.value


GAPS = st.floats(0, 40) | st.sampled_from([0.0, 20.0, 30.0, WINDOW])


@given(st.integers(1, 5), st.lists(st.tuples(GAPS, st.integers(1, 3)), max_size=40))
def test_no_minute_has_more_than_the_quota(limit: int, steps: list[tuple[float, int]]) -> None:
    quota, who, now = Quota(), caller(limit), START
    admitted: list[float] = []
    for gap, cost in steps:
        now += gap
        within = sum(1 for moment in admitted if moment + WINDOW > now)
        if within + cost <= limit:
            quota.take(who, now, cost)
            admitted += [now] * cost
            continue
        refused = refusal(quota, who, now, cost)
        assert refused.retryable is (cost <= limit)
        if cost > limit:
            assert refused.retry_after is None
            continue
        wait = refused.retry_after
        assert wait is not None
        refusal(deepcopy(quota), who, now + wait - 1e-4, cost)
        deepcopy(quota).take(who, now + wait, cost)


def test_a_refusal_says_how_much_is_allowed_and_costs_nothing() -> None:
    quota, who = Quota(), caller(2)
    quota.take(who, 0)
    quota.take(who, 10)
    for second in range(11, 60):
        refused = refusal(quota, who, second)
        assert refused.retry_after == pytest.approx(60 - second, abs=1e-5)
    assert refused.detail == "The caller may ask 2 times a minute."
    quota.take(who, 60)


def test_callers_have_quotas_of_their_own() -> None:
    quota = Quota()
    quota.take(caller(1, name="a"), 0)
    quota.take(caller(1, name="b"), 0)
    assert refusal(quota, caller(1, name="b"), 0).retry_after == pytest.approx(WINDOW, abs=1e-5)


def test_without_a_quota_nothing_is_counted() -> None:
    quota = Quota()
    for _ in range(1000):
        quota.take(ANONYMOUS, 0)
    assert len(quota) == 0
    quota.take(caller(1, name=""), 0)
    assert len(quota) == 1


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4)])
def test_another_quota_counts_what_was_taken(before: int, after: int) -> None:
    quota = Quota()
    for second in range(before):
        quota.take(caller(before), second)
    for _ in range(after - before):
        quota.take(caller(after), before)
    refused = refusal(quota, caller(after), 10)
    assert refused.retry_after == pytest.approx(max(0, before - after) + 50, abs=1e-5)


def test_callers_that_rest_are_forgotten() -> None:
    quota = Quota()
    for n in range(3 * FEW_CALLERS):
        quota.take(caller(5, name=str(n)), n)
    assert len(quota) <= FEW_CALLERS


def test_callers_that_do_not_rest_are_all_remembered() -> None:
    quota = Quota()
    for n in range(3 * FEW_CALLERS):
        quota.take(caller(1, name=str(n)), 0)
    for n in range(3 * FEW_CALLERS):
        refusal(quota, caller(1, name=str(n)), 0)


def test_streams_are_held_while_they_are_open() -> None:
    quota, who = Quota(), caller(streams=2)
    with quota.stream(who), quota.stream(caller(streams=2, name="b")):
        with (
            quota.stream(who),
            pytest.raises(QuotaExceeded, match="may have 2 streams"),
            quota.stream(who),
        ):
            pass
        assert quota.open_streams == 2
        with quota.stream(who):
            assert quota.open_streams == 3
    assert quota.open_streams == 0


def test_a_few_wrong_keys_cost_nothing() -> None:
    throttle = Throttle()
    for second in range(FREE_TRIES):
        throttle.wrong("192.0.2.1", second)
    assert throttle.wrong_keys == FREE_TRIES
    throttle.wrong("192.0.2.1", FREE_TRIES)
    with pytest.raises(QuotaExceeded):
        throttle.wrong("192.0.2.1", FREE_TRIES)


def test_pauses_grow_and_end() -> None:
    throttle, now, pauses = Throttle(), START, []
    for _ in range(FREE_TRIES):
        throttle.wrong("192.0.2.1", now)
    for _ in range(12):
        throttle.wrong("192.0.2.1", now)  # the one that is told to be wrong
        with pytest.raises(QuotaExceeded) as caught:
            throttle.wrong("192.0.2.1", now)
        assert caught.value.retry_after is not None
        pauses.append(caught.value.retry_after)
        now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, *[LONGEST_PAUSE] * 3]
    assert throttle.wrong_keys == FREE_TRIES + 24


def test_a_quiet_minute_forgives() -> None:
    throttle = Throttle()
    for now in (0, 59 + 1 + WINDOW):
        for _ in range(FREE_TRIES + 1):
            throttle.wrong("192.0.2.1", now)
        with pytest.raises(QuotaExceeded):
            throttle.wrong("192.0.2.1", now)


def test_a_clock_that_is_set_back_pauses_nobody_for_years() -> None:
    throttle = Throttle()
    for _ in range(FREE_TRIES + 1):
        throttle.wrong("192.0.2.1", START)
    throttle.wrong("192.0.2.1", START - 100 * WINDOW)
    assert (throttle.wrong_keys, len(throttle)) == (FREE_TRIES + 2, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("a:b", "a:c", False),
    ],
)
def test_a_network_of_ipv6_is_one_guesser(one: str, other: str, same: bool) -> None:
    throttle = Throttle()
    throttle.wrong(one, 0)
    throttle.wrong(other, 0)
    assert len(throttle) == (1 if same else 2)


def test_the_addresses_that_came_longest_ago_are_forgotten() -> None:
    throttle = Throttle()
    for _ in range(FREE_TRIES + 1):
        throttle.wrong("guesser", 0)
    for n in range(MAX_ADDRESSES - 1):
        throttle.wrong(f"other {n}", 0)
    with pytest.raises(QuotaExceeded):
        throttle.wrong("guesser", 0)
    throttle.wrong("one more", 0)
    assert len(throttle) == MAX_ADDRESSES
    with pytest.raises(QuotaExceeded):
        throttle.wrong("guesser", 0)
