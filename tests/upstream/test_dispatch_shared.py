"""Flights where other processes spend the same limits: what was taken may have to be given back."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import Overloaded, UpstreamBlocked
from gateway.model.records import DetailLevel, StatusKey
from gateway.upstream.breaker import BreakerState
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Lease, Limits
from gateway.upstream.dispatcher import GATHER
from gateway.upstream.inflight import RETAKE
from tests.support.clock import settle
from tests.upstream.test_dispatch import BASIC, FULL, KEY, Outcome, Setup, outcome

pytestmark = pytest.mark.anyio

OTHER = StatusKey("79990000002", 2)
LOST = Overloaded("lost")


class Contested(MemoryBudget):
    """A budget whose answers are given by the test: each `confirm` waits for one."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        super().__init__(limits, monotonic)
        self.questions: list[asyncio.Future[bool]] = []
        self.elsewhere: dict[StatusKey, tuple[DetailLevel, float]] = {}
        self.queued = 0

    async def confirm(self, lease: Lease, detail: DetailLevel | None) -> bool:  # noqa: ARG002
        self.questions.append(asyncio.get_running_loop().create_future())
        return await self.questions[-1]

    def answered_elsewhere(self, key: StatusKey, detail: DetailLevel) -> float | None:
        level, until = self.elsewhere.get(key, (BASIC, 0.0))
        return until if until > self._monotonic() and level.covers(detail) else None

    def queue_up(self) -> None:
        self.queued += 1


class Shared(Setup):
    budget: Contested

    def create_budget(self, limits: Limits) -> Contested:
        return Contested(limits, self.clock.monotonic)

    async def decide(self, decision: bool | Exception) -> None:
        """Answer the oldest question."""
        await settle()
        question = self.budget.questions.pop(0)
        if isinstance(decision, Exception):
            question.set_exception(decision)
        else:
            question.set_result(decision)
        await settle()

    def delete(self) -> Outcome:
        return asyncio.create_task(outcome(self.dispatcher.delete(KEY, lambda _: None)))


async def test_who_is_refused_asks_again_a_little_later() -> None:
    setup = Shared()
    call = setup.want()
    await setup.decide(False)
    in_flight = setup.dispatcher.throughput.in_flight
    assert (in_flight, setup.budget.places(), setup.provider.asked) == (0, 4, [])
    await setup.clock.advance(RETAKE)
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await call == "BASIC 1"
    assert len(setup.provider.asked) == 1


async def test_who_wants_more_meanwhile_is_joined() -> None:
    setup = Shared()
    calls = [setup.want()]
    await settle()
    calls.append(setup.want(detail=FULL))
    await setup.clock.advance(GATHER)
    await setup.decide(False)
    await setup.decide(False)
    await setup.clock.advance(RETAKE)
    assert len(setup.budget.questions) == 1
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await asyncio.gather(*calls) == ["FULL 1"] * 2


async def test_a_watcher_that_is_refused_is_not_forgotten() -> None:
    setup = Shared()
    watch = setup.watch(KEY)
    await setup.decide(False)
    call = setup.want()
    await setup.clock.advance(RETAKE)
    await setup.decide(True)
    await setup.clock.advance(1)
    assert [await watch, await call] == ["BASIC 1"] * 2


async def test_a_caller_who_wants_more_takes_a_refused_watcher_along() -> None:
    setup = Shared()
    watch = setup.watch(KEY)
    await settle()
    call = setup.want(detail=FULL)
    await setup.clock.advance(GATHER)
    await setup.decide(False)
    await setup.decide(False)
    await setup.clock.advance(RETAKE)
    await setup.decide(True)
    await setup.clock.advance(1)
    assert [await watch, await call] == ["FULL 1"] * 2
    assert setup.budget.questions == []


async def test_nobody_is_asked_for_who_has_left() -> None:
    setup = Shared()
    call = setup.want()
    await settle()
    call.cancel()
    await setup.decide(False)
    await setup.clock.advance(60)
    assert (setup.budget.questions, setup.dispatcher.standing()) == ([], (0, 0))


async def test_without_the_others_nothing_is_asked() -> None:
    setup = Shared()
    calls = [setup.want(), setup.watch(OTHER)]
    await setup.decide(LOST)
    await setup.decide(LOST)
    assert await asyncio.gather(*calls) == [LOST] * 2
    assert (setup.provider.asked, setup.budget.places()) == ([], 4)


