"""The budget of several processes under one login, confirmed by Redis or Valkey.

Each process plans with what it knows, as if alone: its own requests, and what it has been told of
the others'. What it takes it then has confirmed by one script, which sees them all. Only that keeps
the limits; to be told is to plan well, and may fail.

Time is the server's, so clocks that differ do no harm. A process that dies holds its places for as
long as a request can last, and its requests count from then on.
"""

import json
import logging
import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Json

from gateway.model.records import DetailLevel, StatusKey
from gateway.replicas import Replicas, Value
from gateway.upstream.budget.journal import Journal
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Lease, Limits, Sharing

log = logging.getLogger(__name__)

TURN: Final = 2.0
"""Seconds for which a place is kept for a process that asked for one."""

LATE: Final = 2.0
"""Seconds that a process may need to hear that it may send, and to say that a request has ended."""

SETTLE: Final = 3.0
"""Seconds without requests after the server was restarted or another has taken over: who was
connected tries twice a second, and tells what it has sent."""

KIND: Final = b"b"


def _script(name: str) -> str:
    folder = Path(__file__).parent
    return (folder / "shared.lua").read_text() + (folder / f"{name}.lua").read_text()


JOIN, TAKE, END, WAIT, RECALL = map(_script, ("join", "take", "end", "wait", "recall"))


class _State(BaseModel):
    """What all of them hold: for each request the milliseconds that it still counts."""

    epoch: str
    sequence: int
    places: dict[str, float]
    mass: dict[str, float]


class _Begun(BaseModel):
    """A request that has begun."""

    id: str
    detail: int
    messages: Json[list[tuple[str, int]]]


class _News(_State):
    begun: _Begun | None = None


class _Answer(BaseModel):
    """Of `take`: with `refused`, what stands in the way."""

    state: _State
    refused: str | None = None
    message: int = 0
    spent: dict[str, float] = {}
    flight: str = ""
    detail: int = 0


@dataclass(slots=True)
class _Spending:
    """A request of this process. `shared`: the server may know of it."""

    keys: tuple[StatusKey, ...]
    mass: bool
    ended_at: float | None = None
    shared: bool = False


class _Ledger(Journal):
    """Tells the server what has ended, and again should it lose what it held."""

    def __init__(
        self,
        replicas: Replicas,
        limits: Limits,
        lasts: float,
        monotonic: Callable[[], float],
        time: Callable[[], float] | None,
    ) -> None:
        self.rows: dict[int, _Spending] = {}
        self._replicas = replicas
        self._window = limits.window
        self._lasts = lasts
        self._monotonic = monotonic
        self._time = time
        self._numbers = count(1)

    def sent(self, now: float, keys: Iterable[StatusKey], *, mass: bool) -> int:
        while self.rows:
            row, oldest = next(iter(self.rows.items()))
            if oldest.ended_at is None or oldest.ended_at + self._window > now:
                break
            del self.rows[row]
        row = next(self._numbers)
        self.rows[row] = _Spending(tuple(keys), mass)
        return row

    def ended(self, row: int, at: float | None) -> None:
        spending = self.rows[row]
        if at is None:
            del self.rows[row]
            if not spending.shared:
                return
        spending.ended_at = at
        self._tell(row, spending)

    def id(self, row: int) -> str:
        return f"{self._replicas.name}:{row}"

    def keys(self, spending: _Spending, *rooms: str) -> list[str]:
        key = self._replicas.key
        messages = [key(room, message) for room in rooms for message in spending.keys]
        return [*self.common_keys(), *messages]

    def common_keys(self) -> list[str]:
        names = ("epoch", "sequence", "places", "waiting", "mass")
        return [f"{self._replicas.prefix}{name}" for name in names]

    def common_arguments(self) -> list[Value]:
        now = "" if self._time is None else round(self._time() * 1000)
        return [now, self._replicas.channel, self._replicas.name]

    def tell_again(self) -> None:
        """All that counts still; what is under way as if it lasted as long as it can."""
        for row, spending in self.rows.items():
            if spending.ended_at is not None:
                self._tell(row, spending)
            elif spending.shared:
                last = self._monotonic() + self._lasts
                self._tell(row, _Spending(spending.keys, spending.mass, last))

    def _tell(self, row: int, spending: _Spending) -> None:
        def arguments() -> list[Value]:
            at = spending.ended_at
            ends = 0 if at is None else math.ceil((at - self._monotonic()) * 1000)
            return [
                *self.common_arguments(),
                self.id(row),
                round(self._lasts * 1000),
                round(self._window * 1000),
                ends,
                int(spending.mass),
                int(at is None),
            ]

        self._replicas.run_later(("end", row), END, self.keys(spending, "window"), arguments)


