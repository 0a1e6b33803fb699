"""Flights: joined, raised, given up; whatever the provider's side does."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway.breaker import Breaker
from gateway.budget.memory import Limits, MemoryBudget
from gateway.dispatch import MAX_WAITING, Dispatcher
from gateway.errors import GatewayError, Overloaded, UpstreamBadAnswer, UpstreamUnreachable
from gateway.planner import Want
from gateway.records import DetailLevel, StatusKey
from gateway.smsc.row import Row
from tests.support.clock import FakeClock, settle

pytestmark = pytest.mark.anyio

KEY = StatusKey("79990000001", 1)
BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL


class Provider:
    """Answers each request with the next of its outcomes, after a second."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[tuple[int, DetailLevel]] = []
        self.failures: list[Exception] = []
        self.silent = False

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        self.asked.append((len(keys), detail))
        await self.clock.sleep(1)
        if self.failures:
            raise self.failures.pop(0)
        return {} if self.silent else {key: Row({"status": "1"}) for key in keys}


def learn(want: Want, row: Row) -> str:
    if want.key.id == 13:
        raise UpstreamBadAnswer("no luck")
    if want.key.id == 14:
        raise ZeroDivisionError
    return f"{want.detail} {row.fields['status']}"


class Setup:
    def __init__(self, max_wait: float = 5, **limits: int) -> None:
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.breaker = Breaker()
        self.riders: list[Want] = []
        self.budget = MemoryBudget(Limits(**limits), self.clock.monotonic)
        self.dispatcher = Dispatcher[str](
            self.provider,
            self.budget,
            self.breaker,
            self.clock,
            learn=learn,
            riders=lambda: self.riders,
            mass_max_ids=100,
            max_wait=max_wait,
            linger=10,
        )

    def want(self, key: StatusKey = KEY, detail: DetailLevel = BASIC) -> asyncio.Task[object]:
        async def result() -> object:
            try:
                return await self.dispatcher.ask(key, detail, None)
            except GatewayError as error:
                return error

        return asyncio.create_task(result())


async def test_a_flight_that_waits_is_raised_to_the_higher_level() -> None:
    setup = Setup()
    calls = [setup.want(detail=detail) for detail in (BASIC, FULL, BASIC)]
    await setup.clock.advance(1)
    assert [await call for call in calls] == ["FULL 1"] * 3
    assert setup.provider.asked == [(1, FULL)]


async def test_a_flight_under_way_with_less_detail_is_not_joined() -> None:
    setup = Setup()
    first = setup.want()
    await settle()
    second, third = setup.want(detail=FULL), setup.want()
    await setup.clock.advance(2)
    assert [await call for call in (first, second, third)] == ["BASIC 1", "FULL 1", "BASIC 1"]
    assert setup.provider.asked == [(1, BASIC), (1, FULL)]


async def test_an_unforeseen_failure_is_a_bad_answer_and_frees_its_place() -> None:
    setup = Setup(concurrency=1)
    setup.provider.failures = [ZeroDivisionError()]
    call = setup.want()
    await setup.clock.advance(1)
    assert isinstance(await call, UpstreamBadAnswer)
    again = setup.want()
    await setup.clock.advance(1)
    assert await again == "BASIC 1"


async def test_a_failed_connection_spends_nothing() -> None:
    setup = Setup(per_message=1)
    setup.provider.failures = [UpstreamUnreachable(sent=False)]
    for expected in (UpstreamUnreachable, str):
        call = setup.want()
        await setup.clock.advance(1)
        assert isinstance(await call, expected)


async def test_an_answer_that_leaves_the_message_out_is_a_bad_one() -> None:
    setup = Setup()
    setup.provider.silent = True
    call = setup.want()
    await setup.clock.advance(1)
    assert isinstance(await call, UpstreamBadAnswer)


async def test_an_answer_that_cannot_be_learned_fails_its_own_key_alone() -> None:
    setup = Setup()
    calls = [setup.want(StatusKey("70001", number)) for number in range(1, 21)]
    await setup.clock.advance(1)
    failed = [number for number, call in enumerate(calls, 1) if await call != "BASIC 1"]
    assert (failed, setup.provider.asked) == ([13, 14], [(20, BASIC)])


async def test_a_queue_that_is_full_refuses_at_once() -> None:
    setup = Setup(concurrency=1, mass=0)
    calls = [setup.want(StatusKey("70001", number + 1)) for number in range(MAX_WAITING + 1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused = await calls[-1]
    assert isinstance(refused, Overloaded)
    assert refused.retry_after
    await setup.dispatcher.aclose()
    await asyncio.gather(*calls)


async def test_after_closing_nothing_is_asked() -> None:
    setup = Setup()
    await setup.dispatcher.aclose()
    assert isinstance(await setup.want(), Overloaded)
    assert setup.provider.asked == []


async def test_waiting_ends_when_the_window_opens() -> None:
    setup = Setup(max_wait=100, per_message=1)
    first = setup.want()
    await setup.clock.advance(1)
    assert await first == "BASIC 1"
    second = setup.want()
    await setup.clock.advance(59)
    assert len(setup.provider.asked) == 1
    await setup.clock.advance(2)
    assert await second == "BASIC 1"
    assert len(setup.provider.asked) == 2
