"""Flights: joined, raised, given up; whatever the provider's side does."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

import pytest

from gateway.errors import (
    DeleteRefused,
    GatewayError,
    InvalidArgument,
    Limit,
    Overloaded,
    RateLimited,
    UpstreamBadAnswer,
    UpstreamBlocked,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.model.records import DetailLevel, StatusKey
from gateway.smsc.row import Row
from gateway.upstream.breaker import Breaker
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Limits
from gateway.upstream.dispatcher import GATHER, MAX_WAITING, REFUSED_KEYS, Dispatcher
from gateway.upstream.planner import FetchRequest, Why
from tests.support.clock import FakeClock, settle

pytestmark = pytest.mark.anyio

KEY = StatusKey("79990000001", 1)
BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL


class Provider:
    """Answers each request with the next of its outcomes, after a second."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[tuple[int, DetailLevel]] = []
        self.keys: list[tuple[StatusKey, ...]] = []
        self.deletions: list[StatusKey] = []
        self.seconds = 1.0
        self.bad: StatusKey | None = None
        self.failures: list[Exception] = []
        self.silent = False

    async def delete(self, key: StatusKey) -> None:
        self.deletions.append(key)
        await self.clock.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        self.asked.append((len(keys), detail))
        self.keys.append(tuple(keys))
        await self.clock.sleep(self.seconds)
        if self.bad in keys:
            raise InvalidArgument(provider_code=1)
        if self.failures:
            raise self.failures.pop(0)
        return {} if self.silent else {key: Row({"status": "1"}) for key in keys}


def learn(fetch: FetchRequest, row: Row) -> str:
    if fetch.key.id == 13:
        raise UpstreamBadAnswer("no luck")
    if fetch.key.id == 14:
        raise ZeroDivisionError
    return f"{fetch.detail} {row.fields['status']}"


Outcome = asyncio.Task[object]


async def outcome(answer: Awaitable[object]) -> object:
    """The answer, or the error that came instead."""
    try:
        return await answer
    except GatewayError as error:
        return error


class Setup:
    def __init__(self, max_wait: float = 5, **limits: int) -> None:
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.breaker = Breaker()
        self.riders: list[FetchRequest] = []
        self.budget = self.create_budget(Limits(**limits))
        self.dispatcher = Dispatcher[str](
            self.provider,
            self.budget,
            self.breaker,
            self.clock,
            merge=learn,
            riders=lambda: self.riders,
            mass_max_ids=100,
            max_wait=max_wait,
            linger=10,
        )

    def create_budget(self, limits: Limits) -> MemoryBudget:
        return MemoryBudget(limits, self.clock.monotonic)

    def want(
        self,
        key: StatusKey = KEY,
        detail: DetailLevel = BASIC,
        caller: str = "",
        turn: int = 0,
        *,
        has_fallback: bool = False,
    ) -> asyncio.Task[object]:
        return asyncio.create_task(
            outcome(
                self.dispatcher.ask(
                    key, detail, None, caller=caller, turn=turn, has_fallback=has_fallback
                )
            )
        )

    def watch(self, key: StatusKey, due: float = 0, detail: DetailLevel = BASIC) -> Outcome:
        fetch = FetchRequest(
            key, detail, Why.WATCHER, due=self.clock.now + due, seen=self.clock.now
        )
        return asyncio.create_task(outcome(self.dispatcher.watch(fetch)))

    async def many(self, count: int, first: int = 100) -> list[object]:
        """The answers to so many cold keys."""
        calls = [self.want(StatusKey("70002", first + number)) for number in range(count)]
        await self.clock.advance(1)
        return [await call for call in calls]


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


async def test_what_comes_close_behind_another_is_gathered() -> None:
    setup = Setup()
    calls = [setup.want()]
    await settle()
    for number in range(2, 22):
        calls.append(setup.want(StatusKey("70001", number)))
        await setup.clock.advance(GATHER / 40)
    await setup.clock.advance(2)
    assert [await call for call in calls] == ["BASIC 1"] * 12 + [
        await calls[12],
        await calls[13],
    ] + ["BASIC 1"] * 7
    assert [count for count, _ in setup.provider.asked] == [1, 20]


async def test_nothing_is_delayed_when_nothing_else_is_coming() -> None:
    setup = Setup()
    first = setup.want()
    await settle()
    await setup.clock.advance(2 * GATHER)
    second = setup.want(StatusKey("70001", 2))
    await settle()
    assert len(setup.provider.asked) == 2
    await setup.clock.advance(1)
    assert [await first, await second] == ["BASIC 1"] * 2


