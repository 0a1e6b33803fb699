"""Somebody sets the machine's clock, back and forth, while the gateway is at work."""

import random
from pathlib import Path

import pytest

from tests.support.gateway import running
from tests.support.size import size, soak

pytestmark = pytest.mark.anyio

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
STEPS = 150
NO_CACHE = {"cache-control": "no-cache"}
KNOWN = [(1, "79990000001"), (3, "79990000003"), (100, "79990000100"), (404, "79990000404")]
LIVE = 100


@soak
@pytest.mark.parametrize("seed", range(size(small=1, whole=10)))
async def test_no_limit_is_broken_and_no_answer_fails(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    async with running(STATE_DIR=str(tmp_path), MAX_WAIT="0") as setup:
        final: dict[int, str] = {}
        for step in range(STEPS):
            if chance.random() < 0.3:
                setup.clock.set_by = chance.choice([0.0, -1.0, 1.0]) * chance.choice(
                    [1.0, MINUTE, HOUR, DAY, 400 * DAY]
                )
            await setup.clock.advance(chance.choice([0.0, 0.1, 0.5, 1.0, 7.0]))
            id_, phone = chance.choice(KNOWN)
            if chance.random() < 0.05:
                message = {"id": LIVE, "phone": "79990000100", "status": 1}
                await setup.provider.post("/control/messages", json=message)
            headers = chance.choice([{}, NO_CACHE, NO_CACHE])
            answer = await setup.client.get(f"/v1/messages/{id_}?phone={phone}", headers=headers)
            assert answer.status_code in {200, 404, 429}, (step, answer.text)
            if answer.status_code == 200:
                record = answer.json()
                assert int(answer.headers["age"]) >= 0
                if id_ in final:
                    assert record["isFinal"]
                    assert record["state"] in {final[id_], "READ"}, "it went back"
                if record["isFinal"]:
                    final[id_] = record["state"]
            listed = await setup.client.get("/v1/records?limit=5")
            assert listed.status_code == 200
        assert await setup.breaches() == 0
