"""What is asked next."""

from gateway.budget.memory import Full, Lease, Limits, MemoryBudget
from gateway.errors import Limit
from gateway.planner import Ask, Plan, Want, plan
from gateway.records import DetailLevel, StatusKey

NOW = 1000.0
LATER = NOW + 5


def keys(count: int) -> list[StatusKey]:
    return [StatusKey("79990000001", number + 1) for number in range(count)]


def want(key: StatusKey, detail: DetailLevel = DetailLevel.BASIC, deadline: float = LATER) -> Want:
    return Want(key, detail, deadline)


def budget(limits: Limits | None = None) -> MemoryBudget:
    return MemoryBudget(limits or Limits(), lambda: NOW)


def planned(wants: list[Want], room: MemoryBudget, max_ids: int = 100) -> Plan:
    return plan(wants, room, NOW, mass_max_ids=max_ids)


def test_few_go_as_singles_at_the_level_each_needs() -> None:
    wants = [want(key, level) for key, level in zip(keys(3), DetailLevel, strict=True)]
    assert planned(wants, budget()).asks == [Ask((w.key,), w.detail) for w in wants]


def test_more_than_the_places_wait_for_one() -> None:
    result = planned([want(key) for key in keys(6)], budget())
    assert len(result.asks) == 4
    assert (result.refusals, result.wake_at) == ([], LATER)


def test_many_go_as_one_mass_request_and_the_rest_as_singles() -> None:
    wants = [want(key) for key in keys(13)]
    wants[2] = want(wants[2].key, DetailLevel.FULL)
    result = planned(wants, budget(), max_ids=10)
    assert result.asks[0] == Ask(tuple(keys(13)[:10]), DetailLevel.FULL)
    assert [ask.keys for ask in result.asks[1:]] == [(key,) for key in keys(13)[10:]]


def test_without_a_mass_request_left_many_go_as_singles() -> None:
    room = budget()
    lease = room.take(keys(2), mass=True)
    assert isinstance(lease, Lease)
    lease.end()
    result = planned([want(key) for key in keys(20)], room)
    assert [ask.mass for ask in result.asks] == [False] * 4


def test_a_want_that_goes_alone_is_in_no_mass_request() -> None:
    wants = [want(key) for key in keys(20)]
    wants[0] = Want(wants[0].key, DetailLevel.BASIC, LATER, alone=True)
    first, *rest = planned(wants, budget()).asks
    assert wants[0].key not in first.keys
    assert Ask((wants[0].key,), DetailLevel.BASIC) in rest


def _spent(room: MemoryBudget, key: StatusKey) -> None:
    for _ in range(5):
        lease = room.take([key], mass=False)
        assert isinstance(lease, Lease)
        lease.end()


def test_a_message_whose_window_opens_too_late_is_refused_at_once_with_the_second() -> None:
    room = budget()
    (key,) = keys(1)
    _spent(room, key)
    result = planned([want(key)], room)
    assert result.refusals == [(key, Full(Limit.PER_MESSAGE, NOW + 60))]
    assert (result.asks, result.wake_at) == ([], None)


def test_a_message_whose_window_opens_in_time_waits_for_it() -> None:
    room = budget()
    (key,) = keys(1)
    _spent(room, key)
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
