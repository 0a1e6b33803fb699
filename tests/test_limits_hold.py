"""Minutes of mixed load in fake time, over a slow network: the provider never has to refuse.

The simulator counts by itself, when a request arrives; the gateway only knows when it sent one and
when the answer came. Delays before and after the arrival are what sets the two apart.
"""

import asyncio
import random

import httpx
import pytest
from asgi_lifespan import LifespanManager

from gateway.app import create_app
from gateway.simulator import Limits, Report, create_simulator, sample_world
from tests.support.clock import FakeClock
from tests.support.gateway import settings
from tests.support.size import size, soak

pytestmark = pytest.mark.anyio

MINUTES = size(small=2, whole=10)
SEEDS = size(small=2, whole=12)
CALLERS = 15
MESSAGES = [(1000 + number, f"7999000{1000 + number}") for number in range(40)]


class SlowNetwork(httpx.AsyncBaseTransport):
    """Every request is some time on its way, and so is every answer."""

    def __init__(
        self, provider: httpx.AsyncBaseTransport, clock: FakeClock, random_: random.Random
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._random = random_

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._clock.sleep(self._random.expovariate(2))
        answer = await self._provider.handle_async_request(request)
        await self._clock.sleep(self._random.expovariate(2))
        return answer


async def caller(client: httpx.AsyncClient, clock: FakeClock, random_: random.Random) -> list[int]:
    """Asks for one or many, young or any, sometimes greedily."""
    statuses = []
    end = clock.now + MINUTES * 60
    while clock.now < end:
        id_, phone = random_.choice(MESSAGES)
        if random_.random() < 0.1:
            chosen = random_.sample(MESSAGES, random_.randint(2, 30))
            items = [{"id": str(i), "phone": p} for i, p in chosen]
            answer = await client.post("/v1/statuses/batch", json={"items": items})
        else:
            fields = random_.choice(["state", "state,text", "state,porting"])
            headers = {"cache-control": "no-cache"} if random_.random() < 0.3 else {}
            answer = await client.get(
                f"/v1/messages/{id_}?phone={phone}&fields={fields}", headers=headers
            )
        statuses.append(answer.status_code)
        await clock.sleep(random_.expovariate(1))
    return statuses


@soak
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_limit_is_broken_and_nearly_everybody_is_answered(seed: int) -> None:
    random_ = random.Random(seed)
    clock = FakeClock()
    world = sample_world(clock.time)
    for id_, phone in MESSAGES:
        world.add(Report(id=id_, phone=phone, status=0, sent=int(clock.now), flag=0, err=0))
    limits = Limits(clock.monotonic)
    provider = create_simulator(world, monotonic=clock.monotonic, sleep=clock.sleep, limits=limits)
    network = SlowNetwork(httpx.ASGITransport(provider), clock, random_)
    app = create_app(settings(), clock=clock, transport=network)
    async with (
        LifespanManager(app) as manager,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(manager.app), base_url="http://gateway.localhost"
        ) as client,
    ):
        callers = [asyncio.create_task(caller(client, clock, random_)) for _ in range(CALLERS)]
        while not all(task.done() for task in callers):
            await clock.advance(10)
        statuses = [status for task in callers for status in await task]
    assert limits.refused.total() == 0
    assert limits.highest_concurrency <= 4
    assert limits.admitted > MINUTES * 60  # else the load was too light to say anything
    assert statuses.count(200) >= 0.97 * len(statuses)