async def test_a_caller_who_leaves_takes_what_nobody_else_wants_with_him() -> None:
    setup = Setup(concurrency=1, mass=0)
    busy, leaving, staying = setup.want(), *(setup.want(StatusKey("70001", n)) for n in (2, 3))
    await settle()
    leaving.cancel()
    await setup.clock.advance(2)
    assert [await busy, await staying] == ["BASIC 1"] * 2
    assert [keys[0].id for keys in setup.provider.keys] == [1, 3]


async def test_each_caller_waits_until_his_own_deadline() -> None:
    setup = Setup(concurrency=1)
    setup.provider.seconds = 7
    busy = setup.want()
    await settle()
    early = setup.want(StatusKey("70001", 2))
    await setup.clock.advance(3)
    late = setup.want(StatusKey("70001", 2))
    await setup.clock.advance(2)
    refused = await early
    assert isinstance(refused, RateLimited)
    assert (refused.limit, late.done()) == (Limit.CONCURRENCY, False)
    await setup.clock.advance(9)
    assert [await busy, await late] == ["BASIC 1"] * 2


async def test_who_has_an_older_record_is_not_kept_waiting_by_a_slow_answer() -> None:
    setup = Setup()
    setup.provider.seconds = 8
    patient, impatient = setup.want(), setup.want(has_fallback=True)
    await setup.clock.advance(5)
    assert isinstance(await impatient, UpstreamTimeout)
    await setup.clock.advance(3)
    assert await patient == "BASIC 1"


async def test_who_waits_is_given_up_early_enough_for_a_usual_answer() -> None:
    setup = Setup(concurrency=1)
    await setup.many(1)  # a second is usual now, three at most
    setup.provider.seconds = 20
    busy = setup.want()
    await settle()
    waiting = setup.want(StatusKey("70001", 2))
    await setup.clock.advance(2.4)
    assert not waiting.done()
    await setup.clock.advance(0.1)
    assert isinstance(await waiting, RateLimited)
    await setup.clock.advance(20)
    assert await busy == "BASIC 1"


async def test_a_dashboard_does_not_starve_a_service() -> None:
    setup = Setup(mass=0)
    calls = [
        setup.want(StatusKey("70001", turn + 1), caller="dashboard", turn=turn)
        for turn in range(100)
    ]
    await settle()
    service = setup.want(StatusKey("70002", 1), caller="service")
    await setup.clock.advance(2)
    assert await service == "BASIC 1"
    assert not calls[99].done()
    await setup.clock.advance(10)
    assert all(call.done() for call in calls)


async def test_a_key_moves_forward_when_somebody_wants_it_more() -> None:
    setup = Setup(concurrency=1, mass=0)
    busy = setup.want()
    await settle()
    batch = [setup.want(StatusKey("70001", turn + 1), turn=turn) for turn in range(3)]
    last = setup.want(StatusKey("70001", 3))
    await setup.clock.advance(4)
    assert await asyncio.gather(busy, *batch, last) == ["BASIC 1"] * 5
    assert [keys[0].id for keys in setup.provider.keys] == [1, 1, 3, 2]


async def test_a_watcher_joins_what_is_under_way() -> None:
    setup = Setup()
    caller = setup.want()
    await settle()
    watched = setup.watch(KEY)
    await setup.clock.advance(1)
    assert [await caller, await watched] == ["BASIC 1"] * 2
    assert len(setup.provider.asked) == 1


