"""Two minutes of 200 callers over real HTTP, against the simulator that enforces the limits.

The simulator and the gateway are processes of their own, as users run them. Callers want far more
than the provider allows: live messages that come and go, batches of cold ones, answers younger than
they need be.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from tests.support.process import served

SECONDS = 120
CALLERS = 200
LATENCY = 0.1
MAX_WAIT = 5.0
PHONE = "79990001000"


class Load:
    """The callers and what they got."""

    def __init__(self, gateway: str, simulator: str, seconds: float) -> None:
        self.seconds = seconds
        self.rng = random.Random(20261124)
        self.gateway = gateway
        self.simulator = simulator
        self.sent: list[int] = []
        self.outcomes: Counter[str] = Counter()
        self.waits: list[float] = []
        self.until = 0.0

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=CALLERS + 50)
        async with httpx.AsyncClient(limits=limits, timeout=60) as self.client:
            await self._post(f"{self.simulator}/control/latency", {"seconds": LATENCY})
            await self._post(f"{self.simulator}/control/fault", None, method="DELETE")
            self.until = time.monotonic() + self.seconds
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sender())
                for number in range(CALLERS):
                    group.create_task(self._caller(number))
            self.provider = (await self.client.get(f"{self.simulator}/control/stats")).json()
            self.link = (await self.client.get(f"{self.gateway}/v1/provider")).json()

    async def _post(self, url: str, body: object, *, method: str = "POST") -> None:
        (await self.client.request(method, url, json=body)).raise_for_status()

    async def _sender(self) -> None:
        """Ten new messages a second; most are delivered within half a minute."""
        while time.monotonic() < self.until:
            id_ = len(self.sent) + 1000
            delivered = self.rng.lognormvariate(2, 1.2)
            timeline = [{"after": 1, "status": 0}, {"after": 1 + delivered, "status": 1}]
            body = {"id": id_, "phone": PHONE, "status": -1}
            await self._post(
                f"{self.simulator}/control/messages", {**body, "timeline": timeline[:2]}
            )
            self.sent.append(id_)
            await asyncio.sleep(0.1)

    async def _caller(self, number: int) -> None:
        await asyncio.sleep(1 + self.rng.random())
        while time.monotonic() < self.until:
            count = 40 if number % 20 == 0 else 1
            chosen = self.rng.sample(self.sent[-300:], min(count, len(self.sent[-300:])))
            began = time.monotonic()
            if count > 1:
                items = [{"id": str(id_), "phone": PHONE} for id_ in chosen]
                answer = await self.client.post(
                    f"{self.gateway}/v1/statuses/batch", json={"items": items}
                )
                for result in answer.json().get("results", [{"outcome": answer.status_code}]):
                    self.outcomes[str(result["outcome"])] += 1
            else:
                url = f"{self.gateway}/v1/messages/{chosen[0]}?phone={PHONE}&fields=state"
                headers = {"cache-control": "no-cache"} if number % 5 == 1 else {}
                answer = await self.client.get(url, headers=headers)
                self.outcomes["FOUND" if answer.is_success else str(answer.status_code)] += 1
            self.waits.append(time.monotonic() - began)
            await asyncio.sleep(self.rng.expovariate(1 / 2))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as running:
        load = Load(running.gateway, running.provider, SECONDS)
        asyncio.run(load.run())
    total = load.outcomes.total()
    waits = sorted(load.waits)
    print(f"over HTTP: {CALLERS} callers for {SECONDS} s, provider latency {LATENCY} s")
    print(f"  records wanted     {total:>8,}   answered {load.outcomes['FOUND'] / total:.2%}")
    print(f"  outcomes           {dict(load.outcomes)}")
    print(
        f"  waited             median {statistics.median(waits):.3f} s, p99 "
        f"{waits[int(0.99 * len(waits))]:.3f} s, longest {waits[-1]:.3f} s (at most {MAX_WAIT:g})"
    )
    print(
        f"  provider           {load.provider['requests']:,} requests, "
        f"{load.provider['mass']} of them mass, {load.provider['breaches']} refused, "
        f"{load.provider['highestConcurrency']} at a time"
    )
    print(f"  the gateway's word {load.link['counters']} {load.link['ages']}")
