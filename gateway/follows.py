"""`Follows`: callers leave many keys here, which the gateway asks for until each is final.

A follow is kept in the archive. Any process takes one and tells how far it is; one of those that
share the archive asks for the keys (see `followed`), and writes how far they have come.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple

from gateway.archive import following
from gateway.archive.archive import DAY, Archive
from gateway.archive.following import Follow, NewFollow, Outcome, Progress, Step
from gateway.clock import Clock
from gateway.errors import GatewayError, NotFound
from gateway.followed import FollowedKeys
from gateway.model.records import DetailLevel, MessageState, StatusKey
from gateway.service import StatusService

MOST_KEYS: Final = 10_000
"""Keys of one follow."""

USUAL: Final = 3 * DAY
"""Seconds that a follow goes on, if the caller names no time."""

LONGEST: Final = 30 * DAY
"""Seconds that it may go on."""

KEPT: Final = 30 * DAY
"""Seconds that one is kept after it is done."""

WRITE_EVERY: Final = 0.5
"""Seconds between two writes of how far the keys are."""

LOOK: Final = 1.0
"""Seconds between two looks for follows that other processes took or ended."""

FORGET_EVERY: Final = 3600.0
"""Seconds between two looks for those that were done long ago."""

AT_ONCE: Final = 500
"""Keys that are looked up in the archive together."""


class FollowRequest(NamedTuple):
    """What a caller wants. `token`, `digest` and `once`: see `following.NewFollow`."""

    keys: Sequence[StatusKey]
    until_at: int
    until_state: MessageState | None
    detail: DetailLevel
    name: str | None
    token: str | None
    digest: str
    once: bool = False


class FollowProgress(NamedTuple):
    """How far a follow is, and when the last of its keys will have been asked for."""

    progress: Progress
    all_seen_by: datetime | None
    """None: all have been, or none will be any more."""


class Follows:
    """All follows: what callers do with them, and `keep_asking`, which is for one process."""

    def __init__(self, archive: Archive, service: StatusService, clock: Clock) -> None:
        self._archive = archive
        self._service = service
        self._clock = clock
        self._changed = asyncio.Event()
        self._asking: _Asking | None = None
        self._kept: dict[tuple[str, str], tuple[float, FollowProgress]] = {}
        """What was read within the last second, for all who want to know."""

    async def create(self, owner: str, wanted: FollowRequest) -> FollowProgress:
        """Begin a follow, or find the one that was begun with the same token.

        Raises `InvalidArgument`, `QuotaExceeded`, and `Overloaded` where the archive is away.
        """
        new = NewFollow(
            secrets.token_urlsafe(12),
            owner,
            wanted.name,
            wanted.token,
            wanted.digest,
            int(self._clock.time()),
            wanted.until_at,
            wanted.until_state,
            wanted.detail,
            list({key.canonical: key for key in wanted.keys}.values()),
            once=wanted.once,
        )
        id_ = await self._archive.write(following.create, new)
        self._changed.set()
        return await self.get(owner, id_)

    async def get(self, owner: str, id_: str) -> FollowProgress:
        """How far a follow is; raises `NotFound`."""
        now = self._clock.monotonic()
        kept = self._kept.get((owner, id_))
        if kept is not None and now - kept[0] < LOOK / 2:
            return kept[1]
        found = await self._archive.read(following.progress_of, owner, id_)
        if not found:
            self._kept.pop((owner, id_), None)
            raise _no_such()
        told = self._told(found[0])
        self._kept = {one: kept for one, kept in self._kept.items() if now - kept[0] < LOOK / 2}
        self._kept[owner, id_] = now, told
        return told

    async def all_of(self, owner: str) -> list[FollowProgress]:
        """How far the caller's follows are, the newest first."""
        found = await self._archive.read(following.progress_of, owner)
        return [self._told(one) for one in found]

    async def find(self, owner: str, id_: str) -> Follow:
        """A follow; raises `NotFound`."""
        found = await self._archive.read(following.find, owner, id_)
        if found is None:
            raise _no_such()
        return found

    async def delete(self, owner: str, id_: str) -> None:
        """End a follow, and forget it; raises `NotFound`."""
        if not await self._archive.write(following.remove, owner, id_):
            raise _no_such()
        self._kept.pop((owner, id_), None)
        self._changed.set()

    def _told(self, progress: Progress) -> FollowProgress:
        if not progress.count(Outcome.UNSEEN) or progress.follow.done_at is not None:
            return FollowProgress(progress, None)
        seconds = self._service.seconds_for_followed(progress.ahead)
        return FollowProgress(progress, datetime.fromtimestamp(self._clock.time() + seconds, UTC))

    async def keep_asking(self) -> None:
        """Ask for all that is followed, until it is cancelled; for the one process that does."""
        self._asking = _Asking(self._archive, self._service, self._clock, self._changed)
        try:
            await self._asking.run()
        finally:
            self._asking = None

    @property
    def keys(self) -> int:
        """How many this process asks for."""
        return 0 if self._asking is None else len(self._asking.keys)


