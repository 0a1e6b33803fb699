"""The provider's refusals."""

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