class SharedBudget(MemoryBudget):
    """What may be sent now by this process, while others send as well.

    `timeout` is the most that a request takes, in seconds; it may linger as long again. `on_change`
    is called when others have taken or left something. `time` stands in for the server's.
    """

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float],
        replicas: Replicas,
        *,
        timeout: float,
        time: Callable[[], float] | None = None,
    ) -> None:
        self._replicas = replicas
        self._lasts = timeout + LATE
        self._ledger = _Ledger(replicas, limits, self._lasts, monotonic, time)
        self._epoch: str | None = None
        self._sequence = 0
        self._elsewhere: dict[str, float] = {}
        self._flights: dict[StatusKey, tuple[str, int]] = {}
        self._heard: dict[str, tuple[float, list[StatusKey]]] = {}
        self._queued_at = -math.inf
        self.on_change: Callable[[], None] = _nothing
        super().__init__(limits, monotonic, self._ledger)
        replicas.listen(KIND, self.hear, self.join)

    @property
    def sharing(self) -> Sharing:
        return Sharing.SHARED if self._replicas.is_there else Sharing.LOST

    def places(self) -> int:
        now = self._monotonic()
        taken = sum(until > now for until in self._elsewhere.values())
        return max(0, super().places() - taken)

    def preview(
        self, keys: Iterable[StatusKey], monotonic: Callable[[], float], takes: float
    ) -> MemoryBudget:
        now = self._monotonic()
        copy = super().preview(keys, monotonic, takes)
        copy.hold_places(min(until, now + takes) for until in self._elsewhere.values())
        return copy

    def changes_at(self) -> float:
        """When the first place held by another process expires without notice; infinite: none."""
        now = self._monotonic()
        return min((until for until in self._elsewhere.values() if until > now), default=math.inf)

    def answered_elsewhere(self, key: StatusKey, detail: DetailLevel) -> float | None:
        id_, level = self._flights.get(key, ("", -1))
        until = self._elsewhere.get(id_, -math.inf)
        return until if level >= detail.all and until > self._monotonic() else None

    async def confirm(self, lease: Lease, detail: DetailLevel | None) -> bool:
        spending = self._ledger.rows[lease.row]
        spending.shared = True
        arguments: list[Value] = [
            *self._ledger.common_arguments(),
            self._epoch or "",
            self._ledger.id(lease.row),
            round(self._lasts * 1000),
            round(self.limits.window * 1000),
            self.limits.concurrency,
            self.limits.mass,
            self.limits.per_message,
            int(lease.mass),
            -1 if detail is None else detail.all,
            _as_json(lease.keys),
            round(TURN * 1000),
        ]
        keys = self._ledger.keys(spending, "window", "flight")
        asked_at = self._monotonic()
        body = await self._replicas.run(TAKE, keys, arguments)
        answer = _Answer.model_validate_json(body)
        if answer.refused is None:
            self._see(answer.state)
            # Sent any later, it could last longer than its place is kept.
            return self._monotonic() - asked_at <= LATE / 2
        spending.shared = False
        if answer.refused == "EPOCH":
            await self.join()
        elif answer.refused == "FLIGHT":
            self._flights[lease.keys[0]] = answer.flight, answer.detail
        elif answer.refused == "PER_MESSAGE":
            self._window(lease.keys[answer.message]).elsewhere = self._others(answer.spent)
        self._see(answer.state)
        return False

    def queue_up(self) -> None:
        now = self._monotonic()
        if self._elsewhere and now - self._queued_at >= TURN / 2:
            self._queued_at = now
            self._replicas.run_later("wait", WAIT, self._ledger.common_keys(), self._turn)

    async def join(self) -> None:
        """Learn what all hold; raises `Overloaded`."""
        arguments = [
            *self._ledger.common_arguments(),
            secrets.token_hex(8),
            int(self._epoch is not None),
            self.limits.concurrency,
            round(SETTLE * 1000),
        ]
        body = await self._replicas.run(JOIN, self._ledger.common_keys(), arguments)
        state = _State.model_validate_json(body)
        before, self._epoch, self._sequence = self._epoch, state.epoch, state.sequence
        if before not in {None, state.epoch}:
            log.warning("Redis may have lost what it held: the next mass request waits")
            self._mass.elsewhere = []
            self._fill(self._mass, (), self._monotonic())
            self._ledger.tell_again()
            self._recall()
        self._see(state)

    def _recall(self) -> None:
        """Tell what others have sent: they may have died, or not know yet what the server lost."""
        self._forget_heard()
        windows: list[str] = []
        arguments: list[Value] = []
        now = self._monotonic()
        for id_, (_, messages) in self._heard.items():
            ends = math.ceil(max(0.0, self._elsewhere.get(id_, now) - now) * 1000)
            for key in messages:
                windows.append(self._replicas.key("window", key))
                arguments += [id_, ends]
        lasts = [round(self._lasts * 1000), round(self.limits.window * 1000)]
        self._replicas.run_later(
            "recall",
            RECALL,
            [*self._ledger.common_keys(), *windows],
            lambda: [*self._ledger.common_arguments(), *lasts, *arguments],
        )

    def _forget_heard(self) -> None:
        """Of what counts no longer: it ended, and a window has passed since."""
        oldest = self._monotonic() - self._lasts - self.limits.window
        while self._heard:
            id_, (at, _) = next(iter(self._heard.items()))
            if at > oldest:
                break
            del self._heard[id_]

    def _turn(self) -> list[Value]:
        return [*self._ledger.common_arguments(), round(TURN * 1000)]

    def hear(self, _: bytes, body: bytes) -> None:
        """What a process has taken or left, as its script told it. `ValueError`: unreadable."""
        news = _News.model_validate_json(body)
        if news.begun is not None:
            begun = news.begun
            messages = [StatusKey(phone, id_) for phone, id_ in begun.messages]
            for key in messages:
                self._flights[key] = begun.id, begun.detail
            if not self._is_own(begun.id):
                self._forget_heard()
                self._heard[begun.id] = self._monotonic(), messages
        self._see(news)

    def _see(self, state: _State) -> None:
        """Take over a state, unless a newer one was seen."""
        if state.epoch != self._epoch or state.sequence < self._sequence:
            return
        self._sequence = state.sequence
        now = self._monotonic()
        self._elsewhere = {
            id_: now + left / 1000 for id_, left in state.places.items() if not self._is_own(id_)
        }
        self._mass.elsewhere = self._others(state.mass)
        self._flights = {
            key: flight for key, flight in self._flights.items() if flight[0] in self._elsewhere
        }
        self.on_change()

    def _others(self, spent: dict[str, float]) -> list[float]:
        now = self._monotonic()
        return [now + left / 1000 for id_, left in spent.items() if not self._is_own(id_)]

    def _is_own(self, id_: str) -> bool:
        return id_.startswith(self._replicas.name)


def _nothing() -> None:
    pass


def _as_json(keys: Iterable[StatusKey]) -> str:
    return json.dumps([(key.phone, key.id) for key in keys])
