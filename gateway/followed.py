"""`FollowedKeys`: which of the keys that are followed in bulk are to be asked for next.

There may be a hundred thousand, so none of them has a task, a flight or a timer: those that the
provider was not asked for yet stand in a row, the others in a heap by the moment at which they are
due. The dispatcher takes from them what nobody else needs the room for.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, count
from typing import Final

from gateway.archive.following import OPEN, Follow, Outcome, Step
from gateway.archive.states import number_of
from gateway.clock import Clock
from gateway.errors import GatewayError, InvalidArgument
from gateway.model.freshness import CacheEntry
from gateway.model.records import DetailLevel, StatusKey
from gateway.service import StatusService
from gateway.upstream.planner import FetchRequest, Why
from gateway.watch import AGAIN, is_missing, is_reached, pause_after

LONG_AGO: Final = -math.inf
"""One number for all keys: each that is made takes memory."""


class _Place:
    """A key's place in one of the follows that have it."""

    __slots__ = ("after", "follow", "outcome", "place", "state", "until")

    def __init__(self, step: Step, follow: Follow) -> None:
        self.follow = step.follow
        self.place = step.place
        self.until = follow.until_state
        self.after: float = follow.created_at if follow.once else LONG_AGO
        """What was observed before then does not count."""
        self.outcome = step.outcome
        self.state = step.state

    @property
    def is_once(self) -> bool:
        """Is it over with the first answer?"""
        return self.after > LONG_AGO


class _Key:
    """A key that is followed, and the request it waits for."""

    __slots__ = ("alone", "detail", "due", "is_sent", "key", "places")

    def __init__(self, key: StatusKey, detail: DetailLevel) -> None:
        self.key = key
        """As it is to be asked for: in its number's other spelling, where it was not found so."""
        self.detail = detail
        self.places: tuple[_Place, ...] = ()
        self.due = LONG_AGO
        self.is_sent = False
        self.alone = False

    @property
    def is_seen(self) -> bool:
        return all(one.outcome is not Outcome.UNSEEN for one in self.places)


def _told(one: _Key, entry: CacheEntry) -> list[_Place]:
    """Those of a key's places for which this entry counts."""
    return [place for place in one.places if entry.observed_at >= place.after]