async def test_what_another_process_learned_is_for_all_who_wait() -> None:
    setup = Shared(concurrency=1)
    calls = [
        setup.want(),  # is about to be asked for
        setup.want(OTHER),  # waits for a place
        setup.watch(StatusKey("79990000003", 3), due=10),
    ]
    await settle()
    for call in calls:
        assert not call.done()
    for key in (KEY, OTHER, StatusKey("79990000003", 3)):
        setup.dispatcher.answered(key, FULL, "told")
    assert await asyncio.gather(*calls) == ["told"] * 3
    await setup.decide(False)
    await setup.clock.advance(60)
    assert (setup.budget.questions, setup.dispatcher.standing()) == ([], (0, 0))


async def test_an_answer_with_less_detail_is_for_nobody() -> None:
    setup = Shared()
    call = setup.want(detail=FULL)
    await settle()
    setup.dispatcher.answered(KEY, BASIC, "told")
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await call == "FULL 1"


async def test_what_another_process_asks_is_waited_for() -> None:
    setup = Shared()
    setup.budget.elsewhere[KEY] = BASIC, setup.clock.now + 12
    calls = [setup.want(), setup.want(), setup.watch(KEY)]
    await settle()
    calls.append(setup.want())
    await settle()
    assert setup.budget.questions == []
    full = setup.want(detail=FULL)
    await setup.clock.advance(GATHER)
    assert len(setup.budget.questions) == 1  # of the one who wants more
    setup.dispatcher.answered(KEY, BASIC, "told")
    assert await asyncio.gather(*calls) == ["told"] * 4
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await full == "FULL 1"


async def test_what_another_process_got_no_answer_to_is_asked() -> None:
    setup = Shared()
    setup.budget.elsewhere[KEY] = BASIC, setup.clock.now + 12
    patient, impatient = setup.want(), setup.want(has_fallback=True)
    await setup.clock.advance(6)
    assert impatient.done()
    left = setup.want()
    await settle()
    left.cancel()
    await setup.clock.advance(6)
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await patient == "BASIC 1"


async def test_what_ended_elsewhere_is_asked_at_once() -> None:
    setup = Shared()
    setup.budget.elsewhere[KEY] = BASIC, setup.clock.now + 12
    call = setup.want()
    await settle()
    del setup.budget.elsewhere[KEY]
    setup.dispatcher.look_again()
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await call == "BASIC 1"


async def test_callers_who_wait_for_a_place_stand_in_line() -> None:
    setup = Shared(concurrency=1)
    calls = [setup.want()]
    await settle()
    calls.append(setup.watch(OTHER))
    await setup.clock.advance(1)
    assert setup.budget.queued == 0
    calls.append(setup.want(StatusKey("79990000003", 3)))
    setup.dispatcher.look_again()
    await settle()
    assert setup.budget.queued > 0
    for call in calls:
        call.cancel()


async def test_a_probe_that_was_not_sent_is_made_again() -> None:
    setup = Shared()
    setup.provider.failures = [UpstreamBlocked()]
    first = setup.want()
    await setup.decide(True)
    await setup.clock.advance(1)
    assert isinstance(await first, UpstreamBlocked)
    await setup.clock.advance(5)
    assert setup.breaker.state(setup.clock.now) is BreakerState.HALF_OPEN
    probe = setup.want()
    await setup.decide(False)
    await setup.clock.advance(RETAKE)
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await probe == "BASIC 1"
    assert setup.breaker.state(setup.clock.now) is BreakerState.CLOSED


async def test_a_deletion_that_is_refused_is_tried_again() -> None:
    setup = Shared()
    deleting = setup.delete()
    await setup.decide(False)
    assert setup.provider.deletions == []
    await setup.clock.advance(RETAKE)
    await setup.decide(True)
    await setup.clock.advance(1)
    assert await deleting is None
    assert setup.provider.deletions == [KEY]


async def test_without_the_others_nothing_is_deleted() -> None:
    setup = Shared()
    deleting = setup.delete()
    await setup.decide(LOST)
    assert await deleting is LOST
    assert setup.provider.deletions == []


async def test_at_the_end_nobody_waits_for_a_refusal() -> None:
    setup = Shared()
    setup.budget.elsewhere[OTHER] = BASIC, setup.clock.now + 12
    calls = [setup.want(), setup.delete(), setup.want(OTHER)]
    await settle()
    closing = asyncio.create_task(setup.dispatcher.aclose())
    await setup.decide(False)
    await setup.decide(False)
    for told in await asyncio.gather(*calls):
        assert isinstance(told, Overloaded)
    await closing