def _no_such() -> NotFound:
    return NotFound("It has ended, or is another caller's.", title="There is no such follow")


class _Asking:
    """What the one process that asks knows of the follows, and has not written yet."""

    def __init__(
        self, archive: Archive, service: StatusService, clock: Clock, changed: asyncio.Event
    ) -> None:
        self._archive = archive
        self._service = service
        self._clock = clock
        self._changed = changed
        self.keys = FollowedKeys(service, clock, self._note)
        self._steps: dict[tuple[int, int], Step] = {}
        self._until: dict[int, int] = {}
        self._forgot_at = -FORGET_EVERY

    async def run(self) -> None:
        stop_noting = self._service.notify(self.keys.changed)
        self._service.follow(self.keys)
        try:
            while True:
                with suppress(GatewayError):  # the database is away: it is tried again
                    await self._reconcile()
                    await self._write()
                await self._pause()
        finally:
            self._service.follow(None)
            stop_noting()
            with suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(WRITE_EVERY * 4):
                    await self._write()

    async def _pause(self) -> None:
        """Until it is time to write, or another follow has come here."""
        self._changed.clear()
        pause = asyncio.ensure_future(self._clock.sleep(WRITE_EVERY))
        change = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({pause, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            change.cancel()

    async def _reconcile(self) -> None:
        """Take what is new, and leave what is gone or has had its time."""
        now = int(self._clock.time())
        self._until = await self._archive.read(following.numbers_open)
        for no in [no for no in self.keys.follows if no not in self._until]:
            self.keys.remove(no)
        for no, until in self._until.items():
            if no not in self.keys.follows and now < until:
                await self._take(no)
        if now - self._forgot_at >= FORGET_EVERY:
            await self._archive.write(following.forget_done, now - int(KEPT))
            self._forgot_at = now

    async def _take(self, no: int) -> None:
        loaded = await self._archive.read(following.load, no)
        if loaded is None:
            return
        follow, steps, ids = loaded
        for first in range(0, len(steps), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            keys = [
                StatusKey(step.phone, id_) for step, id_ in zip(steps[some], ids[some], strict=True)
            ]
            await self._service.recall([key for key in keys if self._service.peek(key) is None])
        self.keys.add(follow, steps, ids)
        self._service.follow(self.keys)

    def _note(self, step: Step) -> None:
        self._steps[step.follow, step.place] = step

    async def _write(self) -> None:
        now = int(self._clock.time())
        steps, self._steps = self._steps, {}
        done = [
            no
            for no, until in self._until.items()
            if now >= until or self.keys.follows.get(no) == 0
        ]
        if not steps and not done:
            return
        try:
            await self._archive.write(following.write, list(steps.values()), done, now)
        except BaseException:
            self._steps = steps | self._steps
            raise
        for no in done:
            self.keys.remove(no)
            self._until.pop(no, None)
