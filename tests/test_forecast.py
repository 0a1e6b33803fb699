"""A forecast beside what then really happens, in virtual time, by the rules the simulator counts.

Nothing here measures the machine.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence

import pytest

from gateway.errors import GatewayError, Limit, RateLimited
from gateway.model.freshness import Answer
from gateway.model.records import DetailLevel, StatusKey
from gateway.service import StatusQuery
from gateway.smsc.row import Row
from gateway.upstream.cost import CostReport, costing
from gateway.upstream.forecast import Forecast
from gateway.upstream.throughput import MANY
from tests.bench.simulation import LATENCY, Gateway, Provider
from tests.bench.virtual import EPOCH, run
from tests.support.size import size, soak

QUERY = StatusQuery(DetailLevel.BASIC, caller="billing")
SEEDS = size(small=2, whole=5)


class Steady(Provider):
    """It answers each request after the same time."""

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        del detail
        loop = asyncio.get_running_loop()
        self.requests += 1
        refused = self.limits.admit(
            "login", [(key.phone, key.id) for key in keys], mass=len(keys) > 1
        )
        await asyncio.sleep(LATENCY)
        self.limits.leave("login")
        if refused:
            raise RateLimited(limit=Limit.UNKNOWN, provider_code=9)
        return {key: self._row(key, loop.time()) for key in keys}


async def real(gateway: Gateway, keys: Sequence[StatusKey]) -> tuple[CostReport, float]:
    """What one call costs, and how long it takes until all are known to who comes when told."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def come_again(key: StatusKey, error: GatewayError) -> None:
        while True:
            assert error.retry_after is not None
            await asyncio.sleep(error.retry_after)
            try:
                await gateway.service.get(key, QUERY)
            except GatewayError as again:
                error = again
            else:
                return

    with costing() as cost:
        answers = await gateway.service.get_many(keys, QUERY)
    for answer in answers:
        if isinstance(answer, Answer):
            cost.serve(answer)
    told = zip(keys, answers, strict=True)
    await asyncio.gather(
        *(come_again(key, one) for key, one in told if isinstance(one, GatewayError))
    )
    return cost.report(), loop.time() - began


def seconds(forecast: Forecast) -> float:
    assert forecast.all_known_by is not None
    return forecast.all_known_by.timestamp() - EPOCH - asyncio.get_running_loop().time()


def check(said: float, took: float) -> None:
    """Within a fifth; it is told in whole seconds, rounded up."""
    assert abs(said - 0.5 - took) <= max(0.2 * took + 0.5, 1.0), (said, took)


@pytest.mark.parametrize("count", [1, 4, 8, 9, 20, 100, 101, 250, 1000])
def test_it_is_what_then_happens(count: int) -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        keys = [provider.send(forever=True) for _ in range(count)]
        forecast = await gateway.service.forecast(keys, QUERY)
        said = seconds(forecast)
        assert provider.requests == 0
        cost, took = await real(gateway, keys)
        assert abs(forecast.requests - cost.requests) <= 1, (forecast, cost)
        assert forecast.mass == cost.mass
        assert abs(forecast.served.live - cost.served.live) <= 1
        check(said, took)

    run(main())


@soak
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("count", [20, 250, 1000])
def test_with_latencies_that_vary_it_is_near(count: int, seed: int) -> None:
    """What does not fit into one call is as many as the network allows, which nobody knows."""

    async def main() -> None:
        provider = Provider(random.Random(seed))
        gateway = Gateway(provider)
        for _ in range(MANY):  # by which it knows how long one takes
            await gateway.get([provider.send()], "")
        keys = [provider.send(forever=True) for _ in range(count)]
        forecast = await gateway.service.forecast(keys, QUERY)
        said = seconds(forecast)
        cost, took = await real(gateway, keys)
        assert abs(forecast.requests - cost.requests) <= max(0.25 * cost.requests, 1)
        check(said, took)
        assert provider.limits.refused.total() == 0

    run(main())


