"""The limits, in exact sliding windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Limit
from gateway.model.records import StatusKey
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Full, Lease, Limits

KEYS = [StatusKey(f"7999000000{n}", n + 1) for n in range(6)]
WINDOW = 60.0


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def budget(**limits: int) -> tuple[MemoryBudget, Time]:
    time = Time()
    return MemoryBudget(Limits(**limits), time), time


def take(room: MemoryBudget, *keys: StatusKey, mass: bool = False) -> Lease:
    lease = room.take(keys, mass=mass)
    assert isinstance(lease, Lease)
    return lease


def test_the_sixth_request_for_a_message_waits_until_the_first_is_a_window_old() -> None:
    room, time = budget()
    for _ in range(5):
        take(room, KEYS[0]).end()
        time.now += 1
    assert room.take(KEYS[:1], mass=False) == Full(Limit.PER_MESSAGE, 1060.0)
    time.now = 1059.9
    assert isinstance(room.take(KEYS[:1], mass=False), Full)
    time.now = 1060.0
    take(room, KEYS[0])


def test_a_message_does_not_spend_for_another() -> None:
    room, _ = budget()
    for _ in range(5):
        take(room, KEYS[0]).end()
    take(room, KEYS[1])


def test_a_mass_request_counts_for_each_of_its_messages() -> None:
    room, _ = budget()
    take(room, *KEYS[:2], mass=True).end()
    for _ in range(4):
        take(room, KEYS[0]).end()
    assert isinstance(room.take(KEYS[:1], mass=False), Full)


def test_one_mass_request_a_window() -> None:
    room, time = budget()
    take(room, *KEYS[:2], mass=True).end()
    assert room.take(KEYS[2:4], mass=True) == Full(Limit.MASS, 1060.0)
    time.now += WINDOW
    take(room, *KEYS[2:4], mass=True)


def test_no_mass_request_where_none_is_allowed() -> None:
    room, _ = budget(mass=0)
    assert room.take(KEYS[:2], mass=True) == Full(Limit.MASS, None)


def test_four_at_a_time() -> None:
    room, _ = budget()
    leases = [take(room, key) for key in KEYS[:4]]
    assert room.take(KEYS[4:5], mass=False) == Full(Limit.CONCURRENCY, None)
    leases[0].end()
    take(room, KEYS[4])


def test_a_request_that_lingers_keeps_its_place_and_counts_from_its_later_end() -> None:
    room, time = budget(concurrency=1, per_message=1)
    take(room, KEYS[0]).end(linger=10)
    assert room.take(KEYS[1:2], mass=False) == Full(Limit.CONCURRENCY, 1010.0)
    time.now = 1010.0
    take(room, KEYS[1]).end()
    assert room.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, 1070.0)


def test_a_request_that_never_arrived_spent_nothing() -> None:
    room, _ = budget(per_message=1)
    take(room, *KEYS[:2], mass=True).refund()
    take(room, *KEYS[:2], mass=True)


def test_a_refusal_that_was_not_foreseen_fills_the_window() -> None:
    room, time = budget()
    take(room, KEYS[0]).end()
    assert room.refused(KEYS[:1], mass=False) == Full(Limit.PER_MESSAGE, 1060.0)
    assert room.message_full(KEYS[0]) == Full(Limit.PER_MESSAGE, 1060.0)
    assert room.refused(KEYS[:2], mass=True) == Full(Limit.MASS, 1060.0)
    assert room.mass_full() == Full(Limit.MASS, 1060.0)
    time.now += WINDOW
    assert room.message_full(KEYS[0]) is None


def test_messages_refused_at_once_mean_that_somebody_else_holds_places() -> None:
    room, time = budget()
    per_message = Full(Limit.PER_MESSAGE, 1060.0)
    assert [room.refused([key], mass=False) for key in (KEYS[0], KEYS[0])] == [per_message] * 2
    time.now = 1000.5
    for key in KEYS[1:6]:
        assert room.refused([key], mass=False) == Full(Limit.CONCURRENCY, 1010.5)
        assert room.message_full(key) is None
    assert room.places() == 1  # one is left to try with
    time.now = 1010.5
    assert room.places() == 4
    assert room.refused([KEYS[1]], mass=False).limit is Limit.PER_MESSAGE


def test_a_take_that_fails_takes_nothing() -> None:
    room, _ = budget(per_message=1)
    take(room, KEYS[0]).end()
    assert isinstance(room.take(KEYS[:2], mass=True), Full)
    assert room.places() == 4
    take(room, *KEYS[1:3], mass=True)


def test_messages_of_long_ago_are_forgotten() -> None:
    room, time = budget()
    for number in range(1000):
        take(room, StatusKey("70000", number + 1)).end()
        time.now += 1
    assert len(room._messages) <= WINDOW + 1  # noqa: SLF001 - memory shows nowhere else


events = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sets(st.integers(0, 5), min_size=1, max_size=6)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("time out"), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.floats(0, 40)),
    ),
    max_size=200,
)


@given(events, st.randoms(use_true_random=False))
@pytest.mark.parametrize("limits", [Limits(), Limits(2, 3, 2, WINDOW), Limits(1, 1, 1, WINDOW)])
def test_no_sliding_window_ever_holds_more_than_the_limits(
    limits: Limits, events: list[tuple[str, object]], random: object
) -> None:
    """A request arrives at some moment between being sent and its end; here at any of them."""
    time = Time()
    room = MemoryBudget(limits, time)
    open_: list[tuple[float, Lease]] = []
    arrivals: list[tuple[float, Lease]] = []
    for event, value in events:
        if event == "pass" and isinstance(value, float):
            time.now += value
        elif event == "ask" and isinstance(value, set):
            keys = [KEYS[n] for n in sorted(value)]
            lease = room.take(keys, mass=len(keys) > 1)
            if isinstance(lease, Lease):
                open_.append((time.now, lease))
                assert len(open_) <= limits.concurrency
        elif open_ and isinstance(value, int):
            sent, lease = open_.pop(value % len(open_))
            linger = 10.0 if event == "time out" else 0.0
            lease.end(linger=linger)
            arrivals.append((random.uniform(sent, time.now + linger), lease))  # type: ignore[attr-defined] # a Random
    for at, _ in arrivals:
        within = [lease for other, lease in arrivals if at <= other < at + WINDOW]
        assert sum(lease.mass for lease in within) <= limits.mass
        for key in KEYS:
            assert sum(key in lease.keys for lease in within) <= limits.per_message


def test_a_preview_goes_on_by_itself() -> None:
    room, time = budget(per_message=2)
    take(room, KEYS[0]).end()
    take(room, KEYS[0], KEYS[1], mass=True)
    ahead = Time()
    preview = room.preview(KEYS, ahead, 2.0)
    assert (preview.places(), preview.message_left(KEYS[0]), preview.mass_left()) == (3, 0, 0)
    ahead.now = time.now + 2
    assert preview.places() == 4
    ahead.now = time.now + 61
    assert (preview.message_left(KEYS[0]), preview.message_left(KEYS[1])) == (1, 1)
    ahead.now = time.now + 62
    take(preview, KEYS[0], KEYS[1], mass=True)
    assert (room.places(), room.message_left(KEYS[1])) == (3, 1)
