"""Two minutes of 200 callers over real HTTP, who want far more than the provider allows.

The simulator and the gateway are processes of their own, as users run them; the simulator enforces
the limits and counts. `make bench` measures the same load.
"""

import asyncio
from pathlib import Path

from tests.bench.over_http import Load
from tests.support.process import served
from tests.support.size import PATIENCE, only_in_soak, soak

SECONDS = 120


@soak
@only_in_soak
def test_no_limit_is_broken_and_nobody_waits_for_ever(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        load = Load(running.gateway, running.provider, SECONDS)
        asyncio.run(load.run())
    assert load.provider["breaches"] == 0
    assert load.provider["highestConcurrency"] <= 4
    assert load.outcomes["FOUND"] >= 0.97 * load.outcomes.total()
    assert max(load.waits) < PATIENCE
