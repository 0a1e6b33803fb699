"""How the link to the provider was in the last hour, for charts that begin before their page."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.clock import Clock
from gateway.model.described import Model
from gateway.upstream.status import LinkState

EVERY: Final = 10.0
"""Seconds between two samples."""

KEPT: Final = 360
"""Samples that are kept: an hour of them."""


class LinkSample(Model):
    """How the link was at one moment. Counts are those since the start of the process."""

    at: datetime
    """When that was."""
    requests: int
    """Requests to the provider."""
    answers: int
    """Answers to callers."""
    hits: int
    """Those of them that were known already."""
    waiting: int
    """Keys that callers waited for."""
    median_age: float | None = None
    """Seconds: half of the last answers were younger."""


class LinkHistory(Model):
    """The last hour, a sample each ten seconds."""

    samples: list[LinkSample]
    """The oldest first."""


class LinkRecorder:
    """Takes the samples."""

    def __init__(self, link: Callable[[], LinkState], clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._samples: deque[LinkSample] = deque(maxlen=KEPT)

    @property
    def history(self) -> LinkHistory:
        return LinkHistory(samples=list(self._samples))

    async def run(self) -> None:
        """Take samples until it is cancelled."""
        while True:
            link = self._link()
            self._samples.append(
                LinkSample(
                    at=datetime.fromtimestamp(int(self._clock.time()), UTC),
                    requests=link.counters.requests,
                    answers=link.counters.answers,
                    hits=link.counters.hits,
                    waiting=link.queue.callers,
                    median_age=link.ages.median,
                )
            )
            await self._clock.sleep(EVERY)
