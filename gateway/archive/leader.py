"""Has one process among those that share a database do what only one may do."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.archive.database import TROUBLE, Database, Lead
from gateway.clock import Clock

log = logging.getLogger(__name__)

AGAIN: Final = 5.0
"""Seconds between two looks whether the lead is to be had, or is still held."""

FAREWELL: Final = 5.0
"""Seconds for a duty to end, when its process ends or loses the lead."""


class Leader:
    """Runs duties while this process has the lead; each is to end soon when it is cancelled."""

    def __init__(
        self, database: Database, clock: Clock, duties: Sequence[Callable[[], Awaitable[None]]]
    ) -> None:
        self.is_leading = False
        self._database = database
        self._clock = clock
        self._duties = duties
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop, and leave the lead to others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=2 * FAREWELL)

    async def _run(self) -> None:
        while True:
            lead: Lead | None = None
            with suppress(*TROUBLE):
                lead = await self._database.try_lead()
            if lead is not None:
                try:
                    await self._lead(lead)
                finally:
                    with suppress(*TROUBLE):
                        await lead.aclose()
            await self._clock.sleep(AGAIN)

    async def _lead(self, lead: Lead) -> None:
        log.debug("this process has the lead")
        self.is_leading = True
        duties = {asyncio.ensure_future(duty()) for duty in self._duties}
        try:
            while await lead.holds():
                look = asyncio.ensure_future(self._clock.sleep(AGAIN))
                try:
                    await asyncio.wait({*duties, look}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    look.cancel()
                for duty in duties:
                    if duty.done():
                        log.error("what only one process does ended", exc_info=duty.exception())
                        return
        finally:
            self.is_leading = False
            for duty in duties:
                duty.cancel()
            await asyncio.wait(duties, timeout=FAREWELL)