class FollowedKeys:
    """The keys of all follows that are not done, in the process that asks for them.

    `on_step` is told how far a key of a follow has come.
    """

    def __init__(
        self, service: StatusService, clock: Clock, on_step: Callable[[Step], None]
    ) -> None:
        self._service = service
        self._clock = clock
        self._on_step = on_step
        self._keys: dict[StatusKey, _Key] = {}
        """By their canonical form."""
        self._left: dict[int, int] = {}
        """How many keys of each follow are not over."""
        self._unseen: dict[StatusKey, None] = {}
        self._ready: dict[StatusKey, None] = {}
        """Those that are due, the first first."""
        self._later: list[tuple[float, int, StatusKey]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def follows(self) -> Mapping[int, int]:
        """The follows, each with how many of its keys are not over."""
        return self._left

    def add(self, follow: Follow, steps: Iterable[Step], ids: Iterable[int]) -> None:
        """Follow these keys from now on; what is known already may be all that is wanted."""
        self._left[follow.no] = 0
        for step, id_ in zip(steps, ids, strict=True):
            key = StatusKey(step.phone, id_)
            one = self._keys.get(key.canonical)
            if one is None:
                one = self._keys[key.canonical] = _Key(self._service.resolve(key), follow.detail)
            elif not one.detail.covers(follow.detail):
                one.detail = follow.detail
            one.places += (_Place(step, follow),)
            self._left[follow.no] += 1
            if not self._learn(one) and not one.is_sent:
                one.due = LONG_AGO
                self._unseen[key.canonical] = None

    def remove(self, follow: int) -> None:
        """Follow the keys of this one no longer, unless another one has them too."""
        if self._left.pop(follow, None) is None:
            return
        for canonical, one in list(self._keys.items()):
            one.places = tuple(place for place in one.places if place.follow != follow)
            if not one.places:
                self._forget(canonical)

    def due(
        self, now: float, at_most: int, is_free: Callable[[StatusKey], bool]
    ) -> list[FetchRequest]:
        """Those to be asked for first; what was not asked for yet comes before all else."""
        self._bring_due(now)
        found: list[FetchRequest] = []
        for canonical in chain(self._unseen, self._ready):
            if len(found) >= at_most:
                break
            one = self._keys[canonical]
            if is_free(one.key):
                found.append(
                    FetchRequest(one.key, one.detail, Why.FOLLOW, due=one.due, alone=one.alone)
                )
        return found

    def next_due(self) -> float:
        if self._unseen or self._ready:
            return -math.inf
        return self._later[0][0] if self._later else math.inf

    def sent(self, key: StatusKey) -> None:
        canonical = key.canonical
        if (one := self._keys.get(canonical)) is not None:
            one.is_sent = True
            self._unseen.pop(canonical, None)
            self._ready.pop(canonical, None)

    def answered(
        self, key: StatusKey, result: CacheEntry | GatewayError | None, *, mass: bool
    ) -> None:
        canonical = key.canonical
        one = self._keys.get(canonical)
        if one is None:
            return
        one.is_sent = False
        if isinstance(result, CacheEntry):
            if not self._learn(one):
                self._queue(canonical, one)
        elif result is None:
            self._queue(canonical, one)
        elif isinstance(result, InvalidArgument) and mass:
            one.alone = True  # it, or another one, spoils the list: so each is asked for by itself
            self._queue(canonical, one)
        elif isinstance(result, InvalidArgument):
            self._move(canonical, one, Outcome.NOT_FOUND, None, one.key.phone)
        else:
            wait = AGAIN if result.retry_after is None else max(result.retry_after, 1.0)
            self._put_off(canonical, one, self._clock.monotonic() + wait)

    def changed(self, key: StatusKey) -> None:
        """Something was learned of a key, which may be none of these."""
        one = self._keys.get(key.canonical)
        if one is not None and not one.is_sent:
            self._learn(one)

    def _learn(self, one: _Key) -> bool:
        """Take note of what is known of a key, and decide when it is due; False: at once."""
        canonical, entry = one.key.canonical, self._service.peek(one.key)
        if entry is None:
            return False
        if entry.record is None:
            asks_other = self._respelled(one, entry)
            is_over = is_missing(entry, self._clock.time()) and not asks_other
            phone = "" if entry.deleted else one.key.phone  # nothing is left of it
            for place in _told(one, entry):
                is_over_here = is_over or (place.is_once and not asks_other)
                outcome = Outcome.NOT_FOUND if is_over_here else Outcome.SEEN
                self._step(place, Step(place.follow, place.place, phone, outcome, None))
            self._drop_over(canonical, one)
            if asks_other:
                return True
        else:
            one.key = self._service.resolve(one.key)
            for place in _told(one, entry):
                is_over = place.is_once or is_reached(entry.record, place.until)
                outcome = Outcome.FINAL if is_over else Outcome.SEEN
                state = number_of(entry.record)
                step = Step(place.follow, place.place, one.key.phone, outcome, state)
                self._step(place, step)
            self._drop_over(canonical, one)
        if canonical not in self._keys:
            return True
        if not one.is_seen:
            return False
        ahead = self._clock.monotonic() - self._clock.time()
        self._put_off(canonical, one, entry.observed_at + pause_after(entry) + ahead)
        return True

    def _respelled(self, one: _Key, entry: CacheEntry) -> bool:
        """Ask by the number's other spelling, if that was not done lately."""
        other = one.key.respelled
        if other is None or not self._service.may_be_respelled(one.key, entry):
            return False
        one.key = other
        self._put_off(other.canonical, one, self._clock.monotonic())
        return True

    def _move(
        self, canonical: StatusKey, one: _Key, outcome: Outcome, state: int | None, phone: str
    ) -> None:
        for place in one.places:
            self._step(place, Step(place.follow, place.place, phone, outcome, state))
        self._drop_over(canonical, one)

    def _step(self, place: _Place, step: Step) -> None:
        if (place.outcome, place.state) != (step.outcome, step.state):
            place.outcome, place.state = step.outcome, step.state
            self._on_step(step)

    def _drop_over(self, canonical: StatusKey, one: _Key) -> None:
        """Follow a key no longer where it is over."""
        over = [place for place in one.places if place.outcome not in OPEN]
        for place in over:
            self._left[place.follow] -= 1
        if over:
            one.places = tuple(place for place in one.places if place.outcome in OPEN)
        if not one.places:
            self._forget(canonical)

    def _queue(self, canonical: StatusKey, one: _Key) -> None:
        if one.is_seen:
            self._ready[canonical] = None
        else:
            self._unseen[canonical] = None

    def _put_off(self, canonical: StatusKey, one: _Key, due: float) -> None:
        self._unseen.pop(canonical, None)
        self._ready.pop(canonical, None)
        one.due = due
        heapq.heappush(self._later, (due, next(self._order), canonical))

    def _bring_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, _, canonical = heapq.heappop(self._later)
            one = self._keys.get(canonical)
            if one is not None and one.due == due and not one.is_sent:
                self._queue(canonical, one)

    def _forget(self, canonical: StatusKey) -> None:
        del self._keys[canonical]
        self._unseen.pop(canonical, None)
        self._ready.pop(canonical, None)
