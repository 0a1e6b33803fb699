"""The last hour of the link, a sample each ten seconds."""

import pytest

from gateway.upstream.history import EVERY, KEPT
from tests.support.gateway import running

pytestmark = pytest.mark.anyio


async def test_each_sample_tells_what_was_counted_by_then() -> None:
    async with running() as setup:
        await setup.message(1, "79990000001")
        await setup.message(1, "79990000001")
        await setup.clock.advance(EVERY)
        told = (await setup.client.get("/v1/provider/history")).json()["samples"]
    assert [(one["requests"], one["answers"], one["hits"]) for one in told] == [
        (0, 0, 0),
        (1, 2, 1),
    ]
    assert (told[0]["at"], told[1]["at"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:00:10Z")
    assert told[1]["waiting"] == 0
    assert told[1]["medianAge"] is not None


async def test_no_more_than_an_hour_is_kept() -> None:
    async with running() as setup:
        await setup.clock.advance(EVERY * (KEPT + 10))
        told = (await setup.client.get("/v1/provider/history")).json()["samples"]
    assert len(told) == KEPT
    assert told[-1]["at"] == "2027-01-15T09:01:40Z"
