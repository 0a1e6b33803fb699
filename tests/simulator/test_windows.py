"""The limits to the moment, against the rule written down the slow way, and what they keep."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import Limits

A, B = ("70001", 1), ("70002", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(limits: Limits, *pairs: tuple[str, int], mass: bool = False) -> str | None:
    """A request that is over at once."""
    refused = limits.admit("demo", pairs, mass=mass)
    limits.leave("demo")
    return refused


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_room_comes_back_as_each_request_leaves_its_minute(clock: Clock) -> None:
    limits = Limits(clock)
    for moment in range(5):
        clock.now = float(moment)
        assert ask(limits, A) is None
    clock.now = 59.999
    assert ask(limits, A) == "PER_MESSAGE"
    clock.now = 60.0
    assert [ask(limits, A), ask(limits, A)] == [None, "PER_MESSAGE"]
    clock.now = 61.0
    assert ask(limits, A) is None


def test_the_same_message_twice_in_a_mass_request_counts_once(clock: Clock) -> None:
    limits = Limits(clock)
    assert ask(limits, A, B, B, mass=True) is None
    assert [ask(limits, B) for _ in range(5)] == [None] * 4 + ["PER_MESSAGE"]


def test_one_message_asked_too_often_refuses_a_whole_mass_request(clock: Clock) -> None:
    limits = Limits(clock)
    for _ in range(5):
        ask(limits, A)
    assert ask(limits, A, B, mass=True) == "PER_MESSAGE"
    assert ask(limits, B, mass=True) is None


def test_a_refused_request_counts_while_it_runs(clock: Clock) -> None:
    limits = Limits(clock, concurrency=1)
    assert limits.admit("demo", [A], mass=False) is None
    assert limits.admit("demo", [A], mass=False) == "CONCURRENCY"
    limits.leave("demo")
    assert limits.admit("demo", [A], mass=False) == "CONCURRENCY"
    limits.leave("demo")
    limits.leave("demo")
    assert limits.admit("demo", [A], mass=False) is None


def test_reset_forgets_the_windows_but_not_what_is_under_way(clock: Clock) -> None:
    limits = Limits(clock, concurrency=1)
    limits.admit("demo", [A], mass=True)
    limits.reset()
    assert (limits.admitted, limits.refused, limits.highest_concurrency) == (0, {}, 0)
    assert ask(limits, A) == "CONCURRENCY"
    limits.leave("demo")
    assert ask(limits, A, mass=True) is None


def test_a_limit_of_none_admits_none(clock: Clock) -> None:
    limits = Limits(clock, mass=0)
    assert ask(limits, A, mass=True) == "MASS"
    assert ask(limits, A) is None


@pytest.mark.parametrize("count_refused", [False, True])
def test_memory_is_bounded_by_what_came_lately(clock: Clock, count_refused: bool) -> None:
    limits = Limits(clock, count_refused=count_refused)
    highest = 0
    for number in range(20_000):
        clock.now = number / 10
        ask(limits, (str(number), 1), mass=bool(number % 2))
        highest = max(highest, limits.windows)
    assert highest <= 2 * 1024


def test_refused_requests_leave_nothing_behind(clock: Clock) -> None:
    limits = Limits(clock)
    ask(limits, A, mass=True)
    for number in range(5000):
        assert ask(limits, (str(number), 2), mass=True) == "MASS"
    assert limits.windows == 2


requests = st.tuples(
    st.integers(0, 400).map(lambda tenths: tenths / 10),
    st.lists(st.sampled_from([A, B, ("70001", 2)]), min_size=1, max_size=3),
    st.booleans(),
)


@given(arrivals=st.lists(requests, max_size=60), count_refused=st.booleans())
def test_no_minute_ever_has_more_and_nothing_is_refused_without_reason(
    count_refused: bool, arrivals: Sequence[tuple[float, list[tuple[str, int]], bool]]
) -> None:
    clock = Clock()
    limits = Limits(clock, count_refused=count_refused)
    counted: list[tuple[float, set[tuple[str, int]], bool]] = []
    for pause, pairs, mass in arrivals:
        clock.now += pause
        lately = [entry for entry in counted if entry[0] + 60 > clock.now]
        too_often = any(sum(pair in asked for _, asked, _ in lately) >= 5 for pair in pairs)
        too_many = mass and any(was_mass for _, _, was_mass in lately)
        expected = "MASS" if too_many else "PER_MESSAGE" if too_often else None
        assert ask(limits, *pairs, mass=mass) == expected
        if expected is None or count_refused:
            counted.append((clock.now, set(pairs), mass))
