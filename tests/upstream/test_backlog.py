"""Whoever is turned away is told when there will be room, and that is true."""

import asyncio
import math

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.records import StatusKey
from gateway.simulator import Report
from gateway.upstream.backlog import Backlog, Capacity
from tests.support.clock import settle
from tests.support.gateway import Setup, running
from tests.support.size import only_in_soak, size, soak

pytestmark = pytest.mark.anyio

KEYS = [StatusKey("380990000001", 1000 + n) for n in range(size(small=300, whole=1000))]
"""More than can be asked for in `MAX_WAIT`."""


@pytest.mark.parametrize(
    ("keys", "mass_in", "seconds"),
    [
        (1, math.inf, 0.25),
        (40, math.inf, 10.0),
        (40, 30.0, 10.0),
        (120, 30.0, 30.0),
        (121, 30.0, 30.0),
        (220, 30.0, 30.0),
        (221, 30.0, 30.25),
        (460, 30.0, 90.0),
        (5, 0.0, 0.25),
        (101, 0.0, 0.25),
    ],
)
def test_keys_go_as_singles_and_with_each_mass_request(
    keys: int, mass_in: float, seconds: float
) -> None:
    capacity = Capacity(rate=4.0, mass_in=mass_in, mass_ids=100, window=60.0)
    assert capacity.seconds_for(keys) == pytest.approx(seconds)


@given(
    st.integers(1, 20_000),
    st.floats(0.1, 100),
    st.floats(0, 60),
    st.integers(2, 1000),
)
def test_more_keys_take_no_less_time(keys: int, rate: float, mass_in: float, ids: int) -> None:
    capacity = Capacity(rate, mass_in, ids, 60.0)
    assert 0 < capacity.seconds_for(keys) <= capacity.seconds_for(keys + 1) <= (keys + 1) / rate


def test_who_comes_back_makes_room_for_the_next() -> None:
    capacity = Capacity(rate=2.0, mass_in=math.inf, mass_ids=100, window=60.0)
    backlog = Backlog()

    def turn(key: StatusKey, now: float) -> float:
        return backlog.turn_away(key, now, waiting=0, capacity=capacity)

    assert [turn(key, 0.0) for key in KEYS[:4]] == [0.5, 1.0, 1.5, 2.0]
    backlog.returned(KEYS[0])
    assert turn(KEYS[4], 0.0) == 2.0
    assert turn(KEYS[1], 0.0) == 2.0  # he came back too early, and stands behind the others
    assert turn(KEYS[5], 1.8) == 2.0  # behind the three whose turns are not over
    assert turn(KEYS[6], 9.0) == 0.5


async def told_away(setup: Setup, latency: float) -> dict[StatusKey, int]:
    """What a batch of a thousand cold ids has for those it could not serve: `retryAfter`."""
    for key in KEYS:
        setup.world.add(Report(id=key.id, phone=key.phone, status=1))
    await setup.provider.post("/control/latency", json={"seconds": latency})
    await setup.client.get("/v1/messages/1?phone=79990000001")
    await setup.clock.advance(60)
    items = [{"id": str(key.id), "phone": key.phone} for key in KEYS]
    body = {"items": items, "fields": ["state"]}
    asked = asyncio.create_task(setup.client.post("/v1/statuses/batch", json=body))
    while not asked.done():
        await setup.clock.advance(0.25)
    results = (await asked).json()["results"]
    problems = {key: one["problem"] for key, one in zip(KEYS, results, strict=True)}
    left = {key: problem for key, problem in problems.items() if problem}
    assert {problem["code"] for problem in left.values()} == {"RATE_LIMITED"}
    assert left
    return {key: problem["retryAfter"] for key, problem in left.items()}


@soak
@pytest.mark.parametrize("latency", [0.25, 0.1, 1.0][: size(small=1, whole=3)])
async def test_who_obeys_is_served_at_that_time(latency: float) -> None:
    """Each comes back at its time, and is answered about then, without being turned away again."""
    async with running() as setup:
        waits = await told_away(setup, latency)
        told_at = setup.clock.now
        served: dict[StatusKey, float] = {}

        async def come_back(key: StatusKey, seconds: float) -> httpx.Response:
            await setup.clock.sleep(seconds)
            url = f"/v1/messages/{key.id}?phone={key.phone}&fields=state"
            answer = await setup.client.get(url)
            served[key] = setup.clock.now - told_at
            return answer

        calls = [asyncio.create_task(come_back(*wait)) for wait in waits.items()]
        await settle()
        await setup.clock.advance(max(waits.values()) + 10)
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} == {200}
        late = [served[key] - wait for key, wait in waits.items()]
        assert all(
            seconds <= max(0.2 * wait, 2 * latency + 1)
            for seconds, wait in zip(late, waits.values(), strict=True)
        )
        assert await setup.breaches() == 0


@soak
@only_in_soak
async def test_the_last_is_told_no_more_than_it_takes() -> None:
    """All come back at once: what they were told is true within a fifth for the last of them."""
    async with running() as setup:
        waits = await told_away(setup, 0.25)
        told_at = setup.clock.now
        ends: list[float] = []

        async def keep_asking(key: StatusKey) -> None:
            url = f"/v1/messages/{key.id}?phone={key.phone}&fields=state"
            while (await setup.client.get(url)).status_code != 200:
                await setup.clock.sleep(1)
            ends.append(setup.clock.now - told_at)

        calls = [asyncio.create_task(keep_asking(key)) for key in waits]
        await setup.clock.advance(max(waits.values()) * 2)
        await asyncio.gather(*calls)
        assert max(waits.values()) == pytest.approx(max(ends), rel=0.2)
