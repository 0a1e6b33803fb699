"""Many keys that are followed, in virtual time, under the provider's rules as the simulator counts.

The arithmetic behind `allSeenBy` is compared with what happens; nothing here measures the machine.
"""

import asyncio
import random
import tracemalloc

import pytest

from gateway.archive.following import Follow, Outcome, Step
from gateway.followed import FollowedKeys
from gateway.model.freshness import CacheEntry
from gateway.model.records import DetailLevel, MessageState, StatusKey
from tests.bench.simulation import Gateway, Life, Provider
from tests.bench.virtual import run
from tests.support.size import size, soak

PHONE = "79990000001"
LATENCIES = 10
"""Requests before, by which the gateway knows how long one takes."""


def follow(no: int = 1, until: MessageState | None = None) -> Follow:
    return Follow(no, f"f{no}", "billing", None, 0, 2**31, until, DetailLevel.BASIC, None)


class Asked:
    """A gateway with keys that are followed, and how far they have come."""

    def __init__(self, seed: int = 1) -> None:
        self.provider = Provider(random.Random(seed))
        self.peer = Gateway(self.provider)
        self.service = self.peer.service
        self.steps: dict[tuple[int, int], Step] = {}
        self.keys = FollowedKeys(self.service, self.peer.clock, self._note)
        self.service.notify(self.keys.changed)
        self.service.follow(self.keys)

    def _note(self, step: Step) -> None:
        self.steps[step.follow, step.place] = step

    def add(self, keys: list[StatusKey], of: Follow | None = None) -> None:
        of = of or follow()
        steps = [Step(of.no, n, key.phone, Outcome.UNSEEN, None) for n, key in enumerate(keys)]
        self.keys.add(of, steps, [key.id for key in keys])
        self.service.follow(self.keys)

    def count(self, *outcomes: Outcome) -> int:
        return sum(step.outcome in outcomes for step in self.steps.values())

    @property
    def seen(self) -> int:
        return self.count(Outcome.SEEN, Outcome.FINAL, Outcome.NOT_FOUND)

    async def warm_up(self) -> None:
        for _ in range(LATENCIES):
            await self.peer.get([self.provider.send()], "")

    async def until_seen(self, count: int) -> float:
        """Seconds until so many were asked for."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self.seen < count:
            await asyncio.sleep(0.1)
            assert loop.time() - began < 24 * 3600, self.seen
        return loop.time() - began


@soak
@pytest.mark.parametrize("count", [100, 1000, size(small=3000, whole=10_000)])
def test_the_last_is_asked_for_when_it_was_said(count: int) -> None:
    async def main() -> None:
        asked = Asked()
        await asked.warm_up()
        asked.add([asked.provider.send(forever=True) for _ in range(count)])
        said = asked.service.seconds_for_followed(count)
        took = await asked.until_seen(count)
        assert asked.provider.limits.refused.total() == 0
        assert abs(said - took) <= max(0.2 * took, 1.0), (said, took)

    run(main())


def test_the_rest_is_told_as_truly_on_the_way() -> None:
    async def main() -> None:
        asked = Asked()
        await asked.warm_up()
        asked.add([asked.provider.send(forever=True) for _ in range(2000)])
        await asked.until_seen(1000)
        said = asked.service.seconds_for_followed(2000 - asked.seen)
        took = await asked.until_seen(2000)
        assert abs(said - took) <= 0.2 * took, (said, took)

    run(main())


def test_each_is_followed_to_its_end() -> None:
    async def main() -> None:
        asked = Asked()
        keys = [asked.provider.send() for _ in range(200)]
        ends = [asked.provider.lives[key].ended for key in keys]
        asked.add(keys)
        await asyncio.sleep(3 * 24 * 3600)
        finite = sum(end < 3600 for end in ends)
        assert asked.count(Outcome.FINAL) == finite
        assert len(asked.keys) == 200 - finite
        assert asked.provider.limits.refused.total() == 0
        assert asked.keys.follows[1] == 200 - finite

    run(main())


def test_callers_come_first_and_do_not_starve_it() -> None:
    """Callers who want more than the provider allows leave what is followed its turns."""

    async def main() -> None:
        asked = Asked()
        await asked.warm_up()
        asked.add([asked.provider.send(forever=True) for _ in range(1000)])

        async def ask() -> tuple[int, int]:
            answered = refused = 0
            while asyncio.get_running_loop().time() < 300:
                [at] = await asked.peer.get(
                    [asked.provider.send()], f"{id(asyncio.current_task())}"
                )
                answered, refused = answered + (at is not None), refused + (at is None)
            return answered, refused

        callers = await asyncio.gather(*(ask() for _ in range(100)))
        answered = sum(one for one, _ in callers)
        alone = 300 * 4 / 0.25
        assert answered > 0.85 * alone, "callers got no more than what was left"
        assert asked.seen >= 300 / 5 * 0.9, "nothing was asked for meanwhile"
        assert asked.provider.limits.refused.total() == 0

    run(main())


def test_what_is_pushed_is_asked_for_no_more() -> None:
    async def main() -> None:
        asked = Asked()
        [key] = keys = [asked.provider.send(forever=True)]
        asked.add(keys)
        await asyncio.sleep(5)
        assert asked.count(Outcome.SEEN) == 1
        other = Gateway(asked.provider)
        asked.provider.lives[key] = Life(-100, 0, 1, 1)
        entry = await final_entry(other, key)
        before = asked.provider.requests
        asked.service.apply_update(key, entry, True)
        assert asked.count(Outcome.FINAL) == 1
        await asyncio.sleep(3600)
        assert asked.provider.requests == before
        assert len(asked.keys) == 0

    run(main())


async def final_entry(gateway: Gateway, key: StatusKey) -> CacheEntry:
    await gateway.get([key], "")
    entry = gateway.service.peek(key)
    assert entry is not None
    return entry


def test_one_key_of_two_follows_is_asked_for_once_and_ends_in_each() -> None:
    async def main() -> None:
        asked = Asked()
        keys = [asked.provider.send(forever=True)]
        asked.provider.lives[keys[0]] = Life(-100, 0, 30, 1)
        asked.add(keys, follow(1))
        asked.add(keys, follow(2, until=MessageState.READ))
        await asyncio.sleep(60)
        assert asked.steps[1, 0].outcome is Outcome.FINAL
        assert asked.steps[2, 0].outcome is Outcome.SEEN
        assert asked.provider.requests <= 8
        asked.keys.remove(2)
        assert len(asked.keys) == 0

    run(main())


def test_a_key_takes_little_memory() -> None:
    async def main() -> None:
        asked = Asked()
        keys = [StatusKey(PHONE, number) for number in range(1, 10_001)]
        steps = [Step(1, n, key.phone, Outcome.UNSEEN, None) for n, key in enumerate(keys)]
        ids = [key.id for key in keys]
        asked.service.follow(None)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        asked.keys.add(follow(), steps, ids)
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert used / len(keys) < 1024, used / len(keys)

    run(main())
