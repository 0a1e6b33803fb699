"""The provider's refusals."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import Limits

A, B = ("70001", 1), ("70002", 2)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(
    limits: Limits, *pairs: tuple[str, int], mass: bool = False, login: str = "x"
) -> str | None:
    refused = limits.admit(login, pairs, mass=mass)
    limits.leave(login)
    return refused


def test_more_than_five_for_one_message() -> None:
    time = Time()
    limits = Limits(time)
    assert [ask(limits, A) for _ in range(6)] == [None] * 5 + ["PER_MESSAGE"]
    assert ask(limits, B) is None
    time.now = 60.0
    assert ask(limits, A) is None


def test_more_than_one_mass_request() -> None:
    time = Time()
    limits = Limits(time)
    assert ask(limits, A, B, mass=True) is None
    assert ask(limits, A, mass=True) == "MASS"
    assert ask(limits, A, B, mass=True, login="y") is None
    time.now = 60.0
    assert ask(limits, A, mass=True) is None


def test_a_mass_request_counts_for_each_of_its_messages() -> None:
    limits = Limits(Time())
    assert ask(limits, A, B, mass=True) is None
    assert [ask(limits, A) for _ in range(5)] == [None] * 4 + ["PER_MESSAGE"]


def test_five_at_the_same_time() -> None:
    limits = Limits(Time())
    admitted = [limits.admit("x", [(str(n), n)], mass=False) for n in range(5)]
    assert admitted == [None] * 4 + ["CONCURRENCY"]
    limits.leave("x")
    limits.leave("x")
    assert limits.admit("x", [B], mass=False) is None
    assert limits.highest_concurrency == 5


def test_refused_requests_count_only_if_asked_to() -> None:
    for count_refused, later in ((False, None), (True, "PER_MESSAGE")):
        time = Time()
        limits = Limits(time, count_refused=count_refused)
        for _ in range(5):
            ask(limits, A)
        time.now = 59.0
        for _ in range(5):
            ask(limits, A)
        time.now = 60.0
        assert ask(limits, A) == later


def test_a_reset_forgets() -> None:
    limits = Limits(Time())
    for _ in range(6):
        ask(limits, A)
    limits.reset()
    assert ask(limits, A) is None
    assert (limits.admitted, limits.refused.total()) == (1, 0)


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from([A, B])), max_size=80))
def test_no_sliding_minute_admits_more_than_five(
    asked: list[tuple[float, tuple[str, int]]],
) -> None:
    time = Time()
    limits = Limits(time)
    admitted: list[tuple[float, tuple[str, int]]] = []
    for wait, pair in asked:
        time.now += wait
        recent = [p for at, p in admitted if at > time.now - 60 and p == pair]
        refused = ask(limits, pair)
        assert (refused is None) == (len(recent) < 5)
        if refused is None:
            admitted.append((time.now, pair))


def test_windows_that_ran_empty_are_dropped() -> None:
    time = Time()
    limits = Limits(time)
    for number in range(5000):
        ask(limits, ("70001", number))
        time.now += 1
    assert limits.windows < 2000