def test_others_who_wait_are_ahead() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        first = [provider.send(forever=True) for _ in range(300)]
        second = [provider.send(forever=True) for _ in range(100)]
        waiting = asyncio.create_task(gateway.service.get_many(first, QUERY))
        await asyncio.sleep(LATENCY / 2)
        forecast = await gateway.service.forecast(second, QUERY)
        with costing() as cost:
            answers = await gateway.service.get_many(second, QUERY)
        report = cost.report()
        assert forecast.mass == report.mass == 0
        # When the request that is under way will end is not known: a round through the places.
        assert abs(forecast.requests - report.requests) <= 4
        answered = sum(isinstance(answer, Answer) for answer in answers)
        assert abs(forecast.served.live - answered) <= 4
        assert answered < len(second)
        await waiting

    run(main())


def test_the_rest_comes_behind_those_who_were_turned_away_before() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        first, second = ([provider.send(forever=True) for _ in range(600)] for _ in range(2))
        others = asyncio.create_task(real(gateway, first))
        await asyncio.sleep(6)
        said = seconds(await gateway.service.forecast(second, QUERY))
        _, took = await real(gateway, second)
        check(said, took)
        await others

    run(main())


def test_those_who_still_wait_are_ahead_of_the_rest_as_well() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        others, keys = ([provider.send(forever=True) for _ in range(900)] for _ in range(2))
        alone = seconds(await gateway.service.forecast(keys, QUERY))
        waiting = asyncio.create_task(gateway.service.get_many(others, QUERY))
        await asyncio.sleep(1)
        behind = seconds(await gateway.service.forecast(keys, QUERY))
        assert behind > 1.5 * alone
        await waiting

    run(main())


def test_what_is_known_costs_nothing() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        known = [provider.send(forever=True) for _ in range(3)]
        new = [provider.send(forever=True) for _ in range(2)]
        await gateway.service.get_many(known, QUERY)
        forecast = await gateway.service.forecast([*known, *new, *new], QUERY)
        assert forecast.served.model_dump() == {"live": 4, "cache": 3, "stale": 0}
        assert forecast.requests == 2
        nothing = await gateway.service.forecast(known, QUERY)
        assert (nothing.requests, nothing.all_known_by) == (0, None)

    run(main())


def test_a_request_that_is_under_way_is_shared() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        keys = [provider.send(forever=True) for _ in range(50)]
        asked = asyncio.create_task(gateway.service.get_many(keys, QUERY))
        await asyncio.sleep(LATENCY / 2)
        forecast = await gateway.service.forecast(keys, QUERY)
        assert (forecast.requests, forecast.mass, forecast.served.live) == (1, 1, 50)
        await asked
        assert provider.requests == 1

    run(main())


def test_a_message_that_was_asked_for_too_often_has_its_time() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        key = provider.send(forever=True)
        anew = QUERY._replace(max_age=0)
        for _ in range(5):
            await gateway.service.get(key, anew)
            await asyncio.sleep(1)
        forecast = await gateway.service.forecast([key], anew)
        assert forecast.requests == 0
        assert forecast.served.model_dump() == {"live": 0, "cache": 0, "stale": 1}
        said = seconds(forecast)
        await asyncio.sleep(said)
        again = await gateway.service.forecast([key], anew)
        assert (again.requests, again.served.live) == (1, 1)
        assert 50 <= said <= 60

    run(main())


def test_a_gateway_that_stops_asks_nothing_any_more() -> None:
    async def main() -> None:
        provider = Steady(random.Random(1))
        gateway = Gateway(provider)
        key = provider.send(forever=True)
        await gateway.service.aclose()
        forecast = await gateway.service.forecast([key], QUERY)
        assert (forecast.requests, forecast.served.live, forecast.all_known_by) == (0, 0, None)

    run(main())