async def test_with_one_place_callers_still_take_turns() -> None:
    setup = Setup(max_wait=60, concurrency=1, mass=0)
    calls = [
        setup.want(StatusKey("70001", 10 * (number % 3) + number // 3), caller=str(number % 3))
        for number in range(3, 12)
    ]
    await setup.clock.advance(9)
    assert [keys[0].id // 10 for keys in setup.provider.keys] == [0, 1, 2] * 3
    assert all(call.done() for call in calls)


async def test_a_bad_pair_costs_the_others_nothing_and_spoils_no_second_list() -> None:
    setup = Setup()
    setup.provider.bad = StatusKey("70002", 105)
    setup.provider.seconds = 0.1
    for window in range(2):
        answers = await setup.many(20)
        assert [n for n, answer in enumerate(answers) if answer != "BASIC 1"] == [5]
        assert isinstance(answers[5], InvalidArgument)
        if not window:
            await setup.clock.advance(70)
            setup.provider.keys.clear()
    assert sorted(len(keys) for keys in setup.provider.keys) == [1, 19]


async def test_a_bad_pair_does_not_ride_along() -> None:
    setup = Setup()
    setup.provider.bad = KEY
    first = setup.want()
    await setup.clock.advance(1)
    assert isinstance(await first, InvalidArgument)
    setup.riders = [FetchRequest(KEY, BASIC, Why.REFRESH)]
    assert await setup.many(20) == ["BASIC 1"] * 20


async def test_the_mass_request_is_kept_for_callers_who_needed_it() -> None:
    setup = Setup()
    await setup.many(20)
    watched = [setup.watch(StatusKey("70001", number + 1), due=70) for number in range(20)]
    await setup.clock.advance(70.5)
    assert [count for count, _ in setup.provider.asked] == [20, 1, 1, 1]
    await setup.clock.advance(10)
    assert all(task.done() for task in watched)


async def test_no_more_bad_pairs_are_remembered_than_fit() -> None:
    setup = Setup(concurrency=100)
    setup.provider.failures = [InvalidArgument() for _ in range(REFUSED_KEYS + 10)]
    setup.provider.seconds = 0
    for first in range(0, REFUSED_KEYS + 10, 1001):
        await asyncio.gather(
            *(setup.want(StatusKey("70003", first + n + 1)) for n in range(1001)),
            setup.clock.advance(0.1),
        )
    assert len(setup.dispatcher._refused_keys) == REFUSED_KEYS  # noqa: SLF001 - memory shows nowhere else


async def test_refused_at_once_means_that_somebody_else_holds_the_places() -> None:
    setup = Setup()
    setup.provider.failures = [RateLimited(limit=Limit.UNKNOWN, provider_code=9) for _ in range(3)]
    calls = [setup.want(StatusKey("70001", n + 1)) for n in range(4)]
    await setup.clock.advance(1)
    first = await calls[0]
    assert isinstance(first, RateLimited)
    assert (first.limit, first.provider_code) == (Limit.PER_MESSAGE, 9)
    assert await calls[3] == "BASIC 1"
    assert setup.budget.places() + setup.dispatcher.throughput.in_flight == 2  # of four
    await setup.clock.advance(2)
    assert [await call for call in calls[1:3]] == ["BASIC 1"] * 2  # in the place that is left
    await setup.clock.advance(10)
    assert setup.budget.places() == 4


async def test_while_the_breaker_is_open_nobody_is_asked_and_everybody_is_told() -> None:
    setup = Setup(mass=0)
    setup.provider.failures = [UpstreamBlocked(provider_code=4)]
    watched = setup.watch(StatusKey("70001", 9))
    calls = [setup.want(StatusKey("70002", n + 1)) for n in range(6)]
    await setup.clock.advance(1)
    blocked = [await call for call in (calls[0], *calls[4:], watched)]
    assert [type(error) for error in blocked] == [UpstreamBlocked] * 4
    assert {error.retry_after for error in blocked if isinstance(error, GatewayError)} == {5}
    asked = len(setup.provider.asked)
    late = await setup.want()
    assert isinstance(late, UpstreamBlocked)
    assert len(setup.provider.asked) == asked


async def test_those_who_run_the_gateway_read_that_the_provider_is_not_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = Setup()
    setup.provider.failures = [UpstreamBlocked(), UpstreamBlocked()]
    with caplog.at_level("WARNING"):
        for pause in (5, 10, 0):
            call = setup.want()
            await setup.clock.advance(1 + pause)
            await call
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the provider is not asked for 5 s",
        "the provider is not asked for 10 s",
        "the provider is asked again",
    ]


async def test_after_a_pause_one_request_tries_and_then_all_go() -> None:
    setup = Setup()
    setup.provider.failures = [UpstreamBlocked()]
    first = setup.want()
    await setup.clock.advance(1)
    assert isinstance(await first, UpstreamBlocked)
    await setup.clock.advance(5)
    calls = [setup.want(StatusKey("70001", n + 20)) for n in range(20)]
    await setup.clock.advance(1)
    answers = [await call for call in calls]
    assert answers.count("BASIC 1") == 1
    assert sum(isinstance(answer, UpstreamBlocked) for answer in answers) == 19
    assert setup.provider.asked == [(1, BASIC)] * 2
    assert await setup.many(20) == ["BASIC 1"] * 20


async def test_a_watched_key_is_asked_when_it_is_due_or_sooner_for_a_caller() -> None:
    setup = Setup()
    watched = setup.watch(KEY, due=15)
    await setup.clock.advance(14)
    assert (setup.provider.asked, setup.dispatcher.planned_at(KEY)) == ([], setup.clock.now + 1)
    caller = setup.want()
    await setup.clock.advance(1)
    assert [await watched, await caller] == ["BASIC 1"] * 2
    await setup.clock.advance(15)
    assert (len(setup.provider.asked), setup.dispatcher.planned_at(KEY)) == (1, None)


async def test_one_request_serves_a_watcher_who_wants_more_detail_too() -> None:
    setup = Setup()
    watched = setup.watch(KEY, due=15, detail=FULL)
    await settle()
    caller = setup.want()
    await setup.clock.advance(1)
    assert [await watched, await caller] == ["FULL 1"] * 2


async def test_a_caller_who_leaves_does_not_end_the_watching() -> None:
    setup = Setup(concurrency=1)
    busy = setup.want(StatusKey("70001", 2))
    watched = setup.watch(KEY, due=3)
    await settle()
    caller = setup.want()
    await settle()
    caller.cancel()
    await setup.clock.advance(4)
    assert [await busy, await watched] == ["BASIC 1"] * 2


async def test_what_nobody_watches_any_more_is_not_asked() -> None:
    setup = Setup()
    watched = setup.watch(KEY, due=3)
    await settle()
    watched.cancel()
    await settle()
    assert setup.dispatcher.standing() == (0, 0)
    later = setup.watch(KEY, due=10)
    await setup.clock.advance(5)
    assert (setup.provider.asked, setup.dispatcher.planned_at(KEY)) == ([], setup.clock.now + 5)
    await setup.clock.advance(6)
    assert (await later, len(setup.provider.asked)) == ("BASIC 1", 1)


async def test_a_mass_request_takes_along_what_is_watched_and_what_will_be_wanted() -> None:
    setup = Setup()
    watched = [setup.watch(StatusKey("70001", n + 1), due=20 - n) for n in range(3)]
    setup.riders = [
        FetchRequest(StatusKey("70004", n + 1), BASIC, Why.REFRESH) for n in range(100)
    ] + [FetchRequest(KEY, BASIC, Why.REFRESH)]
    await settle()
    await setup.many(20)
    assert [await call for call in watched] == ["BASIC 1"] * 3
    (keys,) = setup.provider.keys
    assert [key.id for key in keys[20:]] == [3, 2, 1, *range(1, 78)]
    await setup.clock.advance(30)
    assert len(setup.provider.asked) == 1


async def test_renewing_asks_once_and_tells_nobody() -> None:
    setup = Setup()
    for _ in range(3):
        setup.dispatcher.renew(FetchRequest(KEY, BASIC, Why.REFRESH, due=setup.clock.now))
    await setup.clock.advance(1)
    assert setup.provider.asked == [(1, BASIC)]
    assert setup.dispatcher.standing() == (0, 0)


async def test_renewing_brings_a_watch_forward() -> None:
    setup = Setup()
    watched = setup.watch(KEY, due=15)
    await settle()
    setup.dispatcher.renew(FetchRequest(KEY, BASIC, Why.REFRESH, due=setup.clock.now))
    await setup.clock.advance(1)
    assert await watched == "BASIC 1"


# Deletions


def delete(setup: Setup, key: StatusKey = KEY) -> tuple[Outcome, list[StatusKey]]:
    gone: list[StatusKey] = []
    return asyncio.create_task(outcome(setup.dispatcher.delete(key, gone.append))), gone


async def test_a_deletion_goes_at_once_and_tells_when_it_is_done() -> None:
    setup = Setup()
    call, gone = delete(setup)
    await settle()
    assert (setup.provider.deletions, gone) == ([KEY], [])
    await setup.clock.advance(1)
    assert (await call, gone) == (None, [KEY])
    assert setup.budget.message_left(KEY) == 4
    assert setup.dispatcher.throughput.tally.single.count == 1


async def test_a_refused_deletion_is_told_and_nothing_is_gone() -> None:
    setup = Setup()
    setup.provider.failures = [DeleteRefused(provider_code=5)]
    call, gone = delete(setup)
    await setup.clock.advance(1)
    assert isinstance(await call, DeleteRefused)
    assert gone == []
    assert setup.breaker.reason is None


async def test_a_deletion_takes_one_of_the_places() -> None:
    setup = Setup(concurrency=1)
    first = setup.want(StatusKey("70002", 1))
    await settle()
    call, gone = delete(setup)
    assert setup.dispatcher.standing() == (0, 0)
    await settle()
    assert setup.dispatcher.standing() == (1, 0)
    assert setup.provider.deletions == []
    await setup.clock.advance(1)
    assert await first
    assert setup.provider.deletions == [KEY]
    await setup.clock.advance(1)
    assert (await call, gone) == (None, [KEY])


async def test_a_deletion_without_room_in_time_is_refused() -> None:
    setup = Setup(max_wait=2, per_message=1)
    await setup.many(1)
    spent = StatusKey("70002", 100)
    call, _ = delete(setup, spent)
    await settle()
    refusal = await call
    assert isinstance(refusal, RateLimited)
    assert (refusal.limit, refusal.retry_after) == (Limit.PER_MESSAGE, 60)
    setup.provider.seconds = 100
    blocker = [setup.want(StatusKey("70003", number)) for number in range(4)]
    await settle()
    call, _ = delete(setup)
    await setup.clock.advance(2)
    refusal = await call
    assert isinstance(refusal, RateLimited)
    assert refusal.limit is Limit.CONCURRENCY
    assert setup.provider.deletions == []
    for other in blocker:
        other.cancel()


async def test_a_deletion_goes_on_without_who_asked_for_it() -> None:
    setup = Setup()
    call, gone = delete(setup)
    await settle()
    call.cancel()
    await setup.clock.advance(1)
    assert gone == [KEY]


async def test_a_deletion_that_waits_is_given_up_with_who_asked_for_it() -> None:
    setup = Setup(concurrency=1)
    other = setup.want(StatusKey("70002", 1))
    await settle()
    call, gone = delete(setup)
    await settle()
    call.cancel()
    await setup.clock.advance(5)
    assert (setup.provider.deletions, gone) == ([], [])
    assert await other


async def test_a_deletion_is_the_one_probe_of_a_breaker() -> None:
    setup = Setup()
    setup.provider.failures = [UpstreamBlocked(provider_code=4)]
    call, _ = delete(setup)
    await setup.clock.advance(1)
    assert isinstance(await call, UpstreamBlocked)
    call, _ = delete(setup)
    await settle()
    assert isinstance(await call, UpstreamBlocked)
    await setup.clock.advance(6)
    probe, gone = delete(setup)
    other, _ = delete(setup, StatusKey("70002", 1))
    await settle()
    assert isinstance(await other, UpstreamBlocked)
    await setup.clock.advance(1)
    assert (await probe, gone) == (None, [KEY])
    assert setup.breaker.reason is None


async def test_an_unforeseen_failure_of_a_deletion_is_told() -> None:
    setup = Setup()
    setup.provider.failures = [ZeroDivisionError()]
    call, gone = delete(setup)
    await setup.clock.advance(1)
    assert isinstance(await call, UpstreamBadAnswer)
    assert gone == []


async def test_closing_refuses_deletions_that_wait() -> None:
    setup = Setup(concurrency=1)
    under_way = setup.want(StatusKey("70002", 1))
    await settle()
    waiting, _ = delete(setup)
    await settle()
    closing = asyncio.create_task(setup.dispatcher.aclose())
    await setup.clock.advance(1)
    await closing
    assert await under_way == "BASIC 1"
    assert isinstance(await waiting, Overloaded)
    late, _ = delete(setup)
    assert isinstance(await late, Overloaded)


async def test_what_is_dropped_is_not_asked_for_unless_somebody_waits() -> None:
    setup = Setup()
    now = setup.clock.now
    renewed = StatusKey("70002", 1)
    setup.dispatcher.renew(FetchRequest(renewed, BASIC, Why.REFRESH, due=now + 5))
    watched = StatusKey("70002", 2)
    watcher = setup.watch(watched, due=5)
    await settle()
    setup.dispatcher.drop(renewed)
    setup.dispatcher.drop(watched)
    await setup.clock.advance(6)
    assert setup.provider.keys == [(watched,)]
    assert await watcher
