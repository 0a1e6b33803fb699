"""What is asked next."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Limit
from gateway.model.records import DetailLevel, StatusKey
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Full, Lease, Limits
from gateway.upstream.planner import (
    FOLLOW_TURN,
    KEPT_TOKENS,
    PATIENCE,
    Ask,
    FetchRequest,
    Pace,
    Plan,
    Why,
    fill_up,
    plan,
)

NOW = 1000.0
LATER = NOW + 5
BASIC, STANDARD, FULL = DetailLevel


class Time:
    now = NOW

    def __call__(self) -> float:
        return self.now


def keys(count: int, first: int = 1) -> list[StatusKey]:
    return [StatusKey("79990000001", first + number) for number in range(count)]


def want(key: StatusKey, detail: DetailLevel = BASIC, deadline: float = LATER) -> FetchRequest:
    return FetchRequest(key, detail, deadline=deadline)


def watcher(
    key: StatusKey, due: float = NOW, seen: float = NOW - 15, wanted: int = 1
) -> FetchRequest:
    return FetchRequest(key, BASIC, Why.WATCHER, due=due, seen=seen, wanted=wanted)


def budget(limits: Limits | None = None) -> MemoryBudget:
    return MemoryBudget(limits or Limits(), Time())


def planned(
    wants: Sequence[FetchRequest], room: MemoryBudget, max_ids: int = 100, pace: Pace | None = None
) -> Plan:
    return plan(wants, room, NOW, mass_max_ids=max_ids, pace=pace or Pace())


def mass_spent(room: MemoryBudget) -> None:
    lease = room.take(keys(2, first=9000), mass=True)
    assert isinstance(lease, Lease)
    lease.end()


def spent(room: MemoryBudget, key: StatusKey, times: int = 5) -> None:
    for _ in range(times):
        lease = room.take([key], mass=False)
        assert isinstance(lease, Lease)
        lease.end()


def asked(result: Plan) -> list[int]:
    return [key.id for ask in result.asks for key in ask.keys]


def test_few_go_as_singles_at_the_level_each_needs() -> None:
    wants = [want(key, level) for key, level in zip(keys(3), DetailLevel, strict=True)]
    assert planned(wants, budget()).asks == [Ask((w.key,), w.detail) for w in wants]


def test_more_than_the_places_wait_for_one() -> None:
    result = planned([want(key) for key in keys(6)], budget())
    assert len(result.asks) == 4
    assert (result.refusals, result.wake_at) == ([], LATER)


def test_many_go_as_one_mass_request_and_the_rest_as_singles() -> None:
    wants = [want(key) for key in keys(13)]
    wants[2] = want(wants[2].key, FULL)
    result = planned(wants, budget(), max_ids=10)
    assert result.asks[0] == Ask(tuple(keys(13)[:10]), FULL)
    assert [ask.keys for ask in result.asks[1:]] == [(key,) for key in keys(13)[10:]]


def test_without_a_mass_request_left_many_go_as_singles() -> None:
    room = budget()
    mass_spent(room)
    result = planned([want(key) for key in keys(20)], room)
    assert [ask.mass for ask in result.asks] == [False] * 4


def test_a_mass_request_that_is_there_before_singles_were_through_is_waited_for() -> None:
    room = budget(Limits(window=2))
    mass_spent(room)
    slow = Pace(latency=1)
    result = planned([want(key) for key in keys(12)], room, pace=slow)
    assert (result.asks, result.wake_at) == ([], NOW + 2)


@pytest.mark.parametrize(
    ("count", "latency", "deadline"),
    [
        (12, 0.5, LATER),  # singles are through sooner
        (12, 1.0, NOW + 1.5),  # somebody can't wait so long
        (8, 1.0, LATER),  # few go as singles
        (101, 1.0, LATER),  # more than it can carry
    ],
)
def test_otherwise_it_is_not_waited_for(count: int, latency: float, deadline: float) -> None:
    room = budget(Limits(window=2))
    mass_spent(room)
    wants = [want(key, deadline=deadline) for key in keys(count)]
    assert len(planned(wants, room, pace=Pace(latency)).asks) == 4


def test_a_want_that_goes_alone_is_in_no_mass_request() -> None:
    wants = [want(key) for key in keys(20)]
    wants[0] = FetchRequest(wants[0].key, BASIC, deadline=LATER, alone=True)
    first, *rest = planned(wants, budget()).asks
    assert wants[0].key not in first.keys
    assert Ask((wants[0].key,), BASIC) in rest


def test_a_message_whose_window_opens_too_late_is_refused_at_once_with_the_second() -> None:
    room = budget()
    (key,) = keys(1)
    spent(room, key)
    result = planned([want(key)], room)
    assert result.refusals == [(key, Full(Limit.PER_MESSAGE, NOW + 60))]
    assert (result.asks, result.wake_at) == ([], math.inf)


def test_a_message_whose_window_opens_in_time_waits_for_it() -> None:
    room = budget()
    (key,) = keys(1)
    spent(room, key)
    result = planned([want(key, deadline=NOW + 100)], room)
    assert (result.asks, result.refusals, result.wake_at) == ([], [], NOW + 60)


def test_at_the_deadline_a_want_without_a_place_is_refused() -> None:
    room = budget(Limits(concurrency=1))
    room.take(keys(1), mass=False)
    (key,) = keys(1)
    assert planned([want(key, deadline=NOW)], room).refusals == [
        (key, Full(Limit.CONCURRENCY, None))
    ]
    assert planned([want(key)], room).wake_at == LATER


def test_a_lingering_place_is_waited_for() -> None:
    room = budget(Limits(concurrency=1))
    lease = room.take(keys(1), mass=False)
    assert isinstance(lease, Lease)
    lease.end(linger=3)
    assert planned([want(keys(2)[1])], room).wake_at == NOW + 3


def test_a_caller_of_many_takes_turns_with_the_others() -> None:
    room = budget()
    mass_spent(room)
    dashboard = [
        FetchRequest(key, BASIC, deadline=LATER, caller="dashboard", turn=turn)
        for turn, key in enumerate(keys(100))
    ]
    service = FetchRequest(StatusKey("70001", 7), BASIC, deadline=LATER, caller="service")
    other = FetchRequest(StatusKey("70001", 8), BASIC, deadline=LATER, caller="other")
    assert asked(planned([*dashboard, service, other], room)) == [1, 7, 8, 2]


def test_calls_of_one_caller_take_turns_too() -> None:
    room = budget()
    mass_spent(room)
    batch = [
        FetchRequest(key, BASIC, deadline=LATER, turn=turn) for turn, key in enumerate(keys(100))
    ]
    assert asked(planned([*batch, want(StatusKey("70001", 777))], room)) == [1, 777, 2, 3]


def test_who_was_served_longest_ago_comes_next() -> None:
    room = budget(Limits(concurrency=1, mass=0))
    wants = [
        FetchRequest(key, BASIC, deadline=LATER, caller=caller)
        for key, caller in zip(keys(6), "aaabbc", strict=True)
    ]
    assert asked(planned(wants, room, pace=Pace(served={"a": 3, "b": 2, "c": 1}))) == [6]
    assert asked(planned(wants, room, pace=Pace(served={"a": 3, "b": 4, "c": 5}))) == [1]
    assert asked(planned(wants, room, pace=Pace(served={"a": 3, "c": 5}))) == [4]


def test_the_background_leaves_a_place_free() -> None:
    assert len(planned([watcher(key) for key in keys(8)], budget()).asks) == 3


def test_the_background_has_no_place_that_a_caller_needs() -> None:
    wants = [watcher(key) for key in keys(8)] + [want(key) for key in keys(2, first=50)]
    assert asked(planned(wants, budget())) == [50, 51, 1]


def test_with_one_place_the_background_has_it_when_nobody_waits() -> None:
    room = budget(Limits(concurrency=1))
    assert asked(planned([watcher(key) for key in keys(2)], room)) == [1]
    assert asked(planned([watcher(keys(1)[0]), want(keys(2)[1])], room)) == [2]


def test_the_background_leaves_a_request_of_the_message_to_callers() -> None:
    room = budget()
    (key,) = keys(1)
    spent(room, key, times=4)
    result = planned([watcher(key)], room)
    assert (result.asks, result.wake_at) == ([], NOW + 60)
    assert asked(planned([want(key)], room)) == [1]


def test_what_is_most_wanted_and_oldest_is_renewed_first() -> None:
    wants = [
        watcher(StatusKey("70001", 1), seen=NOW - 20),
        watcher(StatusKey("70001", 2), seen=NOW - 15, wanted=5),
        watcher(StatusKey("70001", 3), seen=NOW - 30),
        watcher(StatusKey("70001", 4), seen=-math.inf),
    ]
    assert asked(planned(wants, budget())) == [4, 2, 3]


def test_the_background_comes_when_it_is_due() -> None:
    result = planned([watcher(keys(1)[0], due=NOW + 3)], budget())
    assert (result.asks, result.wake_at) == ([], NOW + 3)


def test_a_watcher_overdue_for_long_stands_in_line_with_callers() -> None:
    room = budget()
    mass_spent(room)
    late = watcher(StatusKey("70001", 7), due=NOW - PATIENCE - 1)
    wants = [
        FetchRequest(key, BASIC, deadline=LATER, caller="dashboard", turn=turn)
        for turn, key in enumerate(keys(100))
    ]
    assert asked(planned([*wants, late], room)) == [1, 7, 2, 3]


def test_a_watcher_who_has_seen_nothing_stands_in_line_with_callers_and_is_not_given_up() -> None:
    room = budget()
    mass_spent(room)
    first = watcher(StatusKey("70001", 7), seen=-math.inf)
    wants = [
        FetchRequest(key, BASIC, deadline=NOW, caller="dashboard", turn=turn)
        for turn, key in enumerate(keys(9))
    ]
    result = planned([*wants, first], room)
    assert asked(result) == [1, 7, 2, 3]
    assert first.key not in {key for key, _ in result.refusals}


def followed(key: StatusKey) -> FetchRequest:
    return FetchRequest(key, BASIC, Why.FOLLOW)


def test_what_is_followed_gets_what_nobody_else_needs() -> None:
    room = budget()
    mass_spent(room)
    wants = [*map(followed, keys(9, first=50)), watcher(keys(1, first=30)[0])]
    lately = Pace(followed_at=NOW - FOLLOW_TURN + 1)
    assert asked(planned(wants, room, pace=lately)) == [30, 50, 51]
    assert asked(planned([want(keys(1)[0]), *wants], room, pace=lately)) == [1, 30, 50]
    assert asked(planned([*map(want, keys(4)), *wants], room, pace=lately)) == [1, 2, 3, 4]


def test_callers_who_need_all_leave_it_a_turn_every_few_seconds() -> None:
    room = budget()
    mass_spent(room)
    wants = [*map(want, keys(6)), *map(followed, keys(3, first=50))]
    long_ago = Pace(followed_at=NOW - FOLLOW_TURN)
    assert asked(planned(wants, room, pace=long_ago)) == [50, 1, 2, 3]


def test_it_goes_as_one_mass_request_where_callers_need_none() -> None:
    wants = [*map(followed, keys(30)), watcher(keys(1, first=90)[0])]
    first, *_ = planned(wants, budget()).asks
    assert first.keys[0].id == 90
    assert len(first.keys) == 31


def test_many_watchers_go_as_one_mass_request_unless_callers_need_it() -> None:
    wants = [watcher(key) for key in keys(20)]
    assert planned(wants, budget()).asks[0].keys == tuple(keys(20))
    lately = Pace(callers_mass_at=NOW - 200)
    assert [ask.mass for ask in planned(wants, budget(), pace=lately).asks] == [False] * 3
    long_ago = Pace(callers_mass_at=NOW - 300)
    assert planned(wants, budget(), pace=long_ago).asks[0].mass


def test_a_mass_request_of_watchers_leaves_a_place_free_too() -> None:
    room = budget()
    for key in keys(3, first=500):
        room.take([key], mass=False)
    assert planned([watcher(key) for key in keys(20)], room).asks == []


def test_watchers_ride_along_with_callers_who_come_first() -> None:
    wants = [watcher(key) for key in keys(20)] + [want(key) for key in keys(9, first=50)]
    first = planned(wants, budget(), max_ids=12).asks[0]
    assert [key.id for key in first.keys] == [*range(50, 59), 1, 2, 3]


def test_a_mass_request_that_goes_is_filled_up_at_the_level_that_serves_all() -> None:
    room = budget()
    mass = Ask(tuple(keys(9)), BASIC)
    riders = [watcher(key) for key in keys(4, first=8)]
    riders[2] = FetchRequest(riders[2].key, STANDARD, Why.REFRESH)
    spent(room, riders[3].key, times=4)
    last = watcher(StatusKey("70001", 99))
    assert fill_up(mass, [*riders, last], room, mass_max_ids=11) == Ask(
        (*keys(10), last.key), STANDARD
    )
    assert fill_up(mass, riders, room, mass_max_ids=9) == mass


# The rules, for any sequence of wants, answers, errors and steps of the clock.

KEYS = keys(24)
WINDOW = 60.0
events = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sets(st.integers(0, 23), min_size=1, max_size=24)),
        st.tuples(st.just("watch"), st.sets(st.integers(0, 23), min_size=1, max_size=24)),
        st.tuples(st.just("answer"), st.integers(0, 9)),
        st.tuples(st.just("time out"), st.integers(0, 9)),
        st.tuples(st.just("refuse"), st.integers(0, 9)),
        st.tuples(st.just("lose"), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.floats(0, 20)),
    ),
    max_size=80,
)


class Run:
    """A queue that is planned after every event, and at the moments the plan itself names."""

    def __init__(self, limits: Limits) -> None:
        self.time = Time()
        self.limits = limits
        self.room = MemoryBudget(limits, self.time)
        self.waiting: dict[StatusKey, FetchRequest] = {}
        self.open: list[tuple[float, Lease]] = []
        self.arrivals: list[tuple[float, float, Lease]] = []
        self.wake_at = math.inf
        self.pace = Pace(latency=0.3)

    def plan(self) -> None:
        now, per_message = self.time.now, self.limits.per_message
        result = plan(self.waiting.values(), self.room, now, mass_max_ids=20, pace=self.pace)
        for key, full in result.refusals:
            refused = self.waiting.pop(key)
            assert refused.why is Why.CALLER
            until = math.inf if full.until is None else full.until
            assert refused.deadline <= now or until > refused.deadline
        for ask in result.asks:
            assert len(ask.keys) == len(set(ask.keys)) <= 20
            lease = self.room.take(ask.keys, mass=ask.mass)
            assert isinstance(lease, Lease), "the plan broke a limit"
            self.open.append((now, lease))
            for key in ask.keys:
                taken = self.waiting.pop(key)
                assert ask.detail.covers(taken.detail)
                if taken.why is not Why.CALLER and not ask.mass:
                    assert self.room.message_left(key) >= min(KEPT_TOKENS, per_message - 1)
        callers = [one for one in self.waiting.values() if one.why is Why.CALLER]
        assert all(one.deadline > now for one in callers), "a caller waits past the deadline"
        self.wake_at = result.wake_at
        assert self.wake_at > now
        assert all(self.wake_at <= one.deadline for one in callers)
        if self.waiting and not self.open:
            assert self.wake_at < math.inf, "a want is forgotten"

    def step(self, seconds: float) -> None:
        end = self.time.now + seconds
        while self.wake_at <= end:
            self.time.now = self.wake_at
            self.plan()
        self.time.now = end
        self.plan()

    def end(self, number: int, how: str) -> None:
        if not self.open:
            return
        sent, lease = self.open.pop(number % len(self.open))
        linger = 10.0 if how == "time out" else 0.0
        if how == "lose":
            lease.refund()
        else:
            lease.end(linger=linger)
            self.arrivals.append((sent, self.time.now + linger, lease))
        if how == "refuse":
            self.room.refused(lease.keys, mass=lease.mass)

    def add(self, numbers: set[int], why: Why, detail: DetailLevel) -> None:
        now = self.time.now
        for turn, number in enumerate(sorted(numbers)):
            key = KEYS[number]
            if key in self.waiting:
                continue
            deadline = now + 5 if why is Why.CALLER else math.inf
            self.waiting[key] = FetchRequest(
                key, detail, why, deadline, caller=f"{number % 3}", turn=turn, due=now + 2
            )


@given(events, st.randoms(use_true_random=False))
@pytest.mark.parametrize("limits", [Limits(), Limits(2, 2, 2, WINDOW), Limits(1, 0, 1, WINDOW)])
def test_whatever_happens_no_limit_is_broken_and_nobody_is_forgotten(
    limits: Limits, events: list[tuple[str, object]], random: object
) -> None:
    run = Run(limits)
    for event, value in events:
        if isinstance(value, float):
            run.step(value)
        elif isinstance(value, set):
            why = Why.CALLER if event == "call" else Why.WATCHER
            run.add(value, why, BASIC if len(value) % 2 else FULL)
        elif isinstance(value, int):
            run.end(value, event)
        run.plan()
    # Now everything is answered promptly: what waits is asked for, watchers too.
    for _ in range(300):
        while run.open:
            run.end(0, "answer")
        run.step(1.0)
    assert not run.waiting, "a want starves"
    arrivals = [
        (random.uniform(sent, ended), lease)  # type: ignore[attr-defined] # a Random
        for sent, ended, lease in run.arrivals
    ]
    for at, _ in arrivals:
        within = [lease for other, lease in arrivals if at <= other < at + WINDOW]
        assert sum(lease.mass for lease in within) <= limits.mass
        spent_on = Counter(key for lease in within for key in lease.keys)
        assert all(times <= limits.per_message for times in spent_on.values())
